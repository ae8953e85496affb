"""How the programs of this project speak to their users: notices, errors, exit status."""

import contextlib
import logging
import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Dict, Iterator, NoReturn, Optional, Type

from nst_graph import console, streams
from nst_graph.errors import EXIT_STATUS, NSTGraphError, OutputError, one_line

logger = logging.getLogger(__name__)


def set_up(name: Optional[str] = None) -> None:
    """Make this process a program of this project.

    - An error that the user can put right ends it with one line on standard error and exit status 2, without a
      traceback.
    - This package's notices (which weights, what is downloaded) go to standard error.
    - What TensorFlow prints while it is imported is shown only if the import fails. After that only its errors are
      shown. If the user has set the environment variable TF_CPP_MIN_LOG_LEVEL to another level than 2, TensorFlow logs
      at that level; with 0 or 1 nothing is held back.
    - Standard streams that are closed or full end nothing, see `nst_graph.streams`.

    Parameters
    ----------
    name : str, optional
        Name of the program in its error messages. By default the file name of the script that Python runs.
    """
    shown = os.path.basename(sys.argv[0]) if name is None else name

    def excepthook(kind: Type[BaseException], error: BaseException, traceback: Optional[TracebackType]) -> None:
        if issubclass(kind, NSTGraphError):
            print(f"{shown}: error: {error}", file=sys.stderr)
            raise SystemExit(EXIT_STATUS)
        if issubclass(kind, KeyboardInterrupt):
            raise SystemExit(130)  # what a shell reports for a program that Ctrl-C ended
        sys.__excepthook__(kind, error, traceback)

    console.take_over()
    streams.make_dispensable()
    sys.excepthook = excepthook
    notices = logging.StreamHandler()
    notices.setFormatter(_OneLine())
    package = logging.getLogger("nst_graph")
    # One handler, also where one process calls two commands.
    package.handlers = [handler for handler in package.handlers if not isinstance(handler.formatter, _OneLine)]
    package.addHandler(notices)
    package.setLevel(logging.INFO)
    package.propagate = False  # TensorFlow 1.15 gives the root logger a handler that would print it again
    for library in ("tensorflow", "matplotlib"):
        logging.getLogger(library).setLevel(logging.ERROR)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


class _OneLine(logging.Formatter):
    """Shows a notice in one line, whatever the names in it are."""

    def format(self, record: logging.LogRecord) -> str:
        return one_line(record.getMessage())


def check_printed() -> None:
    """Raise OutputError if what this program has printed did not reach standard output.

    For programs whose result is what they print. A reader that has read enough, as `head` has, is no error.
    """
    failure = streams.failure_of_output()
    if failure is not None and not isinstance(failure, BrokenPipeError):
        raise OutputError(f"standard output cannot be written: {failure.strerror}")


def note_unprinted() -> None:
    """Say in a notice if lines that this program has printed beside its result were lost."""
    failure = streams.failure_of_output()
    if failure is not None:
        logger.warning("standard output could not be written (%s); what was printed there is lost", failure.strerror)


class Interruption:
    """Whether somebody asked this program to stop.

    Attributes
    ----------
    signal : int or None
        The signal that asked: SIGINT (Ctrl-C), SIGTERM, or SIGHUP (the terminal is closed).
    """

    signal: Optional[int] = None

    def asked(self) -> bool:
        """Return whether somebody asked."""
        return self.signal is not None

    def end(self) -> NoReturn:
        """End this process by that signal, so that a shell or another parent sees that it was interrupted.

        A shell ends its own script or loop only if a program died of Ctrl-C; an exit status does not tell it.
        """
        assert self.signal is not None
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        if os.name == "posix":
            signal.signal(self.signal, signal.SIG_DFL)
            os.kill(os.getpid(), self.signal)
        raise SystemExit(128 + self.signal)  # what a shell reports


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
    """Note Ctrl-C, SIGTERM and SIGHUP while a block runs, instead of ending at once. A second one ends it at once.

    Yields
    ------
    Interruption
        To be asked between two steps.
    """
    interruption = Interruption()
    before: Dict[int, object] = {}

    def note(number: int, frame: Optional[FrameType]) -> None:
        first, interruption.signal = interruption.signal, number
        if first is not None:  # both had come before Python called this for the first one
            interruption.end()
        for noted in before:
            signal.signal(noted, signal.SIG_DFL)

    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    for number in (int(getattr(signal, name)) for name in names if hasattr(signal, name)):
        # A program that a shell started in the background, or by nohup, ignores one of them on purpose.
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, note)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
