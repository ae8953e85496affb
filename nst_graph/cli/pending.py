"""Which pictures of a batch are there already, and which are to be made, in which order."""

import dataclasses
import hashlib
import os
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from nst_graph.cli.show import stored_record
from nst_graph.errors import NSTGraphError, PictureError
from nst_graph.settings import INIT_WORDS, Settings, is_due

if TYPE_CHECKING:
    from nst_graph.batch_table import BatchTable
    from nst_graph.inputs import Source
    from nst_graph.record import Record
    from nst_graph.worklist import Item

#: Bytes at the beginning of a picture file that mostly tell its size.
_START = 1 << 18


class Picture(NamedTuple):
    """A picture of a batch, as the words ask for it.

    Attributes
    ----------
    item : Item
        Content, styles and constants of its own.
    settings : Settings
        All its constants, as they are asked for: `auto` is `auto`.
    output : str
        The picture file.
    history, plot : str or None
        The files with its costs.
    """

    item: "Item"
    settings: Settings
    output: str
    history: Optional[str]
    plot: Optional[str]


class _Made:
    """Knows which pictures are there already, made as they are asked for."""

    def __init__(self, table: "BatchTable") -> None:
        self._table = table
        self._sources: Dict[str, Source] = {}

    def record(self, path: str) -> "Optional[Record]":
        """Return the record of a picture that is there; None if nothing says what made it."""
        try:
            return stored_record(path)
        except NSTGraphError:
            return self._table.record(path)  # a picture of a format that holds no settings

    def is_made(self, picture: Picture, record: "Record") -> bool:
        """Return whether a picture with this record is the one that is asked for."""
        try:
            return not self._asked(picture, record).difference_from(record)
        except PictureError:
            return False  # a file that cannot be read, which fails when its turn comes

    def _asked(self, picture: Picture, record: "Record") -> "Record":
        """Return the record that the picture is to have."""
        from nst_graph.inputs import Inputs
        from nst_graph.record import record_of
        from nst_graph.transfer import full_size, settled

        item, settings = picture.item, picture.settings
        content = self._source(item.content)
        masks = tuple(None if style.mask is None else self._source(str(style.mask)) for style in item.styles)
        inputs = Inputs(
            content,
            tuple(self._source(str(style.picture)) for style in item.styles),
            tuple(style.weight for style in item.styles),
            masks,
            None if settings.init in INIT_WORDS else self._source(str(settings.init)),
        )
        # Any seed will do where none is asked for. What `auto` was on the machine that made it, will do too.
        seed = record.settings["seed"] if settings.seed is None else settings.seed
        fixed = dataclasses.replace(settings, seed=seed, precision="float32", strips="off")
        if settings.start_size is not None:
            fixed = settled(fixed, full_size(fixed, content.pixels), inputs.masked_styles)
        asked = dataclasses.replace(fixed, precision=settings.precision, strips=settings.strips)
        return record_of(asked, inputs, "")

    def _source(self, path: str) -> "Source":
        """Return a picture file as it is before it is decoded: its pixels are all 0."""
        import numpy as np

        from nst_graph.inputs import Source
        from nst_graph.picture_files import read_file, size_of

        if path not in self._sources:
            data = read_file(path)
            width, height = size_of(data, path)
            black = np.broadcast_to(np.uint8(0), (height, width, 3))
            self._sources[path] = Source(black, hashlib.sha256(data).hexdigest(), path)
        return self._sources[path]


def to_do(
    pictures: Sequence[Picture], table: "BatchTable", overwrite: bool = False, save_every: Optional[int] = None
) -> Tuple[List[Picture], Dict[str, str]]:
    """Return what is missing or was made with other settings or from other files, and what cannot be made.

    Parameters
    ----------
    pictures : sequence of Picture
        The whole batch.
    table : BatchTable
        Of the output folder.
    overwrite : bool
        Whether all pictures are made, and any file may be replaced.
    save_every : int, optional
        Iterations from one numbered picture to the next, if they are kept.

    Returns
    -------
    missing : list of Picture
        To be made, in an order in which graphs can be shared.
    refused : dict
        By output file: why the picture is not made.
    """
    from nst_graph.transfer import graph_constants

    made = _Made(table)
    missing, refused = [], {}
    for picture in pictures:
        if not overwrite:
            record = made.record(picture.output) if os.path.exists(picture.output) else None
            beside = [path for path in (picture.history, picture.plot) if path is not None]
            if record is not None and made.is_made(picture, record) and all(map(os.path.exists, beside)):
                continue
            theirs = _not_ours(picture, beside, record, table, save_every)
            if theirs is not None:
                refused[picture.output] = f"the file {theirs!r} is there, and no batch made it; --overwrite replaces it"
                continue
        missing.append(picture)
    # Pictures that share a graph follow one another: it is built once, and not all graphs can be kept.
    order: Dict[Any, int] = {}
    keys = [(picture.settings.weights, graph_constants(picture.settings), _size(picture)) for picture in missing]
    groups = [order.setdefault(key, len(order)) for key in keys]
    return [picture for _, picture in sorted(zip(groups, missing), key=lambda pair: pair[0])], refused


def _not_ours(
    picture: Picture,
    beside: Sequence[str],
    record: "Optional[Record]",
    table: "BatchTable",
    save_every: Optional[int],
) -> Optional[str]:
    """Return a file that would be replaced and that no batch has made; None if there is none."""
    from nst_graph.observers import numbered

    if record is None and os.path.exists(picture.output):
        return picture.output
    # Neither a history nor a plot says what made it. The picture does, or the table, if somebody removed the picture.
    if record is None and table.row(picture.output) is None:
        found = next(filter(os.path.exists, beside), None)
        if found is not None:
            return found
    count = picture.settings.total_iterations if save_every else 0
    for iteration in range(count):
        path = numbered(picture.output, iteration)
        if is_due(iteration, save_every or 0, count - 1) and os.path.exists(path):
            try:
                stored_record(path)
            except NSTGraphError:
                return path
    return None


def _size(picture: Picture) -> Any:
    """Return what tells whether two pictures have the same size; nearly always it does."""
    from nst_graph.images import fitted_size
    from nst_graph.picture_files import open_file, size_of

    settings = picture.settings
    if not isinstance(settings.size, int):
        return settings.size
    try:
        with open_file(picture.item.content) as file:
            width, height = size_of(file.read(_START), picture.item.content)
    except (OSError, NSTGraphError):
        return settings.size
    return fitted_size((width, height), settings.size, settings.enlarge)
