"""Strips against the plain objective, which tests/reference compares with an independent float64 version.

The two differ by rounding alone. Tolerances are relative to the largest entry. Beside each stands the largest deviation
that was measured on TensorFlow 2.21 and 1.15.5.
"""

from typing import NamedTuple

import numpy as np
import pytest

from nst_graph.costs import Costs
from nst_graph.event_log import readable_graph
from nst_graph.objective import Objective
from nst_graph.optimisers import LBFGS, Adam
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings
from nst_graph.strips import Strips, rows_for
from nst_graph.targets import Targets
from nst_graph.vgg19 import LAYER_INDICES, LAYERS

#: Width and height, odd. Of the height, average pools make 36, 18, 9 and 5; max pools make 35, 17, 8 and 4.
SIZE = (45, 71)


def images(size, number=3, seed=0):
    """Return content, style and start, float32 (1, h, w, 3), preprocessed."""
    rng = np.random.RandomState(seed)
    return [rng.uniform(-120, 140, (1, size[1], size[0], 3)).astype(np.float32) for _ in range(number)]


def deviation(found, wanted):
    """Return the largest difference over the largest entry."""
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    return np.abs(found - wanted).max() / np.abs(wanted).max()


def near(found, wanted, rtol):
    """Whether costs have the same names in the same order, and values that differ by rounding."""
    assert list(found) == list(wanted)
    return all(found[name] == pytest.approx(wanted[name], rel=rtol) for name in wanted)


def both(size, settings, weights, rows, masked_styles=0):
    """Return a plain objective and one in strips; both are context managers."""
    return Objective(size, settings, weights, masked_styles), Strips(size, settings, weights, masked_styles, rows=rows)


def masked(targets, objective, settings, styles, seed=4):
    """Return targets for several styles: multiples of one style's, random masks, different weights."""
    rng = np.random.RandomState(seed)
    factors = np.linspace(0.5, 1.5, styles, dtype=np.float32)[:, np.newaxis, np.newaxis]
    masks = tuple(
        rng.uniform(0, 2, (styles, objective.positions(index), 1)).astype(np.float32)
        for index, _ in settings.style_layer_weights
    )
    style_weights = np.arange(1, styles + 1, dtype=np.float32)
    return Targets(
        targets.content, tuple(factors * gram for gram in targets.style), masks, style_weights / style_weights.sum()
    )


class Seen(NamedTuple):
    """What an objective finds for three images."""

    targets: Targets
    costs: Costs
    gradient: np.ndarray


def seen_by(objective, settings, masked_styles=0):
    """Compute targets, costs and gradient; close the objective."""
    with objective:
        content_img, style_img, start_img = images(objective.size)
        targets = objective.targets(content_img, style_img)
        objective.take(masked(targets, objective, settings, masked_styles) if masked_styles else targets)
        objective.set_image(start_img)
        costs, gradient = objective.evaluate_with(objective.gradient)
        np.testing.assert_array_equal(objective.image(), start_img)
        if isinstance(objective, Strips):
            assert objective.evaluate() == costs
        return Seen(targets, costs, gradient)


def check_same(found, wanted):
    for of_layers, wanted_of_layers in zip(found.targets[:2], wanted.targets[:2]):
        assert len(of_layers) == len(wanted_of_layers)
        for array, wanted_array in zip(of_layers, wanted_of_layers):
            assert deviation(array, wanted_array) < 2e-6  # measured 4.7e-7
    assert near(found.costs, wanted.costs, 5e-6)  # measured 1.2e-6
    assert np.abs(wanted.gradient).max() > 0
    assert deviation(found.gradient, wanted.gradient) < 1e-5  # measured 2.5e-6


def check(size, settings, weights, rows, masked_styles=0):
    """Compare targets, costs and gradient."""
    plain, strips = both(size, settings, weights, rows, masked_styles)
    check_same(seen_by(strips, settings, masked_styles), seen_by(plain, settings, masked_styles))


@pytest.fixture(scope="module")
def plain(vgg_weights):
    """What the plain objective finds with the article's constants."""
    return seen_by(Objective(SIZE, Settings(), vgg_weights), Settings())


#: Convolutions at the beginning, in the middle and at the end of a block, and pools; the first and the last layer of
#: all. `test_all_layers_at_once` has the others.
DEEPEST = [1, 2, 3, 8, 11, 14, 21]


@pytest.mark.parametrize("index", DEEPEST, ids=[LAYERS[index].name for index in DEEPEST])
def test_the_deepest_layer(vgg_weights, index):
    """As content and style layer, beside the layer before; its block ends there. Average and max pools take turns."""
    style_layers = ((index, 0.7),) if index == 1 else ((index - 1, 0.3), (index, 0.7))
    settings = Settings(content_layer_index=index, style_layers=style_layers, pooling=("avg", "max")[index % 2])
    check(SIZE, settings, vgg_weights, rows=4)


@pytest.mark.parametrize(("kind", "pooling"), [("content", "max"), ("style", "avg")])
def test_all_layers_at_once(vgg_weights, kind, pooling):
    every = tuple((index, 1.0 + index) for index in LAYER_INDICES)
    of_kind = {"content_layers": every} if kind == "content" else {"style_layers": every}
    check(SIZE, Settings(pooling=pooling, **of_kind), vgg_weights, rows=6)


@pytest.mark.parametrize("rows", [0, 2, 5, 36, 1000])
def test_any_number_of_rows(vgg_weights, plain, rows):
    check_same(seen_by(Strips(SIZE, Settings(), vgg_weights, rows=rows), Settings()), plain)


@pytest.mark.parametrize("size", [(33, 31), (50, 1), (1, 50), (1, 1)])
def test_any_size(vgg_weights, size):
    check(size, Settings(tv_weight=1.0), vgg_weights, rows=4)


@pytest.mark.parametrize(("styles", "pooling"), [(1, "max"), (3, "avg")])
def test_masks(vgg_weights, styles, pooling):
    settings = Settings(style_layers=((1, 0.1), (3, 0.2), (9, 0.3), (11, 0.4), (17, 0.5)), pooling=pooling)
    check(SIZE, settings, vgg_weights, rows=8, masked_styles=styles)


@pytest.mark.parametrize(
    "constants",
    [
        {"alpha": 0.0},
        {"alpha": 0.0, "beta": 0.0, "tv_weight": 3.0},
        {"tv_weight": 1e7, "content_layers": ((5, 1.0), (13, 2.0)), "pooling": "max"},
        {"content_layer_index": 1, "style_layers": ((16, 1.0),)},
        {"content_layer_index": 16, "style_layers": ((1, 1.0),)},
    ],
    ids=str,
)
def test_options(vgg_weights, constants):
    check(SIZE, Settings(**constants), vgg_weights, rows=8)


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_a_style_of_another_size(vgg_weights, pooling):
    (style_img,) = images((67, 39), 1)
    plain, strips = both(SIZE, Settings(size=71, pooling=pooling), vgg_weights, rows=8)
    with plain, strips:
        for found, wanted in zip(strips.style_target(style_img), plain.style_target(style_img)):
            assert deviation(found, wanted) < 1e-6  # measured 9.1e-8


def test_strips_are_as_small_as_asked_for_and_no_smaller(vgg_weights, monkeypatch):
    """Seen through the session: two runs for each strip of each block, with a halo of one row per convolution."""
    content_img, style_img, start_img = images(SIZE)
    seen = []
    with Strips(SIZE, Settings(), vgg_weights, rows=16) as strips:
        strips.take(strips.targets(content_img, style_img))
        strips.set_image(start_img)
        session_run = strips.session.run

        def spy(fetches, feed_dict=None):
            seen.extend(value.shape[1:] for key, value in (feed_dict or {}).items() if key.op.name.endswith("/strip"))
            return session_run(fetches, feed_dict)

        monkeypatch.setattr(strips.session, "run", spy)
        strips.evaluate_with(strips.gradient)
    forward = [
        # 71 rows: 14 (the first), 14, 14, 14 and 15.
        *[(rows, 45, 3) for rows in (16, 18, 18, 18, 17)],
        # 36 rows: 12 each.
        *[(rows, 23, 64) for rows in (14, 16, 14)],
        # 18 rows: 8 and 10.
        *[(rows, 12, 128) for rows in (12, 14)],
        (9, 6, 256),
        (5, 3, 512),
    ]
    backward = [forward[11], forward[10], *forward[8:10], *forward[5:8], *forward[:5]]
    assert seen == forward + backward


class TestOptimisers:
    def trained(self, objective, optimiser_of, steps):
        content_img, style_img, start_img = images(SIZE)
        with objective:
            optimiser = optimiser_of(objective)
            objective.take(objective.targets(content_img, style_img))
            objective.set_image(start_img)
            optimiser.reset()
            costs = [optimiser.step() for _ in range(steps)]
            return costs, objective.image(), optimiser.state()

    def test_adam(self, vgg_weights):
        """Its first step is the sign of the gradient, so rounding counts where the gradient is nearly 0."""
        (wanted, wanted_img, _), (costs, img, state) = (
            self.trained(objective, lambda objective: Adam(objective, 2.0), 4)
            for objective in both(SIZE, Settings(), vgg_weights, rows=8)
        )
        assert wanted[-1].total < 0.9 * wanted[0].total
        for found, of_plain in zip(costs, wanted):
            assert near(found, of_plain, 2e-5)  # measured 3.6e-6
        assert np.mean(np.abs(img - wanted_img)) < 5e-5  # measured 3.3e-6, of steps of 2
        assert {array.shape for array in state.values()} == {(1, *SIZE[::-1], 3), ()}

    def test_lbfgs(self, vgg_weights):
        (wanted, wanted_img, _), (costs, img, _) = (
            self.trained(objective, LBFGS, 4) for objective in both(SIZE, Settings(), vgg_weights, rows=8)
        )
        assert wanted[-1].total < 0.9 * wanted[0].total
        for found, of_plain in zip(costs, wanted):
            assert near(found, of_plain, 2e-5)  # measured 1.9e-6
        assert deviation(img, wanted_img) < 2e-4  # measured 3.5e-5


def test_pictures_come_and_go_and_the_graph_stays(vgg_weights):
    """The second picture's gradient is that of an objective of its own; nothing is left of the first."""
    first, second = images(SIZE, seed=1), images(SIZE, seed=2)
    found = []
    for pictures in ([first, second], [second]):
        with Strips(SIZE, Settings(), vgg_weights, rows=8) as strips:
            strips.finalize()
            operations = len(strips.session.graph.get_operations())
            for content_img, style_img, start_img in pictures:
                strips.take(strips.targets(content_img, style_img))
                strips.set_image(start_img)
                result = strips.evaluate_with(strips.gradient)
            assert len(strips.session.graph.get_operations()) == operations
            found.append(result)
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_only_the_image_and_adams_variables_change(vgg_weights):
    content_img, style_img, start_img = images(SIZE)
    with Strips(SIZE, Settings(), vgg_weights, rows=8) as strips:
        adam = Adam(strips, 2.0)
        strips.take(strips.targets(content_img, style_img))
        strips.set_image(start_img)
        adam.reset()
        variables = strips.session.graph.get_collection("variables")
        before = strips.session.run(variables)
        adam.step()
        after = strips.session.run(variables)
        changed = {v.op.name for v, old, new in zip(variables, before, after) if not np.array_equal(old, new)}
    powers = {"train/beta1_power", "train/beta2_power"}
    assert changed == {"input_var", "input_var/Adam", "input_var/Adam_1"} | powers
    assert len(variables) == 32 + len(changed)


def test_the_process_keeps_its_default_graph(vgg_weights):
    tf = get_runtime().tf
    before = tf.get_default_graph()
    with Strips((9, 9), Settings(), vgg_weights, rows=4):
        assert tf.get_default_graph() is before


class TestRowsFor:
    @pytest.mark.parametrize("width", [400, 1600, 8000])
    @pytest.mark.parametrize("budget", [400_000_000, 1_000_000_000])
    def test_a_strip_takes_no_more_than_the_budget_and_nearly_all_of_it(self, width, budget):
        rows = rows_for(width, budget)
        assert rows % 2 == 0
        assert rows * width * 13 * 64 * 4 <= budget < (rows + 2) * width * 13 * 64 * 4

    def test_at_least_two(self):
        assert rows_for(8000, 0) == rows_for(10**9) == 2

    def test_default(self):
        assert rows_for(1600) == rows_for(1600, 600_000_000) == 112


def test_a_drawing_of_the_graph_has_the_blocks(settings, vgg_weights):
    with Strips((18, 14), settings, vgg_weights, rows=8) as strips:
        names = {node.name for node in readable_graph(list(strips.roots)).node}
    for layer in LAYERS[1 : settings.deepest_layer + 1]:
        assert any(name.startswith(f"{layer.block}/{layer.name}/") for name in names), layer.name
    assert "total_cost/add" in names
