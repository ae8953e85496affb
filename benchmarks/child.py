"""A peer in a process of its own, which is asked over a pipe to make one step at a time.

`Child` starts `python -m benchmarks.child` and speaks with it in lines of JSON.
"""

import json
import re
import subprocess
import sys
import time

from benchmarks.peers import MISSING, Article, NumPyProduct, Ours, TensorFlowProduct
from benchmarks.torch_peer import Torch
from nst_graph import program
from nst_graph.weights import find_weights
from tests import ROOT

#: Names of peers that are compared.
ARTICLE, OURS, PYTORCH = "the article's way", "ours, float32", "PyTorch"
#: What a peer's process has done before it takes orders, in this order.
PARTS = ("Python, NumPy, OpenCV", "framework's import", "weights", "network, graph", "targets", "first step")


def training_peers(size, strip_rows):
    """Return the peers that make training steps, not loaded yet."""
    return [
        Article(ARTICLE, size, "float32"),
        Ours(OURS, size),
        Ours("ours, bfloat16", size, precision="bfloat16"),
        Ours(f"ours, strips of {strip_rows} rows", size, strips=strip_rows),
        Torch(PYTORCH, size, "float32"),
        Torch("PyTorch, bfloat16", size, "bfloat16"),
    ]


def products():
    """Return the matrix products, whose best rate is the machine's limit."""
    return [
        TensorFlowProduct("TensorFlow's product, float32", None, "float32"),
        TensorFlowProduct("TensorFlow's product, bfloat16", None, "bfloat16"),
        NumPyProduct("NumPy's product, float32", None, "float32"),
    ]


class Child:
    """A peer's process; it has made its first step when this has been created.

    Parameters
    ----------
    peer : Peer
        Not loaded.
    strip_rows : int
        As for `training_peers`.
    weights : str
        See `nst_graph.weights.find_weights`.

    Raises
    ------
    ImportError
        If the peer cannot be measured here, with the reason.

    Attributes
    ----------
    parts : list of float
        Seconds of each of `PARTS`.
    loaded : int or None
        Peak of resident memory in bytes after the framework's import; None where the system does not tell.
    """

    def __init__(self, peer, strip_rows, weights):
        self.name, self.precision, self.is_product = peer.name, peer.precision, peer.is_product
        request = json.dumps([peer.name, peer.size, strip_rows, weights])
        begun = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child", request],
            cwd=str(ROOT),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            universal_newlines=True,
        )
        try:
            answer = self._answer()
            if "missing" in answer:
                raise ImportError(answer["missing"])
        except BaseException:
            self.close()
            raise
        marks = [begun, *answer["marks"]]
        self.parts = [end - start for start, end in zip(marks, marks[1:])]
        self.loaded = answer["loaded"]

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise ImportError(f"its process ended with status {self._process.wait()}")
        return json.loads(line)

    def ask(self, what):
        """Return the answer to an order: a key of `orders` below."""
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return self._answer()

    def seconds(self):
        """Make one step and return how long it took."""
        return self.ask("step")

    def close(self):
        """End the process."""
        self._process.kill()
        self._process.communicate()


def peak_memory():
    """Return this program's peak of resident memory in bytes; None without Linux's /proc.

    Not `ru_maxrss`: that counts the process that started this program too.
    """
    try:
        with open("/proc/self/status") as file:
            return 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", file.read()).group(1))
    except OSError:
        return None


def _serve(name, size, strip_rows, weights):
    def answer(what):
        print(json.dumps(what), flush=True)

    marks = [time.monotonic()]
    known = [*training_peers(size and tuple(size), strip_rows), *products()]
    peer = next(peer for peer in known if peer.name == name)
    try:
        peer.load()
        marks.append(time.monotonic())
        loaded = peak_memory()
        found = None if peer.is_product else find_weights(weights)
        marks.append(time.monotonic())
        for part in (lambda: peer.build(found), peer.start, peer.step):
            part()
            marks.append(time.monotonic())
    except MISSING as error:
        return answer({"missing": str(error)})
    answer({"marks": marks, "loaded": loaded})
    orders = {"step": peer.seconds, "peak": peak_memory, "graph": peer.graph_bytes}
    for line in sys.stdin:
        answer(orders[line.strip()]())


if __name__ == "__main__":
    program.set_up("benchmarks")
    _serve(*json.loads(sys.argv[1]))
