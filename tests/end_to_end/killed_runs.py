"""Kills runs at random moments, and checks what each leaves.

    python -m tests.end_to_end.killed_runs 50              the command itself: about 7 s for each kill
    python -m tests.end_to_end.killed_runs 50 --writers    what writes its files, without TensorFlow: 0.1 s

Every time there must be a whole picture, a history of whole rows, and a checkpoint that the next run goes on from, at
most one interval old. The next run must leave no temporary file of the one before.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np

from nst_graph.checkpoint import State, read_checkpoint
from nst_graph.costs import CostName, Costs
from nst_graph.inputs import read_inputs
from nst_graph.observers import Checkpoints, History, NumberedPictures, Progress, Run, SavedPicture
from nst_graph.record import record_of
from nst_graph.settings import Settings
from tests import ROOT

INTERVAL = 3
SIZE = (60, 40)
NAMES = tuple(map(CostName, ("content", "style", "total")))
CONSTANTS = {"content_layers": "conv1_1", "style_layers": "conv1_1", "seed": 0, "size": SIZE, "iterations": 10**6}


def write_inputs(folder):
    """Write a content and a style picture."""
    rng = np.random.RandomState(0)
    for name in ("c.png", "s.png"):
        cv2.imwrite(str(folder / name), rng.randint(0, 256, (40, 60, 3)).astype(np.uint8))


def begin_command(folder, resumed):
    """Start the command; return its process when it has written something."""
    words = ["--resume=run.npz"] if resumed else ["c.png", "s.png", "x.png", "--overwrite"]
    if not resumed:
        words += [f"--{name.replace('_', '-')}={value}" for name, value in CONSTANTS.items() if name != "size"]
        words += ["--size={},{}".format(*SIZE), "--weights=random"]
    words += [f"--save-every={INTERVAL}", f"--checkpoint-every={INTERVAL}", "--checkpoint=run.npz", "--history=h.csv"]
    process = subprocess.Popen(
        [sys.executable, "-m", "nst_graph", "stylize", *words, "--no-log"],
        cwd=str(folder),
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    history = folder / "h.csv"
    before = history.stat().st_mtime_ns if history.exists() else 0
    while not history.exists() or history.stat().st_mtime_ns == before:
        if process.poll() is not None:
            raise AssertionError(process.communicate()[1].decode())
        time.sleep(0.002)
    return process.pid, process.wait


def begin_writers(folder, resumed):
    """Start a process that writes the files of a run as fast as it can."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(str(folder))
            write_for_ever(resumed, lambda: os.write(writer, b"."))
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
        finally:
            os._exit(1)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return pid, lambda: os.waitpid(pid, 0)


def write_for_ever(resumed, tell):
    """Let the observers write what they write in a run; tell when the first iteration is done."""
    iteration = read_checkpoint("run.npz")[0].iteration - 1 if resumed else 0
    settings = Settings(**CONSTANTS)
    record = record_of(settings, read_inputs("c.png", "s.png"), "")
    rng = np.random.RandomState(iteration)
    image = rng.uniform(-100, 100, (1, 40, 60, 3)).astype(np.float32)
    picture = rng.randint(0, 256, (40, 60, 3)).astype(np.uint8)
    stages = ((SIZE, settings.iterations),)
    run = Run(
        settings,
        settings.iterations,
        NAMES,
        picture,
        (picture,),
        "",
        record,
        lambda: State(iteration + 2, image, {"m": image, "v": image}),
        (),
        stages,
    )
    watching = [
        History("h.csv", resumed),
        SavedPicture("x.png", every=1),
        NumberedPictures("x.png", every=INTERVAL),
        Checkpoints("run.npz", INTERVAL),
    ]
    for observer in watching:
        observer.begin(run)
    while True:
        for observer in watching:
            costs = Costs(zip(NAMES, rng.uniform(1e3, 1e9, 3)))
            due = observer.every and iteration % observer.every == 0
            observer.step(Progress(iteration, costs, picture if due else None))
        tell()
        iteration += 1


def litter(folder):
    """Return the names of temporary files."""
    return {name for name in os.listdir(str(folder)) if name.startswith(".")}


def check(folder):
    """Check the files of a run that was killed; return the age of the checkpoint in iterations, None without one."""
    for path in folder.glob("x*.png"):
        data = path.read_bytes()
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None, path
        assert data.endswith(b"IEND\xaeB`\x82"), path
    header, *lines, rest = (folder / "h.csv").read_text().split("\n")
    # A row is one call of the operating system, which a kill can end between two pages of 4 KiB.
    assert header.split(",")[:4] == ["iteration", *(f"{name}_cost" for name in NAMES)], header
    rows = [[float(entry) for entry in line.split(",")] for line in lines]
    assert [row[0] for row in rows] == list(range(len(rows))) and {len(row) for row in rows} == {header.count(",") + 1}
    if not (folder / "run.npz").exists():
        # The first is written when its costs are known: after the second iteration.
        assert len(rows) <= 2
        return None, rest
    age = len(rows) - read_checkpoint(str(folder / "run.npz"))[0].iteration
    assert age <= INTERVAL, age
    return age, rest


def kill_runs(kills, begin, longest, seed=0):
    """Kill one run after the other, each of which goes on where the one before was killed.

    Parameters
    ----------
    kills : int
        How many.
    begin : callable
        `begin_command` or `begin_writers`.
    longest : float
        Seconds after the first iteration in which the moment of the kill is drawn.
    seed : int
        Of the moments.

    Returns
    -------
    dict
        What was left: kills with temporary files, with a part of a row, before the first checkpoint; ages.
    """
    rng = random.Random(seed)
    ages, left = collections.Counter(), collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_inputs(folder)
        before = set()
        for kill in range(kills):
            pid, wait = begin(folder, (folder / "run.npz").exists())
            time.sleep(rng.uniform(0, longest))
            os.kill(pid, signal.SIGKILL)
            wait()
            age, rest = check(folder)
            ages[age] += 1
            now = litter(folder)
            assert not now & before, now & before
            left["temporary files"] += bool(now)
            left["a part of a row"] += bool(rest)
            before = now
            if kill % 10 == 9:
                for path in folder.glob("x_*.png"):  # thousands, else
                    path.unlink()
        pid, wait = begin(folder, (folder / "run.npz").exists())
        os.kill(pid, signal.SIGKILL)
        wait()
        assert not litter(folder) & before
    return {"kills": kills, "ages": {str(age): ages[age] for age in sorted(ages, key=str)}, "left": dict(left)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kills", type=int)
    parser.add_argument("--writers", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    if words.writers:
        print(json.dumps(kill_runs(words.kills, begin_writers, 0.1, words.seed)))
    else:
        print(json.dumps(kill_runs(words.kills, begin_command, 1.0, words.seed)))
