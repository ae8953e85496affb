"""Figures of results: rows of content + style -> generated, and the plot of a run's costs."""

import io
import os
from typing import Any, List, Sequence, Tuple

import numpy as np

from nst_graph.costs import CostName
from nst_graph.errors import OutputError, RuntimeMissingError
from nst_graph.files import replacing
from nst_graph.images import cv2, scaled

#: Colours, blue, green and red.
_WHITE, _INK = (255, 255, 255), (64, 64, 64)

#: One row of a figure: content, style, generated, each uint8 (h, w, 3), blue, green and red.
Row = Tuple[np.ndarray, np.ndarray, np.ndarray]


def figure_size(rows: Sequence[Row], height: int = 300) -> Tuple[int, int]:
    """Return width and height of what `pairs_figure` makes of the same rows; it makes none of it yet."""
    return sum(_columns(rows, height)) + 2 * _sign_width(height), len(rows) * (height + _gap(height)) - _gap(height)


def pairs_figure(rows: Sequence[Row], height: int = 300) -> np.ndarray:
    """Show content + style -> generated, one row for each pair, like the first figure of the article.

    Parameters
    ----------
    rows : sequence of tuple of ndarray
        Content, style and generated picture: uint8 (h, w, 3), blue, green and red, of any size.
    height : int
        Height of a row in pixels. A picture keeps its proportions. A column is as wide as its widest picture.

    Returns
    -------
    ndarray
        uint8 (h, w, 3), blue, green and red, on a white background.

    Examples
    --------
    >>> import cv2
    >>> from nst_graph.figures import pairs_figure
    >>> content, style = cv2.imread("input/cat.jpg"), cv2.imread("input/starry_night.jpg")
    >>> pairs_figure([(content, style, content)], height=30).shape
    (30, 136, 3)
    """
    width, full_height = figure_size(rows, height)
    figure = np.full((full_height, width, 3), _WHITE, np.uint8)
    for top, row in zip(range(0, full_height, height + _gap(height)), rows):
        line, left = figure[top : top + height], 0
        for picture, room, arrow in zip(row, _columns(rows, height), (False, True, None)):
            start = left + (room - _width(picture, height)) // 2
            line[:, start : start + _width(picture, height)] = scaled(picture, (_width(picture, height), height))
            left += room
            if arrow is not None:
                _draw_sign(line, left, arrow)
                left += _sign_width(height)
    return figure


def _columns(rows: Sequence[Row], height: int) -> List[int]:
    return [max(_width(row[column], height) for row in rows) for column in range(3)]


def _width(picture: np.ndarray, height: int) -> int:
    return int(max(round(picture.shape[1] * height / picture.shape[0]), 1))


def _gap(height: int) -> int:
    return max(height // 20, 1)


def _sign_width(height: int) -> int:
    return max(height // 4, 8)


def _draw_sign(line: np.ndarray, left: int, arrow: bool) -> None:
    """Draw a plus or an arrow into a row. Its box is as wide as a quarter of the row's height."""
    height, width = line.shape[0], _sign_width(line.shape[0])
    sign = np.full((height, width, 3), _WHITE, np.uint8)
    x, y, half = width // 2, height // 2, width // 4
    thickness = max(height // 60, 1)
    if arrow:
        cv2.arrowedLine(sign, (x - half, y), (x + half, y), _INK, thickness, cv2.LINE_AA, tipLength=0.4)
    else:
        cv2.line(sign, (x - half, y), (x + half, y), _INK, thickness, cv2.LINE_AA)
        cv2.line(sign, (x, y - half), (x, y + half), _INK, thickness, cv2.LINE_AA)
    line[:, left : left + width] = sign


def check_plot(path: str) -> None:
    """Check before a long run that Matplotlib can plot its costs to a file of this format.

    Parameters
    ----------
    path : str
        The file to write later; its extension sets the format.

    Raises
    ------
    RuntimeMissingError
        If Matplotlib is not installed.
    OutputError
        If Matplotlib cannot write files with this extension, or not on this machine: some formats need LaTeX.
    """
    extension = os.path.splitext(path)[1].lower()
    kinds = _matplotlib().backend_bases.FigureCanvasBase.get_supported_filetypes()
    if extension[1:] not in kinds:
        raise OutputError(f"Matplotlib cannot write {path!r}; name a file that ends in .png, .svg or .pdf, for example")
    _save(_drawn((), ()), io.BytesIO(), path)


def _matplotlib() -> Any:
    # Imported here because the import takes half a second, and only runs with a plot need it.
    try:
        import matplotlib.backend_bases
        import matplotlib.figure
    except ImportError as error:
        raise RuntimeMissingError(f"a plot needs Matplotlib ({error}): pip install matplotlib") from error
    return matplotlib


def plot_costs(names: Sequence[CostName], rows: Sequence[Sequence[float]], path: str) -> None:
    """Plot costs over iterations on a logarithmic scale.

    Parameters
    ----------
    names : sequence of CostName
        Names of the costs: `names` of `nst_graph.observers.History`. The cost of a single layer is a thin dashed line.
    rows : sequence of sequence of float
        For each iteration, its number and then the costs: `rows` of `nst_graph.observers.History`. Costs of 0 are left
        out, because a logarithmic scale cannot show them.
    path : str
        The file; its extension sets the format.

    Raises
    ------
    RuntimeMissingError
        If Matplotlib is not installed.
    OutputError
        If the file cannot be written.

    Examples
    --------
    >>> import nst_graph
    >>> from nst_graph.figures import plot_costs
    >>> from nst_graph.observers import History
    >>> history, pair = History(), ("input/cat.jpg", "input/starry_night.jpg")
    >>> _ = nst_graph.stylize(*pair, size=48, iterations=3, observers=[history])
    >>> plot_costs(history.names, history.rows, "costs.png")
    """
    figure = _drawn(names, rows)
    try:
        with replacing(path) as temporary:
            _save(figure, temporary, path)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"the plot {path!r} cannot be written: {error.strerror}") from error


def _drawn(names: Sequence[CostName], rows: Sequence[Sequence[float]]) -> Any:
    figure = _matplotlib().figure.Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="iteration", ylabel="cost", yscale="log")
    iterations, *costs = np.array(rows, dtype=float).T.reshape(1 + len(names), -1)
    for name, values in zip(names, costs):
        style = {"linewidth": 1, "linestyle": "--"} if name.layer else {"linewidth": 2}
        axes.plot(iterations, values, label=name.layer or name.term.replace("_", " "), **style)
    axes.grid(alpha=0.3)
    if names:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))  # outside the axes: the lines leave no corner free
    return figure


def _save(figure: Any, file: Any, path: str) -> None:
    """Save a plot to a file or a stream, in the format of the path that it is for."""
    try:
        figure.savefig(file, format=os.path.splitext(path)[1][1:].lower(), dpi=150)
    except OSError:
        raise
    except Exception as error:  # whatever a format's library or LaTeX fails with
        reason = str(error).partition("\n")[0]
        raise OutputError(
            f"Matplotlib cannot write {path!r} here ({reason}); name a file that ends in .png or .svg, for example"
        ) from error
