"""What this process shows on standard error. Imports nothing but Python's own modules.

A program of this project shows its own lines and nothing else. TensorFlow and OpenCV write to file descriptor 2 from
C++, past `sys.stderr`, so the descriptor itself is redirected for a while. It belongs to the whole process: only a
program of this project may do that. In a program that uses this package as a library, nothing here does anything.
"""

import contextlib
import os
import subprocess
import sys
import threading
from typing import Iterator, Optional

# Two threads that redirect at once would save each other's redirection. Reentrant: one block may be inside another.
_lock = threading.RLock()
_ours = False

# Reads standard input until the end mark or the end of the pipe, then writes what came before it to standard error.
_WATCHER = """
import os, sys
end, text = sys.argv[1].encode(), b""
while end not in text:
    data = os.read(0, 1 << 16)
    if not data:
        break
    text += data
sys.stderr.buffer.write(text.partition(end)[0])
"""


def take_over() -> None:
    """Say that this process is a program of this project: from now on `held_back` and `silenced` work."""
    global _ours
    _ours = True


def is_ours() -> bool:
    """Return whether this process is a program of this project."""
    return _ours


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Hold back what is written to file descriptor 2 while a block runs, by Python or by a C library.

    If the block succeeds, the text is dropped. If it raises, the text is written out whole. If the process dies in the
    block (by `abort`, by a signal), the text is written out whole too. Nothing is held back in a process that is not
    ours, without a standard error, on Windows, or if the watcher cannot be started.

    Notes
    -----
    A process that dies cannot write anything out, so another process holds the text: the watcher, a small Python
    program at the other end of a pipe. It is killed when the block has succeeded. It writes the text out when it reads
    the end mark (the block has raised) or when the pipe ends (this process has died).
    """
    if not is_ours():
        yield
        return
    end = os.urandom(16).hex()
    with _lock, contextlib.ExitStack() as stack:
        saved = _saved(stack)
        watcher = None if saved is None else _start_watcher(end)
        if saved is None or watcher is None or watcher.stdin is None:
            yield
            return
        stack.enter_context(watcher)  # at the end: close the pipe and wait
        pipe = watcher.stdin.fileno()
        try:
            with _redirected(saved, pipe):
                yield
        except BaseException:
            # The end of the pipe would not do: a process that was started in the block may keep it open.
            with contextlib.suppress(OSError):
                os.write(pipe, end.encode())
            raise
        watcher.kill()


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Drop what is written to file descriptor 2 while a block runs, also if the block raises.

    For blocks whose failure the caller tells in a line of its own. Nothing is dropped in a process that is not ours.
    """
    if not is_ours():
        yield
        return
    with _lock, contextlib.ExitStack() as stack:
        saved = _saved(stack)
        try:
            nothing = None if saved is None else os.open(os.devnull, os.O_WRONLY)
        except OSError:
            nothing = None
        if saved is None or nothing is None:
            yield
            return
        stack.callback(os.close, nothing)
        with _redirected(saved, nothing):
            yield


def _saved(stack: contextlib.ExitStack) -> Optional[int]:
    """Return a duplicate of file descriptor 2, which the stack closes; None if it cannot be redirected."""
    # Without a standard error, descriptor 2 is free, and may be the next file that somebody opens.
    if os.name != "posix" or sys.__stderr__ is None:
        return None
    try:
        saved = os.dup(2)
    except OSError:  # closed since then
        return None
    stack.callback(os.close, saved)
    return saved


def _start_watcher(end: str) -> "Optional[subprocess.Popen[bytes]]":
    if not sys.executable:
        return None
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCHER, end],  # -I -S: in 10 ms, whatever the environment says
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches every process of the terminal's session; this one outlives us
        )
    except OSError:
        return None


@contextlib.contextmanager
def _redirected(saved: int, target: int) -> Iterator[None]:
    """Let file descriptor 2 be `target` while a block runs, and `saved` after it."""
    _flush()
    os.dup2(target, 2)
    try:
        yield
    finally:
        _flush()
        os.dup2(saved, 2)


def _flush() -> None:
    """Write out what Python has buffered, so that it goes where descriptor 2 leads now."""
    with contextlib.suppress(Exception):  # None, closed, or an object of somebody's own
        sys.stderr.flush()
