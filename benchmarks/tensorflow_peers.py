"""The peers that run on TensorFlow: the article's own way, this project's run, and TensorFlow's matrix product."""

# ruff: noqa: D102 - the methods are those of Peer

import contextlib
import dataclasses

from benchmarks.peers import PICTURES, Peer, Product, images
from nst_graph.errors import SettingError
from nst_graph.network import create_output_tensors
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings
from nst_graph.transfer import Transfer
from tests.reference.article_graph import ArticleGraph

#: What a run has where nothing else is asked for, and where `Settings` does not know the constant.
_PLAIN = {"precision": "float32", "strips": "off"}


def ours(**constants):
    """Return settings of this project's run with seed 0, in float32 and without strips unless asked for."""
    known = {field.name for field in dataclasses.fields(Settings)}
    for name in constants.keys() - known:
        raise SettingError(f"this version has no constant `{name}`")
    return Settings(seed=0, **{name: value for name, value in {**_PLAIN, **constants}.items() if name in known})


class Ours(Peer):
    """A run of this project, with constants of its own."""

    def __init__(self, name, size, **constants):
        super().__init__(name, size, constants.get("precision", "float32"))
        self.constants = constants

    def load(self):
        get_runtime()

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

    def load(self):
        get_runtime()

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


class TensorFlowProduct(Product):
    """A product of two square matrices by TensorFlow."""

    apart = False

    def load(self):
        get_runtime()

    def start(self):
        runtime = get_runtime()
        tf = runtime.tf
        self.session = self.resources.enter_context(contextlib.closing(runtime.new_session()))
        with runtime.scope(self.session):
            values = tf.random.uniform((self.side, self.side))
            factors = [tf.Variable(tf.cast(values, getattr(tf, self.precision))) for _ in range(2)]
            self.session.run([factor.initializer for factor in factors])
            self.product = tf.matmul(*factors).op

    def step(self):
        self.session.run(self.product)
