"""Numbers that go wrong: what ends a run, what it says, and what stays on the disk."""

import cv2
import numpy as np
import pytest

import nst_graph
from nst_graph.divergence import Watch
from nst_graph.errors import DivergenceError, NSTGraphError
from nst_graph.observers import Checkpoints, History, NumberedPictures, SavedPicture
from nst_graph.settings import Settings
from nst_graph.transfer import Transfer

GOOD = {"content": 6e3, "style": 2e8, "total": 8e9, "style/block1_conv1": 2e8}
START = "(the last good costs were those before the first iteration: content cost 6.00e+03, style cost 2.00e+08, "
INF, NAN = float("inf"), float("nan")


def image(largest=100.0):
    img = np.zeros((1, 5, 7, 3), np.float32)
    img[0, 2, 3, 1] = largest
    return img


def watch(settings=None, largest=100.0):
    return Watch(settings or Settings(), lambda: image(largest))


def error(settings=None, largest=100.0, at=0, **costs):
    """Return what is said of costs after an iteration, where those before the first were good."""
    watching = watch(settings, largest)
    for iteration in range(-1, at):
        watching.check_costs(iteration, GOOD)
    with pytest.raises(DivergenceError) as caught:
        watching.check_costs(at, {**GOOD, **costs})
    assert isinstance(caught.value, (NSTGraphError, ArithmeticError)) and "\n" not in str(caught.value)
    return str(caught.value)


class TestCosts:
    def test_good_ones_are_good(self, caplog):
        watching = watch()
        for iteration in range(-1, 5):
            watching.check_costs(iteration, GOOD)
            watching.check_costs(iteration, {name: np.float32(cost) for name, cost in GOOD.items()})
        assert not caplog.records

    @pytest.mark.parametrize("value", [INF, -INF, NAN, np.float32("inf"), np.float32("nan")])
    @pytest.mark.parametrize("name", ["content", "style", "total"])
    def test_one_that_is_not_finite_ends_the_run(self, name, value):
        assert error(**{name: value}).startswith(f"after iteration 0 the {name} cost is {value} {START}")

    def test_the_iteration_and_the_costs_before_it_are_told(self):
        said = error(at=7, style=NAN, total=INF)
        assert said.startswith(
            "after iteration 7 the style cost is nan, the total cost is inf (the last good costs were "
        )
        assert "those after iteration 6: content cost 6.00e+03, style cost 2.00e+08, total cost 8.00e+09): " in said

    def test_at_the_start_nothing_was_before(self):
        assert error(at=-1, style=INF).startswith("before the first iteration the style cost is inf: ")


class TestCause:
    """Each is found in the facts: the image, the settings, the costs."""

    def test_a_learning_rate(self):
        rate = "): the learning rate 1e+30 is too large"
        assert f"{rate}, values of the image are up to 1.0e+30; take a smaller" in error(
            Settings(learning_rate=1e30), 1e30, total=INF
        )
        assert f"{rate}; take a smaller" in error(Settings(learning_rate=1e30), NAN, total=NAN)

    @pytest.mark.parametrize(
        ("name", "weight", "cost"),
        [("alpha", 1e37, "content cost 6.00e+03"), ("beta", 1e31, "style cost 2.00e+08")],
    )
    @pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
    def test_a_weight_of_a_cost(self, name, weight, cost, optimizer):
        said = error(Settings(optimizer=optimizer, **{name: weight}), at=-1, total=INF)
        assert f": {name} {weight:g} times the {cost} is too large for float32, which ends at 3.4e+38; take" in said

    def test_the_weight_of_total_variation(self):
        said = error(Settings(tv_weight=1e35), at=-1, total_variation=1e5, total=INF)
        assert ": tv_weight 1e+35 times the total variation cost 1.00e+05 is too large" in said

    def test_a_coefficient(self):
        settings = Settings(style_layer_coefficients=(1e30, 0.2, 0.2, 0.2, 0.2))
        assert ": the coefficient 1e+30 of a layer is too large" in error(settings, at=-1, style=INF, total=INF)

    def test_a_gradient(self):
        watching = watch(Settings(beta=1e20), NAN)
        with pytest.raises(
            DivergenceError, match="after iteration 0 the image has pixels .* the gradient leaves float32"
        ):
            watching.check_costs(-1, {**GOOD, "total": 2e28})

    def test_the_network(self):
        said = error(at=-1, content=NAN)
        assert (
            ": the network's activations or their sums over 7x5 pixels are too large for float32; are VGG-19's" in said
        )

    def test_the_precision(self):
        adam, lbfgs = (Settings(precision="bfloat16", optimizer=optimizer) for optimizer in ("adam", "lbfgs"))
        assert error(adam, total=NAN).endswith("for bfloat16; take float32, or a smaller learning rate")
        assert error(lbfgs, total=NAN).endswith("for bfloat16; take float32")


class TestGrowth:
    def grown(self, caplog, totals, **constants):
        caplog.clear()
        watching = watch(Settings(**constants))
        for iteration, total in enumerate(totals):
            watching.check_costs(iteration - 1, {**GOOD, "total": total})
        return [record.getMessage() for record in caplog.records]

    def test_a_thousandfold_is_told_once(self, caplog):
        said = self.grown(caplog, [1e9, 1e12, 1.1e12, 5e13], learning_rate=300)
        assert said == [
            "the total cost has grown from 1.00e+09 before the first iteration to 1.10e+12 after iteration 1: "
            "the learning rate 300 is probably too large"
        ]

    def test_without_a_learning_rate_none_is_blamed(self, caplog):
        (said,) = self.grown(caplog, [1e9, 1e13], optimizer="lbfgs")
        assert said.endswith("to 1.00e+13 after iteration 0")

    def test_a_run_that_starts_at_0(self, caplog):
        """It starts from the content, and nothing else is asked for."""
        assert self.grown(caplog, [0, 0, 1e3, 1e5]) == []
        assert len(self.grown(caplog, [0, 1e3, 1.1e6])) == 1


@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_a_pixel_ends_the_run(value):
    watching = watch()
    watching.check_image(3, image())
    watching.check_costs(3, GOOD)
    with pytest.raises(DivergenceError, match="after iteration 4 the image has pixels that are infinite or NaN"):
        watching.check_image(4, image(value))


# Runs ---------------------------------------------------------------------------------------------------------------

SMALL = {"size": (12, 9), "seed": 0, "content_layers": "conv2_1", "style_layers": "conv1_1,conv1_2"}
HUGE = {"learning_rate": 1e30}
RNG = np.random.RandomState(0)
PICTURES = [RNG.randint(0, 256, (9, 12, 3)).astype(np.uint8) for _ in range(2)]


@pytest.fixture
def old(tmp_path, monkeypatch):
    """Files of an earlier run, which one that diverges from the start must not replace."""
    monkeypatch.chdir(tmp_path)
    for name in ("x.png", "x_0000.png", "run.npz", "costs.csv"):
        (tmp_path / name).write_text("an earlier run's")
    return tmp_path


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def watching():
    return [History("costs.csv"), SavedPicture("x.png", 1), NumberedPictures("x.png", 1), Checkpoints("run.npz", 1)]


@pytest.mark.parametrize(
    "constants",
    [
        {"iterations": 1, **HUGE},  # the costs after the last step
        {"iterations": 4, "alpha": 1e38, "optimizer": "lbfgs"},
        {"iterations": 4, "beta": 1e36, "strips": 8},
        {"iterations": 4, "beta": 1e26},  # the costs are finite, the squares of the gradient are not
        {"stages": ((6, 2), (12, 2)), "size": 12, **HUGE},
    ],
    ids=lambda constants: " ".join(constants),
)
def test_a_run_replaces_nothing(old, vgg_weights, constants):
    before = files(old)
    with pytest.raises(DivergenceError):
        nst_graph.stylize(*PICTURES, weights=vgg_weights, observers=watching(), **{**SMALL, **constants})
    assert files(old) == before


def test_what_was_good_stays(old, vgg_weights, monkeypatch):
    """The image becomes garbage in the step after iteration 2, finite and enormous."""
    step = nst_graph.Adam.step

    def breaking(self):
        costs = step(self)
        breaking.steps += 1
        if breaking.steps == 4:
            self.objective.set_image(self.objective.image() * np.float32(1e30))
        return costs

    breaking.steps = 0
    monkeypatch.setattr(nst_graph.Adam, "step", breaking)
    seen = []
    constants = {**SMALL, "iterations": 9}
    with pytest.raises(DivergenceError, match="^after iteration 3 .* those after iteration 2: "):
        nst_graph.stylize(
            *PICTURES, weights=vgg_weights, observers=watching(), callback=seen.append, callback_every=1, **constants
        )
    assert [progress.iteration for progress in seen] == [0, 1, 2]
    assert (old / "costs.csv").read_text().count("\n") == 4
    for name in ("x.png", "x_0002.png"):
        np.testing.assert_array_equal(cv2.imread(name), seen[-1].image)
    assert not (old / "x_0003.png").exists()
    monkeypatch.setattr(nst_graph.Adam, "step", step)
    # The checkpoint is that of iteration 2: the run goes on from it.
    rest = History()
    nst_graph.stylize(*PICTURES, weights=vgg_weights, resume="run.npz", observers=[rest])
    assert [row[0] for row in rest.rows] == list(range(2, 9))


def test_a_step_and_a_picture_by_hand(vgg_weights):
    with Transfer(Settings(**{**SMALL, **HUGE}), vgg_weights) as transfer:
        transfer.start(*PICTURES)
        transfer.check()
        transfer.step()
        with pytest.raises(DivergenceError, match="after iteration 0 "):
            transfer.check()  # what the command asks where a run was interrupted
        with pytest.raises(DivergenceError, match="after iteration 0 .* learning rate 1e\\+30"):
            transfer.step()
        transfer.start(*PICTURES)
        img = transfer.image()
        img[0, 0, 0, 0] = np.nan
        transfer.objective.set_image(img)
        for garbage in (transfer.picture, transfer.state):
            with pytest.raises(DivergenceError, match="before the first iteration the image has pixels"):
                garbage()
