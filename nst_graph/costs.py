"""Gram matrix, content cost, style cost and total cost: tensors in, scalar tensors out.

Nothing here knows of a session, a file or a network. Activations are float32 (1, n_h, n_w, n_c), tensors or NumPy
arrays, with a static shape.
"""

from typing import Any, Sequence, Tuple

import numpy as np

from nst_graph.runtime import get_runtime


def _dimensions(activations: Any) -> Tuple[int, int, int]:
    # int(): on TensorFlow 1 an entry of a shape is a Dimension.
    _, n_h, n_w, n_c = (int(size) for size in activations.shape)
    return n_h, n_w, n_c


def content_cost(a_c: Any, a_g: Any) -> Any:
    """Return the content cost: sum of (a_c - a_g)^2 over 4 n_h n_w n_c.

    Parameters
    ----------
    a_c, a_g : tf.Tensor or ndarray
        float32 (1, n_h, n_w, n_c), the content layer's activations of the content image and of the generated one.

    Returns
    -------
    tf.Tensor
        float32 scalar.

    Notes
    -----
    Source: the article, "Content cost". Gatys et al. 2015 have 1/2 in place of 1 / (4 n_h n_w n_c).
    """
    tf = get_runtime().tf
    n_h, n_w, n_c = _dimensions(a_c)
    return (1 / (4 * n_h * n_w * n_c)) * tf.reduce_sum(tf.square(tf.subtract(a_c, a_g)))


def gram_matrix(activations: Any) -> Any:
    """Return the Gram matrix of a layer: the dot product of each two channels over all positions.

    Parameters
    ----------
    activations : tf.Tensor or ndarray
        float32 (1, n_h, n_w, n_c).

    Returns
    -------
    tf.Tensor or ndarray
        float32 (n_c, n_c), symmetric, not divided by anything. Of a tensor a tensor; of an array, which is a target, an
        array.

    Notes
    -----
    Source: the article, "Style cost"; Gatys et al. 2015, equation 3. The article unrolls to one row per channel, which
    moves every activation in memory; one column per channel has the same dot products and moves none.

    The article has the style image's activations in its graph, 59 MB of constants at 400x300, of which TensorFlow makes
    the Gram matrices when the session starts. Here they are made at once, and summed in float64: a target's rounding
    error is the same in every step and adds up, a step's own is not and does not. On TensorFlow 2.21 the article's own
    graph is 1.0e-3 off TensorFlow 1.10.1 at step 100, this one 1.4e-4.
    """
    n_h, n_w, n_c = _dimensions(activations)
    if isinstance(activations, np.ndarray):
        unrolled = activations.reshape((n_h * n_w, n_c)).astype(np.float64)
        return np.matmul(unrolled.T, unrolled).astype(np.float32)
    tf = get_runtime().tf
    unrolled = tf.reshape(activations, [n_h * n_w, n_c])
    return tf.matmul(unrolled, unrolled, transpose_a=True)


def style_cost(a_s_layers: Sequence[Any], a_g_layers: Sequence[Any], style_layer_coefficients: Sequence[float]) -> Any:
    """Return the style cost: the sum over layers of lambda * sum_ij (G_s - G_g)^2 / (4 n_c^2 (n_h n_w)^2).

    Parameters
    ----------
    a_s_layers, a_g_layers : sequence of tf.Tensor or ndarray
        For each style layer, float32 (1, n_h, n_w, n_c): the activations of the style image and of the generated one.
    style_layer_coefficients : sequence of float
        Lambda of each of these layers.

    Returns
    -------
    tf.Tensor
        float32 scalar.

    Raises
    ------
    ValueError
        If the three are not of the same length.

    Notes
    -----
    Source: the article, "Style cost"; Gatys et al. 2015, equations 4 and 5.
    """
    if not len(a_s_layers) == len(a_g_layers) == len(style_layer_coefficients):
        raise ValueError(
            "a style cost needs two activations and one coefficient per layer, not "
            f"{len(a_s_layers)}, {len(a_g_layers)} and {len(style_layer_coefficients)}"
        )
    tf = get_runtime().tf
    layer_costs = []
    for a_s, a_g, coefficient in zip(a_s_layers, a_g_layers, style_layer_coefficients):
        n_h, n_w, n_c = _dimensions(a_g)
        squares = tf.reduce_sum(tf.square(tf.subtract(gram_matrix(a_s), gram_matrix(a_g))))
        layer_costs.append((1 / (4 * n_c**2 * (n_h * n_w) ** 2)) * squares * coefficient)
    return sum(layer_costs)


def total_cost(content_cost: Any, style_cost: Any, alpha: float, beta: float) -> Any:
    """Return the total cost: alpha * content_cost + beta * style_cost.

    Parameters
    ----------
    content_cost, style_cost : tf.Tensor
        float32 scalars.
    alpha, beta : float
        Their weights.

    Returns
    -------
    tf.Tensor
        float32 scalar.

    Notes
    -----
    Source: the article, "Total cost"; Gatys et al. 2015, equation 7.
    """
    return alpha * content_cost + beta * style_cost
