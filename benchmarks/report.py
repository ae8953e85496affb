"""From measurements to figures, tables, the plot and the page docs/speed.md."""

import datetime
import os
import platform
import re
import statistics

import numpy as np
import psutil

from nst_graph.runtimes import installed, metadata
from nst_graph.settings import Settings
from nst_graph.vgg19 import LAYERS, feature_map_size
from tests import ROOT

PAGE, PLOT = ROOT / "docs" / "speed.md", ROOT / "docs" / "speed.png"
#: The lines of the page between which the figures stand.
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def spread(values, digits=2):
    """Return numbers as `median (minimum to maximum)`."""
    numbers = statistics.median(values), min(values), max(values)
    return "{:.{d}f} ({:.{d}f} to {:.{d}f})".format(*numbers, d=digits)


def ratios(times, base):
    """Return one list of times divided by another, round by round."""
    return [time / other for time, other in zip(times, base)]


def exponent(pixels, values):
    """Return the exponent k of the power law `values = c * pixels**k` that fits best on logarithmic scales."""
    return np.polyfit(np.log(pixels), np.log(values), 1)[0]


def flops_of_step(size, settings=None):
    """Return the floating-point operations of a training step: twice the multiply-adds.

    Counted are the convolutions up to the deepest layer, forward and backward to their input, and the Gram matrices,
    forward and backward. What grows with the number of activations only (biases, ReLUs, pools, Adam) is not.

    Parameters
    ----------
    size : tuple of int
        Width and height.
    settings : Settings, optional
        Its layers; by default the article's.
    """
    settings = settings or Settings()
    operations = 0
    for index in range(1, settings.deepest_layer + 1):
        width, height = feature_map_size(size, index)
        layer = LAYERS[index]
        if layer.is_convolution:
            operations += 2 * 2 * 9 * layer.in_channels * layer.channels * width * height
        if index in settings.style_layer_indices:
            operations += 2 * 2 * layer.channels**2 * width * height
    return operations


def table(header, rows):
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def in_words(size):
    """Return a size as `400x300`."""
    return "{}x{}".format(*size)


def replaced(text, section):
    """Return a page's text with another section between the two marker lines.

    Raises
    ------
    ValueError
        If the page does not have each marker line once, in their order.
    """
    parts = re.split(f"^(?:{BEGIN}|{END})$", text, flags=re.M)
    if len(parts) != 3 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the page must have the lines {BEGIN} and {END} once each, in this order")
    return f"{parts[0]}{BEGIN}\n\n{section.strip()}\n\n{END}{parts[2]}"


def machine():
    """Return a description of the machine and of the versions, in a line of Markdown."""
    model, flags = platform.processor() or platform.machine(), ""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            entries = dict(re.findall(r"^(.*?)\s*: (.*)$", file.read(), re.M))
        model, flags = entries.get("model name", model), entries.get("flags", "").split()
    special = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    system = f"{platform.system()} {platform.release()}"
    memory = psutil.virtual_memory().total / 1e9
    try:
        torch = "PyTorch " + metadata.version("torch")
    except metadata.PackageNotFoundError:
        torch = "no PyTorch"
    return (
        f"Measured on {datetime.date.today()} on {psutil.cpu_count()} cores of a processor that calls itself {model} "
        f"({', '.join(special)}), {memory:.0f} GB of memory, {system}; Python {platform.python_version()}, "
        f"TensorFlow {installed().tensorflow}, {torch}."
    )


def plot(times, memory):
    """Draw time per step and peak memory against pixels into docs/speed.png.

    Parameters
    ----------
    times, memory : dict
        For each peer's name, a dict from size to seconds, or to bytes.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 4.2), constrained_layout=True)
    for panel, peers, label, unit in zip(panels, (times, memory), ("seconds per step", "peak memory, GB"), (1, 1e9)):
        for number, (name, of_size) in enumerate(peers.items()):
            pixels, values = zip(*sorted((w * h, value / unit) for (w, h), value in of_size.items()))
            panel.loglog(pixels, values, "o-", color=f"C{number}", label=name)
        # The sizes that were measured, in place of powers of ten and what lies between them.
        sizes = sorted({size for of_size in peers.values() for size in of_size}, key=lambda size: size[0] * size[1])
        panel.set_xticks([w * h for w, h in sizes], ["{}x{}".format(*size) for size in sizes])
        panel.set_xticks([], minor=True)
        panel.set_xlabel("pixels")
        panel.set_ylabel(label)
        panel.grid(True, which="both", alpha=0.3)
        if peers:
            panel.legend(fontsize="small")
    figure.savefig(str(PLOT), dpi=110)
    pyplot.close(figure)
