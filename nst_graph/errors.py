"""Exceptions for problems that the user can fix. The message is one line and says how to fix the problem.

Every exception that this package raises on purpose is a `NSTGraphError`. A program shows only its message and exits
with `EXIT_STATUS` (see `nst_graph.program`). A Python caller catches the class that it needs.
"""

import re
import reprlib
from typing import Any

#: Exit status of a program that stops with one of these errors.
EXIT_STATUS = 2

# Names and words in a message may have megabytes. A path of 300 characters is shown whole.
_LONG_WORD = re.compile(r"(?<!\S)\S{321,}")
_LONGEST = 1000


def one_line(text: str) -> str:
    """Return a text as one short line: what cannot be printed is escaped, what is too long loses its middle.

    Line ends, control characters of a terminal and the surrogates of a name that is not UTF-8 cannot be printed.
    """
    text = _LONG_WORD.sub(lambda match: f"{match.group()[:200]}...{match.group()[-50:]}", text)
    if len(text) > _LONGEST:  # what to do stands at the end
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    return printable(text)


def printable(text: str) -> str:
    """Return a text with an escape for each character that cannot be printed."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def shown(value: Any) -> str:
    """Return a value that was refused as a message shows it: as Python writes it, shortened."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python refuses to write whole numbers of more than 4300 digits
        return "a number of thousands of digits"


class NSTGraphError(Exception):
    """A problem that the user can fix. The message names the problem, the value and what to do, in one line.

    Examples
    --------
    >>> import nst_graph
    >>> try:
    ...     nst_graph.stylize("input/missing.jpg", "input/starry_night.jpg")
    ... except nst_graph.PictureError as error:
    ...     print(error)
    there is no picture ...missing.jpg...
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


class SettingError(NSTGraphError, ValueError):
    """A constant that is unknown, has the wrong type or is out of range."""


class PictureError(NSTGraphError, ValueError):
    """A content or style picture that is missing or cannot be read."""


class OutputError(NSTGraphError, OSError):
    """A picture or a log that cannot be written to the given path."""


class CheckpointError(NSTGraphError):
    """A checkpoint that is missing, damaged, or of another run."""


class DownloadError(NSTGraphError):
    """A file that cannot be downloaded, or is not the expected one."""


class WeightsError(NSTGraphError):
    """VGG-19 weights that are not available, or a file that does not contain them."""


class RuntimeMissingError(NSTGraphError, ImportError):
    """A required library is missing or does not fit: TensorFlow, its Keras, OpenCV or Matplotlib."""


class ClusterError(NSTGraphError, ConnectionError):
    """A cluster that cannot be reached, or does not answer any more, or whose workers died of a picture."""


class DivergenceError(NSTGraphError, ArithmeticError):
    """A run whose costs or pixels became infinite or NaN. Nothing on the disk is replaced by its image."""
