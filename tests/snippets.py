"""Runs the Python snippets of a page as a reader would, and checks what they say of themselves.

    python -m tests.snippets PAGE PROCESS [BEFORE AFTER]

A comment that begins with the name of an error is what the statement above it raises, where "..." stands for anything.
A comment behind a `print` is what it prints. The words after ```` ```python ```` say where a snippet runs:
`tensorflow>=2,<2.16` on which TensorFlow, `process=NAME` in which process, by default `page`. The snippets of a process
run from top to bottom and share their names. BEFORE and AFTER are programs around them. The last line of output is
JSON: the line number of each snippet and what was wrong with it.

A row of the table of messages is a snippet too: "message | change | `statement` after `another one`".
"""

import ast
import contextlib
import io
import json
import pathlib
import re
import sys
import tokenize
import traceback
from typing import NamedTuple

from nst_graph.runtimes import installed, release

_ERROR = re.compile(r"\w+Error: ")


class Snippet(NamedTuple):
    """A fenced block of a page: its first line's number, the words after its language, its text."""

    line: int
    words: str
    code: str

    @property
    def process(self):
        return (re.findall(r"process=(\w+)", self.words) or ["page"])[0]

    @property
    def applies(self):
        """Whether it is for the installed TensorFlow."""
        here = release(installed().tensorflow)
        conditions = re.findall(r"(>=|<)([\d.]+)", self.words)
        bounds = [(sign, tuple(map(int, number.split(".")))) for sign, number in conditions]
        return all(here >= bound if sign == ">=" else here < bound for sign, bound in bounds)


def blocks(page, language):
    """Return the fenced blocks of a page that are in a language."""
    found = re.finditer(rf"^```{language}\b(.*)\n((?:.*\n)*?)```$", page, re.M)
    return [Snippet(page.count("\n", 0, match.start()) + 2, match.group(1), match.group(2)) for match in found]


class Row(NamedTuple):
    """A row of the table of messages: its line's number, the message, and what raises it: code or words."""

    line: int
    message: str
    cause: str


def rows(page):
    """Return the rows of the table of messages."""
    found = re.finditer(r"^\| (`+)(\w*Error: .*?)\1 \| .* \| (.*?) \|$", page, re.M)
    return [Row(page.count("\n", 0, match.start()) + 1, *match.group(2, 3)) for match in found]


def _of_row(row):
    """Return a row as a snippet that leaves no names behind, or None if its cause is words."""
    code = re.match(r"`([^`]+)`(?: after `([^`]+)`)?$", row.cause)
    if not code:
        return None
    statement, before = code.group(1), code.group(2) or "pass"
    process = "script" if "disable_" in before else "page"
    lines = ["def row():", f"    {before}", f"    {statement}", f"    # {row.message}", "row()"]
    return Snippet(row.line, f"tensorflow>=2.16 process={process}", "\n".join(lines))


def snippets(page):
    """Return all snippets of a page, those of the table of messages last."""
    return blocks(page, "python") + list(filter(None, map(_of_row, rows(page))))


def comments(code):
    """Return the comments as (row, column, text, whether it has a line of its own); one that goes on is joined."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            own_line = token.line[:column].strip() == ""
            if token.string.startswith("#   "):
                found[-1][2] += " " + token.string[1:].strip()
            else:
                found.append([row, column, token.string[1:].strip(), own_line])
    return found


def errors(code):
    """Return the errors that a snippet says it raises."""
    return [text for _, _, text, _ in comments(code) if _ERROR.match(text)]


def _says(text, found):
    """Whether a message is the one in a text, in which "..." stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, " ".join(text.split()).split("..."))), " ".join(found.split()))


@contextlib.contextmanager
def _raises(text):
    try:
        yield
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    else:
        found = "no error"
    assert _says(text, found), f"expected {text}\nfound {found}"


@contextlib.contextmanager
def _prints(text):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        yield
    assert output.getvalue().strip() == text, f"expected {text}\nprinted {output.getvalue()}"


class _Checked(ast.NodeTransformer):
    """Puts a check around each statement that has one."""

    def __init__(self, checks):
        self._checks = checks

    def visit(self, node):
        self.generic_visit(node)
        if node not in self._checks:
            return node
        check = ast.parse("with {}({!r}): pass".format(*self._checks[node])).body[0]
        check.body = [node]
        return ast.copy_location(check, node)


def checked(code):
    """Return a snippet's syntax tree with the checks of its comments."""
    tree = ast.parse(code)
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    checks = {}
    for row, column, text, own_line in comments(code):
        before = [node for node in statements if node.lineno <= row and (not own_line or node.col_offset == column)]
        statement = max(before, key=lambda node: node.lineno, default=None)
        if _ERROR.match(text):
            checks[statement] = "_raises", text
        elif not own_line and isinstance(statement, ast.Expr) and code.splitlines()[row - 1].strip()[:6] == "print(":
            checks[statement] = "_prints", text
    return ast.fix_missing_locations(_Checked(checks).visit(tree))


def run(snippet, names):
    """Run a snippet in a dict of names, and return what was wrong with it, or None."""
    names.update(_raises=_raises, _prints=_prints)
    try:
        exec(compile(checked(snippet.code), f"<the page, from line {snippet.line - 1}>", "exec"), names)
    except Exception:
        return traceback.format_exc()
    return None


def main(path, process, before="", after=""):
    page = pathlib.Path(path).read_text(encoding="utf-8")
    names = {"__name__": "page"}
    exec(before, names)
    chosen = [snippet for snippet in snippets(page) if snippet.process == process and snippet.applies]
    found = {snippet.line: run(snippet, names) for snippet in chosen}
    exec(after, names)
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
