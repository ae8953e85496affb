"""The whole state of a run, to a file and back."""

import functools
import operator
import os
import re
import struct
import zipfile
from typing import Any, BinaryIO, Dict, NamedTuple, Tuple

import numpy as np

from nst_graph.errors import CheckpointError
from nst_graph.files import replacing
from nst_graph.picture_files import open_file
from nst_graph.record import LARGEST_TEXT, Record, from_text, to_text

#: Names of optimisers' arrays in the file begin with this; the others have these names.
_OPTIMISER = "optimiser/"
_ARRAYS = ("iteration", "image", "record")

#: How many times the file's bytes the arrays may have. `write_checkpoint` does not compress; somebody else may have.
_EXPANSION = 16

#: Bytes of the archive's directory; an entry has about 70.
_LARGEST_DIRECTORY = 1 << 14

#: The header of an array of numbers, or of text, as NumPy writes it; NumPy evaluates it as Python.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\0..\{'descr': '([<>|][fiuU]\d{1,9})', 'fortran_order': (?:False|True), "
    rb"'shape': \(([\d, ]*)\), \} *\n",
    re.DOTALL,
)

#: The most numbers in an optimiser's array that has no pixels, and letters of why it gave up.
_FEW, _LONGEST_REASON = 64, 500


class State(NamedTuple):
    """All that the rest of a run depends on, besides its settings, stages, weights and pictures.

    Random numbers are drawn before the first step alone, from the seed in the settings.

    Attributes
    ----------
    iteration : int
        Training steps done, from the beginning of the run.
    image : ndarray
        float32 (1, h, w, 3): the generated image, preprocessed, at the size of its stage.
    optimiser : dict of str to ndarray
        State of the optimiser, see `nst_graph.optimisers.Optimiser.state`.
    """

    iteration: int
    image: np.ndarray
    optimiser: Dict[str, np.ndarray]


def write_checkpoint(path: str, state: State, record: Record) -> None:
    """Write a checkpoint, whole or not at all.

    Parameters
    ----------
    path : str
        The file; a file that is there is replaced when the new one is complete. It is in NumPy's format .npz, whatever
        its name is: the arrays as they are, and the record as JSON.
    state : State
        Of the run.
    record : Record
        What the run is: settings and pictures.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    arrays: Dict[str, Any] = {_OPTIMISER + name: array for name, array in state.optimiser.items()}
    arrays["record"] = np.frombuffer(to_text(record).encode(), np.uint8)
    # savez adds .npz to a name, but not to an open file.
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, iteration=np.int64(state.iteration), image=state.image, **arrays)


def read_checkpoint(path: str) -> Tuple[State, Record]:
    """Read a checkpoint that `write_checkpoint` wrote.

    Parameters
    ----------
    path : str
        The file, or a pipe that somebody writes to.

    Returns
    -------
    state : State
        State of the run.
    record : Record
        What the run is.

    Raises
    ------
    CheckpointError
        If the file is missing, cannot be read, is damaged or is something else.

    Examples
    --------
    >>> import nst_graph
    >>> from nst_graph.checkpoint import read_checkpoint
    >>> pair = "input/cat.jpg", "input/starry_night.jpg"
    >>> _ = nst_graph.stylize(*pair, size=48, iterations=3, seed=0, checkpoint="run.npz")
    >>> state, record = read_checkpoint("run.npz")
    >>> state.iteration, state.image.shape, record.settings["seed"]
    (3, (1, 36, 48, 3), 0)
    """
    with open_file(path, "checkpoint", CheckpointError) as file:
        return read_open_checkpoint(file, path)


def read_open_checkpoint(file: BinaryIO, path: str) -> Tuple[State, Record]:
    """Read a checkpoint from an open file, see `read_checkpoint`.

    A checkpoint may come from anybody. So nothing is unpickled, and memory is bounded: every array is asked for its
    size before it is read. All of them have at most 16 times the bytes of the file, and one megabyte.

    Parameters
    ----------
    file : file
        Open for reading, at any place.
    path : str
        Its name, for error messages.
    """
    try:
        length = file.seek(0, os.SEEK_END)
        _check_directory(file, length)
        with zipfile.ZipFile(file) as archive:
            sizes = _sizes(archive, length)
            arrays = {name: _array(archive, name, size) for name, size in sizes.items()}
        record = from_text(arrays.pop("record").tobytes().decode(), path)
        iteration, image = arrays.pop("iteration"), arrays.pop("image")
        state = State(int(iteration), image, {name[len(_OPTIMISER) :]: array for name, array in arrays.items()})
        if iteration.dtype.kind != "i" or iteration.ndim:
            raise ValueError("no number of iterations")
        _check(state)
    except OSError as error:
        if error.errno is None:
            raise _damaged(path) from None
        raise CheckpointError(f"the checkpoint {path!r} cannot be read: {error.strerror}") from None
    # Neither NumPy nor zipfile documents what it raises for a damaged file: a dozen kinds were seen.
    except Exception:
        raise _damaged(path) from None
    if not np.isfinite(state.image).all():
        raise CheckpointError(
            f"the checkpoint {path!r} has pixels that are infinite or not numbers: no run can go on from it; begin anew"
        )
    return state, record


def _damaged(path: str) -> CheckpointError:
    return CheckpointError(f"{path!r} is not a checkpoint, or is damaged")


def _check_directory(file: BinaryIO, length: int) -> None:
    """Raise ValueError if the directory of a zip archive is larger than that of any checkpoint.

    zipfile makes objects of all its entries first. The archive's last 22 bytes tell the directory's size, and others
    before them if it has more than 4 GB (PKWARE's APPNOTE 6.3.10, sections 4.3.14 to 4.3.16).
    """
    file.seek(max(length - 98, 0))
    end = file.read()
    sizes = [*struct.unpack("<I", end[-10:-6])]
    if end[-42:-38] == b"PK\6\7":
        sizes += struct.unpack("<Q", end[-58:-50])
    if end[-22:-18] != b"PK\5\6" or max(sizes) > _LARGEST_DIRECTORY:
        raise ValueError("no archive, or one with too many entries")


def _sizes(archive: zipfile.ZipFile, length: int) -> Dict[str, int]:
    """Return the bytes of each file in an archive by the name of its array; raise ValueError if they are too many."""
    sizes: Dict[str, int] = {}
    for entry in archive.infolist():
        name, extension = os.path.splitext(entry.filename)
        if extension != ".npy" or name in sizes or not (name in _ARRAYS or name.startswith(_OPTIMISER)):
            raise ValueError("not an array of a checkpoint")
        sizes[name] = entry.file_size
    if sizes["record"] > LARGEST_TEXT or sum(sizes.values()) > _EXPANSION * length + (1 << 20):
        raise ValueError("too large")
    return sizes


def _array(archive: zipfile.ZipFile, name: str, size: int) -> np.ndarray:
    """Return an array of an archive. NumPy's reader alone would believe what the header says of its size."""
    with archive.open(name + ".npy") as member:
        header = _HEADER.match(member.read(1 << 10))
    assert header is not None
    shape = [int(side) for side in header.group(2).split(b",") if side.strip()]
    count = functools.reduce(operator.mul, shape, 1)
    if header.end() + count * np.dtype(header.group(1).decode()).itemsize != size:
        raise ValueError("not the array that its header describes")
    with archive.open(name + ".npy") as member:
        array: np.ndarray = np.lib.format.read_array(member, allow_pickle=False)
    return array


def _check(state: State) -> None:
    """Raise ValueError if a state is none of any run.

    An optimiser's arrays are the image's pixels, rows of them, or a few numbers. Whether they are those of the run's
    own optimiser and size, the run finds out.
    """
    if state.iteration < 0 or state.image.dtype != np.float32 or state.image.ndim != 4:
        raise ValueError("no image")
    for array in state.optimiser.values():
        is_text = array.dtype.kind == "U"
        few = array.ndim == 0 if is_text else array.size <= _FEW
        if not (few or array.shape == state.image.shape or array.shape[-1:] == (state.image.size,)):
            raise ValueError("no optimiser's")
        if is_text and not (len(str(array)) < _LONGEST_REASON and str(array).isprintable()):
            raise ValueError("no reason to give up")
