"""Masks: which part of a picture takes part. No TensorFlow.

A mask that a run reads is float32 (h, w), 0 to 1, where 1 lets through. A mask that is made here, for a file, is uint8
(h, w), 0 to 255.
"""

import numbers
import os
from typing import Any, Tuple, Union

import numpy as np

from nst_graph.errors import PictureError, SettingError, shown
from nst_graph.images import Picture, cv2, read_picture

#: A mask for callers: the path of a file, or an array (h, w): uint8 0 to 255, bool, or floats from 0 to 1. A picture
#: uint8 (h, w, 3) is a mask too.
Mask = Union[str, "os.PathLike[str]", np.ndarray]

#: A part of a picture in pixels: x and y of its upper left corner, width and height.
Rectangle = Tuple[int, int, int, int]

#: GrabCut works on a copy of the picture with this longest side, in pixels. It takes about 30 seconds for a megapixel,
#: and with 1000 pixels instead of 600, the enlarged mask looks no better.
_WORKING_SIDE = 600

#: `cv2.grabCut` draws random numbers. Any fixed seed gives the same mask each time.
_SEED = 0


def read_mask(mask: Mask, name: str = "") -> np.ndarray:
    """Return a mask as an array.

    Parameters
    ----------
    mask : path or ndarray
        A picture file as for `nst_graph.images.read_picture`: white lets through, and a colour counts by its luminance.
        Or an array: uint8 (h, w) or (h, w, 3) in the order blue, green, red; bool (h, w); floats (h, w) from 0 to 1.
    name : str
        What error messages call it; by default the path.

    Returns
    -------
    ndarray
        float32 (h, w), 0 to 1, where 1 lets through. It shares no memory with `mask`.

    Raises
    ------
    PictureError
        If the file cannot be read as a picture, the array has another shape, dtype or range, or the mask lets nothing
        through.
    """
    grey = _grey_of_array(mask) if isinstance(mask, np.ndarray) else _luminance(mask)
    values: np.ndarray = grey.astype(np.float32) / np.float32(255 if grey.dtype == np.uint8 else 1)
    # `not`, because a comparison with NaN is false.
    if not (values.min() >= 0 and values.max() <= 1):
        raise PictureError(f"a mask of floats must have values from 0 to 1, not {grey.min():g} to {grey.max():g}")
    if not values.any():
        name = name or ("given as an array" if isinstance(mask, np.ndarray) else repr(os.fspath(mask)))
        raise PictureError(f"the mask {name} is black everywhere, so it lets nothing through; make a part of it white")
    return values


def _luminance(picture: Picture) -> np.ndarray:
    return np.asarray(cv2.cvtColor(read_picture(picture), cv2.COLOR_BGR2GRAY))


def _grey_of_array(mask: np.ndarray) -> np.ndarray:
    known = mask.dtype in (np.uint8, np.bool_) or np.issubdtype(mask.dtype, np.floating)
    if known and mask.ndim == 2 and mask.size:
        return mask
    if mask.dtype == np.uint8 and mask.ndim == 3 and mask.shape[2] == 3 and mask.size:
        return _luminance(mask)
    raise PictureError(
        "a mask given as an array must be uint8, bool or float (height, width), or uint8 (height, width, 3), "
        f"not {mask.dtype} {mask.shape}"
    )


def layer_mask(mask: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Stretch a mask to the size of a layer's feature map.

    Parameters
    ----------
    mask : ndarray
        float32 (h, w), 0 to 1: what `read_mask` returns.
    size : tuple of int
        Width and height of the feature map, in OpenCV's order.

    Returns
    -------
    ndarray
        float32 (height, width), 0 to 1. Along a side that gets smaller, pixels are averaged; along one that gets
        larger, they are interpolated linearly. A mask of ones stays exactly ones. A mask that lets something through
        still does, however little that is.
    """
    # OpenCV's weights for an average add up to 1 only to the seventh digit, so the result is divided by their sum.
    exact = _stretched(mask.astype(np.float64), size) / _stretched(np.ones(mask.shape), size)
    # The average of a few very small values may be too small for float32, which would make it 0.
    exact[(exact > 0) & (exact < np.finfo(np.float32).tiny)] = np.finfo(np.float32).tiny
    stretched: np.ndarray = exact.astype(np.float32)
    return stretched


def _stretched(values: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    # In two steps, because INTER_AREA averages only if no side gets larger.
    smaller = (min(size[0], values.shape[1]), min(size[1], values.shape[0]))
    averaged = cv2.resize(values, smaller, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(averaged, tuple(size), interpolation=cv2.INTER_LINEAR))


def subject_mask(picture: Picture, rectangle: Rectangle, iterations: int = 5) -> np.ndarray:
    """Find the subject of a picture inside a rectangle, by GrabCut.

    GrabCut takes what is outside the rectangle as background, learns its colours and those inside, and cuts along edges
    between the two. So a good rectangle has the whole subject in it, and outside it something of every part of the
    background. Where the subject goes on beyond the picture, let the rectangle touch the picture's edge.

    Parameters
    ----------
    picture : path or ndarray
        See `nst_graph.images.read_picture`.
    rectangle : tuple of int
        x and y of its upper left corner, width and height, in pixels. At least 2x2, inside the picture, and not the
        whole picture.
    iterations : int
        How often colours are learned and the cut is made, at least 1.

    Returns
    -------
    ndarray
        uint8 (h, w), the picture's size: 255 on the subject, 0 elsewhere. The same call gives the same mask each time.

    Raises
    ------
    PictureError
        If the picture cannot be read, or GrabCut finds no subject in the rectangle.
    SettingError
        If the rectangle or the number of iterations is not as above.

    Notes
    -----
    Source: C. Rother, V. Kolmogorov and A. Blake, "GrabCut: Interactive Foreground Extraction using Iterated Graph
    Cuts", SIGGRAPH 2004, section 3. OpenCV's random generator is seeded, for the calling thread.

    A picture with a side of more than 600 pixels is made smaller for GrabCut, and the mask's outline is smoothed when
    it is enlarged again.
    """
    picture = read_picture(picture)
    height, width = picture.shape[:2]
    x, y, across, down = _checked_rectangle(rectangle, width, height)
    _check_whole("iterations", iterations, 1)
    inside = np.zeros((height, width), np.float32)
    inside[y : y + down, x : x + across] = 1

    shrink = min(1, _WORKING_SIDE / max(width, height))
    # Not below 3: in fewer rows or columns, a rectangle that leaves a little outside could touch all of them equally.
    size = max(round(width * shrink), min(width, 3)), max(round(height * shrink), min(height, 3))
    share = layer_mask(inside, size)
    # A small pixel that the rectangle covers in part is background: GrabCut never changes a pixel of the background.
    labels = np.where(share == share.max(), cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    cv2.setRNGSeed(_SEED)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    models = np.zeros((1, 65)), np.zeros((1, 65))  # colours of background and subject; GrabCut fills them in
    cv2.grabCut(small, labels, (0, 0, 0, 0), *models, int(iterations), cv2.GC_INIT_WITH_MASK)

    # GrabCut's labels for the subject, sure and probable, are the odd ones.
    found: np.ndarray = labels % 2 * np.uint8(255)
    if size != (width, height):
        found = cv2.resize(found, (width, height), interpolation=cv2.INTER_CUBIC)
        found = np.where((found > 127) & (inside > 0), 255, 0).astype(np.uint8)
    if not found.any():
        raise PictureError(
            f"GrabCut finds no subject in the rectangle {x},{y},{across},{down}; try another rectangle, with the whole "
            "subject in it and more of the background outside, or fewer iterations"
        )
    return found


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _check_whole(name: str, value: Any, low: int) -> None:
    if not _is_whole(value) or value < low:
        raise SettingError(f"{name} must be a whole number of at least {low}, not {shown(value)}")


def _checked_rectangle(rectangle: Any, width: int, height: int) -> Rectangle:
    """Return a rectangle as four ints if it is inside the picture and leaves some background outside."""
    try:
        x, y, across, down = rectangle
    except (TypeError, ValueError):
        x = y = across = down = None
    if not all(_is_whole(number) for number in (x, y, across, down)):
        raise SettingError(f"a rectangle must be four whole numbers, x, y, width and height, not {shown(rectangle)}")
    name = f"the rectangle {x},{y},{across},{down}"
    if across < 2 or down < 2:
        raise SettingError(f"{name} must be at least 2 pixels wide and 2 pixels high")
    if x < 0 or y < 0 or x + across > width or y + down > height:
        raise SettingError(f"{name} must be inside the picture, which is {width}x{height}")
    if (across, down) == (width, height):
        raise SettingError(f"{name} is the whole picture; leave some background outside for GrabCut")
    return int(x), int(y), int(across), int(down)


def feathered(mask: np.ndarray, radius: int) -> np.ndarray:
    """Give a mask a soft edge.

    Parameters
    ----------
    mask : ndarray
        uint8 (h, w).
    radius : int
        Width of the soft edge on each side of the hard one, in pixels, at least 0. 0 changes nothing.

    Returns
    -------
    ndarray
        uint8 (h, w). Pixels more than `radius` away from an edge are as before.

    Raises
    ------
    SettingError
        If the radius is not a whole number of at least 0.

    Notes
    -----
    A Gaussian of standard deviation radius / 2, cut off at `radius`. A ramp by distance from the edge would be an
    alternative, but it widens the specks of a few pixels that GrabCut leaves to spots of full radius. A Gaussian makes
    them fade.
    """
    _check_whole("the radius of a soft edge", radius, 0)
    if radius == 0:
        return np.array(mask)
    size = 2 * int(radius) + 1
    return np.asarray(cv2.GaussianBlur(mask, (size, size), radius / 2, borderType=cv2.BORDER_REPLICATE))
