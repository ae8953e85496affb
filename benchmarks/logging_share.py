"""The share of a run's time that the log for TensorBoard takes at its defaults.

    python -m benchmarks.logging_share [ITERATIONS]

Trains at the article's size while `TensorBoard` watches. Weights are random: their values do not change the time. The
time outside the training steps counts as logging: the graph, the settings, the scalars of every iteration, the pictures
of every 20th, and the forward pass for the costs after the last step. This pass weighs more in a short run.
"""

import os
import sys
import tempfile
import time

import numpy as np

from nst_graph import program
from nst_graph.observers import TensorBoard
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings
from nst_graph.transfer import Transfer


def main(iterations):
    program.set_up()
    settings = Settings(iterations=iterations)
    pictures = np.random.RandomState(0).randint(0, 256, (2, 300, 400, 3)).astype(np.uint8)
    in_steps = []
    with Transfer(settings, "random") as transfer, tempfile.TemporaryDirectory() as folder:
        transfer.start(*pictures)
        transfer.step()  # the first one allocates
        transfer.start(*pictures)
        step = transfer.step

        def timed():
            start = time.perf_counter()
            try:
                return step()
            finally:
                in_steps.append(time.perf_counter() - start)

        transfer.step = timed
        start = time.perf_counter()
        transfer.train([TensorBoard(folder)])
        whole = time.perf_counter() - start
        size = sum(os.path.getsize(os.path.join(path, name)) for path, _, names in os.walk(folder) for name in names)
    rest = whole - sum(in_steps)
    print(f"TensorFlow {get_runtime().version}, 400x300, {iterations} iterations, event file {size / 1e6:.2f} MB")
    print(f"steps {sum(in_steps):.2f} s, logging {rest:.2f} s, ratio of logging to the whole {rest / whole:.4f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
