"""The command nst-graph, and runtimes that other distributions bring."""

import os
import subprocess
import sys

import pytest

from nst_graph import cli
from nst_graph.runtimes import get_runtime, installed
from nst_graph.settings import CONSTANTS, OPTIONS, word_of
from tests import ROOT


def command(path, *words, script=None, **variables):
    """Run `python -m nst_graph`, or a script, with a folder before everything else that Python imports from."""
    return subprocess.run(
        [sys.executable, *([script] if script else ["-m", "nst_graph"]), *words],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join([str(path), str(ROOT)]), **variables),
        cwd=str(path),
        capture_output=True,
        text=True,
    )


def distribution(folder, name, version, entry_points=""):
    """Make what an installed distribution leaves: its metadata."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entry_points)


STRANGER = """
from nst_graph.runtimes import Runtime

class Stranger(Runtime):
    name = "stranger"

    def __init__(self):
        print("the stranger serves")

    @classmethod
    def why_not(cls, installed):
        return {why_not!r}
"""

STRANGERS_POINT = "[nst_graph.runtimes]\nastranger = strangers_module:Stranger\n"


def test_lists_the_runtimes(tmp_path):
    done = command(tmp_path, "runtimes")
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"TensorFlow {installed().tensorflow}, tf-keras ")
    verdicts = {line.split(" ")[0]: line.split(": ", 1)[1] for line in lines[1:-1]}
    serving = get_runtime().name
    assert set(verdicts) == {"tf1", "tf2"}
    assert verdicts.pop(serving) == "can serve"
    assert all(f"{installed().tensorflow} is installed" in reason for reason in verdicts.values())
    assert lines[-1] == f"{serving} serves"


def test_a_strangers_runtime_is_found_and_serves_when_it_is_chosen(tmp_path):
    distribution(tmp_path, "strangers-package", "1.0", STRANGERS_POINT)
    (tmp_path / "strangers_module.py").write_text(STRANGER.format(why_not=None))
    ours = get_runtime().name
    lines = command(tmp_path, "runtimes").stdout.splitlines()
    assert "astranger (from strangers-package): can serve" in lines
    assert lines[-2:] == [f"{ours} serves", "NST_GRAPH_RUNTIME=NAME chooses another"]
    done = command(tmp_path, "runtimes", NST_GRAPH_RUNTIME="astranger")
    assert done.stdout.splitlines()[-2:] == ["astranger serves", "NST_GRAPH_RUNTIME=NAME chooses another"]
    (tmp_path / "use.py").write_text("import nst_graph; print(nst_graph.get_runtime().name)")
    done = command(tmp_path, script="use.py", NST_GRAPH_RUNTIME="astranger")
    assert done.stdout.splitlines() == ["the stranger serves", "stranger"]


def test_a_strangers_runtime_serves_where_none_of_ours_can(tmp_path):
    distribution(tmp_path, "tensorflow", "3.0.0")
    distribution(tmp_path, "strangers-package", "1.0", STRANGERS_POINT)
    (tmp_path / "strangers_module.py").write_text(STRANGER.format(why_not=None))
    assert command(tmp_path, "runtimes").stdout.splitlines()[-1] == "astranger serves"


def test_a_name_that_no_runtime_has_is_one_line_and_status_2(tmp_path):
    done = command(tmp_path, "runtimes", NST_GRAPH_RUNTIME="tf3")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("NST_GRAPH_RUNTIME is 'tf3': there is no runtime of this name; the names are: tf1, tf2")


def test_a_strangers_runtime_that_cannot_serve_says_why(tmp_path):
    distribution(tmp_path, "strangers-package", "1.0", STRANGERS_POINT)
    (tmp_path / "strangers_module.py").write_text(STRANGER.format(why_not="it is Sunday"))
    done = command(tmp_path, "runtimes")
    assert "astranger (from strangers-package): it is Sunday" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1] == f"{get_runtime().name} serves"


@pytest.mark.parametrize("source", ["raise ValueError('no accelerator')", "import a_module_that_is_not_there", "x ="])
def test_a_strangers_broken_runtime_takes_no_other_down(tmp_path, source):
    distribution(tmp_path, "strangers-package", "1.0", STRANGERS_POINT)
    (tmp_path / "strangers_module.py").write_text(source)
    done = command(tmp_path, "runtimes")
    assert "astranger (from strangers-package): it cannot be loaded: " in done.stdout
    assert done.stdout.splitlines()[-1] == f"{get_runtime().name} serves"


@pytest.mark.parametrize(
    ("tensorflow", "tf_keras", "remedy"),
    [
        ("1.14.0", "2.21.0", 'pip install "tensorflow==1.15.5" "protobuf<3.21"'),
        ("2.9.1", "2.21.0", 'pip install "tensorflow>=2.15,<3"'),
        ("3.0.0", "3.0.0", "pip install"),
        ("2.21.0", "2.20.1", 'pip install "tf-keras==2.21.*"'),
    ],
)
@pytest.mark.parametrize("script", [None, str(ROOT / "legacy_script.py")], ids=["command", "script"])
def test_a_tensorflow_that_nothing_serves_is_one_line_and_status_2(tmp_path, tensorflow, tf_keras, remedy, script):
    distribution(tmp_path, "tensorflow", tensorflow)
    distribution(tmp_path, "tf-keras", tf_keras)
    pictures = [f"{name}_IMG_PATH={ROOT}/input/cat.jpg" for name in ("CONTENT", "STYLE")]
    words = ["WEIGHTS=random", *pictures] if script else ["runtimes"]
    done = command(tmp_path, *words, script=script)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "error: no runtime works with the installed TensorFlow" in line and remedy in line


def test_help_version_and_mistakes(tmp_path):
    shown = command(tmp_path, "--help").stdout
    for subcommand in ("stylize", "batch", "inputs", "mask", "layers", "show", "figure", "runtimes"):
        assert f"\n    {subcommand} " in shown
    assert command(tmp_path, "--version").stdout.startswith("nst_graph ")
    for words in (["nothing"], ["runtimes", "more"]):
        done = command(tmp_path, *words)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert "error: " in line and "--help" in line


def test_the_name_alone_shows_three_commands_that_are_there(tmp_path):
    done = command(tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    commands = [line.split() for line in done.stdout.splitlines() if line.startswith("  nst-graph ")]
    assert [words[1] for words in commands] == ["stylize", "batch", "show"]
    for words in commands:
        cli._parser().parse_args(words[1:])


@pytest.mark.parametrize(
    ("words", "attribute", "expected"),
    [
        ("stylize a b --overwrite c", "output", "c"),
        ("stylize --size 3 a --style d b --no-log c --seed 4", "output", "c"),
        ("stylize a --overwrite b", "output", None),
        ("stylize a b -- --c", "output", "--c"),
        ("stylize --overwrite -- a b --c", "output", "--c"),
        ("batch a --output o b --style x y", "contents", ["a", "b"]),
        ("batch --output o --style x y --seed 3 a b", "contents", ["a", "b"]),
        ("mask a --invert b", "output", "b"),
        ("figure o a --height 3 b c", "pictures", ["a", "b", "c"]),
    ],
)
def test_options_may_stand_between_the_words(words, attribute, expected):
    assert getattr(cli._parser().parse_args(words.split()), attribute) == expected


def test_every_option_is_in_the_help_with_its_other_name_and_its_default(tmp_path):
    shown = " ".join(command(tmp_path, "stylize", "--help").stdout.split())
    articles = {field.metadata["option"] for field in CONSTANTS.values()} - {""}
    assert len(articles) == 12 and articles < set(OPTIONS)
    for option, field in OPTIONS.items():
        takes = field.metadata["takes"]
        assert f"{option} {takes}" in shown if takes else f" {option} " in shown
        default = {"--size": "400", "--strips": "auto"}.get(option, word_of(field, field.default))
        assert f"({default})" in shown or default == "None" or not takes
    assert "--alpha X, --content-weight X" in shown and "--beta X, --style-weight X" in shown
    for option in ("--style", "--style-mask", "--checkpoint", "--resume", "--settings-from", "--overwrite"):
        assert f" {option} " in shown


def test_the_help_has_a_screen_for_each_group(tmp_path):
    shown = command(tmp_path, "stylize", "--help", COLUMNS="80").stdout
    groups = [group.splitlines() for group in shown.split("\n\n")]
    assert len(groups) > 10
    for lines in groups:
        assert len(lines) <= 24 and max(map(len, lines)) <= 80


def test_neither_help_nor_the_list_imports_what_takes_long(tmp_path):
    program = (
        "import sys\nfrom nst_graph.cli import main\n"
        "for words in (['--help'], ['stylize', '--help'], ['runtimes'], ['layers']):\n"
        "    try:\n        main(words)\n    except SystemExit:\n        pass\n"
        "assert not {'tensorflow', 'keras', 'tf_keras', 'cv2', 'h5py', 'PIL'} & set(sys.modules)\n"
    )
    (tmp_path / "look.py").write_text(program)
    done = command(tmp_path, script="look.py")
    assert done.returncode == 0, done.stderr
