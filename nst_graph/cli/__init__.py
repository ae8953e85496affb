"""The command `nst-graph`. Each subcommand is a module of this package, with a function `add_to`."""

import argparse
from typing import NoReturn, Optional, Sequence

from nst_graph import __version__, program
from nst_graph.cli import batch, figure, layers, mask, runtimes, show, stylize
from nst_graph.errors import SettingError

#: The command's name. `python -m nst_graph` uses it too.
_PROGRAM = "nst-graph"


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line, as the rest of this package does."""

    def error(self, message: str) -> NoReturn:
        raise SettingError(f"{message}; for help: {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    # An abbreviated option would change its meaning when a longer one joins.
    parser = _Parser(prog=_PROGRAM, description="Neural style transfer as a TensorFlow 1 graph.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"nst_graph {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in (stylize, batch, mask, layers, show, figure, runtimes):
        command.add_to(commands)
    return parser


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the command's name. The default is the arguments of this process.
    """
    program.set_up(_PROGRAM)
    try:
        parsed = _parser().parse_args(arguments)
    except SystemExit:  # what --help and --version end with
        program.check_printed()
        raise
    parsed.run(parsed)
