"""How the programs of this project speak to their users: notices, errors, exit status."""

import logging
import os
import sys
from types import TracebackType
from typing import Optional, Type

from nst_graph import console
from nst_graph.errors import EXIT_STATUS, NSTGraphError


def set_up(name: Optional[str] = None) -> None:
    """Make this process a program of this project.

    - An error that the user can put right ends it with one line on standard error and exit status 2, without a
      traceback.
    - This package's notices (which weights, what is downloaded) go to standard error.
    - What TensorFlow prints while it is imported is shown only if the import fails. After that only its errors are
      shown. If the user has set the environment variable TF_CPP_MIN_LOG_LEVEL to another level than 2, TensorFlow logs
      at that level; with 0 or 1 nothing is held back.

    Parameters
    ----------
    name : str, optional
        Name of the program in its error messages. By default the file name of the script that Python runs.
    """
    shown = os.path.basename(sys.argv[0]) if name is None else name

    def excepthook(kind: Type[BaseException], error: BaseException, traceback: Optional[TracebackType]) -> None:
        if issubclass(kind, NSTGraphError):
            print(f"{shown}: error: {error}", file=sys.stderr)
            raise SystemExit(EXIT_STATUS)
        if issubclass(kind, KeyboardInterrupt):
            raise SystemExit(130)  # what a shell reports for a program that Ctrl-C ended
        sys.__excepthook__(kind, error, traceback)

    console.take_over()
    sys.excepthook = excepthook
    notices = logging.StreamHandler()
    notices.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("nst_graph")
    logger.addHandler(notices)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # TensorFlow 1.15 gives the root logger a handler that would print it again
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
