"""What both downloads share: time limits, a Python process of their own, and WeightsError for OSError."""

import contextlib
import os
import subprocess
import sys
from typing import Iterator, List

from nst_graph.errors import WeightsError

#: Seconds without an answer after which a server counts as unreachable.
CONNECT_SECONDS = 10
#: Seconds without a byte after which a download is stopped.
STALL_SECONDS = 30
#: Seconds after which a download is stopped in any case.
DOWNLOAD_SECONDS = 1800


@contextlib.contextmanager
def os_errors_as_weights_errors() -> Iterator[None]:
    """Raise a WeightsError with the reason when the block, or the decorated function, raises an OSError."""
    try:
        yield
    except OSError as error:
        reason = " ".join(str(error.strerror or error).split())
        raise WeightsError(f"{error.filename}: {reason}" if error.filename else reason) from error


def run_python(arguments: List[str], folder: str, seconds: float) -> None:
    """Run this Python again, as a process of its own.

    Parameters
    ----------
    arguments : list of str
        What follows `python` on the command line. Paths must be absolute.
    folder : str
        Where the process works: an empty folder that only this user can write to. Python looks for modules in the
        current folder first, so the user's current folder will not do: a `pip.py` in it would run.
    seconds : float
        The process is ended after so many seconds.

    Raises
    ------
    WeightsError
        If the process fails or takes too long. The message is the last line that it printed.
    OSError
        If the process cannot be started.
    """
    if not sys.executable:
        raise WeightsError("Python does not know the path of its own program (sys.executable is empty)")
    try:
        done = subprocess.run(
            [os.path.abspath(sys.executable), *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"),
        )
    except subprocess.TimeoutExpired:
        raise WeightsError(f"stopped because it took more than {seconds:.0f} s") from None
    if done.returncode:
        lines = done.stdout.decode(errors="replace").strip().splitlines()
        raise WeightsError(lines[-1].strip() if lines else f"exit status {done.returncode}")
