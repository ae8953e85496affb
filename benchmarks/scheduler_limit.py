"""How many workers one Dask scheduler feeds: a batch on workers that sleep in place of computing.

    python -m benchmarks.scheduler_limit [--workers 2,8,16] [--milliseconds 100] [--seconds 10]

Starts a scheduler and workers on this machine and gives them pictures through the project's own client
(`nst_graph.stylize_many`). Files in and arrays out have as many bytes as those of real pictures. Only what paints is
replaced: a picture of N iterations sleeps N milliseconds. docs/batch.md has the figures.
"""

import argparse
import os
import pathlib
import tempfile
import time

import numpy as np
import psutil

from nst_graph import cluster, program
from nst_graph.batch import Job, Result, stylize_many
from nst_graph.costs import CostName
from nst_graph.weights import Weights

#: Width and height of the result; bytes of the content's and of the style's file. The first row has those of `input/`,
#: the second those of a camera.
PICTURES = [((400, 300), (57_210, 225_178)), ((3000, 2000), (4_000_000, 225_178))]

#: Rows and columns of a picture's costs, which come back with it: those of 500 iterations and five style layers.
ROWS, COSTS = 500, [CostName("content"), CostName("style"), CostName("total"), *map(CostName, map(str, range(5)))]

#: A JPEG file begins with these bytes. No more of a file is looked at before a worker decodes it.
_JPEG = b"\xff\xd8\xff\xe0"


class Sleeper:
    """Stands in for `nst_graph.painter.Painter` in a worker: sleeps, and returns as many bytes as a picture has."""

    def __init__(self, weights, threads=None, memory_check=True):
        self._pictures = {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def paint(self, task, observers=(), stop=lambda: False):
        """Return a result after as many milliseconds as the task has iterations."""
        width, height = task.settings.size
        if (width, height) not in self._pictures:
            # Noise, which no connection can compress.
            self._pictures[width, height] = np.random.RandomState(0).randint(0, 256, (height, width, 3), "uint8")
        seconds = task.settings.iterations / 1000
        time.sleep(seconds)
        return Result(
            task.job,
            task.number,
            self._pictures[width, height],
            seconds=seconds,
            cost_names=tuple(COSTS),
            history=[[number, *[number / 3] * len(COSTS)] for number in range(ROWS)],
        )


def dask_setup(worker):
    """Put the stand-in into a worker process: Dask calls this there before the first task."""
    cluster.Painter = Sleeper


def _processor_seconds(process):
    times = process.cpu_times()
    return times.user + times.system


def measured(workers, milliseconds, seconds, size, file_bytes, folder):
    """Let some workers make pictures for some seconds.

    Parameters
    ----------
    workers : int
        Worker processes.
    milliseconds : int
        How long a picture takes in a worker.
    seconds : float
        Length of the measurement. It begins when each worker has made two pictures.
    size, file_bytes : tuple of int
        As in `PICTURES`.
    folder : pathlib.Path
        An empty folder for the cluster's files.

    Returns
    -------
    dict
        `pictures`: pictures per second; `scheduler`, `client`, `workers`: seconds of processor per picture.
    """
    # Imported here because the workers import this module too.
    import distributed

    from tests.end_to_end.clusters import started_cluster

    paths = [folder / "content.jpg", folder / "style.jpg"]
    for path, count in zip(paths, file_bytes):
        path.write_bytes(_JPEG + os.urandom(count - len(_JPEG)))
    preload = {"DASK_DISTRIBUTED__WORKER__PRELOAD": f"['{__spec__.name}']"}
    with started_cluster(folder, workers, environment=preload) as running:
        with distributed.Client(running.address, set_as_default=False) as client:
            scheduler = psutil.Process(client.run_on_scheduler(os.getpid))
        watched = {
            "scheduler": [scheduler],
            "client": [psutil.Process()],
            "workers": [psutil.Process(worker.pid) for worker in running.workers()],
        }

        def used():
            return np.array([sum(map(_processor_seconds, processes)) for processes in watched.values()])

        def jobs():
            while True:
                yield Job(*paths)

        weights = Weights((np.zeros(1, np.float32),), "none")
        begin, count, before, last = None, 0, None, None
        made = stylize_many(
            jobs(),
            weights=weights,
            size=size,
            iterations=milliseconds,
            scheduler=running.address,
            stop=lambda: begin is not None and time.perf_counter() - begin > seconds,
        )
        for number, result in enumerate(made, start=1):
            if result.error is not None:
                raise result.error
            if begin is not None:
                count, last = count + 1, time.perf_counter()
            elif number == 2 * workers:
                begin, before = time.perf_counter(), used()
        after = used()
    each = dict(zip(watched, (after - before) / count))
    return {"pictures": count / (last - begin), **each}


def main(arguments=None):
    """Measure and print a table."""
    from benchmarks.report import in_words, table

    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduler_limit", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", default="2,8,16", help="numbers of workers (2,8,16)")
    parser.add_argument("--milliseconds", type=int, default=100, help="that a picture takes in a worker (100)")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement (10)")
    options = parser.parse_args(arguments)
    program.set_up("benchmarks")
    rows = []
    for size, file_bytes in PICTURES:
        for workers in map(int, options.workers.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                found = measured(workers, options.milliseconds, options.seconds, size, file_bytes, pathlib.Path(folder))
            busy = found["scheduler"] * found["pictures"]
            at_most = 1000 * workers / options.milliseconds
            each = [f"{1000 * found[who]:.1f}" for who in ("scheduler", "client", "workers")]
            rows.append([in_words(size), workers, f"{at_most:.0f}", f"{found['pictures']:.1f}", *each, f"{busy:.0%}"])
            print(rows[-1], flush=True)
    header = ["size", "workers", "pictures per second, at most", "measured"]
    header += ["scheduler, ms per picture", "client, ms", "workers, ms", "scheduler busy"]
    print(f"\nPictures that take {options.milliseconds} ms in a worker:\n\n{table(header, rows)}")


if __name__ == "__main__":
    main()
