"""What is measured: something that makes one step after the other. And the pictures that every peer begins with."""

import contextlib
import time

import numpy as np

from nst_graph.errors import NSTGraphError
from nst_graph.images import create_noisy_img, preprocess, read_picture
from nst_graph.settings import Settings
from tests import ROOT

#: The content and the style picture.
PICTURES = str(ROOT / "input" / "cat.jpg"), str(ROOT / "input" / "starry_night.jpg")
#: What a peer raises that cannot be measured here. The message is the reason.
MISSING = NSTGraphError, ImportError


def images(size):
    """Return content, style and start image, float32 (1, h, w, 3), preprocessed."""
    means = Settings().color_means
    content, style = (preprocess(read_picture(path), size, means) for path in PICTURES)
    return content, style, create_noisy_img(content, Settings().noise_ratio, np.random.RandomState(0))


class Peer:
    """Makes one step after the other. `load`, `build` and `start` are called before, in this order.

    Attributes
    ----------
    name : str
        For tables.
    size : tuple of int
        Width and height.
    precision : str
        `float32` or `bfloat16`: which of the machine's limits it is compared with.
    apart : bool
        Whether it needs a process of its own: its threads would disturb TensorFlow's.
    is_product : bool
        Whether a step is a matrix product, and not a training step.
    """

    apart = False
    is_product = False

    def __init__(self, name, size, precision):
        self.name, self.size, self.precision = name, size, precision
        self.resources = contextlib.ExitStack()

    def load(self):
        """Import the framework."""

    def build(self, weights):
        """Build network and graph."""

    def start(self):
        """Compute the targets and set the image to start from."""

    def step(self):
        """Make one step."""
        raise NotImplementedError

    def close(self):
        """Free everything."""
        self.resources.close()

    def graph_bytes(self):
        """Return the size of the GraphDef; None without a graph."""

    def seconds(self, what="step"):
        """Return how long one call of a method takes."""
        begun = time.perf_counter()
        getattr(self, what)()
        return time.perf_counter() - begun


class Product(Peer):
    """A product of two square matrices by NumPy. Its threads wait busily for a while after each product."""

    apart = True
    is_product = True
    #: Side of the matrices.
    side = 2048

    def start(self):
        """Make the matrices."""
        self.factors = np.random.RandomState(0).rand(2, self.side, self.side).astype(np.float32)

    def step(self):
        """Multiply them."""
        np.matmul(*self.factors)
