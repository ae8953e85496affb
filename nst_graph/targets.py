"""What the generated image is compared with: the content target and the style target. NumPy arrays, no TensorFlow."""

from typing import NamedTuple, Sequence, Tuple

import numpy as np

from nst_graph.costs import gram_matrix


class Targets(NamedTuple):
    """The two targets of a run at one size.

    Attributes
    ----------
    content : ndarray
        float32 (1, n_h, n_w, n_c), the content layer's activations of the content image.
    style : tuple of ndarray
        For each style layer, float32 (n_c, n_c): the Gram matrix of the style image's activations, see `style_target`.

    Notes
    -----
    Source: the article, "Extract the layer activations for content and style images".
    """

    content: np.ndarray
    style: Tuple[np.ndarray, ...]


def style_target(a_s_layers: Sequence[np.ndarray]) -> Tuple[np.ndarray, ...]:
    """Return the Gram matrices of a style image's activations.

    Parameters
    ----------
    a_s_layers : sequence of ndarray
        For each style layer, float32 (1, n_h, n_w, n_c).

    Returns
    -------
    tuple of ndarray
        For each style layer, float32 (n_c, n_c), summed in float64: see `nst_graph.costs.gram_matrix`.
    """
    return tuple(gram_matrix(a_s) for a_s in a_s_layers)
