"""Keras's own file of VGG-19's weights: the cached file, and its download from Keras's storage (80 MB, float32)."""

import contextlib
import http.client
import logging
import os
import shutil
import tempfile
import threading
import time
import urllib.error
import urllib.request
from typing import List, Optional, Tuple

import numpy as np

from nst_graph.errors import WeightsError
from nst_graph.weights import h5
from nst_graph.weights.child import (
    CONNECT_SECONDS,
    DOWNLOAD_SECONDS,
    STALL_SECONDS,
    os_errors_as_weights_errors,
    run_python,
)
from nst_graph.weights.source_file import open_regular

logger = logging.getLogger(__name__)

KERAS_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/" + KERAS_FILE

# Name of the folders that hold a download until it is complete.
_PRIVATE = ".nst_graph-"


@os_errors_as_weights_errors()
def cache_path() -> str:
    """Return the absolute path of Keras's cached file: in `$KERAS_HOME/models` or, without it, `~/.keras/models`.

    Raises
    ------
    WeightsError
        If there is no home folder.
    """
    keras_home = os.environ.get("KERAS_HOME")
    if not keras_home:
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            raise WeightsError("this user has no home folder; set HOME or KERAS_HOME")
        keras_home = os.path.join(home, ".keras")
    return os.path.join(os.path.abspath(keras_home), "models", KERAS_FILE)


def read_cache() -> Optional[Tuple[np.ndarray, ...]]:
    """Read Keras's cached file.

    Returns
    -------
    tuple of ndarray or None
        As `Weights.arrays`. None if there is no file, or if it cannot be used; the log then says why.
    """
    try:
        path = cache_path()
        whose = f"Keras's cached file {path!r}"
        with open_regular(path, whose) as file:
            data = h5.keras_own(file)
        if data is not None:
            return h5.parse_keras_own(data, whose)
        logger.info("%s is not used: it is incomplete or changed (its size or MD5 is wrong)", whose)
    except FileNotFoundError:
        pass
    except OSError as error:
        logger.info("%s is not used: it cannot be read (%s)", whose, error.strerror)
    except WeightsError as error:
        logger.info("Keras's cache is not used: %s", error)
    return None


# The download runs in a process of its own: it can be ended when it hangs, and it has its own socket timeout.
_DOWNLOAD = """
import shutil, socket, sys, urllib.request
url, name, stall_seconds = sys.argv[1:]
socket.setdefaulttimeout(float(stall_seconds))
with urllib.request.urlopen(url) as answer, open(name, "wb") as file:
    shutil.copyfileobj(answer, file)
"""


def _reach(url: str, seconds: float) -> None:
    """Raise WeightsError unless a server answers in time. A closed network is found here at once."""
    answers: List[Optional[WeightsError]] = []
    # In a thread, because no time limit holds for looking up a name, and every line of an answer has one of its own.
    thread = threading.Thread(target=lambda: answers.append(_ask(url, seconds)), daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        raise WeightsError(f"timed out: the server did not answer in {seconds:g} s")
    if answers[0]:
        raise answers[0]


def _ask(url: str, seconds: float) -> Optional[WeightsError]:
    """Return what is wrong with a server, or None."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
    except urllib.error.HTTPError as error:
        return WeightsError(f"the server answers {error.code} {error.reason}")
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a proxy whose address is none
        reason = getattr(error, "reason", error)
        return WeightsError(getattr(reason, "strerror", None) or str(reason) or repr(error))
    return None


@os_errors_as_weights_errors()
def download_keras(
    path: str,
    url: str = KERAS_URL,
    md5: str = h5.KERAS_MD5,
    connect_seconds: float = CONNECT_SECONDS,
    stall_seconds: float = STALL_SECONDS,
    total_seconds: float = DOWNLOAD_SECONDS,
) -> None:
    """Download Keras's VGG-19 file and check it. `path` appears when the file is complete.

    Parameters
    ----------
    path : str
        Where the file goes: Keras's own cache, so that Keras finds it too.
    url, md5 : str
        Address and checksum.
    connect_seconds, stall_seconds, total_seconds : float
        The download stops after so many seconds without an answer, without a byte, or in total.

    Raises
    ------
    WeightsError
        If the download fails or the file cannot be written. The message is the reason.
    """
    path = os.path.abspath(path)
    if os.path.isdir(path):
        raise WeightsError(f"{path} is a folder; remove it or rename it")
    _reach(url, connect_seconds)
    logger.info("downloading VGG-19's weights from Keras's storage (80 MB) ...")
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    _sweep(folder)
    # A private folder beside the target: two processes do not disturb each other, and the move is a single step.
    with tempfile.TemporaryDirectory(dir=folder, prefix=_PRIVATE) as private:
        downloaded = os.path.join(private, name)
        run_python(["-c", _DOWNLOAD, url, downloaded, str(stall_seconds)], private, total_seconds)
        with open(downloaded, "rb") as file:
            if h5.md5(file.read()) != md5:
                raise WeightsError("the file is incomplete or another one: its MD5 is not the expected one")
        os.replace(downloaded, path)


def _sweep(folder: str) -> None:
    """Remove private folders of downloads whose process was killed. Those of downloads that run are younger."""
    for entry in os.scandir(folder):
        with contextlib.suppress(OSError):
            if entry.name.startswith(_PRIVATE) and time.time() - entry.stat().st_mtime > 2 * DOWNLOAD_SECONDS:
                shutil.rmtree(entry.path, ignore_errors=True)
