"""What is minimised: one graph and one session for one picture size. It turns an image into costs and a gradient."""

import contextlib
from typing import Any, ContextManager, Dict, List, Sequence, Tuple, Union

import numpy as np

from nst_graph import precision
from nst_graph.costs import Costs, content_layers_cost, layer_costs, style_cost, total_cost, total_variation_cost
from nst_graph.network import layer_outputs
from nst_graph.runtimes import get_runtime
from nst_graph.session import NetworkSession
from nst_graph.settings import Settings
from nst_graph.targets import Grams, Targets, for_positions, style_target
from nst_graph.vgg19 import LAYERS, feature_map_size
from nst_graph.weights import Weights


class Objective:
    """The article's graph in a session: a context manager that closes the session at the end.

    It serves any number of pictures of its size, one after the other. Targets and images are fed, so the graph holds no
    picture and does not grow.

    Parameters
    ----------
    size : tuple of int
        Width and height of the image in pixels.
    settings : Settings
        Its layers, coefficients, pooling and weights of the costs. Where pictures keep their proportions, the graph has
        the network once more, for style images of any size.
    network : NetworkSession or Weights
        A session with VGG-19 in it, which other objectives share and which the caller closes; or the weights, from
        `nst_graph.weights.find_weights`, for a session of its own.
    masked_styles : int
        Number of styles that have masks; 0 is one target for the whole image.
    scope : str
        What the names of the operations begin with, for objectives that share a session: `200x150` for example.

    Attributes
    ----------
    session : tf.Session
        Holds the graph.
    input_var : tf.Variable
        The image, float32 (1, h, w, 3).
    gradient : tf.Tensor
        Gradient of the total cost with respect to `input_var`, of the same shape.
    assign : tf.Operation
        Assigns a picture to `input_var`.
    costs : Costs
        Scalar tensors by name.
    scope : str
        What the names of the operations begin with: "", or a name with a slash at the end.

    Raises
    ------
    RuntimeMissingError
        If TensorFlow is not available.
    SettingError
        If the size is too small for a layer of the settings.

    Examples
    --------
    >>> from nst_graph import Objective, Settings, find_weights, load_img
    >>> settings = Settings(size=(48, 36))
    >>> paths = "input/cat.jpg", "input/starry_night.jpg"
    >>> images = [load_img(path, settings.size, settings.color_means) for path in paths]
    >>> with Objective(settings.size, settings, find_weights()) as objective:
    ...     objective.take(objective.targets(*images))
    ...     objective.set_image(images[1])
    ...     costs, gradient = objective.evaluate_with(objective.gradient)
    >>> gradient.shape, gradient.dtype
    ((1, 36, 48, 3), dtype('float32'))
    >>> list(costs)[:4]
    ['content', 'style', 'total', 'style/block1_conv1']
    >>> costs.content > costs.style  # the image has the style already
    True
    """

    def __init__(
        self,
        size: Tuple[int, int],
        settings: Settings,
        network: Union[NetworkSession, Weights],
        masked_styles: int = 0,
        scope: str = "",
    ) -> None:
        self.size = size
        self._layers = [index for index, _ in settings.style_layer_weights]
        self._pooling = settings.pooling
        settings.check_layers(size)
        with contextlib.ExitStack() as stack:
            if isinstance(network, NetworkSession):
                network.reopen()
            else:
                bfloat16 = precision.resolved(settings.precision) == "bfloat16"
                network = stack.enter_context(NetworkSession(network, bfloat16, settings.threads))
            self._network = network
            self.session = network.session
            try:
                with self.building() as tf, tf.name_scope(scope) if scope else contextlib.nullcontext("") as self.scope:
                    self._build(settings, masked_styles)
            except BaseException:
                self.finalize()  # other objectives may use the graph
                raise
            self._resources = stack.pop_all()

    def __enter__(self) -> "Objective":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the session if it is this objective's own."""
        self._resources.close()

    def building(self) -> ContextManager[Any]:
        """Enter the graph to add operations, an optimiser's for example: see `NetworkSession.building`."""
        return self._network.building()

    def finalize(self) -> None:
        """Close the graph: from here on, whatever would add an operation to it raises RuntimeError."""
        self._network.finalize()

    def _build(self, settings: Settings, masked_styles: int) -> None:
        runtime = get_runtime()
        tf = runtime.tf
        channels = settings.num_color_channels
        self._build_input(channels)
        vgg_model = self._network.vgg_model
        outputs = layer_outputs(self.input_var, vgg_model, settings.pooling, scope=self.scope)
        content_layers, content_weights = zip(*settings.content_layer_weights)
        style_layers, coefficients = zip(*settings.style_layer_weights)
        self._x_contents, self._x_styles = ([outputs[index] for index in of] for of in (content_layers, style_layers))
        if settings.keeps_proportions:
            self._other, others = self._network.outputs_of_any_size(settings.pooling)
            self._other_styles = [others[index] for index in style_layers]
        self._inference = {runtime.keras.backend.learning_phase(): 0}

        self._targets = self._placeholders(content_layers, style_layers, masked_styles)
        self._feed: Dict[Any, np.ndarray] = {}

        before = self._count()
        j_content = content_layers_cost(self._targets.content, self._x_contents, content_weights)
        j_style = style_cost(
            self._targets.style,
            self._x_styles,
            coefficients,
            self._targets.masks or None,
            self._targets.style_weights,
        )
        j_tv = total_variation_cost(self.input_var) if settings.tv_weight else None
        j_total = total_cost(j_content, j_style, settings.alpha, settings.beta, j_tv, settings.tv_weight)
        several = len(content_layers) > 1
        self.costs = Costs.of(j_content, j_style, j_total, j_tv, layer_costs(j_content) if several else ())
        self._kept = self._kept_since(before)
        with tf.name_scope(self.scope + "train/"):
            # As the article's optimizer.minimize computes it.
            (self.gradient,) = tf.gradients(j_total, [self.input_var], gate_gradients=True)

    def _count(self) -> int:
        return len(self.session.graph.get_operations())

    def _kept_since(self, before: int) -> List[Any]:
        """Return what runs of the session must fetch so that TensorFlow does not put it into bfloat16.

        Parameters
        ----------
        before : int
            `_count()` before the operations were added. All from there on are kept, but for placeholders.
        """
        added = self.session.graph.get_operations()[before:] if self._network.bfloat16 else []
        return [operation for operation in added if operation.type != "Placeholder"]

    def _build_input(self, channels: int) -> None:
        """Build `input_var` and what assigns a picture to it."""
        tf = get_runtime().tf
        width, height = self.size
        with tf.name_scope(self.scope + "input_var/"):
            self._picture = tf.placeholder(tf.float32, (1, height, width, channels), name="picture")
        self.input_var = tf.Variable(
            self._picture, dtype=tf.float32, expected_shape=(None, None, None, channels), name="input_var"
        )
        self._initialize = tf.variables_initializer([self.input_var])
        with tf.name_scope(self.scope + "input_var/"):
            self.assign = self.input_var.assign(self._picture).op

    def _placeholders(self, content_layers: Sequence[int], style_layers: Sequence[int], masked_styles: int) -> Targets:
        """Return placeholders for targets, in the form of targets."""
        tf = get_runtime().tf
        contents, styles, masks = [], [], []
        for index, x_content in zip(content_layers, self._x_contents):
            scope = f"{LAYERS[index].name}/" if len(content_layers) > 1 else ""
            with tf.name_scope(f"{self.scope}content_cost/{scope}"):
                contents.append(tf.placeholder(tf.float32, x_content.shape, name="target"))
        for index in style_layers:
            layer = LAYERS[index]
            each = (masked_styles,) if masked_styles else ()
            with tf.name_scope(f"{self.scope}style_cost/{layer.name}/"):
                styles.append(tf.placeholder(tf.float32, (*each, layer.channels, layer.channels), name="target"))
                if masked_styles:
                    masks.append(tf.placeholder(tf.float32, (*each, self.positions(index), 1), name="masks"))
        if not masked_styles:
            return Targets(tuple(contents), tuple(styles))
        with tf.name_scope(self.scope + "style_cost/"):
            weights = tf.placeholder(tf.float32, (masked_styles,), name="style_weights")
        return Targets(tuple(contents), tuple(styles), tuple(masks), weights)

    @property
    def roots(self) -> Tuple[Any, ...]:
        """Operations that need everything of the graph but an optimiser, for drawings of it."""
        return self.assign, self.costs.total.op

    def positions(self, index: int) -> int:
        """Return the number of positions, n_h * n_w, of a layer at this size."""
        width, height = feature_map_size(self.size, index, self._pooling)
        return width * height

    def content_target(self, content_img: np.ndarray) -> Tuple[np.ndarray, ...]:
        """Return the content layers' activations of an image, which stays in `input_var`.

        Parameters
        ----------
        content_img : ndarray
            float32 (1, h, w, 3), preprocessed, of the objective's size.

        Returns
        -------
        tuple of ndarray
            For each content layer, float32 (1, n_h, n_w, n_c), see `Targets`.
        """
        # As in the article, the variable begins as the content image.
        self.session.run(self._initialize, feed_dict={self._picture: content_img})
        return tuple(self._in_float32(self._x_contents, self._inference))

    def style_target(self, style_img: np.ndarray) -> Grams:
        """Return the Gram matrices of an image. An image of the objective's size stays in `input_var`.

        Parameters
        ----------
        style_img : ndarray
            float32 (1, h, w, 3), preprocessed; of the objective's size, or of any if the settings keep proportions.

        Returns
        -------
        tuple of ndarray
            For each style layer, float32 (n_c, n_c), see `Targets`. Those of another size ask for the same style, see
            `nst_graph.targets.for_positions`.
        """
        _, height, width, _ = style_img.shape
        if (width, height) == self.size:
            self.set_image(style_img)
            return style_target(self._in_float32(self._x_styles, self._inference))
        activations = self._network.float32.run(self._other_styles, {self._other: style_img, **self._inference})
        positions = [a_s.shape[1] * a_s.shape[2] for a_s in activations]
        return for_positions(style_target(activations), positions, [self.positions(index) for index in self._layers])

    def targets(self, content_img: np.ndarray, style_img: np.ndarray) -> Targets:
        """Return the targets of a content and a style image: `content_target`, then `style_target`."""
        return Targets(self.content_target(content_img), self.style_target(style_img))

    def take(self, targets: Targets) -> None:
        """Compare with these targets from now on.

        Parameters
        ----------
        targets : Targets
            Of the objective's size, layers and number of masked styles.
        """
        self._feed = {}
        for placeholders, arrays in zip(self._targets[:3], targets[:3]):
            self._feed.update(zip(placeholders, arrays))
        if self._targets.masks:
            self._feed[self._targets.style_weights] = targets.style_weights

    def set_image(self, img: np.ndarray) -> None:
        """Assign an image to `input_var`: float32 (1, h, w, 3), preprocessed, of the objective's size."""
        self.session.run(self.assign, feed_dict={self._picture: img})

    def image(self) -> np.ndarray:
        """Return the image in `input_var`: float32 (1, h, w, 3), preprocessed."""
        return np.asarray(self.session.run(self.input_var))

    def evaluate(self) -> Costs:
        """Compute the costs of the image in `input_var`, which takes a forward pass.

        Returns
        -------
        Costs
            Floats that hold float32 values. They are computed in float32, also where the steps are in bfloat16.
        """
        return as_floats(self._in_float32(self.costs, self._feed))

    def _in_float32(self, fetches: Any, feed: Dict[Any, Any]) -> Any:
        session = self._network.float32
        if session is not self.session:
            session.run(self._initialize, feed_dict={self._picture: self.image()})
        return session.run(fetches, feed_dict=feed)

    def evaluate_with(self, fetch: Any) -> Tuple[Costs, Any]:
        """Return the costs of the image in `input_var` and one fetch more, from one run of the session.

        Parameters
        ----------
        fetch : tf.Tensor or tf.Operation
            For example `gradient`, or an optimiser's training step.

        Returns
        -------
        costs : Costs
            Of the image BEFORE the step: the gradient needs them anyway. `evaluate` may return values that differ in
            the last bit, where TensorFlow arranges a sum in another way.
        fetched : object
            As `session.run` returns it.
        """
        costs, fetched, *_ = self.session.run([self.costs, fetch, *self._kept], feed_dict=self._feed)
        return as_floats(costs), fetched


def as_floats(costs: Costs) -> Costs:
    """Return costs as `session.run` returns them, as floats."""
    return Costs((name, float(cost)) for name, cost in costs.items())
