"""Which TensorFlow runs the graph.

The graph code of this package is written once, against `Runtime`. What differs between TensorFlow 1.15 and
TensorFlow 2 (where Keras 2 lives, who owns the graph and the session) is behind it. Runtimes are found through the
entry-point group `nst_graph.runtimes`; this package registers its own in the same way. One is chosen from the metadata
of the installed distributions, before TensorFlow is imported. This package's own come first; the environment variable
NST_GRAPH_RUNTIME names another.
"""

import contextlib
import functools
import os
import re
import sys
from typing import Any, ContextManager, Iterable, Iterator, List, NamedTuple, Optional, Tuple, Type

from nst_graph import console
from nst_graph.errors import RuntimeMissingError

if sys.version_info >= (3, 10):
    from importlib import metadata
else:  # entry_points(group=...) came with Python 3.10
    import importlib_metadata as metadata

#: Entry-point group; each entry names a subclass of `Runtime`.
ENTRY_POINT_GROUP = "nst_graph.runtimes"

#: Environment variable with the name of the entry point that serves; empty or not set, the first that can serve does.
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
    """What the metadata of the installed distributions say.

    Attributes
    ----------
    tensorflow, tf_keras : str or None
        Version, None where it is not installed.
    """

    tensorflow: Optional[str]
    tf_keras: Optional[str]


class Runtime:
    """A TensorFlow that the article's graph can run on. Subclass it to serve another.

    The module that holds a subclass must not import TensorFlow; `__init__` does. One instance serves a process.

    Attributes
    ----------
    name : str
        Short name for users.
    tf : module
        The namespace of TensorFlow 1: `tensorflow.compat.v1` or an equal of it.
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
        """Say in one line why this runtime cannot serve, with what to `pip install`; None if it can."""
        raise NotImplementedError

    def scope(self, session: Any) -> ContextManager[None]:
        """Make a session and its graph the default ones, and Keras's, for the length of a `with` block.

        Code that builds graph operations or Keras layers, or calls `keras.backend.get_session()`, belongs inside;
        `session.run` works outside too. What the process had before (eager mode, default graph, Keras session, Keras's
        classes) it has again afterwards.

        Parameters
        ----------
        session : tf.Session
            From `new_session`.
        """
        raise NotImplementedError

    def new_session(self) -> Any:
        """Return a session on a new, empty graph; the caller closes it."""
        # The first session looks for devices and says which it does not find. During later ones another thread may be
        # training, and what TensorFlow says of that must be seen.
        with contextlib.nullcontext() if self._has_devices else _tensorflow_held_back():
            session = self.tf.Session(graph=self.tf.Graph())
        self._has_devices = True
        return session

    @contextlib.contextmanager
    def session_scope(self) -> Iterator[Any]:
        """Enter the scope of a new session on a new graph; at the end it is closed.

        Yields
        ------
        tf.Session
            What `keras.backend.get_session()` returns inside.
        """
        with contextlib.closing(self.new_session()) as session, self.scope(session):
            yield session

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
        Distribution that registers it.
    runtime : type or None
        The class; None if it could not be loaded.
    why_not : str or None
        None if it can serve, else the reason in one line.
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
    """Read the versions that matter from the installed distributions' metadata; nothing is imported."""
    return Installed(_version(_TENSORFLOWS), _version(["tf-keras"]))


def release(version: str) -> Tuple[int, int]:
    """Return major and minor of a version: (2, 21) for 2.21.0rc1."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def find_runtimes() -> List[Candidate]:
    """Find every registered runtime and ask each whether it can serve here; TensorFlow is not imported.

    Returns
    -------
    list of Candidate
        In the order in which they are asked to serve: this package's own, then the others; both by name, distribution
        and value of the entry point. A distribution that is installed twice is listed once.
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
        except Exception as error:  # one broken plugin must not stop the others
            runtime, why_not = None, f"it cannot be loaded: {type(error).__name__}: {error}"
        found.append(Candidate(point.name, source, runtime, why_not and " ".join(why_not.split())))
    return found


def choose_runtime() -> Candidate:
    """Choose the runtime of this process; TensorFlow is not imported.

    Returns
    -------
    Candidate
        The first of `find_runtimes` that can serve. If the environment variable NST_GRAPH_RUNTIME is set, the first
        of that name that can serve.

    Raises
    ------
    RuntimeMissingError
        If none can; the message says why and what to install.
    """
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
    raise RuntimeMissingError(f"no runtime serves the installed TensorFlow ({reasons}){remedy}")


@functools.lru_cache(maxsize=None)
def get_runtime() -> Runtime:
    """Return the runtime of this process; the first call chooses it and imports TensorFlow and its Keras.

    What TensorFlow writes to standard error meanwhile is shown only if the import fails. This holds for the programs
    of this project (see `nst_graph.console`); in any other process nothing is held back.

    Raises
    ------
    RuntimeMissingError
        If none can serve.
    """
    runtime = choose_runtime().runtime
    assert runtime is not None  # what can serve was loaded
    with _tensorflow_held_back():
        return runtime()


def _tensorflow_held_back() -> ContextManager[None]:
    """Hold back what TensorFlow writes to standard error, unless the user wants its notices and warnings."""
    wanted = os.environ.get("TF_CPP_MIN_LOG_LEVEL") in ("0", "1")
    return contextlib.nullcontext() if wanted else console.held_back()


def _advice() -> str:
    if sys.version_info < (3, 8):
        return 'pip install "tensorflow==1.15.5" "protobuf<3.21"'
    return 'pip install "tensorflow>=2.15,<3" "tf-keras>=2.15.1,<3"'
