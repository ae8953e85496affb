"""Gram matrix, content, style, total variation and total cost: tensors in, scalar tensors out. And their names.

Nothing here knows of a session, a file or a network. Activations are float32 (1, n_h, n_w, n_c), tensors or NumPy
arrays, with a static shape.
"""

from typing import Any, Dict, List, Optional, Sequence, Tuple

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

    Total variation stands before the total, and the shares of several content layers before those of the style layers,
    where a run has them.

    The values are float32 scalars: tensors when `of` makes it, numbers when `session.run` has computed them.
    """

    @classmethod
    def of(
        cls, j_content: Any, j_style: Any, j_total: Any, j_tv: Any = None, content_shares: Sequence[Any] = ()
    ) -> "Costs":
        """Name the costs of a graph. A further term of the total cost is one more entry here.

        Parameters
        ----------
        j_content, j_style, j_total : tf.Tensor
            What `content_cost`, `style_cost` and `total_cost` returned.
        j_tv : tf.Tensor, optional
            What `total_variation_cost` returned.
        content_shares : sequence of tf.Tensor
            Shares of several content layers, from `layer_costs`.

        Returns
        -------
        Costs
        """
        costs = cls()
        costs[CostName("content")] = j_content
        costs[CostName("style")] = j_style
        if j_tv is not None:
            costs[CostName("total_variation")] = j_tv
        costs[CostName("total")] = j_total
        for term, shares in (("content/", content_shares), ("style/", layer_costs(j_style))):
            for share in shares:
                costs[CostName(term + _layer_name(share, 1))] = share
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


def content_layers_cost(a_c_layers: Sequence[Any], a_g_layers: Sequence[Any], weights: Sequence[float]) -> Any:
    """Return the content cost of several layers: the sum of their content costs, each times its weight.

    Parameters
    ----------
    a_c_layers, a_g_layers : sequence of tf.Tensor or ndarray
        For each content layer, float32 (1, n_h, n_w, n_c): the activations of the content image and of the generated
        one.
    weights : sequence of float
        Weight of each of these layers.

    Returns
    -------
    tf.Tensor
        float32 scalar. One layer with weight 1 gives `content_cost`, the article's.
    """
    if list(weights) == [1]:
        return content_cost(a_c_layers[0], a_g_layers[0])
    tf = get_runtime().tf
    terms = []
    with tf.name_scope("content_cost"):
        for number, (a_c, a_g, weight) in enumerate(zip(a_c_layers, a_g_layers, weights), start=1):
            with tf.name_scope(_layer_name(a_g, number)):
                terms.append(weight * content_cost(a_c, a_g))
        return tf.add_n(terms, name="sum")


def total_variation_cost(img: Any) -> Any:
    """Return the total variation cost: the sum of squared differences of neighbouring pixels over 4 n_h n_w n_c.

    Parameters
    ----------
    img : tf.Tensor or tf.Variable
        float32 (1, n_h, n_w, n_c), the generated image.

    Returns
    -------
    tf.Tensor
        float32 scalar. Neighbours are those to the right and below.

    Notes
    -----
    Source: A. Mahendran and A. Vedaldi, "Understanding Deep Image Representations by Inverting Them", 2015, section 3,
    with beta = 2. The divisor is that of the article's content cost: a weight does the same at every size.
    """
    tf = get_runtime().tf
    n_h, n_w, n_c = _dimensions(img)
    with tf.name_scope("total_variation_cost"):
        down = tf.reduce_sum(tf.square(img[:, 1:] - img[:, :-1]))
        right = tf.reduce_sum(tf.square(img[:, :, 1:] - img[:, :, :-1]))
        return (1 / (4 * n_h * n_w * n_c)) * (down + right)


def gram_matrix(activations: Any, mask: Any = None) -> Any:
    """Return the Gram matrix of a layer: the dot products of all pairs of channels over all positions.

    Parameters
    ----------
    activations : tf.Tensor or ndarray
        float32 (1, n_h, n_w, n_c).
    mask : tf.Tensor, optional
        float32 (n_h * n_w, 1): how much each position counts.

    Returns
    -------
    tf.Tensor or ndarray
        float32 (n_c, n_c), symmetric, not divided by anything. An array for an array without a mask, which is a target;
        else a tensor.

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
    if isinstance(activations, np.ndarray) and mask is None:
        rows = activations.reshape((n_h * n_w, n_c))
        return _float64_products(rows).astype(np.float32)
    tf = get_runtime().tf
    with tf.name_scope("gram_matrix"):
        unrolled = tf.reshape(activations, [n_h * n_w, n_c])
        counted = unrolled if mask is None else mask * unrolled
        return tf.matmul(counted, unrolled, transpose_a=True)


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


def style_cost(
    a_s_layers: Sequence[Any],
    a_g_layers: Sequence[Any],
    style_layer_coefficients: Sequence[float],
    masks: Optional[Sequence[Any]] = None,
    style_weights: Any = None,
) -> Any:
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
    masks : sequence of tf.Tensor, optional
        With k styles, each in its own part of the picture. For each style layer, float32 (k, n_h * n_w, 1): how much
        each position counts for each style, see `nst_graph.targets.Targets`. `a_s_layers` are Gram matrices then,
        (k, n_c, n_c) for each layer, and the squares are summed over the styles, each times its weight.
    style_weights : tf.Tensor, optional
        With masks, float32 (k,).

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
    Source: the article, "Style cost"; Gatys et al. 2015, equations 4 and 5. Masks: Gatys et al. 2017, "Controlling
    Perceptual Factors in Neural Style Transfer", section 4.
    """
    if not len(a_s_layers) == len(a_g_layers) == len(style_layer_coefficients):
        raise ValueError(
            "a style cost needs two activations and one coefficient per layer, not "
            f"{len(a_s_layers)}, {len(a_g_layers)} and {len(style_layer_coefficients)}"
        )
    tf = get_runtime().tf
    terms = []
    with tf.name_scope("style_cost"):
        for number, (a_s, a_g, coefficient) in enumerate(
            zip(a_s_layers, a_g_layers, style_layer_coefficients), start=1
        ):
            n_h, n_w, n_c = _dimensions(a_g)
            with tf.name_scope(_layer_name(a_g, number)):
                if masks is None:
                    g_s = a_s if len(a_s.shape) == 2 else gram_matrix(a_s)
                    squares = _squares(g_s, gram_matrix(a_g))
                else:
                    styles = zip(tf.unstack(a_s), tf.unstack(masks[number - 1]), tf.unstack(style_weights))
                    squares = tf.add_n([weight * _squares(g_s, gram_matrix(a_g, mask)) for g_s, mask, weight in styles])
                # Not a constant: TensorFlow 1.15 would multiply the two factors beforehand where the target is fed, and
                # not where it is a constant. The last bit of the cost would differ.
                weight = tf.placeholder_with_default(tf.constant(coefficient, tf.float32), (), name="coefficient")
                terms.append((1 / (4 * n_c**2 * (n_h * n_w) ** 2)) * squares * weight)
        return tf.add_n(terms, name="sum")


def _squares(target: Any, g_g: Any) -> Any:
    tf = get_runtime().tf
    return tf.reduce_sum(tf.square(tf.subtract(tf.convert_to_tensor(target, name="target"), g_g)))


def layer_costs(cost: Any) -> List[Any]:
    """Return each layer's share of a cost: the terms of its sum.

    Parameters
    ----------
    cost : tf.Tensor
        What `style_cost`, or `content_layers_cost` for several layers, built in a graph. Eager tensors are not
        supported: they have no terms.

    Returns
    -------
    list of tf.Tensor
        float32 scalars in the order of the layers, coefficients included.
    """
    return list(cost.op.inputs)


def total_cost(
    content_cost: Any, style_cost: Any, alpha: float, beta: float, tv_cost: Any = None, tv_weight: float = 0
) -> Any:
    """Return the total cost: alpha * content_cost + beta * style_cost, and tv_weight * tv_cost if there is one.

    Parameters
    ----------
    content_cost, style_cost : tf.Tensor
        float32 scalars.
    alpha, beta : float
        Their weights.
    tv_cost : tf.Tensor, optional
        float32 scalar, from `total_variation_cost`.
    tv_weight : float
        Its weight.

    Returns
    -------
    tf.Tensor
        float32 scalar.

    Notes
    -----
    Source: the article, "Total cost"; Gatys et al. 2015, equation 7.
    """
    with get_runtime().tf.name_scope("total_cost"):
        total = alpha * content_cost + beta * style_cost
        return total if tv_cost is None else total + tv_weight * tv_cost
