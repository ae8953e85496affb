"""Observers, called by hand or by a real transfer."""

import contextlib
import csv
import io
import logging
import os
import shutil

import cv2
import numpy as np
import pytest

import nst_graph
from nst_graph import observers
from nst_graph.costs import CostName, Costs
from nst_graph.errors import OutputError, SettingError
from nst_graph.observers import (
    BatchBar,
    Callback,
    Checkpoints,
    History,
    NumberedPictures,
    Observer,
    PrintedLines,
    Progress,
    ProgressBar,
    Run,
    SavedPicture,
    TensorBoard,
)
from nst_graph.settings import Settings
from nst_graph.transfer import Transfer


class Told(Observer):
    """Keeps the calls it gets."""

    def __init__(self, every=0):
        self.every = every
        self.calls = []

    def begin(self, run):
        self.calls.append(("begin", run.roots[0].graph.finalized))

    def step(self, progress):
        self.calls.append((progress.iteration, progress.image is not None))

    def end(self):
        self.calls.append("end")


def settings(**constants):
    return Settings(
        size=(7, 5), seed=0, content_layer_index=2, style_layer_indices=[1], style_layer_coefficients=[1], **constants
    )


@contextlib.contextmanager
def transfer(settings, weights):
    with Transfer(settings, weights) as run:
        run.start(*np.random.RandomState(0).randint(0, 256, (2, 5, 7, 3)).astype(np.uint8))
        yield run


def progress(iteration, image=None):
    return Progress(iteration, Costs(zip(NAMES, (1234.5, 6.789e7, 2.5e9 - iteration, 6.789e7))), image)


NAMES = tuple(CostName(name) for name in ("content", "style", "total", "style/block1_conv1"))
GRAY = np.full((5, 7, 3), 128, np.uint8)
#: What observers learn of a run of 40 steps.
RUN = Run(settings(iterations=40), 40, NAMES, GRAY, (GRAY,), "nowhere", None, None, (), (((4, 3), 40),))


def assert_same_costs(found, expected):
    # TensorFlow arranges the sums otherwise when the training step is fetched with them. Measured: 2.7e-7 on 1.15, and
    # 0 on 2.15 and 2.21.
    assert list(found) == list(expected)
    np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-6)


class TestTrain:
    def test_everybody_gets_every_iteration_and_the_pictures_asked_for(self, vgg_weights):
        watching = [Told(0), Told(2), Told(3)]
        with transfer(settings(iterations=6), vgg_weights) as run:
            run.train(watching)
        for observer in watching:
            expected = [(i, observer.every > 0 and (i % observer.every == 0 or i == 5)) for i in range(6)]
            assert observer.calls == [("begin", True), *expected, "end"]

    def test_costs_and_picture_of_an_iteration_belong_together(self, vgg_weights):
        seen = []
        watching = Told(1)
        watching.step = seen.append
        with transfer(settings(iterations=4), vgg_weights) as run:
            run.train([watching])
        with transfer(settings(iterations=4), vgg_weights) as run:
            for told in seen:
                run.step()
                assert_same_costs(told.costs, run.costs())
                np.testing.assert_array_equal(told.image, run.picture())

    def test_a_step_returns_the_costs_before_it(self, vgg_weights):
        with transfer(settings(), vgg_weights) as run:
            for _ in range(3):
                before = run.costs()
                assert_same_costs(run.step(), before)

    def test_watching_takes_one_pass_at_the_end_and_no_other(self, vgg_weights, monkeypatch):
        tf = nst_graph.get_runtime().tf
        with transfer(settings(iterations=5), vgg_weights) as run:
            fetched, run_session = [], tf.Session.run

            def spy(self, fetches, *args, **kwargs):
                fetched.append(fetches)
                return run_session(self, fetches, *args, **kwargs)

            monkeypatch.setattr(tf.Session, "run", spy)
            run.train([Told(2)])
            input_var = run.objective.input_var
        steps = [fetches for fetches in fetched if isinstance(fetches, list)]
        costs = [fetches for fetches in fetched if isinstance(fetches, Costs)]
        pictures = [fetches for fetches in fetched if fetches is input_var]
        assert (len(steps), len(costs), len(pictures), len(fetched)) == (5, 1, 3, 9)

    def test_no_iterations(self, vgg_weights):
        watching = Told(1)
        with transfer(settings(iterations=0), vgg_weights) as run:
            run.train([watching])
        assert watching.calls == [("begin", True), "end"]

    def test_all_are_told_of_the_end_when_one_fails(self, vgg_weights):
        failing, other = Told(), Told()
        failing.step = lambda told: 1 / 0
        with transfer(settings(iterations=3), vgg_weights) as run, pytest.raises(ZeroDivisionError):
            run.train([other, failing])
        assert other.calls == [("begin", True), (0, False), "end"] and failing.calls[-1] == "end"

    def test_one_whose_beginning_fails_is_ended_and_those_after_it_are_not(self, vgg_weights):
        first, failing, last = Told(), Told(), Told()
        failing.begin = lambda run: 1 / 0
        with transfer(settings(iterations=3), vgg_weights) as run, pytest.raises(ZeroDivisionError):
            run.train([first, failing, last])
        assert (first.calls, failing.calls, last.calls) == ([("begin", True), "end"], ["end"], [])

    def test_those_of_the_project_can_end_without_a_beginning(self, tmp_path):
        for observer in (PrintedLines(), ProgressBar(), SavedPicture("x.png"), TensorBoard(str(tmp_path)), History()):
            observer.end()
        assert list(tmp_path.iterdir()) == []

    def test_stylize_takes_them_beside_a_callback(self, vgg_weights):
        picture = np.zeros((5, 7, 3), np.uint8)
        watching, seen = Told(), []
        nst_graph.stylize(
            picture,
            picture,
            iterations=3,
            size=(7, 5),
            weights=vgg_weights,
            callback=seen.append,
            callback_every=2,
            observers=[watching],
        )
        assert watching.calls == [("begin", True), (0, False), (1, False), (2, False), "end"]
        assert [told.iteration for told in seen] == [0, 2]


def test_printed_lines(capsys):
    lines = PrintedLines(every=20)
    for i in range(41):
        lines.step(progress(i))
    assert capsys.readouterr().out.splitlines() == [
        f"Iteration: {i}, Content cost: 1.23e+03, Style cost: 6.79e+07, Total cost: 2.50e+09" for i in (0, 20, 40)
    ]


def test_a_further_term_of_the_cost_is_in_the_line(capsys):
    costs = Costs((CostName(name), 1.0) for name in ("content", "total_variation", "content/x", "total"))
    PrintedLines().step(Progress(0, costs, None))
    expected = "Iteration: 0, Content cost: 1.00e+00, Total variation cost: 1.00e+00, Total cost: 1.00e+00\n"
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize(("every", "expected"), [(0, []), (1, [0, 1, 2, 3]), (np.int64(3), [0, 3])])
def test_how_often_lines_are_printed(capsys, every, expected):
    lines = PrintedLines(every)
    for i in range(4):
        lines.step(progress(i))
    assert [int(line.split()[1][:-1]) for line in capsys.readouterr().out.splitlines()] == expected


@pytest.mark.parametrize("every", [-1, True, 1.0, "2", None])
@pytest.mark.parametrize("make", [PrintedLines, lambda n: SavedPicture("x.png", n), lambda n: TensorBoard("log", n)])
def test_how_often_is_a_whole_number(make, every):
    with pytest.raises(SettingError, match="must be a whole number of at least 0"):
        make(every)


def test_how_often_a_callback_is_called():
    assert Callback(print, np.int64(2)).every == 2
    for every in (0, -1, True, 1.5):
        with pytest.raises(SettingError, match="must be a whole number of at least 1"):
            Callback(print, every)


def test_progress_bar(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    logger = logging.getLogger("nst_graph")
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(logger, "handlers", [handler])
    bar = ProgressBar()
    bar.begin(RUN)
    for i in range(40):
        bar.step(progress(i))
    logger.warning("something happened")
    bar.end()
    drawn = stream.getvalue().replace("\r", "\n").splitlines()
    assert any("0/40 [00:00<?" in line for line in drawn)
    assert "something happened" in drawn  # on a line of its own
    assert "40/40" in drawn[-1] and "total cost 2.50e+09" in drawn[-1]
    assert logger.handlers == [handler]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_only_a_terminal_can_be_one_without_size(monkeypatch, is_terminal):
    """A notebook's standard error has the descriptor of the terminal that Jupyter runs in."""
    stream = io.StringIO()
    stream.isatty, stream.fileno = lambda: is_terminal, lambda: 2
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("os.get_terminal_size", lambda descriptor: os.terminal_size((0, 0)))
    assert observers._terminal_without_size() is is_terminal


def test_batch_bar(monkeypatch, capsys):
    """Three runs, of which the second takes as long as the two others; the third fails before it begins."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with BatchBar([1.0, 2.0, 1.0]) as bar:
        for number in range(2):
            bar.next(number).begin(RUN._replace(stages=(((10, 10), 20), ((20, 10), 10))))
            for i in range(30 if number else 0):
                bar.step(progress(i))
                shares = [bar._now]
            bar.finish(number)
        bar.print("a line")
        bar.finish(2)
    drawn = stream.getvalue().replace("\r", "\n").splitlines()
    assert "0 of 3 pictures   0%" in drawn[1] and "3 of 3 pictures 100%" in drawn[-1] and shares == [3.0]
    assert any("1 of 3 pictures  25%" in line for line in drawn) and any(
        "2 of 3 pictures  75%" in line for line in drawn
    )
    assert capsys.readouterr().out == "a line\n"


def test_saved_picture(tmp_path):
    path = str(tmp_path / "x.png")
    saved = SavedPicture(path, every=3)
    assert saved.every == 3
    saved.step(progress(0, np.full((5, 7, 3), 9, np.uint8)))
    saved.step(progress(1))
    assert (cv2.imread(path) == 9).all() and cv2.imread(path).shape == (5, 7, 3)
    assert saved.saved == 0


@pytest.mark.parametrize("kind", [SavedPicture, NumberedPictures])
def test_a_picture_that_can_never_be_written_is_found_before_the_first_step(kind, tmp_path):
    (tmp_path / "file").write_text("no folder")
    for name in ("x.txt", "file/x.png"):
        with pytest.raises(OutputError, match="cannot"):
            kind(str(tmp_path / name)).begin(RUN)
    kind("x.txt", write=lambda picture, path: None).begin(RUN)


class Disk:
    """Writes, unless it is full."""

    def __init__(self):
        self.full, self.tried, self.files = False, [], {}

    def write(self, picture, path):
        self.tried.append(path)
        if self.full:
            raise OutputError(f"the picture {path!r} cannot be written: ...") from OSError(
                28, "No space left on device"
            )
        self.files[path] = picture


@pytest.mark.parametrize("kind", [SavedPicture, NumberedPictures])
def test_a_picture_that_cannot_be_written_does_not_end_a_run(kind, caplog):
    disk = Disk()
    saved = kind("x.png", 1, disk.write)
    for iteration in range(6):
        disk.full = iteration in (1, 2)
        saved.step(progress(iteration, GRAY))
    assert len(disk.tried) == 6
    name = "x_000{}.png" if kind is NumberedPictures else "x.png"
    assert [record.getMessage() for record in caplog.records] == [
        f"the picture {name.format(1)!r} cannot be written (No space left on device); the run goes on and tries again",
        f"the picture {name.format(3)!r} can be written again",
    ]
    disk.full = True
    saved.step(progress(6, GRAY)._replace(is_last=True))
    assert saved.saved == 5 and len(disk.tried) == 8  # the last one is tried twice


class TestCheckpoints:
    """Without TensorFlow: a state is a number, and files are what would be written."""

    @pytest.fixture
    def written(self, monkeypatch):
        written = []

        def write(path, state, record):
            if path == "full":
                raise OSError(28, "No space left on device")
            written.append(state)

        monkeypatch.setattr(observers, "write_checkpoint", write)
        return written

    def told(self, written, path="run.npz", every=2, iterations=7, known=False):
        """Return what was written when each iteration had been told."""
        now = [0]
        checkpoints = Checkpoints(path, every)
        checkpoints.begin(RUN._replace(state=lambda: now[0] + 2, knows_costs=lambda: known))
        seen = []
        for iteration in range(iterations):
            now[0] = iteration
            checkpoints.step(progress(iteration)._replace(is_last=iteration == 6))
            seen.append(written[-1] if written else None)
        checkpoints.end()
        return seen

    def test_a_state_is_written_when_its_costs_are_known(self, written):
        # The state after the step that gave the costs of an iteration has costs that come with the next one.
        assert self.told(written) == [None, 2, 2, 4, 4, 6, 8]

    def test_at_once_where_they_are_known_already(self, written):
        assert self.told(written, known=True) == [2, 2, 4, 4, 6, 6, 8]

    def test_every_iteration(self, written):
        assert self.told(written, every=1) == [None, 2, 3, 4, 5, 6, 8]

    def test_a_state_whose_costs_never_came_is_not_written(self, written):
        assert self.told(written, iterations=5)[-1] == 4 and written == [2, 4]

    def test_a_full_disk_is_told_once(self, written, caplog):
        self.told(written, "full")
        (record,) = caplog.records
        assert record.getMessage() == (
            "the checkpoint 'full' cannot be written (No space left on device); the run goes on and tries again"
        )


class TestHistory:
    def told(self, path, steps=3):
        history = History(path)
        history.begin(RUN)
        for i in range(steps):
            history.step(progress(i))
        history.end()
        return history

    def test_file_and_rows_are_the_costs_to_the_last_bit(self, tmp_path):
        path = tmp_path / "costs.csv"
        path.write_text("what was there before")
        history = self.told(str(path))
        with path.open(newline="") as file:
            header, *rows = csv.reader(file)
        assert header == history.columns
        assert header == ["iteration", "content_cost", "style_cost", "total_cost", "style_cost_block1_conv1"]
        assert [[float(entry) for entry in row] for row in rows] == history.rows
        assert history.rows == [[i, 1234.5, 6.789e7, 2.5e9 - i, 6.789e7] for i in range(3)]

    def test_what_is_there_stays_until_there_is_something_new(self, tmp_path):
        path = tmp_path / "costs.csv"
        path.write_text("what was there before")
        self.told(str(path), steps=0)
        assert path.read_text() == "what was there before"

    def test_is_on_the_disk_while_the_run_goes_on(self, tmp_path):
        history = History(str(tmp_path / "costs.csv"))
        history.begin(RUN)
        for i in range(3):
            history.step(progress(i))
            assert len((tmp_path / "costs.csv").read_text().splitlines()) == 2 + i

    def test_without_a_file(self):
        assert len(self.told(None).rows) == 3

    def test_what_cannot_be_written_is_told_once_and_kept(self, tmp_path, caplog):
        history = self.told(str(tmp_path / "missing" / "costs.csv"))
        (record,) = caplog.records
        assert (
            "costs.csv' cannot be written (No such file or directory); the run goes on and tries again"
            in record.getMessage()
        )
        assert len(history.rows) == 3

    @staticmethod
    def numbers(path):
        header, *lines = path.read_text().splitlines()
        assert header.startswith("iteration,")
        return [int(line.split(",")[0]) for line in lines]

    def test_rows_that_could_not_be_written_come_later(self, tmp_path):
        folder = tmp_path / "missing"
        history = History(str(folder / "costs.csv"))
        history.begin(RUN)
        for i in range(6):
            if i in (2, 5):
                folder.mkdir()
            elif i == 4:
                shutil.rmtree(str(folder))
            history.step(progress(i))
            if i == 3:
                assert self.numbers(folder / "costs.csv") == [0, 1, 2, 3]
        assert self.numbers(folder / "costs.csv") == list(range(6))

    def test_a_row_that_does_not_fit_leaves_no_part(self, tmp_path, caplog):
        """No file may have more than 300 bytes here."""
        resource = pytest.importorskip("resource", reason="this system has no limit for the size of files")
        path = tmp_path / "costs.csv"
        history = History(str(path))
        history.begin(RUN)
        history.step(progress(0))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
        try:
            for i in range(1, 20):
                history.step(progress(i))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        written = self.numbers(path)
        assert 3 < len(written) < 10 and path.read_text().endswith("\n") and len(caplog.records) == 1
        history.step(progress(20))
        assert self.numbers(path) == list(range(21))

    def test_a_file_that_somebody_replaced_is_written_whole(self, tmp_path):
        path = tmp_path / "costs.csv"
        history = History(str(path))
        history.begin(RUN)
        for i in range(3):
            history.step(progress(i))
            path.write_text("something else")
        history.step(progress(3))
        assert self.numbers(path) == [0, 1, 2, 3]

    @pytest.mark.parametrize(
        ("end", "kept"),
        [
            (b"", 3),
            (b"3,1234.5,6789", 3),
            (b"3,1234.5,67890000.0,2499999997.0,67890000", 3),  # its last digits are missing perhaps
            (b"3,1234.5\n", 3),
            (b"\0\0\0\0\n", 3),
            (b"\xff\n", 3),
            (b"3,1234.5,67890000.0,2499999997.0,67890000.0\n", 4),
            (b"3,1234.5,67890000.0,2499999997.0,67890000.0\n9,1,2,3,4\n", 4),  # after the first iteration of this run
        ],
    )
    def test_a_run_that_goes_on_keeps_what_is_whole(self, tmp_path, end, kept):
        path = tmp_path / "costs.csv"
        self.told(str(path))
        with path.open("ab") as file:
            file.write(end)
        history = History(str(path), resumed=True)
        history.begin(RUN)
        history.step(progress(7))
        history.step(progress(8))
        assert self.numbers(path) == [*range(kept), 7, 8]
        assert history.rows == [[i, 1234.5, 6.789e7, 2.5e9 - i, 6.789e7] for i in (*range(kept), 7, 8)]
