"""What a second run through one graph costs before its first step.

    python -m benchmarks.second_run [ROUNDS]

Runs at the article's size. Weights are random: their values do not change the time. Prints the parts of
`Transfer.start`:

- the two forward passes for the targets;
- the Gram matrices of the style target, in float64;
- the rest: resizing, noise, assigning pictures, Adam's variables.

Also prints what only the first run needs: the time for the graph and the session.
"""

import statistics
import sys
import time

import numpy as np

from nst_graph import objective, program
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings
from nst_graph.transfer import Transfer
from nst_graph.weights import random_weights


def timed(function, spent):
    """Let a function add the seconds it takes to a list."""

    def call(*arguments, **keywords):
        start = time.perf_counter()
        try:
            return function(*arguments, **keywords)
        finally:
            spent.append(time.perf_counter() - start)

    return call


def main(rounds):
    program.set_up()
    weights, settings = random_weights(), Settings(seed=0)
    version = get_runtime().version
    pictures = np.random.RandomState(0).randint(0, 256, (2, 600, 800, 3)).astype(np.uint8)
    begun = time.perf_counter()
    with Transfer(settings, weights) as transfer:
        built = time.perf_counter() - begun
        transfer.start(*pictures)  # the first one allocates
        runs, grams = [], []
        session = transfer.objective.session
        session.run = timed(session.run, runs)
        objective.style_target = timed(objective.style_target, grams)
        rows = []
        for _ in range(rounds):
            runs.clear(), grams.clear()
            begun = time.perf_counter()
            transfer.start(*pictures)
            whole = time.perf_counter() - begun
            passes = sum(sorted(runs)[-2:])  # the other runs assign a picture or initialise variables
            rows.append((whole, passes, sum(grams), whole - passes - sum(grams)))
    whole, passes, gram, rest = (statistics.median(column) for column in zip(*rows))
    print(f"TensorFlow {version}, 400x300, {rounds} rounds, medians; graph and session, once: {built:.2f} s")
    print(f"start {whole:.3f} s: two forward passes {passes:.3f}, Gram matrices {gram:.3f}, the rest {rest:.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
