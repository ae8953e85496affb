"""What the package's modules, benchmarks and the tests' helper modules may import."""

import ast
import re

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


def modules_in_order():
    """Return the modules of the package in the order of the table in CONTRIBUTING.md."""
    table = (ROOT / "CONTRIBUTING.md").read_text().split("## Where things go")[1]
    return re.findall(r"^\| `(\w+)/?` \|", table, re.MULTILINE)


def files_of(module):
    path = ROOT / "nst_graph" / module
    return sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def test_every_module_has_its_place():
    found = {path.stem for path in (ROOT / "nst_graph").glob("*.py")} - {"__init__", "__main__"}
    found |= {path.parent.name for path in (ROOT / "nst_graph").glob("*/__init__.py")}
    assert sorted(modules_in_order()) == sorted(found)


@pytest.mark.parametrize("module", modules_in_order())
def test_a_module_imports_only_from_those_above_it(module):
    order = modules_in_order()
    allowed = {*order[: order.index(module) + 1], "__version__"}
    for path in files_of(module):
        names = imported(path.read_text(encoding="utf-8"))
        assert {name.split(".")[1] for name in names if name.startswith("nst_graph.")} <= allowed, path.name
