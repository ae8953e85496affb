"""nst-graph batch in this process and on its own: what it makes, what it makes again, and what it refuses."""

import csv
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

import nst_graph
from nst_graph.cli import main
from nst_graph.cli.show import stored_record
from nst_graph.errors import OutputError, PictureError, RuntimeMissingError, SettingError
from nst_graph.metadata import carried_by

#: Few layers, so that a graph is built quickly.
SHALLOW = {"content_layers": "conv1_2", "style_layers": "conv1_1"}
CONSTANTS = {**SHALLOW, "size": 20, "iterations": 2, "seed": 0}
WORDS = [f"--{name.replace('_', '-')}={value}" for name, value in CONSTANTS.items()] + ["--weights=random"]
COMMAND = [sys.executable, "-m", "nst_graph", "batch"]


def noise(seed, *shape):
    return np.random.RandomState(seed).randint(0, 256, (*shape, 3)).astype(np.uint8)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Three contents in two folders, two styles; the working folder."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("photos/me.png", "photos/you.jpg", "photos/old/me.png", "styles/a.png", "b.png")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), noise(seed, 15 + seed, 20))
    return tmp_path


@pytest.fixture
def batch(photos, in_process, capfd):
    """Run the command in this process; return exit status, standard output and standard error."""

    def run(*words):
        capfd.readouterr()
        try:
            main(["batch", *words])
            status = 0
        except SystemExit as end:
            status = end.code
        printed = capfd.readouterr()
        return status, printed.out.splitlines(), printed.err.splitlines()

    return run


def table(folder="out"):
    with open(os.path.join(folder, "batch.csv"), newline="") as file:
        return list(csv.DictReader(file))


def files(folder="out"):
    """Return all pictures below a folder with their time stamps."""
    return {
        os.path.relpath(os.path.join(inner, name), folder): os.stat(os.path.join(inner, name)).st_mtime_ns
        for inner, _, names in os.walk(folder)
        for name in names
        if name != "batch.csv"
    }


def expected(content, style, **constants):
    return nst_graph.stylize(content, style, weights="random", **{**CONSTANTS, "strips": "off", **constants})


def test_every_content_with_every_style_and_only_what_is_missing_the_next_time(batch):
    words = ["photos", "--style", "styles", "b.png", "--output=out", *WORDS]
    status, lines, told = batch(*words)
    made = files()
    assert status == 0 and set(made) == {
        *("me_a.png", "me_b.png", "you_a.png", "you_b.png", "old/me_a.png", "old/me_b.png")
    }
    assert [line.split(":")[0] for line in lines] == [
        f"[{number}/6] out/{name}"
        for number, name in enumerate(
            ["me_a.png", "me_b.png", "you_a.png", "you_b.png", "old/me_a.png", "old/me_b.png"], start=1
        )
    ]
    # Bit for bit what stylize makes, with its record in it.
    np.testing.assert_array_equal(cv2.imread("out/old/me_b.png"), expected("photos/old/me.png", "b.png"))
    record = stored_record("out/you_a.png")
    assert record.output == "out/you_a.png" and record.settings["iterations"] == 2
    rows = {row["output"]: row for row in table()}
    assert len(rows) == 6 and all(float(row["seconds"]) > 0 and not row["error"] for row in rows.values())
    costs = {float(row["total_cost"]) for row in rows.values()}
    assert len(costs) == 6 and all(cost > 0 for cost in costs)

    # Nothing is made again; only what is missing; only what has other settings, or another content.
    status, lines, told = batch(*words)
    assert (status, lines) == (0, []) and files() == made
    assert told == ["6 of 6 pictures are there already, made with these settings"]
    os.remove("out/me_b.png")
    cv2.imwrite("photos/you.jpg", noise(9, 15, 20))
    status, lines, told = batch(*words)
    assert [line.split()[1] for line in lines] == ["out/me_b.png:", "out/you_a.png:", "out/you_b.png:"]
    same = [name for name, stamp in files().items() if made.get(name) == stamp]
    assert set(same) == {"me_a.png", "old/me_a.png", "old/me_b.png"}
    status, lines, told = batch(*words, "--alpha=3")
    assert len(lines) == 6 and {row["alpha"] for row in table()} == {"3"}
    # The table itself asks for what is there.
    status, lines, told = batch("--pairs=out/batch.csv", "--output=out", "--weights=random")
    assert (status, lines) == (0, []) and told == ["6 of 6 pictures are there already, made with these settings"]


def test_pictures_that_fail_are_listed_and_the_others_are_made(batch, photos):
    (photos / "photos/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    (photos / "out").mkdir()
    (photos / "out/you_b.png").write_bytes(b"somebody's own")
    words = ["photos", "--style", "b.png", "--output=out", *WORDS]
    status, lines, told = batch(*words)
    assert status == 1 and len(lines) == 3
    assert "[1/3] out/broken_b.png: failed: 'photos/broken.png' is damaged" in lines[0]
    assert [line.split(": ")[0] for line in told] == ["out/you_b.png", "out/broken_b.png", told[-1]]
    assert told[-1] == "2 of 4 pictures failed, see above and out/batch.csv"
    assert (photos / "out/you_b.png").read_bytes() == b"somebody's own" and not (photos / "out/broken_b.png").exists()
    (row,) = (row for row in table() if row["error"])
    assert row["output"] == "broken_b.png" and "is damaged" in row["error"] and row["total_cost"] == ""
    # A second call tries it again, and makes nothing else.
    made = files()
    cv2.imwrite("photos/broken.png", noise(7, 15, 20))
    status, lines, _ = batch(*words)
    assert status == 1 and [line.split()[1] for line in lines] == ["out/broken_b.png:"]
    assert {name: stamp for name, stamp in files().items() if name in made} == made
    # And replaces what is in its way, if it may.
    status, lines, _ = batch(*words, "--overwrite")
    assert status == 0 and len(lines) == 4 and not any(row["error"] for row in table())


def test_a_table_of_pairs_is_a_sweep(batch, photos):
    (photos / "pairs.csv").write_text(
        "content,style,style,style-mask,output,alpha,Style_Weight,pooling,preset\n"
        "photos/me.png,b.png:3,styles/a.png,,blend.bmp,,,,\n"
        "photos/me.png,b.png,,b.png,,5,7,max,\n"
        "photos/me.png,b.png,,,,,,,fast\n"
    )
    words = ["--pairs=pairs.csv", "--output=out", "--name={style}/{content}_{alpha}_{optimizer}.png", *WORDS]
    status, *_ = batch(*words)
    assert status == 0 and set(files()) == {"blend.bmp", "b/me_5_adam.png", "b/me_10_lbfgs.png"}
    styles = [nst_graph.Style("b.png", 3), nst_graph.Style("styles/a.png")]
    np.testing.assert_array_equal(cv2.imread("out/blend.bmp"), expected("photos/me.png", styles))
    masked = nst_graph.Style("b.png", mask="b.png")
    found = expected("photos/me.png", masked, alpha=5, beta=7, pooling="max")
    np.testing.assert_array_equal(cv2.imread("out/b/me_5_adam.png"), found)
    # The table tells what made a picture that cannot hold it.
    assert batch(*words)[1:] == ([], ["3 of 3 pictures are there already, made with these settings"])


def test_settings_are_random_no_longer_when_a_picture_is_there(batch):
    """Without a seed, every picture has one of its own, and a second call is content with it."""
    words = ["photos/me.png", "photos/you.jpg", "--style=b.png", "--output=out", *WORDS[:-2], "--weights=random"]
    assert "--seed=0" not in words
    status, *_ = batch(*words, "--no-metadata")
    assert status == 0 and len({row["seed"] for row in table()}) == 2
    with pytest.raises(SettingError):
        stored_record("out/me_b.png")
    assert batch(*words)[1] == []


def test_what_a_picture_carries_and_what_watches_it(batch, photos):
    from PIL import Image

    exif = Image.Exif()
    exif[315] = "somebody"
    Image.fromarray(noise(3, 15, 20)).save("photos/you.jpg", exif=exif)
    files = ["--history={content}.csv", "--plot={content}.png", "--save-every=2", "--log-dir=log"]
    words = ["photos/you.jpg", "--style=b.png", "--output=out", "--name={content}/x.jpg", *files, *WORDS]
    status, _, told = batch(*words)
    assert (status, told) == (0, [])
    assert (
        carried_by((photos / "out/you/x.jpg").read_bytes()).exif
        == carried_by((photos / "photos/you.jpg").read_bytes()).exif
    )
    history = [line.split(",") for line in (photos / "out/you.csv").read_text().splitlines()]
    assert [row[0] for row in history] == ["iteration", "0", "1"]
    assert history[-1][history[0].index("total_cost")] == table()[0]["total_cost"]
    assert (photos / "out/you.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir("out/you")) == ["x.jpg", "x_0000.jpg", "x_0001.jpg"] and len(os.listdir("log")) == 1
    # A picture is made again for a history that is missing; files of the batch are replaced, and others are not.
    os.remove("out/you.csv")
    assert batch(*words)[0] == 0 and (photos / "out/you.csv").exists()
    os.remove("out/you/x.jpg")
    assert batch(*words)[0] == 0 and (photos / "out/you/x.jpg").exists()
    for theirs, removed in (("out/you/x_0001.jpg", "out/you/x.jpg"), ("out/you.csv", "out/batch.csv")):
        os.remove(removed)
        (photos / theirs).write_bytes(b"somebody's own")
        status, _, told = batch(*words)
        assert status == 1 and (photos / theirs).read_bytes() == b"somebody's own"
        assert told[0] == f"out/you/x.jpg: the file '{theirs}' is there, and no batch made it; --overwrite replaces it"
    assert batch(*words, "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ([], SettingError, "a batch takes CONTENTS and --style, or --pairs"),
        (["--style", "b.png", "photos"], SettingError, "name them before --style"),
        (["photos"], SettingError, "a batch takes CONTENTS and --style"),
        (["nowhere", "--style=b.png"], PictureError, "there is no content 'nowhere'"),
        (["photos", "--style=b.png", "--pairs=x.csv"], SettingError, "CONTENTS has no effect with --pairs"),
        (["--pairs=x.csv"], SettingError, "x.csv"),
        (["photos", "--style=b.png", "--name={contents}.png"], SettingError, "did you mean content"),
        (["photos", "--style=b.png", "--name={style}.png"], OutputError, "would both be written to"),
        (["photos", "--style=b.png", "--name={content}.xyz"], OutputError, "xyz"),
        (["photos", "--style=b.png", "--history=h.csv"], OutputError, "would both be written to"),
        (["photos", "--style=b.png", "--output=photos"], OutputError, "is the output folder"),
        (["photos", "--style=b.png", "--output=b.png"], OutputError, "b.png"),
        (
            ["b.png", "--style=b.png", "--output=.", "--name=c.png", "--init=c.png"],
            OutputError,
            "which the batch reads",
        ),
        (["photos/me.png", "--style=b.png", "--history=batch.csv"], OutputError, "which the batch reads"),
        (["photos", "--style=b.png", "--alpha=-1"], SettingError, "--alpha must be"),
        (["photos", "--style=b.png", "--checkpoint=x.npz"], SettingError, "--checkpoint"),
        (["photos", "--style=b.png", "--scheduler=tcp://127.0.0.1:1", "--log-dir=x"], SettingError, "--log-dir has no"),
    ],
)
def test_what_is_wrong_with_all_pictures_is_told_before_anything_is_made(batch, words, error, message):
    before = files(".")
    with pytest.raises(error) as caught:
        batch("--output=out", *words)
    assert message in str(caught.value) and files(".") == before


def test_without_dask_one_line_says_what_to_install(batch, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(RuntimeMissingError, match=r'pip install "nst_graph\[cluster\]"'):
        batch("photos", "--style=b.png", "--output=out", "--scheduler=tcp://127.0.0.1:8786", *WORDS)


def begin(photos, *words):
    """Start the command in a process of its own; return it when its first picture is done."""
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=str(photos), stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True
    )
    assert process.stdout.readline().startswith("[1/")
    return process


def test_an_interrupted_batch_goes_on_with_a_second_call(batch, photos):
    """Ctrl-C, SIGKILL while a picture is made, then the rest: each picture is made once, and none is half there."""
    words = ["photos", "--style", "styles", "b.png", "--output=out", *WORDS, "--iterations=60"]
    process = begin(photos, *words)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == -signal.SIGINT
    first = files()
    assert 0 < len(first) < 6 and "of 6 pictures are not made yet; the same command goes on" in err
    process = begin(photos, *words)
    time.sleep(0.1)
    process.kill()
    process.communicate()
    second = files()
    assert len(first) < len(second) < 6 and {name: second[name] for name in first} == first
    for name in second:
        assert name.startswith(".nst_graph") or cv2.imread(f"out/{name}") is not None
    status, lines, _ = batch(*words)
    third = files()
    whole = {name: stamp for name, stamp in second.items() if not name.startswith(".nst_graph")}
    assert status == 0 and len(third) == 6 and len(lines) == 6 - len(whole)
    assert {name: third[name] for name in whole} == whole
    assert len(table()) == 6
    np.testing.assert_array_equal(cv2.imread("out/old/me_b.png"), expected("photos/old/me.png", "b.png", iterations=60))
