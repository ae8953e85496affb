"""What watches a run: printed lines, a progress bar, saved pictures, TensorBoard, the history of the costs."""

import contextlib
import csv
import logging
import os
import sys
from typing import Any, List, Optional

from nst_graph.event_log import EventLog
from nst_graph.files import Dispensable
from nst_graph.images import write_picture
from nst_graph.transfer import Observer, Progress, Transfer
from nst_graph.vgg19 import LAYERS


class PrintedLines(Observer):
    """The article's lines on standard output.

    Parameters
    ----------
    every : int
        Iterations from one line to the next.
    """

    def __init__(self, every: int = 20) -> None:
        self._lines_every = every

    def step(self, progress: Progress) -> None:
        """Print a line if it is time for one."""
        if progress.iteration % self._lines_every == 0:
            content, style, total = progress.costs[:3]
            print(
                f"Iteration: {progress.iteration}, Content cost: {content:.2e}, Style cost: {style:.2e}, "
                f"Total cost: {total:.2e}",
                flush=True,
            )


class ProgressBar(Observer):
    """A bar on standard error with the iterations done, the total cost and the time that remains."""

    def begin(self, transfer: Transfer) -> None:
        """Draw the bar; what this package logs meanwhile is printed above it."""
        # Here and not above: a run without a bar does not need it.
        import tqdm.contrib.logging

        size = {"ncols": 80, "nrows": 24} if _terminal_without_size() else {"dynamic_ncols": True}
        with contextlib.ExitStack() as stack:
            self._bar = stack.enter_context(tqdm.tqdm(total=transfer.settings.num_iterations, unit="it", **size))
            stack.enter_context(tqdm.contrib.logging.logging_redirect_tqdm([logging.getLogger("nst_graph")]))
            self._resources = stack.pop_all()

    def step(self, progress: Progress) -> None:
        """Move the bar on."""
        self._bar.set_postfix_str(f"total cost {progress.costs.total:.2e}", refresh=False)
        self._bar.update()

    def end(self) -> None:
        """Leave the bar as it is and go to the next line."""
        self._resources.close()


def _terminal_without_size() -> bool:
    """Whether standard error is a terminal that gives its size as 0, as some do; tqdm would draw nothing on it."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns == 0
    except (OSError, ValueError):
        return False


class SavedPicture(Observer):
    """The picture as it becomes, in one file that is replaced each time.

    Parameters
    ----------
    path : str
        The picture file.
    every : int
        Iterations from one picture to the next.
    """

    def __init__(self, path: str, every: int = 20) -> None:
        self._path, self.every = path, every

    def step(self, progress: Progress) -> None:
        """Save the picture if there is one.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if progress.image is not None:
            write_picture(progress.image, self._path)


class TensorBoard(Observer):
    """The run in TensorBoard, in a folder of its own: see `nst_graph.event_log`.

    Parameters
    ----------
    log_dir : str
        Folder of all runs.
    every : int
        Iterations from one logged picture to the next; 0 logs none.
    """

    def __init__(self, log_dir: str = "log", every: int = 20) -> None:
        self._log_dir, self.every = log_dir, every

    def begin(self, transfer: Transfer) -> None:
        """Log graph, settings, content and style."""
        self._log = EventLog(self._log_dir, transfer.settings, transfer.weights_source, self.every)
        self._log.graph(*transfer.roots)
        self._log.picture("content", 0, transfer.content_picture())
        self._log.picture("style", 0, transfer.style_picture())

    def step(self, progress: Progress) -> None:
        """Log the costs, and the picture if there is one."""
        self._log.costs(progress.iteration, progress.costs)
        if progress.image is not None:
            self._log.picture("generated", progress.iteration, progress.image)

    def end(self) -> None:
        """Close the log."""
        self._log.close()


class History(Observer):
    """Every iteration's costs, kept and, if a file is named, written to it as comma-separated values as they come.

    Parameters
    ----------
    path : str, optional
        The file. One that is there is replaced when the first costs come; if it cannot be written, that is told once
        and the run goes on.

    Attributes
    ----------
    columns : list of str
        `iteration`, `content_cost`, `style_cost`, `total_cost`, and `style_cost_block1_conv1` and so on for the shares
        of the style layers.
    rows : list of list
        The values, as they are in the file: costs are not rounded.
    """

    def __init__(self, path: Optional[str] = None) -> None:
        self._path = path
        self._dispensable = Dispensable(f"the history {path!r}")
        self.columns: List[str] = []
        self.rows: List[List[Any]] = []

    def begin(self, transfer: Transfer) -> None:
        """Learn the names of the style layers."""
        layers = ["style_cost_" + LAYERS[index].name for index in transfer.settings.style_layer_indices]
        self.columns = ["iteration", "content_cost", "style_cost", "total_cost", *layers]
        self.rows = []

    def step(self, progress: Progress) -> None:
        """Keep the costs, and write them."""
        row = [progress.iteration, *progress.costs[:3], *progress.costs.style_layers]
        self.rows.append(row)
        if self._path is not None:
            first = len(self.rows) == 1
            self._dispensable.attempt(self._write, "w" if first else "a", [self.columns, row] if first else [row])

    def _write(self, mode: str, rows: List[List[Any]]) -> None:
        # Opened anew each time: what was written is safe from whatever ends the program.
        with open(str(self._path), mode, newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
