"""nst-graph stylize and nst-graph figure as their users run them."""

import csv
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from nst_graph import cli
from nst_graph.cli import main
from nst_graph.cli.stylize import _plan
from nst_graph.runtimes import get_runtime

COMMAND = [sys.executable, "-m", "nst_graph"]
SMALL = ["input/cat.jpg", "input/starry_night.jpg", "x.png", "--size=37,27", "--weights=random", "--seed=3"]


def run(folder, *words, **options):
    return subprocess.run([*COMMAND, *words], cwd=str(folder), capture_output=True, text=True, **options)


def contents(folder):
    """Return all paths in a folder with the bytes of those that are files."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def logged_pictures(folder):
    """Return step and JPEG of the generated pictures in the one log."""
    (path,) = (folder / "log").glob("*/*tfevents*")
    return [
        (event.step, value.image.encoded_image_string)
        for event in get_runtime().tf.train.summary_iterator(str(path))
        for value in event.summary.value
        if value.tag == "picture/generated"
    ]


def on_a_terminal(folder, *words):
    """Run a command on a terminal; return what it shows."""
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*COMMAND, *words], cwd=str(folder), stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(ours, 1 << 16)
        except OSError:  # how Linux says that nobody has the other end any more
            break
        if not data:
            break
        shown += data
    os.close(ours)
    assert process.wait() == 0, shown
    return shown.decode()


def test_paints_what_the_script_paints_and_writes_what_is_asked_for(folder, script, capsys):
    files = ["--history=costs.csv", "--plot=costs.png", "--log-pictures-every=7"]
    done = run(folder, "stylize", *SMALL, "--iterations=22", *files)
    assert done.returncode == 0, done.stderr
    assert [step for step, _ in logged_pictures(folder)] == [0, 7, 14, 21]
    words = ["IMG_SIZE=37,27", "WEIGHTS=random", "SEED=3", "NUM_ITERATIONS=22", "GENERATED_IMG_PATH=y.png"]
    script(*words)
    assert done.stdout == capsys.readouterr().out and len(done.stdout.splitlines()) == 2
    # Pixels and not bytes: the command's picture carries its settings.
    x, y = (cv2.imread(str(folder / name)) for name in ("x.png", "y.png"))
    np.testing.assert_array_equal(x, y)
    assert "VGG-19 weights: random numbers (seed 0)" in done.stderr
    assert "22/22" not in done.stderr  # no bar where there is no terminal
    with (folder / "costs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["iteration"] for row in rows] == [str(i) for i in range(22)]
    printed = [
        f"Iteration: {i}, Content cost: {float(rows[i]['content_cost']):.2e}, "
        f"Style cost: {float(rows[i]['style_cost']):.2e}, Total cost: {float(rows[i]['total_cost']):.2e}"
        for i in (0, 20)
    ]
    assert done.stdout.splitlines() == printed
    assert cv2.imread(str(folder / "costs.png")) is not None
    assert len(list((folder / "log").iterdir())) == 2  # the command's run and the script's


def test_on_a_terminal_there_is_a_bar_and_no_lines(folder):
    """Without TensorBoard, which costs the run one line that says how to get it."""
    (folder / "tensorboard.py").write_text("raise ModuleNotFoundError('no tensorboard')")
    shown = on_a_terminal(folder, "stylize", *SMALL, "--iterations=3")
    lines = shown.replace("\r", "\n").splitlines()
    last = [line for line in lines if "it/s" in line or "s/it" in line][-1]
    assert "3/3 [00:0" in last and "total cost" in last
    assert "Iteration:" not in shown
    notice = "TensorBoard is not installed; to view the log: pip install tensorboard"
    assert [line for line in lines if "pip install" in line] == [notice]
    assert cv2.imread(str(folder / "x.png")).shape == (27, 37, 3)
    assert [step for step, _ in logged_pictures(folder)] == [0, 2]


@pytest.mark.parametrize(
    ("output", "errors", "lines", "bar"),
    [(False, True, True, True), (True, False, True, False)],
    ids=["lines go to a file", "errors go to a file"],
)
def test_one_of_two_streams_is_a_terminal(folder, monkeypatch, capsys, in_process, output, errors, lines, bar):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: output, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: errors, raising=False)
    main(["stylize", *SMALL, "--iterations=2", "--log-dir=runs"])
    captured = capsys.readouterr()
    assert captured.out.startswith("Iteration: 0, Content cost: ") == lines
    assert ("2/2 [00:0" in captured.err) == bar
    assert len(list((folder / "runs").iterdir())) == 1


def test_a_picture_without_a_name_stands_beside_the_content(folder):
    """It is not replaced by the next run, which has another seed."""
    pictures = ["input/cat.jpg", "input/starry_night.jpg"]
    done = run(folder, "stylize", *pictures, "--size=37", "--weights=random", "--iterations=1", "--no-log")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "the picture is input/cat_starry_night.png"
    assert sorted(path.name for path in (folder / "input").iterdir()) == [
        "cat.jpg",
        "cat_starry_night.png",
        "starry_night.jpg",
    ]
    before = contents(folder)
    assert cv2.imread(str(folder / "input" / "cat_starry_night.png")).shape == (28, 37, 3)
    done = run(folder, "stylize", *pictures, "--size=37", "--weights=random", "--iterations=1", "--no-log")
    assert done.returncode == 2 and "the file 'input/cat_starry_night.png' exists" in done.stderr
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("words", "output"),
    [
        ("me.jpg monet.jpg", "me_monet.png"),
        ("a/me.jpg b/monet.jpg:2 --style mosaic.png", "a/me_monet+mosaic.png"),
        ("/a/me.jpg monet.jpg", "/a/me_monet.png"),
        ("me.jpg monet.jpg x.webp", "x.webp"),
    ],
)
def test_the_name_of_a_picture_that_has_none(words, output):
    plan = _plan(cli._parser().parse_args(["stylize", *words.split()]))
    assert plan.output == plan.settings.generated_img_path == output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stylize", "missing.jpg", *SMALL[1:]], "there is no picture 'missing.jpg'"),
        (["stylize", *SMALL[:2], "input/cat.jpg"], "is read or written by the same run already"),
        (["stylize", *SMALL, "--history=x.png"], "is read or written by the same run already"),
        (["stylize", *SMALL, "--plot=input/cat.jpg"], "is read or written by the same run already"),
        (["stylize", *SMALL, "--history=costs", "--plot=costs"], "is read or written by the same run already"),
        (["stylize", *SMALL, "--history=input"], "'input' is a folder"),
        (["stylize", *SMALL, "--history=x.txt/x.csv"], "cannot be written in"),
        (["stylize", *SMALL, "--plot=costs.txt"], "name a file that ends in .png"),
        (["stylize", *SMALL, "--alpha=much"], "--alpha must be a number of at least 0, not 'much'"),
        (["stylize", *SMALL, "--log-pictures-every=-1"], "--log-pictures-every must be"),
        (["stylize", *SMALL, "--iterations"], "expected one argument"),
        (["stylize", "missing.jpg", "input/cat.jpg", "new/x.png"], "there is no picture 'missing.jpg'"),
        (["figure", "new/f.png", "missing.jpg", *["input/cat.jpg"] * 2], "there is no picture 'missing.jpg'"),
        (["stylize", *SMALL[:3], "--weights=missing.h5"], "there is no weights file 'missing.h5'"),
        (["figure", "f.png", "input/cat.jpg"], "takes three pictures for each row"),
        (["figure", "input/cat.jpg", *["input/cat.jpg"] * 3], "is read or written by the same run already"),
        (["figure", "f.txt", *["input/cat.jpg"] * 3], "ends in .jpg or .png"),
        (["figure", "f.png", "x.txt", *["input/cat.jpg"] * 2], "not a picture"),
        (["figure", "f.png", *["input/cat.jpg"] * 3, "--height=0"], "from 1 to 10000, not '0'"),
    ],
)
def test_what_it_cannot_work_with_is_one_line_and_status_2(folder, words, message):
    (folder / "x.txt").write_text("no picture")
    before = contents(folder)
    done = run(folder, *words)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "error: " in line and message in line
    assert contents(folder) == before


def test_figure(folder):
    pictures = ["input/cat.jpg", "input/starry_night.jpg", "input/cat.jpg"]
    done = run(folder, "figure", "f.png", *pictures, *pictures, "--height=30")
    assert done.returncode == 0 and done.stdout == done.stderr == ""
    figure = cv2.imread(str(folder / "f.png"))
    assert figure.shape == (30 + 1 + 30, 40 + 8 + 40 + 8 + 40, 3)
    np.testing.assert_array_equal(figure[:30], figure[31:])
