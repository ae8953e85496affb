"""One picture of a batch: what it is to be, what came of it, and what makes one after the other in this process."""

import contextlib
import time
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from nst_graph import memory
from nst_graph.costs import CostName, Costs
from nst_graph.errors import NSTGraphError
from nst_graph.images import Picture
from nst_graph.inputs import PictureFile, Styles, read_inputs
from nst_graph.metadata import Carried, carried_by
from nst_graph.observers import History, Observer
from nst_graph.record import Record
from nst_graph.settings import Settings
from nst_graph.transfer import Transfer, check_memory, check_sizes, full_size, settled, stages_of
from nst_graph.weights import Weights


class Job(NamedTuple):
    """A picture that a batch is to make.

    Attributes
    ----------
    content : path or ndarray, or PictureFile
        See `nst_graph.stylize`.
    style : path or ndarray, or Style, or sequence of Style
        See `nst_graph.stylize`.
    constants : mapping
        Constants of this picture by name, as `nst_graph.stylize` takes them; those of the batch hold for the others.
    name : object
        Anything that the caller knows the picture by.
    """

    content: Union[Picture, PictureFile]
    style: Styles
    constants: Mapping[str, Any] = {}
    name: Any = None


class Task(NamedTuple):
    """A job with its number among the jobs and its constants checked.

    Attributes
    ----------
    job : Job
        As it was given.
    number : int
        From 0.
    settings : Settings
        All constants of the run.
    init : path or ndarray, or PictureFile, or None
        The picture to start from, if it is a picture of its own.
    """

    job: Job
    number: int
    settings: Settings
    init: Union[Picture, PictureFile, None] = None


class Result(NamedTuple):
    """What came of a job.

    Attributes
    ----------
    job : Job
        As it was given.
    number : int
        Its number among the jobs, from 0.
    picture : ndarray or None
        uint8 (h, w, 3), blue, green and red; None if it failed.
    error : NSTGraphError or None
        Why it failed. Its `__cause__` is what was raised, where that was another exception of this process.
    seconds : float
        How long it took, from reading the files to the picture.
    record : Record or None
        What made the picture, see `nst_graph.record`.
    cost_names : tuple of CostName
        Names of the costs.
    history : sequence of list
        For each iteration its number, then the costs after it in the order of `cost_names`.
    carried : Carried or None
        What goes from the content's file into the result's, see `nst_graph.metadata.write`.
    worker : str
        Address of the worker of a cluster that made it; empty for this process.

    Examples
    --------
    >>> from nst_graph import Job, stylize_many
    >>> job = Job("input/cat.jpg", "input/starry_night.jpg", {"alpha": 5}, name="a cat")
    >>> (result,) = stylize_many([job], size=48, iterations=3)
    >>> result.job.name, result.picture.shape, result.error, len(result.history)
    ('a cat', (36, 48, 3), None, 3)
    >>> result.costs.total == result.history[-1][1 + result.cost_names.index("total")]
    True
    """

    job: Job
    number: int
    picture: Optional[np.ndarray] = None
    error: Optional[NSTGraphError] = None
    seconds: float = 0.0
    record: Optional[Record] = None
    cost_names: Tuple[CostName, ...] = ()
    history: Sequence[Sequence[Any]] = ()
    carried: Optional[Carried] = None
    worker: str = ""

    @property
    def costs(self) -> Costs:
        """The costs of the picture; empty if it failed or had no iteration."""
        return Costs(zip(self.cost_names, self.history[-1][1:] if self.history else ()))


class Painter:
    """Makes pictures one after the other with one network: a context manager that closes its session at the end.

    Graphs of the last few sizes and targets of the last few styles are kept, see `Transfer`. The pictures are those of
    `nst_graph.stylize`, bit for bit.

    Parameters
    ----------
    weights : Weights
        From `nst_graph.weights.find_weights`.
    threads : int, optional
        TensorFlow's threads, see `nst_graph.runtimes.Runtime.session_config`.
    memory_check : bool
        Whether a picture that needs more memory than there is fails before it begins. Otherwise the system may end the
        process.

    Raises
    ------
    RuntimeMissingError
        On entry, if TensorFlow is not available.
    """

    def __init__(self, weights: Weights, threads: Optional[int] = None, memory_check: bool = True) -> None:
        self.weights, self.threads = weights, threads
        self._memory_check = memory_check

    def __enter__(self) -> "Painter":
        self._before = memory.resident()
        self._resources = contextlib.ExitStack()
        self._open()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._resources.close()

    def _open(self) -> None:
        settings = Settings(weights=self.weights.word or None, threads=self.threads)
        self._transfer = self._resources.enter_context(Transfer(settings, self.weights))

    def paint(
        self, task: Task, observers: Sequence[Observer] = (), stop: Callable[[], Any] = lambda: False
    ) -> Optional[Result]:
        """Make a picture.

        Parameters
        ----------
        task : Task
            What it is to be. Weights and threads of its settings do not matter.
        observers : sequence of Observer
            What watches the run.
        stop : callable
            Asked after each iteration: where it returns something true, the run ends there.

        Returns
        -------
        Result or None
            A picture that fails, for whatever reason, is a result with an error. None if the run was stopped.
        """
        begin = time.perf_counter()
        job, number, settings, init = task
        try:
            inputs = read_inputs(job.content, job.style, init, settings.max_megapixels)
            free = self._free()
            size = full_size(settings, inputs.content.pixels)
            settings = settled(settings, size, inputs.masked_styles, free)
            for stage in stages_of(settings, size):
                check_sizes(settings, inputs, stage.size)
            if self._memory_check:
                check_memory(settings, inputs, size, free)
            transfer, history = self._transfer, History()
            transfer.begin(inputs, settings)
            transfer.train([history, *observers], stop)
            if transfer.iteration < transfer.iterations:
                return None
            return Result(
                job,
                number,
                transfer.picture(),
                seconds=time.perf_counter() - begin,
                record=transfer.record(),
                cost_names=history.names,
                history=history.rows,
                carried=carried_by(inputs.content.data),
            )
        except Exception as error:
            if not isinstance(error, NSTGraphError):
                # What it has left of a graph or a session, nobody knows. Memory that ran out is given back.
                self._resources.close()
                self._open()
            return Result(job, number, error=_in_words(error), seconds=time.perf_counter() - begin)

    def _free(self) -> int:
        """Return the bytes that a run can take: those that are free, and those that the runs before it have taken."""
        return memory.free() + max(memory.resident() - self._before, 0)


def _in_words(error: Exception) -> NSTGraphError:
    if isinstance(error, NSTGraphError):
        return error
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's
        words = NSTGraphError("the memory did not suffice; give a smaller size, or strips")
    else:
        words = NSTGraphError(f"{type(error).__name__}: {error}")
    words.__cause__ = error
    return words
