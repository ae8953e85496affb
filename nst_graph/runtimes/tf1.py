"""The TF1 plugin: the graph on native TensorFlow 1.15."""

import contextlib
import importlib
from typing import Any, Iterator, Optional

from nst_graph.runtimes import Installed, Runtime, release


class TF1Runtime(Runtime):
    """Native TensorFlow 1.15 with its own Keras."""

    name = "tf1"

    def __init__(self) -> None:
        import tensorflow.compat.v1 as tf

        self.tf = tf
        self.keras = tf.keras

    @classmethod
    def why_not(cls, installed: Installed) -> Optional[str]:  # noqa: D102 - as Runtime
        if installed.tensorflow is None:
            return "TensorFlow is not installed"
        if release(installed.tensorflow)[0] != 1:
            return f"it serves TensorFlow 1.15, and {installed.tensorflow} is installed"
        if release(installed.tensorflow) < (1, 15):
            return f'TensorFlow {installed.tensorflow} is too old: pip install "tensorflow==1.15.5" "protobuf<3.21"'
        return None

    @contextlib.contextmanager
    def scope(self, session: Any) -> Iterator[None]:  # noqa: D102 - as Runtime
        with session.graph.as_default(), session.as_default():
            yield

    def forget(self, graph: Any) -> None:  # noqa: D102 - as Runtime
        # Keras keeps the placeholder of the learning phase by its graph, weakly; but the placeholder holds the graph.
        # There is no public name for this, so a test checks it.
        importlib.import_module("tensorflow.python.keras.backend")._GRAPH_LEARNING_PHASES.pop(graph, None)
