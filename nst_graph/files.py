"""Writing files: whether a file can be written, writing it whole or not at all, and files that a run can do without."""

import contextlib
import logging
import os
import shutil
import uuid
from typing import Any, Callable, Iterator, Sequence

from nst_graph.errors import OutputError

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Give the path of a temporary file that takes the place of `path` when the block ends well.

    A program that reads `path` meanwhile sees the old file or the new one, never a part of one. When the block raises,
    `path` is as it was and the temporary file is gone.

    Parameters
    ----------
    path : str
        The file to write. If it is a symbolic link, the file that it leads to is written, and the link stays.

    Yields
    ------
    str
        A file name in the folder of that file, with the same extension; the block creates the file.

    Raises
    ------
    OSError
        From the file system: no such folder, no permission, disk full.
    """
    path = os.path.realpath(path)
    # Not made from the file's name: with more than the name has, it could be too long where the name is not.
    temporary = os.path.join(os.path.dirname(path), f".{uuid.uuid4().hex}{os.path.splitext(path)[1]}")
    try:
        yield temporary
        if os.path.exists(path):
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)


def check_file(path: str, others: Sequence[str] = ()) -> None:
    """Check before a long run that a file can be written. Files that are there stay as they are.

    Parameters
    ----------
    path : str
        The file to write later; its folder is made if it is missing. If it is a symbolic link, its target counts.
    others : sequence of str
        Paths that it must not be.

    Raises
    ------
    OutputError
        If the folder or the file cannot be written, is a device or a pipe, or is one of the others.
    """
    if os.path.isdir(path):
        raise OutputError(f"{path!r} is a folder; name a file in it")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OutputError(f"{path!r} is a device, a pipe or a socket, which a file would replace; name a file")
    for other in others:
        if _same_file(path, other):
            raise OutputError(f"the file to write, {path!r}, is read or written by the same run already; name another")
        if _is_inside(path, other) or _is_inside(other, path):
            raise OutputError(f"of {path!r} and {other!r} one is to be a file and the other a file in it; name another")
    _probe(path)
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise OutputError(f"the file {path!r} exists and is not writable; name another")


def check_folder(path: str, files: Sequence[str]) -> None:
    """Raise OutputError if a folder that a run makes would have the name of one of its files, or be inside one."""
    for file in files:
        if _same_file(path, file) or _is_inside(path, file):
            raise OutputError(f"the folder {path!r} would be in the place of the run's file {file!r}; name another")


def _probe(path: str) -> None:
    """Make the folder of a file if it is missing, and write the temporary file that `replacing` will write.

    Raises
    ------
    OutputError
        If that is not possible.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    try:
        os.makedirs(folder, exist_ok=True)
        with contextlib.suppress(_ProbeDone), replacing(target) as temporary:
            with open(temporary, "wb"):
                raise _ProbeDone
    except OSError as error:
        raise OutputError(f"the folder {folder!r} cannot be written in: {error.strerror}") from error
    try:
        os.lstat(target)
    except FileNotFoundError:
        pass
    except OSError as error:  # a name that is too long for the file system, for example
        raise OutputError(f"the file {path!r} cannot be written: {error.strerror}") from error


class _ProbeDone(Exception):
    """Leaves `replacing` before anything is put in place."""


def _same_file(path: str, other: str) -> bool:
    if os.path.exists(path) and os.path.exists(other):
        return os.path.samefile(path, other)
    return os.path.realpath(path) == os.path.realpath(other)


def _is_inside(path: str, folder: str) -> bool:
    return os.path.realpath(path).startswith(os.path.join(os.path.realpath(folder), ""))


class Dispensable:
    """A file that a run can do without. The first failure is reported in one line, and nothing is tried after it.

    Parameters
    ----------
    what : str
        What is written, for that line.
    given_up : bool
        Whether to try nothing at all.

    Attributes
    ----------
    given_up : bool
        Whether nothing is tried any more.
    """

    def __init__(self, what: str, given_up: bool = False) -> None:
        self._what = what
        self.given_up = given_up

    def attempt(self, write: Callable[..., Any], *arguments: Any) -> None:
        """Call a function that writes, unless it failed before. An OSError is reported and not raised."""
        if self.given_up:
            return
        try:
            write(*arguments)
        except OSError as error:
            self.given_up = True
            logger.warning("%s cannot be written (%s); the run goes on without", self._what, error.strerror or error)
