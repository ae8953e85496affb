import ast
import copy
import dataclasses
import pickle
import re

import numpy as np
import pytest

from nst_graph.errors import SettingError
from nst_graph.settings import (
    CONSTANTS,
    OPTIONS,
    Settings,
    check_effects,
    from_options,
    from_words,
    takes_constants,
    word_of,
)
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


@pytest.mark.parametrize(
    ("option", "text", "name", "value"),
    [
        ("--size", "600", "size", 600),
        ("--size", "600,450", "size", (600, 450)),
        ("--enlarge", True, "enlarge", True),
        ("--style-scale", "0.5", "style_scale", 0.5),
        ("--alpha", "5", "alpha", 5.0),
        ("--beta", "1e3", "beta", 1000.0),
        ("--tv-weight", "0.01", "tv_weight", 0.01),
        ("--noise-ratio", "1", "noise_ratio", 1.0),
        ("--content-layer-index", "7", "content_layer_index", 7),
        ("--style-layer-indices", "2,9", "style_layer_indices", (2, 9)),
        ("--style-layer-coefficients", "1,0", "style_layer_coefficients", (1.0, 0.0)),
        ("--content-layers", "conv4_2", "content_layers", ((13, 1.0),)),
        ("--style-layers", "conv1_1:3,pool2:0", "style_layers", ((1, 3.0), (6, 0.0))),
        ("--pooling", "max", "pooling", "max"),
        ("--iterations", "0", "iterations", 0),
        ("--optimizer", "lbfgs", "optimizer", "lbfgs"),
        ("--learning-rate", "10", "learning_rate", 10.0),
        ("--init", "12", "init", "12"),
        ("--preserve-colors", "luminance", "preserve_colors", "luminance"),
        ("--log-pictures-every", "0", "log_pictures_every", 0),
        ("--seed", "3", "seed", 3),
        ("--seed", "None", "seed", None),
        ("--weights", "a=b.h5", "weights", "a=b.h5"),
        ("--start-size", "half", "start_size", "half"),
        ("--start-size", "200", "start_size", 200),
        ("--stages", "200:60,400:5", "stages", ((200, 60), (400, 5))),
        ("--precision", "bfloat16", "precision", "bfloat16"),
        ("--strips", "off", "strips", "off"),
        ("--strips", "64", "strips", 64),
        ("--threads", "2", "threads", 2),
        ("--max-megapixels", "500", "max_megapixels", 500.0),
    ],
)
def test_an_option_gives_one_constant(option, text, name, value):
    assert from_options({option: text}) == {name: value}
    assert type(from_options({option: text})[name]) is type(value)


def test_every_option_is_in_the_test_above():
    (parametrize,) = test_an_option_gives_one_constant.pytestmark
    assert {case[0] for case in parametrize.args[1]} == set(OPTIONS)


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--size", "0", "--size must be a whole number from 1 to 32766, not 0"),
        ("--size", "-5", "--size must be a whole number from 1 to 32766, not -5"),
        ("--size", "32767", "--size must be"),
        ("--size", "400.5", "--size must be width and height in pixels, like 400,300, or the longest side"),
        ("--size", "400x300", "--size must be width and height in pixels, like 400,300, or the longest side"),
        ("--size", "400,300,3", "--size must be"),
        ("--size", "400,0", "entry of --size must be a whole number from 1 to 32766, not 0"),
        ("--size", "True", "--size must be"),
        ("--style-scale", "0", "--style-scale must be a number above 0, not 0"),
        ("--style-scale", "half", "--style-scale must be a number above 0, not 'half'"),
        ("--start-size", "third", "--start-size must be half, or a whole number from 1 to 32766, not 'third'"),
        ("--start-size", "0", "--start-size must be half, or a whole number from 1 to 32766, not 0"),
        ("--stages", "", "--stages must be longest sides that grow, each with its iterations, like 200:60,400:60"),
        ("--stages", "200", "--stages must be longest sides that grow"),
        ("--stages", "200:60:1", "--stages must be longest sides that grow"),
        ("--stages", "200:60,200:60", "--stages must be longest sides that grow"),
        ("--stages", "400:60,200:60", "--stages must be longest sides that grow"),
        ("--stages", "200:-1", "--stages must be longest sides that grow"),
        ("--stages", "200:0", "each number of iterations of --stages must be a whole number of at least 1, not 0"),
        ("--stages", "0:1", "each longest side of --stages must be a whole number from 1 to 32766, not 0"),
        ("--stages", "\u00b2:1", "--stages must be longest sides that grow"),
        ("--precision", "float16", "--precision must be one of float32, bfloat16, auto, not 'float16'"),
        ("--strips", "1", "--strips must be auto or off, or a whole number from 2 to 32766, not 1"),
        ("--strips", "on", "--strips must be auto or off, or a whole number from 2 to 32766, not 'on'"),
        ("--threads", "0", "--threads must be a whole number from 1 to 4096, not 0"),
        ("--max-megapixels", "0", "--max-megapixels must be a number above 0, not 0"),
        ("--tv-weight", "-1", "--tv-weight must be a number of at least 0, not -1"),
        ("--tv-weight", "nan", "--tv-weight must be"),
        ("--pooling", "mean", "--pooling must be one of avg, max, not 'mean'"),
        ("--optimizer", "Adam", "--optimizer must be one of adam, lbfgs, not 'Adam'"),
        ("--preserve-colors", "yes", "--preserve-colors must be one of none, luminance, statistics, not 'yes'"),
        ("--init", "", "--init must be noise, content, style or the path of a picture file"),
        ("--style-layers", "", "--style-layers: there is no layer ''"),
        ("--style-layers", "conv1_1,", "--style-layers: there is no layer ''"),
        ("--style-layers", "conv6_1", "--style-layers: there is no layer 'conv6_1'; did you mean "),
        ("--style-layers", "block4_conv5", "did you mean block4_conv"),
        ("--style-layers", "xyzzy", "no layer 'xyzzy'; `nst-graph layers` lists them"),
        ("--style-layers", "0", "there is no layer 0"),
        ("--style-layers", "22", "there is no layer 22"),
        ("--style-layers", "-1", "there is no layer '-1'"),
        ("--style-layers", "\u00b2", "there is no layer '\u00b2'"),
        ("--style-layers", "1" * 5000, "there is no layer '1111"),
        ("--style-layers", "input", "there is no layer 'input'"),
        ("--style-layers", "conv1_1:0.5,conv2_1", "layers that all have a weight, or none"),
        ("--style-layers", "conv1_1:much", "layers with weights, like conv3_1:0.5,conv4_2:0.5, not 'conv1_1:much'"),
        ("--style-layers", "conv1_1:", "layers with weights"),
        ("--style-layers", "conv1_1:-1", "each weight of --style-layers must be a number of at least 0, not -1.0"),
        ("--style-layers", "conv1_1:nan", "each weight of --style-layers must be"),
        ("--style-layers", "conv1_1,1", "--style-layers must be layers that differ from each other"),
        ("--content-layers", "relu4_2,block4_conv2", "--content-layers must be layers that differ from each other"),
    ],
)
def test_an_option_refuses_in_one_line(option, text, message):
    with pytest.raises(SettingError) as caught:
        from_options({option: text})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


#: Index, Keras's name, the literature's names: the article's table of VGG-19, and Simonyan and Zisserman's names.
LAYER_NAMES = [
    (1, "block1_conv1", "conv1_1", "relu1_1"),
    (2, "block1_conv2", "conv1_2", "relu1_2"),
    (3, "block1_pool", "pool1"),
    (4, "block2_conv1", "conv2_1", "relu2_1"),
    (6, "block2_pool", "pool2"),
    (7, "block3_conv1", "conv3_1", "relu3_1"),
    (10, "block3_conv4", "conv3_4", "relu3_4"),
    (12, "block4_conv1", "conv4_1", "relu4_1"),
    (13, "block4_conv2", "conv4_2", "relu4_2"),
    (17, "block5_conv1", "conv5_1", "relu5_1"),
    (20, "block5_conv4", "conv5_4", "relu5_4"),
    (21, "block5_pool", "pool5"),
]


@pytest.mark.parametrize("names", LAYER_NAMES, ids=str)
def test_a_layer_has_several_names(names):
    for name in (*names, str(names[0])):
        assert Settings(content_layers=[name]).content_layer_weights == ((names[0], 1.0),)


@pytest.mark.parametrize(
    ("given", "layers"),
    [
        ("conv1_1", ((1, 1.0),)),
        ("conv3_1, 4", ((7, 0.5), (4, 0.5))),
        ("conv1_1:2,pool1:1e-3", ((1, 2.0), (3, 0.001))),
        (5, ((5, 1.0),)),
        ([1, "relu4_2"], ((1, 0.5), (13, 0.5))),
        ([(1, 2), ("block2_conv1", 0.5)], ((1, 2.0), (4, 0.5))),
        ((("conv1_1", None), (4, None)), ((1, 0.5), (4, 0.5))),
    ],
)
def test_layers_with_and_without_weights(given, layers):
    assert Settings(style_layers=given).style_layer_weights == layers
    assert Settings(content_layers=given).content_layer_weights == layers


@pytest.mark.parametrize("layers", [[], (), {}, 1.5, True, [True], [None], [[1, 2, 3]], [(1, "2")], [1, (4, 1)]])
def test_layers_of_a_wrong_type_are_refused(layers):
    with pytest.raises(SettingError, match="^STYLE_LAYERS|^each weight of STYLE_LAYERS"):
        Settings(style_layers=layers)


def test_layers_by_name_are_written_as_an_option_takes_them():
    field = OPTIONS["--style-layers"]
    value = Settings(style_layers="conv1_1:0.25,7:2").style_layers
    assert word_of(field, value) == "block1_conv1:0.25,block3_conv1:2"
    assert from_options({"--style-layers": word_of(field, value)}) == {"style_layers": value}


def test_the_articles_layers_hold_unless_others_are_named():
    assert Settings().content_layer_weights == ((13, 1.0),)
    assert Settings().style_layer_weights == ((1, 0.2), (4, 0.2), (7, 0.2), (12, 0.2), (17, 0.2))
    assert Settings().deepest_layer == 17
    assert Settings(style_layers="conv1_1").deepest_layer == 13
    assert Settings(content_layers="pool5").deepest_layer == 21


@pytest.mark.parametrize(
    ("constants", "name", "choice"),
    [
        ({"optimizer": "lbfgs", "learning_rate": 1}, "learning_rate", "the optimizer lbfgs"),
        ({"init": "content", "noise_ratio": 0.5}, "noise_ratio", "another init than noise"),
        ({"init": "a.jpg", "noise_ratio": 0.5}, "noise_ratio", "another init than noise"),
        ({"init": None, "noise_ratio": 0.5}, "noise_ratio", "another init than noise"),
        ({"size": (4, 3), "enlarge": True}, "enlarge", "a size W,H"),
        ({"size": (4, 3), "style_scale": 2}, "style_scale", "a size W,H"),
        ({"stages": "400:1", "iterations": 5}, "iterations", "stages"),
        ({"stages": "400:1", "start_size": 200}, "start_size", "stages"),
        ({"content_layers": "1", "content_layer_index": 4}, "content_layer_index", "content_layers"),
        (
            {"style_layers": "1", "style_layer_indices": [2], "style_layer_coefficients": [1]},
            "style_layer_indices",
            "style_layers",
        ),
        (
            {"style_layers": "1", "style_layer_coefficients": [1, 1, 1, 1, 1]},
            "style_layer_coefficients",
            "style_layers",
        ),
    ],
)
def test_what_has_no_effect_is_an_error_that_names_both(constants, name, choice):
    with pytest.raises(SettingError, match=f"^{name} has no effect with {choice}"):
        Settings(**constants)
    # A value that is given counts, even where it is the default.
    rest = {key: value for key, value in constants.items() if key != name and not key.startswith("style_layer_")}
    with pytest.raises(SettingError, match=f"^{name} has no effect with {choice}"):
        check_effects(Settings(**rest), [name])


def test_what_has_an_effect_is_no_error():
    check_effects(Settings(size=400), [field.name for field in dataclasses.fields(Settings)])
    check_effects(Settings(optimizer="lbfgs", init="style"), ["optimizer", "init", "seed", "alpha"])


@pytest.mark.parametrize("off", [{"alpha": 0, "beta": 0}, {"alpha": 0, "beta": 0, "tv_weight": 0}])
def test_a_run_needs_a_cost(off):
    with pytest.raises(SettingError, match="there would be no cost to train on"):
        Settings(**off)
    Settings(**{**off, "tv_weight": 1})


@pytest.mark.parametrize(
    "off",
    [
        {"alpha": 0, "style_layer_coefficients": [0] * 5},
        {"alpha": 0, "style_layers": "conv1_1:0,conv2_1:0"},
        {"beta": 0, "content_layers": "conv4_2:0"},
        {"content_layers": "conv4_2:0", "style_layer_coefficients": [0] * 5},
    ],
)
def test_a_run_needs_a_layer_that_counts(off):
    with pytest.raises(SettingError, match="there would be no cost to train on; give one of them a weight above 0"):
        Settings(**off)
    Settings(**off, tv_weight=1)
    Settings(**{**off, "alpha": 1, "content_layers": "conv4_2:1"})


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"iterations": 2**32}, "NUM_ITERATIONS must be at most 4294967295, not 4294967296"),
        ({"iterations": 10**5000}, "NUM_ITERATIONS must be at most 4294967295, not "),
        ({"seed": 10**5000}, "SEED must be a whole number from 0 to 4294967295, not "),
        ({"size": (10**5000, 3)}, "SIZE must be a whole number from 1 to 32766, not "),
        ({"alpha": 10**5000}, "ALPHA must be a number of at least 0, not "),
        ({"alpha": 1e39}, "ALPHA must be a number that float32 can hold, up to 3.403e\\+38, not 1e\\+39"),
        ({"vgg_imagenet_means": (0, -1e39, 0)}, "VGG_IMAGENET_MEANS must be a number that float32 can hold"),
    ],
)
def test_numbers_without_end(constants, message):
    with pytest.raises(SettingError, match=message) as caught:
        Settings(**constants)
    assert len(str(caught.value)) < 150
    Settings(iterations=2**32 - 1, alpha=3.4e38)


@pytest.mark.parametrize(
    ("size", "constants", "enough"),
    [
        # Four max pools before block5 halve 16 pixels to 1, and 15 to 0; average pools never leave nothing.
        ((16, 40), {"pooling": "max"}, True),
        ((15, 40), {"pooling": "max"}, False),
        ((40, 15), {"pooling": "max"}, False),
        ((1, 1), {"pooling": "avg"}, True),
        ((2, 2), {"pooling": "max", "content_layers": "pool1", "style_layers": "conv2_1"}, True),
        ((2, 1), {"pooling": "max", "content_layers": "pool1", "style_layers": "conv1_1"}, False),
        ((1, 1), {"pooling": "max", "content_layers": "conv1_2", "style_layers": "conv1_1"}, True),
        ((31, 99), {"pooling": "max", "content_layers": "pool5"}, False),
    ],
)
def test_a_picture_must_have_something_left_at_every_layer(size, constants, enough):
    settings = Settings(**constants)
    if enough:
        settings.check_layers(size)
    else:
        with pytest.raises(SettingError, match=f"a picture of {size[0]}x{size[1]} has nothing left at block"):
            settings.check_layers(size)


def test_a_seed_is_kept_or_drawn():
    assert Settings(seed=0).with_seed() == Settings(seed=0)
    drawn = {Settings(alpha=2).with_seed().seed for _ in range(4)}
    assert len(drawn) > 1
    assert all(isinstance(seed, int) and 0 <= seed < 2**32 for seed in drawn)
    assert dataclasses.replace(Settings(alpha=2).with_seed(), seed=None) == Settings(alpha=2)


def test_aliases_are_other_names_of_a_keyword():
    @takes_constants
    def run(**constants):
        return constants

    assert run(content_weight=1, style_weight=2, seed=3) == {"alpha": 1, "beta": 2, "seed": 3}
    for keywords in ({"content_weight": 1, "alpha": 1}, {"style_weight": 1, "beta": 2}):
        with pytest.raises(SettingError, match="is another name of (alpha|beta): give one of the two"):
            run(**keywords)
    with pytest.raises(SettingError, match="did you mean content_weight"):
        run(content_weigth=1)


def test_words_have_what_the_article_does_not_have_only_where_it_is_not_the_default():
    article = set(CONSTANTS)
    assert set(Settings().words()) == article
    changed = Settings(size=600, tv_weight=0.5, style_layers="conv1_1", pooling="max", enlarge=True).words()
    further = {name: word for name, word in changed.items() if name not in article}
    assert further == {"tv_weight": "0.5", "style_layers": "block1_conv1:1", "pooling": "max", "enlarge": "True"}
    assert changed["IMG_SIZE"] == "600"


@pytest.mark.parametrize("word", ["TV_WEIGHT=1", "tv_weight=1", "INIT=content", "POOLING=max", "ENLARGE=True"])
def test_the_articles_program_takes_the_articles_constants_alone(word):
    with pytest.raises(SettingError, match="there is no constant"):
        from_words([word], {})


@pytest.mark.parametrize("text", ["[" * 5000, "[" * 90 + "]" * 90, "(" * 99, "-" * 9000 + "1", "1," * 5000, "'" * 5000])
def test_what_is_nested_deeply_is_refused_and_python_prints_nothing(text, capfd):
    with pytest.raises(SettingError, match="SEED must be a whole number"):
        from_words(["SEED=" + text], {})
    assert capfd.readouterr() == ("", "")
