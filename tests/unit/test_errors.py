"""Messages of errors: one line that a terminal can show, whatever the names and values in it are."""

import pytest

from nst_graph.errors import NSTGraphError, OutputError, RuntimeMissingError, SettingError, one_line, shown


@pytest.mark.parametrize("kind", [NSTGraphError, OutputError, RuntimeMissingError, SettingError])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("k\u00e4se \u732b.jpg", "k\u00e4se \u732b.jpg"),
        ("a\nb\r\x1b[2J", "a\\nb\\r\\x1b[2J"),
        ("o\udcff.png", "o\\udcff.png"),
        ("x" * 300, "x" * 300),
    ],
)
def test_a_message_is_one_line(kind, name, expected):
    assert str(kind(f"there is no {name}; name another")) == f"there is no {expected}; name another"


def test_what_is_too_long_keeps_its_ends():
    """A path of 300 characters is whole; what to do stands at the end and is never cut."""
    assert one_line(f"no {'a' * 100_000}b; name another") == f"no {'a' * 200}...{'a' * 48}b; name another"
    many = one_line("there is no " + "word " * 100_000 + "; name another")
    assert len(many) < 1100 and many.startswith("there is no word") and many.endswith("; name another")


def test_a_value_is_shown_shortened():
    assert shown("ten") == "'ten'" and shown([1, 2.5]) == "[1, 2.5]"
    assert len(shown("a" * 10**6)) < 40
    # From Python 3.11 on, a whole number of more than 4300 digits has no text.
    assert len(shown(10**5000)) < 60 and len(shown([10**5000, 1])) < 60
