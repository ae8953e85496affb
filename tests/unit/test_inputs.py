"""The pictures of a run, without TensorFlow."""

import hashlib
import os

import cv2
import numpy as np
import pytest

import nst_graph
from nst_graph.errors import PictureError, SettingError
from nst_graph.inputs import Style, read_inputs, style_from_word


@pytest.fixture
def picture():
    return np.random.RandomState(0).randint(0, 256, (6, 8, 3)).astype(np.uint8)


@pytest.fixture
def file(tmp_path, picture):
    path = str(tmp_path / "a.png")
    assert cv2.imwrite(path, picture)
    return path


def sha256(path):
    with open(path, "rb") as opened:
        return hashlib.sha256(opened.read()).hexdigest()


def test_the_package_has_the_name():
    assert nst_graph.Style is Style


def test_a_file_is_read_once_and_known_by_its_sha256(file, picture):
    inputs = read_inputs(file, file)
    np.testing.assert_array_equal(inputs.content.pixels, picture)
    assert (inputs.content.path, inputs.content.sha256) == (file, sha256(file))
    with open(file, "rb") as opened:
        assert inputs.content.data == opened.read()
    assert inputs.styles[0].sha256 == sha256(file)
    assert inputs.weights == inputs.shares == (1.0,)
    assert inputs.masks == (None,) and inputs.init is None and inputs.masked_styles == 0


def test_a_path_may_be_a_path_object(tmp_path, file):
    inputs = read_inputs(tmp_path / "a.png", Style(tmp_path / "a.png", mask=tmp_path / "a.png"), tmp_path / "a.png")
    for source in (inputs.content, inputs.styles[0], inputs.masks[0], inputs.init):
        assert source.path == file and source.sha256 == sha256(file)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_will_do(tmp_path, file, picture):
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    pid = os.fork()
    if pid == 0:  # no thread: OpenCV is not asked for anything in this process
        with open(file, "rb") as one, open(pipe, "wb") as other:
            other.write(one.read())
        os._exit(0)
    inputs = read_inputs(pipe, picture)
    os.waitpid(pid, 0)
    np.testing.assert_array_equal(inputs.content.pixels, picture)
    assert inputs.content.sha256 == sha256(file)


def test_an_array_is_known_by_shape_and_content(picture):
    one = read_inputs(picture, picture).content
    assert one.path is None and one.data == b"" and one.pixels is picture
    assert read_inputs(picture.copy(), picture).content.sha256 == one.sha256
    assert read_inputs(np.asfortranarray(picture), picture).content.sha256 == one.sha256
    turned = picture.reshape((8, 6, 3))  # the same bytes
    assert read_inputs(turned, picture).content.sha256 != one.sha256
    other = picture.copy()
    other[0, 0, 0] ^= 1
    assert read_inputs(other, picture).content.sha256 != one.sha256


@pytest.mark.parametrize("many", [list, tuple])
def test_styles_may_be_given_in_any_form(many, file, picture):
    mask = np.full((2, 3), 255, np.uint8)
    inputs = read_inputs(picture, many([file, Style(picture, 3), Style(file, 0.5, mask)]))
    assert [style.path for style in inputs.styles] == [file, None, file]
    assert inputs.weights == (1.0, 3.0, 0.5)
    assert inputs.shares == pytest.approx((1 / 4.5, 3 / 4.5, 0.5 / 4.5))
    assert inputs.masks[:2] == (None, None)
    assert inputs.masked_styles == 3


def test_a_style_alone_needs_no_list(picture):
    inputs = read_inputs(picture, Style(picture, 2))
    assert inputs.weights == (2.0,) and inputs.shares == (1.0,)


def test_a_mask_is_grey_from_0_to_1(tmp_path, picture):
    path = str(tmp_path / "mask.png")
    cv2.imwrite(path, np.array([[0, 51, 255]], np.uint8))
    for mask in (path, np.array([[0, 51, 255]], np.uint8), np.array([[0, 0.2, 1]], np.float32)):
        (source,) = read_inputs(picture, Style(picture, mask=mask)).masks
        assert source.pixels.dtype == np.float32
        np.testing.assert_allclose(source.pixels, [[0, 0.2, 1]], atol=1e-6)
    assert read_inputs(picture, Style(picture, mask=path)).masks[0].sha256 == sha256(path)


@pytest.mark.parametrize("styles", [[], ()])
def test_a_run_without_a_style_is_refused(picture, styles):
    with pytest.raises(SettingError, match="at least one style"):
        read_inputs(picture, styles)


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), "2", None, [1]])
def test_a_weight_must_be_above_0(picture, weight):
    with pytest.raises(SettingError, match="the weight of style 2 must be a number above 0, not ") as caught:
        read_inputs(picture, [picture, Style(picture, weight)])
    assert "\n" not in str(caught.value)


def test_weights_of_numpys_types_are_numbers(picture):
    styles = [Style(picture, np.float32(0.25)), Style(picture, np.int64(3)), Style(picture, np.float64(2))]
    assert read_inputs(picture, styles).weights == (0.25, 3.0, 2.0)


def test_weights_without_a_finite_sum_are_refused(picture):
    with pytest.raises(SettingError, match="the weight"):
        read_inputs(picture, [Style(picture, 1e308), Style(picture, 1e308)])
    shares = read_inputs(picture, [Style(picture, 1e100), Style(picture, 1e100), Style(picture, 1e-300)]).shares
    assert shares == pytest.approx((0.5, 0.5, 0.0))


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("content", "missing.png"),
        ("style", "missing.png"),
        ("mask", "missing.png"),
        ("init", "missing.png"),
        ("content", "text.png"),
        ("style", "text.png"),
        ("mask", "text.png"),
        ("init", "text.png"),
        ("mask", "black.png"),
        ("content", "nul\0.png"),
        ("style", "nul\0.png"),
        ("content", "\ud800.png"),
    ],
)
def test_a_file_that_is_no_picture_is_one_line_that_names_it(tmp_path, picture, place, what):
    (tmp_path / "text.png").write_text("no picture")
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((4, 4, 3), np.uint8))
    path = str(tmp_path / what)
    pictures = {name: path if name == place else picture for name in ("content", "style")}
    mask, init = (path if name == place else None for name in ("mask", "init"))
    with pytest.raises(PictureError) as caught:
        read_inputs(pictures["content"], [picture, Style(pictures["style"], mask=mask)], init)
    assert repr(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_an_array_that_is_no_picture_is_refused(picture, array):
    for content, style in ((array, picture), (picture, array), (picture, Style(array))):
        with pytest.raises(PictureError, match="must be uint8"):
            read_inputs(content, style)


@pytest.mark.parametrize(
    ("word", "style"),
    [
        ("a.png", Style("a.png", 3.0)),
        ("a.png:2", Style("a.png", 2.0)),
        ("c:/a.png", Style("c:/a.png", 3.0)),
        ("c:/a.png:0.5", Style("c:/a.png", 0.5)),
        (":2", Style(":2", 3.0)),
        ("there:2", Style("there:2", 3.0)),
        ("there:2:4", Style("there:2", 4.0)),
    ],
)
def test_a_word_names_a_style_and_its_weight(word, style, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there:2").write_bytes(b"")
    assert style_from_word(word, 3.0) == style
