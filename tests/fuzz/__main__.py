"""Fuzz the readers of this project: pictures, constants, stored settings, checkpoints and weights.

    python -m tests.fuzz                   a minute, shared by all targets
    python -m tests.fuzz --seconds 600     ten minutes
    python -m tests.fuzz --target picture --input FILE     one input that was kept, again

Each target runs in a process of its own, so that a crash and a hang are found too. An input is a finding if something
else than an `NSTGraphError` of one line comes out of it, if it crashes, hangs, prints, warns, takes more memory than
the target's bound, runs or writes anything, or is changed. The exit status is 1 if there are findings. Their inputs
are kept in a folder that is printed.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

from tests import ROOT
from tests.fuzz.targets import TARGETS

#: After so many crashes and hangs of a target, it is given up.
MOST_DEATHS = 5


class Fuzzing:
    """The fuzzing of one target: its worker is started again when it died.

    Attributes
    ----------
    examples, accepted : int
        How many inputs were tried, and how many of them were read without an error.
    findings : list of dict
        `kind`, `detail` and `input` (a path) of each.
    """

    def __init__(self, name, folder, example_seconds=None):
        self._name, self._folder = name, pathlib.Path(folder)
        self._example_seconds = TARGETS[name].most_seconds if example_seconds is None else example_seconds
        self.examples = self.accepted = 0
        self.findings = []

    def run(self, seconds, seed):
        """Fuzz for some seconds."""
        end = time.monotonic() + seconds
        deaths = 0
        while time.monotonic() < end and deaths < MOST_DEATHS:
            deaths += self._worker(["--seconds", str(end - time.monotonic()), "--seed", str(seed + deaths)])

    def repeat(self, path):
        """Try one input that is in a file."""
        self._worker(["--input", path])

    def _worker(self, arguments):
        """Run a worker to its end; return whether it died."""
        place = pathlib.Path(tempfile.mkdtemp(prefix=self._name + "-", dir=str(self._folder)))
        with open(str(place / "log"), "wb") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.worker", self._name, str(place), *arguments],
                cwd=str(ROOT),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            hung = self._wait(worker, place / "current")
        result = place / "result.json"
        if result.exists():
            found = json.loads(result.read_text())
            self.examples += found["examples"]
            self.accepted += found["accepted"]
            self.findings += found["findings"]
        if worker.returncode == 0:
            shutil.rmtree(str(place / "scratch"), ignore_errors=True)
            return False
        if not (place / "current").exists():
            raise RuntimeError(f"the fuzzer itself failed: {place / 'log'}")
        what = f"no end after {self._example_seconds:g} s" if hung else f"exit status {worker.returncode}"
        last = (place / "log").read_text(errors="replace").strip().splitlines()[-1:]
        self.findings.append(
            {"kind": "hang" if hung else "crash", "detail": " ".join([what, *last]), "input": str(place / "current")}
        )
        return True

    def _wait(self, worker, current):
        """Wait for the end of a worker; end it if one input takes too long, and return whether that was so."""
        while True:
            try:
                worker.wait(0.1)
                return False
            except subprocess.TimeoutExpired:
                if current.exists() and time.time() - current.stat().st_mtime > self._example_seconds:
                    worker.kill()
                    worker.wait()
                    return True


def main(words=None):
    """Fuzz as a command line says; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together (60)")
    parser.add_argument("--seed", type=int, help="of the inputs (a random one, which is printed)")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="one of the targets; may be repeated")
    parser.add_argument("--input", help="try the input in this file, and nothing else")
    parser.add_argument("--folder", help="where inputs are kept (a new temporary folder)")
    parser.add_argument(
        "--example-seconds", type=float, help="the longest that one input may take (the target's limit)"
    )
    arguments = parser.parse_args(words)

    names = arguments.target or [name for name, target in TARGETS.items() if target.share]
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    folder = tempfile.mkdtemp(prefix="nst_graph-fuzz-") if arguments.folder is None else arguments.folder
    os.makedirs(folder, exist_ok=True)
    print(f"seed {seed}, folder {folder}", flush=True)
    shares = sum(TARGETS[name].share or 1 for name in names)
    findings = []
    for name in names:
        fuzzing = Fuzzing(name, os.path.abspath(folder), arguments.example_seconds)
        if arguments.input is None:
            fuzzing.run(arguments.seconds * (TARGETS[name].share or 1) / shares, seed)
        else:
            fuzzing.repeat(os.path.abspath(arguments.input))
        print(f"{name}: {fuzzing.examples} inputs, {fuzzing.accepted} read, {len(fuzzing.findings)} findings")
        for finding in fuzzing.findings:
            print("  {kind}: {detail}\n    {input}".format(**finding), flush=True)
        findings += fuzzing.findings
    if not findings and arguments.folder is None:
        shutil.rmtree(folder)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
