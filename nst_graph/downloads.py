"""Downloading a file: limits of time and bytes, a checksum, and a file that is there whole or not at all.

Knows nothing of what is in the file.
"""

import contextlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from typing import Callable, List, NamedTuple, Optional

from nst_graph.errors import DownloadError
from nst_graph.files import replacing

#: Seconds without an answer after which a server counts as unreachable.
CONNECT_SECONDS = 10
#: Seconds without a byte after which a download is stopped.
STALL_SECONDS = 30
#: The same for what has no limit of its own: looking up a server's name, trying its addresses one after the other.
QUIET_SECONDS = 60
#: Seconds after which a download is stopped in any case. No caller allows more.
DOWNLOAD_SECONDS = 1800

#: Seconds from one look at the bytes of a download to the next.
_LOOK_SECONDS = 0.5

# Name of the folders that hold a download until it is complete.
_PRIVATE = ".nst_graph-"


class Checksum(NamedTuple):
    """What tells that a file is the expected one.

    Attributes
    ----------
    name : str
        `MD5` or `SHA-256`, for messages.
    function : callable
        From the file's bytes to hexadecimal digits.
    digits : str
        What it gives for the expected file.
    """

    name: str
    function: Callable[[bytes], str]
    digits: str


def reach(url: str, seconds: float = CONNECT_SECONDS) -> None:
    """Raise DownloadError unless a server answers in time. A closed network is found here at once.

    Parameters
    ----------
    url : str
        An address that the server has.
    seconds : float
        How long it may take.

    Raises
    ------
    DownloadError
        With the reason.
    """
    answers: List[Optional[DownloadError]] = []
    # In a thread, because no time limit holds for looking up a name, and every line of an answer has one of its own.
    thread = threading.Thread(target=lambda: answers.append(_ask(url, seconds)), daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        raise DownloadError(f"timed out: the server did not answer in {seconds:g} s")
    if answers[0]:
        raise answers[0]


def _ask(url: str, seconds: float) -> Optional[DownloadError]:
    """Return what is wrong with a server, or None."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
    except urllib.error.HTTPError as error:
        return DownloadError(f"the server answers {error.code} {error.reason}")
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a proxy whose address is none
        reason = getattr(error, "reason", error)
        return DownloadError(getattr(reason, "strerror", None) or str(reason) or repr(error))
    return None


# The download runs in a process of its own: it can be ended when it hangs, and it has its own socket timeout.
_DOWNLOAD = """
import shutil, socket, sys, urllib.request
url, name, stall_seconds = sys.argv[1:]
socket.setdefaulttimeout(float(stall_seconds))
with urllib.request.urlopen(url) as answer, open(name, "wb") as file:
    shutil.copyfileobj(answer, file)
"""


def download(
    url: str,
    path: str,
    checksum: Checksum,
    most_bytes: int,
    stall_seconds: float = STALL_SECONDS,
    total_seconds: float = DOWNLOAD_SECONDS,
) -> None:
    """Download a file and check it. `path` appears, or is replaced, when the file is complete.

    Parameters
    ----------
    url : str
        Address. Redirections and proxies are those of urllib.
    path : str
        Where the file goes; its folder is made if it is missing. If it is a symbolic link, the file that it leads to
        is written, and the link stays.
    checksum : Checksum
        Another file is not taken.
    most_bytes : int
        A larger one is not taken either. It must fit into memory.
    stall_seconds, total_seconds : float
        The download stops after so many seconds without a byte, or in total.

    Raises
    ------
    DownloadError
        If the download fails or gives another file. The message is the reason.
    OSError
        If the file cannot be written.
    """
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    _sweep(folder)
    # A private folder beside the target: two processes do not disturb each other, and the move is a single step.
    with tempfile.TemporaryDirectory(dir=folder, prefix=_PRIVATE) as private:
        downloaded = os.path.join(private, name)
        run_python(["-c", _DOWNLOAD, url, downloaded, str(stall_seconds)], private, total_seconds, most_bytes)
        with open(downloaded, "rb") as file:
            if checksum.function(file.read()) != checksum.digits:
                raise DownloadError(
                    f"the file is incomplete or another one: its {checksum.name} is not the expected one"
                )
        with replacing(path) as temporary:
            os.replace(downloaded, temporary)


def _sweep(folder: str) -> None:
    """Remove private folders of downloads whose process was killed. Those of downloads that run are younger."""
    for entry in os.scandir(folder):
        with contextlib.suppress(OSError):
            if entry.name.startswith(_PRIVATE) and time.time() - entry.stat().st_mtime > 2 * DOWNLOAD_SECONDS:
                shutil.rmtree(entry.path, ignore_errors=True)


def run_python(arguments: List[str], folder: str, seconds: float, most_bytes: int) -> None:
    """Run this Python again, as a process of its own that downloads something.

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
    most_bytes : int
        How much it may store in the folder.

    Raises
    ------
    DownloadError
        If the process fails, takes too long, stores nothing for a minute or too much in the folder. If it fails, the
        message is the last line that it printed.
    OSError
        If the process cannot be started.
    """
    if not sys.executable:
        raise DownloadError("Python does not know the path of its own program (sys.executable is empty)")
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
                if size > most_bytes:
                    raise DownloadError(
                        f"stopped because it stored more than {most_bytes // 10**6} MB, more than was expected"
                    )
                if size != before:
                    since = now
                if output is None and now >= end:
                    raise DownloadError(f"stopped because it took more than {seconds:.0f} s")
                if output is None and now > since + QUIET_SECONDS:
                    raise DownloadError(f"stopped because nothing came for {QUIET_SECONDS} s")
        finally:
            process.kill()
    if process.returncode:
        lines = output.decode(errors="replace").strip().splitlines()
        raise DownloadError(lines[-1].strip() if lines else f"exit status {process.returncode}")


def _bytes_in(folder: str) -> int:
    """Return the size of all files in a folder, which may come and go meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total
