"""What the programs show on standard error: their own lines, and TensorFlow's where they are needed."""

import os
import re
import signal
import subprocess
import sys

import pytest

from tests import ROOT
from tests.end_to_end.test_cli import command, distribution

OUR_LINE = "VGG-19 weights: random numbers (seed 0)\n"


def test_a_good_run_of_the_script_shows_our_line_and_nothing_else(real_run):
    _, done = real_run
    assert done.returncode == 0 and re.match(r"VGG-19 weights: the 8-bit copy in .*\n\Z", done.stderr), done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_a_good_run_of_the_command_shows_our_lines_and_nothing_else(folder, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    words = ["input/cat.jpg", "input/starry_night.jpg", "x.png", "--size=40,30", "--weights=random", "--iterations=2"]
    done = command(folder, "stylize", *words, "--seed=7")
    line = r"40x30, 2 iterations of adam, [\d.]+ [MG]B of memory, seed 7\nthe picture is x\.png\n"
    assert done.returncode == 0 and re.match(re.escape(OUR_LINE) + line + r"\Z", done.stderr), done.stderr
    assert len(done.stdout.splitlines()) == 1


#: Stands for TensorFlow 2.15: it says something from C and from Python, then goes on as it is told.
TENSORFLOW = """
import os, sys
os.write(2, b"oneDNN custom operations are on\\n")
print("absl: a warning", file=sys.stderr)
{import_ends}
"""
COMPAT_V1 = """
import os
__version__ = "2.15.0"
keras = None

class Graph:
    pass

class ConfigProto:
    class gpu_options:
        pass

class Session:
    def __init__(self, graph, config):
        os.write(2, b"failed call to cuInit\\n")
        {session_ends}
"""
FROM_THE_IMPORT = "oneDNN custom operations are on\nabsl: a warning\n"
FROM_A_SESSION = "failed call to cuInit\n"

USE = """
import sys
from nst_graph import program
{set_up}
from nst_graph.runtimes import get_runtime
print("our line", file=sys.stderr)
runtime = get_runtime()
print("our line", file=sys.stderr)
runtime.new_session()
print("our line", file=sys.stderr)
{then}
"""


def run_with(folder, import_ends="", session_ends="", set_up="program.set_up()", then="", **variables):
    """Run a program with that TensorFlow; return its exit status and standard error."""
    distribution(folder, "tensorflow", "2.15.0")
    package = folder / "tensorflow" / "compat" / "v1"
    package.mkdir(parents=True)
    (folder / "tensorflow" / "__init__.py").write_text(TENSORFLOW.format(import_ends=import_ends))
    (folder / "tensorflow" / "compat" / "__init__.py").write_text("")
    (package / "__init__.py").write_text(COMPAT_V1.format(session_ends=session_ends))
    (folder / "use.py").write_text(USE.format(set_up=set_up, then=then))
    variables["PYTHONPATH"] = os.pathsep.join([str(folder), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "use.py"],
        env={**{name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}, **variables},
        cwd=str(folder),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr


posix = pytest.mark.skipif(os.name != "posix", reason="nothing is held back on this system")


@posix
def test_a_good_import_and_a_first_session_show_nothing(tmp_path):
    assert run_with(tmp_path) == (0, "our line\n" * 3)


@posix
def test_an_import_that_fails_shows_everything(tmp_path):
    status, errors = run_with(tmp_path, import_ends="raise ImportError('libcudart is missing')")
    assert status == 1
    assert errors.startswith("our line\n" + FROM_THE_IMPORT + "Traceback")
    assert errors.endswith("ImportError: libcudart is missing\n")


DIES = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.write(2, b'no AVX\\n'); os.abort()"


@posix
def test_an_import_that_aborts_shows_everything(tmp_path):
    status, errors = run_with(tmp_path, import_ends=DIES)
    assert (status, errors) == (-signal.SIGABRT, "our line\n" + FROM_THE_IMPORT + "no AVX\n")


@posix
def test_a_first_session_that_fails_or_aborts_shows_everything(tmp_path):
    (tmp_path / "fails").mkdir()
    (tmp_path / "aborts").mkdir()
    status, errors = run_with(tmp_path / "fails", session_ends="raise MemoryError('no device')")
    assert status == 1
    assert errors.startswith("our line\nour line\n" + FROM_A_SESSION + "Traceback")
    status, errors = run_with(tmp_path / "aborts", session_ends=DIES)
    assert (status, errors) == (-signal.SIGABRT, "our line\nour line\n" + FROM_A_SESSION + "no AVX\n")


@posix
def test_after_the_first_session_everything_is_shown(tmp_path):
    """Another thread may be training while a later session is made."""
    status, errors = run_with(tmp_path, then="runtime.new_session()")
    assert (status, errors) == (0, "our line\n" * 3 + FROM_A_SESSION)


@pytest.mark.parametrize("level", ["0", "1"])
def test_who_asks_tensorflow_for_more_gets_it(tmp_path, level):
    status, errors = run_with(tmp_path, TF_CPP_MIN_LOG_LEVEL=level)
    assert status == 0
    assert errors == "our line\n" + FROM_THE_IMPORT + "our line\n" + FROM_A_SESSION + "our line\n"


def test_a_host_program_shows_what_it_showed(tmp_path):
    status, errors = run_with(tmp_path, set_up="")
    assert status == 0
    assert errors == "our line\n" + FROM_THE_IMPORT + "our line\n" + FROM_A_SESSION + "our line\n"


def test_the_command_calls_itself_by_its_name(tmp_path):
    for words in (["figure", "f.png", "missing.jpg", "b", "c"], ["nothing"]):
        assert command(tmp_path, *words).stderr.startswith("nst-graph: error: ")
