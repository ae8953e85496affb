"""Threads of one program: two transfers at once, beside a host's own Keras models. On every TensorFlow."""

import os
import subprocess
import sys

#: Threads of both kinds that the environment asks TensorFlow for: more than a small machine has cores.
THREADS = 9

PROGRAM = """
import os, sys, threading
import numpy as np
import nst_graph

before = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else None
rng = np.random.RandomState(7)
pictures = [rng.randint(0, 256, (27, 37, 3)).astype(np.uint8) for _ in range(2)]

def transfer(seed):
    return nst_graph.stylize(*pictures, size=(37, 27), seed=seed, iterations=2, weights="random")

expected = [transfer(seed) for seed in range(2)]
if before is not None:
    # Without `threads` the variables hold: TensorFlow reads them where a session's configuration has 0.
    started = len(os.listdir("/proc/self/task")) - before
    assert started >= 2 * int(os.environ["TF_NUM_INTRAOP_THREADS"]), started

import tensorflow as tf
keras = tf.keras
weights = [rng.standard_normal(shape).astype(np.float32) for shape in ((3, 3, 3, 4), (4,), (256, 2), (2,))]
x, y = rng.rand(6, 8, 8, 3).astype(np.float32), np.zeros((6, 2), np.float32)

def host_model():
    inputs = keras.Input((8, 8, 3))
    features = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(features)))
    model.set_weights(weights)
    before = model.predict(x, verbose=0)
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)
    if tf.__version__[0] == "2":
        assert tf.executing_eagerly() and tf.is_tensor(model(x))
    keras.backend.clear_session()
    return before

expected_of_the_host = host_model()
done, found, problems, runs = threading.Event(), {}, [], []

def host():
    try:
        while not done.is_set():
            # Two convolutions differ in the last bits where other threads have the cores.
            np.testing.assert_allclose(host_model(), expected_of_the_host, rtol=1e-4, atol=1e-4)
            runs.append(1)
    except BaseException as error:
        problems.append(error)

def ours(seed):
    try:
        found[seed] = transfer(seed)
    except BaseException as error:
        problems.append(error)

hosts = threading.Thread(target=host)
hosts.start()
others = [threading.Thread(target=ours, args=(seed,)) for seed in range(2)]
for thread in others:
    thread.start()
for thread in others:
    thread.join()
done.set()
hosts.join()
assert not problems, problems
assert len(runs) >= 1 and len(found) == 2
for seed, picture in found.items():
    np.testing.assert_array_equal(picture, expected[seed])
"""


def test_two_transfers_beside_the_models_of_a_host():
    count = str(THREADS)
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="2", TF_NUM_INTRAOP_THREADS=count, TF_NUM_INTEROP_THREADS=count)
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
