"""What the documents say of the command is what the command does."""

import argparse
import importlib.util
import re

import cv2
import pytest

from nst_graph import cli
from nst_graph.cli.show import stored_record
from nst_graph.cli.stylize import _plan
from tests import ROOT


def subparser(name):
    (commands,) = (action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction))
    return commands.choices[name]


def gallery_script():
    spec = importlib.util.spec_from_file_location("make_gallery", ROOT / "docs" / "make_gallery.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GALLERY = gallery_script()
SHOWN = {shown.name: shown for section in GALLERY.SECTIONS for shown in section.shown}


def test_the_table_of_options_is_the_commands():
    """Every option with its names, what stands for its value, and the default of the help."""
    rows = re.findall(r"^\| (`--[^|]*(?:\\\|[^|]*)*) \| ([^|]*)\| ", (ROOT / "docs" / "options.md").read_text(), re.M)
    found = {}
    for names, default in rows:
        words = [name.replace("\\|", "|") for name in re.findall(r"`([^`]+)`", names)]
        found[tuple(words)] = default.strip().strip("`")
    expected = {}
    for action in subparser("stylize")._actions:
        if action.option_strings and not isinstance(action, argparse._HelpAction):
            takes = f" {action.metavar}" if action.metavar else ""
            default = re.search(r"\(([^()]*)\)$", action.help)
            expected[tuple(name + takes for name in action.option_strings)] = default.group(1) if default else ""
    expected[("--style FILE[:WEIGHT]",)] = ""  # its help has the weight's default
    assert found == expected


@pytest.mark.parametrize("document", ["README.md", "docs/options.md"])
def test_the_options_in_the_documents_are_there(document):
    known = {
        name
        for command in ("stylize", "mask", "layers", "figure")
        for name in subparser(command)._option_string_actions
    }
    text = (ROOT / document).read_text()
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", " ".join(re.findall(r"`([^`]*(?:--[a-z])[^`]*)`", text))))
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        named |= {
            word for line in block.splitlines() if "nst-graph" in line for word in re.findall(r"--[a-z][a-z-]+", line)
        }
    assert named - known <= {"--logdir", "--help", "--version"}


def test_the_gallerys_page_is_that_of_its_script():
    assert (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8") == GALLERY.page()


@pytest.mark.parametrize("name", SHOWN)
def test_a_picture_of_the_gallery_is_made_by_its_command(name, monkeypatch):
    """Its own settings are those of the command that stands above it."""
    monkeypatch.chdir(ROOT)
    shown = SHOWN[name]
    plan = _plan(cli._parser().parse_args(shown.command.split()[1:]))
    record = stored_record(shown.path)
    assert record.output == shown.path
    names = record.settings.keys() - {"weights", "strips"}  # `auto` until a run begins
    assert {name: getattr(plan.settings, name) for name in names} == {name: record.settings[name] for name in names}
    assert record.style_arguments() == plan.styles
    assert cv2.imread(shown.path).shape == (240, 320, 3)


def test_the_gallerys_masks_are_made_by_its_commands():
    for command, path in zip(GALLERY.commands_of_masks(), GALLERY.MASKS):
        assert path in command and path in GALLERY.page() + command
        cli._parser().parse_args(command.split()[1:])
        assert cv2.imread(str(ROOT / path)) is not None
