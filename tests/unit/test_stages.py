"""Stages: what start_size, stages, precision, strips and presets come to, and how a run goes through them."""

import cv2
import numpy as np
import pytest

import nst_graph
from nst_graph import memory, precision
from nst_graph.checkpoint import State
from nst_graph.errors import CheckpointError, SettingError
from nst_graph.images import enlarged
from nst_graph.inputs import read_inputs
from nst_graph.optimisers import NOISE
from nst_graph.record import record_of
from nst_graph.settings import PRESETS, Settings, with_preset
from nst_graph.strips import Strips
from nst_graph.transfer import (
    Transfer,
    check_resumable,
    full_size,
    memory_needed,
    resumed_settings,
    settled,
    stages_of,
)

PICTURES = np.random.RandomState(0).randint(0, 256, (2, 40, 50, 3)).astype(np.uint8)
SHALLOW = {"content_layers": "conv2_1", "style_layers": "conv1_1,conv1_2"}


def sizes_and_iterations(settings, size):
    return [(stage.size, stage.iterations) for stage in stages_of(settings, size)]


class TestSettled:
    @pytest.mark.parametrize(
        ("start", "size", "stages"),
        [
            ("half", (400, 300), ((200, 9), (400, 9))),
            ("half", (300, 401), ((200, 9), (401, 9))),
            ("half", (1, 1), None),
            (200, (1600, 1200), ((200, 9), (400, 9), (800, 9), (1600, 9))),
            (300, (1000, 100), ((300, 9), (600, 9), (1000, 9))),
            (200, (400, 300), ((200, 9), (400, 9))),
            (400, (400, 300), None),
            (800, (400, 300), None),
        ],
    )
    def test_a_start_size_doubles_up_to_the_full_size(self, start, size, stages):
        settings = settled(Settings(size=size, start_size=start, iterations=9), size)
        assert (settings.stages, settings.start_size, settings.size) == (stages, None, size)
        assert settings.total_iterations == 9 * len(stages or [1])
        assert settled(settings, size) == settings

    def test_a_smaller_content_has_smaller_stages(self):
        given = Settings(size=800, start_size="half", iterations=9)
        content = np.zeros((30, 60, 3), np.uint8)
        size = full_size(given, content)
        settings = settled(given, size)
        assert (settings.size, settings.stages) == (60, ((30, 9), (60, 9)))
        assert full_size(settings, content) == size

    def test_no_iterations_are_one_stage(self):
        assert settled(Settings(start_size="half", iterations=0), (400, 300)).stages is None

    def test_the_articles_run_is_one_stage_in_float32(self):
        settings = settled(Settings(seed=1), (400, 300))
        assert settings == Settings(seed=1)

    def test_auto_precision(self, monkeypatch):
        monkeypatch.setattr(precision, "resolved", lambda word: {"auto": "bfloat16"}.get(word, word))
        assert settled(Settings(precision="auto"), (400, 300)).precision == "bfloat16"
        assert settled(Settings(precision="float32"), (400, 300)).precision == "float32"

    @pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
    def test_auto_strips_are_taken_where_the_whole_would_not_fit(self, monkeypatch, optimizer):
        settings, size = Settings(size=(1600, 1200), optimizer=optimizer, strips="auto"), (1600, 1200)
        whole = memory_needed(settings, size, 0)
        monkeypatch.setattr(memory, "free", lambda: whole)
        assert settled(settings, size).strips == "off"
        monkeypatch.setattr(memory, "free", lambda: whole - 1)
        strips = settled(settings, size)
        assert isinstance(strips.strips, int) and strips.strips >= 2
        assert memory_needed(strips, size, 0) < whole
        assert settled(strips, size) == strips
        assert settled(Settings(strips="off", size=size), size).strips == "off"
        assert settled(Settings(strips=64, size=size), size).strips == 64


class TestStagesOf:
    def test_sizes_keep_the_proportions_of_the_full_size(self):
        settings = Settings(size=800, stages="200:60,400:50,800:40")
        assert sizes_and_iterations(settings, (800, 601)) == [((200, 150), 60), ((400, 300), 50), ((800, 601), 40)]

    def test_a_content_smaller_than_a_stage_is_never_enlarged(self):
        settings = Settings(size=800, stages="200:60,400:50,800:40")
        assert sizes_and_iterations(settings, (300, 200)) == [((200, 133), 60), ((300, 200), 50), ((300, 200), 40)]

    def test_rows_are_for_pictures_that_are_taller(self):
        settings = Settings(size=(400, 300), stages="200:1,400:1", strips=150)
        assert [stage.rows for stage in stages_of(settings)] == [0, 150]
        assert [stage.rows for stage in stages_of(Settings(strips="off"))] == [0]

    @pytest.mark.parametrize(("kind", "noise"), [("float32", 0), ("bfloat16", NOISE)])
    def test_lbfgs_tolerates_the_noise_of_bfloat16(self, kind, noise):
        (stage,) = stages_of(Settings(optimizer="lbfgs", precision=kind))
        assert stage.optimiser.keywords == {"noise": noise}

    def test_stages_end_with_the_size(self):
        for size in (400, (300, 400)):
            with pytest.raises(
                SettingError, match="^STAGES must end with the longest side of the size, 400, not with 500"
            ):
                Settings(size=size, stages="200:1,500:1")


class TestPresets:
    def test_each_is_a_set_of_constants(self):
        for constants in PRESETS.values():
            Settings(**constants)

    def test_what_is_given_holds(self):
        assert with_preset(None, {"iterations": 3}) == {"iterations": 3}
        assert with_preset("fast", {}) == PRESETS["fast"]
        assert with_preset("fast", {"iterations": 3, "seed": 1}) == {**PRESETS["fast"], "iterations": 3, "seed": 1}

    def test_stages_replace_its_own(self):
        constants = with_preset("fast", {"stages": "200:1,400:1"})
        assert "start_size" not in constants and "iterations" not in constants
        assert Settings(**constants).optimizer == "lbfgs"
        with pytest.raises(SettingError, match="start_size has no effect with stages"):
            Settings(**with_preset("fast", {"stages": "200:1,400:1", "start_size": 200}))

    @pytest.mark.parametrize("word", ["quick", 3, ""])
    def test_an_unknown_one_is_refused(self, word):
        with pytest.raises(SettingError, match="^preset must be one of fast, not"):
            nst_graph.stylize("c.png", "s.png", preset=word)


class TestEnlarged:
    def test_content_at_both_sizes_gives_the_larger_content(self):
        """The image that is the content itself, shrunk, gets back what it lost."""
        large = PICTURES[0]
        small = cv2.resize(large, (25, 20), interpolation=cv2.INTER_AREA)
        found = enlarged(small[np.newaxis].astype(np.float32), small, large)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found[0], large, atol=1e-4)  # values up to 255; measured: 3e-5

    def test_a_flat_content_adds_nothing(self):
        image = np.random.RandomState(1).uniform(-100, 100, (1, 20, 25, 3)).astype(np.float32)
        flat = np.full((20, 25, 3), 7, np.uint8), np.full((40, 50, 3), 7, np.uint8)
        expected = cv2.resize(image[0], (50, 40), interpolation=cv2.INTER_CUBIC)
        np.testing.assert_allclose(enlarged(image, *flat)[0], expected, atol=1e-4)


class TestRuns:
    @pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
    @pytest.mark.parametrize("size", [(37, 27), 37])
    def test_a_run_through_several_sizes(self, vgg_weights, optimizer, size):
        told = []
        picture = nst_graph.stylize(
            *PICTURES,
            size=size,
            start_size=10,
            iterations=3,
            optimizer=optimizer,
            seed=0,
            weights=vgg_weights,
            callback=told.append,
            callback_every=1,
        )
        assert [progress.iteration for progress in told] == list(range(9))
        assert [progress.image.shape[1] for progress in told] == [10] * 3 + [20] * 3 + [37] * 3
        np.testing.assert_array_equal(picture, told[-1].image)

    def test_an_optimiser_that_gives_up_leaves_the_numbers_of_later_stages(self, vgg_weights):
        """So a checkpoint's iteration tells its stage."""
        settings = Settings(size=(37, 27), stages="18:5,37:4", optimizer="lbfgs", seed=0, **SHALLOW)

        def run(state=None):
            with Transfer(settings, vgg_weights) as transfer:
                transfer.start(*PICTURES)
                told = []
                if state is not None:
                    transfer.restore(state)
                for progress in transfer.steps():
                    if transfer.iteration == 2 and state is None:
                        transfer.optimiser._method.gave_up = "no reason"
                    told.append((progress.iteration, progress.costs))
                    if transfer.iteration == 7 and state is None:
                        state = transfer.state()
                return told, transfer.image(), state

        told, image, state = run()
        assert [iteration for iteration, _ in told] == [0, 1, 5, 6, 7, 8]
        assert isinstance(state, State) and state.iteration == 7
        rest, same, _ = run(state)
        assert rest == told[4:]
        np.testing.assert_array_equal(same, image)

    def test_strips_are_one_more_way_to_the_same_picture(self, vgg_weights):
        options = {"size": (37, 27), "start_size": "half", "iterations": 3, "seed": 0, "weights": vgg_weights}
        whole = nst_graph.stylize(*PICTURES, **options)
        with Transfer(Settings(size=(37, 27), start_size="half", iterations=3, seed=0, strips=14), vgg_weights) as run:
            run.start(*PICTURES)
            assert not isinstance(run.objective, Strips)  # 14 rows are one strip
            run.train()
            assert isinstance(run.objective, Strips)
            in_strips = run.picture()
        # Adam turns a rounding error in a gradient near 0 into a step. Measured: 3 pixels by 1.
        difference = np.abs(whole.astype(int) - in_strips)
        assert difference.max() <= 4 and difference.mean() < 0.1


class TestGoingOn:
    def record(self, **constants):
        settings = settled(Settings(size=(37, 27), seed=0, **constants), (37, 27))
        return record_of(settings, read_inputs(*PICTURES), "2")

    def test_the_last_stage_may_be_longer(self):
        saved, state = self.record(stages="18:5,37:4"), State(8, np.zeros((1, 27, 37, 3), np.float32), {})
        settings = resumed_settings(saved, {"stages": ((18, 5), (37, 9))})
        assert settings.total_iterations == 14
        check_resumable(self.record(stages="18:5,37:9"), state, saved)
        with pytest.raises(CheckpointError, match="after 8 iterations, and 7 are asked for"):
            check_resumable(self.record(stages="18:5,37:2"), state, saved)

    @pytest.mark.parametrize("stages", ["18:6,37:4", "20:5,37:4", "37:9", "9:5,18:5,37:4"])
    def test_others_are_another_run(self, stages):
        saved, state = self.record(stages="18:5,37:4"), State(8, np.zeros((1, 27, 37, 3), np.float32), {})
        with pytest.raises(SettingError, match="^stages is .* in the checkpoint"):
            resumed_settings(saved, {"stages": Settings(size=37, stages=stages).stages})
        with pytest.raises(CheckpointError, match="another run: stages is"):
            check_resumable(self.record(stages=stages), state, saved)

    def test_iterations_are_those_of_a_run_without_stages(self):
        with pytest.raises(SettingError, match="iterations has no effect with stages"):
            resumed_settings(self.record(stages="18:5,37:4"), {"iterations": 3})
        assert resumed_settings(self.record(iterations=4), {"iterations": 9}).iterations == 9

    def test_threads_may_be_others(self):
        assert resumed_settings(self.record(iterations=4), {"threads": 2}).threads == 2
