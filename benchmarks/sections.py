"""What `python -m benchmarks` measures of single steps, start-up and memory: each function returns Markdown."""

import contextlib
import os
import statistics
import sys
import tempfile

from benchmarks.child import ARTICLE, OURS, PARTS, PYTORCH, Child, products, training_peers
from benchmarks.peers import MISSING, PICTURES, PRODUCT_SIDE, ours
from benchmarks.report import exponent, flops_of_step, in_words, ratios, spread, table
from nst_graph.observers import TensorBoard
from nst_graph.transfer import Transfer
from nst_graph.weights import find_weights


def note(text):
    """Say on standard error what is being measured."""
    print(text, file=sys.stderr, flush=True)


def opened(peer, options, apart=None):
    """Return a peer that has made its first step, in this process or in one of its own.

    Raises
    ------
    nst_graph.NSTGraphError, ImportError
        If it cannot be measured here, with the reason.
    """
    if peer.apart if apart is None else apart:
        return Child(peer, options.strip_rows, options.weights)
    with contextlib.ExitStack() as stack:
        stack.callback(peer.close)
        peer.load()
        peer.build(None if peer.is_product else find_weights(options.weights))
        peer.start()
        peer.step()
        stack.pop_all()
    return peer


def open_all(peers, options, stack, missing):
    """Return the peers that can be measured; the names of the others go to `missing`, with the reasons."""
    running = []
    for peer in peers:
        try:
            running.append(stack.enter_context(contextlib.closing(opened(peer, options))))
        except MISSING as error:
            missing[peer.name] = str(error)
    return running


def _exponents(of_peers, what):
    """Return the exponents against pixels of what has been measured at more than one size, as a line."""
    found = []
    for name, of_size in of_peers.items():
        if len(of_size) > 1:
            pixels = [width * height for width, height in of_size]
            found.append(f"{name} {exponent(pixels, list(of_size.values())):.2f}")
    return f"\n\nExponent of {what} against pixels: {'; '.join(found)}." if found else ""


def _rounds(size, options, missing):
    """Let each peer make one step, then the next peer, for some rounds.

    Returns
    -------
    times : dict
        For each training peer's name, seconds of each round.
    rates : dict
        For each product's name, its best rate in operations per second.
    costs : dict
        For the article's way and ours, seconds of reading the costs apart from a step; at the first size alone.
    """
    with contextlib.ExitStack() as stack:
        note(f"steps at {in_words(size)}")
        running = open_all([*training_peers(size, options.strip_rows), *products()], options, stack, missing)
        times = {peer.name: [] for peer in running}
        readers = [peer for peer in running if peer.name in (ARTICLE, OURS) and size == options.sizes[0]]
        costs = {peer.name: [] for peer in readers}
        for peer in readers:
            peer.costs()  # the first one allocates
        for number in range(options.rounds):
            note(f"round {number + 1} of {options.rounds}")
            for peer in running:
                # A product is over so soon that chance decides; of several the best counts.
                times[peer.name].append(min(peer.seconds() for _ in range(10 if peer.is_product else 1)))
            for peer in readers:
                costs[peer.name].append(peer.seconds("costs"))
    rates = {peer.name: 2 * PRODUCT_SIDE**3 / min(times.pop(peer.name)) for peer in running if peer.is_product}
    return times, rates, costs


def steps(options, missing):
    """Measure seconds per training step and the machine's limit.

    Parameters
    ----------
    options : argparse.Namespace
        From the command line.
    missing : dict
        Gets the names of the peers that cannot be measured, each with the reason.

    Returns
    -------
    text : str
    medians : dict
        For each peer's name, a dict from size to seconds.
    """
    rows, medians, rates = [], {}, {}
    found = {size: _rounds(size, options, missing) for size in options.sizes}
    for _, of_size, _ in found.values():
        for name, rate in of_size.items():
            rates[name] = max(rate, rates.get(name, 0))
    for size, (times, _, _) in found.items():
        precisions = {peer.name: peer.precision for peer in training_peers(size, options.strip_rows)}
        for name, of_peer in times.items():
            median = statistics.median(of_peer)
            medians.setdefault(name, {})[size] = median
            limit = max(rate for product, rate in rates.items() if product.endswith(precisions[name]))
            beside = [spread(ratios(of_peer, times[base])) if base in times else "" for base in (ARTICLE, PYTORCH)]
            rows.append([in_words(size), name, spread(of_peer), *beside, f"{flops_of_step(size) / median / limit:.0%}"])
    costs = found[options.sizes[0]][2]
    header = ["size", "training step", "seconds", f"beside {ARTICLE}", f"beside {PYTORCH}", "share of the limit"]
    of_sizes = ", ".join(f"{flops_of_step(size) / 1e9:.0f} at {in_words(size)}" for size in options.sizes)
    limits = [[name, f"{rate / 1e9:.0f}"] for name, rate in rates.items()]
    text = (
        f"### Seconds per training step\n\n{table(header, rows)}{_exponents(medians, 'time')}\n\n"
        f"Reading the costs apart from a step, beside {ARTICLE}: {spread(ratios(costs[OURS], costs[ARTICLE]))}.\n\n"
        f"Operations of a step, in 1e9 (GFLOP): {of_sizes}. The limit is the best rate of a product of two "
        f"{PRODUCT_SIDE}x{PRODUCT_SIDE} matrices in the same precision:\n\n"
        f"{table(['matrix product', 'GFLOP per second'], limits)}"
    )
    return text, medians


def start(options, missing):
    """Measure the start-up of each peer in its parts, a fresh process for each sample; and sizes of graph and log."""
    size = options.sizes[0]
    rows = []
    samples = {peer.name: [] for peer in training_peers(size, options.strip_rows)}
    graphs = {}
    for number in range(options.samples):
        for peer in training_peers(size, options.strip_rows):
            if peer.name in missing:
                continue
            note(f"start of {peer.name}, sample {number + 1} of {options.samples}")
            try:
                with contextlib.closing(opened(peer, options, apart=True)) as child:
                    samples[peer.name].append(child.parts)
                    graphs[peer.name] = child.ask("graph")
            except MISSING as error:
                missing[peer.name] = str(error)
    for name, parts in samples.items():
        if parts:
            graph = "" if graphs[name] is None else f"{graphs[name] / 1e6:.2f}"
            medians = [f"{statistics.median(part):.2f}" for part in zip(*parts)]
            rows.append([name, *medians, spread([sum(sample) for sample in parts]), graph])
    header = ["seconds", *PARTS, "all", "GraphDef, MB"]
    return (
        f"### Start-up at {in_words(size)}\n\n{table(header, rows)}\n\n"
        f"Medians of {options.samples}, each in a fresh process. {_event_log(options)}"
    )


def _event_log(options, iterations=21):
    """Return how large the log for TensorBoard is after some iterations, as a sentence."""
    settings = ours(size=options.sizes[0], iterations=iterations)
    with Transfer(settings, options.weights) as transfer, tempfile.TemporaryDirectory() as folder:
        transfer.start(*PICTURES)
        transfer.train([TensorBoard(folder)])
        size = sum(os.path.getsize(os.path.join(path, name)) for path, _, names in os.walk(folder) for name in names)
    return f"The event file of TensorBoard has {size / 1e6:.2f} MB after {iterations} iterations."


def memory(options, missing, iterations=3):
    """Measure the peak of resident memory of a whole small run, in a fresh process for each peer and size.

    Returns
    -------
    text : str
    peaks : dict
        For each peer's name, a dict from size to bytes.
    """
    rows, peaks, above = [], {}, {}
    for size in options.sizes:
        for peer in training_peers(size, options.strip_rows):
            if peer.name in missing:
                continue
            note(f"memory of {peer.name} at {in_words(size)}")
            try:
                with contextlib.closing(opened(peer, options, apart=True)) as child:
                    for _ in range(iterations - 1):
                        child.seconds()
                    peak = child.ask("peak")
            except MISSING as error:
                missing[peer.name] = str(error)
                continue
            if peak is None:
                return "### Peak memory\n\nNot measured: this system has no /proc/self/status.", {}
            peaks.setdefault(peer.name, {})[size] = peak
            above.setdefault(peer.name, {})[size] = peak - child.loaded
            rows.append([in_words(size), peer.name, f"{peak / 1e9:.2f}", f"{(peak - child.loaded) / 1e9:.2f}"])
    header = ["size", "run", "peak memory, GB", "above the framework's import, GB"]
    text = (
        f"### Peak memory\n\n{table(header, rows)}{_exponents(peaks, 'peak memory')}"
        f"{_exponents(above, 'what is above the import')}"
    )
    return text, peaks
