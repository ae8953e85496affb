"""Which TensorFlow runs the graph.

The graph code of this package is written once and uses `Runtime`. A runtime hides the differences between TensorFlow
1.15 and TensorFlow 2: where Keras 2 is, and who owns the graph and the session. This package and others register their
runtimes in the entry-point group `nst_graph.runtimes`. `choose_runtime` reads the metadata of the installed
distributions and chooses one before TensorFlow is imported. It prefers the runtimes of this package. The environment
variable NST_GRAPH_RUNTIME names another one.
"""

import contextlib
import functools
import os
import re
import sys
import tempfile
from typing import Any, ContextManager, Iterable, Iterator, List, NamedTuple, Optional, Tuple, Type

from nst_graph import console
from nst_graph.errors import RuntimeMissingError

if sys.version_info >= (3, 10):
    from importlib import metadata
else:  # entry_points(group=...) is new in Python 3.10
    import importlib_metadata as metadata

#: Entry-point group. Each entry names a subclass of `Runtime`.
ENTRY_POINT_GROUP = "nst_graph.runtimes"

#: Environment variable with the name of the runtime to use. If it is empty or not set, the first that can serve does.
RUNTIME_VARIABLE = "NST_GRAPH_RUNTIME"

#: Distributions that install the package `tensorflow`, the usual one first.
_TENSORFLOWS = (
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-gpu",
    "tensorflow-intel",
    "tensorflow-macos",
    "tensorflow-aarch64",
    "tensorflow-rocm",
    "tf-nightly",
)


class Installed(NamedTuple):
    """Versions from the metadata of the installed distributions.

    Attributes
    ----------
    tensorflow, tf_keras : str or None
        Version; None if it is not installed.
    """

    tensorflow: Optional[str]
    tf_keras: Optional[str]


class Runtime:
    """A TensorFlow that can run the article's graph. Write a subclass to support another TensorFlow.

    The module of a subclass must not import TensorFlow; its `__init__` does. A process uses one instance.

    Attributes
    ----------
    name : str
        Short name for users.
    tf : module
        The namespace of TensorFlow 1: `tensorflow.compat.v1` or an equivalent module.
    keras : module
        Keras 2 with its TensorFlow 1 interface: `applications`, `layers`, and `backend` with `get_session` and
        `learning_phase`.
    """

    name = ""
    tf: Any = None
    keras: Any = None
    _has_devices = False

    @classmethod
    def why_not(cls, installed: Installed) -> Optional[str]:
        """Return in one line why this runtime cannot serve and what to `pip install`; None if it can serve."""
        raise NotImplementedError

    def scope(self, session: Any) -> ContextManager[None]:
        """Make a session and its graph the defaults of TensorFlow and Keras during a `with` block.

        Code must be inside the block if it builds graph operations or Keras layers or calls
        `keras.backend.get_session()`. `session.run` works outside too. The end of the block restores the state of the
        process: eager mode, default graph, Keras session and Keras's classes.

        Parameters
        ----------
        session : tf.Session
            From `new_session`.
        """
        raise NotImplementedError

    def session_config(self, threads: Optional[int] = None, bfloat16: bool = False) -> Any:
        """Return how a session is to compute.

        Parameters
        ----------
        threads : int, optional
            How many threads TensorFlow computes with. By default one for each core. The first session of a process
            decides for all of them, because they share their threads.
        bfloat16 : bool
            Whether TensorFlow's graph rewriter puts convolutions and what lies between them into bfloat16. What a run
            of the session fetches keeps its own precision.

        Returns
        -------
        tf.ConfigProto
            On a GPU it takes memory as it needs it, so that a host program keeps its own.
        """
        config = self.tf.ConfigProto()
        config.gpu_options.allow_growth = True
        if threads is not None:
            config.intra_op_parallelism_threads = config.inter_op_parallelism_threads = threads
        if bfloat16:
            rewriter = config.graph_options.rewrite_options
            rewriter.auto_mixed_precision_onednn_bfloat16 = rewriter.ON
        return config

    def new_session(self, config: Any = None, graph: Any = None) -> Any:
        """Return a session; the caller closes it.

        Parameters
        ----------
        config : tf.ConfigProto, optional
            By default `session_config()`.
        graph : tf.Graph, optional
            By default a new, empty one.

        Returns
        -------
        tf.Session
            It is no default session: see `scope`.
        """
        # The first session looks for devices and prints which ones it does not find. When a later session is made,
        # another thread may be training, and TensorFlow's messages about that must be visible.
        with contextlib.nullcontext() if self._has_devices else _tensorflow_held_back():
            session = self.tf.Session(
                graph=self.tf.Graph() if graph is None else graph,
                config=self.session_config() if config is None else config,
            )
        self._has_devices = True
        return session

    def reopen(self, graph: Any) -> None:
        """Let operations be added to a graph again after `graph.finalize()`."""
        # TensorFlow has no public name for this, so a test checks it. The other way, a graph for each picture size,
        # would load Keras's network for each.
        graph._unsafe_unfinalize()

    def forget(self, graph: Any) -> None:
        """Let go of a graph whose session is closed, where TensorFlow or Keras would keep it for ever."""

    @contextlib.contextmanager
    def session_scope(self) -> Iterator[Any]:
        """Enter the scope of a new session on a new graph. The session is closed at the end.

        Yields
        ------
        tf.Session
            The session that `keras.backend.get_session()` returns inside.
        """
        session = self.new_session()
        try:
            with contextlib.closing(session), self.scope(session):
                yield session
        finally:
            self.forget(session.graph)

    @property
    def version(self) -> str:
        """Version of TensorFlow."""
        return str(self.tf.__version__)


class Candidate(NamedTuple):
    """A runtime that was found, and whether it can serve.

    Attributes
    ----------
    name : str
        Name of its entry point.
    source : str
        Name of the distribution that registers it.
    runtime : type or None
        The class; None if it could not be loaded.
    why_not : str or None
        None if it can serve; otherwise the reason in one line.
    """

    name: str
    source: str
    runtime: Optional[Type[Runtime]]
    why_not: Optional[str]


def _version(distributions: Iterable[str]) -> Optional[str]:
    for name in distributions:
        try:
            return str(metadata.version(name))
        except metadata.PackageNotFoundError:
            continue
    return None


def installed() -> Installed:
    """Return the installed versions of TensorFlow and tf-keras from their metadata. It imports neither."""
    return Installed(_version(_TENSORFLOWS), _version(["tf-keras"]))


def release(version: str) -> Tuple[int, int]:
    """Return major and minor number of a version: (2, 21) for 2.21.0rc1."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def find_runtimes() -> List[Candidate]:
    """Find all registered runtimes and check which of them can serve. TensorFlow is not imported.

    Returns
    -------
    list of Candidate
        In order of preference: the runtimes of this package, then the others. Each group is sorted by the entry point's
        name, distribution and value. A distribution that is installed twice is listed once.
    """
    versions = installed()
    points = {}
    for point in metadata.entry_points(group=ENTRY_POINT_GROUP):
        source = str(point.dist.metadata["Name"]) if point.dist is not None else "?"
        # The metadata may spell one distribution nst_graph or nst-graph.
        distribution = re.sub(r"[-_.]+", "-", source).lower()
        points[distribution != "nst-graph", point.name, distribution, point.value] = source, point
    found = []
    for _, (source, point) in sorted(points.items(), key=lambda item: item[0]):
        try:
            runtime = point.load()
            why_not = runtime.why_not(versions)
        except Exception as error:  # a broken third-party plugin must not stop the others
            runtime, why_not = None, f"it cannot be loaded: {type(error).__name__}: {error}"
        found.append(Candidate(point.name, source, runtime, why_not and " ".join(why_not.split())))
    return found


def choose_runtime() -> Candidate:
    """Choose the runtime of this process. TensorFlow is not imported.

    Returns
    -------
    Candidate
        The first of `find_runtimes` that can serve. If the environment variable NST_GRAPH_RUNTIME is set, only runtimes
        with that name count.

    Raises
    ------
    RuntimeMissingError
        If no runtime can serve. The message says why and what to install.

    Examples
    --------
    >>> from nst_graph.runtimes import choose_runtime
    >>> choose_runtime().name in ("tf1", "tf2")
    True
    """
    _check_surroundings()
    candidates = find_runtimes()
    if not candidates:
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        raise RuntimeMissingError(
            f"nst_graph is not installed, so its TensorFlow runtimes are not registered: pip install {root}"
        )
    name = os.environ.get(RUNTIME_VARIABLE)
    asked = [candidate for candidate in candidates if not name or candidate.name == name]
    for candidate in asked:
        if candidate.why_not is None:
            return candidate
    if name:
        reasons = "; ".join(str(candidate.why_not) for candidate in asked) or "there is no runtime of this name"
        if installed().tensorflow is None:
            reasons += f": {_advice()}"
        names = ", ".join(dict.fromkeys(candidate.name for candidate in candidates))
        raise RuntimeMissingError(f"{RUNTIME_VARIABLE} is {name!r}: {reasons}; the names are: {names}")
    if installed().tensorflow is None:
        raise RuntimeMissingError(f"TensorFlow is not installed: {_advice()}")
    reasons = "; ".join(f"{candidate.name}: {candidate.why_not}" for candidate in candidates)
    remedy = "" if "pip install" in reasons else f"; {_advice()}"
    raise RuntimeMissingError(f"no runtime works with the installed TensorFlow ({reasons}){remedy}")


def _check_surroundings() -> None:
    """Raise RuntimeMissingError where no TensorFlow can be imported: both its imports fail with a traceback."""
    if sys.flags.optimize > 1:
        raise RuntimeMissingError(
            "TensorFlow and Keras need their docstrings, which Python leaves out with -OO or PYTHONOPTIMIZE=2; use -O"
        )
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise RuntimeMissingError(
            f"TensorFlow needs a temporary folder ({error.strerror}): set TMPDIR to a folder that can be written in"
        ) from error


@functools.lru_cache(maxsize=None)
def get_runtime() -> Runtime:
    """Return the runtime of this process. The first call chooses it and imports TensorFlow and its Keras.

    In the programs of this project, TensorFlow's output to standard error during the import is shown only if the import
    fails (see `nst_graph.console`). In any other process it is always shown.

    Returns
    -------
    Runtime
        The same at each call.

    Raises
    ------
    RuntimeMissingError
        If no runtime can serve.

    Examples
    --------
    >>> from nst_graph import get_runtime
    >>> runtime = get_runtime()
    >>> with runtime.session_scope() as session:
    ...     print(session.run(runtime.tf.constant(6) * 7))
    42
    """
    runtime = choose_runtime().runtime
    assert runtime is not None  # a runtime that can serve was loaded
    with _tensorflow_held_back():
        return runtime()


def _tensorflow_held_back() -> ContextManager[None]:
    """Hold back TensorFlow's output to standard error, unless the user wants its notices and warnings."""
    wanted = os.environ.get("TF_CPP_MIN_LOG_LEVEL") in ("0", "1")
    return contextlib.nullcontext() if wanted else console.held_back()


def _advice() -> str:
    if sys.version_info < (3, 8):
        return 'pip install "tensorflow==1.15.5" "protobuf<3.21"'
    return 'pip install "tensorflow>=2.15,<3" "tf-keras>=2.15.1,<3"'
