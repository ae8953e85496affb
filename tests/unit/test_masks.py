import cv2
import numpy as np
import pytest

from nst_graph import masks
from nst_graph.errors import PictureError, SettingError
from nst_graph.masks import feathered, layer_mask, read_mask, subject_mask
from tests import ROOT


def disc_on_blue(width, height, centre, radius):
    """A red disc on blue, both with noise, and where the disc is."""
    y, x = np.mgrid[0:height, 0:width]
    disc = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2
    noise = np.random.RandomState(0).randint(0, 40, (height, width, 3))
    return (np.where(disc[..., np.newaxis], (30, 30, 200), (200, 90, 40)) + noise).astype(np.uint8), disc


def overlap(found, truth):
    """Intersection over union."""
    return np.sum((found > 0) & truth) / np.sum((found > 0) | truth)


class TestReadMask:
    GREY = np.array([[0, 1, 127], [128, 254, 255]], np.uint8)

    def test_a_grey_file(self, tmp_path):
        path = tmp_path / "mask.png"
        cv2.imwrite(str(path), self.GREY)
        for name in (path, str(path)):
            mask = read_mask(name)
            assert mask.dtype == np.float32
            np.testing.assert_allclose(mask, self.GREY / 255.0, rtol=1e-6)
            assert mask[1, 2] == 1

    def test_a_file_with_16_bits(self, tmp_path):
        path = str(tmp_path / "mask.png")
        cv2.imwrite(path, self.GREY.astype(np.uint16) * 257)
        np.testing.assert_allclose(read_mask(path), self.GREY / 255.0, atol=1 / 255)

    def test_transparency_is_dropped(self, tmp_path):
        path = str(tmp_path / "mask.png")
        cv2.imwrite(path, cv2.merge([self.GREY, self.GREY, self.GREY, np.zeros_like(self.GREY)]))
        np.testing.assert_allclose(read_mask(path), self.GREY / 255.0, rtol=1e-6)

    def test_colour_counts_by_its_luminance(self, tmp_path):
        path = str(tmp_path / "mask.png")
        blue_green_red = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
        cv2.imwrite(path, blue_green_red)
        for mask in (blue_green_red, path):
            # ITU-R BT.601's weights, to half a grey level
            np.testing.assert_allclose(read_mask(mask), [[0.114, 0.587, 0.299]], atol=0.51 / 255)

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_floats_are_kept(self, dtype):
        floats = np.array([[0, 0.25, 1]], dtype)
        mask = read_mask(floats)
        assert mask.dtype == np.float32
        assert mask.tolist() == [[0, 0.25, 1]]

    def test_truth_values(self):
        assert read_mask(np.array([[True, False]])).tolist() == [[1, 0]]

    def test_a_grey_array(self):
        np.testing.assert_allclose(read_mask(self.GREY), self.GREY / 255.0, rtol=1e-6)

    def test_the_result_is_the_callers_own(self):
        floats = np.ones((2, 3), np.float32)
        read_mask(floats)[:] = 0
        assert floats.all()

    @pytest.mark.parametrize(
        ("mask", "message"),
        [
            (np.ones((2, 3), np.int64), "int64"),
            (np.ones((2, 3), np.complex64), "complex64"),
            (np.ones((2, 3, 3), np.float32), "float32"),
            (np.ones((2, 3, 4), np.uint8), r"\(2, 3, 4\)"),
            (np.ones((2, 3, 1), np.uint8), r"\(2, 3, 1\)"),
            (np.ones(3, np.float32), r"\(3,\)"),
            (np.ones((0, 3), np.float32), r"\(0, 3\)"),
            (np.ones((0, 3, 3), np.uint8), r"\(0, 3, 3\)"),
            (np.array([[0, 1.5]]), "0 to 1.5"),
            (np.array([[-0.5, 1]]), "-0.5 to 1"),
            (np.array([[np.nan, 1]]), "nan"),
            (np.array([[np.inf, 1]]), "inf"),
            (7, "a path or an array"),
            ([[0.0, 1.0]], "a path or an array"),
            ("no such file.png", "there is no picture"),
        ],
    )
    def test_refuses(self, mask, message):
        with pytest.raises(PictureError, match=message) as caught:
            read_mask(mask)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("mask", [np.zeros((2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3))])
    def test_refuses_a_mask_that_lets_nothing_through(self, mask, tmp_path):
        with pytest.raises(PictureError, match="black everywhere"):
            read_mask(mask)
        path = tmp_path / "black.png"
        cv2.imwrite(str(path), mask)
        with pytest.raises(PictureError, match=r"/black\.png' is black everywhere"):
            read_mask(path)


def averaging(before, after):
    """The matrix (after, before) that averages along a side that gets smaller: shares of overlap."""
    edges = np.arange(after + 1) * before / after
    left, right = np.maximum(edges[:-1, None], np.arange(before)), np.minimum(edges[1:, None], np.arange(before) + 1)
    return np.maximum(right - left, 0) * after / before


def interpolating(before, after):
    """The matrix (after, before) of linear interpolation between the centres of pixels."""
    centres = (np.arange(after) + 0.5) * before / after - 0.5
    return np.array([np.interp(centres, np.arange(before), row) for row in np.eye(before)]).T


def resampling(before, after):
    return averaging(before, after) if after < before else interpolating(before, after)


class TestLayerMask:
    @pytest.mark.parametrize(
        "size",
        [(10, 6), (5, 3), (7, 4), (3, 5), (1, 1), (20, 12), (33, 19), (10, 9), (20, 4), (3, 11), (10, 3)],
    )
    def test_averages_where_smaller_and_interpolates_where_larger(self, size):
        mask = np.random.RandomState(0).uniform(0, 1, (6, 10)).astype(np.float32)
        stretched = layer_mask(mask, size)
        assert stretched.dtype == np.float32
        assert stretched.shape == size[::-1]
        expected = resampling(6, size[1]) @ mask.astype(np.float64) @ resampling(10, size[0]).T
        # OpenCV keeps the weights of linear interpolation in float32.
        np.testing.assert_allclose(stretched, expected, atol=2e-6)

    @pytest.mark.parametrize("shape", [(37, 53), (300, 400), (1, 1)])
    def test_ones_stay_ones_exactly(self, shape):
        for size in [(10, 7), (25, 30), (80, 60), (80, 20), (53, 37), (26, 18), (1, 1)]:
            assert (layer_mask(np.ones(shape, np.float32), size) == 1).all()

    @pytest.mark.parametrize("value", [1, 1e-3, 1e-45])
    def test_what_lets_something_through_still_does(self, value):
        for row, column in [(0, 0), (16, 22), (36, 52)]:
            mask = np.zeros((37, 53), np.float32)
            mask[row, column] = value
            assert mask.any()
            for size in [(1, 1), (7, 5), (52, 36), (53, 37), (54, 38), (100, 5), (5, 100)]:
                stretched = layer_mask(mask, size)
                assert stretched.any() and stretched.min() >= 0 and stretched.max() <= 1

    def test_zeros_stay_zeros(self):
        assert not layer_mask(np.zeros((5, 7), np.float32), (3, 9)).any()


class TestSubjectMask:
    def test_finds_a_disc(self):
        picture, disc = disc_on_blue(60, 44, (28, 21), 13)
        found = subject_mask(picture, (10, 4, 36, 35))
        assert found.dtype == np.uint8
        assert found.shape == (44, 60)
        assert set(np.unique(found)) == {0, 255}
        assert overlap(found, disc) > 0.98

    def test_a_subject_that_goes_on_beyond_the_picture(self, tmp_path):
        picture, disc = disc_on_blue(60, 44, (5, 21), 18)
        path = tmp_path / "picture.png"
        cv2.imwrite(str(path), picture)
        assert overlap(subject_mask(path, (0, 0, 30, 44)), disc) > 0.98

    def test_the_same_mask_each_time(self):
        # With this rectangle and one iteration, the mask depends on the random numbers that GrabCut starts with.
        picture = cv2.resize(cv2.imread(str(ROOT / "input" / "cat.jpg")), (80, 60), interpolation=cv2.INTER_AREA)
        found = []
        for seed in range(4):
            cv2.setRNGSeed(seed)
            found.append(subject_mask(picture, (0, 0, 68, 60), 1).tolist())
        assert found[1:] == found[:-1]

    def test_the_number_of_iterations_is_passed_on(self, monkeypatch):
        asked = []
        monkeypatch.setattr(cv2, "grabCut", lambda picture, labels, *others: asked.append(others[-2]))
        for iterations in (1, 7):
            subject_mask(np.zeros((9, 9, 3), np.uint8), (2, 2, 4, 4), iterations)
        assert asked == [1, 7]

    def test_a_large_picture_is_made_smaller_and_the_outline_smooth(self, monkeypatch):
        picture, disc = disc_on_blue(240, 180, (110, 90), 60)
        grab_cut, sizes = cv2.grabCut, []

        def watched(picture, labels, *others):
            sizes.append((picture.shape, labels.shape))
            grab_cut(picture, labels, *others)
            blocks.append(np.kron(labels & 1, np.ones((6, 6))))

        blocks = []
        monkeypatch.setattr(masks, "_WORKING_SIDE", 40)
        monkeypatch.setattr(cv2, "grabCut", watched)
        found = subject_mask(picture, (31, 20, 160, 145))
        assert sizes == [((30, 40, 3), (30, 40))]
        assert found.shape == (180, 240)
        assert set(np.unique(found)) == {0, 255}
        assert not found[:, :31].any() and not found[:, 191:].any() and not found[:20].any() and not found[165:].any()
        # As steps of 6x6 pixels, the same outline is further from the disc's.
        assert overlap(found, disc) > max(0.96, overlap(blocks[0], disc))

    @pytest.mark.parametrize("rectangle", [(0, 0, 1500, 2), (0, 1, 1500, 2), (10, 0, 2, 3), (1, 0, 1499, 3)])
    def test_a_rectangle_that_a_smaller_picture_can_hardly_hold(self, rectangle):
        x, y, across, down = rectangle
        picture = np.full((3, 1500, 3), (200, 0, 0), np.uint8)
        picture[y : y + down, x : x + across] = (0, 0, 200)
        inside = np.zeros((3, 1500), bool)
        inside[y : y + down, x : x + across] = True
        found = subject_mask(picture, rectangle)
        assert found.any() and not found[~inside].any()

    @pytest.mark.parametrize("upright", [False, True])
    def test_a_rectangle_that_covers_all_rows_of_a_smaller_picture_alike(self, monkeypatch, upright):
        # Two rows (or columns), each 4/5 inside: no pixel would be background.
        monkeypatch.setattr(masks, "_WORKING_SIDE", 20)
        picture = np.full((10, 100, 3), (200, 0, 0), np.uint8)
        picture[1:9] = (0, 0, 200)
        if upright:
            found = subject_mask(np.transpose(picture, (1, 0, 2)).copy(), (1, 0, 8, 100)).T
        else:
            found = subject_mask(picture, (0, 1, 100, 8))
        assert found[5].all() and not found[0].any() and not found[9].any()

    @pytest.mark.parametrize("rectangle", [(3, 3, 2, 2), (1, 2, 8, 7)])
    def test_one_colour_has_no_subject(self, rectangle):
        with pytest.raises(PictureError, match=r"no subject in the rectangle \d,\d,\d,\d; try another") as caught:
            subject_mask(np.full((10, 10, 3), 77, np.uint8), rectangle)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("rectangle", "message"),
        [
            ((0, 0, 12, 10), "0,0,12,10 is the whole picture"),
            ((0, 0, 1, 5), "at least 2 pixels wide"),
            ((0, 0, 5, 1), "at least 2 pixels wide"),
            ((0, 0, -5, -5), "at least 2 pixels wide"),
            ((-1, 0, 5, 5), "inside the picture, which is 12x10"),
            ((0, -1, 5, 5), "inside the picture"),
            ((8, 0, 5, 5), "inside the picture"),
            ((0, 6, 5, 5), "inside the picture"),
            ((0, 0, 5), "four whole numbers"),
            ((0, 0, 5, 5, 5), "four whole numbers"),
            ((0, 0, 5, 5.0), "four whole numbers"),
            ((0, 0, 5, True), "four whole numbers"),
            (7, "four whole numbers"),
            (None, "four whole numbers"),
        ],
    )
    def test_refuses_a_rectangle(self, rectangle, message):
        with pytest.raises(SettingError, match=message) as caught:
            subject_mask(np.zeros((10, 12, 3), np.uint8), rectangle)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("iterations", [0, -1, 2.0, "5", None, True])
    def test_refuses_a_number_of_iterations(self, iterations):
        with pytest.raises(SettingError, match="iterations must be a whole number of at least 1"):
            subject_mask(np.zeros((10, 12, 3), np.uint8), (2, 2, 4, 4), iterations)

    def test_refuses_what_is_no_picture(self):
        with pytest.raises(PictureError, match="float64"):
            subject_mask(np.zeros((10, 12, 3)), (2, 2, 4, 4))


class TestFeathered:
    EDGE = np.repeat(np.array([[0] * 30 + [255] * 30], np.uint8), 20, axis=0)

    @pytest.mark.parametrize("radius", [1, 2, 5, 12])
    def test_an_edge_gets_soft_by_the_radius_on_each_side(self, radius):
        soft = feathered(self.EDGE, radius)
        assert soft.dtype == np.uint8
        steps = np.arange(-radius, radius + 1)
        weights = np.exp(-0.5 * (steps / (radius / 2)) ** 2)
        expected = np.convolve(
            np.r_[np.zeros(30 + radius), np.full(30 + radius, 255)], weights / weights.sum(), "valid"
        )
        np.testing.assert_allclose(soft, np.repeat(expected[np.newaxis], 20, axis=0), atol=1.5)
        assert not soft[:, : 30 - radius].any() and (soft[:, 30 + radius :] == 255).all()

    def test_0_changes_nothing_and_gives_a_copy(self):
        mask = self.EDGE.copy()
        soft = feathered(mask, 0)
        np.testing.assert_array_equal(soft, mask)
        soft[:] = 7
        np.testing.assert_array_equal(mask, self.EDGE)

    def test_the_callers_mask_stays(self):
        mask = self.EDGE.copy()
        feathered(mask, 3)
        np.testing.assert_array_equal(mask, self.EDGE)

    @pytest.mark.parametrize("value", [0, 255])
    def test_the_pictures_border_is_no_edge(self, value):
        assert (feathered(np.full((9, 13), value, np.uint8), 20) == value).all()

    def test_a_speck_fades(self):
        mask = np.full((40, 40), 255, np.uint8)
        mask[20:22, 20:22] = 0
        assert feathered(mask, 8).min() > 0.9 * 255

    @pytest.mark.parametrize("radius", [-1, 1.5, "2", None, True])
    def test_refuses_a_radius(self, radius):
        with pytest.raises(SettingError, match="radius of a soft edge must be a whole number of at least 0"):
            feathered(self.EDGE, radius)
