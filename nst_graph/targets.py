"""What the generated image is compared with: content activations, style Gram matrices. NumPy arrays, no TensorFlow."""

from typing import NamedTuple, Sequence, Tuple

import numpy as np

from nst_graph.costs import gram_matrix

#: A style's Gram matrices: for each style layer, float32 (n_c, n_c).
Grams = Tuple[np.ndarray, ...]


class Targets(NamedTuple):
    """The targets of a run at one size.

    Attributes
    ----------
    content : tuple of ndarray
        For each content layer, float32 (1, n_h, n_w, n_c): its activations of the content image.
    style : tuple of ndarray
        For each style layer, float32 (n_c, n_c): the Gram matrix to reach. With masks float32 (k, n_c, n_c), one for
        each of k styles.
    masks : tuple of ndarray
        For each style layer, float32 (k, n_h * n_w, 1): how much each position counts for each style, see
        `position_weights`. Empty where every style is asked for everywhere.
    style_weights : ndarray
        With masks float32 (k,): the weight of each style. They add up to 1.

    Notes
    -----
    Source: the article, "Extract the layer activations for content and style images".

    Examples
    --------
    >>> from nst_graph import Objective, Settings, find_weights, load_img
    >>> settings = Settings(size=(48, 36))
    >>> paths = "input/cat.jpg", "input/starry_night.jpg"
    >>> images = [load_img(path, settings.size, settings.color_means) for path in paths]
    >>> with Objective(settings.size, settings, find_weights()) as objective:
    ...     targets = objective.targets(*images)
    >>> [activations.shape for activations in targets.content]
    [(1, 5, 6, 512)]
    >>> [gram.shape for gram in targets.style]
    [(64, 64), (128, 128), (256, 256), (512, 512), (512, 512)]
    """

    content: Tuple[np.ndarray, ...]
    style: Tuple[np.ndarray, ...]
    masks: Tuple[np.ndarray, ...] = ()
    style_weights: np.ndarray = np.zeros(0, np.float32)


def style_target(a_s_layers: Sequence[np.ndarray]) -> Grams:
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


def for_positions(grams: Grams, positions: Sequence[int], wanted: Sequence[int]) -> Grams:
    """Return a style's Gram matrices as they would be for another number of positions.

    A Gram matrix is a sum over positions and not a mean. A style image of twice the height and width has four times the
    sum, and would ask for four times as much of the same style.

    Parameters
    ----------
    grams : tuple of ndarray
        For each style layer, float32 (n_c, n_c).
    positions, wanted : sequence of int
        For each style layer, n_h * n_w of the style image and of the generated one.

    Returns
    -------
    tuple of ndarray
        For each style layer, float32 (n_c, n_c).
    """
    return tuple((gram * (w / n)).astype(np.float32) for gram, n, w in zip(grams, positions, wanted))


def blended(styles: Sequence[Grams], weights: Sequence[float]) -> Grams:
    """Return the Gram matrices between several styles.

    Parameters
    ----------
    styles : sequence of tuple of ndarray
        For each style, its Gram matrices.
    weights : sequence of float
        Weight of each style. They add up to 1.

    Returns
    -------
    tuple of ndarray
        For each style layer, float32 (n_c, n_c): the weighted mean.

    Notes
    -----
    The sum of w_k |G - T_k|^2 is |G - sum w_k T_k|^2 plus a constant, so several styles cost as much as one.
    """
    if len(styles) == 1:
        return styles[0]
    return tuple(np.average(np.stack(layer), axis=0, weights=weights).astype(np.float32) for layer in zip(*styles))


def position_weights(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Return how much each position of a layer counts for each style.

    Parameters
    ----------
    masks : sequence of ndarray
        For each of k styles, its mask at the size of the layer's feature map: float32 (n_h, n_w), 0 to 1.

    Returns
    -------
    ndarray
        float32 (k, n_h * n_w, 1): the masks divided by their mean. A mask of half the picture asks for the style, and
        not for half of it.
    """
    return np.stack(
        [(mask.astype(np.float64) / mask.mean(dtype=np.float64)).astype(np.float32).reshape(-1, 1) for mask in masks]
    )
