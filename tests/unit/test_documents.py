"""What the documents say of the command is what the command does."""

import argparse
import os
import re

import cv2
import pytest

from nst_graph import cli
from nst_graph.cli.show import stored_record
from nst_graph.cli.stylize import _plan
from nst_graph.inputs import Style
from nst_graph.settings import Settings
from nst_graph.transfer import settled
from nst_graph.worklist import Item, output_of, read_pairs
from tests import ROOT
from tests.documents import EXAMPLES, README, script


def subparser(name):
    (commands,) = (action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction))
    return commands.choices[name]


GALLERY = script("make_gallery")
SHOWN = {shown.name: shown for section in GALLERY.SECTIONS for shown in section.shown}


def rows_of_options(text):
    """Return the first two cells of a table of options: a dict from names with what they take, to the default."""
    rows = re.findall(r"^\| (`--[^|]*(?:\\\|[^|]*)*) \| ([^|]*)\| ", text, re.M)
    found = {}
    for names, default in rows:
        words = [name.replace("\\|", "|") for name in re.findall(r"`([^`]+)`", names)]
        found[tuple(words)] = default.strip().strip("`")
    return found


def options_of(command):
    """Return the same from a command's help."""
    expected = {}
    for action in subparser(command)._actions:
        if action.option_strings and not isinstance(action, argparse._HelpAction):
            takes = f" {action.metavar}" if action.metavar else ""
            takes += f" [{action.metavar} ...]" if action.nargs == "+" else ""
            default = re.search(r"\(([^()]*)\)$", action.help)
            expected[tuple(name + takes for name in action.option_strings)] = default.group(1) if default else ""
    return expected


def tables_of_options():
    """Return the texts with the options of `stylize` and of `batch`."""
    of_stylize, own = (ROOT / "docs" / "options.md").read_text().split("\n## Many pictures\n")
    return of_stylize, own


def test_the_table_of_options_is_the_commands():
    """Every option with its names, what stands for its value, and the default of the help."""
    expected = options_of("stylize")
    expected[("--style FILE[:WEIGHT]",)] = ""  # its help has the weight's default
    assert rows_of_options(tables_of_options()[0]) == expected


def test_the_table_of_a_batchs_own_options_is_the_commands():
    """All options that `stylize` does not have, or that take something else there."""
    text = tables_of_options()[1]
    found, batch, stylize = rows_of_options(text), options_of("batch"), options_of("stylize")
    assert found.items() <= batch.items() and batch.keys() - stylize.keys() <= found.keys()
    missing = {word for names in stylize for word in names} - {word for names in batch for word in names}
    missing = {word.split()[0] for word in missing} - {word.split()[0] for names in found for word in names}
    assert missing == set(re.findall(r"`(--[a-z-]+)`", text.split("These are")[0]))


#: Options in the documents that are those of TensorBoard, pytest, the benchmarks and Dask.
OF_TENSORBOARD, OF_PYTEST, OF_BENCHMARKS = {"--logdir"}, {"--dist"}, {"--only", "--pictures"}
OF_DASK = {"--nthreads", "--memory-limit", "--scheduler-file", "--protocol", "--dashboard-address", "--worker-port"}


@pytest.mark.parametrize("document", ["README.md", "docs/options.md", "docs/batch.md"])
def test_the_options_in_the_documents_are_there(document):
    known = {
        name
        for command in ("stylize", "batch", "mask", "layers", "figure")
        for name in subparser(command)._option_string_actions
    }
    text = (ROOT / document).read_text()
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", " ".join(re.findall(r"`([^`]*(?:--[a-z])[^`]*)`", text))))
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        named |= {
            word for line in block.splitlines() if "nst-graph" in line for word in re.findall(r"--[a-z][a-z-]+", line)
        }
    assert named - known <= {"--help", "--version"} | OF_TENSORBOARD | OF_PYTEST | OF_BENCHMARKS | OF_DASK


BATCH = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")


def test_the_names_in_the_page_of_batches():
    """In the table of patterns, and in the example of a sweep."""
    rows = re.findall(r"^\| `({[^`]*)`(?:, the default)? \| `(painted/[^`]*)` \|$", BATCH, re.M)
    item = Item("photos/2019/anna.jpg", (Style("monet.jpg"),), "2019")
    assert len(rows) == 4
    for pattern, result in rows:
        assert output_of(item, pattern, Settings(size=400), "painted") == result


def test_the_tables_of_pairs_in_the_page_of_batches(tmp_path):
    tables = re.findall(r"```\n(content,.*?)```", BATCH, re.S)
    assert len(tables) == 3
    for table in tables:
        (tmp_path / "pairs.csv").write_text(table)
        items = read_pairs(str(tmp_path / "pairs.csv"))
    (pattern,) = re.findall(r'--pairs sweep.csv .*--name "(.*?)"', BATCH)
    named = re.findall(r"`(anna_monet_alpha[^`]*)`", BATCH)
    assert named == [output_of(item, pattern, Settings(**item.given), "") for item in items]


def test_the_gallerys_page_is_that_of_its_script():
    assert (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8") == GALLERY.page()


def check_made_by(command, path):
    """Check that the settings and the pictures that are stored in a picture are those of a command."""
    plan = _plan(cli._parser().parse_args(command.split()[1:]))
    record = stored_record(path)
    assert record.output == plan.output
    height, width = cv2.imread(path).shape[:2]
    settings = settled(plan.settings, (width, height), 0)
    names = record.settings.keys() - {"weights", "strips", "precision"}  # `auto` is another thing on each machine
    assert {name: getattr(settings, name) for name in names} == {name: record.settings[name] for name in names}
    assert record.style_arguments() == plan.styles


@pytest.mark.parametrize("name", SHOWN)
def test_a_picture_of_the_gallery_is_made_by_its_command(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    shown = SHOWN[name]
    check_made_by(shown.command, shown.path)
    assert stored_record(shown.path).output == shown.path
    assert cv2.imread(shown.path).shape == (240, 320, 3)


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda command: command.split()[4])
def test_an_example_of_the_readme_is_made_by_its_command(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    shown = f"docs/examples/{os.path.basename(command.split()[4])}"
    check_made_by(command, shown)
    assert f'src="{shown}"' in README
    assert cv2.imread(shown).shape == (450, 600, 3)


def test_the_gallerys_masks_are_made_by_its_commands():
    for command, path in zip(GALLERY.commands_of_masks(), GALLERY.MASKS):
        assert path in command and path in GALLERY.page() + command
        cli._parser().parse_args(command.split()[1:])
        assert cv2.imread(str(ROOT / path)) is not None


def test_the_pictures_of_the_documents_are_small():
    """So that a page comes quickly: at most 400 KB each."""
    pictures = [path for ending in ("png", "jpg") for path in (ROOT / "docs").rglob(f"*.{ending}")]
    assert len(pictures) > 20
    assert [path.name for path in pictures if path.stat().st_size > 400_000] == []


@pytest.mark.parametrize(
    "document", [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"], ids=lambda path: path.name
)
def test_the_links_of_a_document_lead_somewhere(document):
    """To files, and to headings as GitHub names them."""
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for link in links:
        if "://" in link:
            continue
        path, _, heading = link.partition("#")
        target = document if path == "" else document.parent / path
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
            anchors = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
            assert heading in anchors, link
