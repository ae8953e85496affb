"""What benchmarks and the tests' helper modules may import."""

import ast

import pytest

from tests import ROOT

#: Every module in tests/ and benchmarks/ that is neither a test nor a conftest.
HELPERS = sorted(
    str(path.relative_to(ROOT))
    for folder in ("benchmarks", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "conftest.py" and not path.name.startswith("test_")
)


def imported(source):
    """Return the dotted names that a module imports; `from a import b` may mean the module a.b."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module or ''}.{alias.name}" for alias in node.names)
    return names


def of_tests(names):
    """Return those names that belong to a test module or to a conftest."""
    modules = {name: name.split(".") for name in names}
    return {name for name, parts in modules.items() if any(p == "conftest" or p.startswith("test_") for p in parts)}


def test_the_helpers_are_found():
    assert {"benchmarks/first_steps.py", "tests/golden/reference_costs.py"} <= {
        name.replace("\\", "/") for name in HELPERS
    }


@pytest.mark.parametrize("helper", HELPERS)
def test_helpers_import_no_test_and_no_conftest(helper):
    assert not of_tests(imported((ROOT / helper).read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "line",
    [
        "from tests.conftest import ROOT",
        "from tests import conftest",
        "import tests.golden.test_reference_costs as costs",
        "from tests.golden import test_reference_costs",
        "def main():\n    from .test_costs import x",
    ],
)
def test_such_an_import_would_be_found(line):
    assert of_tests(imported(line))
