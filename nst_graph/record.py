"""What made a picture, as text: the settings of a run, its pictures by SHA-256, the versions. And back again.

The text is JSON. It is stored in pictures and checkpoints, and `nst-graph show` prints it.
"""

import dataclasses
import json
import reprlib
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

from nst_graph import __version__
from nst_graph.errors import SettingError
from nst_graph.inputs import Inputs, Source, Style
from nst_graph.settings import Settings, check_names

#: What changes neither the picture nor the costs, and the paths, which a record has in another place.
_LEFT_OUT = (
    *("content_img_path", "style_img_path", "generated_img_path"),
    *("log_graph", "log_pictures_every", "threads", "max_megapixels"),
)

#: Characters of a text that may be a record. One of a style has about 2000, and each further style about 300.
LARGEST_TEXT = 1 << 20

#: Digits of a whole number. A seed has 10; reading many takes time with their square.
_MOST_DIGITS = 400

#: What a record says of the settings: attributes of `Settings`.
NAMES = [field.name for field in dataclasses.fields(Settings) if field.name not in _LEFT_OUT]


class File(NamedTuple):
    """A picture of a run.

    Attributes
    ----------
    path : str or None
        The file as the user named it; None for an array.
    sha256 : str
        See `nst_graph.inputs.Source`.
    """

    path: Optional[str]
    sha256: str


class Record(NamedTuple):
    """What made a picture.

    Attributes
    ----------
    settings : dict
        Constants by attribute of `Settings`, without paths and what is logged.
    content : File
        The content picture.
    styles : tuple of File
        The style pictures.
    weights : tuple of float
        The weight of each style.
    masks : tuple of File or None
        The mask of each style.
    init : File or None
        The picture that the run started from, if it was a picture of its own.
    output : str or None
        The file that the picture was to be written to, as the user named it.
    versions : dict
        By name, as text: nst_graph, TensorFlow.
    """

    settings: Dict[str, Any]
    content: File
    styles: Tuple[File, ...]
    weights: Tuple[float, ...]
    masks: Tuple[Optional[File], ...]
    init: Optional[File]
    output: Optional[str]
    versions: Dict[str, str]

    def style_arguments(self, first: Optional[str] = None) -> List[Style]:
        """Return the styles as a run takes them, by their paths.

        Parameters
        ----------
        first : str, optional
            A picture in the place of the first style's.

        Returns
        -------
        list of Style
            With their weights and masks.

        Raises
        ------
        SettingError
            If a picture was no file.
        """
        paths = [_path(style) if first is None or number else first for number, style in enumerate(self.styles)]
        masks = [None if mask is None else _path(mask) for mask in self.masks]
        return [Style(*style) for style in zip(paths, self.weights, masks)]

    def as_long_as(self, other: Union["Record", Settings]) -> "Record":
        """Return this record with the number of iterations of another run, of the last stage if there are several.

        Parameters
        ----------
        other : Record or Settings
            Of the other run.

        Returns
        -------
        Record
            This record itself if the two runs have different stages.
        """
        settings = other if isinstance(other, Settings) else Settings(**other.settings)
        stages = self.settings["stages"]
        if stages is None or settings.stages is None:
            return self._replace(settings={**self.settings, "iterations": settings.iterations})
        *before, (side, _) = stages
        if [*before, side] != [*settings.stages[:-1], settings.stages[-1][0]]:
            return self
        return self._replace(settings={**self.settings, "stages": settings.stages})

    def difference_from(self, other: "Record") -> str:
        """Return in what this run differs from another.

        Parameters
        ----------
        other : Record
            Of the other run.

        Returns
        -------
        str
            The first difference in words; "" if both make the same picture. Where the files lie does not matter, nor do
            the versions.
        """
        for name, value in self.settings.items():
            # What `auto` is, nobody knows before a run begins.
            if value != other.settings[name] and "auto" not in (value, other.settings[name]):
                return f"{name} is {value} here and {other.settings[name]} there"
        if len(self.styles) != len(other.styles) or self.weights != other.weights:
            return f"the weights of the styles are {self.weights} here and {other.weights} there"
        for what, one, two in (
            ("content picture", (self.content,), (other.content,)),
            ("style picture", self.styles, other.styles),
            ("mask", self.masks, other.masks),
            ("picture to start from", (self.init,), (other.init,)),
        ):
            for here, there in zip(one, two):
                if (here and here.sha256) != (there and there.sha256):
                    return f"the {what} is another one"
        return ""


def _path(file: File) -> str:
    if file.path is None:
        raise SettingError("the run had a picture that was no file; name the pictures again")
    return file.path


def record_of(settings: Settings, inputs: Inputs, tensorflow: str, weights: str = "") -> Record:
    """Return the record of a run.

    Parameters
    ----------
    settings : Settings
        With the seed that the run used.
    inputs : Inputs
        Its pictures.
    tensorflow : str
        Its version.
    weights : str
        What names exactly the weights that were found, see `nst_graph.weights.Weights`. Without it the record has the
        word of the settings.

    Returns
    -------
    Record
    """
    content, init, *others = (
        None if source is None else _file(source) for source in (inputs.content, inputs.init, *inputs.styles)
    )
    assert content is not None
    return Record(
        settings={**{name: getattr(settings, name) for name in NAMES}, "weights": weights or settings.weights},
        content=content,
        styles=tuple(file for file in others if file is not None),
        weights=inputs.weights,
        masks=tuple(None if mask is None else _file(mask) for mask in inputs.masks),
        init=init,
        output=settings.generated_img_path,
        versions={"nst_graph": __version__, "TensorFlow": tensorflow},
    )


def _file(source: Source) -> File:
    return File(source.path, source.sha256)


def to_text(record: Record) -> str:
    """Return a record as text: JSON with a line for each entry. `from_text` reads it."""

    def file(entry: Optional[File]) -> Optional[Dict[str, Any]]:
        return None if entry is None else {"file": entry.path, "sha256": entry.sha256}

    styles = [
        {**(file(style) or {}), "weight": weight, "mask": file(mask)}
        for style, weight, mask in zip(record.styles, record.weights, record.masks)
    ]
    entries = {
        **record.versions,
        "content": file(record.content),
        "styles": styles,
        "init": file(record.init),
        "output": {"file": record.output},
        "settings": record.settings,
    }
    text = json.dumps(entries, indent=1, ensure_ascii=False)
    # No encoding has the lone surrogates of a file name that is not UTF-8. \\udcXX is the same string in JSON.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def from_text(text: str, name: str) -> Record:
    """Return the record in a text, with every value checked.

    Parameters
    ----------
    text : str
        From `to_text`, perhaps edited. Settings that are missing have their default.
    name : str
        Where the text is from, for error messages.

    Raises
    ------
    SettingError
        If the text is no record, or a setting in it has no valid value.

    Notes
    -----
    The text may be anybody's. Reading it takes at most 100 bytes for each character, and it has at most a million.
    """
    try:
        if len(text) > LARGEST_TEXT:
            raise ValueError(f"more than {LARGEST_TEXT} characters")
        entries = json.loads(text, parse_int=_whole)
        styles = entries["styles"]
        if not isinstance(entries["settings"], dict) or not isinstance(styles, list):
            raise ValueError("the settings are no object, or the styles no list")
        record = Record(
            settings=entries["settings"],
            content=_checked_file(entries["content"]),
            styles=tuple(_checked_file(style) for style in styles),
            weights=tuple(float(style["weight"]) for style in styles),
            masks=tuple(None if style["mask"] is None else _checked_file(style["mask"]) for style in styles),
            init=None if entries["init"] is None else _checked_file(entries["init"]),
            output=_checked_name(entries["output"]["file"]),
            versions={key: value for key, value in entries.items() if isinstance(value, str)},
        )
        check_names(record.settings, NAMES)
    except SettingError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        problem = reprlib.repr(str(error)) if not isinstance(error, KeyError) else f"no {error}"
        raise SettingError(f"{name!r} does not hold the settings of a run ({problem})") from None
    standard = Settings(**record.settings)
    return record._replace(settings={name: getattr(standard, name) for name in NAMES})


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


def _checked_file(entry: Any) -> File:
    if not isinstance(entry["sha256"], str):
        raise ValueError("a SHA-256 is not text")
    return File(_checked_name(entry["file"]), entry["sha256"])


def _checked_name(path: Any) -> Optional[str]:
    if not (isinstance(path, str) or path is None):
        raise ValueError("a file's name is not text")
    return path
