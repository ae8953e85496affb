"""What several subcommands need to read their words."""

import argparse
from typing import Callable

from nst_graph.errors import SettingError
from nst_graph.settings import OPTIONS, word_of


def sentence(text: str) -> str:
    """Return a help text as a sentence: capital letter, full stop."""
    return f"{text[0].upper()}{text[1:]}."


def file_name(text: str) -> str:
    """Type for `add_argument`: the name of a file or a folder. A script's variable may be empty by mistake."""
    if not text:
        raise argparse.ArgumentTypeError("must be a name, not ''")
    return text


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a type for `add_argument`: a whole number from `low` to `high`."""

    def read(text: str) -> int:
        if not text.isdecimal() or len(text) > 9 or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, not {text[:40]!r}")
        return int(text)

    return read


def add_max_megapixels(parser: argparse.ArgumentParser) -> None:
    """Add the option that every subcommand which reads pictures has; its value is a number."""
    option = "--max-megapixels"
    field = OPTIONS[option]

    def read(text: str) -> float:
        try:
            return float(field.metadata["check"](option, float(text)))
        except (SettingError, ValueError):
            raise argparse.ArgumentTypeError(f"must be a number above 0, not {text[:40]!r}") from None

    what = f"{field.metadata['what']} ({word_of(field, field.default)})"
    parser.add_argument(option, metavar=field.metadata["takes"], type=read, default=field.default, help=what)
