"""The article's own four pictures. This project does not distribute them; they come from their author's repository."""

import contextlib
import hashlib
import os
from typing import Iterator, Tuple

from nst_graph.downloads import CONNECT_SECONDS, STALL_SECONDS, Checksum, download, reach
from nst_graph.errors import DownloadError, OutputError
from nst_graph.files import check_file, real_path, reason

#: The article's content picture, and its three styles in the order of the article's results.
CONTENT = "cat.jpg"
STYLES = ("starry_night.jpg", "the_scream.jpg", "mosaic.jpg")

#: SHA-256 of each, in the order in which they are fetched.
SHA256 = {
    "cat.jpg": "4f0004a9784908fadb63cd618f5bc9072b76c13b2d0b6ce805f0de305eb33af6",
    "starry_night.jpg": "54cebff944e92a39c511c68d8983b60c8ab19a21c233425503271134789f742b",
    "the_scream.jpg": "af84475d58cb4c9e6a26e23e4a348f9e13a5d16b202fab9271cfee09d2e4db55",
    "mosaic.jpg": "d51c90e8f95015207a3367b8c6e5c31793d72cb45b875e03e5b42704caeb5c2f",
}

#: Where they are; a name follows.
ADDRESS = "https://raw.githubusercontent.com/CarlFredriksson/neural_style_transfer/master/input/"

#: Whose they are.
CREDIT = "Copyright (c) Carl Fredriksson, MIT License, https://github.com/CarlFredriksson/neural_style_transfer"

#: Seconds after which the download of a picture is stopped in any case.
TOTAL_SECONDS = 120
#: Bytes that a picture may have. The largest has 87461.
MOST_BYTES = 1_000_000


def fetch(
    folder: str,
    overwrite: bool = False,
    connect_seconds: float = CONNECT_SECONDS,
    stall_seconds: float = STALL_SECONDS,
    total_seconds: float = TOTAL_SECONDS,
) -> Iterator[Tuple[str, str]]:
    """Fetch the article's pictures, each whole or not at all. What was fetched stays if a later one fails.

    Parameters
    ----------
    folder : str
        Where they go. It is made if it is missing.
    overwrite : bool
        Whether files of these names with other content are replaced. Pictures that are there are not fetched again.
    connect_seconds, stall_seconds, total_seconds : float
        The download of a picture stops after so many seconds without an answer, without a byte, or in total.

    Yields
    ------
    path : str
        A picture, as soon as it is there.
    what : str
        `fetched`, `replaced`, or `there already`.

    Raises
    ------
    DownloadError
        If a picture cannot be fetched, or its SHA-256 is not the expected one.
    OutputError
        If one cannot be written, or would replace something. That is found before anything is fetched.
    """
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise OutputError(f"{folder!r} is not a folder; name a folder, or one to make")
    paths = {name: os.path.join(folder, name) for name in SHA256}
    contents = {name: _sha256(path) for name, path in paths.items()}
    others = [name for name, content in contents.items() if content not in ("", SHA256[name])]
    if others and not overwrite:
        raise OutputError(
            f"{', '.join(repr(paths[name]) for name in others)}: there already with other content, and not replaced; "
            "name another folder, or replace with --overwrite"
        )
    missing = [name for name, content in contents.items() if content != SHA256[name]]
    with _no_empty_folders_left(folder):
        for name in missing:
            check_file(paths[name])
        for name, path in paths.items():
            if name not in missing:
                yield path, "there already"
                continue
            url = ADDRESS + name
            checksum = Checksum("SHA-256", lambda data: hashlib.sha256(data).hexdigest(), SHA256[name])
            try:
                reach(url, connect_seconds)
                download(url, path, checksum, MOST_BYTES, stall_seconds, total_seconds)
            except (DownloadError, OSError) as error:
                why = reason(error) if isinstance(error, OSError) else error
                raise DownloadError(
                    f"{path!r} cannot be fetched from {url}: {why}; check the network and try again, "
                    f"or put {', '.join(missing[missing.index(name) :])} from there into {folder!r} yourself"
                ) from error
            yield path, "replaced" if name in others else "fetched"


def _sha256(path: str) -> str:
    """Return the SHA-256 of a file, of its beginning if it is larger than a picture may be; '' if there is none.

    Raises
    ------
    OutputError
        If it cannot be read, or is a folder, a pipe or a device.
    """
    if not os.path.exists(path):
        return ""
    if not os.path.isfile(path):  # before it is opened: a pipe that nobody writes to would wait for ever
        raise OutputError(f"{path!r} is in the way and not a file; move it, or name another folder")
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read(MOST_BYTES)).hexdigest()
    except OSError as error:
        raise OutputError(f"{path!r} is there and cannot be read: {reason(error)}; name another folder") from error


@contextlib.contextmanager
def _no_empty_folders_left(folder: str) -> Iterator[None]:
    """Remove the folders that a block has made on the way to a folder, if they are empty at its end."""
    missing, path = [], real_path(folder)
    while not os.path.exists(path) and path != os.path.dirname(path):
        missing.append(path)
        path = os.path.dirname(path)
    try:
        yield
    finally:
        for made in missing:
            with contextlib.suppress(OSError):  # it is not empty, or was not made
                os.rmdir(made)
