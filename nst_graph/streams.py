"""Standard streams that a program can do without. Imports nothing but Python's own modules.

A run of minutes does not end because nobody reads its lines any more (`| head -1`) or the disk that they go to is full.
"""

import contextlib
import io
import os
import sys
from typing import Any, Optional, TextIO


class _Raw(io.FileIO):
    """A standard stream's descriptor. After the first failure, what is written to it is dropped.

    Attributes
    ----------
    failure : OSError or None
        That failure.
    """

    failure: Optional[OSError] = None

    def write(self, data: Any) -> int:
        if self.failure is None:
            try:
                return super().write(data)
            except OSError as error:
                self.failure = error
        return len(memoryview(data).cast("B"))


def make_dispensable() -> None:
    """Let nothing that this process writes to standard output or standard error end it.

    A stream that was closed before the program began is the null device from now on: without that, the next file that
    is opened would get its descriptor, and somebody's notices with it. A character that a stream's encoding does not
    have is written as an escape. Streams that somebody has put in the place of Python's own stay as they are.
    """
    _fill_descriptors()
    sys.stdout = _dispensable(sys.stdout, sys.__stdout__, 1)
    sys.stderr = _dispensable(sys.stderr, sys.__stderr__, 2)


def failure_of_output() -> Optional[OSError]:
    """Return why something that was written to standard output so far did not get there; None if all did."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.failure if isinstance(raw, _Raw) else None


def _fill_descriptors() -> None:
    descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest one that is free
    while descriptor <= 2:
        descriptor = os.dup(descriptor)
    os.close(descriptor)


def _dispensable(stream: Optional[TextIO], original: Optional[TextIO], descriptor: int) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if stream is not original or not isinstance(stream, io.TextIOWrapper) or os.name != "posix":
        return stream
    with contextlib.suppress(OSError):
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Raw(descriptor, "w", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=descriptor == 2 or stream.write_through or stream.isatty(),
    )
