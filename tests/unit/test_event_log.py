"""What a run writes for TensorBoard, read back from its event file with TensorFlow's own reader."""

import collections
import logging
import os
import re
import shutil
import time

import cv2
import numpy as np
import pytest

from nst_graph import costs, event_log
from nst_graph.costs import CostName, Costs
from nst_graph.event_log import EventLog, readable_graph, run_name
from nst_graph.network import create_output_tensors
from nst_graph.observers import TensorBoard
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings
from nst_graph.transfer import Transfer
from tests.training import Training

ITERATIONS = 6
SETTINGS = Settings(
    size=(37, 27), iterations=ITERATIONS, seed=7, style_layer_indices=[4, 3], style_layer_coefficients=[0.5, 2]
)
NAMES = ["content", "style", "total", "style/block2_conv1", "style/block1_pool"]
COSTS = Costs((CostName(name), cost) for name, cost in zip(NAMES, (1.0, 2.0, 3.0, 0.5, 1.5)))
GRAY = np.full((5, 7, 3), 128, np.uint8)


def events(log_dir):
    """Return the events of the one run in a folder."""
    (run,) = os.listdir(str(log_dir))
    (name,) = os.listdir(str(log_dir / run))
    assert ".tfevents." in name
    return list(get_runtime().tf.train.summary_iterator(str(log_dir / run / name)))


def values(log_dir):
    """Return tag -> step -> value of all summaries."""
    found = collections.defaultdict(dict)
    for event in events(log_dir):
        for value in event.summary.value:
            assert event.step not in found[value.tag]
            found[value.tag][event.step] = value
    return found


def notices(caplog):
    return [record.getMessage() for record in caplog.records if record.name.startswith("nst_graph")]


@pytest.fixture(scope="module")
def run(tmp_path_factory, vgg_weights):
    """A run that was logged with a picture every 4 iterations: folder, and what a run that nobody watches has."""
    log_dir = tmp_path_factory.mktemp("run") / "log"
    pictures = np.random.RandomState(1).randint(0, 256, (2, 27, 37, 3)).astype(np.uint8)
    with Transfer(SETTINGS, vgg_weights) as transfer:
        transfer.start(*pictures)
        transfer.train([TensorBoard(str(log_dir), every=4)])
    with Transfer(SETTINGS, vgg_weights) as transfer:
        transfer.start(*pictures)
        trajectory = []
        for _ in range(ITERATIONS):
            transfer.step()
            trajectory.append((transfer.costs(), transfer.picture()))
    return log_dir, pictures, trajectory


def test_costs_are_those_of_a_run_that_nobody_watches(run):
    log_dir, _, trajectory = run
    found = values(log_dir)
    read = {
        "cost/content": "content",
        "cost/style": "style",
        "cost/total": "total",
        "style_cost/block2_conv1": "style/block2_conv1",
        "style_cost/block1_pool": "style/block1_pool",
    }
    assert {tag for tag in found if "cost" in tag} == set(read)
    for tag, name in read.items():
        assert list(found[tag]) == list(range(ITERATIONS))
        logged = [value.simple_value for value in found[tag].values()]
        # Of the step and of a pass of its own: the last bit may differ (see tests/unit/test_observers.py).
        np.testing.assert_allclose(logged, [told[name] for told, _ in trajectory], rtol=1e-6)
    for told, _ in trajectory:
        shares = [told[name] for name in NAMES[3:]]
        assert sum(shares) == pytest.approx(told.style, rel=1e-6)
        assert shares[0] != shares[1]


def test_pace(run):
    found = values(run[0])["pace/seconds_per_iteration"]
    assert sorted(found) == list(range(1, ITERATIONS))
    assert all(0 < value.simple_value < 60 for value in found.values())


def test_pictures(run):
    log_dir, (content, style), trajectory = run
    expected = {
        "picture/content": {0: content},
        "picture/style": {0: style},
        "picture/generated": {i: trajectory[i][1] for i in (0, 4, ITERATIONS - 1)},
    }
    found = values(log_dir)
    assert {tag for tag in found if "picture" in tag} == set(expected)
    for tag, pictures in expected.items():
        assert sorted(found[tag]) == sorted(pictures)
        for step, picture in pictures.items():
            image = found[tag][step].image
            assert (image.width, image.height, image.colorspace) == (37, 27, 3)
            decoded = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
            assert decoded.shape == picture.shape
            # JPEG of noise: blurred by 3 pixels, 1.0 of 255 was measured, and 70 for another picture of the three.
            blurred, theirs = (cv2.GaussianBlur(p.astype(np.float32), (0, 0), 3) for p in (decoded, picture))
            assert np.abs(blurred - theirs).mean() < 4


def test_settings_are_a_table(run):
    (value,) = values(run[0])["settings"].values()
    assert value.metadata.plugin_data.plugin_name == "text"
    lines = get_runtime().tf.make_ndarray(value.tensor).item().decode().splitlines()
    assert lines[:2] == ["| constant | value |", "| --- | --- |"]
    assert "| SEED | 7 |" in lines and "| IMG_SIZE | 37,27 |" in lines and "| STYLE_LAYER_INDICES | 4,3 |" in lines
    assert "| weights from | random numbers (seed 0) |" in lines
    assert f"| TensorFlow | {get_runtime().version} |" in lines
    assert len(lines) == 4 + len(SETTINGS.words())


def test_a_bar_in_a_value_does_not_end_its_cell(tmp_path):
    EventLog(str(tmp_path), Settings(content_img_path="a|b.jpg"), "x", 0).close()
    (value,) = values(tmp_path)["settings"].values()
    assert "| CONTENT_IMG_PATH | a\\|b.jpg |" in get_runtime().tf.make_ndarray(value.tensor).item().decode()


def test_names_that_are_no_text(tmp_path, caplog):
    """A line end in a name would end the table's row; TensorFlow takes no text that is not UTF-8."""
    log_dir = os.path.join(str(tmp_path), "l\udcff")
    EventLog(log_dir, Settings(content_img_path="a\nb\udcff.jpg"), "x", 0).close()
    assert notices(caplog) == []
    os.rename(log_dir, str(tmp_path / "log"))
    (value,) = values(tmp_path / "log")["settings"].values()
    assert "| CONTENT_IMG_PATH | a\\nb\\udcff.jpg |" in get_runtime().tf.make_ndarray(value.tensor).item().decode()


def boxes(graph, depth):
    """Names that TensorBoard draws as boxes or nodes down to a depth."""
    return {"/".join(node.name.split("/")[:depth]) for node in graph.node}


def logged_graph(log_dir):
    (data,) = [event.graph_def for event in events(log_dir) if event.graph_def]
    return get_runtime().tf.GraphDef.FromString(data)


def test_the_graph_is_one_box_for_each_thing_that_the_article_speaks_of(small_images, settings, vgg_weights):
    with Training(small_images, settings, vgg_weights) as transfer:
        graph = readable_graph(transfer.roots)
        rest = {op.name.split("/")[0] for op in transfer.session.graph.get_operations()} - boxes(graph, 1)
    # What is left out: Keras's own network and what loads weights into it, and what initialises our variables.
    assert {re.sub(r"_\d+$", "", name) for name in rest} == {"keras", "keras_learning_phase", "init"}
    blocks = {f"block{block}" for block in range(1, 6)}
    assert boxes(graph, 1) == {"input_var", "content_cost", "style_cost", "total_cost", "train"} | blocks
    layers = {name for name in boxes(graph, 2) if name.startswith("block")}
    pools = {f"block{block}/block{block}_pool" for block in range(1, 5)}
    # Nothing is computed after the last style layer, block5_conv1.
    convolutions = [(1, 2), (2, 2), (3, 4), (4, 4), (5, 1)]
    assert layers == pools | {f"block{b}/block{b}_conv{c}" for b, count in convolutions for c in range(1, count + 1)}
    inside = {"kernel", "bias", "Conv2D", "BiasAdd", "Relu"}
    for layer in layers - pools:
        assert {name for name in boxes(graph, 3) if name.startswith(layer + "/")} == {f"{layer}/{n}" for n in inside}
    kinds = {node.name: node.op for node in graph.node}
    assert [kinds.get(pool + "/AvgPool") for pool in sorted(pools)] == ["AvgPool"] * 4
    assert "MaxPool" not in kinds.values()
    styles = [f"style_cost/block{block}_conv1" for block in range(1, 6)]
    assert boxes(graph, 2) >= {"input_var/picture", *styles}
    assert boxes(graph, 3) >= {style + "/gram_matrix" for style in styles}
    (adam,) = [name for name, op in kinds.items() if op in ("ApplyAdam", "ResourceApplyAdam")]
    assert adam.startswith("train/Adam/")
    # One way of saying it for every TensorFlow: on 1.15 the variables are of an older kind.
    assert {name for name in boxes(graph, 2) if name.startswith("content_cost")} == {
        "content_cost/" + name for name in ("target", "Sub", "Square", "Const", "Sum", "mul")
    }


def test_the_logged_graph_is_the_graph_but_for_the_values_of_large_constants(small_images, settings, vgg_weights):
    """Of a graph as the script builds it, with the targets as constants."""
    runtime = get_runtime()
    tf = runtime.tf
    indices = settings.style_layer_indices
    with runtime.session_scope() as session:
        picture = tf.placeholder(tf.float32, small_images[0].shape)
        content, styles = create_output_tensors(picture, settings.content_layer_index, indices, vgg_weights)
        a_content, a_styles = session.run([content, styles], feed_dict={picture: small_images[0]})
        j_content = costs.content_cost(a_content, content)
        j_style = costs.style_cost(a_styles, styles, settings.style_layer_coefficients)
        graph = readable_graph([costs.total_cost(j_content, j_style, 10, 40).op])
        whole = {node.name: node for node in session.graph.as_graph_def(add_shapes=True).node}
    emptied = []
    for node in graph.node:
        expected = whole[node.name]
        # Data inputs in their order; control inputs have none.
        for message in (node, expected):
            message.input.sort(key=lambda name: name if name.startswith("^") else "")
        if node != expected:
            emptied.append(node.name)
            values = node.attr["value"].tensor
            assert tf.make_ndarray(expected.attr["value"].tensor).size > event_log.LARGEST_CONSTANT
            assert values.tensor_shape == expected.attr["value"].tensor.tensor_shape
            assert node.attr["_output_shapes"] == expected.attr["_output_shapes"]
            assert values.ByteSize() < 100
    grams = [f"style_cost/block{block}_conv1/target" for block in range(1, 6)]
    assert sorted(emptied) == ["content_cost/target", *grams]


def test_the_graph_is_small_whatever_the_size_of_the_picture(run, vgg_weights):
    small = logged_graph(run[0]).ByteSize()
    settings = Settings(content_layer_index=2, style_layer_indices=[4, 3], style_layer_coefficients=[0.5, 2])
    with Training([np.zeros((1, 300, 400, 3), np.float32)] * 3, settings, vgg_weights) as training:
        large = readable_graph(training.roots).ByteSize()
    assert small < 2e5 and large < 1.1 * small  # measured: 61 kB and 62 kB


def test_names_of_runs(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    settings = Settings(content_img_path="a/cat.jpg", style_img_path="b/starry night.jpg", alpha=5, size=(40, 30))
    name = run_name(settings, 1.8e9)
    assert name == "2027-01-15_08-00-00_cat_starry-night_IMG_SIZE=40,30_ALPHA=5"
    assert run_name(settings, 1.8e9 - 1) < name < run_name(Settings(), 1.8e9 + 1)
    assert "_vgg-x.h5" in run_name(Settings(weights="/home/me/vgg x.h5"), 0).replace("WEIGHTS=-home-me-", "_")
    assert len(run_name(Settings(style_img_path="x" * 300), 0)) == 150
    assert 148 <= len(run_name(Settings(style_img_path="星月夜" * 100), 0).encode()) <= 150


def test_runs_of_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(event_log.time, "time", lambda: 1.8e9)
    for _ in range(3):
        EventLog(str(tmp_path), Settings(), "x", 0).close()
    first, second, third = sorted(os.listdir(str(tmp_path)))
    assert (second, third) == (first + "_2", first + "_3")


def test_a_picture_without_a_file_is_an_array_in_the_name(monkeypatch):
    name = run_name(Settings(content_img_path=None, style_img_path="monet.jpg", weights=None), 0)
    assert name[20:] == "array_monet"


def test_a_folder_of_logs_that_another_run_makes_meanwhile(tmp_path, monkeypatch, caplog):
    """Two runs that start at once without a log/: both have their log."""
    makedirs = os.makedirs

    def both(path, *arguments, **keywords):
        makedirs(path)  # the other run, just before this one
        makedirs(path, *arguments, **keywords)

    monkeypatch.setattr(os, "makedirs", both)
    EventLog(str(tmp_path / "log"), SETTINGS, "x", 0).close()
    assert notices(caplog) == [] and len(os.listdir(str(tmp_path / "log"))) == 1


def test_no_pictures(tmp_path):
    log = EventLog(str(tmp_path), SETTINGS, "x", 0)
    log.generated(0, lambda: pytest.fail("a picture was asked for"))
    log.picture("content", 0, GRAY)
    log.close()
    assert set(values(tmp_path)) == {"settings"}


def test_how_often_there_are_pictures(tmp_path):
    log = EventLog(str(tmp_path), SETTINGS, "x", 3)
    for i in range(ITERATIONS):
        log.generated(i, lambda: GRAY)
    log.close()
    assert list(values(tmp_path)["picture/generated"]) == [0, 3, ITERATIONS - 1]


def test_no_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = EventLog(None, SETTINGS, "x", 20)
    log.graph()
    log.costs(0, COSTS)
    log.picture("content", 0, GRAY)
    log.generated(0, lambda: pytest.fail("a picture was asked for"))
    log.close()
    assert os.listdir(str(tmp_path)) == []


def test_the_start_is_no_iteration(tmp_path):
    log = EventLog(str(tmp_path), SETTINGS, "x", 0)
    log.costs(-1, COSTS)
    log.costs(0, COSTS)
    log.close()
    assert list(values(tmp_path)["cost/total"]) == [0]


def test_is_read_while_the_run_goes_on(tmp_path):
    log = EventLog(str(tmp_path), SETTINGS, "x", 1)
    log.costs(0, COSTS)
    assert values(tmp_path)["cost/style"][0].simple_value == 2
    log.close()


def use(log):
    """Do with a log what a run does."""
    tf = get_runtime().tf
    with tf.Graph().as_default():
        log.graph(tf.constant(1.0, name="root").op)
    for i in range(3):
        log.costs(i, COSTS)
        log.picture("generated", i, GRAY)
    log.close()


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path, caplog):
    (tmp_path / "log").write_text("a file")
    with caplog.at_level(logging.INFO):
        use(EventLog(str(tmp_path / "log"), SETTINGS, "x", 1))
    (notice,) = notices(caplog)
    assert (
        notice == f"the log in {str(tmp_path / 'log')!r} cannot be written (Not a directory); the run goes on without"
    )
    assert (tmp_path / "log").read_text() == "a file"


def test_a_folder_that_vanishes_is_told_once(tmp_path, caplog):
    log = EventLog(str(tmp_path / "log"), SETTINGS, "x", 1)
    log.costs(0, COSTS)
    shutil.rmtree(str(tmp_path / "log"))
    with caplog.at_level(logging.INFO):
        use(log)
    (notice,) = notices(caplog)
    assert "(No such file or directory); the run goes on without" in notice


def test_a_full_disk_is_told_once(tmp_path, caplog, monkeypatch):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full, the device here that is a full disk")
    join = os.path.join
    monkeypatch.setattr(os.path, "join", lambda *p: "/dev/full" if "tfevents" in p[-1] else join(*p))
    with caplog.at_level(logging.INFO):
        use(EventLog(str(tmp_path), SETTINGS, "x", 1))
    (notice,) = notices(caplog)
    assert "No space left on device" in notice and "the run goes on without" in notice and "\n" not in notice


def test_tensorboard_that_is_not_installed_is_told_once_and_the_log_is_written(tmp_path, caplog, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    with caplog.at_level(logging.INFO):
        use(EventLog(str(tmp_path), SETTINGS, "x", 1))
    (notice,) = notices(caplog)
    assert "pip install tensorboard" in notice
    assert len(values(tmp_path)["cost/total"]) == 3


def test_constants_that_the_article_does_not_have_are_in_the_name():
    assert run_name(Settings(tv_weight=5, strips=64), 0).endswith("_cat_starry_night_tv_weight=5_strips=64")
