"""Keeping the content's colours, before or after a run. No TensorFlow.

Source: L. Gatys et al., "Preserving Color in Neural Artistic Style Transfer", 2016 (arXiv 1606.05897).
"""

from typing import Tuple

import numpy as np

from nst_graph.errors import PictureError
from nst_graph.images import read_picture

#: Thousandths of blue, green and red in the luminance Y (ITU-R BT.601, section 2.5.1).
_LUMINANCE = np.array([114, 587, 299], np.int32)

#: Least variance of a style along a direction of its colours, in grey levels squared. Less is rounding and noise.
_LEAST_VARIANCE = 1.0


def with_chroma_of(picture: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Combine the luminance of a picture with the chroma of the content: luminance-only transfer, after a run.

    Parameters
    ----------
    picture : ndarray
        uint8 (h, w, 3), blue, green and red: the generated picture.
    content : ndarray
        uint8 (h, w, 3) of the same size.

    Returns
    -------
    ndarray
        uint8 (h, w, 3), blue, green and red. Its chroma (Cb and Cr of YCbCr, ITU-R BT.601, full range) is exactly the
        content's at every pixel. Its luminance Y is the picture's, rounded; where this chroma does not fit into 0..255
        with that luminance, it is the nearest at which it does.

    Raises
    ------
    PictureError
        If one is not such an array, or the sizes differ.

    Notes
    -----
    Source: Gatys et al. 2016, luminance-only transfer. Cb and Cr depend only on the differences between blue, green and
    red. So a pixel of the same chroma is the content's pixel with one number added to all three channels, and this
    number is the difference of the two luminances.
    """
    picture, content = read_picture(picture), read_picture(content)
    if picture.shape != content.shape:
        raise PictureError(
            f"the picture is {picture.shape[1]}x{picture.shape[0]} and the content {content.shape[1]}x"
            f"{content.shape[0]}; to keep the content's colours, resize one to the size of the other"
        )
    colours = content.astype(np.int32)
    # Whole numbers, so that rounding does not depend on the machine. + 500: to the nearest, not down.
    lighter = ((picture.astype(np.int32) - colours) @ _LUMINANCE + 500) // 1000
    lighter = np.clip(lighter, -colours.min(axis=2), 255 - colours.max(axis=2))
    kept: np.ndarray = (colours + lighter[..., np.newaxis]).astype(np.uint8)
    return kept


def with_statistics_of(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Recolour a style so that its colours have the content's mean and covariance: colour transfer, before a run.

    Parameters
    ----------
    style : ndarray
        uint8 or float32 (h, w, 3), blue, green and red, on the scale 0 to 255.
    content : ndarray
        uint8 (h, w, 3), of any size.

    Returns
    -------
    ndarray
        float32 (h, w, 3), the style's size; neither rounded nor clipped, so some values are outside 0..255. If the
        style or the content has one colour only, so has the result: the content's mean.

    Raises
    ------
    PictureError
        If one is not such an array, or the style has values that are not finite.

    Notes
    -----
    Source: Gatys et al. 2016, colour histogram matching, the "Image Analogies" form: a pixel p of the style becomes
    A (p - mean_s) + mean_c with A = cov_c^(1/2) cov_s^(-1/2), where both roots are symmetric. In float64. Eigenvalues
    of cov_s below 1 count as 1: in a direction in which the style's colours hardly vary, as in a grey picture, there
    is nothing to scale up but noise. There, the covariance of the result is smaller than the content's.
    """
    if not (isinstance(style, np.ndarray) and style.dtype == np.float32):
        style = read_picture(style)
    elif style.ndim != 3 or style.shape[2] != 3 or style.size == 0 or not np.isfinite(style).all():
        raise PictureError(f"a style given as float32 must be (height, width, 3) with finite values, not {style.shape}")
    style_mean, style_values, style_axes = _statistics(style)
    mean, values, axes = _statistics(read_picture(content))
    # Rounding may leave an eigenvalue of 0 a little below 0.
    root = axes * np.sqrt(np.maximum(values, 0)) @ axes.T
    inverse_root = style_axes / np.sqrt(np.maximum(style_values, _LEAST_VARIANCE)) @ style_axes.T
    recoloured: np.ndarray = ((style - style_mean) @ (root @ inverse_root).T + mean).astype(np.float32)
    return recoloured


def _statistics(picture: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean colour, and the eigenvalues and eigenvectors (columns) of the covariance over pixels."""
    colours = picture.reshape(-1, 3).astype(np.float64)
    mean = colours.mean(axis=0)
    colours -= mean
    values, axes = np.linalg.eigh(colours.T @ colours / len(colours))
    return mean, values, axes
