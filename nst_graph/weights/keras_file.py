"""Keras's own file of VGG-19's weights: the cached file, and Keras's download of it (80 MB, float32)."""

import hashlib
import http.client
import logging
import os
import tempfile
import urllib.error
import urllib.request
from typing import Optional, Tuple

import numpy as np

from nst_graph.errors import WeightsError
from nst_graph.weights.child import (
    CONNECT_SECONDS,
    DOWNLOAD_SECONDS,
    STALL_SECONDS,
    os_errors_as_weights_errors,
    run_python,
)
from nst_graph.weights.h5 import read_h5

logger = logging.getLogger(__name__)

KERAS_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/" + KERAS_FILE
KERAS_MD5 = "253f8cb515780f3b799900260a226db6"


def cache_path() -> str:
    """Return the absolute path of Keras's cached file: in `$KERAS_HOME/models` or, without it, `~/.keras/models`."""
    keras_home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    return os.path.join(os.path.abspath(keras_home), "models", KERAS_FILE)


def read_cache() -> Optional[Tuple[np.ndarray, ...]]:
    """Read Keras's cached file.

    Returns
    -------
    tuple of ndarray or None
        As `Weights.arrays`. None if there is no file, or if it cannot be used; the log then says why.
    """
    path = cache_path()
    if not os.path.exists(path):
        return None
    try:
        if _md5(path) == KERAS_MD5:
            return read_h5(path)
        logger.info("Keras's cached file is not used: %s is incomplete or changed (its MD5 is wrong)", path)
    except OSError as error:
        logger.info("Keras's cached file is not used: %s cannot be read (%s)", path, error.strerror)
    except WeightsError as error:
        logger.info("Keras's cached file is not used: %s", error)
    return None


def _md5(path: str) -> str:
    digest = hashlib.md5()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


# The download runs in a process of its own: it can be ended when it hangs, and it has its own socket timeout.
_DOWNLOAD = """
import socket, sys
url, md5, name, folder, stall_seconds = sys.argv[1:]
socket.setdefaulttimeout(float(stall_seconds))
import tensorflow as tf
tf.keras.utils.get_file(name, url, file_hash=md5, cache_dir=folder, cache_subdir="")
"""


def _reach(url: str, seconds: float) -> None:
    """Raise WeightsError unless a server answers. A closed network is found here at once."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
    except urllib.error.HTTPError as error:
        raise WeightsError(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a proxy whose address is none
        reason = getattr(error, "reason", error)
        raise WeightsError(getattr(reason, "strerror", None) or str(reason) or repr(error)) from error


@os_errors_as_weights_errors()
def download_keras(
    path: str,
    url: str = KERAS_URL,
    md5: str = KERAS_MD5,
    connect_seconds: float = CONNECT_SECONDS,
    stall_seconds: float = STALL_SECONDS,
    total_seconds: float = DOWNLOAD_SECONDS,
) -> None:
    """Let Keras download and check its VGG-19 file. `path` appears when the file is complete.

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
    logger.info("Keras downloads VGG-19's weights (80 MB) ...")
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    # A private folder beside the target: two processes do not disturb each other, and the move is a single step.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".nst_graph-") as private:
        arguments = [url, md5, name, private, str(stall_seconds)]
        run_python(["-c", _DOWNLOAD, *arguments], private, total_seconds)
        downloaded = os.path.join(private, name)
        # Checked again here: the Keras of TensorFlow 1.15 checks a file that it finds, but not one that it downloads.
        if _md5(downloaded) != md5:
            raise WeightsError("the file hash of the downloaded file is not the expected one")
        os.replace(downloaded, path)
