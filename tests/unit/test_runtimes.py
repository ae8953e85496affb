import importlib
import subprocess
import sys

import pytest

from nst_graph import runtimes as module
from nst_graph.errors import RuntimeMissingError
from nst_graph.runtimes import Installed, find_runtimes, get_runtime, release
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
        "assert not {'tensorflow', 'keras', 'tf_keras'} & set(sys.modules); "
        "assert r.get_runtime().version == r.installed().tensorflow"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


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
