"""`nst-graph inputs`: the article's own pictures."""

import argparse
import os
import shlex
from typing import Any

from nst_graph import article_pictures, program
from nst_graph.cli.words import file_name
from nst_graph.errors import printable

_SCRIPT = "legacy_script.py"


def _inputs(arguments: argparse.Namespace) -> None:
    for path, what in article_pictures.fetch(arguments.folder, arguments.overwrite):
        print(printable(f"{path}: {what}"), flush=True)
    print(article_pictures.CREDIT)
    print(f"Next, in the folder of {_SCRIPT}, the article's three results:")
    # The script may be in another folder than this command.
    folder = arguments.folder if os.path.exists(_SCRIPT) else os.path.abspath(arguments.folder)
    for style in article_pictures.STYLES:
        words = [
            f"CONTENT_IMG_PATH={os.path.join(folder, article_pictures.CONTENT)}",
            f"STYLE_IMG_PATH={os.path.join(folder, style)}",
            f"GENERATED_IMG_PATH=output/cat_{style}",
        ]
        print(printable(" ".join(["python", _SCRIPT, *map(shlex.quote, words)])))
    program.note_unprinted()


def add_to(commands: Any) -> None:
    """Add the subcommand to those of a parser."""
    about = "fetch the article's own pictures, a content and three styles, from their author's repository"
    inputs = commands.add_parser(
        "inputs",
        help=about,
        description="Fetch the article's own four pictures from their author's repository, check them, and show the "
        f"commands that make the article's three results of them. {article_pictures.CREDIT}.",
    )
    inputs.add_argument("folder", metavar="DIR", type=file_name, help="folder for the pictures; made if it is missing")
    inputs.add_argument(
        "--overwrite", action="store_true", help="replace files of the pictures' names that have other content"
    )
    inputs.set_defaults(run=_inputs)
