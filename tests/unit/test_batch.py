"""Many pictures in this process: the same bits as one by one, one network, and failures that end nothing."""

import itertools
import pathlib

import cv2
import numpy as np
import pytest

import nst_graph
from nst_graph import memory
from nst_graph.batch import Job, stylize_many
from nst_graph.errors import PictureError, RuntimeMissingError, SettingError, WeightsError
from nst_graph.inputs import PictureFile, Style
from nst_graph.objective import Objective
from nst_graph.observers import Callback
from nst_graph.session import NetworkSession

#: Constants of all pictures here, unless a test has others. Few layers, so that a graph is built quickly.
SHALLOW = {"content_layers": "conv1_2", "style_layers": "conv1_1,conv2_1"}
COMMON = {"size": 20, "iterations": 2, "seed": 0, **SHALLOW}


def noise(seed, *shape):
    return np.random.RandomState(seed).randint(0, 256, (*shape, 3)).astype(np.uint8)


CONTENTS = [noise(0, 15, 20), noise(1, 15, 20), noise(2, 20, 15)]
STYLES = [noise(3, 24, 32), noise(4, 24, 32)]  # of one size: nothing but the pictures tells them apart


@pytest.fixture
def calls(monkeypatch):
    """Count how often networks and objectives are built and style targets computed."""
    counts = {"networks": 0, "objectives": 0, "style targets": 0}

    def count(kind, name, what):
        original = getattr(kind, name)

        def counted(self, *arguments, **keywords):
            counts[what] += 1
            return original(self, *arguments, **keywords)

        monkeypatch.setattr(kind, name, counted)

    count(NetworkSession, "__init__", "networks")
    count(Objective, "__init__", "objectives")
    count(Objective, "style_target", "style targets")
    return counts


def alone(result, weights):
    constants = {**COMMON, **result.job.constants}
    return nst_graph.stylize(result.job.content, result.job.style, weights=weights, **constants)


def test_pictures_are_those_of_stylize_and_nothing_is_made_twice(vgg_weights, calls):
    jobs = [*itertools.product(CONTENTS, STYLES), (CONTENTS[0], [Style(STYLES[0], 3), STYLES[1]])]
    results = list(stylize_many(jobs, weights=vgg_weights, **COMMON))
    # Two sizes; a style is computed once for each, also where it is blended with another.
    assert calls == {"networks": 1, "objectives": 2, "style targets": 4}
    assert [(result.number, result.error) for result in results] == [(number, None) for number in range(7)]
    assert all([row[0] for row in result.history] == [0, 1] for result in results)
    for result in (results[1], results[4], results[6]):
        np.testing.assert_array_equal(result.picture, alone(result, vgg_weights))


def test_no_more_style_targets_are_kept_than_fit(vgg_weights, calls, monkeypatch):
    """The one that was not used for the longest time goes first."""
    monkeypatch.setattr("nst_graph.transfer._MOST_STYLES_KEPT", 2)
    styles = {name: noise(seed, 24, 32) for seed, name in enumerate("abc", start=30)}
    counts = []
    for _ in stylize_many([(CONTENTS[0], styles[name]) for name in "abacbba"], weights=vgg_weights, **COMMON):
        counts.append(calls["style targets"])
    assert counts == [1, 2, 2, 3, 4, 4, 5]


#: Constants, and whether a graph depends on them.
SWEEP = [
    *(({}, False), ({"alpha": 5}, True), ({"pooling": "max"}, True), ({"optimizer": "lbfgs"}, True)),
    *(({"seed": 1}, False), ({"init": "style"}, False), ({"iterations": 3}, False), ({"size": (20, 15)}, True)),
    *(({"preserve_colors": "statistics"}, True), ({"style_scale": 0.7}, False), ({}, False)),
]


def test_a_sweep_has_one_network_and_every_picture_its_own_constants(vgg_weights, calls):
    jobs = [(CONTENTS[1], STYLES[0], constants) for constants, _ in SWEEP]
    results = list(stylize_many(jobs, weights=vgg_weights, **COMMON))
    assert calls == {"networks": 1, "objectives": 1 + sum(own for _, own in SWEEP), "style targets": 7}
    for result in (results[1], results[2], results[8], results[9]):
        np.testing.assert_array_equal(result.picture, alone(result, vgg_weights))
    first, *others, last = (result.picture for result in results)
    np.testing.assert_array_equal(first, last)
    assert not any(np.array_equal(first, other) for other in others)


def test_pictures_that_fail_end_nothing(vgg_weights, tmp_path, monkeypatch):
    (tmp_path / "cut.png").write_bytes(cv2.imencode(".png", CONTENTS[0])[1].tobytes()[:200])
    jobs = [
        (str(tmp_path / "missing.png"), STYLES[0]),
        (str(tmp_path / "cut.png"), STYLES[0]),
        (CONTENTS[0], STYLES[0], {"alpa": 3}),
        (CONTENTS[0], STYLES[0], {"alpha": -3}),
        (CONTENTS[0], STYLES[0], {"threads": 3}),
        (CONTENTS[0], STYLES[0], {"size": 3}),
        Job(CONTENTS[0], STYLES[0], name="the good one"),
    ]
    *failed, good = stylize_many(
        jobs, weights=vgg_weights, **{**COMMON, "pooling": "max", "content_layers": "pool3", "style_layers": "conv1_1"}
    )
    assert [type(result.error) for result in failed] == [PictureError] * 2 + [SettingError] * 4
    for result, words in zip(failed, ("there is no", "damaged", "alpha", "-3", "give it to the batch", "larger size")):
        assert words in str(result.error) and result.picture is None and not result.costs
    assert good.error is None and good.number == 6 and good.job.name == "the good one"


def test_an_error_of_another_kind_fails_one_picture_and_the_next_is_right(vgg_weights, calls, monkeypatch):
    target, fails = Objective.style_target, [ValueError("a bug"), MemoryError()]

    def once(self, img):
        if fails and self.size == (15, 20):
            raise fails.pop(0)
        return target(self, img)

    monkeypatch.setattr(Objective, "style_target", once)
    jobs = [(CONTENTS[number], STYLES[0]) for number in (0, 2, 2, 0, 2)]
    results = list(stylize_many(jobs, weights=vgg_weights, **COMMON))
    assert [str(result.error) for result in results] == [
        *("None", "ValueError: a bug", "the memory did not suffice; give a smaller size, or strips", "None", "None")
    ]
    assert isinstance(results[1].error.__cause__, ValueError)
    assert calls["networks"] == 3
    monkeypatch.undo()
    for result in (results[0], *results[3:]):
        np.testing.assert_array_equal(result.picture, alone(result, vgg_weights))


def test_too_little_memory_fails_the_picture_alone(vgg_weights, monkeypatch):
    monkeypatch.setattr(memory, "free", lambda: 2_000_000_000)
    jobs = [(CONTENTS[0], STYLES[0], {"size": (4000, 3000)}), (CONTENTS[0], STYLES[0])]
    large, small = stylize_many(jobs, weights=vgg_weights, **COMMON)
    assert "a run at 4000x3000 needs about" in str(large.error) and small.error is None


def test_memory_that_earlier_pictures_have_taken_counts_as_free(vgg_weights, monkeypatch):
    """Otherwise a machine that has just enough for one picture would refuse the second."""
    taken = iter([100, 100, 3_000_000_100])
    monkeypatch.setattr(memory, "resident", lambda: next(taken))
    left = iter([3_000_000_000, 0])
    monkeypatch.setattr(memory, "free", lambda: next(left))
    jobs = [(CONTENTS[0], STYLES[0]), (CONTENTS[1], STYLES[0])]
    assert [result.error for result in stylize_many(jobs, weights=vgg_weights, **COMMON)] == [None, None]


def test_jobs_are_read_one_by_one_and_the_batch_can_be_left(vgg_weights):
    read = []

    def endless():
        for number in itertools.count():
            read.append(number)
            yield CONTENTS[0], STYLES[0]

    results = stylize_many(endless(), weights=vgg_weights, **COMMON)
    assert next(results).error is None and read == [0]
    assert next(results).error is None and read == [0, 1]
    results.close()


def test_observers_watch_each_picture_and_a_batch_that_is_stopped_drops_the_one_it_is_at(vgg_weights):
    seen = []

    def observers(job):
        return [Callback(lambda progress: seen.append((job.name, progress.iteration)), every=1)]

    jobs = [Job(CONTENTS[0], STYLES[0], name=name) for name in "abc"]
    stop = lambda: ("b", 0) in seen  # noqa: E731
    constants = {**COMMON, "iterations": 3}
    results = list(stylize_many(jobs, weights=vgg_weights, observers=observers, stop=stop, **constants))
    assert [result.job.name for result in results] == ["a"]
    assert seen == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]


def test_files_that_were_read_already_are_those_files(vgg_weights, tmp_path):
    names = [str(tmp_path / f"{name}.png") for name in ("content", "style", "mask")]
    for name, picture in zip(names, (CONTENTS[0], STYLES[0], STYLES[1])):
        cv2.imwrite(name, picture)
    content, style, mask = names
    files = [PictureFile(name, pathlib.Path(name).read_bytes()) for name in names]
    jobs = [
        (content, Style(style, mask=mask), {"init": style}),
        (files[0], Style(files[1], mask=files[2]), {"init": files[1]}),
    ]
    one, two = stylize_many(jobs, weights=vgg_weights, **COMMON)
    np.testing.assert_array_equal(one.picture, two.picture)
    assert one.record == two.record and two.record.content.path == content and two.record.init.path == style


def test_what_is_wrong_with_all_pictures_is_told_at_once(vgg_weights, monkeypatch):
    jobs = [(CONTENTS[0], STYLES[0])]
    for constants, error in (
        ({"alpha": -1}, SettingError),
        ({"alpa": 1}, SettingError),
        ({"preset": "slow"}, SettingError),
        ({"weights": "none.h5"}, WeightsError),
    ):
        with pytest.raises(error):
            stylize_many(jobs, **{"weights": vgg_weights, **constants})
    monkeypatch.setenv("NST_GRAPH_RUNTIME", "none")
    with pytest.raises(RuntimeMissingError):
        stylize_many(jobs, weights=vgg_weights)
