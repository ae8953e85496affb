"""Runs that are stopped, killed or interrupted, and go on from their checkpoint."""

import csv
import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

import nst_graph
from nst_graph import weights
from nst_graph.checkpoint import State, read_checkpoint, write_checkpoint
from nst_graph.cli import main
from nst_graph.cli.show import stored_record
from nst_graph.errors import CheckpointError, DivergenceError, OutputError, SettingError
from nst_graph.inputs import read_inputs
from nst_graph.record import record_of
from nst_graph.transfer import Transfer
from tests import ROOT

ITERATIONS = 9
CONSTANTS = {"size": 30, "seed": 3, "content_layers": "conv2_1", "style_layers": "conv1_1,conv1_2"}
WORDS = [f"--{name.replace('_', '-')}={value}" for name, value in CONSTANTS.items()]
RUN = ["stylize", "c.png", "s.png", "x.png", *WORDS, "--weights=random", "--no-log", "--history=costs.csv"]
OPTIMIZERS = ["adam", "lbfgs"]


def write_inputs(folder):
    rng = np.random.RandomState(0)
    for name in ("c.png", "s.png", "t.png"):
        cv2.imwrite(str(folder / name), rng.randint(0, 256, (40, 60, 3)).astype(np.uint8))
    return folder


def read(folder, name="x.png"):
    picture = cv2.imread(str(folder / name))
    assert picture is not None
    return picture


def rows(folder):
    with (folder / "costs.csv").open(newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_inputs(tmp_path)


@pytest.fixture
def command(monkeypatch, in_process, vgg_weights, capsys):
    """Run the command in this process; return what it wrote to standard error, in lines."""
    monkeypatch.setitem(weights._SOURCES, "random", lambda: vgg_weights)  # computed once

    def run(*words):
        logging.getLogger("nst_graph").handlers.clear()
        capsys.readouterr()
        main(words)
        return capsys.readouterr().err.splitlines()

    return run


class Whole(nst_graph.Observer):
    """Keeps the picture and the costs after each iteration, as the command writes them."""

    every = 1

    def __init__(self):
        self.pictures, self.rows = [], []

    def begin(self, run):
        self.rows.append(["iteration", *(name.column for name in run.cost_names)])

    def step(self, progress):
        self.pictures.append(progress.image)
        self.rows.append([str(progress.iteration), *map(str, progress.costs.values())])


@pytest.fixture(scope="module")
def whole(vgg_weights, tmp_path_factory):
    """By optimiser, a run that was never stopped."""
    folder = write_inputs(tmp_path_factory.mktemp("whole"))
    runs = {}
    for optimizer in OPTIMIZERS:
        runs[optimizer] = Whole()
        nst_graph.stylize(
            str(folder / "c.png"),
            str(folder / "s.png"),
            iterations=ITERATIONS,
            optimizer=optimizer,
            weights=vgg_weights,
            observers=[runs[optimizer]],
            **CONSTANTS,
        )
    return runs


class Stop(Exception):
    pass


class Stopping(nst_graph.Observer):
    """Ends a run by an error after an iteration."""

    def __init__(self, iteration):
        self._iteration = iteration

    def step(self, progress):
        if progress.iteration == self._iteration:
            raise Stop


# Python -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_in_python(folder, vgg_weights, whole, optimizer, monkeypatch):
    monkeypatch.setitem(weights._SOURCES, "random", lambda: vgg_weights)
    constants = {**CONSTANTS, "optimizer": optimizer, "iterations": ITERATIONS, "weights": "random"}
    checkpoint = {"checkpoint": "run.npz", "checkpoint_every": 2}
    with pytest.raises(Stop):
        nst_graph.stylize("c.png", "s.png", observers=[Stopping(5)], **checkpoint, **constants)
    # L-BFGS knows the costs of the state after the step that gave those of iteration 4. Adam's come with iteration 5.
    assert read_checkpoint("run.npz")[0].iteration == {"adam": 4, "lbfgs": 6}[optimizer]
    # The checkpoint says which weights it had. These are what `auto` would be:
    monkeypatch.setenv(weights.ENVIRONMENT_VARIABLE, "missing.h5")
    rest = Whole()
    picture = nst_graph.stylize("c.png", "s.png", resume="run.npz", observers=[rest])
    np.testing.assert_array_equal(picture, whole[optimizer].pictures[-1])
    assert rest.rows[1:] == whole[optimizer].rows[-len(rest.pictures) :] and len(rest.pictures) >= 4
    for one, two in zip(reversed(rest.pictures), reversed(whole[optimizer].pictures)):
        np.testing.assert_array_equal(one, two)


def test_more_iterations_and_other_arguments(folder, vgg_weights, whole):
    content, style, init = (cv2.imread(name) for name in ("c.png", "s.png", "t.png"))
    constants = {**CONSTANTS, "content_weight": 3}
    short = nst_graph.stylize(
        content, style, init=init, weights=vgg_weights, iterations=2, checkpoint="run.npz", **constants
    )
    full = Whole()
    nst_graph.stylize(content, style, init=init, weights=vgg_weights, iterations=4, observers=[full], **constants)
    np.testing.assert_array_equal(short, full.pictures[1])
    again = {"weights": vgg_weights, "resume": "run.npz"}
    np.testing.assert_array_equal(nst_graph.stylize(content, style, init=init, **again), short)
    more = nst_graph.stylize(content, style, init=init, iterations=4, content_weight=3, **again)
    np.testing.assert_array_equal(more, full.pictures[-1])
    assert read_checkpoint("run.npz")[0].iteration == 2  # it is not written unless that is asked for

    for change, message in [
        ({"seed": 4}, "seed is 3 in the checkpoint; a resumed run can change nothing but iterations"),
        ({"style_weight": 2}, "beta is 40.0 in the checkpoint"),
        ({"size": (30, 20)}, "size is 30 in the checkpoint"),
    ]:
        with pytest.raises(SettingError, match=message):
            nst_graph.stylize(content, style, init=init, **change, **again)


def test_a_checkpoint_of_another_run_is_refused(folder, vgg_weights):
    content, style, init = (cv2.imread(name) for name in ("c.png", "s.png", "t.png"))
    settings = nst_graph.Settings(iterations=3, init=None, **CONSTANTS)
    with Transfer(settings, vgg_weights) as transfer:
        transfer.start(content, style, init)
        transfer.step()
        transfer.step()
        state, record = transfer.state(), transfer.record()
        for pictures, message in [
            ((style, style, init), "the content picture is another one"),
            ((content, content, init), "the style picture is another one"),
            ((content, [style, style], init), "the weights of the styles"),
            ((content, style, content), "the picture to start from is another one"),
        ]:
            transfer.start(*pictures)
            with pytest.raises(CheckpointError, match=f"the checkpoint is of another run: {message}"):
                transfer.resume(state, record)
        transfer.start(content, style, init)
        with pytest.raises(CheckpointError, match="after 5 iterations, and 3 are asked for; ask for more"):
            transfer.resume(state._replace(iteration=5), record)
        transfer.resume(state, record)

        # A damaged or a forged one, whose record is right.
        moment = "input_var/Adam"
        optimiser = dict(state.optimiser)
        for wrong in (
            state._replace(image=state.image[:, :5]),
            state._replace(optimiser={}),
            state._replace(optimiser={**optimiser, moment: optimiser[moment][:, :5]}),
            state._replace(optimiser={**optimiser, moment: np.array("text")}),
        ):
            with pytest.raises(CheckpointError, match="the state does not fit this run") as caught:
                transfer.restore(wrong)
            assert "\n" not in str(caught.value)


def test_that_is_found_before_the_network_is_built(folder, vgg_weights, monkeypatch):
    """As the docstring says: of a large picture it takes long."""
    settings = nst_graph.Settings(iterations=3, **CONSTANTS)
    image = np.zeros((1, 20, 30, 3), np.float32)
    write_checkpoint("run.npz", State(2, image, {}), record_of(settings, read_inputs("c.png", "s.png"), ""))

    def build(*arguments):
        raise AssertionError("the network is built")

    monkeypatch.setattr("nst_graph.transfer.Objective", build)
    for content, iterations, message in [
        ("t.png", 3, "the checkpoint is of another run: the content picture is another one"),
        ("c.png", 1, "the checkpoint is after 2 iterations, and 1 are asked for; ask for more"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            nst_graph.stylize(content, "s.png", weights=vgg_weights, resume="run.npz", iterations=iterations)


def test_an_optimiser_that_gives_up_leaves_its_last_state(folder, vgg_weights, caplog):
    """Without a style cost it soon arrives at the content itself, where there is nothing to lower."""
    constants = {**CONSTANTS, "optimizer": "lbfgs", "size": 2, "content_layers": "1", "beta": 0, "iterations": 400}
    run = Whole()
    picture = nst_graph.stylize(
        "c.png", "s.png", weights=vgg_weights, observers=[run], checkpoint="run.npz", checkpoint_every=399, **constants
    )
    assert "the optimiser stops after iteration" in caplog.text and 3 < len(run.pictures) < 400
    assert read_checkpoint("run.npz")[0].iteration == len(run.pictures)
    again = nst_graph.stylize("c.png", "s.png", weights=vgg_weights, resume="run.npz")
    np.testing.assert_array_equal(again, picture)


# Killed and interrupted ---------------------------------------------------------------------------------------------

#: Imports TensorFlow once. For each line of standard input it runs a command in a child process of its own. What the
#: child imports and how it was started is not what these tests are about, and starting TensorFlow takes seconds.
EXECUTOR = """
import json, os, signal, sys
from nst_graph import weights
from nst_graph.cli import main
from nst_graph.runtimes import get_runtime
get_runtime()
random = weights.random_weights()
weights._SOURCES["random"] = lambda: random
for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if pid == 0:
        # A shell's job in the background ignores Ctrl-C, and so would its children.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(job["folder"])
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        exec(job["before"])
        main(job["words"])
        sys.exit()
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has neither fork nor these signals")


class Children:
    """Runs of the command, one after the other, each in a process of its own."""

    def __init__(self):
        self._executor = subprocess.Popen(
            [sys.executable, "-c", EXECUTOR],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="2"),
            universal_newlines=True,
        )
        self._running = None

    def start(self, folder, words, before=""):
        """Start the command in a folder, after some lines of Python; return its process's number."""
        self._executor.stdin.write(json.dumps({"folder": str(folder), "words": words, "before": before}) + "\n")
        self._executor.stdin.flush()
        self._running = int(self._executor.stdout.readline())
        return self._running

    def end(self):
        """Wait for its end; return its exit status, or the number of the signal that it died of, with a minus."""
        status = int(self._executor.stdout.readline())
        self._running = None
        return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def kill(self):
        """End what a test that failed has left."""
        if self._running is not None:
            os.kill(self._running, signal.SIGKILL)
            self.end()

    def close(self):
        """End the process that starts the others."""
        self._executor.stdin.close()
        self._executor.wait()
        self._executor.stdout.close()


@pytest.fixture(scope="module")
def executor():
    children = Children()
    yield children
    children.close()


@pytest.fixture
def children(executor):
    yield executor
    executor.kill()


def assert_whole(folder, whole):
    """Check that the picture and the history are those of a run that was never stopped."""
    np.testing.assert_array_equal(read(folder), whole.pictures[-1])
    assert rows(folder) == whole.rows


KILL = "import os, signal, numpy; from nst_graph.transfer import Transfer; kill = lambda: os.kill(os.getpid(), 9)\n"

#: Kills the process in a training step.
IN_STEP = """
step = Transfer.step
def dying(self):
    if self.iteration == {iteration}:
        kill()
    return step(self)
Transfer.step = dying
"""

#: Kills the process when a part of a checkpoint is written.
IN_WRITE = """
count, savez = [], numpy.savez
def dying(file, **arrays):
    count.append(1)
    if len(count) == {which}:
        file.write(b"PK" + bytes(5000))
        file.flush()
        kill()
    savez(file, **arrays)
numpy.savez = dying
"""


@needs_fork
@pytest.mark.parametrize(
    ("place", "optimizer", "saved"),
    [
        (IN_WRITE.format(which=1), "adam", None),
        (IN_STEP.format(iteration=7), "adam", 6),
        (IN_WRITE.format(which=3), "lbfgs", 4),
    ],
    ids=["before the first", "between two", "while it is written"],
)
def test_a_killed_run_goes_on(folder, command, children, whole, place, optimizer, saved):
    run = [*RUN, f"--optimizer={optimizer}", "--iterations=9"]
    checkpoint = ["--checkpoint=run.npz", "--checkpoint-every=2"]
    children.start(folder, [*run, *checkpoint], KILL + place)
    assert children.end() == -signal.SIGKILL
    if saved is None:
        assert not (folder / "run.npz").exists()
        # As a script would: the same command once more. What is there is the same run's.
        (folder / "costs.csv").unlink()
        command(*run, *checkpoint)
    else:
        assert read_checkpoint("run.npz")[0].iteration == saved
        lines = command("stylize", "--resume=run.npz", "--history=costs.csv", "--no-log")
        assert f"going on after {saved} iterations" in lines
    assert_whole(folder, whole[optimizer])
    assert read_checkpoint("run.npz")[0].iteration == ITERATIONS
    assert stored_record("x.png").settings["iterations"] == ITERATIONS


def wait_for_output(folder, text):
    end = time.monotonic() + 120
    while not (folder / "stdout").exists() or text not in (folder / "stdout").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)


@needs_fork
@pytest.mark.parametrize(
    ("number", "optimizer", "checkpoint"),
    [(signal.SIGINT, "lbfgs", "a b.npz"), (signal.SIGTERM, "adam", "run.npz")],
    ids=["SIGINT", "SIGTERM"],
)
def test_an_interrupted_run_saves_all_and_dies_of_the_signal(
    folder, command, children, vgg_weights, number, optimizer, checkpoint
):
    run = [*RUN, f"--optimizer={optimizer}", "--iterations=100000"]
    plot = ["--plot=costs.png"] if number == signal.SIGINT else []  # it takes seconds, so once is enough
    pid = children.start(folder, [*run, f"--checkpoint={checkpoint}", *plot])
    wait_for_output(folder, "Iteration: 0,")
    os.kill(pid, number)
    assert children.end() == -number

    state, _ = read_checkpoint(checkpoint)
    assert 2 <= state.iteration < 100000
    assert not plot or read(folder, "costs.png").size
    means = np.array([103.939, 116.779, 123.68])
    expected = np.clip((state.image[0] + means).astype(np.float32), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(read(folder), expected)
    last = (folder / "stderr").read_text().splitlines()[-1]

    # In Python, so that nothing but pictures and costs is compared.
    iterations = state.iteration + 2
    never_stopped = Whole()
    constants = {**CONSTANTS, "optimizer": optimizer, "iterations": iterations, "weights": vgg_weights}
    nst_graph.stylize("c.png", "s.png", observers=[never_stopped], **constants)
    command("stylize", f"--resume={checkpoint}", f"--iterations={iterations}", "--history=costs.csv", "--no-log")
    assert_whole(folder, never_stopped)
    assert last == (
        f"interrupted after {state.iteration} iterations; the picture so far is x.png; "
        f"go on with: nst-graph stylize --resume {shlex.quote(checkpoint)}"
    )


@needs_fork
def test_a_second_signal_ends_a_run_at_once(folder, children):
    sticking = """
import os, signal, time
from nst_graph.transfer import Transfer
def step(self):
    os.kill(os.getpid(), signal.SIGHUP)  # the terminal is closed
    print("asked", flush=True)
    time.sleep(120)
Transfer.step = step
"""
    pid = children.start(folder, [*RUN, "--checkpoint=run.npz"], sticking)
    wait_for_output(folder, "asked")
    os.kill(pid, signal.SIGTERM)
    assert children.end() == -signal.SIGTERM
    assert not (folder / "x.png").exists() and not (folder / "run.npz").exists()


# The command --------------------------------------------------------------------------------------------------------


def test_more_iterations_on_the_command_line(folder, command, whole, capsys):
    command(*RUN, "--iterations=4", "--checkpoint=run.npz")
    np.testing.assert_array_equal(read(folder), whole["adam"].pictures[3])
    before = (folder / "run.npz").read_bytes()
    main(["show", "run.npz"])
    shown = json.loads(capsys.readouterr().out)
    assert shown["settings"]["iterations"] == 4 and shown["output"] == {"file": "x.png"}
    # To another file and another checkpoint, which leaves both old ones as they are.
    other = ["c.png", "s.png", "y.png", "--iterations=9", "--checkpoint=other.npz", "--history=costs.csv"]
    lines = command("stylize", "--resume=run.npz", *other, "--no-log")
    assert any(re.match("30x20, 9 iterations of adam, ", line) for line in lines)
    np.testing.assert_array_equal(read(folder, "y.png"), whole["adam"].pictures[-1])
    np.testing.assert_array_equal(read(folder), whole["adam"].pictures[3])
    assert rows(folder) == whole["adam"].rows
    assert (folder / "run.npz").read_bytes() == before
    assert read_checkpoint("other.npz")[0].iteration == 9


@pytest.mark.parametrize("name", ["x.png", "x.bmp"])
def test_a_picture_that_a_checkpoint_names_but_is_not_its_runs_stays(folder, command, name):
    words = [word if word != "x.png" else name for word in RUN]
    command(*words, "--iterations=1", "--checkpoint=run.npz")
    command("stylize", "--resume=run.npz", "--iterations=2", "--no-log")  # its own picture is replaced
    if name == "x.png":
        (folder / name).write_bytes((folder / "t.png").read_bytes())
        with pytest.raises(OutputError, match="the file 'x.png' exists; name another"):
            command("stylize", "--resume=run.npz", "--iterations=3", "--no-log")
        np.testing.assert_array_equal(read(folder), read(folder, "t.png"))
        command("stylize", "--resume=run.npz", "--iterations=3", "--no-log", "--no-metadata")


def test_a_disk_that_is_full_for_a_while(folder, command, monkeypatch, whole):
    """The files of iterations 1 and 2 do not fit. The run goes on, and the rest is as ever."""
    replace, full, step = os.replace, [], Transfer.step

    def counted(self):
        full[:] = [True] if self.iteration in (2, 3) else []
        return step(self)

    def write(*paths):
        if full:
            raise OSError(28, "No space left on device")
        replace(*paths)

    monkeypatch.setattr(os, "replace", write)
    monkeypatch.setattr(Transfer, "step", counted)
    lines = command(*RUN, "--iterations=9", "--checkpoint=run.npz", "--checkpoint-every=1", "--save-every=1")
    told = [line for line in lines if "No space left" in line or "again" in line]
    assert sorted(told) == [
        "the checkpoint 'run.npz' can be written again",
        "the checkpoint 'run.npz' cannot be written (No space left on device); the run goes on and tries again",
        "the picture 'x_0001.png' cannot be written (No space left on device); the run goes on and tries again",
        "the picture 'x_0003.png' can be written again",
    ]
    assert_whole(folder, whole["adam"])
    assert sorted(path.name for path in folder.glob("x_*")) == [f"x_000{i}.png" for i in (0, 3, 4, 5, 6, 7, 8)]
    assert read_checkpoint("run.npz")[0].iteration == 9


def test_a_finished_picture_that_cannot_be_written(folder, command, monkeypatch, whole):
    """The rest of the run is saved, and the picture is in another file."""
    replace = os.replace

    def write(source, target):
        if target.endswith("x.png"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", write)
    monkeypatch.setattr("nst_graph.saving._WAIT", 0)
    with pytest.raises(OutputError, match="to 'x.png' \\(No space left on device\\); it is in '") as caught:
        command(*RUN, "--iterations=9", "--checkpoint=run.npz")
    np.testing.assert_array_equal(cv2.imread(str(caught.value).split("'")[3]), whole["adam"].pictures[-1])
    assert rows(folder) == whole["adam"].rows
    assert read_checkpoint("run.npz")[0].iteration == 9


def test_a_run_that_diverges_says_which_picture_is_left(folder, command, monkeypatch):
    run = [*RUN, "--learning-rate=1e30", "--iterations=9"]
    with pytest.raises(DivergenceError, match="^after iteration 0 .* 1e\\+30 .*; nothing was written to 'x.png'$"):
        command(*run, "--checkpoint=run.npz")
    assert not {"x.png", "run.npz", "costs.csv"} & set(os.listdir(str(folder)))
    costs = Transfer.costs

    def breaking(self):
        return nst_graph.Costs((name, float("nan")) for name in costs(self))

    monkeypatch.setattr(Transfer, "costs", breaking)  # those after the last step
    with pytest.raises(DivergenceError, match="^after iteration 2 .*; 'x.png' has the picture after iteration 0$"):
        command(*RUN, "--iterations=3")


@needs_fork
def test_processes_that_are_killed_while_they_write():
    done = subprocess.run(
        [sys.executable, "-m", "tests.end_to_end.killed_runs", "12", "--writers"],
        cwd=str(ROOT),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["left"]["temporary files"] > 0  # they were killed while they wrote
