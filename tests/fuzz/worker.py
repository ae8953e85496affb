"""The process in which one target is fuzzed, and what makes an input a finding."""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import sys
import time
import traceback
import warnings

import hypothesis

from nst_graph import console
from nst_graph.errors import NSTGraphError
from tests.fuzz.targets import INPUT, TARGETS

#: Inputs that Hypothesis makes at a time. They are tried when it has made them: it changes Python's recursion limit.
BATCH = 50

#: Seconds of processor time that one input may take.
MOST_PROCESSOR_SECONDS = 5

#: Bytes of address space beyond what the worker begins with; it protects the machine.
MOST_ADDRESS_SPACE = 4 << 30

#: Bytes by which the memory of a process grows without having to do with the input: code that is used for the first
#: time, and pages that the allocator keeps.
MEMORY_NOISE = 24 << 20

LONGEST_MESSAGE = 2000

_RUNS = ("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "subprocess.Popen", "pty.spawn")
_CHANGES = ("os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate")
_REACHES = ("pickle.find_class", "socket.connect", "socket.getaddrinfo", "ctypes.dlopen", "urllib.Request")


class Audit:
    """What Python says that it runs, writes or reaches for; nothing on Python 3.7, which cannot tell."""

    def __init__(self, allowed):
        self.events = []
        self.on = False
        self._allowed = allowed
        if hasattr(sys, "addaudithook"):
            sys.addaudithook(self._hook)

    def _hook(self, event, arguments):
        if self.on and event not in self._allowed and self._matters(event, arguments):
            self.events.append(f"{event} {arguments!r:.300}")

    @staticmethod
    def _matters(event, arguments):
        if event == "open":
            path, _, flags = arguments
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            return bool(writes) and path not in (os.devnull, INPUT) and not isinstance(path, int)
        if event == "exec":  # a module that is imported comes from a file
            return not os.path.exists(getattr(arguments[0], "co_filename", ""))
        return event in _RUNS + _CHANGES + _REACHES


class Memory:
    """The memory of this process, in bytes, and its peak since `reset`. Linux; elsewhere all of it is 0."""

    def reset(self):
        """Let the peak be what there is now, and return that."""
        try:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")  # man 5 proc
        except OSError:
            return self.peak()
        return self._status("VmRSS:")

    def peak(self):
        """Return the peak."""
        return self._status("VmHWM:")

    def address_space(self):
        """Return the address space that is taken."""
        return self._status("VmSize:")

    @staticmethod
    def _status(name):
        try:
            with open("/proc/self/status") as file:
                return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))
        except (OSError, StopIteration):
            return 0


class Worker:
    """Tries inputs, one after the other, and keeps those that are findings."""

    def __init__(self, target, folder):
        self._target, self._folder = target, folder
        self.memory = Memory()
        self._audit = Audit(target.allowed)
        self._seen = set()
        # As long as this process lives.
        self._current = open(str(folder / "current"), "wb", buffering=0)  # noqa: SIM115
        self._printed = open(str(folder / "printed"), "w+b", buffering=0)  # noqa: SIM115
        self.result = {"examples": 0, "accepted": 0, "findings": []}

    @contextlib.contextmanager
    def _no_output(self):
        """Lead what is printed, by Python or by a C library, to a file."""
        sys.stdout.flush()
        sys.stderr.flush()
        saved = [os.dup(number) for number in (1, 2)]
        for number in (1, 2):
            os.dup2(self._printed.fileno(), number)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in zip((1, 2), saved):
                os.dup2(descriptor, number)
                os.close(descriptor)

    def try_input(self, data):
        """Try an input."""
        self._current.seek(0)
        self._current.truncate()
        self._current.write(data or b"\n")
        self._audit.events.clear()
        begun, before = time.process_time(), self.memory.reset()
        with self._no_output(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", DeprecationWarning)  # which Python shows to nobody
            self._audit.on = True
            problem = self._run(data)
            self._audit.on = False
        taken, grown = time.process_time() - begun, self.memory.peak() - before
        self.result["examples"] += 1
        if problem:
            self._keep(data, *problem)
        if self._audit.events:
            self._keep(data, "runs or writes", self._audit.events[0])
        if caught:
            self._keep(data, "warns", f"{caught[0].category.__name__}: {caught[0].message!s:.300}")
        printed = os.fstat(self._printed.fileno()).st_size
        if printed:
            self._printed.seek(0)
            self._keep(data, "prints", repr(self._printed.read(300)))
            self._printed.seek(0)
            self._printed.truncate()
        if grown > MEMORY_NOISE + self._target.most_memory(len(data)):
            self._keep(data, "memory", f"{grown >> 20} MB for an input of {len(data)} bytes")
        if taken > MOST_PROCESSOR_SECONDS:
            self._keep(data, "slow", f"{taken:.1f} s")

    def _run(self, data):
        """Run the target; return what kind of finding there is, and in words, or None."""
        try:
            wrong = self._target.run(data)
        except NSTGraphError as error:
            message = str(error)
            if len(message.splitlines()) != 1 or len(message) > LONGEST_MESSAGE:
                return "message", f"{len(message)} letters: {message!r:.300}"
            return None
        except BaseException as error:
            lines = traceback.format_tb(error.__traceback__)
            return "exception", f"{type(error).__name__}: {error!s:.300} {lines[-1].strip()!r}"
        if wrong:
            return "result", wrong
        self.result["accepted"] += 1
        return None

    def _keep(self, data, kind, detail):
        # One input of each sort: an exception's line of code, an event's name.
        sort = kind, {"exception": detail.rpartition("File ")[2], "runs or writes": detail.split()[0]}.get(kind)
        if sort in self._seen:
            return
        self._seen.add(sort)
        path = self._folder / f"{kind.replace(' ', '_')}-{len(self._seen)}"
        path.write_bytes(data)
        self.result["findings"].append({"kind": kind, "detail": " ".join(detail.split()), "input": str(path)})
        self.save()

    def save(self):
        """Write what was found so far, for the process that has started this one."""
        (self._folder / "result.json").write_text(json.dumps(self.result))

    def fuzz(self, seconds, seed):
        """Try inputs for some seconds: the target's seeds as they are, then what Hypothesis makes of them."""
        end = time.monotonic() + seconds
        for data in self._target.seeds:
            self.try_input(data)
        batch = 0
        while time.monotonic() < end:
            for data in made(self._target.inputs, seed * 1000 + batch):
                if time.monotonic() > end:
                    break
                self.try_input(data)
            self.save()
            batch += 1


def made(strategy, seed):
    """Return what Hypothesis makes from a seed."""
    inputs = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=BATCH,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def collect(data):
        inputs.append(data)

    collect()
    return inputs


def main():
    """Fuzz one target as `tests.fuzz` asks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("folder")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--input")
    arguments = parser.parse_args()

    console.take_over()  # as in a program: OpenCV's own messages are held back
    folder = pathlib.Path(arguments.folder)
    scratch = folder / "scratch"
    scratch.mkdir()
    os.chdir(str(scratch))
    target = TARGETS[arguments.target]()
    target.warm_up()
    worker = Worker(target, folder)
    size = worker.memory.address_space()
    if size:
        resource.setrlimit(resource.RLIMIT_AS, (size + MOST_ADDRESS_SPACE,) * 2)
    if arguments.input is None:
        worker.fuzz(arguments.seconds, arguments.seed)
    else:
        worker.try_input(pathlib.Path(arguments.input).read_bytes())
    worker.save()


if __name__ == "__main__":
    main()
