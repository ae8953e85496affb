"""Many pictures, one after the other in this process or on the workers of a cluster."""

from typing import Any, Callable, Iterable, Iterator, Mapping, Optional, Sequence, Tuple, Union

from nst_graph import cluster
from nst_graph.errors import NSTGraphError, SettingError
from nst_graph.images import Picture
from nst_graph.observers import Observer
from nst_graph.painter import Job, Painter, Result, Task
from nst_graph.runtimes import choose_runtime
from nst_graph.settings import INIT_WORDS, checked_names, keyword_names, takes_constants, with_preset
from nst_graph.transfer import settings_of
from nst_graph.weights import Weights, find_weights

__all__ = ["Job", "Result", "stylize_many"]

#: What a job may have besides constants, and what all jobs of a batch have in common.
_OF_A_JOB, _OF_A_BATCH = ("init", "preset"), ("weights", "threads")


@takes_constants
def stylize_many(
    jobs: Iterable[Union[Job, Tuple[Any, ...]]],
    *,
    init: Picture = "noise",
    weights: Union[str, Weights] = "auto",
    preset: Optional[str] = None,
    scheduler: Optional[str] = None,
    memory_check: bool = True,
    observers: Callable[[Job], Sequence[Observer]] = lambda job: (),
    stop: Callable[[], Any] = lambda: False,
    **constants: Any,
) -> Iterator[Result]:
    """Paint many pictures; each is that of `stylize`, bit for bit.

    The network is loaded once. Graphs of the last few sizes are kept, and so are the targets of the last few styles.

    Parameters
    ----------
    jobs : iterable of Job or tuple
        For each picture its content and style, perhaps constants of its own and a name: a `Job`, or a tuple of these.
        It may be endless, and is read while pictures are made.
    init : str, path or ndarray
        See `stylize`.
    weights : str or Weights
        See `stylize`. All pictures are made with these.
    preset : str, optional
        See `stylize`.
    scheduler : str, optional
        Makes the pictures on the workers of a Dask cluster: address of its scheduler, `tcp://host:8786`, or the path of
        its scheduler file. See `nst_graph.cluster`.
    memory_check : bool
        Whether a picture that needs more memory than there is fails before it begins. Otherwise the system may end the
        process.
    observers : callable
        Takes a job and returns what watches its run. Not on a cluster.
    stop : callable
        Asked after each iteration: where it returns something true, the batch ends, and the picture that it was at is
        dropped.
    **constants
        Constants of all pictures, see `stylize`. Those of a job hold in place of them. `threads` is that of a worker,
        if there is a cluster.

    Yields
    ------
    Result
        For each job, when it is done: here in their order, on a cluster in any. A picture that fails is a result with
        an error.

    Raises
    ------
    SettingError, WeightsError, RuntimeMissingError, ClusterError
        If no picture can be made at all.

    Examples
    --------
    >>> import cv2, nst_graph
    >>> pair = "input/cat.jpg", "input/starry_night.jpg"
    >>> jobs = [(*pair, {"alpha": alpha}, f"cat_{alpha}.png") for alpha in (2, 50)]
    >>> for result in nst_graph.stylize_many(jobs, size=48, iterations=3, seed=0):
    ...     print(result.job.name, cv2.imwrite(result.job.name, result.picture))
    cat_2.png True
    cat_50.png True

    A picture that fails does not stop the others:

    >>> jobs = [("input/missing.jpg", "input/starry_night.jpg"), pair]
    >>> for result in nst_graph.stylize_many(jobs, size=48, iterations=3):
    ...     print(result.number, result.error or result.picture.shape)
    0 there is no picture ...missing.jpg...
    1 (36, 48, 3)
    """
    common = {**constants, "weights": weights, "init": init, "preset": preset}
    threads = _task(Job("", ""), 0, common).settings.threads  # finds what is wrong with all of them
    tasks = _tasks(jobs, common)
    if scheduler is None:
        choose_runtime()
        return _results(tasks, Painter(find_weights(weights), threads, memory_check), observers, stop)
    cluster.check()
    return cluster.results(tasks, scheduler, find_weights(weights), threads, memory_check, stop)


def _tasks(jobs: Iterable[Union[Job, Tuple[Any, ...]]], common: Mapping[str, Any]) -> Iterator[Union[Task, Result]]:
    """Yield what is to be done, and for jobs whose constants are wrong the result at once."""
    for number, job in enumerate(jobs):
        job = Job(*job)
        try:
            yield _task(job, number, common)
        except NSTGraphError as error:
            yield Result(job, number, error=error)


def _task(job: Job, number: int, common: Mapping[str, Any]) -> Task:
    for name in _OF_A_BATCH:
        if name in job.constants:
            raise SettingError(f"{name} cannot differ from one picture of a batch to the next; give it to the batch")
    constants = {**common, **checked_names(job.constants, [*keyword_names(), *_OF_A_JOB])}
    weights, init, preset = (constants.pop(name) for name in ("weights", "init", "preset"))
    settings = settings_of(weights, with_preset(preset, constants), init)
    return Task(job, number, settings, None if settings.init in INIT_WORDS else init)


def _results(
    tasks: Iterable[Union[Task, Result]],
    painter: Painter,
    observers: Callable[[Job], Sequence[Observer]],
    stop: Callable[[], Any],
) -> Iterator[Result]:
    with painter:
        for task in tasks:
            result = task if isinstance(task, Result) else painter.paint(task, observers(task.job), stop)
            if result is None:
                return
            yield result
            if stop():
                return
