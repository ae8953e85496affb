"""The command `nst-graph`. Each subcommand is a module of this package, with a function `add_to`."""

import argparse
from typing import List, NoReturn, Optional, Sequence, Tuple

from nst_graph import __version__, program
from nst_graph.cli import batch, figure, inputs, layers, mask, runtimes, show, stylize
from nst_graph.errors import SettingError

#: The command's name. `python -m nst_graph` uses it too.
_PROGRAM = "nst-graph"

_ABOUT = "Neural style transfer as a TensorFlow 1 graph."

#: What somebody sees who types only the command's name.
_FIRST_STEPS = f"""{_ABOUT} Three commands to begin with:

  nst-graph stylize me.jpg monet.jpg --preset fast
      paints me.jpg in the style of monet.jpg, as me_monet.png
  nst-graph batch photos --style monet.jpg --output painted --preset fast
      paints every picture in the folder photos
  nst-graph show me_monet.png
      prints what made a picture

All commands: nst-graph --help. The options of one: nst-graph stylize --help."""


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line, as the rest of this package does."""

    def error(self, message: str) -> NoReturn:
        raise SettingError(f"{message}; for help: {self.prog} --help")


class _Subcommand(_Parser):
    """Takes options before, between and after the words, as people type them."""

    _is_mixing = False

    def parse_known_args(  # type: ignore[override]
        self, args: Optional[Sequence[str]] = None, namespace: Optional[argparse.Namespace] = None
    ) -> Tuple[argparse.Namespace, List[str]]:
        parsed, left = super().parse_known_args(args, namespace)
        # argparse gives a word that may be missing nothing if an option comes before it. Its own remedy reads options
        # and words one after the other, by two calls of this method, and does not know the mark `--`.
        if left and not self._is_mixing and "--" not in (args or ()):
            self._is_mixing = True
            try:
                parsed, left = self.parse_known_intermixed_args(args, namespace)
            finally:
                self._is_mixing = False
        if left and not self._is_mixing:
            self.error(f"unrecognized arguments: {' '.join(left)}")
        return parsed, left


def _parser() -> argparse.ArgumentParser:
    # An abbreviated option would change its meaning when a longer one joins.
    parser = _Parser(prog=_PROGRAM, description=_ABOUT, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"nst_graph {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Subcommand)
    for command in (stylize, batch, inputs, mask, layers, show, figure, runtimes):
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
    if parsed.command is None:
        print(_FIRST_STEPS)
        program.check_printed()
    else:
        parsed.run(parsed)
