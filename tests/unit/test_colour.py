import cv2
import numpy as np
import pytest

from nst_graph.colour import with_chroma_of, with_statistics_of
from nst_graph.errors import PictureError
from tests import ROOT


def noise(seed, shape=(40, 50, 3)):
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def cat():
    return cv2.imread(str(ROOT / "input" / "cat.jpg"))


def starry_night():
    return cv2.imread(str(ROOT / "input" / "starry_night.jpg"))


def ycc(picture):
    """Y, Cb and Cr of ITU-R BT.601, full range (as in JFIF), without the offset of 128."""
    blue, green, red = np.moveaxis(picture.astype(np.float64), -1, 0)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    return y, (blue - y) / 1.772, (red - y) / 1.402


class TestWithChromaOf:
    @pytest.mark.parametrize(
        ("picture", "content"),
        [(noise(0), noise(1)), (starry_night()[:300, :400], cat()), (cat(), starry_night()[:300, :400])],
    )
    def test_chroma_is_the_contents_and_luminance_the_nearest_that_fits(self, picture, content):
        before = picture.copy(), content.copy()
        result = with_chroma_of(picture, content)
        assert result.dtype == np.uint8
        assert result.shape == content.shape
        (y, cb, cr), (wanted, _, _), (_, content_cb, content_cr) = ycc(result), ycc(picture), ycc(content)
        np.testing.assert_allclose(cb, content_cb, atol=1e-9)
        np.testing.assert_allclose(cr, content_cr, atol=1e-9)
        # The luminances at which this chroma gives channels from 0 to 255: a channel is Y plus a number.
        others = content - ycc(content)[0][..., np.newaxis]
        nearest = np.clip(wanted, -others.min(axis=2), 255 - others.max(axis=2))
        assert np.abs(y - nearest).max() <= 0.5 + 1e-9
        assert (np.abs(nearest - wanted) > 1).any()  # some pixels had to give way
        np.testing.assert_array_equal(picture, before[0])
        np.testing.assert_array_equal(content, before[1])

    def test_a_picture_with_its_own_chroma_is_itself(self):
        np.testing.assert_array_equal(with_chroma_of(noise(0), noise(0)), noise(0))

    def test_grey_content_leaves_the_luminance(self):
        picture = noise(0)
        result = with_chroma_of(picture, np.full_like(picture, 90))
        assert (result == result[..., :1]).all()
        np.testing.assert_allclose(result[..., 0], ycc(picture)[0], atol=0.5 + 1e-9)

    def test_pure_colours_fit_at_one_luminance_only(self):
        pure = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]]], np.uint8)
        for grey in (0, 130, 255):
            np.testing.assert_array_equal(with_chroma_of(np.full_like(pure, grey), pure), pure)

    def test_rounds_to_the_nearest(self):
        # Luminances of the pictures: 100 + 0.114 * 4 = 100.456, and 100 + 0.114 * 5 = 100.57.
        content = np.full((1, 2, 3), 20, np.uint8)
        picture = np.array([[[104, 100, 100], [105, 100, 100]]], np.uint8)
        assert with_chroma_of(picture, content).tolist() == [[[100] * 3, [101] * 3]]

    @pytest.mark.parametrize(
        ("picture", "content", "message"),
        [
            (noise(0), noise(0, (40, 51, 3)), "picture is 50x40 and the content 51x40"),
            (noise(0), noise(0).astype(np.float32), "float32"),
            (noise(0).astype(np.float32), noise(0), "float32"),
            (noise(0)[..., 0], noise(0)[..., 0], "uint8"),
        ],
    )
    def test_refuses(self, picture, content, message):
        with pytest.raises(PictureError, match=message) as caught:
            with_chroma_of(picture, content)
        assert "\n" not in str(caught.value)


def mean_and_covariance(picture):
    colours = picture.reshape(-1, 3).astype(np.float64)
    return colours.mean(axis=0), np.cov(colours, rowvar=False, bias=True)


def root(matrix):
    """Square root of a symmetric positive definite matrix, by Denman and Beavers' iteration."""
    y, z = matrix, np.eye(3)
    for _ in range(60):
        y, z = (y + np.linalg.inv(z)) / 2, (z + np.linalg.inv(y)) / 2
    return y


class TestWithStatisticsOf:
    @pytest.mark.parametrize(
        ("style", "content"),
        [
            (starry_night(), cat()),
            (cat(), starry_night()),
            (noise(0), cat()),
            (cat(), noise(0, (7, 9, 3))),
            (starry_night().astype(np.float32) * 0.7, cat()),
        ],
    )
    def test_mean_and_covariance_become_the_contents(self, style, content):
        before = style.copy(), content.copy()
        result = with_statistics_of(style, content)
        assert result.dtype == np.float32
        assert result.shape == style.shape
        for ours, theirs in zip(mean_and_covariance(result), mean_and_covariance(content)):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4)
        np.testing.assert_array_equal(style, before[0])
        np.testing.assert_array_equal(content, before[1])

    def test_the_symmetric_form(self):
        # Other matrices give this covariance too, Cholesky's factors for example.
        style, content = starry_night(), cat()
        (style_mean, style_covariance), (mean, covariance) = mean_and_covariance(style), mean_and_covariance(content)
        matrix = root(covariance) @ np.linalg.inv(root(style_covariance))
        expected = (style.reshape(-1, 3) - style_mean) @ matrix.T + mean
        np.testing.assert_allclose(with_statistics_of(style, content).reshape(-1, 3), expected, atol=1e-3)

    def test_is_neither_clipped_nor_rounded(self):
        result = with_statistics_of(starry_night(), noise(0))
        assert result.min() < -1 and result.max() > 256
        assert np.abs(result - np.round(result)).max() > 0.4

    def test_a_style_with_the_contents_statistics_is_itself(self):
        np.testing.assert_allclose(with_statistics_of(cat(), cat()), cat(), atol=1e-3)

    @pytest.mark.parametrize("style", [np.full((5, 6, 3), (10, 20, 30), np.uint8), np.full((1, 1, 3), 9, np.uint8)])
    def test_a_style_of_one_colour_becomes_the_contents_mean(self, style):
        mean, _ = mean_and_covariance(cat())
        np.testing.assert_allclose(with_statistics_of(style, cat()), np.broadcast_to(mean, style.shape), rtol=1e-6)

    @pytest.mark.parametrize("content", [np.full((5, 6, 3), (10, 20, 30), np.uint8), np.full((1, 1, 3), 9, np.uint8)])
    def test_content_of_one_colour_leaves_that_colour(self, content):
        result = with_statistics_of(starry_night(), content)
        np.testing.assert_allclose(result, np.broadcast_to(content[0, 0], result.shape), atol=1e-5)

    def test_a_grey_style(self):
        grey = np.repeat(cv2.cvtColor(starry_night(), cv2.COLOR_BGR2GRAY)[..., np.newaxis], 3, axis=2)
        mean, covariance = mean_and_covariance(cat())
        # Only the direction (1, 1, 1) varies, with 3 times the variance of a channel along its unit vector.
        lightness = grey[..., 0].ravel() - grey[..., 0].mean()
        expected = np.outer(lightness / np.sqrt(3 * lightness.var()), root(covariance) @ np.ones(3)) + mean
        np.testing.assert_allclose(with_statistics_of(grey, cat()).reshape(-1, 3), expected, atol=1e-3)

    def test_noise_in_a_grey_style_is_not_scaled_up_to_the_contents_colours(self):
        grey = np.repeat(noise(0)[..., :1], 3, axis=2).astype(np.float32)
        noisy = grey + np.random.RandomState(1).normal(0, 0.01, grey.shape).astype(np.float32)
        np.testing.assert_allclose(with_statistics_of(noisy, cat()), with_statistics_of(grey, cat()), atol=5)

    def test_grey_content_makes_the_style_grey(self):
        grey = np.repeat(noise(0)[..., :1], 3, axis=2)
        result = with_statistics_of(starry_night(), grey)
        np.testing.assert_allclose(result, np.repeat(result[..., :1], 3, axis=2), atol=1e-3)
        for ours, theirs in zip(mean_and_covariance(result), mean_and_covariance(grey)):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4)

    @pytest.mark.parametrize(
        ("style", "content", "message"),
        [
            (noise(0)[..., 0], noise(0), "uint8"),
            (noise(0).astype(np.float64), noise(0), "float64"),
            (noise(0)[..., 0].astype(np.float32), noise(0), "float32"),
            (np.zeros((0, 5, 3), np.float32), noise(0), "float32"),
            (np.full((4, 5, 3), np.nan, np.float32), noise(0), "finite"),
            (np.full((4, 5, 3), np.inf, np.float32), noise(0), "finite"),
            (noise(0), noise(0).astype(np.float32), "float32"),
        ],
    )
    def test_refuses(self, style, content, message):
        with pytest.raises(PictureError, match=message) as caught:
            with_statistics_of(style, content)
        assert "\n" not in str(caught.value)
