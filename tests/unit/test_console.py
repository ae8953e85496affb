"""Standard error held back and shown, each time in a process of its own."""

import os
import signal
import subprocess
import sys

import pytest

from nst_graph import console
from tests import ROOT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="nothing is held back on this system")

PREAMBLE = """
import os, subprocess, sys, threading
from nst_graph import console

def say(text):
    os.write(2, text.encode())

def here(descriptor=2):
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
"""


def run(program, ours=True, **options):
    """Run a program; return its exit status, standard output and standard error."""
    options.setdefault("stderr", subprocess.PIPE)
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + ("console.take_over()\n" if ours else "") + program],
        cwd=str(ROOT),
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        **options,
    )
    return done.returncode, done.stdout, done.stderr


def test_what_a_block_writes_is_dropped_when_it_succeeds():
    program = """
print("before", file=sys.stderr)
with console.held_back():
    say("C\\n"); print("Python", file=sys.stderr)
print("after", file=sys.stderr)
"""
    assert run(program) == (0, "", "before\nafter\n")


@pytest.mark.parametrize("size", [1, 3000000])
def test_it_is_shown_whole_when_it_raises(size):
    program = f"""
print("before", file=sys.stderr)
try:
    with console.held_back():
        say("x" * {size}); say("\\n"); print("Python", end="", file=sys.stderr)
        raise ValueError
except ValueError:
    print(" after", file=sys.stderr)
"""
    assert run(program) == (0, "", "before\n" + "x" * size + "\nPython after\n")


def test_more_than_a_pipe_holds_is_dropped_too():
    assert run("with console.held_back(): say('x' * 3000000)") == (0, "", "")


@pytest.mark.parametrize(
    ("death", "status"),
    [
        ("os.abort()", -signal.SIGABRT),
        ("os.kill(os.getpid(), 4)", -4),  # an instruction that the processor does not have
        ("os.kill(os.getpid(), 9)", -9),
        ("os._exit(3)", 3),
    ],
)
def test_it_is_shown_whole_when_the_process_dies(death, status):
    program = f"""
import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
with console.held_back():
    say("no AVX here\\n")
    {death}
"""
    assert run(program) == (status, "", "no AVX here\n")


def test_the_watcher_ignores_a_ctrl_c_and_shows_what_it_holds():
    program = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in a shell's background
with console.held_back():
    say("held\\n")
    os.killpg(0, signal.SIGINT)
    threading.Event().wait(30)
"""
    status, _, errors = run(program, start_new_session=True)
    assert status in (-signal.SIGINT, 1) and errors.startswith("held\nTraceback")  # 1: Python before 3.8


@pytest.mark.parametrize("end", ["raise ValueError", "pass"])
def test_a_block_inside_a_block(end):
    program = f"""
with console.held_back():
    say("1 ")
    try:
        with console.held_back():
            say("2 ")
            raise ValueError
    except ValueError:
        pass
    with console.held_back(), console.silenced():
        say("3 ")
    say("4\\n")
    {end}
"""
    errors = run(program)[2]
    assert errors == "" if end == "pass" else errors.startswith("1 2 4\nTraceback")


def test_a_process_that_was_started_in_the_block_is_not_waited_for():
    program = """
try:
    with console.held_back():
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], stdout=subprocess.DEVNULL)
        say("held\\n")
        raise ValueError
except ValueError:
    print(other.poll())
    other.kill()
"""
    assert run(program) == (0, "None\n", "held\n")


def test_threads_leave_the_descriptor_as_it_was():
    program = """
before, files = here(), len(os.listdir("/dev/fd"))
def work(block):
    for _ in range(20):
        with block():
            say("no\\n")
threads = [threading.Thread(target=work, args=(block,)) for block in (console.held_back, console.silenced) * 3]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert here() == before and len(os.listdir("/dev/fd")) == files
"""
    assert run(program) == (0, "", "")


@pytest.mark.parametrize("block", ["held_back", "silenced"])
class TestNothingIsRedirected:
    def test_in_a_process_that_is_not_ours(self, block):
        program = f"""
assert not console.is_ours()
before = here()
with console.{block}():
    assert here() == before
    say("seen\\n")
"""
        assert run(program, ours=False) == (0, "", "seen\n")

    def test_without_a_standard_error(self, block):
        program = f"""
assert console.is_ours() and sys.stderr is None
with console.{block}():
    print("went on")
"""
        assert run(program, stderr=None, preexec_fn=lambda: os.close(2)) == (0, "went on\n", None)

    def test_where_its_descriptor_is_another_file_now(self, block, tmp_path):
        program = f"""
file = os.open({str(tmp_path / "file")!r}, os.O_WRONLY | os.O_CREAT)
assert file == 2
with console.{block}():
    say("in the file")
"""
        assert run(program, stderr=None, preexec_fn=lambda: os.close(2))[0] == 0
        assert (tmp_path / "file").read_text() == "in the file"

    def test_where_python_has_closed_it(self, block):
        program = f"""
sys.__stderr__.close()
with console.{block}():
    print("went on")
"""
        assert run(program)[:2] == (0, "went on\n")


@pytest.mark.parametrize("executable", ["", "/missing/python"])
def test_without_a_watcher_the_text_is_shown_at_once(executable):
    program = f"""
sys.executable = {executable!r}
before = here()
with console.held_back():
    assert here() == before
    say("seen\\n")
"""
    assert run(program) == (0, "", "seen\n")


def test_silenced_drops_the_text_when_the_block_raises_too():
    program = """
try:
    with console.silenced():
        say("no\\n")
        raise ValueError
except ValueError:
    say("yes\\n")
"""
    assert run(program) == (0, "", "yes\n")


def test_the_tests_are_a_host_program():
    assert not console.is_ours()
