"""Every claim of docs/porting.md. Its snippets run as they stand there."""

import contextlib
import functools
import gc
import json
import os
import random
import re
import subprocess
import sys
import time
import weakref

import numpy as np
import pytest

from nst_graph.images import create_noisy_img, load_img
from nst_graph.runtimes import get_runtime, installed, metadata, release
from nst_graph.settings import Settings
from nst_graph.vgg19 import LAYERS, feature_map_size
from nst_graph.weights import random_weights
from tests import ROOT, snippets
from tests.reference import numpy_nst

PATH = ROOT / "docs" / "porting.md"
PAGE = PATH.read_text(encoding="utf-8")
TENSORFLOW = release(installed().tensorflow)

#: What stands around the snippets of a process: programs before and after it, which check what the page says beside
#: its snippets.
AROUND = {}
if TENSORFLOW >= (2,):
    # A program that runs eagerly, of which the reader's own program is a part.
    AROUND["host"] = (
        """
import os
import numpy as np, tensorflow, tf_keras

def fitted(keras):
    made = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])
    made.compile("sgd", "mse")
    made.fit(pictures, labels, verbose=0)
    return made

def state():
    v1 = tensorflow.compat.v1
    return v1.get_default_graph(), v1.get_default_session(), tensorflow.keras.Model, dict(os.environ)

pictures, labels = np.ones((6, 4, 4, 3), "float32"), np.ones((6, 2), "float32")
models = [fitted(tensorflow.keras), fitted(tf_keras)]
predicted = [model.predict(pictures, verbose=0) for model in models]
state_before = state()
""",
        """
assert state() == state_before and tensorflow.executing_eagerly()
for model, prediction in zip(models, predicted):
    assert (model.predict(pictures, verbose=0) == prediction).all()
    assert model(pictures).shape == (6, 2)
    model.fit(pictures, labels, verbose=0)
""",
    )
if TENSORFLOW >= (2, 16):
    # After the snippet's remedy a graph's session works, and its layers cannot be called.
    AROUND["host"] = (
        AROUND["host"][0],
        AROUND["host"][1]
        + """
bases = {cls: cls.__bases__ for cls in subclasses(tf_keras.layers.Layer)}
with tensorflow.Graph().as_default() as graph:
    session = tensorflow.compat.v1.Session()
    layer = tf_keras.layers.Dense(1)
    y = layer(tensorflow.ones((1, 3)))
    session.run([weight.initializer for weight in layer.weights])
for cls, before in bases.items():
    if cls.__bases__ != before:
        cls.__bases__ = before
assert session.run(y).shape == (1, 1)
try:
    with graph.as_default():
        layer(tensorflow.ones((1, 3)))
except AttributeError as error:
    assert "'Dense' object" in str(error)
else:
    raise AssertionError("the layer can be called")
""",
    )
    # Keras 2 layers in graphs do nothing to a model of Keras 3.
    AROUND["page"] = (
        """
import keras as keras_3, tensorflow
assert keras_3.layers.Dense is tensorflow.keras.layers.Dense
keras_3_model = keras_3.Sequential([keras_3.layers.Dense(1)])
keras_3_model(tensorflow.ones((1, 3)))
""",
        "assert keras_3_model(tensorflow.ones((1, 3))).shape == (1, 1)",
    )
    # TF_USE_LEGACY_KERAS gives Keras 2 to the whole process. Then the snippets disable eager execution.
    AROUND["script"] = (
        """
import os
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import keras as keras_3, tf_keras
import tensorflow.compat.v1 as tf
assert tf.keras.backend.get_session()
import tensorflow
assert tensorflow.keras.layers.Dense is tf_keras.layers.Dense
assert not hasattr(tf, "contrib")
""",
        """
import numpy as np
try:
    keras_3.Sequential([keras_3.layers.Dense(1)]).predict(np.ones((2, 3)))
except RuntimeError as error:
    assert "eager mode" in str(error)
else:
    raise AssertionError("Keras 3 predicts")
""",
    )


def python(*arguments, **options):
    """Run Python and return what it prints; a process that fails fails the test."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="2", PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        **options,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@functools.lru_cache(maxsize=None)
def outcomes(process):
    """Return what was wrong with the snippets of a process, by line."""
    return json.loads(python("-m", "tests.snippets", str(PATH), process, *AROUND.get(process, ())).splitlines()[-1])


@pytest.mark.parametrize(
    "snippet", [snippet for snippet in snippets.snippets(PAGE) if snippet.applies], ids="line {0.line}".format
)
def test_a_snippet_does_what_the_page_says(snippet):
    found = outcomes(snippet.process)[str(snippet.line)]
    assert found is None, found


def test_every_message_of_the_table_is_raised_by_something():
    """By the code beside it, or, where words stand there, by a snippet or by the article's program."""
    raised = {line[3:-3] for line in PAGE.splitlines() if line.startswith("@@ ")}
    for snippet in snippets.snippets(PAGE):
        raised.update(snippets.errors(snippet.code))
    table = snippets.rows(PAGE)
    assert len(table) == len(re.findall(r"^\| `.*Error: ", PAGE, re.M)) > 15
    assert {row.message for row in table} <= raised
    assert {line[3:-3] for line in PAGE.splitlines() if line.startswith("@@ ")} <= {row.message for row in table}


def anchors(path):
    """Return the anchors of a page's headings."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    return {
        re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.M)
    }


@pytest.mark.parametrize("name", ["porting.md", "runtimes.md"])
def test_the_links_of_the_page(name):
    path = PATH.with_name(name)
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", path.read_text(encoding="utf-8")):
        linked = path.parent / target if target else path
        assert linked.is_file()
        assert not anchor or anchor in anchors(linked)


ARTICLE = """
import json, os, sys, traceback
import numpy as np
from nst_graph.weights import random_weights

arrays = random_weights().arrays

def network(VGG19):
    vgg_model = VGG19(weights=None, include_top=False)
    vgg_model.set_weights(arrays)
    return vgg_model

for program in json.load(open("programs.json")):
    np.random.seed(0)
    try:
        exec(program, {"network": network})
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
        import tf_keras.api._v1.keras.backend as K
        K.set_session(None)  # the program closed it
"""


def hunks():
    """Return the page's change of the article's program: for each hunk its title, the old lines and the new ones."""
    (diff,) = snippets.blocks(PAGE, "diff")
    found = []
    for title, text in re.findall(r"^@@ (.*) @@\n((?:[ +-].*\n|\+\n)*)", diff.code, re.M):
        lines = text.splitlines(True)
        old, new = ("".join(line[1:] for line in lines if line[0] in sign) for sign in (" -", " +"))
        found.append((title, old, new))
    return found


def test_the_articles_program_runs_when_it_is_changed_as_the_page_says(tmp_path):
    """On TensorFlow 1 as it is. On TensorFlow 2 each change brings it to the next error, the last one to the end."""
    programs, stops = [(ROOT / "tests" / "reference" / "article_program.py").read_text()], []
    if TENSORFLOW >= (2,):
        for title, old, new in hunks():
            assert programs[-1].count(old) == 1
            programs.append(programs[-1].replace(old, new))
            stops.append(title)
    if TENSORFLOW == (2, 15):  # where the messages are others
        programs, stops = programs[-1:], []
    for old, new in [
        ("./input/", f"{ROOT}/input/"),
        ("(400, 300)", "(37, 27)"),
        ("NUM_ITERATIONS = 500", "NUM_ITERATIONS = 1"),
        ('VGG19(weights="imagenet", include_top=False)', "network(VGG19)"),
    ]:
        assert all(old in program for program in programs)
        programs = [program.replace(old, new) for program in programs]
    (tmp_path / "programs.json").write_text(json.dumps(programs))
    *found, line = python("-c", ARTICLE, cwd=str(tmp_path)).splitlines()
    assert found == stops

    size, means = (37, 27), Settings().color_means
    content, style = (load_img(str(ROOT / "input" / name), size, means) for name in ("cat.jpg", "starry_night.jpg"))
    start = create_noisy_img(content, 0.6, np.random.RandomState(0))
    (_, *costs, _) = list(numpy_nst.run(content, style, start, random_weights().arrays, 1))[-1]
    assert line == "Iteration: 0, Content cost: {:.2e}, Style cost: {:.2e}, Total cost: {:.2e}".format(*costs)
    assert (tmp_path / "output" / "generated_img.jpg").is_file()
    # The page says that the graph grows by these arrays; only the noisy image is assigned after the graph is logged.
    (event_file,) = (tmp_path / "log").iterdir()
    assert event_file.stat().st_size > arrays_in_the_graph(size) - content.nbytes


def arrays_in_the_graph(size):
    """Return how many bytes the article's program puts into its graph: three pictures and six targets."""
    width, height = size
    settings, total = Settings(), 3 * 4 * width * height * 3
    for index in (settings.content_layer_index, *settings.style_layer_indices):
        width, height = feature_map_size(size, index)
        total += 4 * width * height * LAYERS[index].channels
    return total


def test_the_size_of_the_articles_graph():
    (megabytes,) = re.findall(r"graph\s+has (\d+) MB at\s+400x300", PAGE)
    assert int(megabytes) == round(arrays_in_the_graph((400, 300)) / 1e6)


@pytest.fixture
def runtime():
    """Keras's own session is as it was before the test."""
    yield get_runtime()
    get_runtime().keras.backend.set_session(None)


def test_a_program_around_a_session_scope_keeps_its_random_numbers(runtime):
    """Keras's initialisers take their seeds from them."""
    drawn = []
    for build in (False, True):
        random.seed(1), np.random.seed(1)
        if build:
            with runtime.session_scope():
                runtime.keras.layers.Dense(1).build((1, 3))
        drawn.append((random.random(), np.random.rand()))
    assert drawn[0] == drawn[1]


def is_freed(graph):
    gc.collect()
    return graph() is None


def test_a_session_that_is_set_keeps_its_graph_and_a_default_session_does_not(runtime):
    tf, keras = runtime.tf, runtime.keras

    def build(scope):
        with tf.Graph().as_default() as graph, tf.Session() as session, scope(session):
            keras.layers.Dense(1)(tf.ones((1, 3)))
            keras.backend.get_session()
        return weakref.ref(graph)

    @contextlib.contextmanager
    def set_session(session):
        keras.backend.set_session(session)
        yield

    assert is_freed(build(lambda session: contextlib.nullcontext()))
    graph = build(set_session)
    assert not is_freed(graph)
    keras.backend.set_session(None)
    assert is_freed(graph)


def test_kerass_own_session_is_replaced_when_the_default_graph_changes(runtime):
    tf, get_session = runtime.tf, runtime.keras.backend.get_session
    sessions = []
    for graph in (tf.Graph(), tf.Graph()):
        with graph.as_default():
            sessions.append(get_session())
            assert get_session() is sessions[-1]
    assert sessions[0] is not sessions[1]


def test_get_session_initialises_what_keras_has_made_and_nothing_else(runtime):
    tf = runtime.tf
    with tf.Graph().as_default(), tf.Session() as session:
        runtime.keras.layers.Dense(1).build((1, 3))
        tf.Variable(1.0, name="mine")
        runtime.keras.backend.get_session()
        assert session.run(tf.report_uninitialized_variables()).tolist() == [b"mine"]


def test_an_expected_shape_is_ignored(runtime):
    with runtime.session_scope():
        variable = runtime.tf.Variable(np.zeros((1, 2, 3), "float32"), expected_shape=(7,))
    assert variable.shape.as_list() == [1, 2, 3]


def test_minimize_changes_a_frozen_layer_unless_it_gets_the_list_of_variables(runtime):
    tf = runtime.tf
    for options, changed in [({}, True), ({"var_list": "picture"}, False)]:
        with runtime.session_scope() as session:
            layer = runtime.keras.layers.Dense(1, kernel_initializer="ones")
            layer.trainable = False
            picture = tf.Variable([[1.0, 1.0, 1.0]])
            y = layer(picture)
            train_op = tf.train.GradientDescentOptimizer(1.0).minimize(y, **{name: [picture] for name in options})
            session.run(tf.global_variables_initializer())
            session.run(train_op)
            assert (session.run(layer.kernel) != 1).any() == changed


def test_tensorflows_own_random_numbers_follow_its_seed(runtime):
    tf, found = runtime.tf, []
    for _ in range(2):
        with runtime.session_scope() as session:
            tf.set_random_seed(1)
            found.append(float(session.run(tf.random.normal(()))))
    assert found[0] == found[1]


def test_two_writers_of_the_same_second_in_one_folder(runtime, tmp_path):
    """A writer is made inside of a graph; that it works outside is what `add_summary` shows."""
    tf, began = runtime.tf, None
    while began != int(time.time()):  # until both were made within one second
        began = int(time.time())
        folder = tmp_path / str(began)
        for name in ("first", "second"):
            with tf.Graph().as_default():
                writer = tf.summary.FileWriter(str(folder))
            writer.add_summary(tf.Summary(value=[tf.Summary.Value(tag=name, simple_value=1.0)]))
            writer.close()
    (path,) = folder.iterdir()
    tags = [value.tag for event in tf.train.summary_iterator(str(path)) for value in event.summary.value]
    assert tags == ["second"]


def test_the_table_of_versions():
    """Its row for the installed TensorFlow, compared with what the distributions say of themselves."""
    heading = PAGE.index("| TensorFlow | Python |")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE[heading:].split("\n\n")[0].splitlines()]
    name = "{}.{}".format(*TENSORFLOW)
    (row,) = [row for row in rows if name in row[0].split(", ")]
    _, python_versions, numpy_versions, keras = row
    (*first, last) = (tuple(map(int, version.split("."))) for version in re.findall(r"\d\.\d+", python_versions))
    assert (first or [(3, 0)])[0] <= sys.version_info[:2] <= last
    requirements = [requirement.partition(";")[0] for requirement in metadata.requires("tensorflow")]
    bounds = {re.sub(r"(\.0)+$", "", bound) for bound in re.findall(r"numpy\b[^,]*<([\d.]*\d)", ",".join(requirements))}
    assert bounds == {*re.findall(r"below ([\d.]+)", numpy_versions)[:1]}
    if keras.startswith("tf-keras of the same version"):
        above = f"{TENSORFLOW[0]}.{TENSORFLOW[1] + 1}"
        assert release(metadata.version("tf-keras")) == TENSORFLOW
        assert any("<" + above in requirement for requirement in metadata.requires("tf-keras"))
    elif TENSORFLOW >= (2,):
        assert get_runtime().keras.backend.get_session.__module__.startswith("keras.")
    else:
        assert "protobuf" in keras and release(metadata.version("protobuf")) < (3, 21)
