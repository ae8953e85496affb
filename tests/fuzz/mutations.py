"""Inputs that Hypothesis makes: valid ones that are damaged, and values of all kinds."""

import json
import struct

from hypothesis import strategies as st

#: What numbers in a header are forged to.
_NUMBERS = [0, 1, 2, 3, 4, 7, 8, 255, 256, 1000, 32767, 32768, 65535, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1]
_FORGED = [
    struct.pack(form, n % 2**bits) for form, bits in ((">I", 32), ("<I", 32), (">H", 16), ("<H", 16)) for n in _NUMBERS
]
_FORGED += [struct.pack("<Q", n) for n in (2**32, 2**40, 2**63 - 1, 2**64 - 1)]

_position = st.integers(0, 2**20)
_change = st.tuples(
    st.sampled_from(["bit", "byte", "cut", "remove", "double", "insert", "forge", "splice", "repeat", "fill"]),
    st.booleans(),  # near the beginning, where headers are
    _position,
    st.integers(0, 255),
    st.integers(1, 64) | st.integers(1, 5000),
)


def damaged(seeds, tokens=(b"\0", b"\xff")):
    """Return a strategy for bytes that are almost one of some seeds.

    Parameters
    ----------
    seeds : sequence of bytes
        Valid inputs.
    tokens : sequence of bytes
        What means something in them and may be inserted.
    """
    tokens = list(tokens)

    def changed(start, changes, inserted, other):
        data = bytearray(start)
        for kind, near, position, value, length in changes:
            place = position % (min(len(data), 200) + 1 if near else len(data) + 1)
            if kind == "bit":
                data[place : place + 1] = bytes([byte ^ 1 << value % 8 for byte in data[place : place + 1]])
            elif kind == "byte":
                data[place : place + 1] = bytes([value])
            elif kind == "cut":
                del data[max(place, 1) :]
            elif kind == "remove":
                del data[place : place + length]
            elif kind == "double":
                data[place:place] = data[place : place + length]
            elif kind == "insert":
                data[place:place] = inserted
            elif kind == "forge":
                number = _FORGED[value % len(_FORGED)]
                data[place : place + len(number)] = number
            elif kind == "splice":
                data[place:] = other[place % (len(other) + 1) :]
            elif kind == "repeat":
                data[place:place] = inserted * length
            elif kind == "fill":
                data[place : place + length] = bytes([value]) * length
        return bytes(data)

    return st.builds(
        changed,
        st.sampled_from(seeds),
        st.lists(_change, min_size=1, max_size=6),
        st.sampled_from(tokens),
        st.sampled_from(seeds),
    )


_texts = st.text(max_size=20) | st.text(st.characters(blacklist_categories=()), max_size=20)
_tokens = st.sampled_from(
    [
        *[
            "",
            "nan",
            "NaN",
            "inf",
            "-inf",
            "1e999",
            "-1e999",
            "1e-999",
            "-0",
            "0x1F",
            "0b1",
            "0o7",
            "1_000",
            "007",
            "1j",
        ],
        *["None", "none", "True", "FALSE", "...", "lambda: 0", "[x for x in y]", "f'{1}'", "b'x'", "'\\0'", "{1: 2}"],
        *[
            "\u0661\u0662",
            "\uff11\uff12",
            "\u00b2",
            "\u2460",
            "\ud800",
            "\0",
            "\n",
            "\r",
            "\x1b[2J",
            "a\nb",
            "1,\n2",
            "#",
        ],
        *[
            "__import__('os').system('true')",
            "1 if 1 else 2",
            "(1).real",
            "--1",
            "- 1",
            "+1",
            "1.",
            ".5",
            "1,",
            ",",
            ":",
        ],
        *["conv1_1", "conv9_9", "conv1_1:nan", "pool1:1e999", "3:1", "400:5", "1:1,2:2", "half", "auto", "a" * 5000],
    ]
)
_long = st.builds(
    lambda token, count: token * count,
    st.sampled_from(
        ["9", "f", "[", "(", "{", "-", "'", '"', "1,", "[],", "a", ":", "\\", "~", "not ", "1+", "\u0663", "[1,"]
    ),
    st.sampled_from([30, 100, 300, 5000, 60_000]),
)
_numbers = st.integers().map(str) | st.floats().map(repr) | st.integers(0, 40_000).map(str)
#: Values as somebody types them.
words = st.one_of(
    _tokens,
    _numbers,
    _long,
    _texts,
    st.builds("0x{}".format, _long),
    st.builds("{}_{}".format, _numbers, _numbers),
    st.lists(_numbers | _tokens, max_size=5).map(",".join),
    st.lists(_numbers | _tokens, max_size=5).map(lambda parts: "[" + ",".join(parts) + "]"),
    st.lists(st.tuples(_tokens, _numbers | _tokens).map(":".join), max_size=4).map(",".join),
)

#: JSON texts of one value.
json_values = st.one_of(
    st.sampled_from(
        ["null", "true", "false", "NaN", "Infinity", "-Infinity", "1e999", "-1E-999", "{}", "[]", '"\\ud800"', ""]
    ),
    st.sampled_from(
        ['"\\u0000"', '"a\\nb"', "[[]]", "[null]", "[1, 2]", "[[1, 0.5], [3, 0.5]]", '[["a", 1]]', '{"file": 3}']
    ),
    _numbers,
    _texts.map(json.dumps),
    st.builds(
        lambda token, count: token * count,
        st.sampled_from(["9", "[", '{"a":', "[],", "1e", '"', "\\u0041", " ", "-"]),
        st.sampled_from([30, 500, 5000, 100_000, 1_100_000]),
    ),
    st.builds(
        lambda token, count: "[" + token * count + "1]",
        st.sampled_from(["1,", "{},", '"",', "[[]],"]),
        st.just(100_000),
    ),
    st.builds(lambda token, count: token * count + "]" * count, st.just("["), st.sampled_from([9, 900, 100_000])),
)


def changed_json(entries):
    """Return a strategy for JSON texts in which some values of a nested object are others."""
    places = list(_places(entries, ()))

    def text(changes):
        marks = {}
        copy = json.loads(json.dumps(entries))
        for number, (path, value) in enumerate(changes):
            parent = copy
            try:
                for step in path[:-1]:
                    parent = parent[step]
                parent[path[-1]] = f"mark{number}"
            except (KeyError, IndexError, TypeError):
                continue  # what held it was changed before
            marks[f'"mark{number}"'] = value
        found = json.dumps(copy)
        for mark, value in marks.items():
            found = found.replace(mark, value)
        return found

    return st.lists(st.tuples(st.sampled_from(places), json_values), min_size=1, max_size=3).map(text)


def _places(value, path):
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from _places(value[key], (*path, key))
        yield (*path, "xyzzy")
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from _places(value[index], (*path, index))
