import ast
import copy
import dataclasses
import pickle
import re

import numpy as np
import pytest

from nst_graph.errors import SettingError
from nst_graph.settings import CONSTANTS, Settings, from_words
from tests import ROOT


def test_defaults_are_the_articles():
    constants = from_words([], {}).constants()
    means = constants.pop("VGG_IMAGENET_MEANS")
    assert means.shape == (1, 1, 3) and means.dtype == np.float64
    assert means.ravel().tolist() == [103.939, 116.779, 123.68]
    assert constants == {
        "CONTENT_IMG_PATH": "./input/cat.jpg",
        "STYLE_IMG_PATH": "./input/starry_night.jpg",
        "GENERATED_IMG_PATH": "./output/generated_img.jpg",
        "IMG_SIZE": (400, 300),
        "NUM_COLOR_CHANNELS": 3,
        "ALPHA": 10,
        "BETA": 40,
        "NOISE_RATIO": 0.6,
        "CONTENT_LAYER_INDEX": 13,
        "STYLE_LAYER_INDICES": (1, 4, 7, 12, 17),
        "STYLE_LAYER_COEFFICIENTS": (0.2, 0.2, 0.2, 0.2, 0.2),
        "NUM_ITERATIONS": 500,
        "LEARNING_RATE": 2,
        "LOG_GRAPH": True,
        "LOG_PICTURES_EVERY": 20,
        "SEED": None,
        "WEIGHTS": "auto",
    }


def test_the_scripts_constants_are_those_of_the_table():
    """The script writes them down once more, because it is the article."""
    tree = ast.parse((ROOT / "legacy_script.py").read_text())
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
            name = node.targets[0].id
            if name != "K":
                found[name] = eval(compile(ast.Expression(node.value), name, "eval"), {"np": np})
    assert list(found) == list(CONSTANTS)
    assert from_words([], found) == Settings()


def test_the_readmes_table_of_constants_is_the_table():
    text = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| (`[A-Z_`, ]+) \| (`[^|]+`) \|", text, re.MULTILINE)
    found = {}
    for names, values in rows:
        # `A`, `B` | `1`, `2`
        found.update(zip(re.findall(r"`([^`]+)`", names), re.findall(r"`([^`]+)`", values)))
    words = Settings().words()
    del words["NUM_COLOR_CHANNELS"]  # there is no other value to choose
    assert found == words


def test_the_docstring_has_every_constant():
    for field in CONSTANTS.values():
        assert f"\n    {field.name} : " in Settings.__doc__


def test_an_unknown_name_is_an_error_that_names_the_near_ones():
    for name, message in (
        ("num_iterations", "did you mean iterations"),
        ("img_size", "did you mean size"),
        ("learning_rat", "did you mean learning_rate"),
        ("SEED", "did you mean seed"),
        ("xyzzy", "there are content_img_path, "),
    ):
        with pytest.raises(SettingError, match=f"there is no '{name}'; {message}"):
            Settings(**{name: 1})


def test_can_be_copied():
    settings = Settings(seed=3, alpha=1)
    assert copy.deepcopy(settings) == pickle.loads(pickle.dumps(settings)) == settings
    assert dataclasses.replace(settings, alpha=2) == Settings(seed=3, alpha=2)


def test_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().alpha = 5


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("CONTENT_IMG_PATH=a=b.jpg", "a=b.jpg"),
        ("CONTENT_IMG_PATH=12", "12"),
        ("IMG_SIZE=200,150", (200, 150)),
        ("IMG_SIZE=(200, 150)", (200, 150)),
        ("ALPHA=5", 5.0),
        ("ALPHA=0", 0.0),
        ("BETA=1e-3", 0.001),
        ("NOISE_RATIO=1", 1.0),
        ("CONTENT_LAYER_INDEX=21", 21),
        ("NUM_ITERATIONS=0", 0),
        ("LOG_GRAPH=False", False),
        ("LOG_GRAPH=false", False),
        ("SEED=0", 0),
        ("SEED=4294967295", 4294967295),
        ("SEED=None", None),
        ("WEIGHTS=None", "None"),
        ("LEARNING_RATE= 3", 3.0),
    ],
)
def test_a_word_overrides(word, value):
    name = word.split("=")[0]
    assert from_words([word], {}).constants()[name] == value
    assert type(from_words([word], {}).constants()[name]) is type(value)


def test_constants_of_a_program_are_taken_and_other_names_passed_over():
    constants = {"ALPHA": 7, "BETA": 8, "os": object(), "__name__": "x", "VGG_IMAGENET_MEANS": np.ones((1, 1, 3))}
    result = from_words(["BETA=9", "BETA=10"], constants).constants()
    assert (result["ALPHA"], result["BETA"]) == (7, 10)
    assert result["VGG_IMAGENET_MEANS"].tolist() == [[[1, 1, 1]]]
    assert "os" not in result


def test_style_layers_and_coefficients_together():
    words = ["STYLE_LAYER_INDICES=4,1", "STYLE_LAYER_COEFFICIENTS=[0.9, 0]"]
    result = from_words(words, {}).constants()
    assert result["STYLE_LAYER_INDICES"] == (4, 1)
    assert result["STYLE_LAYER_COEFFICIENTS"] == (0.9, 0.0)
    one = from_words(["STYLE_LAYER_INDICES=7", "STYLE_LAYER_COEFFICIENTS=1"], {}).constants()
    assert one["STYLE_LAYER_INDICES"] == (7,)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("ALFA=1", "did you mean ALPHA"),
        ("alpha=1", "did you mean ALPHA"),
        ("XYZZY=1", "there are CONTENT_IMG_PATH"),
        ("--help", "is not NAME=VALUE; the names are CONTENT_IMG_PATH"),
        ("ALPHA", "is not NAME=VALUE"),
        ("", "is not NAME=VALUE"),
        ("=1", "there is no constant ''"),
        ("CONTENT_IMG_PATH=", "CONTENT_IMG_PATH must be the path"),
        ("CONTENT_IMG_PATH=a\0b", "CONTENT_IMG_PATH must be the path"),
        ("IMG_SIZE=400", "IMG_SIZE must be width and height"),
        ("IMG_SIZE=400,300,3", "IMG_SIZE must be width and height"),
        ("IMG_SIZE=400,0", "entry of IMG_SIZE must be a whole number from 1 to 32766, not 0"),
        ("IMG_SIZE=400.5,300", "entry of IMG_SIZE"),
        ("IMG_SIZE=40000,300", "entry of IMG_SIZE"),
        ("NUM_COLOR_CHANNELS=1", "from 3 to 3, not 1"),
        ("ALPHA=-1", "ALPHA must be a number of at least 0, not -1"),
        ("ALPHA=ten", "ALPHA must be a number of at least 0, not 'ten'"),
        ("ALPHA=nan", "ALPHA must be"),
        ("ALPHA=1e999", "ALPHA must be"),
        ("ALPHA=1" + "0" * 400, "ALPHA must be"),
        ("ALPHA=True", "ALPHA must be"),
        ("ALPHA=" + "[" * 9999, "ALPHA must be"),
        ("ALPHA=1,2", "ALPHA must be"),
        ("NOISE_RATIO=1.01", "NOISE_RATIO must be a number from 0 to 1, not 1.01"),
        ("CONTENT_LAYER_INDEX=0", "CONTENT_LAYER_INDEX must be a whole number from 1 to 21, not 0"),
        ("CONTENT_LAYER_INDEX=22", "from 1 to 21, not 22"),
        ("CONTENT_LAYER_INDEX=13.0", "whole number"),
        ("STYLE_LAYER_INDICES=1,4,7,12,22", "entry of STYLE_LAYER_INDICES must be"),
        ("STYLE_LAYER_INDICES=1,4,7,12,12", "layers that differ"),
        ("STYLE_LAYER_INDICES=1,4", "there are 5 coefficients and 2 layers"),
        ("STYLE_LAYER_INDICES=[]", "a list of layer indices"),
        ("STYLE_LAYER_COEFFICIENTS=0.2,0.2,0.2,0.2,-0.2", "entry of STYLE_LAYER_COEFFICIENTS"),
        ("STYLE_LAYER_COEFFICIENTS=1", "there are 1 coefficients and 5 layers"),
        ("NUM_ITERATIONS=-1", "NUM_ITERATIONS must be a whole number of at least 0"),
        ("NUM_ITERATIONS=1e3", "whole number"),
        ("NUM_ITERATIONS=True", "whole number"),
        ("LEARNING_RATE=0", "LEARNING_RATE must be a number above 0, not 0"),
        ("VGG_IMAGENET_MEANS=1,2", "three numbers: blue, green, red"),
        ("LOG_GRAPH=2", "LOG_GRAPH must be True or False, not 2"),
        ("SEED=-1", "SEED must be a whole number from 0 to 4294967295"),
        ("SEED=4294967296", "SEED must be"),
        ("WEIGHTS=", "WEIGHTS must be auto, keras"),
    ],
)
def test_refuses_in_one_line(word, message):
    with pytest.raises(SettingError) as caught:
        from_words([word], {}).constants()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_refuses_a_run_without_a_cost():
    with pytest.raises(SettingError, match="both be 0"):
        from_words(["ALPHA=0", "BETA=0"], {}).constants()


def test_numpy_numbers_are_numbers():
    settings = Settings(seed=np.int64(3), alpha=np.float32(2), size=np.array([8, 6]))
    assert (settings.seed, settings.alpha, settings.size) == (3, 2.0, (8, 6))


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(
            alpha=0.1, beta=1e-7, seed=7, style_layer_indices=[2], style_layer_coefficients=[1e20], log_graph=False
        ),
        Settings(content_img_path="a,b=c.jpg", vgg_imagenet_means=(0, 1.5, -2), weights="random", size=(1, 32766)),
    ],
    ids=["article", "numbers", "others"],
)
def test_words_are_what_makes_the_settings(settings):
    words = [f"{name}={word}" for name, word in settings.words().items()]
    assert from_words(words, {}) == settings


@pytest.mark.parametrize("value", [1.05e20, 1e-7, 12.0, 0.5, 1e16, 123456789.0])
def test_a_number_is_written_as_it_is(value):
    word = Settings(beta=value).words()["BETA"]
    assert float(word) == value
    assert not word.endswith(".0")


def test_words_are_short():
    words = Settings().words()
    assert (words["IMG_SIZE"], words["ALPHA"], words["NOISE_RATIO"], words["SEED"]) == ("400,300", "10", "0.6", "None")
