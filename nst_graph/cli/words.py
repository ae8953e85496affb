"""What several subcommands need to read their words."""

import argparse
from typing import Callable


def sentence(text: str) -> str:
    """Return a help text as a sentence: capital letter, full stop."""
    return f"{text[0].upper()}{text[1:]}."


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a type for `add_argument`: a whole number from `low` to `high`."""

    def read(text: str) -> int:
        if not text.isdecimal() or len(text) > 9 or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, not {text[:40]!r}")
        return int(text)

    return read
