"""Opening a file of weights that somebody may have put there: only regular files, and without waiting."""

import os
import stat
from typing import BinaryIO

from nst_graph.errors import WeightsError


def open_regular(path: str, whose: str) -> BinaryIO:
    """Open a regular file for reading.

    Parameters
    ----------
    path : str
        The file.
    whose : str
        What the file is, with its name. The messages start with it.

    Returns
    -------
    file
        In binary mode, not buffered.

    Raises
    ------
    FileNotFoundError
        If there is none.
    WeightsError
        If it is a folder, a pipe, a device or a socket, or the system does not let us open it.
    """
    # Without O_NONBLOCK, opening a pipe that nobody writes to waits for ever. A file is not affected.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        # ValueError: a null character, or one that the file system cannot write
        raise FileNotFoundError(path) from error
    except OSError as error:
        if os.path.isdir(path):  # on Windows
            raise WeightsError(f"{whose} is a folder; name a file in it") from error
        raise WeightsError(f"{whose} cannot be read: {error.strerror}") from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb", 0)
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise WeightsError(f"{whose} is a folder; name a file in it")
    raise WeightsError(f"{whose} is a pipe, a device or a socket; store its content in a file and name that")
