"""The command `nst-graph`."""

import argparse
import logging
import sys
from typing import List, NoReturn, Optional, Sequence

from nst_graph import __version__, program
from nst_graph.errors import SettingError
from nst_graph.files import check_file
from nst_graph.runtimes import RUNTIME_VARIABLE, choose_runtime, find_runtimes, installed
from nst_graph.settings import CONSTANTS, Settings, from_words

logger = logging.getLogger(__name__)

#: The command's name. `python -m nst_graph` uses it too.
_PROGRAM = "nst-graph"

#: The constants that have an option.
_OPTIONS = {name: field.metadata for name, field in CONSTANTS.items() if field.metadata["option"]}


def _runtimes(arguments: argparse.Namespace) -> None:
    versions = installed()
    print(f"TensorFlow {versions.tensorflow or 'is not installed'}, tf-keras {versions.tf_keras or 'is not installed'}")
    candidates = find_runtimes()
    for candidate in candidates:
        verdict = "can serve" if candidate.why_not is None else candidate.why_not
        print(f"{candidate.name} (from {candidate.source}): {verdict}")
    serving = choose_runtime().name
    print(f"{serving} serves")
    if any(candidate.why_not is None and candidate.name != serving for candidate in candidates):
        print(f"{RUNTIME_VARIABLE}=NAME chooses another")


def _settings(arguments: argparse.Namespace) -> Settings:
    words = [f"{name}={getattr(arguments, name)}" for name in _OPTIONS if getattr(arguments, name) is not None]
    paths = {
        "CONTENT_IMG_PATH": arguments.content,
        "STYLE_IMG_PATH": arguments.style,
        "GENERATED_IMG_PATH": arguments.output,
    }
    return from_words(words, paths)


def _stylize(arguments: argparse.Namespace) -> None:
    # Imported here because --help needs neither OpenCV nor TensorFlow.
    from nst_graph import figures, images, observers
    from nst_graph.transfer import Transfer

    settings = _settings(arguments)
    content, style = (images.read_picture(path) for path in (arguments.content, arguments.style))
    # Find errors before the run starts: it takes minutes.
    taken = [arguments.content, arguments.style]
    images.check_output(arguments.output, settings.size, taken)
    taken.append(arguments.output)
    for path in (arguments.history, arguments.plot):
        if path is not None:
            check_file(path, taken)
            taken.append(path)
    if arguments.plot is not None:
        figures.check_plot(arguments.plot)
    choose_runtime()

    history = observers.History(arguments.history)
    watching: List[observers.Observer] = [history, observers.SavedPicture(arguments.output)]
    if not arguments.no_log:
        watching.append(observers.TensorBoard(arguments.log_dir, settings.log_pictures_every))
    # A progress bar for a person at a terminal, lines for a file or another program.
    bar = sys.stderr.isatty()
    if bar:
        watching.append(observers.ProgressBar())
    if not (bar and sys.stdout.isatty()):
        watching.append(observers.PrintedLines())
    with Transfer(settings, str(settings.weights)) as transfer:
        logger.info("VGG-19 weights: %s", transfer.weights_source)
        transfer.start(content, style, arguments.content, arguments.style)
        transfer.train(watching)
        images.write_picture(transfer.picture(), arguments.output)
    if arguments.plot is not None:
        figures.plot_costs(history.names, history.rows, arguments.plot)


def _figure(arguments: argparse.Namespace) -> None:
    from nst_graph import figures, images

    paths = arguments.pictures
    if len(paths) % 3:
        raise SettingError(
            f"a figure takes three pictures for each row (content, style, generated), but it got {len(paths)} in all"
        )
    pictures = [images.read_picture(path) for path in paths]
    check_file(arguments.output, paths)
    rows = list(zip(pictures[::3], pictures[1::3], pictures[2::3]))
    images.write_picture(figures.pairs_figure(rows, arguments.height), arguments.output)


def _row_height(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 10000:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 10000, not {text!r}")
    return int(text)


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line, as the rest of this package does."""

    def error(self, message: str) -> NoReturn:
        raise SettingError(f"{message}; for help: {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=_PROGRAM, description="Neural style transfer as a TensorFlow 1 graph.")
    parser.add_argument("--version", action="version", version=f"nst_graph {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    about = "paint the content of one picture in the style of another"
    defaults_are = _sentence(about + "; the defaults are the article's")
    stylize = commands.add_parser("stylize", help=about, description=defaults_are)
    stylize.add_argument("content", metavar="CONTENT", help="picture file")
    stylize.add_argument("style", metavar="STYLE", help="picture file")
    stylize.add_argument("output", metavar="OUTPUT", help="picture file to write, during the run and at the end")
    defaults = Settings().words()
    for name, constant in _OPTIONS.items():
        about = f"{constant['what']} ({defaults[name]})"
        stylize.add_argument(constant["option"], dest=name, metavar=constant["takes"], help=about)
    stylize.add_argument("--log-dir", metavar="DIR", default="log", help="folder for TensorBoard logs (log)")
    stylize.add_argument("--no-log", action="store_true", help="write no TensorBoard log")
    stylize.add_argument("--history", metavar="FILE", help="write the costs of every iteration to this CSV file")
    stylize.add_argument("--plot", metavar="FILE.png", help="plot the costs on a logarithmic scale after the run")
    stylize.set_defaults(run=_stylize)

    about = "make a figure of content + style -> generated, one row for every three pictures"
    figure = commands.add_parser("figure", help=about, description=_sentence(about))
    figure.add_argument("output", metavar="OUTPUT", help="picture file to write")
    figure.add_argument("pictures", metavar="CONTENT STYLE GENERATED", nargs="+", help="picture files, three for a row")
    figure.add_argument("--height", metavar="N", type=_row_height, default=300, help="height of a row in pixels (300)")
    figure.set_defaults(run=_figure)

    about = "list the TensorFlow runtimes, the one that serves, and why the others cannot"
    commands.add_parser("runtimes", help=about, description=_sentence(about)).set_defaults(run=_runtimes)
    return parser


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the command's name. The default is the arguments of this process.
    """
    program.set_up(_PROGRAM)
    parsed = _parser().parse_args(arguments)
    parsed.run(parsed)
