"""Files that are whole or not there: write beside the target, then put in place in one step."""

import contextlib
import os
import shutil
import uuid
from typing import Iterator


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Give the path of a temporary file that takes the place of `path` when the block ends well.

    Whoever reads `path` meanwhile, another process included, sees the old file or the new one and never a part
    of one. When the block raises, `path` is as it was and the temporary file is gone.

    Parameters
    ----------
    path : str
        The file to write. A symbolic link is followed, so the link stays.

    Yields
    ------
    str
        A file name in the same folder with the same extension; the block creates the file.

    Raises
    ------
    OSError
        From the file system: no such folder, no permission, disk full.
    """
    path = os.path.realpath(path)
    stem, extension = os.path.splitext(os.path.basename(path))
    temporary = os.path.join(os.path.dirname(path), f".{stem}-{uuid.uuid4().hex}{extension}")
    try:
        yield temporary
        if os.path.exists(path):
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)
