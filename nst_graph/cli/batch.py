"""`nst-graph batch`: every content with every style, or a table of pairs; here or on the workers of a cluster."""

import argparse
import dataclasses
import functools
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Sequence

from nst_graph.cli.constants import (
    DEFAULT_NAME,
    add_constants,
    add_no_memory_check,
    add_settings_from,
    given_constants,
    settings_for,
)
from nst_graph.cli.pending import Picture, to_do
from nst_graph.cli.show import stored_record
from nst_graph.cli.words import file_name, sentence, whole_number
from nst_graph.errors import ClusterError, NSTGraphError, SettingError
from nst_graph.files import check_file, check_folder
from nst_graph.program import interruptible, note_unprinted
from nst_graph.runtimes import choose_runtime
from nst_graph.settings import INIT_WORDS, Settings, keyword_names, with_preset

if TYPE_CHECKING:
    from nst_graph.batch_table import BatchTable, Outcome
    from nst_graph.observers import Observer, Run
    from nst_graph.painter import Job, Result
    from nst_graph.record import Record
    from nst_graph.worklist import Item

logger = logging.getLogger(__name__)

#: Exit status of a batch in which pictures failed.
_SOME_FAILED = 1


def _items(arguments: argparse.Namespace) -> "List[Item]":
    """Return what is to be made, before any picture is read."""
    from nst_graph.worklist import crossed, read_pairs

    styles = [word for words in arguments.styles for word in words]
    if arguments.pairs is not None:
        for given, what in ((arguments.contents, "CONTENTS"), (styles, "--style"), (arguments.mask, "--style-mask")):
            if given:
                raise SettingError(f"{what} has no effect with --pairs: the table has the pictures")
        return read_pairs(arguments.pairs)
    if not arguments.contents and len(styles) > 1:
        raise SettingError("a batch takes CONTENTS: name them before --style, which takes all words that follow it")
    if not arguments.contents or not styles:
        raise SettingError("a batch takes CONTENTS and --style, or --pairs; for help: nst-graph batch --help")
    return crossed(arguments.contents, styles, arguments.mask, arguments.output)


def _pictures(arguments: argparse.Namespace) -> List[Picture]:
    """Return the pictures with their settings and files, all checked."""
    from nst_graph.worklist import output_of

    record = None if arguments.settings_from is None else stored_record(arguments.settings_from)
    common = given_constants(arguments)

    def settings_of(item: "Item") -> Settings:
        chosen = with_preset(item.preset or arguments.preset, {**common, **item.given})
        settings = settings_for(chosen, record)
        if settings.init is None:
            raise SettingError("the run started from a picture that was no file; name one with --init")
        return settings

    of_most = None
    pictures = []
    for item in _items(arguments):
        try:
            if item.given or item.preset:
                settings = settings_of(item)
            else:
                settings = of_most = of_most or settings_of(item)
            names = [
                None if pattern is None else output_of(item._replace(output=own), pattern, settings, arguments.output)
                for pattern, own in ((arguments.name, item.output), (arguments.history, None), (arguments.plot, None))
            ]
        except SettingError as error:
            if not item.place or str(error).startswith(item.place):
                raise
            raise SettingError(f"{item.place}: {error}") from error
        assert names[0] is not None
        pictures.append(Picture(item, settings, names[0], names[1], names[2]))
    return pictures


def _check_outputs(arguments: argparse.Namespace, pictures: List[Picture], table: str) -> None:
    """Find what could not be written after hours, before the first picture begins."""
    # Imported here because --help needs no OpenCV.
    from nst_graph import figures, images
    from nst_graph.weights import files_of
    from nst_graph.worklist import check_distinct

    items = [picture.item for picture in pictures]
    outputs = [picture.output for picture in pictures]
    histories = [picture.history for picture in pictures if picture.history is not None]
    plots = [picture.plot for picture in pictures if picture.plot is not None]
    files = [*outputs, *histories, *plots]
    read = {str(picture.settings.init) for picture in pictures} - set(INIT_WORDS)
    for weights in {str(picture.settings.weights) for picture in pictures}:
        read.update(files_of(weights))
    read.update(path for path in (arguments.pairs, arguments.settings_from) if path is not None)
    check_distinct(files, items * (len(files) // len(items)), [*read, table])
    # What may fail is the folder or the extension: one file for each pair of both stands for the others.
    for kind, paths in (("picture", outputs), ("history", histories), ("plot", plots)):
        for path in {(os.path.dirname(path), os.path.splitext(path)[1]): path for path in paths}.values():
            if kind == "picture":
                images.check_output(path, (16, 16))
            else:
                check_file(path)
            if kind == "plot":
                figures.check_plot(path)
    check_file(table)
    if arguments.log_dir is not None:
        check_folder(arguments.log_dir, [table])


def _work(settings: Settings) -> float:
    """Return how long a picture takes beside others: time is proportional to pixels and iterations."""
    longest = settings.size if isinstance(settings.size, int) else max(settings.size)
    stages = settings.stages or ((longest, settings.iterations),)
    return float(sum(side * side * iterations for side, iterations in stages)) + 1.0


class _Results:
    """Takes the results of a batch: writes each picture with its row, and prints a line.

    Parameters
    ----------
    arguments : argparse.Namespace
        The command line.
    pictures : sequence of Picture
        What is made, in order.
    table : BatchTable
        Gets a row for each.
    """

    def __init__(self, arguments: argparse.Namespace, pictures: Sequence[Picture], table: "BatchTable") -> None:
        from nst_graph.observers import BatchBar

        self._arguments, self._pictures, self._table = arguments, pictures, table
        self._bar = BatchBar([_work(picture.settings) for picture in pictures]) if sys.stderr.isatty() else None
        self._count = 0
        self.failed: Dict[str, str] = {}

    @property
    def left(self) -> int:
        """How many pictures have no result yet."""
        return len(self._pictures) - self._count

    def __enter__(self) -> "_Results":
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._bar is not None:
            self._bar.__exit__(*exception)

    def observers(self, job: "Job") -> "List[Observer]":
        """Return what watches the run of a picture in this process."""
        from nst_graph.observers import TensorBoard

        arguments, picture = self._arguments, self._pictures[job.name]
        watching: List[Observer] = [] if self._bar is None else [self._bar.next(job.name)]
        if arguments.save_every:
            watching.append(self._numbered(picture.output))
        if arguments.log_dir is not None:
            watching.append(TensorBoard(arguments.log_dir, picture.settings.log_pictures_every))
        return watching

    def _numbered(self, output: str) -> "Observer":
        """Return what keeps a picture as it develops. Each says what made it, so that a second call may replace it."""
        from nst_graph import metadata
        from nst_graph.observers import NumberedPictures
        from nst_graph.record import to_text

        class Numbered(NumberedPictures):
            def begin(self, run: "Run") -> None:
                text = to_text(run.record._replace(output=output))
                self._write = functools.partial(metadata.write, text=text, carried=metadata.Carried(b"", b""))

        kind = NumberedPictures if self._arguments.no_metadata else Numbered
        return kind(output, self._arguments.save_every)

    def take(self, result: "Result") -> None:
        """Write what came of a picture."""
        picture = self._pictures[result.job.name]
        error = result.error
        if error is None:
            try:
                self._write(result, picture)
            except NSTGraphError as failure:
                error = failure
        self._count += 1
        if error is not None:
            self.failed[picture.output] = str(error)
        self._table.add(_record(result, picture), _outcome(result, error))
        costs = "".join(f"{name.label.lower()} {cost:.2e}, " for name, cost in result.costs.terms.items())
        what = f"{costs}{result.seconds:.1f} s" if error is None else f"failed: {error}"
        self._print(f"[{self._count}/{len(self._pictures)}] {picture.output}: {what}")
        if self._bar is not None:
            self._bar.finish(result.job.name)

    def _write(self, result: "Result", picture: Picture) -> None:
        from nst_graph import figures, metadata
        from nst_graph.csv_rows import to_bytes
        from nst_graph.images import write_bytes, write_picture
        from nst_graph.observers import history_columns
        from nst_graph.record import to_text
        from nst_graph.saving import save_last

        assert result.picture is not None and result.record is not None and result.carried is not None
        text, carried = to_text(result.record._replace(output=picture.output)), result.carried

        write = functools.partial(metadata.write, text=text, carried=carried)
        save_last(result.picture, picture.output, write_picture if self._arguments.no_metadata else write)
        if picture.history is not None:
            write_bytes(to_bytes([history_columns(result.cost_names), *result.history]), picture.history)
        if picture.plot is not None:
            figures.plot_costs(result.cost_names, result.history, picture.plot)

    def _print(self, line: str) -> None:
        if self._bar is not None:
            self._bar.print(line)
        else:
            print(line, flush=True)


def _record(result: "Result", picture: Picture) -> "Record":
    from nst_graph.batch_table import planned_record

    if result.record is not None:
        return result.record._replace(output=picture.output)
    return planned_record(picture.item, dataclasses.replace(picture.settings, generated_img_path=picture.output))


def _outcome(result: "Result", error: Optional[Exception]) -> "Outcome":
    from nst_graph.batch_table import Outcome

    if error is not None or result.picture is None:
        return Outcome(seconds=round(result.seconds, 3), worker=result.worker, error=str(error))
    height, width = result.picture.shape[:2]
    costs = {f"{name}_cost": cost for name, cost in result.costs.terms.items()}
    return Outcome(
        width=width,
        height=height,
        iterations_done=len(result.history),
        seconds=round(result.seconds, 3),
        worker=result.worker,
        **costs,
    )


def _constants(settings: Settings) -> Dict[str, Any]:
    """Return the constants of a job in which settings differ from the defaults."""
    standard = Settings()
    names = [name for name in keyword_names() if name not in ("weights", "threads")]
    chosen = {name: getattr(settings, name) for name in names if getattr(settings, name) != getattr(standard, name)}
    return {**chosen, "init": settings.init}


def _batch(arguments: argparse.Namespace) -> None:
    # Imported here because --help needs neither OpenCV nor TensorFlow.
    from nst_graph.batch_table import FILE_NAME, BatchTable

    pictures = _pictures(arguments)
    if arguments.scheduler is not None:
        for given, option in ((arguments.save_every, "--save-every"), (arguments.log_dir, "--log-dir")):
            if given is not None:
                raise SettingError(f"{option} has no effect with --scheduler: only pictures come back; leave it out")
        from nst_graph import cluster

        cluster.check()
    else:
        choose_runtime()
    table_path = os.path.join(arguments.output, FILE_NAME)
    _check_outputs(arguments, pictures, table_path)
    table = BatchTable(table_path)
    missing, refused = to_do(pictures, table, arguments.overwrite, arguments.save_every)
    there = len(pictures) - len(missing) - len(refused)
    if there:
        logger.info("%d of %d pictures are there already, made with these settings", there, len(pictures))
    table.begin(picture.output for picture in missing)
    with interruptible() as interruption, _Results(arguments, missing, table) as results:
        try:
            _make(arguments, missing, results, interruption.asked)
        except ClusterError as error:
            raise ClusterError(f"{error}; {_left(results, pictures)}") from error
        finally:
            table.close()
    failed = {**refused, **results.failed}
    for output, reason in failed.items():
        logger.error("%s: %s", output, reason)
    if interruption.asked():
        logger.warning("stopped; %s", _left(results, pictures))
        interruption.end()
    note_unprinted()
    if failed:
        logger.error("%d of %d pictures failed, see above and %s", len(failed), len(pictures), table_path)
        raise SystemExit(_SOME_FAILED)


def _left(results: _Results, pictures: Sequence[Picture]) -> str:
    return f"{results.left} of {len(pictures)} pictures are not made yet; the same command goes on"


def _make(
    arguments: argparse.Namespace, pictures: Sequence[Picture], results: _Results, stop: Callable[[], bool]
) -> None:
    """Make the pictures, those with the same weights together."""
    from nst_graph.batch import stylize_many
    from nst_graph.painter import Job

    def jobs(numbers: Sequence[int]) -> "Iterator[Job]":
        for number in numbers:
            item, settings = pictures[number].item, pictures[number].settings
            yield Job(item.content, list(item.styles), _constants(settings), number)

    by_weights: Dict[str, List[int]] = {}
    for number, picture in enumerate(pictures):
        by_weights.setdefault(str(picture.settings.weights), []).append(number)
    for weights, numbers in by_weights.items():
        if stop():
            return
        made = stylize_many(
            jobs(numbers),
            weights=weights,
            threads=pictures[numbers[0]].settings.threads,
            scheduler=arguments.scheduler,
            memory_check=not arguments.no_memory_check,
            observers=results.observers,
            stop=stop,
        )
        for result in made:
            results.take(result)


def add_to(commands: Any) -> None:
    """Add the subcommand to those of a parser."""
    about = "paint many pictures: every content with every style, or the pairs of a table"
    batch = commands.add_parser("batch", help=about, description=sentence(about))
    batch.add_argument(
        "contents", metavar="CONTENTS", nargs="*", help="picture files, folders or patterns like 'a/*.jpg'"
    )
    what = batch.add_argument_group("which pictures")
    what.add_argument(
        "--style",
        dest="styles",
        metavar="FILE_OR_FOLDER",
        nargs="+",
        action="append",
        default=[],
        help="style pictures likewise; every content is painted in each of them",
    )
    what.add_argument(
        "--style-mask",
        dest="mask",
        metavar="FILE",
        type=file_name,
        help="where the style is asked for, in all pictures",
    )
    what.add_argument(
        "--pairs",
        metavar="FILE.csv",
        type=file_name,
        help="table with the columns content, style, output, and any option of this command for pictures of their own",
    )
    what.add_argument(
        "--output", metavar="FOLDER", type=file_name, required=True, help="folder of the pictures, and of batch.csv"
    )
    what.add_argument(
        "--name",
        metavar="PATTERN",
        type=file_name,
        default=DEFAULT_NAME,
        help=f"names of the pictures: fields are content, style, content_type, content_folder and all options "
        f"({DEFAULT_NAME})",
    )
    where = batch.add_argument_group("a cluster")
    where.add_argument(
        "--scheduler",
        metavar="tcp://HOST:PORT|FILE",
        type=file_name,
        help="make the pictures on the workers of a Dask cluster: address of its scheduler, or its scheduler file",
    )
    add_constants(batch)
    repeat = batch.add_argument_group("repeating")
    add_settings_from(repeat)
    repeat.add_argument(
        "--no-metadata", action="store_true", help="store neither settings nor the content's EXIF in the pictures"
    )
    files = batch.add_argument_group("files and watching")
    files.add_argument(
        "--overwrite",
        action="store_true",
        help="make all pictures again, and replace files that are no pictures of a batch",
    )
    files.add_argument(
        "--save-every",
        metavar="N",
        type=whole_number(1, 999_999_999),
        help="also keep each picture every N iterations, as NAME_0000 and so on",
    )
    files.add_argument(
        "--history",
        metavar="PATTERN.csv",
        type=file_name,
        help="write the costs of every iteration, for each picture to a file with a name like that of --name",
    )
    files.add_argument("--plot", metavar="PATTERN.png", type=file_name, help="plot the costs of each picture likewise")
    files.add_argument(
        "--log-dir", metavar="DIR", type=file_name, help="folder for TensorBoard logs; without it there are none"
    )
    add_no_memory_check(files)
    batch.set_defaults(run=_batch)
