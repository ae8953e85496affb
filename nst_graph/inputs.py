"""The pictures of a run: content, styles with their weights and masks, the image to start from. No TensorFlow."""

import functools
import hashlib
import math
import numbers
import os
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from nst_graph.errors import SettingError, shown
from nst_graph.images import Picture, decoded, read_picture
from nst_graph.masks import read_mask
from nst_graph.picture_files import MAX_MEGAPIXELS, read_file


class PictureFile(NamedTuple):
    """A picture file that was read already, here or on another machine.

    Attributes
    ----------
    path : str
        Its name.
    data : bytes
        The whole file.
    """

    path: str
    data: bytes


class Style(NamedTuple):
    """One style of a run.

    Attributes
    ----------
    picture : path or ndarray
        The style picture, see `nst_graph.images.read_picture`; or a `PictureFile`.
    weight : float
        Its weight beside other styles, above 0. Weights are divided by their sum.
    mask : path or ndarray, optional
        Where the style is asked for, see `nst_graph.masks.read_mask`: white is there, black is not. Its size does not
        matter, it is stretched to the generated picture. None is everywhere.

    Examples
    --------
    A style in the left half of the picture, and another one, which counts twice, in the right half:

    >>> import numpy as np
    >>> from nst_graph import Style, stylize
    >>> left = np.zeros((36, 48), bool)
    >>> left[:, :24] = True
    >>> noise = np.random.RandomState(0).randint(0, 256, (36, 48, 3)).astype(np.uint8)
    >>> starry_night = Style("input/starry_night.jpg", mask=left)
    >>> other = Style(noise, weight=2, mask=~left)
    >>> stylize("input/cat.jpg", [starry_night, other], size=48, iterations=2).shape
    (36, 48, 3)
    """

    picture: Union[Picture, PictureFile]
    weight: float = 1.0
    mask: Union[Picture, PictureFile, None] = None


#: What `nst_graph.stylize` takes as its style: one picture, or one or several styles.
Styles = Union[Picture, PictureFile, Style, Sequence[Union[Picture, PictureFile, Style]]]


class Source(NamedTuple):
    """A picture that was read, and what it was read from.

    Attributes
    ----------
    pixels : ndarray
        uint8 (h, w, 3), blue, green and red. A mask's are float32 (h, w), 0 to 1.
    sha256 : str
        Of the file; of an array's shape and bytes where there was no file.
    path : str or None
        The file as the caller named it.
    data : bytes
        The file's bytes; empty for an array.
    """

    pixels: np.ndarray
    sha256: str
    path: Optional[str] = None
    data: bytes = b""


class Inputs(NamedTuple):
    """All pictures of a run.

    Attributes
    ----------
    content : Source
        The content picture.
    styles : tuple of Source
        The style pictures.
    weights : tuple of float
        For each style its weight, as given.
    masks : tuple of Source or None
        For each style its mask; None is everywhere.
    init : Source or None
        The picture to start from, if it is a picture of its own.
    """

    content: Source
    styles: Tuple[Source, ...]
    weights: Tuple[float, ...]
    masks: Tuple[Optional[Source], ...]
    init: Optional[Source] = None

    @property
    def shares(self) -> Tuple[float, ...]:
        """The styles' weights divided by their sum."""
        return tuple(weight / sum(self.weights) for weight in self.weights)

    @property
    def masked_styles(self) -> int:
        """Number of styles that need a Gram matrix of their own; 0 where no style has a mask."""
        return len(self.styles) if any(mask is not None for mask in self.masks) else 0


def style_from_word(word: str, weight: float = 1.0) -> Style:
    """Return the style that `FILE` or `FILE:WEIGHT` names; `read_inputs` checks the weight.

    A file whose own name ends like a weight is meant as a file.

    Parameters
    ----------
    word : str
        The picture's path, perhaps with a weight.
    weight : float
        The weight of a style that is named without one.
    """
    path, colon, number = word.rpartition(":")
    if not colon or not path or os.path.exists(word):
        return Style(word, weight)
    try:
        return Style(path, float(number))
    except ValueError:
        return Style(word, weight)


def read_inputs(
    content: Union[Picture, PictureFile],
    style: Styles,
    init: Union[Picture, PictureFile, None] = None,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Inputs:
    """Read the pictures of a run. Each file is read once, so that a pipe will do.

    Parameters
    ----------
    content : path or ndarray, or PictureFile
        See `nst_graph.images.read_picture`.
    style : path or ndarray, or Style, or sequence of Style
        One picture, or styles with weights and masks.
    init : path or ndarray, optional
        The picture to start from.
    max_megapixels : float
        How many millions of pixels each file may have.

    Returns
    -------
    Inputs
        The pixels of each picture, with its SHA-256.

    Raises
    ------
    PictureError
        If a picture or a mask cannot be read.
    SettingError
        If there is no style, or a weight is not above 0.
    """
    styles = as_styles(style)
    check_weights(styles)
    read = functools.partial(_read, max_megapixels=max_megapixels)
    return Inputs(
        content=read(content),
        styles=tuple(read(one.picture) for one in styles),
        weights=tuple(float(one.weight) for one in styles),
        masks=tuple(None if one.mask is None else _read_mask(one.mask, max_megapixels) for one in styles),
        init=None if init is None else read(init),
    )


def check_weights(styles: Sequence[Style]) -> None:
    """Raise SettingError if the weight of a style is not above 0, or all of them have no finite sum."""
    for number, one in enumerate(styles, start=1):
        if not _is_weight(one.weight):
            raise SettingError(f"the weight of style {number} must be a number above 0, not {shown(one.weight)}")
    if not math.isfinite(sum(float(one.weight) for one in styles)):
        raise SettingError("the weights of the styles have no finite sum; give smaller ones")


def _is_weight(weight: Any) -> bool:
    try:
        return isinstance(weight, numbers.Real) and 0 < float(weight) < math.inf
    except OverflowError:  # a whole number of hundreds of digits
        return False


def as_styles(style: Styles) -> List[Style]:
    """Return what a run takes as its style as a list; raise SettingError if it is empty."""
    if isinstance(style, (Style, PictureFile)) or not isinstance(style, (list, tuple)):
        style = [style]  # type: ignore[list-item]
    if not style:
        raise SettingError("a run needs at least one style; the list of styles is empty")
    return [one if isinstance(one, Style) else Style(one) for one in style]


def _read(picture: Union[Picture, PictureFile], max_megapixels: float) -> Source:
    if isinstance(picture, (str, os.PathLike)):
        path = os.fsdecode(picture)
        picture = PictureFile(path, read_file(path))
    if isinstance(picture, PictureFile):
        path, data = picture
        return Source(decoded(data, path, max_megapixels), hashlib.sha256(data).hexdigest(), path, data)
    pixels = read_picture(picture)
    return Source(pixels, _sha256(pixels))


def _read_mask(mask: Union[Picture, PictureFile], max_megapixels: float) -> Source:
    if isinstance(mask, (str, os.PathLike, PictureFile)):
        source = _read(mask, max_megapixels)
        return source._replace(pixels=read_mask(source.pixels, repr(source.path)), data=b"")
    return Source(read_mask(mask), _sha256(mask))


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes()).hexdigest()
