"""Gram matrix, content, style, total variation and total cost: tensors in, scalar tensors out. And their names.

Nothing here knows of a session, a file or a network. Activations are float32 (1, n_h, n_w, n_c), tensors or NumPy
arrays, with a static shape.

Every cost is a function of sums over positions: Gram matrices and sums of squares. Where activations do not fit into
memory, the sums are added up piece by piece, and the `..._of_sums` functions make the costs from them.
"""

from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np

from nst_graph.runtimes import get_runtime


class CostName(str):
    """The name of a cost, `style` for example, or of a layer's share in one, `style/block1_conv1`.

    Printed lines, history, TensorBoard and plots take the forms of a name from here.

    Examples
    --------
    >>> from nst_graph import CostName
    >>> name = CostName("style/block1_conv1")
    >>> name.term, name.layer, name.label
    ('style', 'block1_conv1', 'Style cost of block1_conv1')
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
        """The form in the history: ``style_cost``, ``style_cost_block1_conv1``."""
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

    Examples
    --------
    >>> from nst_graph import CostName, Costs
    >>> names = map(CostName, ("content", "style", "total", "style/block1_conv1"))
    >>> costs = Costs(zip(names, (2.0, 3.0, 140.0, 1.5)))
    >>> costs.total, costs["style/block1_conv1"], list(costs.terms)
    (140.0, 1.5, ['content', 'style', 'total'])
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


def sum_of_squares(target: Any, found: Any) -> Any:
    """Return the sum of the squared differences between a target and what was found.

    Parameters
    ----------
    target, found : tf.Tensor or ndarray
        float32, of the same shape.

    Returns
    -------
    tf.Tensor
        float32 scalar.
    """
    tf = get_runtime().tf
    return tf.reduce_sum(tf.square(tf.subtract(tf.convert_to_tensor(target, name="target"), found)))


def _by_entries(squares: Any, shape: Sequence[int]) -> Any:
    """Return a sum of squares over 4 n_h n_w n_c."""
    n_h, n_w, n_c = shape
    return (1 / (4 * n_h * n_w * n_c)) * squares


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

    Examples
    --------
    >>> import numpy as np
    >>> from nst_graph import content_cost, get_runtime
    >>> a_c, a_g = np.zeros((1, 2, 3, 4), np.float32), np.ones((1, 2, 3, 4), np.float32)
    >>> with get_runtime().session_scope() as session:
    ...     print(session.run(content_cost(a_c, a_g)))
    0.25
    """
    with get_runtime().tf.name_scope("content_cost"):
        return _by_entries(sum_of_squares(a_c, a_g), _dimensions(a_c))


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
    return _content_layers(content_cost, a_c_layers, a_g_layers, weights)


def content_cost_of_sums(shapes: Sequence[Sequence[int]], sums: Sequence[Any], weights: Sequence[float]) -> Any:
    """Return what `content_layers_cost` does, from the sums of squares.

    Parameters
    ----------
    shapes : sequence of tuple of int
        For each content layer, n_h, n_w and n_c.
    sums : sequence of tf.Tensor
        For each content layer, float32 scalar: `sum_of_squares` of its activations. It is named after its layer.
    weights : sequence of float
        Weight of each of these layers.

    Returns
    -------
    tf.Tensor
        float32 scalar.
    """

    def cost(shape: Sequence[int], squares: Any) -> Any:
        with get_runtime().tf.name_scope("content_cost"):
            return _by_entries(squares, shape)

    return _content_layers(cost, shapes, sums, weights)


def _content_layers(
    cost: Callable[[Any, Any], Any], targets: Sequence[Any], found: Sequence[Any], weights: Sequence[float]
) -> Any:
    if list(weights) == [1]:
        return cost(targets[0], found[0])
    tf = get_runtime().tf
    terms = []
    with tf.name_scope("content_cost"):
        for number, (target, layer, weight) in enumerate(zip(targets, found, weights), start=1):
            with tf.name_scope(_layer_name(layer, number)):
                terms.append(weight * cost(target, layer))
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
    with get_runtime().tf.name_scope("total_variation_cost"):
        return _by_entries(squares_of_neighbours(img, img), _dimensions(img))


def total_variation_cost_of_sum(squares: Any, shape: Sequence[int]) -> Any:
    """Return what `total_variation_cost` does, from the sum of squares.

    Parameters
    ----------
    squares : tf.Tensor
        float32 scalar: `squares_of_neighbours` of the image.
    shape : tuple of int
        n_h, n_w and n_c of the image.

    Returns
    -------
    tf.Tensor
        float32 scalar.
    """
    with get_runtime().tf.name_scope("total_variation_cost"):
        return _by_entries(squares, shape)


def squares_of_neighbours(rows: Any, with_next_row: Any) -> Any:
    """Return the sum of the squared differences of neighbouring pixels, to the right and below.

    Parameters
    ----------
    rows : tf.Tensor or tf.Variable
        float32 (1, n_h, n_w, n_c), some rows of an image, or all.
    with_next_row : tf.Tensor or tf.Variable
        The same with the row below them, if the image has one.

    Returns
    -------
    tf.Tensor
        float32 scalar.
    """
    tf = get_runtime().tf
    down = tf.reduce_sum(tf.square(with_next_row[:, 1:] - with_next_row[:, :-1]))
    right = tf.reduce_sum(tf.square(rows[:, :, 1:] - rows[:, :, :-1]))
    return down + right


def gram_matrix(activations: Any, mask: Any = None) -> Any:
    """Return the Gram matrix of a layer: the dot products of all pairs of channels over all positions.

    Parameters
    ----------
    activations : tf.Tensor or ndarray
        float32 (1, n_h, n_w, n_c). Of a tensor, n_h and n_w may be unknown.
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

    Examples
    --------
    >>> import numpy as np
    >>> from nst_graph import gram_matrix
    >>> activations = np.array([[[[1, 2], [3, 4]]]], np.float32)  # two positions
    >>> gram_matrix(activations)
    array([[10., 14.],
           [14., 20.]], dtype=float32)
    """
    n_c = int(activations.shape[-1])
    if isinstance(activations, np.ndarray) and mask is None:
        return _float64_products(activations.reshape((-1, n_c))).astype(np.float32)
    tf = get_runtime().tf
    with tf.name_scope("gram_matrix"):
        positions = tf.TensorShape(activations.shape)[1:3].num_elements()
        unrolled = tf.reshape(activations, [-1 if positions is None else positions, n_c])
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

    Examples
    --------
    One layer of four positions and one channel: its Gram matrices are 4 and 0.

    >>> import numpy as np
    >>> from nst_graph import get_runtime, style_cost
    >>> a_s, a_g = np.ones((1, 2, 2, 1), np.float32), np.zeros((1, 2, 2, 1), np.float32)
    >>> with get_runtime().session_scope() as session:
    ...     print(session.run(style_cost([a_s], [a_g], [0.5])))
    0.125
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
                    squares = sum_of_squares(g_s, gram_matrix(a_g))
                else:
                    targets = tf.unstack(a_s)
                    # Not a list: the operations of a style follow on those of the style before.
                    grams = (gram_matrix(a_g, mask) for mask in tf.unstack(masks[number - 1]))
                    squares = _over_styles(targets, grams, tf.unstack(style_weights))
                terms.append(_style_term(squares, n_h * n_w, n_c, coefficient))
        return tf.add_n(terms, name="sum")


def style_cost_of_sums(
    targets: Sequence[Any],
    grams: Sequence[Sequence[Any]],
    positions: Sequence[int],
    style_layer_coefficients: Sequence[float],
    style_weights: Any = None,
) -> Any:
    """Return what `style_cost` does, from the Gram matrices.

    Parameters
    ----------
    targets : sequence of tf.Tensor
        For each style layer, the style image's Gram matrix, float32 (n_c, n_c); with masks (k, n_c, n_c).
    grams : sequence of sequence of tf.Tensor
        For each style layer, the generated image's Gram matrix, float32 (n_c, n_c): one, or with masks k. They are
        named after their layer.
    positions : sequence of int
        For each style layer, n_h * n_w.
    style_layer_coefficients : sequence of float
        Lambda of each of these layers.
    style_weights : tf.Tensor, optional
        With masks, float32 (k,).

    Returns
    -------
    tf.Tensor
        float32 scalar.
    """
    tf = get_runtime().tf
    terms: List[Any] = []
    with tf.name_scope("style_cost"):
        for target, of_styles, n, coefficient in zip(targets, grams, positions, style_layer_coefficients):
            with tf.name_scope(_layer_name(of_styles[0], len(terms) + 1)):
                if style_weights is None:
                    squares = sum_of_squares(target, of_styles[0])
                else:
                    squares = _over_styles(tf.unstack(target), of_styles, tf.unstack(style_weights))
                terms.append(_style_term(squares, n, int(target.shape[-1]), coefficient))
        return tf.add_n(terms, name="sum")


def _over_styles(targets: Sequence[Any], grams: Iterable[Any], weights: Sequence[Any]) -> Any:
    """Return the sum over the styles of each style's sum of squares times its weight."""
    tf = get_runtime().tf
    return tf.add_n([weight * sum_of_squares(g_s, g_g) for g_s, g_g, weight in zip(targets, grams, weights)])


def _style_term(squares: Any, positions: int, n_c: int, coefficient: float) -> Any:
    """Return a layer's share of the style cost."""
    tf = get_runtime().tf
    # Not a constant: TensorFlow 1.15 would multiply the two factors beforehand where the target is fed, and not where
    # it is a constant. The last bit of the cost would differ.
    weight = tf.placeholder_with_default(tf.constant(coefficient, tf.float32), (), name="coefficient")
    return (1 / (4 * n_c**2 * positions**2)) * squares * weight


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

    Examples
    --------
    >>> from nst_graph import get_runtime, total_cost
    >>> with get_runtime().session_scope() as session:
    ...     tf = get_runtime().tf
    ...     total = total_cost(tf.constant(0.25), tf.constant(0.5), alpha=10, beta=40)
    ...     print(session.run(total))
    22.5
    """
    with get_runtime().tf.name_scope("total_cost"):
        total = alpha * content_cost + beta * style_cost
        return total if tv_cost is None else total + tv_weight * tv_cost
