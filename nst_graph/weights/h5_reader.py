"""Reads kernels and biases from an HDF5 file that nobody vouches for. Also a program: it does so in its own process.

A file can make HDF5 wait for ever, take all memory, read other files, or crash. So every object is looked at before
it is opened, and every array before it is read. What gets through all the same hits this process, not the user's:
`nst_graph.weights.h5.read_h5` starts it, gives it the file as standard input, and reads the arrays from its standard
output.

This module imports nothing of the package. As a program it then needs no path to it, and starts sooner.
"""

import contextlib
import errno
import io
import json
import os
import signal
import sys
from typing import Any, BinaryIO, Iterator, Sequence, Tuple

import numpy as np

# h5py is imported in the functions: it takes time, and a program that reads no such file does not need it.

#: Bytes that the process may take beyond those of Python and its libraries. The largest array takes 9 MB as float32.
MEMORY_BYTES = 512 << 20

#: Bytes of one chunk of a compressed array. HDF5 takes memory for whole chunks.
_CHUNK_BYTES = 64 << 20

#: Characters of the names of a kernel or bias. Keras's names have about 20.
_NAME_LENGTH = 1000

#: Exit status of the program when something is wrong with the file; the last line on standard error says what.
REFUSED_STATUS = 2

#: A layer's name, and the shapes of its kernel and its bias.
Layer = Tuple[str, Sequence[Sequence[int]]]


class Refused(Exception):
    """What is wrong with a file, in one line that follows the file's name."""


def read_arrays(file: BinaryIO, layers: Sequence[Layer]) -> Iterator[np.ndarray]:
    """Read the arrays of some layers from a Keras 2 .h5 file (HDF5): weights alone, or a whole model.

    Parameters
    ----------
    file : file
        The HDF5 file, opened in binary mode.
    layers : sequence of (str, (tuple of int, tuple of int))
        Which layers. Others in the file are ignored.

    Yields
    ------
    ndarray
        float32, finite; kernel and bias of each layer, in the order of `layers`.

    Raises
    ------
    Refused
        If the file is damaged, holds other layers, shapes, types or values, or anything that is not in itself.
    """
    try:
        yield from _arrays(file, layers)
    except Refused:
        raise
    except OSError as error:
        raise Refused(_what_is_wrong(error)) from error
    except MemoryError as error:
        raise Refused("is damaged or malicious: it needs far more memory than weights have") from error
    except Exception as error:  # a damaged file makes h5py raise almost anything: KeyError, RuntimeError, ValueError
        text = error.args[0] if isinstance(error, KeyError) and error.args else error  # KeyError quotes its text
        reason = " ".join(str(text).split()) or type(error).__name__
        raise Refused(f"is no Keras file of VGG-19's weights, or it is damaged: {reason:.200}") from error


def _what_is_wrong(error: OSError) -> str:
    """Tell a disk that fails from a damaged file: HDF5's own errors have no number of the operating system."""
    if error.errno == errno.EMFILE:  # the limit of this process, see `_limit`
        return "is refused: it leads to another file, or needs a filter that HDF5 does not have"
    if error.errno and error.errno != errno.EINVAL:  # EINVAL: the file has sent HDF5 to a place before its start
        return f"cannot be read: {os.strerror(error.errno)}"
    if "already open for write" in str(error):
        return "is open for writing in another program, or was when that program died; wait, or get the file again"
    return "is damaged or is no HDF5 file; get it again or name another"


def _arrays(file: BinaryIO, layers: Sequence[Layer]) -> Iterator[np.ndarray]:
    import h5py

    with h5py.File(file, "r") as root:
        top = root if root.get("model_weights", getlink=True) is None else _member(root, "model_weights")
        for layer, shapes in layers:
            group = _member(top, layer)
            if not isinstance(group, h5py.Group):
                raise Refused(f"is no Keras file of VGG-19's weights: {layer} is no group")
            names = _weight_names(group, layer)
            # Both are looked at before one is read.
            datasets = [_dataset(group, name, layer, tuple(shape)) for name, shape in zip(names, shapes)]
            for dataset in datasets:
                yield _values(dataset, layer)


def _member(group: Any, path: str) -> Any:
    """Return what a path in a group leads to, without following a link out of the file or in a circle."""
    import h5py

    for name in path.split("/"):
        link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            raise Refused(f"is no Keras file of VGG-19's weights, or it is damaged: it has no {path!r:.200}")
        if not isinstance(link, h5py.HardLink):
            kind = "a symbolic link" if isinstance(link, h5py.SoftLink) else "a link to another file"
            raise Refused(f"is refused: {path!r:.200} is {kind}; store what it leads to in its place")
        group = group[name]
    return group


def _weight_names(group: Any, layer: str) -> Sequence[str]:
    """Return the names of kernel and bias. The list may claim any length, so that is looked at first."""
    import h5py

    attribute = group.attrs.get_id("weight_names")
    shape: Tuple[int, ...] = attribute.shape or ()
    if h5py.check_string_dtype(attribute.dtype) is None or len(shape) != 1:
        raise Refused(f"is no Keras file of VGG-19's weights: the names of {layer}'s arrays are no list of names")
    (count,) = shape
    if count != 2:
        raise Refused(f"has {count} array{'s' * (count != 1)} for {layer}, not a kernel and a bias")
    names = group.attrs["weight_names"]
    if max(map(len, names)) > _NAME_LENGTH:
        raise Refused(f"is damaged or malicious: {layer} has an array whose name is longer than {_NAME_LENGTH}")
    return [name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name) for name in names]


def _dataset(group: Any, name: str, layer: str, shape: Tuple[int, ...]) -> Any:
    """Return an array that is still in the file, if it is one, all in the file, and as large as it should be."""
    import h5py

    dataset = _member(group, name)
    if not isinstance(dataset, h5py.Dataset):
        raise Refused(f"is no Keras file of VGG-19's weights, or it is damaged: {name!r:.200} is no array")
    properties = dataset.id.get_create_plist()
    layout = properties.get_layout()
    # The shape of a virtual data set is found by opening what it is made of: this comes first.
    if layout not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
        raise Refused(
            f"is refused: {name!r:.200} is a virtual data set, which is made of other data sets; store its values"
        )
    if properties.get_external_count():
        raise Refused(f"is refused: the values of {name!r:.200} are in another file; store them in this one")
    if dataset.shape != shape or dataset.dtype.kind != "f":
        found = f"{dataset.dtype} {dataset.shape}"
        raise Refused(
            f"does not hold VGG-19's weights: {layer} should be finite floats {shape}, but it is {found:.200}"
        )
    chunk = properties.get_chunk() if layout == h5py.h5d.CHUNKED else ()
    if np.prod(chunk, dtype=float) * dataset.dtype.itemsize > _CHUNK_BYTES:
        raise Refused(f"is damaged or malicious: a chunk of {name!r:.200} is larger than any array of VGG-19")
    return dataset


def _values(dataset: Any, layer: str) -> np.ndarray:
    values = dataset[()]
    with np.errstate(all="ignore"):  # what does not fit is refused below
        array: np.ndarray = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(array).all():
        some = "too large for float32" if np.isfinite(values).all() else "infinite or not numbers"
        raise Refused(f"does not hold VGG-19's weights: {layer} should be finite floats, but some are {some}")
    return array


def _limit(seconds: float) -> None:
    """Limit what this process can take and open, as far as the system can: Windows cannot."""
    with contextlib.suppress(ImportError):
        import resource

        def lower(kind: int, limit: int) -> None:
            limit = min([limit, *(one for one in resource.getrlimit(kind) if one != resource.RLIM_INFINITY)])
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(kind, (limit, limit))

        with contextlib.suppress(OSError):  # only Linux says what this process takes now
            with open("/proc/self/statm", "rb") as file:
                now = int(file.read().split()[0]) * resource.getpagesize()
            lower(resource.RLIMIT_AS, now + MEMORY_BYTES)
        lower(resource.RLIMIT_CORE, 0)
        lower(resource.RLIMIT_FSIZE, 0)
        lower(resource.RLIMIT_NOFILE, 3)  # the standard ones, which are open: no further file can be opened
        # If the parent is killed, nobody else would end this process. Python leaves SIGALRM to the system.
        signal.alarm(int(seconds) + 5)


def _warm_up() -> None:
    """Read a small file, so that whatever Python loads at its first use is loaded before the limits."""
    import h5py

    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file["layer/kernel"] = file["layer/bias"] = np.zeros(1, np.float32)
        file["layer"].attrs["weight_names"] = [b"kernel", b"bias"]
    list(read_arrays(memory, [("layer", [(1,), (1,)])]))


def main() -> None:
    """Read the file on standard input. The command line has the layers and the seconds that this may take."""
    layers, seconds = (json.loads(argument) for argument in sys.argv[1:])
    _warm_up()
    _limit(seconds)
    status = 0
    try:
        for array in read_arrays(io.FileIO(0, closefd=False), layers):
            sys.stdout.buffer.write(array.data)
        sys.stdout.buffer.flush()
    except Refused as refused:
        sys.stderr.write(json.dumps(str(refused)))
        sys.stderr.flush()
        status = REFUSED_STATUS
    os._exit(status)  # at once: HDF5 may crash when it puts a damaged file away


if __name__ == "__main__":
    main()
