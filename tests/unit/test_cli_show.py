"""`nst-graph show` reads whatever it is given, without TensorFlow."""

import os
import re

import numpy as np
import pytest

from nst_graph import metadata
from nst_graph.checkpoint import State, write_checkpoint
from nst_graph.cli.show import stored_record
from nst_graph.errors import NSTGraphError
from nst_graph.inputs import read_inputs
from nst_graph.metadata import Carried
from nst_graph.record import LARGEST_TEXT, record_of, to_text
from nst_graph.settings import Settings

PICTURE = np.zeros((2, 3, 3), np.uint8)
RECORD = record_of(Settings(size=48, seed=3, weights="random"), read_inputs(PICTURE, PICTURE), "2.21.0")


def write(path):
    """Write a file that holds the record, by its extension."""
    if path.suffix == ".npz":
        write_checkpoint(str(path), State(3, np.zeros((1, 2, 3, 3), np.float32), {}), RECORD)
    elif path.suffix == ".json":
        path.write_text("\n\n " + to_text(RECORD))
    else:
        metadata.write(PICTURE, str(path), to_text(RECORD), Carried(b"", b""))


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.webp", "x.tif", "x.npz", "x.json"])
def test_a_file_or_what_comes_through_a_pipe(tmp_path, name):
    path = tmp_path / name
    write(path)
    assert stored_record(str(path)) == RECORD
    if os.name == "posix":
        reading, writing = os.pipe()
        try:
            with os.fdopen(writing, "wb") as file:
                file.write(path.read_bytes())
            assert stored_record(f"/dev/fd/{reading}") == RECORD
        finally:
            os.close(reading)


def refusal(path):
    with pytest.raises(NSTGraphError) as caught:
        stored_record(str(path))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    return str(caught.value)


def test_a_text_of_megabytes(tmp_path):
    path = tmp_path / "x.json"
    with open(path, "wb") as file:
        file.write(b"{")
        file.truncate(10**12)
    assert re.search(f"'.*x.json' does not hold the settings of a run .*more than {LARGEST_TEXT} char", refusal(path))


def test_what_cannot_be_read(tmp_path):
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "empty").write_bytes(b"")
    assert "is empty" in refusal(tmp_path / "empty")
    if os.path.exists("/proc/self/mem"):
        assert "cannot be read: Input/output error" in refusal("/proc/self/mem")
