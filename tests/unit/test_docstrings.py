"""The examples in docstrings, run as they stand; and the API pages, which must have every public name once."""

import doctest
import importlib.util
import pathlib
import pkgutil
import re
import shutil

import pytest

import nst_graph
from nst_graph import weights
from nst_graph.runtimes import installed
from nst_graph.weights import ENVIRONMENT_VARIABLE
from tests import ROOT

PAGES = sorted((ROOT / "docs" / "api").glob("*.rst"))

#: `nst_graph.tf2` cannot be imported there.
ON_TENSORFLOW_1 = installed().tensorflow.startswith("1.")

#: What users call, and need an example of.
SHOWN = [
    *("stylize", "stylize_many", "Result", "Transfer", "Settings", "Style", "Stage"),
    *("observers", "Observer", "observers.PrintedLines", "observers.TensorBoard", "observers.History"),
    *("Targets", "Objective", "strips.Strips", "Adam", "LBFGS", "checkpoint.read_checkpoint"),
    *("load_img", "save_img", "create_noisy_img", "create_output_tensors"),
    *("content_cost", "gram_matrix", "style_cost", "total_cost", "Costs", "CostName"),
    *("find_weights", "get_runtime", "figures.pairs_figure", "figures.plot_costs", "NSTGraphError"),
    *("tf2.steps", "tf2.stylize", "tf2.style_content_model"),
]

#: Modules whose public names are all on the pages.
WHOLE = ("nst_graph.observers", "nst_graph.tf2")


def is_here(name):
    """Whether a name can be resolved on this TensorFlow."""
    return not (ON_TENSORFLOW_1 and name.startswith("nst_graph.tf2"))


#: Every module that can be imported here, and those with examples.
MODULES = [
    module.name
    for module in pkgutil.walk_packages(nst_graph.__path__, "nst_graph.")
    if is_here(module.name) and module.name != "nst_graph.__main__"
]
WITH_EXAMPLES = [
    name
    for name in MODULES
    if ">>> " in pathlib.Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8")
]


def resolved(name):
    """Return what a dotted name stands for, a module or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AttributeError(name)


@pytest.fixture
def folder(tmp_path, monkeypatch, vgg_weights):
    """A working directory with the two pictures; weights are random, and made once."""
    shutil.copytree(str(ROOT / "input"), str(tmp_path / "input"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "random")
    monkeypatch.setitem(weights._SOURCES, "random", lambda: vgg_weights)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_of(module, folder):
    # With an empty namespace for each docstring: an example imports what it needs.
    tests = doctest.DocTestFinder().find(importlib.import_module(module), module, globs={})
    output = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in tests:
        runner.run(test, out=output.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)


@pytest.mark.parametrize("name", [name for name in SHOWN if is_here(f"nst_graph.{name}")])
def test_what_users_call_has_an_example(name):
    assert ">>> " in resolved(f"nst_graph.{name}").__doc__


def test_no_example_is_left_out():
    assert [
        path.name for path in (ROOT / "nst_graph").rglob("*.py") if "doctest: +SKIP" in path.read_text(encoding="utf-8")
    ] == []


@pytest.mark.parametrize("module", MODULES)
def test_the_names_in_docstrings_are_there(module):
    tests = doctest.DocTestFinder(exclude_empty=False).find(importlib.import_module(module), module)
    for name in {name for test in tests for name in re.findall(r"`(nst_graph(?:\.\w+)+)", test.docstring)}:
        assert not is_here(name) or resolved(name)


def names_on_pages():
    """Return the full names of all that the pages describe, each as often as it is there."""
    names = []
    for page in PAGES:
        module = ""
        for directive, name in re.findall(
            r"^\.\. (currentmodule|auto\w+):: (\S+)$", page.read_text(encoding="utf-8"), re.M
        ):
            if directive == "currentmodule":
                module = name
            elif directive != "automodule":
                names.append(name if name.startswith("nst_graph.") else f"{module}.{name}")
    return names


def test_every_public_name_is_on_one_page():
    names = names_on_pages()
    assert len(set(names)) == len(names)
    assert {f"nst_graph.{name}" for name in nst_graph.__all__} <= set(names)


@pytest.mark.parametrize("module", [name for name in WHOLE if is_here(name)])
def test_every_public_name_of_a_module_is_on_a_page(module):
    described = [resolved(name) for name in names_on_pages() if is_here(name)]
    names = {name: value for name, value in vars(importlib.import_module(module)).items() if name[0] != "_"}
    own = {name: value for name, value in names.items() if getattr(value, "__module__", None) == module}
    assert own
    assert [name for name, value in own.items() if not any(value is one for one in described)] == []


def test_every_page_is_in_the_index():
    listed = re.findall(r"^   (\w+)$", (ROOT / "docs" / "api" / "index.rst").read_text(), re.M)
    assert sorted([*listed, "index"]) == [page.stem for page in PAGES]
