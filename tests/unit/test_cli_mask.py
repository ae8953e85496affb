import argparse
import subprocess
import sys

import cv2
import numpy as np
import pytest

from nst_graph import masks
from nst_graph.cli import mask as mask_command
from nst_graph.errors import OutputError, SettingError


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise SettingError(message)


def run(*words):
    parser = Parser(prog="nst-graph")
    mask_command.add_to(parser.add_subparsers(dest="command", required=True))
    parsed = parser.parse_args(["mask", *map(str, words)])
    parsed.run(parsed)


@pytest.fixture
def content(tmp_path):
    """A red square on blue."""
    picture = np.full((40, 60, 3), (200, 90, 40), np.uint8)
    picture[10:30, 20:45] = (30, 30, 200)
    picture += np.random.RandomState(0).randint(0, 30, picture.shape).astype(np.uint8)
    path = tmp_path / "content.png"
    cv2.imwrite(str(path), picture)
    return path


@pytest.fixture
def square():
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:45] = 255
    return mask


@pytest.fixture
def asked(monkeypatch):
    """The arguments with which GrabCut would be called, instead of the call."""
    calls = []

    def found(picture, rectangle, iterations):
        calls.append((rectangle, iterations))
        return np.full(picture.shape[:2], 255, np.uint8)

    monkeypatch.setattr(masks, "subject_mask", found)
    return calls


def written(path):
    """The mask in a file, whose channels are equal."""
    pixels = cv2.imread(str(path))
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


@pytest.mark.parametrize("extension", ["png", "ppm"])
def test_white_on_the_subject(tmp_path, content, square, extension):
    output = tmp_path / "new" / ("mask." + extension)
    run(content, output)
    np.testing.assert_array_equal(written(output), square)
    np.testing.assert_array_equal(masks.read_mask(output), square / 255)


def test_invert(tmp_path, content, square):
    run(content, tmp_path / "mask.png", "--invert")
    np.testing.assert_array_equal(written(tmp_path / "mask.png"), 255 - square)


def test_feather(tmp_path, content, square):
    run(content, tmp_path / "mask.png", "--feather", 4)
    soft = written(tmp_path / "mask.png")
    far = cv2.erode(square, np.ones((9, 9))) | 255 - cv2.dilate(square, np.ones((9, 9)))
    np.testing.assert_array_equal(soft[far == 255], square[far == 255])
    assert 0 < soft[20, 17] < soft[20, 18] < soft[20, 19] < soft[20, 20] < soft[20, 21] < soft[20, 22] < 255
    run(content, tmp_path / "inverted.png", "--feather", 4, "--invert")
    np.testing.assert_array_equal(written(tmp_path / "inverted.png"), 255 - soft)


@pytest.mark.parametrize(
    ("size", "words", "rectangle"),
    [
        ((60, 40), [], (6, 4, 48, 32)),
        ((60, 40), ["--rectangle", "1,2,30,20"], (1, 2, 30, 20)),
        ((60, 40), ["--rectangle", "25%,50%,50%,25%"], (15, 20, 30, 10)),
        ((60, 40), ["--rectangle", "10,12.5%,50%,7"], (10, 5, 30, 7)),
        ((15, 9), ["--rectangle", "50%,50%,50%,50%"], (8, 4, 7, 5)),  # up to the picture's edge
        ((400, 300), ["--rectangle", "0,0,95%,100%"], (0, 0, 380, 300)),
    ],
)
def test_rectangle_in_pixels_and_percent(tmp_path, asked, size, words, rectangle):
    cv2.imwrite(str(tmp_path / "content.png"), np.zeros((size[1], size[0], 3), np.uint8))
    run(tmp_path / "content.png", tmp_path / "mask.png", *words)
    assert asked == [(rectangle, 5)]


def test_iterations(tmp_path, content, asked):
    run(content, tmp_path / "mask.png", "--iterations", 7)
    assert asked == [((6, 4, 48, 32), 7)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rectangle", "1,2,3"], "X,Y,W,H"),
        (["--rectangle", "1,2,3,4,5"], "X,Y,W,H"),
        (["--rectangle", "1,2,3,"], "X,Y,W,H"),
        (["--rectangle", "1,2,3,4.5"], "X,Y,W,H.*1,2,3,4.5"),
        (["--rectangle", "1,2,3,nan%"], "X,Y,W,H"),
        (["--rectangle", "1,2,3,4%%"], "X,Y,W,H"),
        (["--rectangle=-1,2,3,4"], "X,Y,W,H"),
        (["--rectangle", "1,2,3,4\n"], "X,Y,W,H"),
        (["--rectangle", "1,2,3," + "9" * 400], "X,Y,W,H"),
        (["--rectangle", "0,0,100%,100%"], "whole picture"),
        (["--rectangle", "50,0,20,20"], "inside the picture, which is 60x40"),
        (["--rectangle", "1%,1%,1%,1%"], "at least 2 pixels"),
        (["--feather", "1.5"], "whole number from 0 to 1000, not '1.5'"),
        (["--feather", "1001"], "whole number from 0 to 1000"),
        (["--feather=-1"], "whole number from 0 to 1000"),
        (["--iterations", "0"], "whole number from 1 to 100"),
        (["--iterations", "101"], "whole number from 1 to 100"),
        (["--iterations", "x"], "whole number from 1 to 100"),
    ],
)
def test_refuses(tmp_path, content, words, message):
    with pytest.raises(SettingError, match=message) as caught:
        run(content, tmp_path / "mask.png", *words)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "mask.png").exists()


def test_an_existing_output_needs_overwrite(tmp_path, content, asked):
    output = tmp_path / "mask.png"
    output.write_bytes(b"old")
    with pytest.raises(OutputError, match=r"mask\.png' exists.*--overwrite"):
        run(content, output)
    assert output.read_bytes() == b"old"
    assert asked == []  # refused before the work
    run(content, output, "--overwrite")
    assert (written(output) == 255).all()


@pytest.mark.parametrize("words", [[], ["--overwrite"]])
def test_never_replaces_the_content(content, asked, words):
    before = content.read_bytes()
    with pytest.raises(OutputError, match="is read or written by the same run already"):
        run(content, content, *words)
    assert content.read_bytes() == before
    assert asked == []


def test_output_is_checked_before_the_work(tmp_path, content, asked):
    with pytest.raises(OutputError, match="ends in .jpg or .png"):
        run(content, tmp_path / "mask.txt")
    assert asked == []


def test_help_shows_the_defaults(capsys):
    with pytest.raises(SystemExit):
        run("--help")
    text = " ".join(capsys.readouterr().out.split())
    for default in ("(10%,10%,80%,80%)", "on each side (0)", "GrabCut (5)"):
        assert default in text


def test_help_needs_no_opencv():
    program = (
        "import argparse, sys\n"
        "from nst_graph.cli import mask\n"
        "mask.add_to(argparse.ArgumentParser().add_subparsers())\n"
        "assert 'cv2' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
