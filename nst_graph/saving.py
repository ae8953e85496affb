"""Saving the picture of a run: a time that fails does not end the run, and the finished picture is not lost."""

import contextlib
import os
import tempfile
import time
from typing import Callable, Iterator

import numpy as np

from nst_graph.errors import OutputError
from nst_graph.files import reason
from nst_graph.images import write_picture

#: Seconds before the last picture is tried again.
_WAIT = 1.0


def save_last(picture: np.ndarray, path: str, write: Callable[[np.ndarray, str], None] = write_picture) -> None:
    """Save the finished picture: try twice, then save it as a PNG somewhere else.

    Parameters
    ----------
    picture : ndarray
        uint8 (h, w, 3), blue, green and red.
    path : str
        The picture file.
    write : callable
        Takes picture and path, and writes the file.

    Raises
    ------
    OutputError
        If it cannot be written. The message says where the picture is instead.
    """
    try:
        write(picture, path)
    except OSError:
        time.sleep(_WAIT)  # a network share comes back, another program removes its files
        try:
            write(picture, path)
        except OSError as error:
            raise OutputError(_failure(picture, path, error)) from error


def _failure(picture: np.ndarray, path: str, error: OSError) -> str:
    """Save a picture anywhere else; return what has happened to it."""
    failure = f"the finished picture cannot be written to {path!r} ({reason(error)})"
    for folder in _other_folders(path):
        with contextlib.suppress(OSError):
            descriptor, rescued = tempfile.mkstemp(".png", "nst_graph-", folder)
            os.close(descriptor)
            try:
                write_picture(picture, rescued)
            except OSError:
                os.remove(rescued)
                continue
            return f"{failure}; it is in {rescued!r}"
    return f"{failure}, and to no other folder either"


def _other_folders(path: str) -> Iterator[str]:
    yield os.path.dirname(os.path.abspath(path))  # where the format or the name is what fails
    for folder in (tempfile.gettempdir, os.getcwd):
        with contextlib.suppress(OSError):
            yield folder()
