"""Every command and every program in README.md is run: here, or where this says.

What they read are small pictures under the names of the README, and the weights are random numbers. So nothing in a
command is changed, and it is quick all the same: without `--enlarge` no picture becomes larger than it is.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from nst_graph import cli
from nst_graph.cli.stylize import _plan
from nst_graph.runtimes import installed
from tests import ROOT
from tests.documents import EXAMPLES, README
from tests.end_to_end.conftest import SCRIPT, set_back

#: Those of the section Examples take minutes: tests/unit/test_documents.py looks at what they have made.
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if line not in EXAMPLES
]
#: Commands in the text. Such as `nst-graph layers`, which only names what there is, run as well.
IN_TEXT = re.findall(r"`((?:nst-graph|pip|jupyter|sphinx-build|pytest|python -m) [^`]*)`", README.replace("\n", " "))
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.S)

#: Who else runs a command that begins so.
ELSEWHERE = {
    "python3.11 -m venv": ".ci/run",
    "pip install": ".ci/run",
    "pip uninstall": "a remedy for machines that lack a library",
    "sphinx-build": ".ci/run",
    "jupyter lab": "tests/end_to_end/test_notebook.py, without the browser",
    "nst-graph inputs": "tests/end_to_end/test_inputs_command.py, with a server of its own",
    "tensorboard": "tests/end_to_end/test_tensorboard.py, with a browser",
    "pytest": ".ci/run",
    "python -m benchmarks": "tests/unit/test_benchmarks.py, the parts of them",
    "pip download": "what the program does itself",
}

#: Pictures that the README speaks of as the reader's.
OWN = ("me.jpg", "you.jpg", "monet.jpg", "mosaic.jpg", "background.png", "photos/anna.jpg", "photos/2019/ben.jpg")


def elsewhere(command):
    return any(command.startswith(beginning) for beginning in ELSEWHERE)


@pytest.fixture
def clone(tmp_path):
    """A folder with what the commands read: the reader's pictures, and small ones in the place of this project's."""
    rng = np.random.RandomState(0)
    ours = re.findall(r"\b(?:input|docs)/[\w./-]+\.(?:jpg|png)", "\n".join([*COMMANDS, *PROGRAMS]))
    for name in {*OWN, *ours, "input/cat.jpg", "input/starry_night.jpg"}:
        if name in OWN:
            picture = rng.randint(0, 60, (30, 40, 3)).astype(np.uint8)
            picture[9:21, 12:28] += 180  # a subject, for a mask of it
        else:
            picture = cv2.resize(cv2.imread(str(ROOT / name)), (40, 30), interpolation=cv2.INTER_AREA)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(tmp_path / name), picture)
    (tmp_path / "output").mkdir()
    shutil.copy(SCRIPT, str(tmp_path))
    return tmp_path


@pytest.fixture
def run(clone, monkeypatch):
    """Run a command of the README in the clone."""
    monkeypatch.setenv("NST_GRAPH_WEIGHTS", "random")
    monkeypatch.chdir(clone)

    def run(command):
        program, *words = shlex.split(command)
        if program == "nst-graph":
            with set_back():
                if "--help" in words:
                    with pytest.raises(SystemExit, match="0"):
                        cli.main(words)
                else:
                    cli.main(words)
        else:
            assert program == "python", f"nobody runs {command}"
            environment = dict(os.environ, PYTHONPATH=str(ROOT))
            subprocess.run([sys.executable, *words], check=True, env=environment)

    return run


def test_the_commands_in_their_order(run, clone, capsys):
    commands = [command for command in COMMANDS if command != ". .venv/bin/activate" and not elsewhere(command)]
    assert len(commands) >= 8
    for command in commands:
        print(command)  # pytest shows it if it fails
        run(command)
    assert cv2.imread(str(clone / "me_monet.png")).shape == (30, 40, 3)
    assert len(list((clone / "painted").rglob("*.png"))) == 4
    assert "Total cost: " in capsys.readouterr().out


def test_the_commands_in_the_text(run):
    commands = [command for command in IN_TEXT if not elsewhere(command)]
    assert len(commands) > 4
    run("nst-graph stylize me.jpg monet.jpg stopped.png --iterations 2 --checkpoint run.npz")
    for command in commands:
        print(command)
        run(command)


def test_the_options_in_the_tables(run):
    """Those of the command, beside the two pictures."""
    run("nst-graph stylize me.jpg monet.jpg painted.png --iterations 1")
    cells = re.findall(r"^\| [^|]* \| `(--[^`]*)`", README, re.M)
    assert len(cells) > 10
    for options in cells:
        _plan(cli._parser().parse_args(["stylize", "me.jpg", "monet.jpg", *options.split()]))


def test_the_programs(clone, monkeypatch):
    """All in one process: importing TensorFlow takes longer than they do. Each begins with names of its own."""
    monkeypatch.setenv("NST_GRAPH_WEIGHTS", "random")
    if installed().tensorflow.startswith("1."):
        programs = [program for program in PROGRAMS if "nst_graph.tf2" not in program]
    else:
        programs = PROGRAMS
    assert len(programs) >= 3
    runner = "import sys\nfor program in sys.argv[1:]:\n    exec(compile(program, program, 'exec'), {})\n"
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    subprocess.run([sys.executable, "-c", runner, *programs], check=True, cwd=str(clone), env=environment)


@pytest.mark.parametrize("beginning", ELSEWHERE)
def test_what_is_run_elsewhere_is_in_the_readme(beginning):
    assert any(command.startswith(beginning) for command in [*COMMANDS, *IN_TEXT])
