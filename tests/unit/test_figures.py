"""Figures: looked at pixel by pixel where the layout says what is there, and through Matplotlib's own objects."""

import os
import sys

import cv2
import numpy as np
import pytest

from nst_graph import figures
from nst_graph.costs import CostName
from nst_graph.errors import OutputError, RuntimeMissingError
from nst_graph.figures import check_plot, figure_size, pairs_figure, plot_costs


def picture(height, width, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


class TestPairsFigure:
    def test_a_row_is_content_plus_style_arrow_generated(self):
        row = tuple(picture(80, width, width) for width in (100, 60, 90))
        figure = pairs_figure([row], height=80)
        assert figure.shape == (80, 100 + 20 + 60 + 20 + 90, 3) and figure.dtype == np.uint8
        for left, part in zip((0, 120, 200), row):
            np.testing.assert_array_equal(figure[:, left : left + part.shape[1]], part)
        plus, arrow = figure[:, 100:120].min(axis=2), figure[:, 180:200].min(axis=2)
        assert (plus == plus[::-1]).mean() > 0.9  # the same upside down ...
        assert plus[40, 6:15].max() < 128 and plus[36:45, 10].max() < 128  # ... with a line across and a line down
        assert arrow[40, 6:15].max() < 128
        right, left = (arrow[:, columns].min(axis=1) < 255 for columns in (slice(11, 16), slice(4, 8)))
        assert right.sum() > left.sum()  # the tip is on the right
        assert (figure[:10, 100:120] == 255).all() and (figure[:10, 180:200] == 255).all()

    def test_rows_share_columns_and_pictures_keep_their_proportions(self):
        rows = [
            (picture(30, 40), picture(60, 40), picture(30, 40)),
            (picture(60, 40), picture(30, 40), picture(60, 90)),
        ]
        figure = pairs_figure(rows, height=60)
        # Widths of the columns: 80, 80, 90; 15 for plus and arrow; 3 between the rows.
        assert figure.shape == (60 + 3 + 60, 80 + 15 + 80 + 15 + 90, 3)
        assert (figure[60:63] == 255).all()
        np.testing.assert_array_equal(figure[63:, 20:60], rows[1][0])  # in the middle of the column
        assert (figure[63:, :20] == 255).all() and (figure[63:, 60:80] == 255).all()

    def test_a_picture_made_smaller_is_averaged(self):
        stripes = np.zeros((400, 400, 3), np.uint8)
        stripes[:, ::4] = 255  # a quarter of what is averaged
        figure = pairs_figure([(stripes,) * 3], height=100)
        assert abs(int(figure[50, 50, 0]) - 255 / 4) < 1

    def test_the_smallest(self):
        assert pairs_figure([(picture(500, 1),) * 3], height=1).shape == (1, 3 + 16, 3)

    @pytest.mark.parametrize("height", [1, 60, 333])
    def test_its_size_is_known_before_it_is_made(self, height):
        rows = [(picture(9, 40), picture(30, 7), picture(5, 5)), (picture(3, 3), picture(8, 90), picture(1, 1))]
        made = pairs_figure(rows, height)
        assert figure_size(rows, height) == (made.shape[1], made.shape[0])


ROWS = [[i, 10.0 + i, 100.0 - i, 1000.0 - i, 60.0, 40.0 - i] for i in range(5)]
NAMES = [CostName(name) for name in ("content", "style", "total", "style/block1_conv1", "style/block2_conv1")]


class TestPlot:
    def test_lines_are_the_costs_on_a_logarithmic_scale(self, tmp_path, monkeypatch):
        import matplotlib.figure

        kept, savefig = [], matplotlib.figure.Figure.savefig
        monkeypatch.setattr(
            matplotlib.figure.Figure, "savefig", lambda self, *a, **k: kept.append(self) or savefig(self, *a, **k)
        )
        path = tmp_path / "costs.png"
        path.write_bytes(b"old")
        plot_costs(NAMES, ROWS, str(path))
        (axes,) = kept[0].axes
        assert axes.get_yscale() == "log" and axes.get_xlabel() == "iteration"
        found = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
        names = ["content", "style", "total", "block1_conv1", "block2_conv1"]
        assert found == {name: [[row[0], row[i]] for row in ROWS] for i, name in enumerate(names, start=1)}
        assert [text.get_text() for text in axes.get_legend().get_texts()] == names
        assert cv2.imread(str(path)).shape == (750, 1200, 3)
        assert os.listdir(str(tmp_path)) == ["costs.png"]

    def test_no_iterations_and_costs_of_nothing(self, tmp_path):
        plot_costs(NAMES, [], str(tmp_path / "x.svg"))
        plot_costs(NAMES, [[0] * 6, [1] * 6], str(tmp_path / "y.pdf"))
        assert (tmp_path / "x.svg").read_bytes().startswith(b"<?xml")
        assert (tmp_path / "y.pdf").read_bytes().startswith(b"%PDF")

    def test_a_folder_that_is_gone(self, tmp_path):
        with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
            plot_costs(NAMES, ROWS, str(tmp_path / "missing" / "x.png"))

    @pytest.mark.parametrize("name", ["costs", "costs.txt", "costs.", ".png"])
    def test_a_name_that_is_no_pictures(self, name):
        with pytest.raises(OutputError, match="ends in .png"):
            check_plot(name)

    def test_a_format_that_needs_what_is_not_there(self, tmp_path, monkeypatch):
        """LaTeX, for example; whatever Matplotlib fails with is told in one line, before a run and after it."""

        def fail(self, file, **options):
            raise RuntimeError("'xelatex' not found;\ninstall it")

        monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
        path = str(tmp_path / "x.pgf")
        with pytest.raises(OutputError, match=r"cannot write '.*x.pgf' here \('xelatex' not found;\); name a file"):
            check_plot(path)
        with pytest.raises(OutputError, match="cannot write '.*x.pgf' here"):
            plot_costs(NAMES, ROWS, path)
        assert os.listdir(str(tmp_path)) == []

    @pytest.mark.parametrize("name", ["costs.png", "a.b/COSTS.PNG", "x.svg"])
    def test_a_name_that_will_do(self, name):
        check_plot(name)

    def test_matplotlib_that_is_not_installed(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(RuntimeMissingError, match="pip install matplotlib"):
            check_plot("costs.png")


def test_figures_of_the_command_need_no_matplotlib(monkeypatch):
    monkeypatch.setattr(figures, "_matplotlib", lambda: pytest.fail("Matplotlib was asked for"))
    pairs_figure([(picture(5, 5),) * 3], height=5)
