"""Errors that a user can put right. Each message is one line and names the remedy.

Every exception that this package raises on purpose is a `NSTGraphError`. A program prints only its message and ends
with `EXIT_STATUS` (see `nst_graph.program`). A caller in Python catches the class that it needs.
"""

#: Exit status of a program after bad input.
EXIT_STATUS = 2


class NSTGraphError(Exception):
    """Something that the user can put right. The message says what is wrong, which value, and what to do."""


class SettingError(NSTGraphError, ValueError):
    """A constant that is unknown, of the wrong type or out of its range."""


class PictureError(NSTGraphError, ValueError):
    """A content or style picture that is missing or cannot be read."""


class OutputError(NSTGraphError, OSError):
    """A picture, a plot or a history that cannot be written under its name."""


class WeightsError(NSTGraphError):
    """VGG-19 weights that are not available, or a file that does not hold them."""


class RuntimeMissingError(NSTGraphError, ImportError):
    """No installed library can do the work: TensorFlow, its Keras, or OpenCV is missing."""
