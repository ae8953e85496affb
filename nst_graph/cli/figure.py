"""`nst-graph figure`: rows of content + style -> generated."""

import argparse
from typing import Any

from nst_graph.cli.words import add_max_megapixels, sentence, whole_number
from nst_graph.errors import SettingError


def _figure(arguments: argparse.Namespace) -> None:
    # Imported here because --help needs no OpenCV.
    from nst_graph import figures, images

    paths = arguments.pictures
    if len(paths) % 3:
        raise SettingError(
            f"a figure takes three pictures for each row (content, style, generated), but it got {len(paths)} in all"
        )
    pictures = [images.read_picture(path, arguments.max_megapixels) for path in paths]
    rows = list(zip(pictures[::3], pictures[1::3], pictures[2::3]))
    width, height = figures.figure_size(rows, arguments.height)
    if width * height > arguments.max_megapixels * 1e6:
        raise SettingError(
            f"the figure would be {width}x{height}, more than {arguments.max_megapixels:g} megapixels: name pictures "
            "that are less wide, or give a smaller --height or a larger --max-megapixels"
        )
    images.check_output(arguments.output, (width, height), paths)
    images.write_picture(figures.pairs_figure(rows, arguments.height), arguments.output)


def add_to(commands: Any) -> None:
    """Add the subcommand to those of a parser."""
    about = "make a figure of content + style -> generated, one row for every three pictures"
    figure = commands.add_parser("figure", help=about, description=sentence(about))
    figure.add_argument("output", metavar="OUTPUT", help="picture file to write")
    figure.add_argument("pictures", metavar="CONTENT STYLE GENERATED", nargs="+", help="picture files, three for a row")
    figure.add_argument(
        "--height", metavar="N", type=whole_number(1, 10000), default=300, help="height of a row in pixels (300)"
    )
    add_max_megapixels(figure)
    figure.set_defaults(run=_figure)
