"""Keras's .h5 files of weights, and the check that arrays are VGG-19's."""

import errno
import io
import os
import re
from typing import Any, List, Sequence, Tuple

import numpy as np

from nst_graph.errors import WeightsError
from nst_graph.files import replacing
from nst_graph.vgg19 import CONVOLUTIONS

# h5py is imported in the functions: it takes a fifth of a second, and runs with random weights do not need it.


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
        _check_shape(name, shape, array, whose)
        if not np.isfinite(array).all():
            raise WeightsError(
                f"{whose} does not hold VGG-19's weights: {name} should be finite floats, "
                "but some of its values are infinite or not numbers"
            )
    return tuple(np.ascontiguousarray(array, dtype=np.float32) for array in arrays)


def _check_shape(name: str, shape: Tuple[int, ...], array: Any, whose: str) -> None:
    """Raise WeightsError unless an array, or one that is still in the file, has this shape and a float type."""
    if array.shape != shape or array.dtype.kind != "f":
        raise WeightsError(
            f"{whose} does not hold VGG-19's weights: {name} should be finite floats {shape}, "
            f"but it is {array.dtype} {array.shape}"
        )


def read_h5(path: str) -> Tuple[np.ndarray, ...]:
    """Read VGG-19's convolutions from a Keras 2 .h5 file (HDF5).

    The file holds the weights alone or a whole model. Layers other than the 16 convolutions are ignored, for example
    the dense layers of the full network.

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
        If there is no such file, if it cannot be read or is damaged, or if it holds other layers or shapes.
    """
    import h5py

    whose = f"the weights file {path!r}"
    _check_readable(path, whose)
    try:
        with h5py.File(path, "r") as file:
            arrays = _convolutions(file, whose)
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(f"{whose} {_what_is_wrong(error)}") from error
    except Exception as error:  # a damaged file makes h5py raise almost anything: KeyError, RuntimeError, MemoryError
        text = error.args[0] if isinstance(error, KeyError) and error.args else error  # KeyError quotes its text
        reason = " ".join(str(text).split()) or type(error).__name__
        raise WeightsError(f"{whose} is no Keras file of VGG-19's weights, or it is damaged: {reason}") from error
    return checked(arrays, whose)


def _check_readable(path: str, whose: str) -> None:
    """Raise WeightsError unless the system opens the file: its own reasons are clearer than those that HDF5 gives."""
    try:
        with open(path, "rb"):
            pass
    except (FileNotFoundError, ValueError) as error:  # ValueError: no path has a null character
        raise WeightsError(f"there is no weights file {path!r}; name an .h5 file of VGG-19's weights") from error
    except OSError as error:
        if os.path.isdir(path):
            raise WeightsError(f"{whose} is a folder; name an .h5 file in it") from error
        raise WeightsError(f"{whose} cannot be read: {error.strerror}") from error


def _convolutions(file: Any, whose: str) -> List[np.ndarray]:
    root = file.get("model_weights", file)
    arrays = []
    for layer in CONVOLUTIONS:
        group = root[layer.name]
        datasets = [group[name] for name in group.attrs["weight_names"]]
        if len(datasets) != 2:
            number = "1 array" if len(datasets) == 1 else f"{len(datasets)} arrays"
            raise WeightsError(f"{whose} has {number} for {layer.name}, not a kernel and a bias")
        for dataset, shape in zip(datasets, layer.weight_shapes):
            _check_shape(layer.name, shape, dataset, whose)  # before it is read: a damaged file may claim any size
            arrays.append(dataset[()])
    return arrays


def _what_is_wrong(error: OSError) -> str:
    """Tell an operating system that does not let us read a file from a damaged file.

    HDF5 puts the system's reason into its long text. h5py sets `errno` from it, but not before version 3.
    """
    found = re.findall(r"errno = (\d+), error message = '([^']*)'", str(error))
    number, reason = (int(found[-1][0]), found[-1][1]) if found else (error.errno, error.strerror)
    if not number or number == errno.EINVAL:  # EINVAL: a damaged file sent HDF5 to a place before its start
        return "is damaged or is no HDF5 file; get it again or name another"
    if number in (errno.EAGAIN, errno.EACCES) and "unable to lock file" in str(error):
        return f"cannot be read: {reason}; another program has it open for writing"
    return f"cannot be read: {reason}"


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
