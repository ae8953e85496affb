"""`nst-graph mask`: a mask of a picture's subject."""

import argparse
import os
import re
from typing import Any, List, Tuple

from nst_graph.cli.words import add_max_megapixels, whole_number
from nst_graph.errors import OutputError

#: A length on the command line: a number, and whether it is a percentage.
_Length = Tuple[float, bool]

_LENGTH = re.compile(r"([0-9]{1,9}|[0-9]{1,9}(\.[0-9]+)?%)\Z")

#: A margin of a tenth on every side.
_DEFAULT_RECTANGLE = "10%,10%,80%,80%"


def _rectangle(text: str) -> List[_Length]:
    words = text.split(",")
    if len(words) != 4 or not all(_LENGTH.match(word) for word in words):
        raise argparse.ArgumentTypeError(
            f"must be X,Y,W,H, each a whole number of pixels or a percentage such as 12.5%, not {text!r}"
        )
    return [(float(word.rstrip("%")), word.endswith("%")) for word in words]


def _pixels(rectangle: List[_Length], width: int, height: int) -> Tuple[int, int, int, int]:
    # Corners are rounded, not lengths: 50% after 50% ends at the picture's edge if its width is odd, too.
    x, y, across, down = (
        number * side / 100 if percent else number for (number, percent), side in zip(rectangle, [width, height] * 2)
    )
    left, top = round(x), round(y)
    return left, top, round(x + across) - left, round(y + down) - top


def _mask(arguments: argparse.Namespace) -> None:
    # Imported here because --help needs no OpenCV.
    from nst_graph import images, masks

    picture = images.read_picture(arguments.content, arguments.max_megapixels)
    height, width = picture.shape[:2]
    images.check_output(arguments.output, (width, height), [arguments.content])
    if os.path.exists(arguments.output) and not arguments.overwrite:
        raise OutputError(f"the file {arguments.output!r} exists; name another, or replace it with --overwrite")
    mask = masks.subject_mask(picture, _pixels(arguments.rectangle, width, height), arguments.iterations)
    mask = masks.feathered(mask, arguments.feather)
    if arguments.invert:
        mask = 255 - mask
    # Three equal channels: some formats cannot hold one, and `check_output` has tried three.
    images.write_picture(mask[..., None].repeat(3, axis=2), arguments.output)


def add_to(commands: Any) -> None:
    """Add the subcommand `mask`.

    Parameters
    ----------
    commands : argparse._SubParsersAction
        What `ArgumentParser.add_subparsers` returned.
    """
    about = "make a mask of a picture's subject: white on the subject, black elsewhere"
    mask = commands.add_parser(
        "mask",
        help=about,
        description="Make a mask of a picture's subject, white on the subject and black elsewhere, by GrabCut. "
        "Everything outside the rectangle counts as background.",
    )
    mask.add_argument("content", metavar="CONTENT", help="picture file")
    mask.add_argument("output", metavar="OUTPUT", help="picture file to write, best a .png, which keeps every value")
    mask.add_argument(
        "--rectangle",
        metavar="X,Y,W,H",
        type=_rectangle,
        default=_DEFAULT_RECTANGLE,
        help="where the subject is: left, top, width and height, each in pixels or with %% of the picture's width or "
        f"height ({_DEFAULT_RECTANGLE.replace('%', '%%')})",
    )
    mask.add_argument(
        "--feather", metavar="N", type=whole_number(0, 1000), default=0, help="pixels of soft edge on each side (0)"
    )
    mask.add_argument("--invert", action="store_true", help="white outside the subject, to stylize the background")
    mask.add_argument(
        "--iterations", metavar="N", type=whole_number(1, 100), default=5, help="iterations of GrabCut (5)"
    )
    add_max_megapixels(mask)
    mask.add_argument("--overwrite", action="store_true", help="replace OUTPUT if it exists")
    mask.set_defaults(run=_mask)
