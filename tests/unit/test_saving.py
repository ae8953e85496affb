"""The finished picture is not lost."""

import pathlib

import cv2
import numpy as np
import pytest

from nst_graph import saving
from nst_graph.errors import OutputError
from nst_graph.images import write_picture

PICTURE = np.random.RandomState(0).randint(0, 256, (5, 7, 3)).astype(np.uint8)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Three folders: for the output, for temporary files, to work in."""
    monkeypatch.setattr(saving, "_WAIT", 0)
    for name in ("out", "temporary", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def failing(times):
    """Return a function that writes a picture, but for the first times, and the list of what was tried."""
    tried = []

    def write(picture, path):
        tried.append(path)
        if len(tried) <= times:
            raise OutputError(f"the picture {path!r} cannot be written: ...") from OSError(
                28, "No space left on device"
            )
        write_picture(picture, path)

    return write, tried


@pytest.mark.parametrize("times", [0, 1])
def test_it_is_tried_again(folders, times):
    path = str(folders / "out" / "x.png")
    write, tried = failing(times)
    saving.save_last(PICTURE, path, write)
    assert tried == [path] * (times + 1)
    np.testing.assert_array_equal(cv2.imread(path), PICTURE)


@pytest.mark.parametrize(
    ("full", "place"), [([], "out"), (["out"], "temporary"), (["out", "temporary"], "work")], ids=lambda x: str(x)
)
def test_it_is_put_somewhere_else(folders, monkeypatch, full, place):
    def write_elsewhere(picture, path):
        if pathlib.Path(path).parent.name in full:
            raise OutputError("full")
        write_picture(picture, path)

    monkeypatch.setattr(saving, "write_picture", write_elsewhere)
    with pytest.raises(OutputError) as caught:
        saving.save_last(PICTURE, str(folders / "out" / "x.jpg"), failing(2)[0])
    (found,) = folders.glob("*/*")
    assert found.parent.name == place
    np.testing.assert_array_equal(cv2.imread(str(found)), PICTURE)
    path = str(folders / "out" / "x.jpg")
    assert str(caught.value) == (
        f"the finished picture cannot be written to {path!r} (No space left on device); it is in {str(found)!r}"
    )


def test_where_no_folder_takes_it(folders, monkeypatch):
    write, _ = failing(100)
    monkeypatch.setattr(saving, "write_picture", write)
    with pytest.raises(OutputError, match="No space left on device\\), and to no other folder either"):
        saving.save_last(PICTURE, str(folders / "missing" / "x.png"), write)
    assert list(folders.glob("*/*")) == []
