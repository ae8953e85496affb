import contextlib
import gc
import importlib
import itertools
import subprocess
import sys
import tempfile
import types
import weakref

import pytest

from nst_graph import runtimes as module
from nst_graph.errors import RuntimeMissingError
from nst_graph.runtimes import RUNTIME_VARIABLE, Installed, choose_runtime, find_runtimes, get_runtime, release
from nst_graph.runtimes.tf1 import TF1Runtime
from nst_graph.runtimes.tf2 import TF2CompatRuntime


@pytest.fixture
def with_versions(monkeypatch):
    """Let the metadata say other versions, and choose anew."""

    def set_versions(tensorflow, tf_keras=None):
        monkeypatch.setattr(module, "installed", lambda: Installed(tensorflow, tf_keras))
        module.get_runtime.cache_clear()

    chosen = get_runtime()
    yield set_versions
    module.get_runtime.cache_clear()
    monkeypatch.undo()
    assert type(get_runtime()) is type(chosen)


@pytest.mark.parametrize(
    ("tensorflow", "tf_keras", "serves"),
    [
        ("1.15.5", None, TF1Runtime),
        ("1.15.0rc1", None, TF1Runtime),
        ("2.15.1", None, TF2CompatRuntime),
        ("2.16.2", "2.16.0", TF2CompatRuntime),
        ("2.21.0", "2.21.0", TF2CompatRuntime),
        ("2.21.0-dev20260101", "2.21.0", TF2CompatRuntime),
    ],
)
def test_one_runtime_serves(tensorflow, tf_keras, serves):
    installed = Installed(tensorflow, tf_keras)
    assert [cls for cls in (TF1Runtime, TF2CompatRuntime) if cls.why_not(installed) is None] == [serves]


@pytest.mark.parametrize(
    ("tensorflow", "tf_keras", "message"),
    [
        ("1.14.0", None, 'TensorFlow 1.14.0 is too old: pip install "tensorflow==1.15.5" "protobuf<3.21"'),
        ("2.14.1", None, 'TensorFlow 2.14.1 is too old for it: pip install "tensorflow>=2.15,<3"'),
        ("2.21.0", None, 'TensorFlow 2.21.0 needs the package tf-keras: pip install "tf-keras==2.21.*"'),
        ("2.21.0", "2.20.1", 'tf-keras 2.20.1 does not go with TensorFlow 2.21.0: pip install "tf-keras==2.21.*"'),
        ("3.0.0", "2.21.0", "it serves TensorFlow 2, and 3.0.0 is installed"),
    ],
)
def test_none_serves_and_the_reason_says_what_to_install(with_versions, tensorflow, tf_keras, message):
    with_versions(tensorflow, tf_keras)
    with pytest.raises(RuntimeMissingError) as caught:
        get_runtime()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tensorflow_missing(with_versions):
    with_versions(None)
    with pytest.raises(RuntimeMissingError, match="TensorFlow is not installed: pip install"):
        get_runtime()


def test_python_without_docstrings(tmp_path):
    """Neither TensorFlow 1 nor Keras 2 can be imported there."""
    program = "import nst_graph; nst_graph.get_runtime()"
    done = subprocess.run([sys.executable, "-OO", "-c", program], stderr=subprocess.PIPE, text=True)
    *_, last = done.stderr.splitlines()
    assert "TensorFlow and Keras need their docstrings" in last and last.endswith("use -O")
    assert "tensorflow/" not in done.stderr


def test_no_temporary_folder(with_versions, monkeypatch):
    """Importing TensorFlow needs one."""
    with_versions("2.21.0", "2.21.0")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/missing/tmp"])
    with pytest.raises(RuntimeMissingError, match="needs a temporary folder .*'/missing/tmp'.*: set TMPDIR to"):
        choose_runtime()


def test_package_not_installed(with_versions, monkeypatch):
    with_versions("2.21.0", "2.21.0")
    monkeypatch.setattr(module, "find_runtimes", list)
    with pytest.raises(RuntimeMissingError, match="nst_graph is not installed.*pip install"):
        get_runtime()


def test_both_runtimes_of_the_package_are_registered_once():
    found = find_runtimes()
    assert [candidate.name for candidate in found] == ["tf1", "tf2"]
    assert {candidate.source.replace("-", "_") for candidate in found} == {"nst_graph"}
    assert sum(candidate.why_not is None for candidate in found) == 1


def test_choice_is_made_from_metadata_before_tensorflow_is_imported():
    program = (
        "import sys, nst_graph.runtimes as r; found = r.find_runtimes(); "
        "assert any(c.why_not is None for c in found), found; "
        "assert not {'tensorflow', 'keras', 'tf_keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert get_runtime().version == module.installed().tensorflow


class Point:
    """An entry point in the metadata of an installed distribution."""

    def __init__(self, name, source, value, why_not=None):
        self.name, self.value, self.why_not = name, value, why_not
        self.dist = types.SimpleNamespace(metadata={"Name": source})

    def load(self):
        return types.SimpleNamespace(value=self.value, why_not=lambda installed: self.why_not)


@pytest.fixture
def with_points(monkeypatch):
    """Let the metadata have these entry points, in this order."""
    monkeypatch.delenv(RUNTIME_VARIABLE, raising=False)
    return lambda points: monkeypatch.setattr(module.metadata, "entry_points", lambda group: points)


def test_the_order_is_full_and_this_packages_own_come_first(with_points):
    points = [
        Point("tf2", "nst-graph", "ours:TF2"),
        Point("a", "b-package", "b:A"),
        Point("tf2", "a-package", "a:First"),
        Point("tf2", "a-package", "a:Second"),
        Point("tf2", "b_package", "a:First"),
    ]
    for order in itertools.permutations(points):
        with_points(order)
        found = [(candidate.name, candidate.source, candidate.runtime.value) for candidate in find_runtimes()]
        assert found == [(point.name, point.dist.metadata["Name"], point.value) for point in points]
        assert choose_runtime().runtime.value == "ours:TF2"


@pytest.mark.parametrize("spelling", ["nst_graph", "nst-graph", "NST.Graph"])
def test_this_packages_own_come_first_however_its_name_is_spelled(with_points, spelling):
    with_points([Point("a", "a-package", "a:A"), Point("tf2", spelling, "ours:TF2")])
    assert [candidate.name for candidate in find_runtimes()] == ["tf2", "a"]


def test_a_distribution_that_is_seen_twice_is_listed_once(with_points):
    with_points([Point("tf2", "nst-graph", "ours:TF2"), Point("tf2", "nst_graph", "ours:TF2")])
    assert len(find_runtimes()) == 1


def test_a_strangers_serves_where_none_of_ours_can(with_points):
    with_points([Point("tf2", "nst_graph", "ours:TF2", "it is Sunday"), Point("a", "a-package", "a:A")])
    assert choose_runtime().runtime.value == "a:A"


class TestTheVariable:
    POINTS = (
        Point("tf1", "nst_graph", "ours:TF1", "it is Sunday"),
        Point("tf2", "nst_graph", "ours:TF2"),
        Point("a", "a-package", "a:A"),
        Point("a", "b-package", "b:A"),
        Point("b", "b-package", "b:B", "it is\nMonday"),
        Point("tf1", "b-package", "b:TF1", "it is Monday"),
    )

    def test_it_names_the_runtime_that_serves(self, with_points, monkeypatch):
        with_points(self.POINTS)
        monkeypatch.setenv(RUNTIME_VARIABLE, "a")
        assert choose_runtime().runtime.value == "a:A"
        monkeypatch.setenv(RUNTIME_VARIABLE, "tf2")
        assert choose_runtime().runtime.value == "ours:TF2"

    def test_empty_is_as_if_it_were_not_set(self, with_points, monkeypatch):
        with_points(self.POINTS)
        monkeypatch.setenv(RUNTIME_VARIABLE, "")
        assert choose_runtime().runtime.value == "ours:TF2"

    @pytest.mark.parametrize(
        ("name", "reason"),
        [("c", "there is no runtime of this name"), ("b", "it is Monday"), ("tf1", "it is Sunday; it is Monday")],
    )
    def test_no_other_serves_in_its_place(self, with_points, monkeypatch, name, reason):
        with_points(self.POINTS)
        monkeypatch.setenv(RUNTIME_VARIABLE, name)
        with pytest.raises(RuntimeMissingError) as caught:
            choose_runtime()
        assert str(caught.value) == f"NST_GRAPH_RUNTIME is '{name}': {reason}; the names are: tf1, tf2, a, b"

    def test_without_tensorflow_the_reason_says_what_to_install(self, with_versions, monkeypatch):
        with_versions(None)
        monkeypatch.setenv(RUNTIME_VARIABLE, "tf1")
        with pytest.raises(RuntimeMissingError, match="^NST_GRAPH_RUNTIME is 'tf1': TensorFlow is not .*pip install"):
            choose_runtime()


def test_release():
    assert release("2.21.0rc1") == (2, 21)
    assert release("1.15.5+nv23.03") == (1, 15)


class TestSessionScope:
    def test_keras_uses_its_session(self):
        runtime = get_runtime()
        with runtime.session_scope() as session:
            assert runtime.keras.backend.get_session() is session
            assert session.graph is runtime.tf.get_default_graph()

    def test_the_articles_with_statement_works_inside(self):
        runtime = get_runtime()
        with runtime.session_scope(), runtime.keras.backend.get_session() as session:
            assert session.run(runtime.tf.constant(7)) == 7

    def test_each_is_a_new_graph_and_the_default_is_back_after_it(self):
        runtime = get_runtime()
        before = runtime.tf.get_default_graph()
        graphs = []
        for _ in range(2):
            with runtime.session_scope() as session:
                graphs.append(session.graph)
        assert graphs[0] is not graphs[1]
        assert runtime.tf.get_default_graph() is before
        with pytest.raises(RuntimeError, match="closed"):
            session.run([])

    def test_its_graph_is_freed(self):
        """Also where Keras has made the placeholder of the learning phase, as the article does."""
        runtime = get_runtime()
        with runtime.session_scope() as session:
            runtime.keras.layers.Dense(1)(runtime.tf.ones((1, 3)))
            runtime.keras.backend.learning_phase()
        graph = weakref.ref(session.graph)
        del session
        gc.collect()
        assert graph() is None

    def test_an_error_inside_leaves_through_it(self):
        runtime = get_runtime()
        before = runtime.tf.get_default_graph()
        with pytest.raises(ZeroDivisionError), runtime.session_scope():
            raise ZeroDivisionError
        assert runtime.tf.get_default_graph() is before


def test_the_face_for_tensorflow_2_refuses_tensorflow_1(monkeypatch):
    monkeypatch.setattr(type(get_runtime()), "version", "1.15.5")
    monkeypatch.delitem(sys.modules, "nst_graph.tf2", raising=False)
    with pytest.raises(RuntimeMissingError, match=r"nst_graph.tf2 is for TensorFlow 2, and 1.15.5 is installed"):
        importlib.import_module("nst_graph.tf2")


def test_a_finalised_graph_can_be_opened_again():
    """Through a private name of TensorFlow."""
    runtime = get_runtime()
    with runtime.session_scope() as session:
        runtime.tf.constant(1)
        session.graph.finalize()
        with pytest.raises(RuntimeError, match="finalized"):
            runtime.tf.constant(2)
        runtime.reopen(session.graph)
        assert session.run(runtime.tf.constant(3)) == 3


def test_a_layer_can_be_called_in_a_later_scope_of_its_session():
    """On TensorFlow 2, Keras changes the bases of its classes in a graph, and the host's classes get theirs back."""
    runtime = get_runtime()
    dense = runtime.keras.layers.Dense
    with contextlib.closing(runtime.new_session()) as session:
        before = [cls.__bases__ for cls in dense.__mro__]
        with runtime.scope(session):
            layer = dense(2, kernel_initializer="ones")
            one = layer(runtime.tf.ones((1, 3)))
        assert [cls.__bases__ for cls in dense.__mro__] == before
        with runtime.scope(session):
            two = layer(runtime.tf.ones((1, 3)))
            runtime.keras.backend.get_session().run([variable.initializer for variable in layer.weights])
            assert session.run([one, two])[1].tolist() == [[3, 3]]
        assert [cls.__bases__ for cls in dense.__mro__] == before
