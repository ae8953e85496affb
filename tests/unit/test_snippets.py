"""That a page's snippet that does not do what the page says is found."""

import pytest

from tests import snippets


def run(code):
    return snippets.run(snippets.Snippet(1, "", code), {})


@pytest.mark.parametrize(
    "code",
    [
        "1 / 0\n# ZeroDivisionError: division by zero\nprint(1 + 1)  # 2\n",
        "for i in [0]:\n    1 / i\n    # ZeroDivisionError: division\n    #   by ...\n    print(i)  # 0\n",
        "with open(__file__):\n    1 / 0\n# ZeroDivisionError: ...zero\n".replace("__file__", repr(__file__)),
        "print(\n    'a ' * 2\n)  # a a\n",
        "i = 1  # Error: in words\nprint(i)\n",
    ],
)
def test_what_is_said_is_so(code):
    assert run(code) is None


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("1 / 0\n", "ZeroDivisionError"),
        ("1 / 1\n# ZeroDivisionError: division by zero\n", "found no error"),
        ("1 / 0\n# ZeroDivisionError: division\n", "found ZeroDivisionError: division by zero"),
        ("[][0]\n# ZeroDivisionError: ...\n", "found IndexError"),
        ("for i in [1]:\n    1 / i\n    # ZeroDivisionError: ...\n", "found no error"),
        ("print(1)  # 2\n", "printed 1"),
        ("1 +\n", "SyntaxError"),
    ],
)
def test_what_is_said_is_not_so(code, found):
    assert found in run(code)


PAGE = """
| `KeyError: 'a'` | another | `{}["a"]` after `import os` |
| ``NameError: `b` ...`` | another | [words](#a) |

```python tensorflow>=1,<99 process=own
a
```

```python
b
```

```python tensorflow>=99
c
```
"""


def test_the_snippets_of_a_page():
    own, plain, later, row = snippets.snippets(PAGE)
    assert [snippet.code for snippet in (own, plain, later)] == ["a\n", "b\n", "c\n"]
    assert (own.process, plain.process) == ("own", "page")
    assert [snippet.applies for snippet in (own, plain, later)] == [True, True, False]
    assert PAGE.splitlines()[plain.line - 1] == "b"
    assert run(row.code) is None and snippets.errors(row.code) == ["KeyError: 'a'"]
    assert snippets.rows(PAGE)[1][1:] == ("NameError: `b` ...", "[words](#a)")
