"""The table of a batch, `batch.csv` beside its pictures: a row for each, which says what made it and what came out.

The table is also a table of pairs (`nst_graph.worklist.read_pairs`): it asks for the pictures that are in it.

Spreadsheets take a cell for a formula that begins with `=`, `+`, `-` or `@`. So a path that begins like that has a `./`
in front, which leads to the same file and is taken away when the table is read.
"""

import contextlib
import csv
import dataclasses
import io
import logging
import os
import re
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from nst_graph import __version__
from nst_graph.csv_rows import AppendedRows
from nst_graph.errors import OutputError, SettingError, one_line
from nst_graph.files import Repeated, check_file, real_path, real_paths
from nst_graph.picture_files import open_file
from nst_graph.record import NAMES, File, Record
from nst_graph.settings import EVERYWHERE, OPTIONS, Settings, constant_name, from_options, from_words, word_of
from nst_graph.worklist import RESULT_COLUMNS, Item, is_batch_table

logger = logging.getLogger(__name__)

#: Name of the file in the output folder.
FILE_NAME = "batch.csv"

#: Cells of a row by the name of their column, without columns in which it has none. Further styles and their masks have
#: columns of the same name.
Row = Dict[str, List[str]]

#: Bytes of a table. That of a hundred thousand pictures has about 60 MB.
_LARGEST_TABLE = 1_000_000_000

_FIELDS = {field.name: field for field in dataclasses.fields(Settings) if field.name in NAMES}

#: Columns of the settings, by attribute of `Settings`: options are called as the command calls them.
_COLUMNS = {name: (field.metadata["option"].lstrip("-") or name.replace("_", "-")) for name, field in _FIELDS.items()}

#: Constants that are written though they have the default of `Settings`: the command has another one.
_ALWAYS = ("size", "strips")

#: How often each column is there at least. Constants that are no option are rarely other ones than the article's.
_FEWEST = {
    **{"content": 1, "style": 1, "style-mask": 0, "output": 1},
    **{column: int("--" + column in OPTIONS) for column in _COLUMNS.values()},
    **dict.fromkeys(RESULT_COLUMNS, 1),
}

#: What a text must not begin with in a cell, or be: a formula, or a word that means something else.
_GUARDED = re.compile(rf"(\./)*([=+\-@\t\r]|(None|{EVERYWHERE})\Z)")

#: What stands for the SHA-256 of a picture that is not there.
_NO_HASH = "-"


class Outcome(NamedTuple):
    """What came out of a picture's run; None is what is not known.

    Attributes
    ----------
    width, height : int
        Of the picture, in pixels.
    iterations_done : int
        Training steps of all stages.
    seconds : float
        From the beginning of the picture's run to its file.
    total_cost, content_cost, style_cost, total_variation_cost : float
        After the last step.
    worker : str
        Which process of a cluster has made it.
    error : str
        Why there is no picture; "" if there is one.
    """

    width: Optional[int] = None
    height: Optional[int] = None
    iterations_done: Optional[int] = None
    seconds: Optional[float] = None
    total_cost: Optional[float] = None
    content_cost: Optional[float] = None
    style_cost: Optional[float] = None
    total_variation_cost: Optional[float] = None
    worker: str = ""
    error: str = ""


def planned_record(item: Item, settings: Settings) -> Record:
    """Return the record of a picture that could not be made because its pictures were not read: without SHA-256.

    Parameters
    ----------
    item : Item
        The picture.
    settings : Settings
        All its constants; `generated_img_path` is its file.
    """
    styles = item.styles
    return Record(
        settings={name: getattr(settings, name) for name in NAMES},
        content=File(item.content, ""),
        styles=tuple(File(str(style.picture), "") for style in styles),
        weights=tuple(float(style.weight) for style in styles),
        masks=tuple(None if style.mask is None else File(str(style.mask), "") for style in styles),
        init=None,
        output=settings.generated_img_path,
        versions={"nst_graph": __version__},
    )


def row_of(record: Record, outcome: Outcome) -> Row:
    """Return the row of a picture.

    Parameters
    ----------
    record : Record
        What made it, or was to make it. Its output is the path that the row has.
    outcome : Outcome
        What came out.

    Returns
    -------
    dict
        Constants that have the default of `Settings` are empty, but for the size and the strips. Costs are not rounded.
    """
    masks = [EVERYWHERE if mask is None else _path_cell(mask.path) for mask in record.masks]
    files = [record.content, *record.styles, *record.masks, record.init]
    error = one_line(outcome.error)
    results = {
        **{name: "" if value is None else str(value) for name, value in outcome._asdict().items()},
        "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        "sha256": " ".join((file and file.sha256) or _NO_HASH for file in files),
        "error": " " + error if _GUARDED.match(error) else error,
    }
    row = {
        "content": [_path_cell(record.content.path)],
        "style": [_style_cell(style.path, weight) for style, weight in zip(record.styles, record.weights)],
        "style-mask": masks if any(mask is not None for mask in record.masks) else [],
        "output": [_path_cell(record.output)],
        **{column: [_setting_cell(name, record)] for name, column in _COLUMNS.items()},
        **{name: [cell] for name, cell in results.items()},
    }
    return {name: cells for name, cells in row.items() if any(cells)}


def _path_cell(path: Optional[str]) -> str:
    return _guarded(path or "")


def _style_cell(path: Optional[str], weight: float) -> str:
    cell = _path_cell(path)
    return cell if cell and ":" not in cell and weight == 1 else f"{cell}:{weight}"


def _setting_cell(name: str, record: Record) -> str:
    field, value = _FIELDS[name], record.settings[name]
    if value == field.default and name not in _ALWAYS:
        return ""
    return _guarded(value) if field.metadata["text"] and isinstance(value, str) else word_of(field, value)


def _guarded(text: str) -> str:
    return "./" + text if _GUARDED.match(text) else text


def _unguarded(cell: str) -> str:
    return cell[2:] if cell.startswith("./") and _GUARDED.match(cell) else cell


def record_of_row(row: Row) -> Record:
    """Return the record of the picture that a row is of.

    Parameters
    ----------
    row : dict
        From `row_of`, perhaps edited.

    Returns
    -------
    Record
        What `Record.difference_from` compares is as it was.

    Raises
    ------
    SettingError
        If no picture was made, or a cell has no valid value.
    """
    if _cell(row, "error").strip():
        raise SettingError("the picture was not made")
    styles = [_style_of(cell) for cell in row.get("style", []) if cell]
    count = len(styles)
    hashes = _cell(row, "sha256").split(" ")
    if not styles or len(hashes) != 2 * count + 2 or _NO_HASH in hashes[: 1 + count]:
        raise SettingError(f"the row has not the SHA-256 of all pictures, but {_cell(row, 'sha256')!r}")
    masks = [*row.get("style-mask", []), *[""] * count][:count]
    standard = Settings(**_settings_of(row))
    init = None if standard.init is None else standard.init
    return Record(
        settings={name: getattr(standard, name) for name in NAMES},
        content=File(_unguarded(_cell(row, "content")) or None, hashes[0]),
        styles=tuple(File(path, found) for (path, _), found in zip(styles, hashes[1:])),
        weights=tuple(weight for _, weight in styles),
        masks=tuple(
            None if found == _NO_HASH else File(_unguarded(mask) or None, found)
            for mask, found in zip(masks, hashes[1 + count :])
        ),
        init=None if hashes[-1] == _NO_HASH else File(init, hashes[-1]),
        output=_unguarded(_cell(row, "output")) or None,
        versions=dict(_version(text) for text in _cell(row, "versions").split(", ") if text),
    )


def _cell(row: Row, column: str) -> str:
    return (row.get(column) or [""])[0]


def _style_of(cell: str) -> Tuple[Optional[str], float]:
    path, colon, weight = cell.rpartition(":")
    if not colon:
        return _unguarded(cell), 1.0
    try:
        return _unguarded(path) or None, float(weight)
    except ValueError:
        raise SettingError(f"the style {cell!r} has no weight behind its last colon") from None


def _version(text: str) -> Tuple[str, str]:
    name, _, version = text.rpartition(" ")
    return name, version


def _settings_of(row: Row) -> Dict[str, Any]:
    values: Dict[str, Any] = {}
    for name, field in _FIELDS.items():
        cell = _cell(row, _COLUMNS[name])
        if not cell:
            continue
        if field.metadata["text"]:
            values[name] = None if cell == "None" else field.metadata["check"](name, _unguarded(cell))
        elif field.metadata["option"]:
            values.update(from_options({field.metadata["option"]: cell}))
        else:
            values[name] = getattr(from_words([f"{constant_name(field)}={cell}"], {}), name)
    return values


class BatchTable:
    """The file with the rows of all pictures in an output folder.

    Paths of outputs in it are relative to its own folder where they lie in it. A row is written by one call when its
    picture is done. If that fails, one line says so, and what is missing is written with the next row. Rows that
    another process adds meanwhile stay; columns that no batch writes do not.

    Parameters
    ----------
    path : str
        The file; it need not be there. It is read and not changed.

    Raises
    ------
    OutputError
        If the file cannot be read, or no batch has written it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._folder = os.path.dirname(path)
        self._repeated = Repeated()
        self._file = AppendedRows(path)
        self._own: Set[str] = set()  # pictures of this call, by their real paths
        self._rows, lost = self._read()
        if lost:
            logger.warning("rows of %r that cannot be read: %d; their pictures may be made again", path, lost)
        self._count = dict(_FEWEST)
        self._laid: List[List[str]] = []  # the rows as the file has them

    def row(self, output: str) -> Optional[Row]:
        """Return the row of a picture by its file, None if there is none."""
        return self._rows.get(real_path(output))

    def record(self, output: str) -> Optional[Record]:
        """Return what made a picture by its file, None if there is no row that says it."""
        row = self.row(output)
        if row is None:
            return None
        try:
            return record_of_row(row)
        except SettingError:
            return None

    def begin(self, outputs: Iterable[str]) -> None:
        """Leave out the rows of the pictures that are to be made now, and write the file.

        From now on no row says that the file of such a picture is there, whatever ends the program.

        Parameters
        ----------
        outputs : iterable of str
            Files of the pictures.

        Raises
        ------
        OutputError
            If the file can never be written: no permission, or a folder in its place.
        """
        check_file(self._path)
        self._own = set(real_paths(outputs))
        for output in self._own & self._rows.keys():
            del self._rows[output]
        self._file = AppendedRows(self._path)
        self._write()

    def add(self, record: Record, outcome: Outcome) -> None:
        """Write the row of a picture, which is done or has failed.

        Parameters
        ----------
        record : Record
            What made it; `output` is its file.
        outcome : Outcome
            What came out.
        """
        assert record.output is not None
        output = real_path(record.output)
        row = row_of(record._replace(output=self._relative(record.output)), outcome)
        again = output in self._rows
        self._own.add(output)
        self._rows[output] = row
        if again or not self._fits(row):
            self._lay_all()
        else:
            self._laid.append(self._lay(row))
        self._write()

    def close(self) -> None:
        """Try once more to write what could not be written; one line says if it is missing for good."""
        if self._repeated.failing:
            self._write()
            if self._repeated.failing:
                logger.warning("the table %r lacks pictures of this batch; a second call makes those again", self._path)

    def _relative(self, output: str) -> str:
        path, folder = os.path.abspath(output), os.path.join(os.path.abspath(self._folder), "")
        return path[len(folder) :] if path.startswith(folder) else path

    def _write(self) -> None:
        self._repeated.attempt(f"the table {self._path!r}", self._write_rows)

    def _write_rows(self) -> None:
        if self._file.is_changed:
            # By another process, which knows best of its own pictures. What is no table any more is replaced.
            with contextlib.suppress(OutputError):
                found, _ = self._read()
                if found:
                    others = {output: row for output, row in found.items() if output not in self._own}
                    own = {output: row for output, row in self._rows.items() if output in self._own}
                    self._rows = {**others, **own}
            self._lay_all()
        self._file.write([name for name, count in self._count.items() for _ in range(count)], self._laid)

    def _lay_all(self) -> None:
        self._file = AppendedRows(self._path)
        for row in self._rows.values():
            for name, cells in row.items():
                self._count[name] = max(self._count[name], len(cells))
        self._laid = [self._lay(row) for row in self._rows.values()]

    def _fits(self, row: Row) -> bool:
        return all(len(cells) <= self._count[name] for name, cells in row.items())

    def _lay(self, row: Row) -> List[str]:
        return [cell for name, count in self._count.items() for cell in [*row.get(name, []), *[""] * count][:count]]

    def _read(self) -> Tuple[Dict[str, Row], int]:
        """Return the rows of the file by the real paths of the pictures, and how many could not be read."""
        if not os.path.exists(self._path):
            return {}, 0
        with open_file(self._path, "table", OutputError) as file:
            try:
                data = file.read(_LARGEST_TABLE + 1)
            except OSError as error:
                raise OutputError(f"the table {self._path!r} cannot be read: {error.strerror}") from error
        if not data:
            return {}, 0
        found = _rows_in(data) if len(data) <= _LARGEST_TABLE else None
        if found is None:
            raise OutputError(
                f"{self._path!r} is no table that a batch has written; move the file, or name another output folder"
            )
        rows, lost = found
        outputs = real_paths(os.path.join(self._folder, _unguarded(_cell(row, "output"))) for row in rows)
        return dict(zip(outputs, rows)), lost


def _rows_in(data: bytes) -> Optional[Tuple[List[Row], int]]:
    """Return the rows in the bytes of a table, and how many could not be read; None if it is no table of a batch."""
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", "surrogateescape", newline="")
    reader = csv.reader(text, skipinitialspace=True)
    try:
        names = [name.strip() for name in next(reader)]
    except (csv.Error, StopIteration):
        return None
    if not is_batch_table(names):
        return None
    rows: List[Optional[Row]] = []  # None is a row that cannot be read
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error:
            cells = [""]
        if cells:
            rows.append(_whole_row(names, cells))
    if rows and not data.endswith(b"\n"):
        rows[-1] = None  # a process that was killed has written a part of it
    whole = [row for row in rows if row is not None]
    return whole, len(rows) - len(whole)


def _whole_row(names: Sequence[str], cells: Sequence[str]) -> Optional[Row]:
    row: Row = {}
    for name, cell in zip(names, cells):
        if name in _FEWEST:
            row.setdefault(name, []).append(cell)
    if len(cells) != len(names) or _cell(row, "output") == "" or "\0" in _cell(row, "output"):
        return None
    return {name: found for name, found in row.items() if any(found)}
