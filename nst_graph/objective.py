"""What is minimised: one graph and one session for one picture size. It turns an image into costs and a gradient."""

import contextlib
from typing import Any, Dict, Iterator, Tuple

import numpy as np

from nst_graph.costs import Costs, content_cost, style_cost, total_cost
from nst_graph.network import create_output_tensors
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings
from nst_graph.targets import Targets, style_target
from nst_graph.vgg19 import LAYERS
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
        Its layers, coefficients, alpha and beta.
    weights : Weights
        Of VGG-19, from `nst_graph.weights.find_weights`.

    Raises
    ------
    RuntimeMissingError
        If TensorFlow is not available.

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

    Examples
    --------
    >>> with Objective((400, 300), Settings(), find_weights()) as objective:  # doctest: +SKIP
    ...     objective.take(objective.targets(content_img, style_img))
    ...     objective.set_image(noisy_img)
    ...     costs, gradient = objective.evaluate_with(objective.gradient)
    """

    def __init__(self, size: Tuple[int, int], settings: Settings, weights: Weights) -> None:
        self.size = size
        runtime = get_runtime()
        with contextlib.ExitStack() as stack:
            self.session = stack.enter_context(contextlib.closing(runtime.new_session()))
            with self.building():
                self._build(settings, weights)
            self._resources = stack.pop_all()

    def __enter__(self) -> "Objective":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the session. The graph is freed when nothing refers to it any more."""
        self._resources.close()

    @contextlib.contextmanager
    def building(self) -> Iterator[Any]:
        """Enter the graph to add operations, an optimiser's for example. `finalize` ends this.

        Outside, a process notices nothing of the graph: the minutes of training need only the session.

        Yields
        ------
        module
            The namespace of TensorFlow 1.
        """
        runtime = get_runtime()
        with runtime.scope(self.session):
            yield runtime.tf

    def finalize(self) -> None:
        """Close the graph: from here on, whatever would add an operation to it raises RuntimeError."""
        self.session.graph.finalize()

    def _build(self, settings: Settings, weights: Weights) -> None:
        runtime = get_runtime()
        tf = runtime.tf
        width, height = self.size
        channels = settings.num_color_channels
        with tf.name_scope("input_var/"):
            self._picture = tf.placeholder(tf.float32, (1, height, width, channels), name="picture")
        self.input_var = tf.Variable(
            self._picture, dtype=tf.float32, expected_shape=(None, None, None, channels), name="input_var"
        )
        self._initialize = tf.variables_initializer([self.input_var])
        with tf.name_scope("input_var/"):
            self.assign = self.input_var.assign(self._picture).op
        self._x_content, self._x_styles = create_output_tensors(
            self.input_var, settings.content_layer_index, settings.style_layer_indices, weights
        )
        self._inference = {runtime.keras.backend.learning_phase(): 0}

        with tf.name_scope("content_cost/"):
            content = tf.placeholder(tf.float32, self._x_content.shape, name="target")
        styles = []
        for index in settings.style_layer_indices:
            layer = LAYERS[index]
            with tf.name_scope(f"style_cost/{layer.name}/"):
                styles.append(tf.placeholder(tf.float32, (layer.channels, layer.channels), name="target"))
        self._targets = Targets(content, tuple(styles))
        self._feed: Dict[Any, np.ndarray] = {}

        j_content = content_cost(content, self._x_content)
        j_style = style_cost(styles, self._x_styles, settings.style_layer_coefficients)
        j_total = total_cost(j_content, j_style, settings.alpha, settings.beta)
        self.costs = Costs.of(j_content, j_style, j_total)
        with tf.name_scope("train/"):
            # As the article's optimizer.minimize computes it.
            (self.gradient,) = tf.gradients(j_total, [self.input_var], gate_gradients=True)

    def content_target(self, content_img: np.ndarray) -> np.ndarray:
        """Return the content layer's activations of an image, which stays in `input_var`.

        Parameters
        ----------
        content_img : ndarray
            float32 (1, h, w, 3), preprocessed, of the objective's size.

        Returns
        -------
        ndarray
            float32 (1, n_h, n_w, n_c), see `Targets`.
        """
        # As in the article, the variable begins as the content image.
        self.session.run(self._initialize, feed_dict={self._picture: content_img})
        return np.asarray(self.session.run(self._x_content, feed_dict=self._inference))

    def style_target(self, style_img: np.ndarray) -> Tuple[np.ndarray, ...]:
        """Return the Gram matrices of an image, which stays in `input_var`.

        Parameters
        ----------
        style_img : ndarray
            float32 (1, h, w, 3), preprocessed, of the objective's size.

        Returns
        -------
        tuple of ndarray
            For each style layer, float32 (n_c, n_c), see `Targets`.
        """
        self.set_image(style_img)
        return style_target(self.session.run(self._x_styles, feed_dict=self._inference))

    def targets(self, content_img: np.ndarray, style_img: np.ndarray) -> Targets:
        """Return the targets of a content and a style image: `content_target`, then `style_target`."""
        return Targets(self.content_target(content_img), self.style_target(style_img))

    def take(self, targets: Targets) -> None:
        """Compare with these targets from now on.

        Parameters
        ----------
        targets : Targets
            Of the objective's size and layers.
        """
        self._feed = {self._targets.content: targets.content, **dict(zip(self._targets.style, targets.style))}

    def set_image(self, img: np.ndarray) -> None:
        """Assign an image to `input_var`: float32 (1, h, w, 3), preprocessed, of the objective's size."""
        self.session.run(self.assign, feed_dict={self._picture: img})

    def image(self) -> np.ndarray:
        """Return the image in `input_var`: float32 (1, h, w, 3), preprocessed."""
        return np.asarray(self.session.run(self.input_var))

    def evaluate(self) -> Costs:
        """Return the costs of the image in `input_var`, as floats that hold float32 values. Takes a forward pass."""
        return _floats(self.session.run(self.costs, feed_dict=self._feed))

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
        costs, fetched = self.session.run([self.costs, fetch], feed_dict=self._feed)
        return _floats(costs), fetched


def _floats(costs: Costs) -> Costs:
    return Costs((name, float(cost)) for name, cost in costs.items())
