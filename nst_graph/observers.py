"""Observers of a run: lines, a progress bar, saved pictures, checkpoints, TensorBoard, the history of the costs.

A run takes any number of them:

>>> import glob, nst_graph
>>> from nst_graph import observers
>>> saved = observers.SavedPicture("painted.png", every=2)
>>> watching = [
...     observers.ProgressBar(),
...     saved,
...     observers.NumberedPictures("cat.png", every=2),
...     observers.Checkpoints("run.npz"),
...     observers.Callback(lambda step: print(step.iteration, step.image.shape), every=2),
... ]
>>> pair = "input/cat.jpg", "input/starry_night.jpg"
>>> picture = nst_graph.stylize(*pair, size=48, iterations=4, observers=watching)
0 (36, 48, 3)
2 (36, 48, 3)
3 (36, 48, 3)
>>> saved.saved, sorted(glob.glob("cat_*.png")), glob.glob("run.npz")
(3, ['cat_0000.png', 'cat_0002.png', 'cat_0003.png'], ['run.npz'])
"""

import contextlib
import logging
import os
import sys
import time
import warnings
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from nst_graph.checkpoint import State, write_checkpoint
from nst_graph.costs import CostName, Costs
from nst_graph.csv_rows import AppendedRows
from nst_graph.event_log import EventLog
from nst_graph.files import Repeated
from nst_graph.images import check_output, write_picture
from nst_graph.record import Record
from nst_graph.settings import Settings, check_every, is_due


class Run(NamedTuple):
    """What an observer can know of a run before its first step.

    Attributes
    ----------
    settings : Settings
        All constants, the paths of the pictures among them.
    iterations : int
        Training steps of the whole run.
    cost_names : tuple of CostName
        Names of the costs that each step has, in order.
    content : ndarray
        uint8 (h, w, 3): the content picture as the network sees it, resized.
    styles : tuple of ndarray
        uint8 (h, w, 3): the style pictures likewise, recoloured if the settings say so.
    weights_source : str
        Where VGG-19's weights are from, in a line.
    record : Record
        What makes this run's picture.
    state : callable
        Returns the `State` of the run as it is when it is called. That is the state after the iteration of a `Progress`
        or after the one that follows it.
    roots : tuple of tf.Operation
        Operations that need everything of the run's graph: the assignment of a picture, the training step, the costs.
    stages : tuple
        For each stage its size, width and height, and its training steps.
    knows_costs : callable
        Returns whether the costs of that state are known already, and finite. Otherwise they come with the next
        iteration: its `Progress` comes only if they are finite.
    """

    settings: Settings
    iterations: int
    cost_names: Tuple[CostName, ...]
    content: np.ndarray
    styles: Tuple[np.ndarray, ...]
    weights_source: str
    record: Record
    state: Callable[[], State]
    roots: Tuple[Any, ...]
    stages: Tuple[Tuple[Tuple[int, int], int], ...]
    knows_costs: Callable[[], bool] = lambda: False


class Progress(NamedTuple):
    """What is known after a training step.

    Attributes
    ----------
    iteration : int
        The training step done, from 0.
    costs : Costs
        The costs after it.
    image : ndarray or None
        uint8 (h, w, 3), blue, green and red: the picture after it. None where no picture was asked for.
    is_last : bool
        Whether the run ends with it. That may be earlier than planned, where an optimiser gives up.
    """

    iteration: int
    costs: Costs
    image: Optional[np.ndarray]
    is_last: bool = False


class Observer:
    """What watches a run. Make a subclass and override what you need.

    Attributes
    ----------
    every : int
        Iterations from one picture to the next: a picture comes with iterations 0, `every`, 2 * `every` ... and with
        the last. 0 asks for none.
    opencv_order : bool
        Whether pictures always come in OpenCV's order, blue, green and red. Observers that write pictures with OpenCV
        set it. The others get the order of their caller: blue, green and red from `nst_graph.stylize`, red, green and
        blue from `nst_graph.tf2.stylize`.

    Examples
    --------
    >>> import nst_graph
    >>> class Best(nst_graph.Observer):
    ...     every = 1
    ...
    ...     def begin(self, run):
    ...         self.lowest, self.image = float("inf"), None
    ...
    ...     def step(self, progress):
    ...         if progress.costs.total < self.lowest:
    ...             self.lowest, self.image = progress.costs.total, progress.image
    >>> best, pair = Best(), ("input/cat.jpg", "input/starry_night.jpg")
    >>> _ = nst_graph.stylize(*pair, size=48, iterations=3, observers=[best])
    >>> best.image.shape
    (36, 48, 3)
    """

    every: int = 0
    opencv_order: bool = False

    def begin(self, run: Run) -> None:
        """Take note of the run before its first step."""

    def step(self, progress: Progress) -> None:
        """Take note of an iteration. The call comes after the next step has run, which computes the costs."""

    def end(self) -> None:
        """Clean up. The call comes at the end of the run, also when an error ends it, `begin`'s own error included."""


class Callback(Observer):
    """Calls a function with each `Progress` that has a picture.

    Parameters
    ----------
    callback : callable
        Takes a `Progress`.
    every : int
        Iterations from one call to the next, at least 1.

    Raises
    ------
    SettingError
        If `every` is not a whole number of at least 1.
    """

    def __init__(self, callback: Callable[[Progress], Any], every: int = 20) -> None:
        self._callback, self.every = callback, check_every(every, low=1)

    def step(self, progress: Progress) -> None:
        """Call the function if there is a picture."""
        if progress.image is not None:
            self._callback(progress)


class PrintedLines(Observer):
    """The article's lines on standard output.

    Parameters
    ----------
    every : int
        Iterations from one line to the next; 0 prints none.

    Raises
    ------
    SettingError
        If `every` is not a whole number of at least 0.

    Examples
    --------
    >>> import nst_graph
    >>> from nst_graph.observers import PrintedLines
    >>> lines, pair = PrintedLines(every=2), ("input/cat.jpg", "input/starry_night.jpg")
    >>> _ = nst_graph.stylize(*pair, size=48, iterations=3, observers=[lines])
    Iteration: 0, Content cost: ..., Style cost: ..., Total cost: ...
    Iteration: 2, Content cost: ..., Style cost: ..., Total cost: ...
    """

    def __init__(self, every: int = 20) -> None:
        self._lines_every = check_every(every)

    def step(self, progress: Progress) -> None:
        """Print a line if it is time for one."""
        if is_due(progress.iteration, self._lines_every):
            costs = ", ".join(f"{name.label}: {cost:.2e}" for name, cost in progress.costs.terms.items())
            print(f"Iteration: {progress.iteration}, {costs}", flush=True)


class ProgressBar(Observer):
    """A bar with the iterations done, the total cost and the time that remains.

    It is drawn as text on standard error. In a Jupyter notebook it is a widget, if ipywidgets is installed.
    """

    def __init__(self) -> None:
        self._resources = contextlib.ExitStack()

    def begin(self, run: Run) -> None:
        """Draw the bar. What this package logs from now on is printed above it."""
        self._bar = _drawn_bar(self._resources, total=run.iterations, unit="it")

    def step(self, progress: Progress) -> None:
        """Move the bar on."""
        self._bar.set_postfix_str(f"total cost {progress.costs.total:.2e}", refresh=False)
        self._bar.update()

    def end(self) -> None:
        """Leave the bar as it is and go to the next line."""
        self._resources.close()


class BatchBar(Observer):
    """A bar for many runs, one after the other or on other machines, with the time that remains.

    It is drawn as `ProgressBar` draws its own. A context manager that leaves the bar as it is at the end.

    Parameters
    ----------
    work : sequence of float
        For each run how long it takes, in any unit.
    """

    def __init__(self, work: Sequence[float]) -> None:
        self._work = work
        self._resources = contextlib.ExitStack()
        self._done = 0  # runs
        self._before, self._now = 0.0, 0.0  # work of the runs that are done, and with the present one

    def __enter__(self) -> "BatchBar":
        form = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
        self._bar = _drawn_bar(
            self._resources, total=sum(self._work), desc=self._counted(), bar_format=form, smoothing=0
        )
        return self

    def __exit__(self, *exception: Any) -> None:
        self._resources.close()

    def next(self, number: int) -> "BatchBar":
        """Take note of which run comes next; the bar is its observer."""
        self._next = self._work[number]
        return self

    def begin(self, run: Run) -> None:
        """Take note of the run's stages."""
        self._run = run

    def step(self, progress: Progress) -> None:
        """Move the bar on."""
        done, whole, begin = 0, 0, 0
        for (width, height), iterations in self._run.stages:
            done += min(max(progress.iteration + 1 - begin, 0), iterations) * width * height
            whole += iterations * width * height
            begin += iterations
        self._move(self._before + self._next * done / whole)

    def finish(self, number: int) -> None:
        """Take note that a run is done, or has failed."""
        self._done += 1
        self._before += self._work[number]
        self._move(self._before)
        if self._done == len(self._work):
            self._bar.n = self._bar.total  # to the last bit: a widget that is not quite full turns red at the end
        self._bar.set_description_str(self._counted())

    def print(self, line: str) -> None:
        """Print a line on standard output, above the bar."""
        self._bar.write(line)

    def _move(self, work: float) -> None:
        self._bar.update(work - self._now)
        self._now = work

    def _counted(self) -> str:
        return f"{self._done} of {len(self._work)} pictures"


def _drawn_bar(resources: contextlib.ExitStack, **options: Any) -> Any:
    """Draw a bar. What this package logs is printed above it, until the resources are closed."""
    # Here and not above: a run without a bar does not need it.
    import tqdm

    with warnings.catch_warnings():
        # In a notebook without ipywidgets tqdm.auto draws text, and would say how to update Jupyter.
        warnings.simplefilter("ignore", tqdm.TqdmWarning)
        import tqdm.auto
        import tqdm.contrib.logging

    size = {"ncols": 80, "nrows": 24} if _terminal_without_size() else {"dynamic_ncols": True}
    bar = resources.enter_context(tqdm.auto.tqdm(**size, **options))
    resources.enter_context(tqdm.contrib.logging.logging_redirect_tqdm([logging.getLogger("nst_graph")]))
    return bar


def _terminal_without_size() -> bool:
    """Whether standard error is a terminal that gives its size as 0, as some do. tqdm would draw nothing there."""
    try:
        # A notebook's standard error is no terminal, and gives the descriptor of the one that Jupyter runs in.
        return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns == 0
    except (OSError, ValueError):
        return False


class SavedPicture(Observer):
    """The picture as it develops, in one file that is replaced each time.

    If it cannot be written, one line says so, and the run goes on. The last one is tried twice.

    Parameters
    ----------
    path : str
        The picture file.
    every : int
        Iterations from one picture to the next; 0 saves none.
    write : callable
        Takes picture and path, and writes the file. The default is `nst_graph.images.write_picture`.

    Attributes
    ----------
    saved : int or None
        The iteration of the last picture that was written.

    Raises
    ------
    SettingError
        If `every` is not a whole number of at least 0.
    """

    opencv_order = True

    def __init__(self, path: str, every: int = 20, write: Callable[[np.ndarray, str], None] = write_picture) -> None:
        self._path, self.every, self._write = path, check_every(every), write
        self._repeated = Repeated()
        self.saved: Optional[int] = None

    def begin(self, run: Run) -> None:
        """Find what could not be written at all.

        Raises
        ------
        OutputError
            If OpenCV has no encoder for the extension, or the folder or the file cannot be written.
        """
        if self._write is write_picture:
            check_output(self._path_of(0), run.stages[-1][0])

    def step(self, progress: Progress) -> None:
        """Save the picture if there is one."""
        if progress.image is None:
            return
        path = self._path_of(progress.iteration)
        for _ in range(2 if progress.is_last else 1):
            if self._repeated.attempt(f"the picture {path!r}", self._write, progress.image, path):
                self.saved = progress.iteration
                break

    def _path_of(self, iteration: int) -> str:
        return self._path


class NumberedPictures(SavedPicture):
    """The picture as it develops, each in a file of its own: `out_0000.png`, `out_0050.png` ... for `out.png`.

    The numbers are those of the article's lines: 0 is the picture after the first step. The last picture is kept too.

    Parameters
    ----------
    path : str
        The picture files' name without the numbers.
    every, write : int, callable
        See `SavedPicture`.
    """

    def _path_of(self, iteration: int) -> str:
        return numbered(self._path, iteration)


def numbered(path: str, iteration: int) -> str:
    """Return the name of a numbered picture: `out_0050.png` for `out.png`."""
    stem, extension = os.path.splitext(path)
    return f"{stem}_{iteration:04d}{extension}"


class Checkpoints(Observer):
    """The whole state of the run in a file, from which it can go on; see `nst_graph.checkpoint`.

    A state is written when its costs are known and finite. With Adam they come with the next iteration.

    Parameters
    ----------
    path : str
        The file; it is replaced each time, whole or not at all. If it cannot be written, one line says so, the run goes
        on, and it is tried again the next time.
    every : int
        Iterations from one time to the next, at least 1. The state after the last iteration is written too, so that a
        run can be given more.

    Raises
    ------
    SettingError
        If `every` is not a whole number of at least 1.
    """

    def __init__(self, path: str, every: int = 20) -> None:
        self._path, self._checkpoint_every = path, check_every(every, low=1)
        self._repeated = Repeated()
        self._waiting: Optional[State] = None  # a state whose costs are not known yet

    def begin(self, run: Run) -> None:
        """Take note of where the state comes from."""
        self._run = run
        self._waiting = None

    def step(self, progress: Progress) -> None:
        """Write the state if it is time to."""
        if self._waiting is not None:
            self._attempt(self._waiting)
            self._waiting = None
        if not (progress.is_last or is_due(progress.iteration, self._checkpoint_every)):
            return
        if progress.is_last or self._run.knows_costs():
            self._attempt(self._run.state())
        else:
            self._waiting = self._run.state()

    def _attempt(self, state: State) -> None:
        self._repeated.attempt(f"the checkpoint {self._path!r}", write_checkpoint, self._path, state, self._run.record)

    def write(self) -> None:
        """Write the state as it is now.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        write_checkpoint(self._path, self._run.state(), self._run.record)


class TensorBoard(Observer):
    """The run in TensorBoard, in a folder of its own: see `nst_graph.event_log`.

    Parameters
    ----------
    log_dir : str
        Folder of all runs.
    every : int
        Iterations from one logged picture to the next; 0 logs none.

    Raises
    ------
    SettingError
        If `every` is not a whole number of at least 0.

    Examples
    --------
    >>> import os, nst_graph
    >>> from nst_graph.observers import TensorBoard
    >>> tensorboard, pair = TensorBoard("log"), ("input/cat.jpg", "input/starry_night.jpg")
    >>> _ = nst_graph.stylize(*pair, size=48, iterations=3, observers=[tensorboard])
    >>> len(os.listdir("log"))  # one folder for each run
    1
    """

    opencv_order = True

    def __init__(self, log_dir: str = "log", every: int = 20) -> None:
        self._log_dir, self.every = log_dir, check_every(every)
        self._log: Optional[EventLog] = None

    def begin(self, run: Run) -> None:
        """Log graph, settings, content and style."""
        self._log = EventLog(self._log_dir, run.settings, run.weights_source, self.every)
        self._log.graph(*run.roots)
        self._log.picture("content", 0, run.content)
        for number, style in enumerate(run.styles, start=1):
            self._log.picture("style" if number == 1 else f"style_{number}", 0, style)

    def step(self, progress: Progress) -> None:
        """Log the costs, and the picture if there is one."""
        assert self._log is not None
        self._log.costs(progress.iteration, progress.costs)
        if progress.image is not None:
            self._log.picture("generated", progress.iteration, progress.image)

    def end(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()


class History(Observer):
    """Every iteration's costs: kept, and written to a file as comma-separated values if a file is named.

    Parameters
    ----------
    path : str, optional
        The file. A file that is there is replaced when the first costs come. If it cannot be written, one line says so,
        the run goes on, and what is missing is written as soon as that is possible. It has whole rows always; only a
        process that is killed can leave a part of the last one.
    resumed : bool
        Whether the file has the rows of the run that goes on now. Those before its first iteration stay.

    Attributes
    ----------
    names : tuple of CostName
        Names of the costs.
    rows : list of list
        For each iteration its number, then the costs in the order of `names`, not rounded.

    Examples
    --------
    >>> import nst_graph
    >>> from nst_graph.observers import History
    >>> history, pair = History("costs.csv"), ("input/cat.jpg", "input/starry_night.jpg")
    >>> _ = nst_graph.stylize(*pair, size=48, iterations=3, observers=[history])
    >>> [row[0] for row in history.rows], len(history.rows[0]) == 1 + len(history.names)
    ([0, 1, 2], True)
    >>> with open("costs.csv") as file:
    ...     print(file.readline()[:44])
    iteration,content_cost,style_cost,total_cost
    """

    def __init__(self, path: Optional[str] = None, resumed: bool = False) -> None:
        self._path, self._resumed = path, resumed
        self._repeated = Repeated()
        self.names: Tuple[CostName, ...] = ()
        self.rows: List[List[Any]] = []
        self._file: Optional[AppendedRows] = None

    @property
    def columns(self) -> List[str]:
        """Names of the file's columns, see `history_columns`."""
        return history_columns(self.names)

    def begin(self, run: Run) -> None:
        """Take the names of the costs, and forget an earlier run."""
        self.names = run.cost_names
        self.rows = []
        if self._path is not None:
            self._file = AppendedRows(self._path)

    def step(self, progress: Progress) -> None:
        """Keep the costs, and write them."""
        row = [progress.iteration, *(progress.costs[name] for name in self.names)]
        if not self.rows and self._resumed and self._path is not None:
            self.rows = self._rows_before(self._path, progress.iteration)
        self.rows.append(row)
        if self._file is not None:
            self._repeated.attempt(f"the history {self._path!r}", self._file.write, self.columns, self.rows)

    def _rows_before(self, path: str, iteration: int) -> List[List[Any]]:
        """Return the rows of the file up to an iteration, without what a killed process has left of a row."""
        try:
            with open(path, "rb") as file:
                names, *lines = file.read().decode("utf-8", "replace").split("\n")[:-1]
        except (OSError, ValueError):
            return []  # no file, or something else
        rows: List[List[Any]] = []
        for line in lines if names.rstrip("\r") == ",".join(self.columns) else ():
            try:
                number, *costs = line.split(",")
                row = [int(number), *map(float, costs)]
            except ValueError:
                break
            if len(row) != len(self.columns) or row[0] >= iteration:
                break
            rows.append(row)
        return rows


def history_columns(names: Sequence[CostName]) -> List[str]:
    """Return the names of a history's columns: ``iteration``, ``content_cost``, ``style_cost`` and so on."""
    return ["iteration", *(name.column for name in names)]


class Announcement(Observer):
    """One line about what a run will take, once its first steps have shown how fast it is.

    Parameters
    ----------
    announce : callable
        Takes the line.
    memory : str
        How much memory the run needs, in words.
    """

    #: Steps that are timed. The first step of all is left out: TensorFlow prepares itself in it.
    _TIMED = 2

    def __init__(self, announce: Callable[[str], Any], memory: str) -> None:
        self._announce, self._memory = announce, memory
        self._times: List[float] = []

    def begin(self, run: Run) -> None:
        """Take note of what is known already."""
        self._run = run

    def step(self, progress: Progress) -> None:
        """Say the line after the first steps."""
        if len(self._times) <= self._TIMED:
            self._times.append(time.perf_counter())
            if len(self._times) > self._TIMED:
                pace = (self._times[-1] - self._times[0]) / self._TIMED
                self._say(f"about {_duration(pace * self._steps_left(progress.iteration))}, ")

    def end(self) -> None:
        """Say the line without a time if the run was too short for one."""
        if len(self._times) <= self._TIMED:
            self._say("")

    def _steps_left(self, iteration: int) -> float:
        """Return how many steps of the present size take as long as the rest: time is proportional to pixels."""
        left, begin, now = 0.0, 0, 0
        for (width, height), iterations in self._run.stages:
            begin += iterations
            steps = min(begin - iteration - 1, iterations)
            if steps >= 0:
                now = now or width * height
                left += steps * width * height / now
        return left

    def _say(self, duration: str) -> None:
        width, height = self._run.stages[-1][0]
        settings = self._run.settings
        self._announce(
            f"{width}x{height}, {self._run.iterations} iterations of {settings.optimizer}, {duration}"
            f"{self._memory} of memory, seed {settings.seed}"
        )


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
