"""Files of comma-separated values that grow by rows (RFC 4180, but with line feeds alone between the rows)."""

import os
import re
from typing import Any, Iterable, List, Sequence

from nst_graph.files import replacing

#: What a cell in quotes is needed for. Python's own writer leaves a carriage return outside of quotes, where a reader
#: takes it for the end of the row, and a space at the beginning, which some readers skip.
_IN_QUOTES = re.compile(r'[,"\r\n]|^\s')


def to_bytes(rows: Iterable[Sequence[Any]]) -> bytes:
    """Return rows as the bytes of a file.

    Parameters
    ----------
    rows : iterable of sequence
        Cells are text, numbers (as `str` writes them: not rounded) or None, which is empty. The name of a file that is
        not UTF-8 comes out as the bytes that it has.
    """
    text = "".join(",".join(map(_cell, row)) + "\n" for row in rows)
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a character, which no name has but on Windows
        return text.encode("utf-8", "surrogatepass")


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if _IN_QUOTES.search(text) else text


class AppendedRows:
    """A file to which rows are added. What was written survives whatever ends the program.

    The file has whole rows always; only a process that is killed can leave a part of the last one.

    Parameters
    ----------
    path : str
        The file. A file that is there is replaced when something is written for the first time.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._header: List[str] = []
        self._written = 0  # rows in the file
        self._size = -1  # its size in bytes; -1 if it has to be written whole

    @property
    def is_changed(self) -> bool:
        """Whether somebody else has written to the file, or removed it, since this object did."""
        try:
            return os.stat(self._path).st_size != self._size
        except OSError:
            return True

    def write(self, header: List[str], rows: Sequence[Sequence[Any]]) -> None:
        """Write the rows that the file does not have yet: at its end, or with all others if it is another file now.

        Parameters
        ----------
        header : list of str
            Names of the columns. If they are other ones than before, the file is written whole.
        rows : sequence of sequence
            All rows. Those that were written before are the same, unless the header is another one.

        Raises
        ------
        OSError
            If the file cannot be written. The next call writes what is missing.
        """
        if header != self._header:
            self._header, self._size = list(header), -1
        try:
            self._append(rows)
        except FileNotFoundError:
            self._size = -1
        if self._size < 0:
            data = to_bytes([header, *rows])
            with replacing(self._path) as temporary, open(temporary, "wb") as file:
                file.write(data)
            self._size = len(data)
        self._written = len(rows)

    def _append(self, rows: Sequence[Sequence[Any]]) -> None:
        if self._size < 0:
            return
        # Opened anew each time, so that what was written survives whatever ends the program. Not buffered: a row is
        # written by one call, which a signal does not divide.
        with open(self._path, "r+b", buffering=0) as file:
            if file.seek(0, os.SEEK_END) != self._size:
                self._size = -1
                return
            data = to_bytes(rows[self._written :])
            written = 0
            try:
                while written < len(data):
                    written += file.write(data[written:])
            except OSError:
                file.truncate(self._size)  # a part of a row, on a full disk
                raise
        self._size += len(data)
