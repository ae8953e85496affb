"""Style transfer and its network for TensorFlow 2 programs that run eagerly: the public face of the TF2 plugin.

Pictures are in TensorFlow's own order here: red, green, blue, as `tf.io.decode_jpeg` gives them. After every call, the
host program's eager mode, its Keras and its models are as they were before.
"""

from typing import Any, Callable, Iterator, List, Optional, Sequence, Union

import numpy as np

from nst_graph import transfer
from nst_graph.errors import PictureError, RuntimeMissingError
from nst_graph.inputs import Style
from nst_graph.observers import Callback, Observer, Progress, Run
from nst_graph.runtimes import get_runtime, release
from nst_graph.settings import INIT_WORDS, Settings, check_every, takes_constants, with_preset
from nst_graph.vgg19 import LAYERS
from nst_graph.weights import Weights, find_weights

if release(get_runtime().version)[0] < 2:
    raise RuntimeMissingError(
        f"nst_graph.tf2 is for TensorFlow 2, and {get_runtime().version} is installed; nst_graph.stylize works with it"
    )

import tensorflow as tf

#: How far floats may leave the range 0 to 1: as far as bicubic interpolation goes beyond it. They are clipped.
_OVERSHOOT = 0.5


def _to_bgr(image: Any) -> np.ndarray:
    """Return a picture for the graph: uint8 (h, w, 3), blue, green and red."""
    image = tf.convert_to_tensor(image)
    if image.shape.rank != 3 or image.shape[2] != 3:
        raise PictureError(f"a picture must be (height, width, 3), not {tuple(image.shape)}")
    if not (image.dtype.is_floating or image.dtype == tf.uint8):
        raise PictureError(f"a picture must be uint8, or floats from 0 to 1, not {image.dtype.name}")
    if image.dtype.is_floating:
        values = image.numpy()
        low, high = float(values.min()), float(values.max())
        if not (low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT):  # also where one is NaN
            raise PictureError(
                f"a picture of floats must have values from 0 to 1, and this one's are from {low:g} to {high:g}: "
                "divide by 255, or cast to uint8"
            )
    return np.ascontiguousarray(tf.image.convert_image_dtype(image, tf.uint8, saturate=True).numpy()[:, :, ::-1])


def _styles_to_bgr(style: Any) -> List[Style]:
    """Return the styles for the graph, of one picture, or one or several `Style`."""
    several = style if isinstance(style, (list, tuple)) and not isinstance(style, Style) else [style]
    styles = [one if isinstance(one, Style) else Style(one) for one in several]
    return [
        Style(_to_bgr(one.picture), one.weight, np.asarray(one.mask) if tf.is_tensor(one.mask) else one.mask)
        for one in styles
    ]


def _init_to_bgr(init: Any) -> Any:
    return init if isinstance(init, str) else _to_bgr(init)


def _from_bgr(picture: np.ndarray, like: Any) -> Any:
    """Return a picture in the order red, green, blue, as a tensor where the content picture was one."""
    rgb = np.ascontiguousarray(picture[:, :, ::-1])
    return tf.constant(rgb) if tf.is_tensor(like) else rgb


class _InRGB(Observer):
    """Gives another observer its pictures as the host has them: red, green, blue, and tensors if `like` is one."""

    def __init__(self, observer: Observer, like: Any) -> None:
        self._observer, self._like, self.every = observer, like, observer.every

    def begin(self, run: Run) -> None:
        content, *styles = (_from_bgr(picture, self._like) for picture in (run.content, *run.styles))
        self._observer.begin(run._replace(content=content, styles=tuple(styles)))

    def step(self, progress: Progress) -> None:
        if progress.image is not None:
            progress = progress._replace(image=_from_bgr(progress.image, self._like))
        self._observer.step(progress)

    def end(self) -> None:
        self._observer.end()


@takes_constants
def steps(
    content: Any,
    style: Any,
    *,
    every: int = 20,
    init: Any = "noise",
    weights: Union[str, Weights] = "auto",
    preset: Optional[str] = None,
    **constants: Any,
) -> Iterator[Progress]:
    """Paint, and yield the progress every so many steps.

    Parameters
    ----------
    content : tf.Tensor or ndarray
        (h, w, 3), red, green and blue: uint8, or floats from 0 to 1.
    style : tf.Tensor or ndarray, or Style, or sequence of Style
        One picture likewise, or one or several `nst_graph.Style` of such pictures.
    every : int
        Steps from one yield to the next, at least 1.
    init : str, tf.Tensor or ndarray
        `noise`, `content`, `style` or a picture: see `nst_graph.stylize`.
    weights : str or Weights
        See `nst_graph.find_weights`.
    preset : str, optional
        See `nst_graph.stylize`.
    **constants
        The article's constants, `iterations=100`, `size=(600, 450)` or `seed=0` for example: see `nst_graph.Settings`.
        A size is width, height; TensorFlow's own functions have height first.

    Yields
    ------
    Progress
        Iteration, costs and picture after steps 0, `every`, 2 * `every` ... and after the last. The picture is uint8
        (h, w, 3), red, green and blue: a tensor if `content` is one, else an array. A generator that is left early
        frees its session when it is closed or dropped.

    Raises
    ------
    SettingError, PictureError, WeightsError
        At the call, before anything is built (`WeightsError`: at the first step).

    Examples
    --------
    >>> import tensorflow as tf, nst_graph.tf2
    >>> content = tf.io.decode_jpeg(tf.io.read_file("input/cat.jpg"))
    >>> style = tf.io.decode_jpeg(tf.io.read_file("input/starry_night.jpg"))
    >>> for step in nst_graph.tf2.steps(content, style, size=48, iterations=3, every=1):
    ...     print(step.iteration, step.image.shape, step.costs.total > 0)
    0 (36, 48, 3) True
    1 (36, 48, 3) True
    2 (36, 48, 3) True
    """
    every = check_every(every, low=1)
    pictures = _to_bgr(content), _styles_to_bgr(style)
    start = _init_to_bgr(init)
    settings = transfer.settings_of(weights, with_preset(preset, constants), start)
    named = None if settings.init in INIT_WORDS else start

    def run() -> Iterator[Progress]:
        with transfer.Transfer(settings, weights) as prepared:
            prepared.start(*pictures, named)
            for progress in prepared.steps([every]):
                if progress.image is not None:
                    yield progress._replace(image=_from_bgr(progress.image, content))

    return run()


@takes_constants
def stylize(
    content: Any,
    style: Any,
    *,
    init: Any = "noise",
    weights: Union[str, Weights] = "auto",
    callback: Optional[Callable[[Progress], Any]] = None,
    callback_every: int = 20,
    observers: Sequence[Observer] = (),
    checkpoint: Optional[str] = None,
    checkpoint_every: int = 20,
    resume: Optional[str] = None,
    preset: Optional[str] = None,
    **constants: Any,
) -> Any:
    """Paint the content of one picture in the style of another: `nst_graph.stylize` for tensors.

    Parameters
    ----------
    content : tf.Tensor or ndarray
        (h, w, 3), red, green and blue: uint8, or floats from 0 to 1.
    style : tf.Tensor or ndarray, or Style, or sequence of Style
        One picture likewise, or one or several `nst_graph.Style` of such pictures.
    init : str, tf.Tensor or ndarray
        `noise`, `content`, `style` or a picture likewise.
    weights : str or Weights
        See `nst_graph.find_weights`.
    callback : callable, optional
        Called with a `Progress` as `steps` yields it.
    callback_every : int
        Steps from one call to the next, at least 1.
    observers : sequence of Observer
        What watches the run, see `nst_graph.observers`. They get pictures as the callback does: red, green and blue,
        and tensors if `content` is one. Those that write pictures with OpenCV (`Observer.opencv_order`) get OpenCV's
        order.
    checkpoint, checkpoint_every, resume, preset : str, int, str, str
        See `nst_graph.stylize`.
    **constants
        See `nst_graph.stylize`.

    Returns
    -------
    tf.Tensor or ndarray
        uint8 (h, w, 3), red, green and blue; a tensor if `content` is one.

    Raises
    ------
    SettingError, PictureError, WeightsError
        Before the network is built.
    DivergenceError
        Where costs or pixels become infinite or NaN.

    Examples
    --------
    >>> import tensorflow as tf, nst_graph.tf2
    >>> content = tf.io.decode_jpeg(tf.io.read_file("input/cat.jpg"))
    >>> style = tf.io.decode_jpeg(tf.io.read_file("input/starry_night.jpg"))
    >>> picture = nst_graph.tf2.stylize(content, style, size=48, iterations=3)
    >>> tf.io.write_file("painted.png", tf.io.encode_png(picture))
    >>> picture.shape, picture.dtype.name, tf.executing_eagerly()
    (TensorShape([36, 48, 3]), 'uint8', True)
    """
    watching = list(observers)
    if callback is not None:
        watching.append(Callback(callback, callback_every))
    picture = transfer.stylize(
        _to_bgr(content),
        _styles_to_bgr(style),
        init=_init_to_bgr(init),
        weights=weights,
        observers=[observer if observer.opencv_order else _InRGB(observer, content) for observer in watching],
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        resume=resume,
        preset=preset,
        **constants,
    )
    return _from_bgr(picture, content)


def style_content_model(
    content_layer_index: int = Settings.content_layer_index,
    style_layer_indices: Sequence[int] = Settings.style_layer_indices,
    weights: Union[str, Weights] = "auto",
) -> Any:
    """Return the article's network, VGG-19 with average pools, as a model of the host's own Keras.

    Its activations are those of the graph. With `tf.GradientTape` and the costs of `nst_graph` a program can build any
    training of its own on it.

    Parameters
    ----------
    content_layer_index : int
        Position in `nst_graph.vgg19.LAYERS`, 1 to 21.
    style_layer_indices : sequence of int
        Positions likewise.
    weights : str or Weights
        See `nst_graph.find_weights`.

    Returns
    -------
    tf.keras.Model
        Takes float32 (n, h, w, 3), blue, green and red with ImageNet's means taken off (what
        `tf.keras.applications.vgg19.preprocess_input` makes of red, green and blue 0 to 255). Gives a list: the content
        layer's activations, then those of each style layer. Its weights are not trainable.

    Raises
    ------
    SettingError, WeightsError
        Before anything is built.

    Examples
    --------
    >>> import tensorflow as tf, nst_graph.tf2
    >>> model = nst_graph.tf2.style_content_model()
    >>> image = tf.random.uniform((1, 36, 48, 3), -120, 130)
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(image)
    ...     content, *styles = model(image)
    ...     cost = nst_graph.content_cost(tf.zeros_like(content), content)
    >>> tape.gradient(cost, image).shape, len(styles)
    (TensorShape([1, 36, 48, 3]), 5)
    """
    settings = Settings(
        content_layer_index=content_layer_index,
        style_layer_indices=tuple(style_layer_indices),
        style_layer_coefficients=(1,) * len(style_layer_indices),
    )
    wanted = [settings.content_layer_index, *settings.style_layer_indices]
    arrays = iter(find_weights(weights).arrays)
    layers = tf.keras.layers
    inputs = x = layers.Input((None, None, 3))
    outputs: List[Any] = [inputs]
    for layer in LAYERS[1 : max(wanted) + 1]:
        if layer.is_convolution:
            convolution = layers.Conv2D(layer.channels, 3, padding="same", activation="relu", name=layer.name)
            x = convolution(x)
            convolution.set_weights([next(arrays), next(arrays)])
        else:
            x = layers.AveragePooling2D(2, padding="same", name=layer.name)(x)
        outputs.append(x)
    model = tf.keras.Model(inputs, [outputs[index] for index in wanted], name="style_content_model")
    model.trainable = False
    return model
