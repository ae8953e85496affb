"""Memory: how much a run needs, how much is free, and which size fits. No TensorFlow.

A graph that does not fit does not fail with an exception: the system ends the process without a word.
"""

import os
import sys
from typing import Iterator, List, Optional, Tuple

import psutil

from nst_graph.vgg19 import LAYERS

if sys.platform != "win32":
    import resource

#: Bytes of a float32.
_FLOAT = 4

_BASE = 1_700_000_000
_FACTOR = 2.6


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
    """
    left: List[int] = [psutil.virtual_memory().available]
    if sys.platform == "linux":
        left += _left_in_control_groups(root)
        left += _left_in_address_space()
    return max(min(left), 0)


def _left_in_control_groups(root: str) -> Iterator[int]:
    """Yield the bytes that are left in the process's control group of memory and in each group above it.

    Sources: "Control Group v2" and "Memory Resource Controller", in the Linux kernel's documentation.
    """
    for line in _text(os.path.join(root, "proc/self/cgroup")).splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            mount, names = "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            # In version 1 `inactive_file` leaves out the groups below, which the usage includes.
            mount, names = (
                "sys/fs/cgroup/memory",
                (
                    "memory.limit_in_bytes",
                    "memory.usage_in_bytes",
                    "total_inactive_file",
                ),
            )
        else:
            continue
        limit_name, used_name, cache_name = names
        parts = [part for part in group.split("/") if part]
        # In some containers the group is named as the host sees it. Only the mounted folder itself is there then.
        for depth in range(len(parts), -1, -1):
            folder = os.path.join(root, mount, *parts[:depth])
            limit, used = (_text(os.path.join(folder, name)).strip() for name in (limit_name, used_name))
            if limit.isdigit() and used.isdigit():  # without a limit it is the word "max"
                statistics = dict(line.split() for line in _text(os.path.join(folder, "memory.stat")).splitlines())
                # The kernel gives up such copies of files before it ends a process.
                yield int(limit) - int(used) + int(statistics.get(cache_name, 0))


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


def needed(size: Tuple[int, int], deepest_layer: int, vectors: int = 2) -> int:
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

    Returns
    -------
    int
        Up to 15% more than measured.
    """
    width, height = size
    return _BASE + round(_FACTOR * _activations(size, deepest_layer)) + vectors * 3 * _FLOAT * width * height


def _activations(size: Tuple[int, int], deepest_layer: int) -> int:
    """Return the bytes of the activations of all layers from the first to the deepest, float32."""
    width, height = size
    total = 0
    for layer in LAYERS[1 : deepest_layer + 1]:
        if not layer.is_convolution:  # the pools pad an odd side
            width, height = (width + 1) // 2, (height + 1) // 2
        total += _FLOAT * layer.channels * width * height
    return total


def largest_fitting(
    size: Tuple[int, int], free_bytes: int, deepest_layer: int, vectors: int = 2
) -> Optional[Tuple[int, int]]:
    """Return the largest size of the same proportions that fits into the given bytes.

    Parameters
    ----------
    size : tuple of int
        Width and height in pixels, for their proportions. The result may be larger.
    free_bytes : int
        For example from `free`.
    deepest_layer, vectors : int
        See `needed`.

    Returns
    -------
    tuple of int or None
        Width and height. The longest side is a multiple of 10; the other is rounded to a pixel. None if not even a
        longest side of 50 fits.
    """
    # The first layer alone has more bytes for each pixel of the longest side, so this is too large.
    fits, too_large = 4, max(free_bytes // (10 * _FLOAT * LAYERS[1].channels), 4) + 1
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        if needed(_scaled(size, 10 * middle), deepest_layer, vectors) <= free_bytes:
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
