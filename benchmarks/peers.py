"""What is measured: peers, which make one step after the other. PyTorch's is in `torch_peer`."""

# ruff: noqa: D102 - the methods are those of Peer

import contextlib
import time

import numpy as np

from nst_graph import precision
from nst_graph.errors import NSTGraphError
from nst_graph.images import create_noisy_img, preprocess, read_picture
from nst_graph.network import create_output_tensors
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings
from nst_graph.transfer import Transfer
from tests import ROOT
from tests.reference.article_graph import ArticleGraph

#: The content and the style picture.
PICTURES = str(ROOT / "input" / "cat.jpg"), str(ROOT / "input" / "starry_night.jpg")
#: Side of the square matrices whose product is the machine's limit.
PRODUCT_SIDE = 2048
#: What a peer raises that cannot be measured here. The message is the reason.
MISSING = NSTGraphError, ImportError


def images(size):
    """Return content, style and start image, float32 (1, h, w, 3), preprocessed."""
    means = Settings().color_means
    content, style = (preprocess(read_picture(path), size, means) for path in PICTURES)
    return content, style, create_noisy_img(content, Settings().noise_ratio, np.random.RandomState(0))


def ours(**constants):
    """Return settings of this project's run with seed 0, in float32 and without strips unless asked for."""
    return Settings(**{"seed": 0, "precision": "float32", "strips": "off", **constants})


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

    def __init__(self, name, size, kind):
        self.name, self.size, self.precision = name, size, kind
        self.resources = contextlib.ExitStack()

    def load(self):
        """Import the framework."""
        get_runtime()

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


class Ours(Peer):
    """A run of this project, with constants of its own."""

    def __init__(self, name, size, **constants):
        super().__init__(name, size, constants.get("precision", "float32"))
        self.constants = constants

    def load(self):
        super().load()
        why_not = self.precision == "bfloat16" and (precision.not_available() or precision.no_help())
        if why_not:
            raise ImportError(why_not)

    def build(self, weights):
        settings = ours(size=self.size, **self.constants)
        self.transfer = self.resources.enter_context(Transfer(settings, weights))
        assert self.transfer.objective  # builds the graph

    def start(self):
        self.transfer.start(*PICTURES)

    def step(self):
        self.transfer.step()

    def costs(self):
        """Return the costs, apart from a step."""
        return self.transfer.costs()

    def graph_bytes(self):
        return self.transfer.objective.session.graph.as_graph_def().ByteSize()


class Article(Peer):
    """The article's own way; its graph and its targets are made in one."""

    def build(self, weights):
        self.weights = weights
        self.session = self.resources.enter_context(contextlib.closing(get_runtime().new_session()))

    def start(self):
        runtime, settings = get_runtime(), Settings()
        layers = settings.content_layer_index, settings.style_layer_indices, self.weights
        with runtime.scope(self.session):
            self.article = ArticleGraph(
                runtime.tf,
                self.session,
                lambda variable: create_output_tensors(variable, *layers),
                images(self.size),
                settings,
            )

    def step(self):
        self.article.step()

    def costs(self):
        """Return the costs, apart from a step."""
        return self.article.costs()

    def image(self):
        """Return the image as it is now: float32 (1, h, w, 3)."""
        return self.session.run(self.article.input_var)

    def graph_bytes(self):
        return self.session.graph.as_graph_def().ByteSize()


class TensorFlowProduct(Peer):
    """A product of two square matrices by TensorFlow."""

    is_product = True

    def start(self):
        runtime = get_runtime()
        tf = runtime.tf
        self.session = self.resources.enter_context(contextlib.closing(runtime.new_session()))
        with runtime.scope(self.session):
            values = tf.random.uniform((PRODUCT_SIDE, PRODUCT_SIDE))
            factors = [tf.Variable(tf.cast(values, getattr(tf, self.precision))) for _ in range(2)]
            self.session.run([factor.initializer for factor in factors])
            self.product = tf.matmul(*factors).op

    def step(self):
        self.session.run(self.product)


class NumPyProduct(Peer):
    """The same by NumPy, whose threads wait busily for a while after each product."""

    apart = True
    is_product = True

    def load(self):
        """NumPy is imported already."""

    def start(self):
        self.factors = np.random.RandomState(0).rand(2, PRODUCT_SIDE, PRODUCT_SIDE).astype(np.float32)

    def step(self):
        np.matmul(*self.factors)
