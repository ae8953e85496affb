"""Seconds to the article's total cost: of the article's way, of this project's presets, of the command pastiche."""

import contextlib
import glob
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.child import ARTICLE
from benchmarks.peers import MISSING, PICTURES, Article, images, ours
from benchmarks.report import table
from benchmarks.sections import note
from nst_graph.images import deprocess, normalized, read_picture, write_picture
from nst_graph.settings import PRESETS
from nst_graph.transfer import Transfer
from nst_graph.weights import find_weights
from tests.golden.reference_costs import SHIPPED, reference

SIZE = (400, 300)
#: The total cost is that of these weights.
WEIGHTS = "pastiche"


class Judge:
    """Gives the article's total cost of any image, in float32, whatever precision the run had."""

    def __init__(self):
        self.wanted = reference(SHIPPED)["costs"][-1][-1]

    def __enter__(self):
        self._transfer = Transfer(ours(size=SIZE), WEIGHTS)
        self._transfer.__enter__()
        self._transfer.start(*PICTURES)
        return self

    def __exit__(self, *exception):
        self._transfer.__exit__(*exception)

    def share(self, img):
        """Return the total cost of an image, float32 (1, 300, 400, 3), preprocessed, as a multiple of the wanted."""
        self._transfer.objective.set_image(img)
        return self._transfer.costs().total / self.wanted


def _articles_way(judge, whole):
    """Make 500 steps; without `whole`, count them from five."""
    peer = Article(ARTICLE, SIZE, "float32")
    with contextlib.closing(peer):
        begun = time.perf_counter()
        peer.build(find_weights(WEIGHTS))
        peer.start()
        before = time.perf_counter() - begun
        if whole:
            seconds = sum(peer.seconds() for _ in range(500))
            reached = judge.share(peer.image())
        else:
            peer.step()
            seconds, reached = 500 * statistics.median(peer.seconds() for _ in range(5)), "not run: 500 times one step"
    return 500, before, seconds, reached


def _run(judge, **settings):
    """Run until the article's total cost is reached. The judge's time does not count."""
    begun = time.perf_counter()
    with Transfer(ours(**{"size": SIZE, **settings}), WEIGHTS) as transfer:
        transfer.start(*PICTURES)
        before = time.perf_counter() - begun
        seconds, share = 0, float("inf")
        while transfer.iteration < transfer.iterations and share > 1:
            begun = time.perf_counter()
            cost = transfer.step().total
            seconds += time.perf_counter() - begun
            # The judge is asked only near the end; the cost is that before the step, in the run's own precision.
            if transfer.stages[-1].size == transfer.objective.size and cost < 1.5 * judge.wanted:
                share = judge.share(transfer.image())
        if share == float("inf"):
            share = judge.share(transfer.image())
    return transfer.iteration, before, seconds, share


def _pastiche(judge, last_step=160, every=5):
    """Run the command pastiche from the same image; it saves a picture every few steps."""
    # Beside this Python first: a virtual environment need not be switched on.
    command = shutil.which("pastiche", path=os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"])
    if not command:
        raise ImportError("the command is not there; `pip install --no-deps pastiche==1.6.0` beside PyTorch has it")
    with tempfile.TemporaryDirectory() as folder:
        names = [os.path.join(folder, name + ".png") for name in ("content", "style", "noisy", "out")]
        for img, name in zip(images(SIZE), names):
            write_picture(deprocess(img[0], ours().color_means), name)
        content, style, noisy, out = names
        options = (
            "--pooling avg --optimizer lbfgs --content-weight 1 --content-layer-weights 2.5 --style-layer-weights"
            f" 2 2 2 2 2 --style-weights 1 --tv-weight 0 --size {SIZE[0]} --no-verbose --num-steps {last_step}"
            f" --workspace {folder} --workspace-prefix step --workspace-step {every}"
        )
        files = ["--init", noisy, "--content", content, "--styles", style, "--output", out]
        begun = time.time()
        subprocess.run([command, *options.split(), *files], check=True, stdout=subprocess.DEVNULL)
        saved = []
        for path in glob.glob(os.path.join(folder, "step*.png")):
            number = int(re.findall(r"\d+", os.path.basename(path))[-1])
            saved.append((number, os.path.getmtime(path) - begun, path))
        saved.sort()
        pace = (saved[-1][1] - saved[0][1]) / (saved[-1][0] - saved[0][0])
        # The first picture that has the cost, or the last one.
        for number, after, path in saved:
            steps, seconds, share = number, after, judge.share(normalized(read_picture(path), ours().color_means))
            if share <= 1:
                break
    return steps, seconds - steps * pace, steps * pace, share


def cost(options, missing):
    """Measure seconds to the article's total cost; return Markdown."""
    rows, articles = [], 0
    with Judge() as judge:
        runs = {
            ARTICLE: lambda: _articles_way(judge, options.whole_article),
            "ours, `optimizer=lbfgs`": lambda: _run(judge, optimizer="lbfgs", iterations=130),
            "ours, the preset `fast`": lambda: _run(judge, **PRESETS["fast"]),
        }
        if options.pastiche:
            runs["the command pastiche"] = lambda: _pastiche(judge)
        for name, run in runs.items():
            note(f"cost: {name}")
            try:
                steps, before, seconds, reached = run()
                articles = seconds if name == ARTICLE else articles
                # Before the article's steps nothing counts; before those of pastiche comes PyTorch's import.
                counted = seconds + before if name.startswith("ours") else seconds
                sooner = f"{articles / counted:.1f}"
                if isinstance(reached, float):
                    sooner = sooner if reached <= 1 or name == ARTICLE else "not there yet"
                    reached = f"{reached:.3f}"
                rows.append([name, steps, f"{before:.1f}", f"{seconds:.0f}", sooner, reached])
            except MISSING as error:
                missing[name] = str(error)
        wanted = judge.wanted
    header = ["run", "steps", "seconds before", "seconds of the steps", "times sooner", "cost, of the article's"]
    return (
        f"### Seconds to the article's total cost\n\n{table(header, rows)}\n\nThe article's total cost after 500 steps "
        f"on the pictures in `input/` at 400x300, with seed 0, is {wanted:.4g}. Each run stops when its picture has "
        "it, or after its last step. The cost is always computed in float32."
    )
