"""Keras's own file of VGG-19's weights: the cached file, and its download from Keras's storage (80 MB, float32)."""

import logging
import os
from typing import Optional, Tuple

import numpy as np

from nst_graph.downloads import CONNECT_SECONDS, DOWNLOAD_SECONDS, STALL_SECONDS, Checksum, download, reach
from nst_graph.errors import WeightsError
from nst_graph.weights import h5
from nst_graph.weights.fetching import DOWNLOAD_BYTES, other_errors_as_weights_errors
from nst_graph.weights.source_file import open_regular

logger = logging.getLogger(__name__)

KERAS_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/" + KERAS_FILE


@other_errors_as_weights_errors()
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


@other_errors_as_weights_errors()
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
    reach(url, connect_seconds)
    logger.info("downloading VGG-19's weights from Keras's storage (80 MB) ...")
    download(url, path, Checksum("MD5", h5.md5, md5), DOWNLOAD_BYTES, stall_seconds, total_seconds)
