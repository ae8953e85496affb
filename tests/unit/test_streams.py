"""Standard streams that are closed, full or of a small encoding, each time in a process of its own."""

import os
import subprocess
import sys

import pytest

from nst_graph import streams
from tests import ROOT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="on this system the streams stay Python's own")

#: A program of this project that says something on both streams, opens a file, and ends with an error of its own.
PROGRAM = """
import logging, os, sys
from nst_graph import program, streams
program.set_up("name")
print("line 1", flush=True)
logging.getLogger("nst_graph").info("notice\\n2")
{then}
with open(sys.argv[1], "w") as file:
    file.write(str(file.fileno()))
    file.flush()
    print("line 2")
raise program.NSTGraphError("the error")
"""


def run(tmp_path, redirection="", then="", **variables):
    """Run the program from a shell; return its exit status, standard output, standard error and what its file holds."""
    line = f'"$0" -c "$1" "$2" {redirection}'
    done = subprocess.run(
        ["/bin/sh", "-c", line, sys.executable, PROGRAM.format(then=then), str(tmp_path / "file")],
        env=dict(os.environ, **variables),
        cwd=str(ROOT),
        capture_output=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr, (tmp_path / "file").read_text()


OUTPUT, ERRORS = b"line 1\nline 2\n", b"notice\\n2\nname: error: the error\n"


@pytest.mark.parametrize(
    ("redirection", "output", "errors"),
    [
        ("", OUTPUT, ERRORS),
        (">&-", b"", ERRORS),
        (">/dev/full", b"", ERRORS),
        ("2>&-", OUTPUT, b""),
        ("2>/dev/full", OUTPUT, b""),
        ("<&- >&- 2>&-", b"", b""),
        (">/dev/full 2>/dev/full", b"", b""),
    ],
)
def test_a_stream_that_fails_ends_nothing_and_nothing_goes_elsewhere(tmp_path, redirection, output, errors):
    status, *shown, file = run(tmp_path, redirection)
    assert (status, *shown) == (2, output, errors)
    assert int(file) > 2  # no file that is opened later has the descriptor of a standard stream


def test_a_reader_that_leaves_ends_nothing(tmp_path):
    """`head` has left long before the second line: the program waits until its output can no longer be written."""
    then = "import time\nwhile streams.failure_of_output() is None: print('.' * 10000); time.sleep(0.01)"
    status, output, errors, _ = run(tmp_path, '| head -n 1; test -e "$2"', then=then)
    assert (status, output, errors) == (0, b"line 1\n", ERRORS)


def test_the_failure_can_be_asked_for(tmp_path):
    then = "print(streams.failure_of_output(), file=sys.stderr); print('x' * 100000); f = streams.failure_of_output()\n"
    then += "print(f.strerror if f else f, file=sys.stderr)"
    assert run(tmp_path, "", then)[2] == b"notice\\n2\nNone\nNone\n" + ERRORS.partition(b"\n")[2]
    failing = run(tmp_path, ">/dev/full", then)[2].splitlines()
    assert failing[1:3] == [b"[Errno 28] No space left on device", b"No space left on device"]


def test_a_character_that_the_encoding_does_not_have_is_an_escape(tmp_path):
    then = "print('k\\u00e4se'); print('\\udcff')"
    status, output, _, _ = run(tmp_path, "", then, PYTHONIOENCODING="ascii")
    assert status == 2 and output == b"line 1\nk\\xe4se\n\\udcff\nline 2\n"


@pytest.mark.parametrize(("unbuffered", "shown"), [("", b""), ("1", b"line 3\n")])
def test_lines_come_at_once_where_python_was_told_so(tmp_path, unbuffered, shown):
    """`python -u`: a program that dies has written its last line."""
    status, output, _, _ = run(
        tmp_path, "", "open(sys.argv[1], 'w'); print('line 3'); os._exit(5)", PYTHONUNBUFFERED=unbuffered
    )
    assert (status, output) == (5, b"line 1\n" + shown)


def test_streams_of_somebody_elses_stay(monkeypatch):
    """A notebook or a test has put its own streams in their place."""
    before = sys.stdout, sys.stderr
    monkeypatch.setattr(sys, "__stdout__", None)
    monkeypatch.setattr(sys, "__stderr__", None)
    streams.make_dispensable()
    assert (sys.stdout, sys.stderr) == before and streams.failure_of_output() is None


LOST = b"standard output could not be written (No space left on device); what was printed there is lost"


@pytest.mark.parametrize(("redirection", "notices"), [("", [b"notice\\n2"]), (">/dev/full", [b"notice\\n2", LOST])])
def test_what_a_run_printed_beside_its_picture_is_missed_in_one_line(tmp_path, redirection, notices):
    assert run(tmp_path, redirection, "program.note_unprinted()")[2].splitlines()[:-1] == notices


@pytest.mark.parametrize("words", ["layers", "stylize --help", "--version", "runtimes"])
@pytest.mark.parametrize(
    ("redirection", "expected"),
    [
        (">/dev/full", (2, b"nst-graph: error: standard output cannot be written: No space left on device\n")),
        ("| true", (0, b"")),
        (">&-", (0, b"")),
    ],
)
def test_a_command_whose_result_is_what_it_prints(words, redirection, expected):
    """A full disk is an error; a reader that has left is none."""
    line = f'"$0" -m nst_graph {words} {redirection}'
    done = subprocess.run(["/bin/sh", "-c", line, sys.executable], cwd=str(ROOT), capture_output=True, timeout=60)
    assert (done.returncode, done.stderr, done.stdout) == (*expected, b"")
