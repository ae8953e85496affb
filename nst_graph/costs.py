"""Gram matrix, content cost, style cost and total cost: tensors in, scalar tensors out. And the names of the costs.

Nothing here knows of a session, a file or a network. Activations are float32 (1, n_h, n_w, n_c), tensors or NumPy
arrays, with a static shape.
"""

from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from nst_graph.runtimes import get_runtime


class CostName(str):
    """The name of a cost, `style` for example, or of a layer's share in one, `style/block1_conv1`.

    Printed lines, history, TensorBoard and plots take the forms of a name from here.
    """

    @property
    def term(self) -> str:
        """The term of the total cost that it is, or is a share of: `style`."""
        return self.partition("/")[0]

    @property
    def layer(self) -> str:
        """The layer whose share it is, `block1_conv1`; empty for a whole cost."""
        return self.partition("/")[2]

    @property
    def label(self) -> str:
        """The form in the article's lines: `Style cost`; a share is `Style cost of block1_conv1`."""
        whole = self.term.replace("_", " ").capitalize() + " cost"
        return f"{whole} of {self.layer}" if self.layer else whole

    @property
    def column(self) -> str:
        """The form in the history: `style_cost`, `style_cost_block1_conv1`."""
        return f"{self.term}_cost_{self.layer}" if self.layer else f"{self}_cost"

    @property
    def tag(self) -> str:
        """The form in TensorBoard: `cost/style`, `style_cost/block1_conv1`."""
        return f"{self.term}_cost/{self.layer}" if self.layer else f"cost/{self}"


class Costs(Dict[CostName, Any]):
    """Costs by name: content, style and total, then each style layer's share of the style cost.

    The values are float32 scalars: tensors when `of` makes it, numbers when `session.run` has computed them.
    """

    @classmethod
    def of(cls, j_content: Any, j_style: Any, j_total: Any) -> "Costs":
        """Name the costs of a graph. A further term of the total cost is one more entry here.

        Parameters
        ----------
        j_content, j_style, j_total : tf.Tensor
            What `content_cost`, `style_cost` and `total_cost` returned.

        Returns
        -------
        Costs
        """
        costs = cls()
        costs[CostName("content")] = j_content
        costs[CostName("style")] = j_style
        costs[CostName("total")] = j_total
        for share in style_layer_costs(j_style):
            costs[CostName("style/" + _layer_name(share, 1))] = share
        return costs

    @property
    def content(self) -> Any:
        """The content cost."""
        return self[CostName("content")]

    @property
    def style(self) -> Any:
        """The style cost."""
        return self[CostName("style")]

    @property
    def total(self) -> Any:
        """The total cost, which is minimised."""
        return self[CostName("total")]

    @property
    def terms(self) -> "Costs":
        """The costs without the layers' shares: what a line prints."""
        return Costs((name, cost) for name, cost in self.items() if not name.layer)


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
    """Return the Gram matrix of a layer: the dot products of all pairs of channels over all positions.

    Parameters
    ----------
    activations : tf.Tensor or ndarray
        float32 (1, n_h, n_w, n_c).

    Returns
    -------
    tf.Tensor or ndarray
        float32 (n_c, n_c), symmetric, not divided by anything. A tensor for a tensor; an array for an array, which is a
        target.

    Notes
    -----
    Source: the article, "Style cost"; Gatys et al. 2015, equation 3. The article unrolls to one row per channel, which
    moves every activation in memory. One column per channel has the same dot products and moves nothing.

    The article has the style image's activations in its graph: 59 MB of constants at 400x300. Here a target's Gram
    matrix is computed once, in float64. A target's rounding error is the same in every step, so it adds up; a step's
    own rounding error does not. On TensorFlow 2.21 the article's own graph is 1.0e-3 off TensorFlow 1.10.1 at step 100,
    and this one 1.4e-4.
    """
    n_h, n_w, n_c = _dimensions(activations)
    if isinstance(activations, np.ndarray):
        rows = activations.reshape((n_h * n_w, n_c))
        return _float64_products(rows).astype(np.float32)
    tf = get_runtime().tf
    with tf.name_scope("gram_matrix"):
        unrolled = tf.reshape(activations, [n_h * n_w, n_c])
        return tf.matmul(unrolled, unrolled, transpose_a=True)


def _float64_products(rows: np.ndarray) -> np.ndarray:
    """Return the dot products of the columns, float64 (n_c, n_c), of float32 rows (n, n_c).

    It goes through the rows in blocks of 2 MB. One product of all rows needs twice their memory once more, 1 GB for
    block1_conv1 at 1600x1200, and took 5 s in place of 0.1 where two other programs kept both cores busy.
    """
    size = max((1 << 18) // rows.shape[1], 1)
    products = np.zeros((rows.shape[1],) * 2)
    for start in range(0, len(rows), size):
        block = rows[start : start + size].astype(np.float64)
        products += np.matmul(block.T, block)
    return products


def _layer_name(tensor: Any, number: int) -> str:
    """Return the layer that a tensor is named after, `block1_conv1` for block1/block1_conv1/Relu; else a number."""
    operation = getattr(tensor, "op", None)  # arrays and eager tensors have none
    scopes = operation.name.split("/")[:-1] if operation is not None else []
    return scopes[-1] if scopes else f"layer_{number}"


def style_cost(a_s_layers: Sequence[Any], a_g_layers: Sequence[Any], style_layer_coefficients: Sequence[float]) -> Any:
    """Return the style cost: the sum over layers of lambda * sum_ij (G_s - G_g)^2 / (4 n_c^2 (n_h n_w)^2).

    Parameters
    ----------
    a_s_layers : sequence of tf.Tensor or ndarray
        For each style layer, the style image's activations, float32 (1, n_h, n_w, n_c), or their Gram matrix, float32
        (n_c, n_c). The style image may have another size than the generated one.
    a_g_layers : sequence of tf.Tensor or ndarray
        For each style layer, float32 (1, n_h, n_w, n_c): the activations of the generated image.
    style_layer_coefficients : sequence of float
        Lambda of each of these layers.

    Returns
    -------
    tf.Tensor
        float32 scalar. A layer's operations are named after it: `style_cost/block1_conv1/...`.

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
                g_s = a_s if len(a_s.shape) == 2 else gram_matrix(a_s)
                target = tf.convert_to_tensor(g_s, name="target")
                squares = tf.reduce_sum(tf.square(tf.subtract(target, gram_matrix(a_g))))
                # Not a constant: TensorFlow 1.15 would multiply the two factors beforehand where the target is fed, and
                # not where it is a constant. The last bit of the cost would differ.
                weight = tf.placeholder_with_default(tf.constant(coefficient, tf.float32), (), name="coefficient")
                layer_costs.append((1 / (4 * n_c**2 * (n_h * n_w) ** 2)) * squares * weight)
        return tf.add_n(layer_costs, name="sum")


def style_layer_costs(style_cost: Any) -> List[Any]:
    """Return each style layer's share of a style cost: the terms of its sum.

    Parameters
    ----------
    style_cost : tf.Tensor
        What the function `style_cost` built in a graph. Eager tensors are not supported: they have no terms.

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
