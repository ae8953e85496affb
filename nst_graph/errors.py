"""What a user can put right, as exceptions whose message is one line and names the remedy.

Every exception that this package raises on purpose is a `NSTGraphError`. A program shows its message
alone and ends with `EXIT_STATUS` (see `nst_graph.program`); a caller in Python catches the class it
cares about.
"""

#: Exit status of a program that was given something it cannot work with.
EXIT_STATUS = 2


class NSTGraphError(Exception):
    """Something the user can put right; the message says what, which value, and what to do."""


class SettingError(NSTGraphError, ValueError):
    """A constant that is unknown, of the wrong type or out of its range."""


class PictureError(NSTGraphError, ValueError):
    """A content or style picture that is missing or cannot be read."""


class OutputError(NSTGraphError, OSError):
    """A picture or a log that cannot be written where it was asked for."""


class WeightsError(NSTGraphError):
    """VGG-19 weights that are not to be had, or a file that does not hold them."""


class RuntimeMissingError(NSTGraphError, ImportError):
    """No installed library can do the work: TensorFlow, its Keras, or OpenCV is missing."""
