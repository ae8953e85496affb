"""Costs and gradient in horizontal strips, for pictures whose activations do not fit into memory."""

import itertools
from typing import Any, Callable, Collection, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from nst_graph.costs import (
    Costs,
    content_cost_of_sums,
    gram_matrix,
    layer_costs,
    squares_of_neighbours,
    style_cost_of_sums,
    sum_of_squares,
    total_cost,
    total_variation_cost_of_sum,
)
from nst_graph.network import layer_outputs
from nst_graph.objective import Objective, as_floats
from nst_graph.runtimes import get_runtime
from nst_graph.session import NetworkSession
from nst_graph.settings import Settings
from nst_graph.targets import Grams, Targets, for_positions
from nst_graph.vgg19 import LAYERS, feature_map_size
from nst_graph.weights import Weights

#: Bytes of a strip for each row and column of the picture. Every block but the last has 64 channels for each column of
#: the picture; 13 float32 for each were measured in block 3, which differentiates four convolutions, at 1600x1200 on
#: TensorFlow 2.21.
_ROW = 13 * 4 * 64


def rows_for(width: int, budget: int = 600_000_000) -> int:
    """Return how many rows a strip may have.

    Parameters
    ----------
    width : int
        Of the picture in pixels.
    budget : int
        Bytes that a strip may take. Rows of a halo are computed twice, so fewer rows take longer: at 1600x1200, 400 MB
        take 5% longer than 1 GB.

    Returns
    -------
    int
        At least 2, and even.
    """
    return max(budget // (_ROW * width) // 2 * 2, 2)


class _Sum(NamedTuple):
    """A sum over positions: a Gram matrix or a sum of squares.

    Attributes
    ----------
    part : tf.Tensor
        A strip's share of it, float32.
    whole : tf.Tensor
        Placeholder for the sum over all strips. The costs are made from it.
    gradient : tf.Tensor
        Placeholder for the gradient of the total cost with respect to it.
    """

    part: Any
    whole: Any
    gradient: Any


class _Strip(NamedTuple):
    """Rows of a block's input: the strip's own, and with its halo.

    Attributes
    ----------
    start, stop : int
        Its own rows. `start` is even, so that pools take the same rows as in the whole picture.
    first, last : int
        With the rows above and below that its own activations depend on.
    """

    start: int
    stop: int
    first: int
    last: int

    def rows(self, index: int) -> slice:
        """Return which rows of a layer of the block are its own."""
        if LAYERS[index].is_convolution:
            return slice(self.start, self.stop)
        # With max pools, this may be one more than the layer has.
        return slice(self.start // 2, (self.stop + 1) // 2)


class _Block:
    """One block of the network on a strip, in the default graph.

    Each convolution sees one row above and below. So a strip comes with a halo of one row for each convolution. After
    each of them one more row of the halo is wrong, because the convolution took it for the picture's edge, and the
    strip's own rows are right. At the picture's own edges there is no halo: there the convolution's padding is right.
    To cut a row off after each convolution would save little work, and cost a copy of the gradient for each.

    Parameters
    ----------
    vgg_model : keras.Model
        From `nst_graph.network.load_vgg19`.
    layers : sequence of int
        Indices of the block's layers that are computed.
    used : collection of int
        Indices of the layers that costs use.
    pooling, scope : str
        See `nst_graph.network.layer_outputs`.

    Attributes
    ----------
    layers : sequence of int
        As given.
    strip : tf.Tensor
        Placeholder for rows of the block's input, float32 (1, rows with halo, w, c).
    above, below : tf.Tensor
        Placeholders for the number of rows of the halo, int32 scalars.
    halo : int
        Rows of it above and below a strip, where the picture goes on.
    own : dict
        For each layer that a cost uses, and for the pool, the activations of the strip's own rows, float32
        (1, rows, n_w, n_c).
    targets, masks : dict
        Placeholders by layer: the strip's part of a content target, float32 (1, rows, n_w, n_c), and of masks, float32
        (k, rows * n_w, 1).
    sums : list of _Sum
        What the costs need of this block.
    kept : list of tf.Operation
        What is fetched besides, so that the sums stay in float32.
    """

    def __init__(self, vgg_model: Any, layers: Sequence[int], used: Collection[int], pooling: str, scope: str) -> None:
        tf = get_runtime().tf
        self._scope = scope
        self.layers = layers
        self.halo = sum(LAYERS[index].is_convolution for index in layers)
        self.targets: Dict[int, Any] = {}
        self.masks: Dict[int, Any] = {}
        self.sums: List[_Sum] = []
        self.kept: List[Any] = []
        self.own: Dict[int, Any] = {}
        first = LAYERS[layers[0]]
        with tf.name_scope(f"{scope}{first.block}/"):
            self.strip = tf.placeholder(tf.float32, (1, None, None, first.in_channels), name="strip")
            self.above, self.below = (tf.placeholder(tf.int32, (), name=name) for name in ("above", "below"))
        x = self.strip
        for index in layers:
            x = layer_outputs(x, vgg_model, pooling, [index], scope)[index]
            is_last = index + 1 in layers and not LAYERS[index + 1].is_convolution
            if LAYERS[index].is_convolution and (index in used or is_last):
                with tf.name_scope(self.scope_of(index)):
                    self.own[index] = _inner_rows(x, self.above, self.below)
            elif not LAYERS[index].is_convolution:
                self.own[index] = x
            if is_last:
                x = self.own[index]  # a pool sees no halo

    def scope_of(self, index: int) -> str:
        """Return the name scope of a layer, which its costs are named after."""
        return f"{self._scope}{LAYERS[index].block}/{LAYERS[index].name}/"

    def add_sum(self, part: Any) -> _Sum:
        """Take a sum over the strip's own positions into `sums` and return it."""
        tf = get_runtime().tf
        whole, gradient = (tf.placeholder(tf.float32, part.shape, name=name) for name in ("whole", "gradient"))
        self.sums.append(_Sum(part, whole, gradient))
        return self.sums[-1]

    def differentiate(self, goes_on: bool) -> None:
        """Build `gradient`, that of the total cost with respect to `strip`, once all sums are there.

        Parameters
        ----------
        goes_on : bool
            Whether the block's pool is the input of another block. Then the gradient with respect to the pool of the
            strip's own rows is fed to the placeholder `pooled_gradient`.
        """
        tf = get_runtime().tf
        with tf.name_scope(self._scope + "train/"):
            parts, gradients = [each.part for each in self.sums], [each.gradient for each in self.sums]
            if goes_on:
                pooled = self.own[self.layers[-1]]
                self.pooled_gradient = tf.placeholder(tf.float32, pooled.shape, name="pooled_gradient")
                parts.append(pooled)
                gradients.append(self.pooled_gradient)
            (self.gradient,) = tf.gradients(parts, [self.strip], gradients)

    def strips(self, height: int, rows: int) -> Iterator[_Strip]:
        """Divide a block's input into strips of about the same height, at most `rows`, which is even.

        An odd last row belongs to the strip before it.
        """
        pairs = max(height // 2, 1)
        number = -(-pairs // (rows // 2))
        edges = [2 * (pairs * strip // number) for strip in range(number)] + [height]
        for start, stop in zip(edges, edges[1:]):
            yield _Strip(start, stop, max(start - self.halo, 0), min(stop + self.halo, height))


def _inner_rows(x: Any, above: Any, below: Any) -> Any:
    """Cut rows off activations, float32 (1, rows, w, c). A cut along the FIRST axis copies nothing."""
    tf = get_runtime().tf
    rows = tf.squeeze(x, [0])
    return tf.expand_dims(rows[above : tf.shape(rows)[0] - below], 0)


class Strips(Objective):
    """The same costs and the same gradient as `Objective`, in less memory and more time.

    Parameters
    ----------
    size, settings, network, masked_styles, scope : object
        See `Objective`. A style image may be of any size, whatever the settings say.
    rows : int
        How many rows of a block's input are computed at a time; at least 2. See `rows_for`.

    Attributes
    ----------
    session, size, input_var, assign, costs : object
        See `Objective`.
    gradient : tf.Tensor
        Placeholder of the shape of `input_var`. `evaluate_with` computes the gradient of the total cost and feeds it.

    Notes
    -----
    A gradient goes through the network three times.

    1. Forward, block by block and strip by strip. The sums that the costs are made from, Gram matrices and sums of
       squares, are added up over the strips in float64. Only the blocks' inputs are kept.
    2. From the sums to the costs, and to the gradient of the total cost with respect to the sums.
    3. Backward, from the last block to the first. Each strip is computed once more and differentiated. The gradient of
       a strip's halo belongs to its neighbours and is added there.

    The plain graph keeps all activations, 3200 bytes per pixel for the article's layers. The blocks' inputs have 132.

    Examples
    --------
    >>> from nst_graph import Objective, Settings, find_weights, load_img
    >>> from nst_graph.strips import Strips
    >>> settings = Settings(size=(48, 36))
    >>> paths = "input/cat.jpg", "input/starry_night.jpg"
    >>> images = [load_img(path, settings.size, settings.color_means) for path in paths]
    >>> totals = []
    >>> for objective in (
    ...     Objective(settings.size, settings, find_weights()),
    ...     Strips(settings.size, settings, find_weights(), rows=16),
    ... ):
    ...     with objective:
    ...         objective.take(objective.targets(*images))
    ...         objective.set_image(images[1])
    ...         totals.append(objective.evaluate().total)
    >>> abs(totals[0] / totals[1] - 1) < 1e-3
    True
    """

    def __init__(
        self,
        size: Tuple[int, int],
        settings: Settings,
        network: Union[NetworkSession, Weights],
        masked_styles: int = 0,
        scope: str = "",
        *,
        rows: int,
    ) -> None:
        self._rows = max(rows - rows % 2, 2)
        super().__init__(size, settings, network, masked_styles, scope)

    def _build(self, settings: Settings, masked_styles: int) -> None:
        tf = get_runtime().tf
        self._build_input(settings.num_color_channels)
        vgg_model = self._network.vgg_model
        self._contents = [index for index, _ in settings.content_layer_weights]
        self._blocks = [
            _Block(vgg_model, list(layers), {*self._contents, *self._layers}, settings.pooling, self.scope)
            for _, layers in itertools.groupby(range(1, settings.deepest_layer + 1), lambda index: LAYERS[index].block)
        ]
        block_of = {index: block for block in self._blocks for index in block.layers}

        squares = []
        for index in self._contents:
            block = block_of[index]
            own, before = block.own[index], self._count()
            with tf.name_scope(block.scope_of(index)):
                block.targets[index] = tf.placeholder(tf.float32, own.shape, name="target")
                squares.append(block.add_sum(sum_of_squares(block.targets[index], own)))
            block.kept += self._kept_since(before)
        grams = []
        for index in self._layers:
            block = block_of[index]
            own, before = block.own[index], self._count()
            with tf.name_scope(block.scope_of(index)):
                if masked_styles:
                    block.masks[index] = tf.placeholder(tf.float32, (masked_styles, None, 1), name="masks")
                    of_styles = [gram_matrix(own, mask) for mask in tf.unstack(block.masks[index])]
                else:
                    of_styles = [gram_matrix(own)]
                grams.append([block.add_sum(of_style) for of_style in of_styles])
            block.kept += self._kept_since(before)
        variation = None
        if settings.tv_weight:
            block, before = self._blocks[0], self._count()
            with tf.name_scope(self.scope + "input_var/"):
                own = _inner_rows(block.strip, block.above, block.below)
                with_next_row = _inner_rows(block.strip, block.above, tf.maximum(block.below - 1, 0))
                variation = block.add_sum(squares_of_neighbours(own, with_next_row))
            block.kept += self._kept_since(before)

        self._build_costs(settings, masked_styles, squares, grams, variation)
        for block in self._blocks:
            block.differentiate(block is not self._blocks[-1])
        with tf.name_scope(self.scope + "train/"):
            self.gradient = tf.placeholder(tf.float32, self.input_var.shape, name="gradient")

    def _build_costs(
        self,
        settings: Settings,
        masked_styles: int,
        squares: Sequence[_Sum],
        grams: Sequence[Sequence[_Sum]],
        variation: Optional[_Sum],
    ) -> None:
        """Build the costs from the sums, and the gradient of the total cost with respect to each sum."""
        tf = get_runtime().tf
        width, height = self.size
        shapes = [self._shape(index) for index in self._contents]
        content_weights = [weight for _, weight in settings.content_layer_weights]
        self._style_targets, self._style_weights = [], None
        for index in self._layers:
            each = (masked_styles,) if masked_styles else ()
            with tf.name_scope(f"{self.scope}style_cost/{LAYERS[index].name}/"):
                shape = (*each, LAYERS[index].channels, LAYERS[index].channels)
                self._style_targets.append(tf.placeholder(tf.float32, shape, name="target"))
        if masked_styles:
            with tf.name_scope(self.scope + "style_cost/"):
                self._style_weights = tf.placeholder(tf.float32, (masked_styles,), name="style_weights")

        j_content = content_cost_of_sums(shapes, [each.whole for each in squares], content_weights)
        j_style = style_cost_of_sums(
            self._style_targets,
            [[each.whole for each in of_styles] for of_styles in grams],
            [self.positions(index) for index in self._layers],
            [coefficient for _, coefficient in settings.style_layer_weights],
            self._style_weights,
        )
        j_tv = None
        if variation is not None:
            shape = (height, width, settings.num_color_channels)
            j_tv = total_variation_cost_of_sum(variation.whole, shape)
        j_total = total_cost(j_content, j_style, settings.alpha, settings.beta, j_tv, settings.tv_weight)
        several = len(self._contents) > 1
        self.costs = Costs.of(j_content, j_style, j_total, j_tv, layer_costs(j_content) if several else ())
        with tf.name_scope(self.scope + "train/"):
            self._of_sums = [
                tf.gradients(j_total, [each.whole for each in block.sums]) if block.sums else []
                for block in self._blocks
            ]

    @property
    def roots(self) -> Tuple[Any, ...]:
        """Operations that need everything of the graph but an optimiser: see `Objective`."""
        of_blocks = ((block.own[block.layers[-1]].op, block.gradient.op) for block in self._blocks)
        return (*super().roots, *itertools.chain.from_iterable(of_blocks))

    def _shape(self, index: int) -> Tuple[int, int, int]:
        """Return n_h, n_w and n_c of a layer."""
        width, height = feature_map_size(self.size, index, self._pooling)
        return height, width, LAYERS[index].channels

    def content_target(self, content_img: np.ndarray) -> Tuple[np.ndarray, ...]:
        """Return the content layers' activations of an image, which stays in `input_var`; see `Objective`."""
        self.session.run(self._initialize, feed_dict={self._picture: content_img})
        targets = {index: np.empty((1, *self._shape(index)), np.float32) for index in self._contents}
        for strip, activations in self._activations(content_img, self._contents):
            for index, own in activations.items():
                targets[index][:, strip.rows(index)] = own
        return tuple(targets[index] for index in self._contents)

    def style_target(self, style_img: np.ndarray) -> Grams:
        """Return the Gram matrices of an image; see `Objective`. `input_var` stays as it is.

        Parameters
        ----------
        style_img : ndarray
            float32 (1, h, w, 3), preprocessed, of any size.

        Returns
        -------
        tuple of ndarray
            For each style layer, float32 (n_c, n_c), see `nst_graph.targets.Targets`.
        """
        _, height, width, _ = style_img.shape
        grams = {index: np.zeros((LAYERS[index].channels,) * 2) for index in self._layers}
        for _, activations in self._activations(style_img, self._layers):
            for index, own in activations.items():
                grams[index] += gram_matrix(own)
        sizes = [feature_map_size((width, height), index, self._pooling) for index in self._layers]
        wanted = [self.positions(index) for index in self._layers]
        return for_positions(tuple(grams[index] for index in self._layers), [w * h for w, h in sizes], wanted)

    def _activations(self, img: np.ndarray, layers: Sequence[int]) -> Iterator[Tuple[_Strip, Dict[int, np.ndarray]]]:
        """Yield each strip and the activations of its own rows, by layer."""

        def fetches(block: _Block) -> Dict[int, Any]:
            return {index: block.own[index] for index in layers if index in block.own}

        for _, strip, activations in self._forward(self._network.float32, img, max(layers), fetches):
            yield strip, activations

    def _forward(
        self,
        session: Any,
        img: np.ndarray,
        deepest: int,
        fetches: Callable[[_Block], Any],
        feeds: Callable[[_Block, _Strip], Dict[Any, np.ndarray]] = lambda block, strip: {},
        inputs: Optional[List[np.ndarray]] = None,
    ) -> Iterator[Tuple[_Block, _Strip, Any]]:
        """Go through the network in strips.

        Parameters
        ----------
        session : tf.Session
            The one to compute in.
        img : ndarray
            float32 (1, h, w, 3), of any size.
        deepest : int
            Index of the last layer that is needed.
        fetches, feeds : callable
            What to fetch and to feed for a strip of a block.
        inputs : list of ndarray, optional
            Gets the input of each block, `img` included.

        Yields
        ------
        block, strip, fetched : _Block, _Strip, object
            For each strip.
        """
        size = img.shape[2], img.shape[1]
        x = img
        for block in self._blocks:
            if inputs is not None:
                inputs.append(x)
            pool = block.layers[-1]
            goes_on = deepest > pool
            pooled = None
            if goes_on:
                width, height = feature_map_size(size, pool, self._pooling)
                pooled = np.empty((1, height, width, LAYERS[pool].channels), np.float32)
            for strip in block.strips(x.shape[1], self._rows):
                feed = {**self._feed_of(block, strip, x[:, strip.first : strip.last]), **feeds(block, strip)}
                own, fetched = session.run([[block.own[pool]] if goes_on else [], fetches(block)], feed)
                if pooled is not None:
                    pooled[:, strip.rows(pool)] = own[0]
                yield block, strip, fetched
            if pooled is None:
                return
            x = pooled

    @staticmethod
    def _feed_of(block: _Block, strip: _Strip, rows: np.ndarray) -> Dict[Any, Any]:
        return {block.strip: rows, block.above: strip.start - strip.first, block.below: strip.last - strip.stop}

    def _compared(self, block: _Block, strip: _Strip) -> Dict[Any, np.ndarray]:
        """Return the strip's part of content targets and masks, by placeholder."""
        feed = {}
        for index, target in zip(self._contents, self._taken.content):
            if index in block.targets:
                feed[block.targets[index]] = target[:, strip.rows(index)]
        for index, masks in zip(self._layers, self._taken.masks):
            if index in block.masks:
                n_h, n_w, _ = self._shape(index)
                rows = masks.reshape((-1, n_h, n_w))[:, strip.rows(index)]
                feed[block.masks[index]] = rows.reshape((len(rows), -1, 1))
        return feed

    def take(self, targets: Targets) -> None:
        """Compare with these targets from now on; see `Objective`."""
        self._taken = targets
        self._feed = dict(zip(self._style_targets, targets.style))
        if self._style_weights is not None:
            self._feed[self._style_weights] = targets.style_weights

    def evaluate(self) -> Costs:
        """Return the costs of the image in `input_var`; see `Objective`. Takes a forward pass."""
        costs, _ = self._costs(self._network.float32, self.image())
        return costs

    def evaluate_with(self, fetch: Any) -> Tuple[Costs, Any]:
        """Return the costs of the image in `input_var`, and one fetch more that gets the gradient; see `Objective`."""
        inputs: List[np.ndarray] = []
        costs, of_sums = self._costs(self.session, self.image(), inputs)
        gradient = None
        for block, of_block in zip(reversed(self._blocks), reversed(of_sums)):
            gradient = self._backward(block, inputs.pop(), of_block, gradient)
        return costs, self.session.run(fetch, feed_dict={self.gradient: gradient})

    def _costs(
        self, session: Any, img: np.ndarray, inputs: Optional[List[np.ndarray]] = None
    ) -> Tuple[Costs, List[List[np.ndarray]]]:
        """Return the costs of an image and, for each block, the gradient of the total cost with respect to each sum."""
        sums = {block: [np.zeros(each.part.shape.as_list()) for each in block.sums] for block in self._blocks}

        def parts(block: _Block) -> List[Any]:
            return [*(each.part for each in block.sums), *block.kept]

        for block, _, found in self._forward(session, img, self._blocks[-1].layers[-1], parts, self._compared, inputs):
            for whole, part in zip(sums[block], found):
                whole += part
        feed = {each.whole: whole for block in self._blocks for each, whole in zip(block.sums, sums[block])}
        costs, of_sums = session.run([self.costs, self._of_sums], {**self._feed, **feed})
        return as_floats(costs), of_sums

    def _backward(
        self, block: _Block, x: np.ndarray, of_sums: Sequence[np.ndarray], of_pooled: Optional[np.ndarray]
    ) -> np.ndarray:
        """Write the gradient with respect to a block's input over that input.

        Parameters
        ----------
        block : _Block
            Of the network.
        x : ndarray
            The block's input, float32 (1, h, w, c).
        of_sums : sequence of ndarray
            Gradient of the total cost with respect to each of the block's sums.
        of_pooled : ndarray, optional
            Gradient with respect to the block's pool; None for the last block.

        Returns
        -------
        ndarray
            `x`. A second array of its size would be the largest of all: 3 GB for block 2 at 8000x6000.
        """
        pool = block.layers[-1]
        feed_of_sums = {each.gradient: gradient for each, gradient in zip(block.sums, of_sums)}
        # The input of the rows above a strip, which are overwritten, and the gradient that the strip before has for it.
        above = from_above = x[:, :0].copy()
        for strip in block.strips(x.shape[1], self._rows):
            start, stop, first, last = strip
            rows = np.concatenate([above, x[:, start:last]], axis=1)
            feed = {**self._feed_of(block, strip, rows), **self._compared(block, strip), **feed_of_sums}
            if of_pooled is not None:
                feed[block.pooled_gradient] = of_pooled[:, strip.rows(pool)]
            gradient = self.session.run(block.gradient, feed)
            gradient[:, start - first : start - first + from_above.shape[1]] += from_above
            x[:, first:start] += gradient[:, : start - first]
            x[:, start:stop] = gradient[:, start - first : stop - first]
            from_above = gradient[:, stop - first :].copy()
            above = rows[:, max(stop - block.halo, 0) - first : stop - first].copy()
        return x
