"""`nst-graph show`: the settings that are stored in a picture."""

import argparse
from typing import TYPE_CHECKING, Any

from nst_graph import program
from nst_graph.cli.words import sentence
from nst_graph.errors import PictureError, SettingError

if TYPE_CHECKING:
    from nst_graph.record import Record


def stored_record(path: str) -> "Record":
    """Return the record that is stored in a file.

    Parameters
    ----------
    path : str
        A picture or a checkpoint that `nst-graph stylize` wrote, or a text file with what `nst-graph show` printed.

    Raises
    ------
    PictureError, CheckpointError
        If the file cannot be read.
    SettingError
        If it holds no settings.
    """
    # Imported here because --help needs neither OpenCV nor Pillow.
    from nst_graph import metadata
    from nst_graph.checkpoint import read_open_checkpoint
    from nst_graph.picture_files import open_file, read_open_file
    from nst_graph.record import LARGEST_TEXT, from_text

    # Opened once: it may be a pipe.
    with open_file(path) as file:
        try:
            start = file.read(100)
            file.seek(0)
            if start.lstrip().startswith(b"{"):
                return from_text(file.read(4 * LARGEST_TEXT + 1).decode("utf-8", "replace"), path)
        except OSError as error:
            raise PictureError(f"the file {path!r} cannot be read: {error.strerror}") from error
        if start.startswith(b"PK"):  # a zip archive, as NumPy's files are
            return read_open_checkpoint(file, path)[1]
        text = metadata.read_text(read_open_file(file, path), path)
    if text is None:
        raise SettingError(f"{path!r} holds no settings; they are in pictures that `nst-graph stylize` wrote")
    return from_text(text, path)


def _show(arguments: argparse.Namespace) -> None:
    from nst_graph.record import to_text

    print(to_text(stored_record(arguments.picture)))
    program.check_printed()


def add_to(commands: Any) -> None:
    """Add the subcommand to those of a parser."""
    about = "print the settings, versions and SHA-256 of the inputs that are stored in a picture or a checkpoint"
    show = commands.add_parser("show", help=about, description=sentence(about))
    show.add_argument("picture", metavar="PICTURE", help="file that `nst-graph stylize` wrote")
    show.set_defaults(run=_show)
