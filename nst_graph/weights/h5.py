"""Keras's .h5 files of weights: Keras's own file, files that nobody vouches for, and writing one."""

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any, BinaryIO, Dict, Optional, Sequence, Tuple, cast

import numpy as np

from nst_graph.errors import WeightsError
from nst_graph.files import replacing
from nst_graph.vgg19 import CONVOLUTIONS
from nst_graph.weights import h5_reader
from nst_graph.weights.source_file import open_regular

#: Keras's own file: how many bytes it has, and their MD5. Nobody can make another file with the MD5 of a given one.
KERAS_BYTES = 80134624
KERAS_MD5 = "253f8cb515780f3b799900260a226db6"

#: Seconds that reading any other file may take. One of 80 MB takes less than a second.
READ_SECONDS = 60

_LAYERS = [(layer.name, layer.weight_shapes) for layer in CONVOLUTIONS]

# `-I` keeps the current folder and the environment out; the paths to import from are those of this process.
_BOOTSTRAP = """
import json, runpy, sys
sys.path[:] = json.loads(sys.argv.pop(1))
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def read_h5(path: str) -> Tuple[np.ndarray, ...]:
    """Read VGG-19's convolutions from a Keras 2 .h5 file (HDF5).

    The file holds the weights alone or a whole model. Layers other than the 16 convolutions are ignored, for example
    the dense layers of the full network. Keras's own file is known by its MD5. Any other is read in a process of its
    own, because a damaged file can crash HDF5 or keep it busy for ever.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    tuple of ndarray
        As `Weights.arrays`.

    Raises
    ------
    WeightsError
        If there is no such file, if it cannot be read or is damaged, if it holds other layers, shapes or values, or if
        it leads to other files.
    """
    whose = f"the weights file {path!r}"
    try:
        file = open_regular(path, whose)
    except FileNotFoundError as error:
        raise WeightsError(f"there is no weights file {path!r}; name an .h5 file of VGG-19's weights") from error
    with file:
        _check_unlocked(file, whose)
        try:
            data = keras_own(file)
        except OSError as error:
            raise WeightsError(f"{whose} cannot be read: {error.strerror}") from error
        return _read_in_child(file, whose) if data is None else parse_keras_own(data, whose)


def keras_own(file: BinaryIO) -> Optional[bytes]:
    """Return the content of a file if it is Keras's own.

    Parameters
    ----------
    file : file
        In binary mode, at its start.

    Returns
    -------
    bytes or None
        None if it has another length or MD5.

    Raises
    ------
    OSError
        From the file system.
    """
    if os.fstat(file.fileno()).st_size != KERAS_BYTES:
        return None
    data = file.read(KERAS_BYTES)
    return data if md5(data) == KERAS_MD5 else None


def md5(data: bytes) -> str:
    """Return the MD5 of some bytes, in hexadecimal digits."""
    # Where MD5 is forbidden for secrets, it must be said that this is none.
    options: Dict[str, Any] = {"usedforsecurity": False} if sys.version_info >= (3, 9) else {}
    return hashlib.md5(data, **options).hexdigest()


def parse_keras_own(data: bytes, whose: str) -> Tuple[np.ndarray, ...]:
    """Read the arrays in the content of Keras's own file.

    Parameters
    ----------
    data : bytes
        From `keras_own`.
    whose : str
        What the file is, with its name. The message starts with it.

    Returns
    -------
    tuple of ndarray
        As `Weights.arrays`.

    Raises
    ------
    WeightsError
        If it cannot be read: for example if there is no h5py.
    """
    try:
        return tuple(h5_reader.read_arrays(io.BytesIO(data), _LAYERS))
    except h5_reader.Refused as refused:
        raise WeightsError(f"{whose} {refused}") from refused


def _check_unlocked(file: BinaryIO, whose: str) -> None:
    """Raise WeightsError if another program writes the file. HDF5 locks a file while it does."""
    with contextlib.suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WeightsError(
                f"{whose} cannot be read: {error.strerror}; another program has it open for writing"
            ) from error
        except OSError:  # a file system without locks
            pass


def _read_in_child(file: BinaryIO, whose: str) -> Tuple[np.ndarray, ...]:
    """Read a file in a process of its own, see `h5_reader`. Whatever happens to that process is a WeightsError."""
    if not sys.executable:
        raise WeightsError(f"{whose} cannot be read: Python does not know its own program (sys.executable is empty)")
    paths = [path for path in sys.path if isinstance(path, str) and os.path.isabs(path)]
    program = [os.path.abspath(sys.executable), "-I", "-c", _BOOTSTRAP, json.dumps(paths), h5_reader.__file__]
    try:
        child = subprocess.Popen(
            [*program, json.dumps(_LAYERS), json.dumps(READ_SECONDS)],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1"),
            start_new_session=True,  # Ctrl-C is for this process
        )
    except OSError as error:
        raise WeightsError(f"{whose} cannot be read: no process can be started for it ({error.strerror})") from error
    stdout, stderr = cast(io.BufferedReader, child.stdout), cast(io.BufferedReader, child.stderr)
    late = threading.Event()

    def end() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(READ_SECONDS, end)
    timer.daemon = True
    timer.start()
    arrays = tuple(np.empty(shape, np.float32) for _, shapes in _LAYERS for shape in shapes)
    with child:
        try:
            whole = all(stdout.readinto(array.data.cast("B")) == array.nbytes for array in arrays)
            last_line = stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
            status = child.wait()
        finally:
            timer.cancel()
            child.kill()
    if late.is_set():
        raise WeightsError(
            f"{whose} is given up: reading it took more than {READ_SECONDS} s; it is damaged, malicious, or on a disk "
            "that is too slow"
        )
    if status == h5_reader.REFUSED_STATUS:
        raise WeightsError(f"{whose} {json.loads(last_line)}")
    if status == 1:  # Python itself has failed, for example because there is no h5py
        raise WeightsError(f"{whose} cannot be read: {last_line}")
    if status or not whole:
        raise WeightsError(
            f"{whose} is damaged or malicious: HDF5 crashed on it ({_cause(status)}); name another or get it again"
        )
    return arrays


def _cause(status: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"exit status {status}"


def write_h5(path: str, arrays: Sequence[np.ndarray]) -> None:
    """Write weights as Keras 2 does (HDF5). The file is written completely or not at all.

    Parameters
    ----------
    path : str
        The file.
    arrays : sequence of ndarray
        As `Weights.arrays`.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    import h5py

    # Into memory first: HDF5 ends the whole process with a segmentation fault when the disk is full.
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in CONVOLUTIONS]
        for layer, kernel, bias in zip(CONVOLUTIONS, arrays[::2], arrays[1::2]):
            group = file.create_group(layer.name)
            names = [layer.name + "/kernel:0", layer.name + "/bias:0"]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, array in zip(names, (kernel, bias)):
                group[name] = array
    with replacing(path) as temporary, open(temporary, "wb") as target:
        target.write(memory.getbuffer())
