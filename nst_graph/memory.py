"""Memory: how much a run needs, how much is free, and which size fits. No TensorFlow.

A graph that does not fit does not fail with an exception: the system ends the process without a word.
"""

import os
import sys
from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple

import psutil

from nst_graph.vgg19 import LAYERS

if sys.platform != "win32":
    import resource

#: Bytes of a float32.
_FLOAT = 4

# Fitted by hand to peaks of resident memory (`ru_maxrss`) of whole runs with Adam, on 2 cores of an AMD EPYC, with
# TensorFlow 2.21 and 1.15.5, from 400x300 to 1600x1200, with layers 7, 17 and 21 as the deepest. The table is in
# tests/unit/test_memory.py. The estimate is never below it and at most 15% above. Two runs of the same size
# differ by up to 4%; the table has the higher.

#: Bytes at any size: Python, TensorFlow, the weights and what the allocator keeps. Python 3.7 has TensorFlow 1.15,
#: which takes less.
_BASE = 830_000_000 if sys.version_info < (3, 8) else 1_560_000_000

#: Bytes for each byte of activations, in block 1 and in deeper blocks. Deeper blocks count little: layers up to 17
#: have 38% more activations than layers up to 7, but the peak is only 0 to 9% higher.
_BLOCK1, _DEEPER = 5.42, 0.3
# Bytes for each pixel that styles with masks take more: 0.41 and 0.39 GB were measured for two and three at 800x600.
_MASKED = 860

# Bytes for each pixel of a style picture whose Gram matrices are computed: for pictures of 1600x1200, 2400x1800 and
# 3200x2400 beside a run at 400x300, peaks of 2.09, 5.26 and 6.05 GB were measured on TensorFlow 2.21.
_STYLE = 1_250

# Strips, fitted to peaks of TensorFlow 2.21 in the same way.
#: Bytes at any size.
_BASE_IN_STRIPS = 1_250_000_000
#: Bytes for each pixel: the inputs of the five blocks (132), a content target of block 4 (32), and 21 that were
#: measured besides.
_BLOCKS = 185
#: Bytes for each row of a strip and each column of the picture.
_STRIP = 2_100


class _GroupFiles(NamedTuple):
    """Where the kernel shows the memory of control groups: a folder, two files in it, and an entry of memory.stat."""

    root: str
    limit: str
    used: str
    inactive_file: str


_VERSION_2 = _GroupFiles("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")
#: Its use includes the groups below, and its `inactive_file` does not. `total_inactive_file` does.
_VERSION_1 = _GroupFiles(
    "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
)


def free(root: str = "/") -> int:
    """Return the bytes that this process can still take.

    Parameters
    ----------
    root : str
        The folder that holds `proc` and `sys`, for tests.

    Returns
    -------
    int
        At least 0. On Linux the smallest of the machine's available memory, what is left in each control group that the
        process is in (a container's limit is one), and what is left of the limit of its address space (`ulimit -v`). On
        other systems the machine's available memory. Swap space does not count.

    Notes
    -----
    `needed` is for a whole process. A process that has loaded TensorFlow already, or that has made a run, holds a part
    of it, see `resident`, so comparing the two there errs on the safe side. Not so with a limit of the address space:
    TensorFlow takes 1.4 to 1.8 GB of addresses more than it takes memory.
    """
    left: List[int] = [psutil.virtual_memory().available]
    if sys.platform == "linux":
        left += _left_in_control_groups(root)
        left += _left_in_address_space()
    return max(min(left), 0)


def resident() -> int:
    """Return the bytes of memory that this process has taken."""
    return int(psutil.Process().memory_info().rss)


def _left_in_control_groups(root: str) -> Iterator[int]:
    """Yield the bytes that are left in the process's control group and in each group above it.

    Sources: "Control Group v2" and "Memory Resource Controller", in the Linux kernel's documentation.
    """
    for line in _text(os.path.join(root, "proc/self/cgroup")).splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            files = _VERSION_2
        elif "memory" in controllers.split(","):
            files = _VERSION_1
        else:
            continue
        parts = [part for part in group.split("/") if part]
        # A container may see only its own group, mounted as the root, while the line still has the host's path.
        for depth in range(len(parts), -1, -1):
            yield from _left_in_group(os.path.join(root, files.root, *parts[:depth]), files)


def _left_in_group(folder: str, files: _GroupFiles) -> Iterator[int]:
    """Yield the bytes that are left in one control group, if it has a limit."""
    limit = _text(os.path.join(folder, files.limit)).strip()
    used = _text(os.path.join(folder, files.used)).strip()
    if not (limit.isdigit() and used.isdigit()):  # not readable; or there is no limit, which version 2 writes as "max"
        return
    statistics = dict(line.split() for line in _text(os.path.join(folder, "memory.stat")).splitlines())
    # The use includes copies of files on disk. The kernel drops the inactive ones when memory is short.
    yield int(limit) - int(used) + int(statistics.get(files.inactive_file, 0))


def _left_in_address_space() -> Iterator[int]:
    """Yield the bytes that are left of the limit of the process's address space, if there is one."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield limit - psutil.Process().memory_info().vms


def _text(path: str) -> str:
    """Return the text of a file; empty if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def needed(size: Tuple[int, int], deepest_layer: int, vectors: int = 2, masked_styles: int = 0) -> int:
    """Return the bytes that a run needs at its peak: the whole process, with Python, TensorFlow and the weights.

    Parameters
    ----------
    size : tuple of int
        Width and height in pixels.
    deepest_layer : int
        The highest index of a layer that a cost uses, a position in `nst_graph.vgg19.LAYERS`, 1 to 21. The article's is
        17.
    vectors : int
        How many arrays of the image's shape, float32, the optimiser keeps: 2 for Adam, two for each pair of L-BFGS.
    masked_styles : int
        Number of styles with masks.

    Returns
    -------
    int
        At most 15% above what was measured from 400x300 up on TensorFlow 2.21 and 1.15.5; more above it for smaller
        sizes, for layer 1 alone and on TensorFlow 2.15. The pictures as they are read, before they are resized, are not
        counted: 3 bytes for each of their pixels.
    """
    width, height = size
    total = _BASE + vectors * 3 * _FLOAT * width * height
    if masked_styles > 1:
        total += _MASKED * width * height
    for layer in LAYERS[1 : deepest_layer + 1]:
        if not layer.is_convolution:  # an average pool, 2x2; where a side is odd, it pads
            width, height = (width + 1) // 2, (height + 1) // 2
        factor = _BLOCK1 if layer.block == "block1" else _DEEPER
        total += round(factor * _FLOAT * layer.channels * width * height)
    return total


def needed_for_style(size: Tuple[int, int]) -> int:
    """Return the bytes that the target of a style picture of this size (width, height) needs without strips.

    For the article's layers. A run of the same size or a larger one needs more, see `needed`.
    """
    return _STYLE * size[0] * size[1]


def needed_in_strips(size: Tuple[int, int], rows: int, vectors: int = 2) -> int:
    """Return the bytes that a run in strips needs at its peak, see `needed` and `nst_graph.strips`.

    Parameters
    ----------
    size : tuple of int
        Width and height in pixels.
    rows : int
        Rows of a strip.
    vectors : int
        See `needed`.

    Returns
    -------
    int
        For the article's layers at most 15% above what was measured from 1600x1200 up on TensorFlow 2.21; more for
        fewer layers and on TensorFlow 1.15.
    """
    width, height = size
    # Besides the optimiser's: the image in the session, its copy that the gradient is written over, and that of a step.
    arrays = (vectors + 3) * 3 * _FLOAT
    return _BASE_IN_STRIPS + (_BLOCKS + arrays) * width * height + _STRIP * width * min(rows, height)


def largest_fitting(
    size: Tuple[int, int], free_bytes: int, needed_for: Callable[[Tuple[int, int]], int]
) -> Optional[Tuple[int, int]]:
    """Return the largest size of the same proportions that fits into the given bytes.

    Parameters
    ----------
    size : tuple of int
        Width and height in pixels, for their proportions. The result may be larger.
    free_bytes : int
        For example from `free`.
    needed_for : callable
        Takes a size and returns the bytes that it needs, from `needed` or `needed_in_strips`.

    Returns
    -------
    tuple of int or None
        Width and height. The longest side is a multiple of 10; the other is rounded to a pixel. None if not even a
        longest side of 50 fits.
    """
    # The picture alone has more bytes for each pixel of the longest side, so this is too large.
    fits, too_large = 4, max(free_bytes // (10 * 3 * _FLOAT), 4) + 1
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        if needed_for(_scaled(size, 10 * middle)) <= free_bytes:
            fits = middle
        else:
            too_large = middle
    return _scaled(size, 10 * fits) if fits > 4 else None


def _scaled(size: Tuple[int, int], longest: int) -> Tuple[int, int]:
    """Return the size with the given longest side and the same proportions, at least one pixel wide and high."""
    width, height = (max(round(side * longest / max(size)), 1) for side in size)
    return width, height


def in_words(amount: int) -> str:
    """Return bytes as a person writes them: `1.7 GB`, below that `830 MB`. A GB is 1e9 bytes."""
    megabytes = round(amount / 1e6)
    return f"{megabytes} MB" if megabytes < 1000 else f"{amount / 1e9:.1f} GB"
