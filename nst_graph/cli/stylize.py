"""`nst-graph stylize`: pictures of one's own, with every option."""

import argparse
import dataclasses
import logging
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any, Callable, List, NamedTuple, Optional, Tuple

import numpy as np

from nst_graph.cli.constants import (
    DEFAULT_NAME,
    add_constants,
    add_no_memory_check,
    add_settings_from,
    given_constants,
    settings_for,
)
from nst_graph.cli.show import stored_record
from nst_graph.cli.words import file_name, sentence, whole_number
from nst_graph.errors import CheckpointError, DivergenceError, NSTGraphError, OutputError, SettingError
from nst_graph.files import check_file, check_folder, real_path
from nst_graph.program import interruptible, note_unprinted
from nst_graph.runtimes import choose_runtime, installed
from nst_graph.settings import EVERYWHERE, INIT_WORDS, OPTIONS, Settings, check_effects, is_due, with_preset, word_of

if TYPE_CHECKING:
    from nst_graph.observers import SavedPicture
    from nst_graph.record import Record
    from nst_graph.transfer import Stage

logger = logging.getLogger(__name__)


class _Plan(NamedTuple):
    """What a run is to be, as the command line says it."""

    settings: Settings
    content: str
    styles: List[Any]
    output: str
    saved: Any  # the checkpoint's state and record, if the run goes on


def _plan(arguments: argparse.Namespace) -> _Plan:
    """Return what the words of the command line ask for, before any picture is read."""
    chosen = with_preset(arguments.preset, given_constants(arguments))
    named = [word for word in (arguments.content, arguments.style, arguments.output) if word is not None]
    if arguments.resume is None and len(named) < 2:
        raise SettingError("a run takes CONTENT STYLE, and OUTPUT if you like; for help: nst-graph stylize --help")
    if arguments.resume is not None and named and len(named) < 3:
        raise SettingError("a run that goes on takes CONTENT STYLE OUTPUT, or none of them: then the checkpoint's")
    if arguments.resume is not None and arguments.preset is not None:
        raise SettingError("--preset has no effect with --resume: the checkpoint has the settings")
    if arguments.resume is not None and arguments.settings_from is not None:
        raise SettingError("--settings-from has no effect with --resume: the checkpoint has the settings")

    saved, record = None, None
    if arguments.resume is not None:
        # Imported here because --help needs no OpenCV.
        from nst_graph.checkpoint import read_checkpoint
        from nst_graph.transfer import resumed_settings

        saved = read_checkpoint(arguments.resume)
        record = saved[1]
        settings = resumed_settings(record, chosen)
        check_effects(settings, chosen)
    else:
        record = None if arguments.settings_from is None else stored_record(arguments.settings_from)
        settings = settings_for(chosen, record)
    content, output = arguments.content, arguments.output
    if not named and record is not None:
        content, output = record.content.path, record.output
        if content is None or output is None:
            raise SettingError("the checkpoint's run was not one of files; name CONTENT STYLE OUTPUT")
    if settings.init is None:
        raise SettingError("the run started from a picture that was no file; name one with --init")
    styles = _styles(arguments, record)
    if output is None:
        output = _beside_content(content, styles, settings)
    settings = dataclasses.replace(settings, content_img_path=content, generated_img_path=output)
    return _Plan(settings, content, styles, output, saved)


def _beside_content(content: str, styles: List[Any], settings: Settings) -> str:
    """Return the file of a picture for which none is named: `photos/me_monet.png` for `photos/me.jpg`."""
    from nst_graph.worklist import Item, output_of

    return output_of(Item(content, tuple(styles)), DEFAULT_NAME, settings, os.path.dirname(content))


def _styles(arguments: argparse.Namespace, record: "Optional[Record]") -> List[Any]:
    """Return the styles: those of the command line, and what it leaves out from the record."""
    from nst_graph.inputs import style_from_word

    words = ([] if arguments.style is None else [arguments.style]) + arguments.more_styles
    if record is None or len(words) > 1:
        styles = [style_from_word(word) for word in words]
    elif words:
        # Another picture in the place of the first style; what else was said of the styles holds.
        named = style_from_word(words[0], record.weights[0])
        first, *others = record.style_arguments(str(named.picture))
        styles = [first._replace(weight=named.weight), *others]
    else:
        styles = record.style_arguments()
    if arguments.masks:
        if len(arguments.masks) != len(styles):
            raise SettingError(
                f"--style-mask must be given once for each style, in their order: there are {len(styles)} styles and "
                f"{len(arguments.masks)} masks; `{EVERYWHERE}` is the mask of a style for the whole picture"
            )
        masks = [None if mask == EVERYWHERE else mask for mask in arguments.masks]
        styles = [style._replace(mask=mask) for style, mask in zip(styles, masks)]
    return styles


def _check_outputs(arguments: argparse.Namespace, plan: _Plan, record: "Record", size: Tuple[int, int]) -> None:
    """Find what could not be written after a run of minutes, and what must not be replaced, before it starts."""
    from nst_graph import figures, images, metadata
    from nst_graph.weights import files_of

    inputs = [file.path for file in (record.content, *record.styles, *record.masks, record.init) if file is not None]
    resumed = None if arguments.resume == arguments.checkpoint else arguments.resume
    taken = [path for path in (*inputs, resumed) if path is not None] + files_of(plan.settings.weights or "auto")
    pictures = _numbered(arguments, plan)
    images.check_output(plan.output, size, taken)
    # The last of the numbered pictures has the longest name.
    for picture in [*filter(os.path.exists, pictures), *pictures[-1:]]:
        check_file(picture, taken)
    taken.append(plan.output)
    numbered = {real_path(path) for path in pictures}
    for path in (arguments.history, arguments.plot, arguments.checkpoint):
        if path is not None:
            # Not all numbered pictures among the others: there may be thousands, and each is compared with each.
            check_file(path, [path] if real_path(path) in numbered else taken)
            taken.append(path)
    if not arguments.no_log:
        check_folder(arguments.log_dir, taken)
    if arguments.plot is not None:
        figures.check_plot(arguments.plot)
    if not arguments.overwrite:
        # A run that goes on has written its output itself. Only a file that cannot say so is believed to be that: the
        # checkpoint may be a stranger's, and the name in it anything.
        says_so = metadata.holds_text(plan.output) and not arguments.no_metadata
        if plan.saved is None or says_so or plan.output != plan.saved[1].output:
            pictures.append(plan.output)
        for path in pictures:
            _check_replaceable(path, record, plan.saved is not None)
        if arguments.checkpoint != arguments.resume:
            _check_replaceable(arguments.checkpoint, record, plan.saved is not None)
        # The history of a run that goes on is continued.
        for path in (arguments.plot, None if plan.saved is not None else arguments.history):
            if path is not None and os.path.exists(path):
                raise _exists(path)


def _numbered(arguments: argparse.Namespace, plan: _Plan) -> List[str]:
    from nst_graph.observers import numbered

    count = plan.settings.total_iterations
    iterations = range(count) if arguments.save_every else ()
    return [numbered(plan.output, i) for i in iterations if is_due(i, arguments.save_every, count - 1)]


def _check_replaceable(path: Optional[str], record: "Record", resumed: bool) -> None:
    """Refuse to replace a file, but for one that the same run has written."""
    if path is None or not os.path.exists(path):
        return
    try:
        earlier = stored_record(path)
    except NSTGraphError:
        raise _exists(path) from None
    if resumed:
        earlier = earlier.as_long_as(record)
    if record.difference_from(earlier):
        raise _exists(path)


def _exists(path: str) -> OutputError:
    return OutputError(f"the file {path!r} exists; name another, or replace it with --overwrite")


def _in_words(settings: Settings, stages: "List[Stage]") -> str:
    """Return what the stages of a run are, with the option that spells them out."""
    words = "; then ".join(
        "{}x{}, {} iterations".format(*stage.size, stage.iterations)
        + (f" in strips of {stage.rows} rows" if stage.rows else "")
        for stage in stages
    )
    option = f" (--stages {word_of(OPTIONS['--stages'], settings.stages)})" if settings.stages is not None else ""
    return f"{words}{option}, {settings.optimizer}, {settings.precision}"


def _writer(arguments: argparse.Namespace, record: "Record", content: bytes) -> Callable[[np.ndarray, str], None]:
    """Return the function that writes a picture, with what the picture carries."""
    from nst_graph import metadata
    from nst_graph.images import write_picture
    from nst_graph.record import to_text

    if arguments.no_metadata:
        return write_picture
    carried = metadata.carried_by(content)
    text = to_text(record)
    return lambda picture, path: metadata.write(picture, path, text, carried)


def _stylize(arguments: argparse.Namespace) -> None:
    # Imported here because --help needs neither OpenCV nor TensorFlow.
    from nst_graph import figures, memory, metadata, observers
    from nst_graph.inputs import read_inputs
    from nst_graph.record import record_of, to_text
    from nst_graph.saving import save_last
    from nst_graph.transfer import (
        Transfer,
        check_memory,
        check_resumable,
        check_sizes,
        full_size,
        peak_memory,
        settled,
        stages_of,
    )

    plan = _plan(arguments)
    if arguments.checkpoint is None:
        arguments.checkpoint = arguments.resume
    settings = plan.settings
    init = None if settings.init in INIT_WORDS else settings.init
    inputs = read_inputs(plan.content, plan.styles, init, settings.max_megapixels)
    size = full_size(settings, inputs.content.pixels)
    settings = settled(settings, size, inputs.masked_styles)
    plan = plan._replace(settings=settings)
    stages = stages_of(settings, size)
    for stage in stages:
        check_sizes(settings, inputs, stage.size)
    record = record_of(settings, inputs, installed().tensorflow or "")
    if plan.saved is not None:
        check_resumable(record, *plan.saved)
    _check_outputs(arguments, plan, record, size)
    if not arguments.no_metadata:
        # The text grows a little when it is known which weights `auto` is.
        metadata.check(plan.output, size, to_text(record) + " " * 100, metadata.carried_by(inputs.content.data))
    if not arguments.no_memory_check:
        check_memory(settings, inputs, size, memory.free())
    needed = memory.in_words(peak_memory(settings, inputs, size))
    choose_runtime()
    if not arguments.no_metadata and not metadata.holds_text(plan.output):
        logger.warning("a file of this format cannot hold the settings; a .png or .jpg can")

    if len(stages) > 1 or stages[-1].rows or settings.precision != "float32":
        logger.info("stages: %s", _in_words(settings, stages))
    with Transfer(settings, str(settings.weights)) as transfer:
        logger.info("VGG-19 weights: %s", transfer.weights_source)
        transfer.begin(inputs)
        if plan.saved is not None:
            transfer.resume(*plan.saved)
            logger.info("going on after %d iterations", transfer.iteration)
        write = _writer(arguments, transfer.record(), inputs.content.data)
        history = observers.History(arguments.history, plan.saved is not None)
        saved = observers.SavedPicture(plan.output, write=write)
        watching: List[observers.Observer] = [history, saved]
        if arguments.save_every:
            watching.append(observers.NumberedPictures(plan.output, arguments.save_every, write))
        checkpoints = None
        if arguments.checkpoint is not None:
            checkpoints = observers.Checkpoints(arguments.checkpoint, arguments.checkpoint_every)
            watching.append(checkpoints)
        if not arguments.no_log:
            watching.append(observers.TensorBoard(arguments.log_dir, settings.log_pictures_every))
        # A progress bar for a person at a terminal, lines for a file or another program.
        bar = sys.stderr.isatty()
        if bar:
            watching.append(observers.ProgressBar())
        if not (bar and sys.stdout.isatty()):
            watching.append(observers.PrintedLines())
        watching.append(observers.Announcement(logger.info, needed))
        with interruptible() as interruption:
            try:
                transfer.train(watching, interruption.asked)
                transfer.check()  # the last step of a run that was interrupted
            except DivergenceError as error:
                raise DivergenceError(f"{error}; {_what_is_left(saved, plan.output)}") from error
            try:
                save_last(transfer.picture(), plan.output, write)
            finally:
                if interruption.asked() and checkpoints is not None:
                    _write_last(checkpoints, arguments.checkpoint)
            if interruption.asked():
                _say_where(transfer.iteration, plan.output, arguments)
            else:
                logger.info("the picture is %s", plan.output)
    note_unprinted()
    if arguments.plot is not None:
        figures.plot_costs(history.names, history.rows, arguments.plot)
    if interruption.asked():
        interruption.end()


def _what_is_left(saved: "SavedPicture", path: str) -> str:
    if saved.saved is None:
        return f"nothing was written to {path!r}"
    return f"{path!r} has the picture after iteration {saved.saved}"


def _write_last(checkpoints: Any, path: str) -> None:
    try:
        checkpoints.write()
    except OSError as error:
        raise CheckpointError(f"the checkpoint {path!r} cannot be written: {error.strerror}") from error


def _say_where(iteration: int, output: str, arguments: argparse.Namespace) -> None:
    how = ""
    if arguments.checkpoint:
        # What the checkpoint does not know: whether the picture says which run it is of.
        option = " --no-metadata" if arguments.no_metadata else ""
        how = f"; go on with: nst-graph stylize --resume {shlex.quote(arguments.checkpoint)}{option}"
    logger.warning("interrupted after %d iterations; the picture so far is %s%s", iteration, output, how)


def add_to(commands: Any) -> None:
    """Add the subcommand to those of a parser."""
    about = "paint the content of one picture in the style of another"
    stylize = commands.add_parser(
        "stylize",
        help=about,
        description=sentence(about + "; the defaults are the article's, but for --size 400"),
        usage="nst-graph stylize CONTENT STYLE [OUTPUT] [option ...]",
        allow_abbrev=False,
    )
    stylize.add_argument("content", metavar="CONTENT", nargs="?", help="picture file")
    stylize.add_argument("style", metavar="STYLE", nargs="?", help="picture file, or FILE:WEIGHT beside other styles")
    stylize.add_argument(
        "output",
        metavar="OUTPUT",
        nargs="?",
        help=f"picture file to write, during the run and at the end; without it {DEFAULT_NAME}, beside CONTENT",
    )

    styles = stylize.add_argument_group("styles")
    styles.add_argument(
        "--style",
        dest="more_styles",
        metavar="FILE[:WEIGHT]",
        action="append",
        default=[],
        help="another style; weights are divided by their sum (1)",
    )
    styles.add_argument(
        "--style-mask",
        dest="masks",
        metavar="FILE",
        action="append",
        default=[],
        help=f"where a style is asked for: white is there, black is not; once for each style, `{EVERYWHERE}` is the "
        "whole picture",
    )
    add_constants(stylize)
    _add_files(stylize)
    stylize.set_defaults(run=_stylize)


def _add_files(stylize: argparse.ArgumentParser) -> None:
    count = whole_number(1, 999_999_999)
    stop = stylize.add_argument_group("stopping and going on")
    stop.add_argument(
        "--checkpoint",
        metavar="FILE",
        type=file_name,
        help="write the whole state of the run to this file, also when it is interrupted",
    )
    stop.add_argument(
        "--checkpoint-every", metavar="N", type=count, default=20, help="iterations between checkpoints (20)"
    )
    stop.add_argument(
        "--resume",
        metavar="FILE",
        type=file_name,
        help="go on from a checkpoint, with its pictures and settings; --iterations may give it more",
    )

    repeat = stylize.add_argument_group("repeating")
    add_settings_from(repeat)
    repeat.add_argument(
        "--no-metadata", action="store_true", help="store neither settings nor the content's EXIF in the picture"
    )

    files = stylize.add_argument_group("files and watching")
    files.add_argument("--overwrite", action="store_true", help="replace files that exist")
    files.add_argument(
        "--save-every",
        metavar="N",
        type=count,
        help="also keep the picture every N iterations, as OUTPUT_0000 and so on",
    )
    files.add_argument(
        "--history", metavar="FILE", type=file_name, help="write the costs of every iteration to this CSV file"
    )
    files.add_argument(
        "--plot", metavar="FILE.png", type=file_name, help="plot the costs on a logarithmic scale after the run"
    )
    files.add_argument(
        "--log-dir", metavar="DIR", type=file_name, default="log", help="folder for TensorBoard logs (log)"
    )
    files.add_argument("--no-log", action="store_true", help="write no TensorBoard log")
    add_no_memory_check(files)
