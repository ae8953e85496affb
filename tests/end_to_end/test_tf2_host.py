"""A host program on TensorFlow 2 that runs eagerly is, after a transfer, as it was before (TensorFlow 2 only).

Each host is a process of its own: what happens depends on what was imported first.
"""

import os
import subprocess
import sys

PREAMBLE = """
import gc, os, random, resource, threading, weakref
import numpy as np

def transfer(seed=0, iterations=3):
    rng = np.random.RandomState(7)
    pictures = [rng.randint(0, 256, (27, 37, 3)).astype(np.uint8) for _ in range(2)]
    return nst_graph.stylize(*pictures, size=(37, 27), seed=seed, iterations=iterations, weights="random")
"""

TENSORFLOW_FIRST = "import tensorflow as tf, tf_keras\nimport nst_graph\n"


def host(imports, program):
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + imports + program],
        env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="2"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


MODELS = """
def build(keras):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.BatchNormalization()(keras.layers.MaxPooling2D()(x))
    outputs = keras.layers.Dense(2)(keras.layers.Dropout(0.5)(keras.layers.Flatten()(x)))
    functional = keras.Model(inputs, outputs)
    sequential = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(2)

        def call(self, inputs):
            return self.dense(self.flatten(inputs))

    models = [functional, sequential, Subclassed()]
    for model in models:
        model.compile("sgd", "mse")
        model.fit(x_train, y_train, verbose=0)
    return models

def check(models):
    for model in models:
        assert tf.is_tensor(model(x_train)) and model(x_train).shape == (6, 2)
        assert model.predict(x_train, verbose=0).shape == (6, 2)
        assert len(model.fit(x_train, y_train, verbose=0).history["loss"]) == 1

x_train, y_train = np.random.rand(6, 8, 8, 3).astype("float32"), np.random.rand(6, 2).astype("float32")
"""


def test_the_hosts_models_and_functions_go_on():
    host(
        TENSORFLOW_FIRST,
        MODELS
        + """
twice = tf.function(lambda x: x * 2)
assert int(twice(tf.constant(1))) == 2
its_keras = tf.keras.Model
models = build(tf.keras) + build(tf_keras)
predictions = [model.predict(x_train, verbose=0) for model in models]
for _ in range(2):
    transfer()
assert tf.executing_eagerly() and tf.keras.Model is its_keras
assert int(twice(tf.constant(2))) == 4 and float(twice(tf.constant(1.5))) == 3
for model, prediction in zip(models, predictions):
    np.testing.assert_array_equal(model.predict(x_train, verbose=0), prediction)
check(models)
build(tf.keras), build(tf_keras)
""",
    )


def test_a_host_may_import_tensorflow_after_a_transfer():
    host(
        "import nst_graph\ntransfer()\nimport tensorflow as tf, tf_keras\n",
        MODELS
        + """
assert tf.executing_eagerly()
models = build(tf.keras) + build(tf_keras)
transfer()
check(models)
""",
    )


def test_the_hosts_state_and_its_own_graph_stay_as_they_are_and_nothing_of_ours_stays():
    host(
        TENSORFLOW_FIRST,
        """
eager = transfer()
with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
    np.testing.assert_array_equal(transfer(), eager)
    assert not tf.executing_eagerly() and tf.compat.v1.get_default_graph() is graph
    assert graph.get_operations() == [] and session.run(tf.constant(1)) == 1

K = nst_graph.get_runtime().keras.backend
host_graph = tf.Graph()
with host_graph.as_default():
    host_session = tf.compat.v1.Session()
    K.set_session(host_session)
import cv2  # sets Qt's variables when it is first imported, in any program
environment = dict(os.environ)
default_graph = tf.compat.v1.get_default_graph()

def draws():
    return random.random(), float(np.random.rand()), float(tf.random.uniform(())), float(tf.random.normal(()))

found = []
for between in (lambda: None, transfer):
    random.seed(1); np.random.seed(1); tf.random.set_seed(1)
    first = draws()
    between()
    found.append(first + draws())
    tf_keras.utils.set_random_seed(1)
    between()
    found[-1] += tuple(tf_keras.initializers.GlorotUniform()((2, 2)).numpy().flat)
assert found[0] == found[1], found
assert dict(os.environ) == environment
assert tf.compat.v1.get_default_graph() is default_graph
with host_graph.as_default():
    assert K.get_session() is host_session
    assert host_session.run(tf.constant(3)) == 3
assert len(host_graph.get_operations()) == 1

# Graphs and sessions are freed, and memory does not climb.
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

graphs, sizes, new_session = [], [], nst_graph.get_runtime().new_session

def remembered(*arguments):
    session = new_session(*arguments)
    graphs.append(weakref.ref(session.graph))
    return session

nst_graph.get_runtime().new_session = remembered
for _ in range(7):
    transfer()
    gc.collect()
    sizes.append(resident() / 1e6)
assert not any(graph() is not None for graph in graphs)
print("resident MB", [round(size) for size in sizes])
# One network has 80 MB of weights, and four more runs follow the third. Measured: 9 MB; with 7, -20 to 150.
assert sizes[-1] - sizes[2] < 160, sizes
""",
    )
