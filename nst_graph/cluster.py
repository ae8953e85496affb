"""The pictures of a batch on the workers of a Dask cluster. Everything that knows Dask is in this module.

The first part runs in the process that has the batch. It reads the files, and sends each picture to a worker that has
nothing to do: no file system is shared, no worker has two pictures at once, and it is known which picture a worker was
at when it died. The second part runs in the workers. They keep network, graphs and style targets from one picture to
the next.

Functions are sent by name, and what they take as bytes. So Dask's scheduler needs no nst_graph, and a worker without it
answers with an error, where Dask would end its process.
"""

import asyncio
import collections
import contextlib
import hashlib
import importlib
import json
import logging
import os
import pickle
import queue
import threading
import time
import uuid
import warnings
from typing import Any, Callable, Deque, Dict, Iterable, Iterator, NamedTuple, Optional, Set, Tuple, Union

from nst_graph import __version__, console
from nst_graph.errors import ClusterError, NSTGraphError, RuntimeMissingError
from nst_graph.images import Picture
from nst_graph.inputs import PictureFile, as_styles
from nst_graph.painter import Job, Painter, Result, Task
from nst_graph.picture_files import read_file
from nst_graph.runtimes import choose_runtime, installed
from nst_graph.weights import Weights

logger = logging.getLogger(__name__)

#: How often a picture is made again whose worker died. A picture that kills workers would kill them all.
_TIMES_AGAIN = 3

#: Workers that weights are sent to at the same time: all of them are in the scheduler's memory until they have arrived.
_WEIGHTS_AT_ONCE = 2

#: Seconds that a scheduler has to answer at first; that a worker has before a notice says that it does not.
_PATIENCE, _WORKERS_PATIENCE = 10.0, 60.0

#: Seconds from one look for new workers to the next, and from one look at what is done to the next.
_PERIOD, _MOMENT = 1.0, 0.2

#: What Dask's loggers print belongs to no program of this project. They have levels of their own.
_LOGGERS = ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application", "asyncio")


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

    A worker that dies costs the picture that it was at: another one makes it again, three times at most. Workers that
    come later get pictures too. Where there is none, a notice says so, and the batch waits.

    Parameters
    ----------
    tasks : iterable of Task or Result
        What is to be done; a result comes back as it is. The next one is read when a worker has nothing to do.
    scheduler : str
        Address of the cluster's scheduler, `tcp://host:8786`, or the path of its scheduler file.
    weights : Weights
        For all pictures. A worker gets them once, 80 MB, unless it has them from an earlier batch.
    threads : int, optional
        TensorFlow's threads in each worker process. By default those of the worker.
    memory_check : bool
        See `nst_graph.painter.Painter`.
    stop : callable
        Asked all the time: where it returns something true, the batch ends, and the workers drop the pictures that they
        are at.

    Yields
    ------
    Result
        When it is done, in any order.

    Raises
    ------
    ClusterError
        If there is no scheduler at the address, or it does not answer any more.
    """
    client = _connected(scheduler)
    try:
        yield from _Batch(client, weights, threads, memory_check).results(iter(tasks), stop)
    finally:
        with contextlib.suppress(Exception):  # a scheduler that is lost does not answer
            client.close(timeout=_PATIENCE)


def _connected(scheduler: str) -> Any:
    """Return a Dask client; raise ClusterError if that cannot be."""
    address = _address(scheduler)
    import distributed

    if console.is_ours():
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    found: queue.Queue[Tuple[Any, Optional[Exception]]] = queue.Queue()

    def connect() -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of versions that differ; those that matter are compared here
                found.put((distributed.Client(address, timeout=_PATIENCE, set_as_default=False), None))
        except Exception as error:
            found.put((None, error))

    # In a thread: Dask waits for ever where something listens that is no Dask.
    threading.Thread(target=connect, daemon=True).start()
    try:
        client, error = found.get(timeout=2 * _PATIENCE)
    except queue.Empty:
        client, error = None, TimeoutError("what listens there does not answer like Dask")
    if error is not None:
        raise ClusterError(
            f"no Dask scheduler can be reached at {address!r} ({_first_line(error)}); "
            "start one with `dask scheduler`, or name another with --scheduler"
        ) from error
    return client


def _address(scheduler: str) -> str:
    """Return the address of a scheduler, read from its file if that is what is named."""
    if "://" in scheduler or not (os.path.exists(scheduler) or scheduler.endswith(".json")):
        if not scheduler:
            raise ClusterError("the address of the scheduler is empty; it is like tcp://host:8786")
        return scheduler
    try:
        with open(scheduler, encoding="utf-8") as file:
            return str(json.loads(file.read(1 << 20))["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"the scheduler file {scheduler!r} cannot be read ({_first_line(error)}); "
            "`dask scheduler --scheduler-file FILE` writes it"
        ) from error


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


#: In place of what a worker was to return.
_GONE = object()

_LOST = "the Dask scheduler does not answer any more"


class _Sent(NamedTuple):
    """What a worker is at: a function, with a task if it is a picture, and how many workers have died of that."""

    address: str
    function: Callable[..., Any]
    future: Any
    begin: float
    task: Optional[Task]
    deaths: int


class _Batch:
    """A batch on a cluster.

    Parameters
    ----------
    client : distributed.Client
        Of the cluster.
    weights, threads, memory_check : object
        See `results`.
    """

    def __init__(self, client: Any, weights: Weights, threads: Optional[int], memory_check: bool) -> None:
        self._client, self._weights = client, weights
        self._kept = _digest(weights)
        self._how = (self._kept, threads, memory_check)
        self._sent: Dict[str, _Sent] = {}  # by Dask's key
        self._done: queue.Queue[str] = queue.Queue()
        self._known: Set[str] = set()  # workers by address
        self._without_weights: Deque[str] = collections.deque()
        self._idle: Deque[str] = collections.deque()
        self._again: Deque[Tuple[Task, int]] = collections.deque()  # pictures whose workers died, and how many
        self._failed: Deque[Result] = collections.deque()
        self._tensorflows: Set[str] = set()
        self._next_look = 0.0
        self._told: Set[str] = set()

    def results(self, tasks: Iterator[Union[Task, Result]], stop: Callable[[], Any]) -> Iterator[Result]:
        """Yield a result for each task, see the function `results`."""
        more = True
        try:
            while not stop():
                self._look_for_workers()
                while self._idle and (self._again or more) and not stop():
                    task, deaths = self._again.popleft() if self._again else (next(tasks, None), 0)
                    if task is None:
                        more = False
                        continue
                    failed = task if isinstance(task, Result) else self._send_task(task, deaths)
                    if failed is not None:
                        yield failed
                while self._failed:
                    yield self._failed.popleft()
                if not more and not self._again and not any(sent.task for sent in self._sent.values()):
                    return
                with contextlib.suppress(queue.Empty):
                    result = self._take(self._done.get(timeout=_MOMENT))
                    if result is not None:
                        yield result
        finally:
            for sent in self._sent.values():
                self._cancel(sent.future)

    def _send(
        self,
        function: Callable[..., Any],
        arguments: Tuple[Any, ...],
        address: str,
        task: Optional[Task] = None,
        deaths: int = 0,
    ) -> None:
        """Have a worker call a function of this module."""
        key = f"nst_graph-{function.__name__.strip('_')}-{uuid.uuid4().hex}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tasks that have megabytes in them
            future = self._client.submit(
                _by_name(),
                function.__name__,
                pickle.dumps(arguments, protocol=4),
                key=key,
                pure=False,
                workers=[address],
            )
        self._sent[key] = _Sent(address, function, future, time.monotonic(), task, deaths)
        future.add_done_callback(lambda done: self._done.put(done.key))

    def _send_task(self, task: Task, deaths: int) -> Optional[Result]:
        """Give a picture to a worker that has nothing to do; return a result at once if its files cannot be read."""
        try:
            whole = _with_files(task)
        except NSTGraphError as error:
            return Result(task.job, task.number, error=error)
        self._send(_paint, (whole, *self._how), self._idle.popleft(), task, deaths)
        return None

    def _look_for_workers(self) -> None:
        """Prepare new workers; take back what those had that are gone."""
        if self._client.status != "running":
            raise ClusterError(_LOST)
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _PERIOD
        there = self._workers()
        for address in self._known - there:
            self._forget(address)
        for address in sorted(there - self._known):
            self._known.add(address)
            self._send(_introduce, (), address)
        keeping = [sent for sent in self._sent.values() if sent.function is _keep]
        for _ in range(min(len(self._without_weights), _WEIGHTS_AT_ONCE - len(keeping))):
            self._send(_keep, (self._kept, self._weights), self._without_weights.popleft())
        if not there:
            self._tell("the cluster has no worker; waiting for one: `dask worker ADDRESS --memory-limit 0`")
        elif not (self._idle or self._sent or self._without_weights):
            self._tell("no worker of the cluster can make pictures; waiting for others")
        for sent in self._sent.values():
            if sent.task is None and now - sent.begin > _WORKERS_PATIENCE:
                self._tell(
                    f"the worker {sent.address} does nothing; Dask pauses workers that come near their memory limit, "
                    "see `dask worker --memory-limit`"
                )

    def _workers(self) -> Set[str]:
        """Return the addresses of the cluster's workers."""
        try:
            return set(self._client.nthreads())
        except Exception as error:  # Dask documents no list of what a lost connection raises
            raise ClusterError(_LOST) from error

    def _tell(self, notice: str) -> None:
        """Say something, once."""
        if notice not in self._told:
            self._told.add(notice)
            logger.warning("%s", notice)

    def _forget(self, address: str) -> None:
        """Take back what a worker had that is gone."""
        self._known.discard(address)
        for waiting in (self._idle, self._without_weights):
            with contextlib.suppress(ValueError):
                waiting.remove(address)
        for key in [key for key, sent in self._sent.items() if sent.address == address]:
            sent = self._sent.pop(key)
            self._cancel(sent.future)
            if sent.task is not None:
                logger.warning("the worker %s is gone; its picture is made again", address)
                self._make_again(sent.task, sent.deaths + 1, address)

    def _make_again(self, task: Task, deaths: int, address: str) -> None:
        """Let another worker make a picture, unless too many have failed."""
        if deaths <= _TIMES_AGAIN:
            self._again.append((task, deaths))
            return
        error = ClusterError(f"{deaths} workers died or failed while they made it; is the memory too small?")
        self._failed.append(Result(task.job, task.number, error=error, worker=address))

    def _cancel(self, future: Any) -> None:
        """Let a worker see that nobody wants its picture any more."""
        if self._client.status == "running":
            with contextlib.suppress(Exception):  # the scheduler may be lost since then
                future.cancel()

    def _take(self, key: str) -> Optional[Result]:
        """Take what a worker has returned; give the result if it was a picture."""
        sent = self._sent.get(key)
        if sent is None:  # taken back meanwhile
            return None
        try:
            value = self._fetched(sent)
        except ClusterError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            value = error
        if self._client.status != "running" and not isinstance(value, Result):
            return None  # the error is not the picture's
        if value is _GONE or (sent.task is not None and value is None):
            self._forget(sent.address)  # its process is another one now
            return None
        del self._sent[key]
        if sent.task is not None and isinstance(value, Result):
            self._idle.append(sent.address)
            return value._replace(job=sent.task.job, number=sent.task.number, worker=sent.address)
        problem = self._problem(value)
        if problem:
            self._tell(f"the worker {sent.address} gets no pictures: {problem}")
            if (
                sent.task is not None
            ):  # what goes wrong with a picture comes back as its result, so this is the worker's
                self._make_again(sent.task, sent.deaths + 1, sent.address)
        elif sent.function is _introduce and self._kept not in value["kept"]:
            self._without_weights.append(sent.address)
            self._next_look = 0.0
        else:
            self._idle.append(sent.address)
        return None

    def _fetched(self, sent: _Sent) -> Any:
        """Return what a worker has returned; `_GONE` if the worker died before it was sent."""
        import distributed

        patience = _PATIENCE
        while sent.future.status != "cancelled":
            try:
                return sent.future.result(timeout=patience)
            except distributed.TimeoutError:
                # Dask would wait for ever for the result of a worker that is gone. A slow network needs longer.
                if sent.address not in self._workers():
                    break
                patience *= 2
        return _GONE

    def _problem(self, found: Any) -> str:
        """Return why a worker that has introduced itself gets no pictures; "" if it does."""
        if isinstance(found, ModuleNotFoundError):
            return f"nst_graph is not installed there ({found})"
        if isinstance(found, BaseException):
            return _first_line(found)
        if found is None:  # it has the weights now
            return ""
        if found["nst_graph"] != __version__:
            return f"it has nst_graph {found['nst_graph']}, and this is {__version__}"
        self._tensorflows.add(str(found["TensorFlow"]))
        if len(self._tensorflows) > 1:
            self._tell(
                f"the workers have TensorFlow {' and '.join(sorted(self._tensorflows))}: pictures differ slightly"
            )
        return str(found["problem"])


def _by_name() -> Callable[[str, bytes], Any]:
    """Return a function that calls one of this module by its name. Dask sends it by value: it is inside another."""
    module = __name__

    def call(name: str, arguments: bytes) -> Any:
        import importlib
        import pickle

        return getattr(importlib.import_module(module), name)(*pickle.loads(arguments))

    return call


def _digest(weights: Weights) -> str:
    """Return what no other weights have."""
    digest = hashlib.sha256()
    for array in weights.arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def _with_files(task: Task) -> Task:
    """Return a task with the bytes of its files in it; raise PictureError if one cannot be read."""

    def read(picture: Union[Picture, PictureFile, None]) -> Any:
        if isinstance(picture, (str, os.PathLike)):
            path = os.fsdecode(picture)
            return PictureFile(path, read_file(path))
        return picture

    styles = [style._replace(picture=read(style.picture), mask=read(style.mask)) for style in as_styles(task.job.style)]
    return task._replace(job=Job(read(task.job.content), styles), init=read(task.init))


# In the workers, which find these functions by their names.

#: Weights that this process was sent last, by their digest.
_weights: Dict[str, Weights] = {}

#: What makes the pictures, and for which weights and threads it is open.
_painter: Optional[Tuple[Any, Painter]] = None

#: One picture at a time. One that nobody wants any more may be at its last step; another batch may use the worker too.
_lock = threading.Lock()


def _introduce() -> Dict[str, Any]:
    """Return what this worker is, and of which weights it has kept the arrays."""
    console.take_over()  # what OpenCV and TensorFlow print is not for the worker's log either
    try:
        choose_runtime()
        problem = ""
    except NSTGraphError as error:
        problem = str(error)
    return {"nst_graph": __version__, "TensorFlow": installed().tensorflow, "problem": problem, "kept": [*_weights]}


def _keep(digest: str, weights: Weights) -> None:
    """Keep weights for the pictures to come."""
    with _lock:
        _weights.clear()
        _weights[digest] = weights


def _paint(task: Task, digest: str, threads: Optional[int], memory_check: bool) -> Optional[Result]:
    """Make a picture; return None without its weights, or if nobody wants it any more."""
    wanted, own_threads = _this_task()
    with _lock:
        weights = _weights.get(digest)
        if weights is None or not wanted():
            return None
        painter = _opened(weights, digest, threads or own_threads, memory_check)
        result: Optional[Result] = painter.paint(task, stop=lambda: not wanted())
        return result and result._replace(job=Job("", ""))


def _opened(weights: Weights, digest: str, threads: int, memory_check: bool) -> Painter:
    """Return the painter of the pictures before; a new one if it had other weights."""
    global _painter
    key = digest, threads, memory_check
    if _painter is None or _painter[0] != key:
        if _painter is not None:
            _painter[1].__exit__()
        _painter = None
        _painter = key, Painter(weights, threads, memory_check).__enter__()
    return _painter[1]


def _this_task() -> Tuple[Callable[[], bool], int]:
    """Return what tells whether somebody wants this task's result, and the worker's number of threads."""
    import distributed
    from distributed.worker import thread_state

    worker, key = distributed.get_worker(), thread_state.key
    state = getattr(worker, "state", worker)  # Dask before 2022.6 has all of it in the worker

    def wanted() -> bool:
        task = state.tasks.get(key)
        return task is not None and task.state == "executing" and not worker.batched_stream.closed()

    return wanted, int(state.nthreads)
