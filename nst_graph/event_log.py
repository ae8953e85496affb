"""A run's log for TensorBoard: graph, costs, pictures, settings and pace. Each run has its own folder and event file.

An event file is a TFRecord file of `Event` messages. This module writes it record by record, so it sees an error (a
full disk, for example) at once and can report it. TensorFlow's own `FileWriter` writes in a thread. If the log cannot
be written, the run continues without it.
"""

import contextlib
import itertools
import logging
import os
import re
import socket
import time
from typing import Any, Callable, Iterable, Iterator, List, Optional, Tuple

import numpy as np

from nst_graph.costs import Costs
from nst_graph.errors import one_line
from nst_graph.files import Dispensable
from nst_graph.images import encoded
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings, is_due

logger = logging.getLogger(__name__)

#: The logged graph omits the values of a constant that has more entries than this.
LARGEST_CONSTANT = 1024

#: Constants that a run's name omits: it has the pictures' names already, and the others change no result.
_NOT_IN_NAMES = ("CONTENT_IMG_PATH", "STYLE_IMG_PATH", "GENERATED_IMG_PATH", "LOG_GRAPH", "LOG_PICTURES_EVERY")


def run_name(settings: Settings, now: float) -> str:
    """Return a run's name: start time, content, style, and the constants that differ from the article's.

    Parameters
    ----------
    settings : Settings
        Settings of the run.
    now : float
        Start time, in seconds since 1970.

    Returns
    -------
    str
        For example `2026-11-24_17-16-07_cat_starry_night_ALPHA=5_SEED=0`. A picture without a file is called `array`.
        Names sort by time.
    """
    defaults, chosen = Settings().words(), settings.words()
    paths = (settings.content_img_path, settings.style_img_path)
    stems = ["array" if path is None else os.path.splitext(os.path.basename(path))[0] for path in paths]
    changed = [
        f"{name}={word}"
        for name, word in chosen.items()
        if word not in (defaults.get(name), "None") and name not in _NOT_IN_NAMES
    ]
    name = "_".join([time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(now)), *stems, *changed])
    # A file name can have 255 bytes. TensorBoard's list of runs shows fewer.
    return re.sub(r"[^\w=,.-]+", "-", name).encode()[:150].decode(errors="ignore")


def readable_graph(roots: List[Any]) -> Any:
    """Return the part of a graph that the given operations need, without the values of large constants.

    Parameters
    ----------
    roots : list of tf.Operation
        For example the training step and the total cost.

    Returns
    -------
    tf.GraphDef
        It has the shapes of all tensors. It omits operations that no root needs: those that load the weights,
        initialise variables or belong to Keras's own max-pooled network.
    """
    tf = get_runtime().tf
    graph = roots[0].graph
    needed, todo = set(), list(roots)
    while todo:
        operation = todo.pop()
        if operation not in needed:
            needed.add(operation)
            todo.extend(source.op for source in operation.inputs)
            todo.extend(operation.control_inputs)
    logged = tf.GraphDef(versions=graph.graph_def_versions)
    for operation in graph.get_operations():
        if operation not in needed:
            continue
        shapes = [output.shape.as_proto() for output in operation.outputs]
        # `node_def` of a constant includes its values: 192 MB for the content target of a 3000x2000 picture.
        if operation.type == "Const" and (operation.outputs[0].shape.num_elements() or 0) > LARGEST_CONSTANT:
            dtype = operation.outputs[0].dtype.as_datatype_enum
            node = logged.node.add(name=operation.name, op="Const")
            node.attr["dtype"].type = dtype
            node.attr["value"].tensor.dtype = dtype
            node.attr["value"].tensor.tensor_shape.CopyFrom(shapes[0])
        else:
            node = logged.node.add()
            node.CopyFrom(operation.node_def)
        if shapes:
            node.attr["_output_shapes"].list.shape.extend(shapes)
    return logged


def _table(rows: Iterable[Tuple[str, str]]) -> str:
    lines = ["| constant | value |", "| --- | --- |"]
    # A row is one line, and UTF-8: in a file's name there may be line ends and bytes that are no text.
    lines += ["| {} | {} |".format(name, one_line(value).replace("|", "\\|")) for name, value in rows]
    return "\n".join(lines)


@contextlib.contextmanager
def _tensorflows_errors() -> Iterator[None]:
    """Convert TensorFlow's file errors to OSError."""
    try:
        yield
    except get_runtime().tf.errors.OpError as error:
        raise OSError(error.message) from error


def _tensorboard_is_there() -> bool:
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        return False
    return True


class EventLog:
    """One run's log for TensorBoard.

    If the log cannot be written (no permission, disk full, folder deleted), the logger `nst_graph` prints one warning,
    and later calls do nothing.

    Parameters
    ----------
    log_dir : str or None
        Folder of all runs, `log` for example. It is created if it is missing. The run's own folder is created in it.
        None logs nothing.
    settings : Settings
        Logged as a table.
    weights_source : str
        Source of the weights, for that table.
    pictures_every : int
        Iterations between two logged pictures. The picture after the last iteration is always logged. 0 logs no
        pictures.
    """

    def __init__(self, log_dir: Optional[str], settings: Settings, weights_source: str, pictures_every: int) -> None:
        self._settings = settings
        self._pictures_every = pictures_every
        self._last_time: Optional[float] = None
        self._dispensable = Dispensable(f"the log in {log_dir!r}", given_up=log_dir is None)
        self._dispensable.attempt(self._open, log_dir)
        tf = get_runtime().tf
        self._write(file_version="brain.Event:2")
        facts = {"weights from": weights_source, "TensorFlow": get_runtime().version}
        self._value(
            0,
            tag="settings",
            metadata=tf.SummaryMetadata(plugin_data=tf.SummaryMetadata.PluginData(plugin_name="text")),
            tensor=tf.make_tensor_proto(_table([*settings.words().items(), *facts.items()]), dtype=tf.string),
        )
        if not self._dispensable.given_up and not _tensorboard_is_there():
            logger.warning("TensorBoard is not installed; to view the log: pip install tensorboard")

    def _open(self, log_dir: str) -> None:
        now = time.time()
        name = run_name(self._settings, now)
        with contextlib.suppress(FileExistsError):  # another run created it, or it is a file: mkdir below fails then
            os.makedirs(log_dir)
        for attempt in itertools.count(1):  # two runs that start in the same second get two folders
            folder = os.path.join(log_dir, name if attempt == 1 else f"{name}_{attempt}")
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder)
                break
        self._path = os.path.join(folder, f"events.out.tfevents.{now:.0f}.{socket.gethostname()}")
        with _tensorflows_errors():
            self._records = get_runtime().tf.io.TFRecordWriter(os.fsencode(self._path))

    def _append(self, event: Any) -> None:
        with _tensorflows_errors():
            self._records.write(event.SerializeToString())
            self._records.flush()  # TensorBoard reads the file during the run
        os.stat(self._path)  # a write to a deleted file gives no error

    def _write(self, **event: Any) -> None:
        self._dispensable.attempt(self._append, get_runtime().tf.Event(wall_time=time.time(), **event))

    def _value(self, iteration: int, **value: Any) -> None:
        tf = get_runtime().tf
        self._write(step=iteration, summary=tf.Summary(value=[tf.Summary.Value(**value)]))

    def graph(self, *roots: Any) -> None:
        """Log the part of the graph that the given operations need, see `readable_graph`.

        Parameters
        ----------
        *roots : tf.Operation
            The training step and the total cost, for example.
        """
        if not self._dispensable.given_up:
            self._write(graph_def=readable_graph(list(roots)).SerializeToString())

    def costs(self, iteration: int, costs: Costs) -> None:
        """Log the costs after an iteration, and the seconds since the previous iteration.

        Parameters
        ----------
        iteration : int
            The step in TensorBoard. Costs before the first step (iteration -1) are not logged.
        costs : Costs
            Their tags are `cost/content`, `style_cost/block1_conv1` and so on, see `nst_graph.costs.CostName`. The
            second and later calls also log `pace/seconds_per_iteration`.
        """
        if iteration < 0 or self._dispensable.given_up:
            return
        scalars = {name.tag: cost for name, cost in costs.items()}
        now = time.perf_counter()
        if self._last_time is not None:
            scalars["pace/seconds_per_iteration"] = now - self._last_time
        self._last_time = now
        tf = get_runtime().tf
        values = [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._write(step=iteration, summary=tf.Summary(value=values))

    def generated(self, iteration: int, picture: Callable[[], np.ndarray]) -> None:
        """Log the generated picture if one is due after this iteration.

        Parameters
        ----------
        iteration : int
            The step in TensorBoard.
        picture : callable
            Returns the picture, uint8 (h, w, 3), blue, green and red. It is called only if a picture is due.
        """
        last = self._settings.total_iterations - 1
        if not self._dispensable.given_up and is_due(iteration, self._pictures_every, last):
            self.picture("generated", iteration, picture())

    def picture(self, name: str, iteration: int, picture: np.ndarray) -> None:
        """Log a picture as a JPEG of OpenCV's default quality. If `pictures_every` is 0, do nothing.

        Parameters
        ----------
        name : str
            The tag is `picture/` and the name. TensorBoard shows pictures with the same prefix side by side.
        iteration : int
            The step in TensorBoard.
        picture : ndarray
            uint8 (h, w, 3), blue, green and red.
        """
        if self._dispensable.given_up or not self._pictures_every:
            return
        image = get_runtime().tf.Summary.Image(
            height=picture.shape[0],
            width=picture.shape[1],
            colorspace=3,
            encoded_image_string=encoded(picture, "picture.jpg"),
        )
        self._value(iteration, tag="picture/" + name, image=image)

    def close(self) -> None:
        """Close the log's file."""
        self._dispensable.attempt(self._close)

    def _close(self) -> None:
        with _tensorflows_errors():
            self._records.close()
