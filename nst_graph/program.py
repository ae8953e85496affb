"""How the programs of this project speak to whoever runs them."""

import logging
import os
import sys
from types import TracebackType
from typing import Optional, Type

from nst_graph.errors import EXIT_STATUS, NSTGraphError


def _excepthook(kind: Type[BaseException], error: BaseException, traceback: Optional[TracebackType]) -> None:
    if issubclass(kind, NSTGraphError):
        print(f"{os.path.basename(sys.argv[0])}: error: {error}", file=sys.stderr)
        raise SystemExit(EXIT_STATUS)
    if issubclass(kind, KeyboardInterrupt):
        raise SystemExit(130)  # what a shell reports for a program that Ctrl-C ended
    sys.__excepthook__(kind, error, traceback)


def set_up() -> None:
    """Make this process a program of this project.

    An error that its user can put right ends it with one line on standard error and exit status 2, without a
    traceback; this package's notices (which weights, what is downloaded) go to standard error; TensorFlow speaks of
    errors alone, as far as it lets itself be told (its first lines on import do not).
    """
    sys.excepthook = _excepthook
    notices = logging.StreamHandler()
    notices.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("nst_graph")
    logger.addHandler(notices)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # TensorFlow 1.15 gives the root logger a handler that would print it again
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
