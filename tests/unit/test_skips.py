"""Skipped tests count as failures on demand: pytest in a process of its own, on a small folder, with our conftest."""

import os
import re
import subprocess
import sys

import pytest

from tests import ROOT
from tests.conftest import MAY_SKIP_VARIABLE, NO_SKIP_VARIABLE

TESTS = """
import pytest

def test_passes(): pass

def test_says_skip(): pytest.skip("reason one")

@pytest.mark.skip(reason="reason two")
def test_is_marked(): pass

@pytest.fixture
def missing(): pytest.skip("reason three")

def test_lacks_a_fixture(missing): pass

@pytest.mark.xfail
def test_is_expected_to_fail(): assert False
"""
MODULE = 'import pytest\npytest.skip("reason four", allow_module_level=True)\n'


@pytest.fixture
def run(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_some.py").write_text(TESTS)

    def run(**variables):
        """Return pytest's exit status, its output, and the number of tests for each outcome."""
        dropped = {NO_SKIP_VARIABLE, MAY_SKIP_VARIABLE, "PYTEST_ADDOPTS"}
        environment = {name: value for name, value in os.environ.items() if name not in dropped}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-ra", "--color=no", str(tmp_path)],
            cwd=str(ROOT),
            env=dict(environment, **variables),
            stdout=subprocess.PIPE,
            text=True,
        )
        closing_line = done.stdout.splitlines()[-1]
        counts = {word.rstrip("s"): int(n) for n, word in re.findall(r"(\d+) ([a-z]+)", closing_line.split(" in ")[0])}
        return done.returncode, done.stdout, counts

    return run


def test_skips_are_skips_by_default(run):
    status, _, counts = run()
    assert (status, counts) == (0, {"passed": 1, "skipped": 3, "xfailed": 1})


def test_skips_are_failures_on_demand(run):
    status, output, counts = run(**{NO_SKIP_VARIABLE: "1"})
    # pytest calls a test whose fixture fails an error.
    assert (status, counts) == (1, {"passed": 1, "failed": 1, "error": 2, "xfailed": 1})
    for reason in ("reason one", "reason two", "reason three"):
        assert f"{NO_SKIP_VARIABLE} is set and this was skipped: Skipped: {reason}" in output


def test_those_that_are_named_may_be_skipped(run):
    status, output, counts = run(**{NO_SKIP_VARIABLE: "1", MAY_SKIP_VARIABLE: "lacks_a_fixture, is_marked"})
    assert (status, counts) == (1, {"passed": 1, "failed": 1, "skipped": 2, "xfailed": 1})
    assert re.search("(?m)^SKIPPED .*: reason three$", output)
    status, _, counts = run(**{NO_SKIP_VARIABLE: "1", MAY_SKIP_VARIABLE: "test_some.py"})
    assert (status, counts) == (0, {"passed": 1, "skipped": 3, "xfailed": 1})


def test_an_empty_name_names_no_test(run):
    status, _, counts = run(**{NO_SKIP_VARIABLE: "1", MAY_SKIP_VARIABLE: " ,"})
    assert (status, counts) == (1, {"passed": 1, "failed": 1, "error": 2, "xfailed": 1})


def test_a_module_that_is_skipped_whole(run, tmp_path):
    (tmp_path / "test_other.py").write_text(MODULE)
    assert run()[0] == 0
    status, output, counts = run(**{NO_SKIP_VARIABLE: "1"})
    assert status != 0 and counts["error"] == 1
    assert f"{NO_SKIP_VARIABLE} is set and this was skipped: " in output
    assert run(**{NO_SKIP_VARIABLE: "1", MAY_SKIP_VARIABLE: "test_some,test_other"})[0] == 0
