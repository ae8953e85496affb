"""The training step, reading the costs, and the size of the graph: this project's way and the article's way.

    python -m benchmarks.training_step [ROUNDS]

Builds both graphs in one process and trains them in turn at the article's size. Weights are random: their values do not
change the time. `tests/reference/article_graph.py` describes the article's way.
"""

import statistics
import sys
import time

import numpy as np

from nst_graph import program
from nst_graph.network import create_output_tensors
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings
from nst_graph.weights import random_weights
from tests.reference.article_graph import ArticleGraph
from tests.training import Training


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(rounds):
    program.set_up()
    runtime, settings, weights = get_runtime(), Settings(), random_weights()
    layers = settings.content_layer_index, settings.style_layer_indices, weights
    rng = np.random.RandomState(0)
    images = [rng.uniform(-120, 140, (1, 300, 400, 3)).astype(np.float32) for _ in range(3)]
    with Training(images, settings, weights) as ours:
        ours_size = ours.session.graph.as_graph_def().ByteSize()
        graph = runtime.tf.Graph()
        with graph.as_default(), runtime.tf.Session(graph=graph) as session:
            article = ArticleGraph(
                runtime.tf, session, lambda variable: create_output_tensors(variable, *layers), images, settings
            )
            article_size = graph.as_graph_def().ByteSize()
            print(f"TensorFlow {runtime.version}, 400x300, {rounds} rounds, medians")
            for what in ("step", "costs"):
                pair = getattr(ours, what), getattr(article, what)
                for call in pair:
                    call()  # the first one allocates
                times = [[seconds(call) for call in pair] for _ in range(rounds)]
                mine, theirs = (statistics.median(column) for column in zip(*times))
                print(f"{what}: {mine:.3f} s, the article's way {theirs:.3f} s, ratio {mine / theirs:.3f}")
    print(f"GraphDef: {ours_size / 1e6:.1f} MB, the article's way {article_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
