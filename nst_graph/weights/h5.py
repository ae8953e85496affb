"""Keras's .h5 files of weights, and the check that arrays are VGG-19's."""

import os
from typing import Sequence, Tuple

import numpy as np

from nst_graph.errors import WeightsError
from nst_graph.files import replacing
from nst_graph.vgg19 import CONVOLUTIONS


def checked(arrays: Sequence[np.ndarray], whose: str) -> Tuple[np.ndarray, ...]:
    """Check that arrays have VGG-19's shapes and finite values.

    Parameters
    ----------
    arrays : sequence of ndarray
        Kernel (3, 3, in, out) and bias (out,) of each of the 16 convolutions, in order; any float type.
    whose : str
        Where the arrays are from. The message starts with it.

    Returns
    -------
    tuple of ndarray
        The arrays as float32.

    Raises
    ------
    WeightsError
        If a shape, a type or a value is wrong.
    """
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
    return checked(arrays, whose)


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
