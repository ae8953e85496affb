"""Which pictures a batch makes: from files, folders, patterns, or a table of pairs; and what they are called.

No TensorFlow, and no picture is read.
"""

import collections
import csv
import fnmatch
import functools
import glob
import io
import logging
import os
import pathlib
import string
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from nst_graph.errors import OutputError, PictureError, SettingError, shown
from nst_graph.files import real_path, real_paths
from nst_graph.inputs import Style, check_weights, style_from_word
from nst_graph.picture_files import EXTENSIONS, open_file
from nst_graph.settings import EVERYWHERE, INIT_WORDS, OPTIONS, Settings, from_options, near_names, with_preset, word_of

logger = logging.getLogger(__name__)

#: Columns of a batch's own table that say what came out. A table of pairs may have them; they ask for nothing.
RESULT_COLUMNS = (
    *("width", "height", "iterations_done", "seconds"),
    *("total_cost", "content_cost", "style_cost", "total_variation_cost"),
    *("worker", "versions", "sha256", "error"),
)

#: Columns of a table of pairs that are no options.
_PICTURE_COLUMNS = ("content", "style", "style-mask", "output", "preset")

#: Columns that a table may have more than once, for further styles.
_REPEATED = ("style", "style-mask")

#: Options that cannot be other ones for each picture, and why.
_FOR_ALL = {"--threads": "is one for the whole batch; give it as an option of the command"}

#: Bytes and pictures of a table of pairs. A hundred thousand pictures with all options have about 50 MB.
_LARGEST_TABLE, _MOST_PICTURES = 200_000_000, 1_000_000

#: Characters of a line in it. A path has 4096 at most.
_LONGEST_LINE = 1_000_000


class Item(NamedTuple):
    """A picture that is to be made.

    Attributes
    ----------
    content : str
        The content picture's path.
    styles : tuple of Style
        The styles: paths, weights, paths of masks.
    subfolder : str
        Folder below the output folder; "" is the output folder itself.
    output : str or None
        The file that a table of pairs names for it.
    given : dict
        Constants by attribute of `Settings` that a table of pairs has for this picture.
    preset : str or None
        One of `nst_graph.settings.PRESETS` likewise.
    place : str
        Where it comes from, for messages: `line 7 of 'pairs.csv'`; "" if it comes from no table.
    """

    content: str
    styles: Tuple[Style, ...]
    subfolder: str = ""
    output: Optional[str] = None
    given: Mapping[str, Any] = {}
    preset: Optional[str] = None
    place: str = ""


# Files, folders and patterns


class _Found(NamedTuple):
    """A picture file: its path, and the folder below a folder that was named, or below a pattern's fixed part."""

    path: str
    subfolder: str


def crossed(
    contents: Sequence[str], styles: Sequence[str], mask: Optional[str] = None, output_folder: str = ""
) -> List[Item]:
    """Return every content with every style, content after content.

    Parameters
    ----------
    contents, styles : sequence of str
        Each is a file, a folder or a pattern. Of a folder, all files below it count whose names end like a picture's.
        A pattern has `*`, `?`, `[...]`, or `**` for folders of any depth; it matches such files, and folders, of which
        then all such files count. Files of one folder are in the order of their names. Hidden files and folders are
        left out, unless a pattern says the dot; so is what lies in the output folder. The same file counts once.
    mask : str, optional
        The path of a mask for the style; None or `all` is the whole picture.
    output_folder : str
        Folder of the results; "" if there is none.

    Returns
    -------
    list of Item
        A content that was found below a folder has the same subfolder.

    Raises
    ------
    PictureError
        If a word leads to no picture.
    SettingError
        If there are more than a million of them.
    OutputError
        If a folder, or a pattern's fixed part, lies in the output folder. A second call would take the results for
        pictures.
    """
    found = _pictures(contents, "content", output_folder)
    masked = None if mask == EVERYWHERE else mask
    chosen = [(Style(style.path, 1.0, masked),) for style in _pictures(styles, "style", output_folder)]
    if len(found) * len(chosen) > _MOST_PICTURES:
        raise SettingError(
            f"{len(found)} contents with {len(chosen)} styles are more than {_MOST_PICTURES} pictures; make several "
            "batches of them"
        )
    return [Item(content.path, style, content.subfolder) for content in found for style in chosen]


def _pictures(words: Sequence[str], what: str, output_folder: str) -> List[_Found]:
    found = [picture for word in words for picture in _pictures_of(word, what, output_folder)]
    by_file: Dict[str, _Found] = {}
    for real, picture in zip(real_paths(picture.path for picture in found), found):
        by_file.setdefault(real, picture)
    return list(by_file.values())


def _pictures_of(word: str, what: str, output_folder: str) -> List[_Found]:
    """Return the pictures that one word names, in order."""
    try:
        exists = os.path.exists(word)
    except ValueError:  # a null character, in Python 3.7
        exists = False
    is_pattern = not exists and glob.has_magic(word)
    if exists and not os.path.isdir(word):
        return [_Found(word, "")]
    if not exists and not is_pattern:
        raise PictureError(f"there is no {what} {word!r}; name a picture file, a folder of pictures or a pattern")
    base, parts = _split_pattern(word) if is_pattern else (word, [])
    if output_folder:
        _check_outside(base, output_folder, what)
    start = len(os.path.join(base, ""))
    pictures = [_Found(path, os.path.dirname(path[start:])) for path in _Search(output_folder).matches(base, parts)]
    if not pictures:
        how = "matches no picture" if is_pattern else "has no picture in it"
        raise PictureError(f"{word!r} {how}; pictures end in {', '.join(sorted(EXTENSIONS))}")
    return pictures


def _split_pattern(word: str) -> Tuple[str, List[str]]:
    """Return the folder of a pattern that is fixed, and the parts below it."""
    parts = list(pathlib.PurePath(word).parts)
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    if os.pardir in parts[fixed:]:
        raise PictureError(f"the pattern {word!r} has `..` behind its first `*`, `?` or `[`; write it without")
    return os.path.join("", *parts[:fixed]), parts[fixed:]


def _check_outside(folder: str, output_folder: str, what: str) -> None:
    inside, outside = real_path(folder or os.curdir), real_path(output_folder)
    # Styles may lie in a folder of their own in the output folder: nothing is written there.
    if inside == outside or (what == "content" and inside.startswith(os.path.join(outside, ""))):
        where = "is" if inside == outside else "lies in"
        raise OutputError(
            f"the folder of the {what} pictures, {folder or os.curdir!r}, {where} the output folder {output_folder!r}: "
            "the results would be taken for pictures the next time; name another output folder"
        )


class _Search:
    """Finds pictures below a folder. A walk goes through each folder once, so that a loop of links comes to an end."""

    def __init__(self, output_folder: str) -> None:
        self._output = _identity(output_folder) if output_folder else None

    def matches(self, folder: str, parts: Sequence[str]) -> Iterator[str]:
        """Yield the pictures below a folder whose path below it matches the parts of a pattern; all without parts."""
        if not parts or list(parts) == ["**"]:
            for inner, entries in self._walk(folder):
                yield from (os.path.join(inner, name) for name, is_folder in entries if _is_file(name, is_folder))
            return
        part, rest = parts[0], parts[1:]
        if part == "**":
            for inner, _ in self._walk(folder):
                yield from self.matches(inner, rest)
            return
        if glob.has_magic(part):
            # The name of a hidden file is matched by a pattern that begins with a dot.
            entries = [entry for entry in _entries(folder, part.startswith(".")) if fnmatch.fnmatch(entry[0], part)]
        else:
            path = os.path.join(folder, part)
            entries = [(part, os.path.isdir(path))] if os.path.lexists(path) else []
        for name, is_folder in entries:
            path = os.path.join(folder, name)
            if is_folder and not self._is_output(_identity(path)):
                yield from self.matches(path, rest)
            elif not rest and _is_file(name, is_folder):
                yield path

    def _walk(self, folder: str) -> Iterator[Tuple[str, List[Tuple[str, bool]]]]:
        """Yield a folder with its entries, and all folders below it but the output folder."""
        seen: Set[Tuple[int, int]] = set()
        waiting = [folder]
        while waiting:
            folder = waiting.pop()
            identity = _identity(folder or os.curdir)
            if identity is None or self._is_output(identity) or identity in seen:
                continue
            seen.add(identity)
            entries = _entries(folder)
            yield folder, entries
            waiting += [os.path.join(folder, name) for name, is_folder in reversed(entries) if is_folder]

    def _is_output(self, identity: Optional[Tuple[int, int]]) -> bool:
        return identity is not None and identity == self._output


def _identity(folder: str) -> Optional[Tuple[int, int]]:
    """Return what only this folder has, whatever path leads to it; None if there is no such folder."""
    try:
        status = os.stat(folder)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _entries(folder: str, hidden: bool = False) -> List[Tuple[str, bool]]:
    """Return names in a folder, each with whether it is a folder, in order."""
    try:
        with os.scandir(folder or os.curdir) as entries:
            found = [(entry.name, _is_folder(entry)) for entry in entries if hidden or not entry.name.startswith(".")]
    except OSError as error:
        logger.warning("the folder %r cannot be read (%s); its pictures are left out", folder, error.strerror)
        return []
    return sorted(found)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    # `is_dir` of a link that leads to itself raises.
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))


def _is_file(name: str, is_folder: bool) -> bool:
    return not is_folder and os.path.splitext(name)[1].lower() in EXTENSIONS


# A table of pairs


def read_pairs(path: str) -> List[Item]:
    """Return the pictures that a table of pairs asks for.

    Parameters
    ----------
    path : str
        Comma-separated values in UTF-8, with a row of names above. Columns: `content`; `style`, a file or FILE:WEIGHT;
        `style-mask`; `output`; `preset`; and the options of `nst-graph stylize` without the dashes in front, but for
        `threads`. Upper case does not matter, and `_` is `-`. Further columns `style` and `style-mask` are further
        styles of the same picture. A switch is True or False. An empty cell says nothing. Columns that a batch's own
        table has for its results say nothing either, so that such a table can be read.

    Returns
    -------
    list of Item
        A name that is not UTF-8 stands for the file that has these bytes as its name.

    Raises
    ------
    SettingError
        If the file cannot be read, is no such table, or asks for something that cannot be. The message has the line,
        the column and the value.
    """
    data = _bytes_of(path)
    rows = _rows(data, path)
    line, names = next(rows, (1, []))
    columns = [_column(name, line, path) for name in names]
    for column, count in collections.Counter(columns).items():
        if count > 1 and column and column not in _REPEATED:
            raise SettingError(
                f"line {line} of {path!r} has the column {column.lstrip('-')!r} {count} times; leave one"
            )
    for column in _PICTURE_COLUMNS[:2]:
        if column not in columns:
            raise SettingError(f"{path!r} has no column {column!r} (line {line}); the first line names the columns")
    read = _Reader(path, columns, names, data)
    items: List[Item] = []
    for line, cells in rows:
        if len(items) == _MOST_PICTURES:
            raise SettingError(f"{path!r} asks for more than {_MOST_PICTURES} pictures; make several tables of it")
        items.append(read.item(line, cells))
    if not items:
        raise SettingError(f"{path!r} asks for no picture: there is no row below the names of the columns")
    return items


def _bytes_of(path: str) -> bytes:
    with open_file(path, "table of pairs", SettingError) as file:
        try:
            length = file.seek(0, os.SEEK_END)
            file.seek(0)
            data = file.read(_LARGEST_TABLE + 1) if length <= _LARGEST_TABLE else b""
        except OSError as error:
            raise SettingError(f"the table of pairs {path!r} cannot be read: {error.strerror}") from error
    if max(length, len(data)) > _LARGEST_TABLE:
        raise SettingError(f"{path!r} has more than {_LARGEST_TABLE // 10**6} MB, more than a table of pairs may have")
    null = data.find(b"\0")
    if null >= 0:
        line = data.count(b"\n", 0, null) + 1
        raise SettingError(f"line {line} of {path!r} has a null character: save the table as CSV in UTF-8")
    return data


def _rows(data: bytes, path: str) -> Iterator[Tuple[int, List[str]]]:
    """Yield rows that are not blank, each with the number of its line."""
    reader = csv.reader(_lines(data, path), strict=True, skipinitialspace=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise SettingError(f"line {line} of {path!r} is not in comma-separated values: {error}") from None
        if any(map(str.strip, cells)):
            yield line, cells


def _lines(data: bytes, path: str) -> Iterator[str]:
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", "surrogateescape", newline="")
    for number, line in enumerate(text, start=1):
        if len(line) > _LONGEST_LINE:
            raise SettingError(f"line {number} of {path!r} has {len(line)} characters, more than a row of pairs has")
        yield line


#: Options by the names that a column can have.
_OPTION_COLUMNS = {
    name.lstrip("-").replace("_", "-"): option
    for option, field in OPTIONS.items()
    for name in (option, field.metadata["alias"])
    if name
}


def _column(name: str, line: int, path: str) -> str:
    """Return what a column is: one of `_PICTURE_COLUMNS`, an option, or "" where it says nothing."""
    word = name.strip().lower().replace("_", "-")
    if word in _PICTURE_COLUMNS:
        return word
    if not word or word in [column.replace("_", "-") for column in RESULT_COLUMNS]:
        return ""
    place = f"line {line} of {path!r}"
    if word in _OPTION_COLUMNS:
        option: str = _OPTION_COLUMNS[word]
        if option in _FOR_ALL:
            raise SettingError(f"{place}: the column {word!r} cannot be: it {_FOR_ALL[option]}")
        return option
    if ";" in word or "\t" in word:
        raise SettingError(f"{place}: there is no column {shown(name)}; commas must stand between the columns")
    known = [*_PICTURE_COLUMNS, *_OPTION_COLUMNS]
    raise SettingError(f"{place}: there is no column {shown(name)}; {near_names(word, known)}")


class _Reader:
    """Turns the rows of a table into the pictures that they ask for."""

    def __init__(self, path: str, columns: Sequence[str], names: Sequence[str], data: bytes) -> None:
        self._path, self._columns, self._names = path, columns, names
        # The values of a column are mostly the same few.
        self._values = functools.lru_cache(maxsize=1000)(lambda option, text: from_options({option: text}))
        self._is_own_table = is_batch_table(names)
        try:
            data.decode()
            self._is_utf8 = True
        except UnicodeDecodeError:
            self._is_utf8 = False

    def item(self, line: int, cells: Sequence[str]) -> Item:
        """Return the picture of a row."""
        place = f"line {line} of {self._path!r}"
        if any(map(str.strip, cells[len(self._columns) :])):
            raise SettingError(
                f"{place} has {len(cells)} cells, and there are {len(self._columns)} columns; "
                "a name with a comma in it must stand in quotes"
            )
        if self._is_own_table and len(cells) < len(self._columns):
            raise SettingError(f"{place} is cut: the batch that wrote it was stopped; remove the line")
        found: Dict[str, List[str]] = collections.defaultdict(list)
        given: Dict[str, Any] = {}
        for column, name, cell in zip(self._columns, self._names, cells):
            text = cell if cell.strip() else ""
            if text and not name.strip():
                raise SettingError(f"{place}: {shown(text)} stands in a column that has no name")
            if column in OPTIONS:
                if text:
                    given.update(self._checked(place, name, self._values, column, text))
            elif column == "preset" and text:
                self._checked(place, name, with_preset, text, {})
            found[column].append(text)
        content, output, preset = ((found[column] or [""])[0] for column in ("content", "output", "preset"))
        if not content:
            raise SettingError(f"{place} has no content")
        item = Item(content, self._styles(place, found), "", output or None, given, preset or None, place)
        if not self._is_utf8:
            _check_utf8(item, cells)
        return item

    @staticmethod
    def _checked(place: str, name: str, check: Any, *values: Any) -> Any:
        try:
            return check(*values)
        except SettingError as error:
            raise SettingError(f"{place}, column {name.strip()!r}: {error}") from None

    def _styles(self, place: str, found: Dict[str, List[str]]) -> Tuple[Style, ...]:
        words, masks = found["style"], found["style-mask"]
        styles = []
        for number, word in enumerate(words):
            mask = masks[number] if number < len(masks) else ""
            if word:
                styles.append(style_from_word(word)._replace(mask=None if mask in ("", EVERYWHERE) else mask))
            elif mask:
                raise SettingError(f"{place} has the mask {mask!r} in the place of a style that is not there")
        if any(masks[len(words) :]):
            raise SettingError(f"{place} has more masks than styles")
        if not styles:
            raise SettingError(f"{place} has no style")
        self._checked(place, "style", check_weights, styles)
        return tuple(styles)


def is_batch_table(names: Sequence[str]) -> bool:
    """Return whether a table with columns of these names was written by a batch. Such a table has whole rows only."""
    return set(RESULT_COLUMNS) <= {name.strip() for name in names}


def _check_utf8(item: Item, cells: Sequence[str]) -> None:
    """Refuse a row that is not UTF-8, unless a file has such a name: then its folder's names are not."""
    strange = [cell for cell in cells if not _is_text(cell)]
    paths = [path for path in (item.content, *(str(style.picture) for style in item.styles)) if not _is_text(path)]
    if strange and not any(map(os.path.exists, paths)):
        raise SettingError(f"{item.place}: {shown(strange[0])} is not UTF-8; save the table as CSV in UTF-8")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


# Names of results


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _type(path: str) -> str:
    return os.path.splitext(path)[1][1:]


def _folder(path: str) -> str:
    folder = os.path.dirname(path)
    name = os.path.basename(folder)
    if name in ("", os.curdir, os.pardir):
        name = os.path.basename(real_path(folder or os.curdir))
    return name or "_"


#: What stands for a picture in a name: the field, whether it is of the styles, and its value for a path.
_FIELDS: Dict[str, Tuple[bool, Callable[[str], str]]] = {
    "content": (False, _stem),
    "style": (True, _stem),
    "content_type": (False, _type),
    "style_type": (True, _type),
    "content_folder": (False, _folder),
    "style_folder": (True, _folder),
}

_OPTION_FIELDS = {name.replace("-", "_"): option for name, option in _OPTION_COLUMNS.items()}


def output_of(item: Item, pattern: str, settings: Settings, folder: str) -> str:
    """Return the file that a picture is to be written to.

    Parameters
    ----------
    item : Item
        The picture. Its own output holds, if it has one.
    pattern : str
        Its name, with fields in braces: `{content}` and `{style}` are the names of the files without folder and
        extension, several styles with a `+` between; `{content_type}`, `{style_type}` their extensions without the
        dot; `{content_folder}`, `{style_folder}` the folders that they lie in; and every option, like `{tv_weight}`, is
        its value. A `/` in the pattern makes a folder; a `/` in a value becomes a `_`. Braces are doubled: `{{`.
    settings : Settings
        All constants of the picture.
    folder : str
        The output folder. The item's own subfolder is in it.

    Raises
    ------
    SettingError
        If a field is unknown, the name has no extension, or it would leave the folder.
    """
    if item.output is not None:
        if _type(item.output) == "":
            raise SettingError(f"{item.place}: the output {item.output!r} has no extension; .png is one, for example")
        return os.path.join(folder, item.output)
    name = "".join(
        text + (_inside_a_name(_value(field, item, settings)) if field else "") for text, field in _parsed(pattern)
    )
    short = os.path.normpath(name)
    if os.path.isabs(name) or os.path.splitdrive(name)[0] or short.split(os.sep)[0] == os.pardir:
        raise SettingError(f"the name {pattern!r} leads to {name!r}, out of the output folder; name files in it")
    if _type(short) == "":
        raise SettingError(f"the name {pattern!r} has no extension: there would be {name!r}; let it end in .png")
    return os.path.join(folder, item.subfolder, short)


@functools.lru_cache(maxsize=8)
def _parsed(pattern: str) -> Tuple[Tuple[str, str], ...]:
    """Return the pieces of a pattern: text, and the field behind it; "" where there is none."""
    pieces = []
    try:
        # Python's own way to read such a pattern. Nothing is looked up in it: a field is a name, or it is refused.
        for text, field, form, conversion in string.Formatter().parse(pattern):
            if field is not None and (form or conversion):
                raise ValueError("a field has a name only")
            name = None if field is None else field.lower().replace("-", "_")
            if name is not None and name not in _FIELDS and name not in _OPTION_FIELDS:
                hint = near_names(name, [*_FIELDS, *_OPTION_FIELDS])
                raise SettingError(f"the name {pattern!r} has a field that is not there, {{{field}}}; {hint}")
            pieces.append((text, name or ""))
    except SettingError:
        raise
    except ValueError as error:
        raise SettingError(f"the name {pattern!r} has braces that are not those of a field ({error})") from None
    return tuple(pieces)


def _value(field: str, item: Item, settings: Optional[Settings]) -> str:
    if field in _FIELDS:
        of_styles, part = _FIELDS[field]
        paths = [str(style.picture) for style in item.styles] if of_styles else [item.content]
        return "+".join(map(part, paths))
    constant = OPTIONS[_OPTION_FIELDS[field]]
    return word_of(constant, getattr(settings, constant.name))


def _inside_a_name(value: str) -> str:
    for separator in filter(None, (os.sep, os.altsep)):
        value = value.replace(separator, "_")
    return value


def check_distinct(outputs: Sequence[str], items: Sequence[Item], others: Iterable[str] = ()) -> None:
    """Check that each picture of a batch has a file of its own, which no picture is made from.

    Parameters
    ----------
    outputs : sequence of str
        For each item its file.
    items : sequence of Item
        The pictures.
    others : iterable of str
        Files that the batch reads besides those of the items.

    Raises
    ------
    OutputError
        If two items have the same file, or an item's is one that the batch reads.
    """
    inputs = dict.fromkeys([*(path for item in items for path in _inputs(item)), *others])
    read = {os.path.normcase(real): path for real, path in zip(real_paths(inputs), inputs)}
    first: Dict[str, Item] = {}
    for real, output, item in zip(real_paths(outputs), outputs, items):
        file = os.path.normcase(real)
        if file in read:
            raise OutputError(
                f"{_called(item)} would be written to {output!r}, which the batch reads; name another output folder, "
                "or other names with --name"
            )
        if file in first:
            raise OutputError(
                f"{_called(first[file])} and {_called(item)} would both be written to {output!r}; "
                + _remedy(first[file], item)
            )
        first[file] = item


def _inputs(item: Item) -> Iterator[str]:
    yield item.content
    for style in item.styles:
        yield str(style.picture)
        if style.mask is not None:
            yield str(style.mask)
    init = item.given.get("init")
    if init is not None and init not in INIT_WORDS:
        yield init


def _called(item: Item) -> str:
    styles = " and ".join(repr(str(style.picture)) for style in item.styles)
    return f"{item.content!r} with {styles}" + (f" ({item.place})" if item.place else "")


def _remedy(one: Item, other: Item) -> str:
    """Return what to do about two pictures of the same name."""
    if one.output is not None or other.output is not None:
        return "name different files in the column output"
    differing = [field for field in _FIELDS if _value(field, one, None) != _value(field, other, None)]
    for field, option in _OPTION_FIELDS.items():
        name = OPTIONS[option].name
        if one.given.get(name) != other.given.get(name):
            differing.append(field)
    if not differing:
        if one._replace(place="") == other._replace(place=""):
            return "leave out one of the two"
        return "make two batches of them, with two output folders"
    fields = dict.fromkeys(["content", "style", differing[0]])
    return f'give --name "{"_".join(map("{{{}}}".format, fields))}.png"'
