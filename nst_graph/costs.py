"""Gram matrix, content cost, style cost and total cost: tensors in, scalar tensors out.

Nothing here knows of a session, a file or a network. Activations are float32 (1, n_h, n_w, n_c), tensors or NumPy
arrays, with a static shape.
"""

from typing import Any, List, Sequence, Tuple

import numpy as np

from nst_graph.runtimes import get_runtime


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
    with tf.name_scope("content_cost"):
        target = tf.convert_to_tensor(a_c, name="target")
        return (1 / (4 * n_h * n_w * n_c)) * tf.reduce_sum(tf.square(tf.subtract(target, a_g)))


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
    with tf.name_scope("gram_matrix"):
        unrolled = tf.reshape(activations, [n_h * n_w, n_c])
        return tf.matmul(unrolled, unrolled, transpose_a=True)


def _layer_name(activations: Any, number: int) -> str:
    """Return the name of the layer that gave a tensor, `block1_conv1` of block1/block1_conv1/Relu; else a number."""
    operation = getattr(activations, "op", None)  # arrays and eager tensors have none
    scopes = operation.name.split("/")[:-1] if operation is not None else []
    return scopes[-1] if scopes else f"layer_{number}"


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
        float32 scalar. What is computed for a layer is named after it: `style_cost/block1_conv1/...`.

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
    with tf.name_scope("style_cost"):
        for number, (a_s, a_g, coefficient) in enumerate(
            zip(a_s_layers, a_g_layers, style_layer_coefficients), start=1
        ):
            n_h, n_w, n_c = _dimensions(a_g)
            with tf.name_scope(_layer_name(a_g, number)):
                target = tf.convert_to_tensor(gram_matrix(a_s), name="target")
                squares = tf.reduce_sum(tf.square(tf.subtract(target, gram_matrix(a_g))))
                layer_costs.append((1 / (4 * n_c**2 * (n_h * n_w) ** 2)) * squares * coefficient)
        return tf.add_n(layer_costs, name="sum")


def style_layer_costs(style_cost: Any) -> List[Any]:
    """Return each style layer's share of a style cost: the terms of its sum.

    Parameters
    ----------
    style_cost : tf.Tensor
        What the function `style_cost` built in a graph (an eager tensor has no terms any more).

    Returns
    -------
    list of tf.Tensor
        float32 scalars in the order of the layers, coefficients included.
    """
    return list(style_cost.op.inputs)


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
    with get_runtime().tf.name_scope("total_cost"):
        return alpha * content_cost + beta * style_cost
