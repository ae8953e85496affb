"""Files of comma-separated values that grow. What they do on a full disk, the tests of the history show."""

import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from nst_graph.csv_rows import AppendedRows, to_bytes

cells = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",))) | st.sampled_from(
    [" a", "\ta", "a\rb", "a\r\nb", "\n", '"', '""', "a,b", "caf\udce9"]
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.lists(cells, min_size=2, max_size=4), max_size=4))
def test_what_is_written_is_read_again(rows):
    text = io.TextIOWrapper(io.BytesIO(to_bytes(rows)), "utf-8", "surrogateescape", newline="")
    assert list(csv.reader(text, strict=True, skipinitialspace=True)) == rows


def test_numbers_are_not_rounded_and_none_is_empty():
    assert to_bytes([["a", None, 0.1 + 0.2, 3], [b"\xff".decode("utf-8", "surrogateescape"), "\ud800"]]) == (
        b"a,,0.30000000000000004,3\n\xed\xb3\xbf,\xed\xa0\x80\n"
    )
    assert to_bytes([["caf\udce9"]]) == b"caf\xe9\n"


def test_rows_are_added_until_the_columns_or_the_file_are_others(tmp_path):
    path = tmp_path / "x.csv"
    file = AppendedRows(str(path))
    assert file.is_changed
    rows = [[1, 2]]
    file.write(["a", "b"], rows)
    inode = path.stat().st_ino
    rows.append([3, 4])
    file.write(["a", "b"], rows)
    assert path.read_text() == "a,b\n1,2\n3,4\n" and path.stat().st_ino == inode and not file.is_changed
    file.write(["a", "c", "b"], [[1, 0, 2], [3, 0, 4], [5, 0, 6]])
    assert path.read_text() == "a,c,b\n1,0,2\n3,0,4\n5,0,6\n"
    with path.open("a") as opened:
        opened.write("somebody else's\n")
    assert file.is_changed
    file.write(["a", "c", "b"], [[1, 0, 2]])
    assert path.read_text() == "a,c,b\n1,0,2\n"
    path.unlink()
    assert file.is_changed
