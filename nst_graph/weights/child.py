"""What both downloads share: their time limits and a Python process of their own."""

import os
import subprocess
import sys
from typing import List

from nst_graph.errors import WeightsError

#: Seconds without an answer after which a server counts as unreachable.
CONNECT_SECONDS = 10
#: Seconds without a byte after which a download is stopped.
STALL_SECONDS = 30
#: Seconds after which a download is stopped in any case.
DOWNLOAD_SECONDS = 1800


def run_python(arguments: List[str], seconds: float) -> None:
    """Run this Python again, as a process of its own.

    Parameters
    ----------
    arguments : list of str
        What follows `python` on the command line.
    seconds : float
        The process is ended after so many seconds.

    Raises
    ------
    WeightsError
        If the process fails or takes too long. The message is the last line that it printed.
    """
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"),
        )
    except subprocess.TimeoutExpired:
        raise WeightsError(f"given up after {seconds:.0f} s") from None
    if done.returncode:
        lines = done.stdout.decode(errors="replace").strip().splitlines()
        raise WeightsError(lines[-1].strip() if lines else f"exit status {done.returncode}")
