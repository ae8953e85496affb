"""Exceptions for problems that the user can fix. The message is one line and says how to fix the problem.

Every exception that this package raises on purpose is a `NSTGraphError`. A program shows only its message and exits
with `EXIT_STATUS` (see `nst_graph.program`). A Python caller catches the class that it needs.
"""

#: Exit status of a program that stops with one of these errors.
EXIT_STATUS = 2


class NSTGraphError(Exception):
    """A problem that the user can fix. The message names the problem, the value and what to do."""


class SettingError(NSTGraphError, ValueError):
    """A constant that is unknown, has the wrong type or is out of range."""


class PictureError(NSTGraphError, ValueError):
    """A content or style picture that is missing or cannot be read."""


class OutputError(NSTGraphError, OSError):
    """A picture or a log that cannot be written to the given path."""


class CheckpointError(NSTGraphError):
    """A checkpoint that is missing, damaged, or of another run."""


class WeightsError(NSTGraphError):
    """VGG-19 weights that are not available, or a file that does not contain them."""


class RuntimeMissingError(NSTGraphError, ImportError):
    """A required library is missing or does not fit: TensorFlow, its Keras, OpenCV or Matplotlib."""
