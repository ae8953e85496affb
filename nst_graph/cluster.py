"""The pictures of a batch on the workers of a Dask cluster. Everything that knows Dask is in this module.

The first part runs in the process that has the batch. It reads the files, and sends each picture as one Dask task; so
no file system is shared. The second part runs in the workers, which keep network, graphs and style targets from one
task to the next.

A worker gets tasks when it was prepared: it has this version of nst_graph, a TensorFlow, and the weights of the batch.
It then has the Dask resource `nst_graph`, of which a task takes the whole: so a worker process does one task at a time,
however many threads it has.
"""

import contextlib
import hashlib
import importlib
import logging
import os
import queue
import threading
import time
import warnings
from typing import Any, Callable, Dict, Iterable, Iterator, NamedTuple, Optional, Set, Tuple, Union

from nst_graph import __version__
from nst_graph.errors import ClusterError, NSTGraphError, RuntimeMissingError
from nst_graph.images import Picture
from nst_graph.inputs import PictureFile, Style, read_styles
from nst_graph.painter import Job, Painter, Result, Task
from nst_graph.picture_files import read_file
from nst_graph.runtimes import choose_runtime, installed
from nst_graph.weights import Weights

logger = logging.getLogger(__name__)

#: Name of the Dask resource of which a worker has 1, and a task needs 1.
_RESOURCE = "nst_graph"

#: Tasks that are sent for each worker: the one that it is at, and one that waits there with its files.
_FOR_EACH = 2

#: Seconds after which a scheduler that does not answer is given up.
_PATIENCE = 10.0

#: Seconds from one look for new workers to the next.
_PERIOD = 2.0

#: What a worker holds that was never sent weights.
_NO_WEIGHTS = ""


def check() -> None:
    """Raise RuntimeMissingError if Dask is not installed."""
    try:
        importlib.import_module("distributed")
    except ImportError as error:
        raise RuntimeMissingError(
            f'a batch on a cluster needs Dask ({error}): pip install "nst_graph[cluster]"'
        ) from error


def results(
    tasks: Iterable[Union[Task, Result]],
    scheduler: str,
    weights: Weights,
    threads: Optional[int] = None,
    memory_check: bool = True,
    stop: Callable[[], Any] = lambda: False,
) -> Iterator[Result]:
    """Make pictures on the workers of a cluster.

    Parameters
    ----------
    tasks : iterable of Task or Result
        What is to be done; a result comes back as it is.
    scheduler : str
        Address of the cluster's scheduler, `tcp://host:8786`, or the path of its scheduler file.
    weights : Weights
        For all pictures. A worker gets them once, 80 MB, unless it has them from an earlier batch.
    threads : int, optional
        TensorFlow's threads in each worker process. By default those of the worker.
    memory_check : bool
        See `nst_graph.painter.Painter`.
    stop : callable
        Asked all the time: where it returns something true, the batch ends.

    Yields
    ------
    Result
        When it is done, in any order.

    Raises
    ------
    ClusterError
        If there is no scheduler at the address, or it does not answer any more.
    """
    with _connected(scheduler) as client:
        yield from _Batch(client, weights, threads, memory_check, stop).results(iter(tasks))
