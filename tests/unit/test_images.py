import os
import stat

import cv2
import numpy as np
import pytest

from nst_graph import console
from nst_graph.errors import OutputError, PictureError
from nst_graph.images import (
    check_output,
    create_noisy_img,
    deprocess,
    encoded,
    load_img,
    preprocess,
    read_picture,
    save_img,
    write_picture,
)
from tests import ROOT

MEANS = np.array([103.939, 116.779, 123.68]).reshape((1, 1, 3))


@pytest.fixture
def picture():
    """Smooth, so that lossy formats keep it, and different in each channel."""
    y, x = np.mgrid[0:30, 0:40]
    return np.stack([3 * x, 5 * y, 255 - 2 * x - 3 * y], axis=-1).astype(np.uint8)


def write(path, data):
    path.write_bytes(data)
    return str(path)


class TestLoadImg:
    def test_takes_the_means_off_in_blue_green_red_order(self, tmp_path):
        path = str(tmp_path / "one_color.png")
        cv2.imwrite(path, np.full((4, 6, 3), (200, 150, 100), np.uint8))
        img = load_img(path, (6, 4), MEANS)
        assert img.dtype == np.float32
        assert img.shape == (1, 4, 6, 3)
        # 200 - 103.939, 150 - 116.779, 100 - 123.68, to float32's last place
        np.testing.assert_allclose(img[0, 0, 0], [96.061, 33.221, -23.68], rtol=1e-6)

    def test_resizes_to_width_and_height_with_bicubic_weights(self):
        # A black and white edge, doubled: Keys' kernel with a = -0.75, OpenCV's, at the offsets -1/4 and 1/4.
        edge = np.zeros((1, 8, 3), np.uint8)
        edge[:, 4:] = 100
        doubled = preprocess(edge, (16, 1), np.zeros((1, 1, 3)))[0, 0, :, 0]

        def keys(t, a=-0.75):
            t = abs(t)
            if t <= 1:
                return (a + 2) * t**3 - (a + 3) * t**2 + 1
            return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0

        source = (np.arange(16) + 0.5) / 2 - 0.5
        expected = [sum(100 * keys(x - at) for at in range(4, 12)) for x in source]
        # OpenCV rounds to whole numbers and clips; its fixed-point kernel is good to less than one.
        np.testing.assert_allclose(doubled, np.clip(expected, 0, 255), atol=1)
        assert doubled.max() > 100  # overshoots, which linear interpolation never does

    def test_leaves_an_array_as_it_is(self, picture):
        before = picture.copy()
        preprocess(read_picture(picture), (10, 10), MEANS)
        np.testing.assert_array_equal(picture, before)


class TestReadPicture:
    def test_grayscale_becomes_three_equal_channels(self, tmp_path, picture):
        path = str(tmp_path / "gray.png")
        cv2.imwrite(path, picture[:, :, 0])
        np.testing.assert_array_equal(read_picture(path), np.repeat(picture[:, :, :1], 3, axis=2))

    def test_alpha_is_dropped(self, tmp_path, picture):
        path = str(tmp_path / "alpha.png")
        cv2.imwrite(path, np.dstack([picture, np.full((30, 40), 128, np.uint8)]))
        np.testing.assert_array_equal(read_picture(path), picture)

    def test_sixteen_bits_become_eight(self, tmp_path, picture):
        path = str(tmp_path / "deep.png")
        cv2.imwrite(path, picture.astype(np.uint16) * 257)
        np.testing.assert_allclose(read_picture(path), picture, atol=1)

    def test_exif_rotation_is_applied(self, tmp_path, picture):
        # Orientation 6 (Exif 2.32, tag 0x0112): the row 0 of the stored picture is the right side of the real one.
        exif = b"Exif\0\0II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + b"\0\0\0\0"
        jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
        segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
        path = write(tmp_path / "rotated.jpg", jpeg[:2] + segment + jpeg[2:])
        upright = read_picture(path)
        assert upright.shape == (40, 30, 3)
        np.testing.assert_allclose(upright.astype(int), np.rot90(picture, -1).astype(int), atol=12)

    def test_path_object(self):
        assert read_picture(ROOT / "input" / "cat.jpg").shape == (300, 400, 3)

    @pytest.mark.parametrize("extension", ["jpg", "png", "bmp", "tiff", "webp"])
    @pytest.mark.parametrize("kept", [0.02, 0.5, 0.99])
    def test_refuses_a_file_cut_short(self, tmp_path, extension, kept, capfd, monkeypatch):
        monkeypatch.setattr(console, "_ours", True)
        data = cv2.imencode("." + extension, cv2.imread(str(ROOT / "input" / "cat.jpg")))[1].tobytes()
        path = write(tmp_path / ("cut." + extension), data[: int(len(data) * kept)])
        with pytest.raises(PictureError, match="damaged or not a picture"):
            read_picture(path)
        assert capfd.readouterr() == ("", "")  # the codecs' own complaints are not shown by a program of ours

    @pytest.mark.parametrize("ours", [False, True])
    def test_a_hosts_standard_error_is_left_alone(self, tmp_path, monkeypatch, ours):
        monkeypatch.setattr(console, "_ours", ours)
        seen = []

        def decode(*arguments):
            seen.append(os.path.sameopenfile(2, before))
            raise cv2.error

        def encode(*arguments):
            seen.append(os.path.sameopenfile(2, before))
            return False, None

        path = str(tmp_path / "x.jpg")
        cv2.imwrite(path, np.zeros((1, 1, 3), np.uint8))
        monkeypatch.setattr(cv2, "imdecode", decode)
        monkeypatch.setattr(cv2, "imencode", encode)
        before = os.dup(2)
        try:
            with pytest.raises(PictureError, match="damaged"):
                read_picture(path)
            with pytest.raises(OutputError):
                encoded(np.zeros((1, 1, 3), np.uint8), "x.jpg")
            assert os.path.sameopenfile(2, before)
        finally:
            os.close(before)
        assert seen == [not ours] * 2

    def test_a_cut_jpeg_with_a_whole_thumbnail_is_still_cut(self, tmp_path):
        data = (ROOT / "input" / "cat.jpg").read_bytes()
        thumbnail = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
        segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
        path = write(tmp_path / "cut.jpg", data[:2] + segment + data[2:-2000])
        with pytest.raises(PictureError, match="damaged"):
            read_picture(path)

    def test_a_progressive_jpeg_and_one_with_bytes_behind_it_are_whole(self, tmp_path, picture):
        progressive = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
        restarts = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1].tobytes()
        for data in (progressive, restarts, progressive + b"\xff\xda trailer"):
            assert read_picture(write(tmp_path / "whole.jpg", data)).shape == (30, 40, 3)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda folder: str(folder / "missing.jpg"), "there is no picture"),
            (lambda folder: str(folder), "is a folder"),
            (lambda folder: write(folder / "empty.jpg", b""), "is empty"),
            (lambda folder: write(folder / "text.jpg", b"not a picture " * 99), "not a picture"),
            (lambda folder: write(folder / "bare.jpg", b"\xff\xd8"), "damaged"),
            (lambda folder: 7, "a path or an array"),
            (lambda folder: np.zeros((3, 4, 3), np.float32), "uint8"),
            (lambda folder: np.zeros((3, 4), np.uint8), "uint8"),
            (lambda folder: np.zeros((0, 4, 3), np.uint8), "uint8"),
        ],
    )
    def test_refuses(self, tmp_path, make, message):
        with pytest.raises(PictureError, match=message) as caught:
            read_picture(make(tmp_path))
        assert "\n" not in str(caught.value)


class TestSaveImg:
    def test_cuts_the_fraction_off_and_clips(self):
        img = np.array([[[-200.0, 0.96, 200.0]]], np.float32)
        means = np.array([103.939, 100.0, 123.68]).reshape((1, 1, 3))
        assert deprocess(img, means).tolist() == [[[0, 100, 255]]]

    def test_adds_the_means_in_float32_as_the_article_does(self):
        # 0.0610005 + 103.939 is 104 - 2.4e-9 in float64 but 104 in float32.
        img = np.array([[[np.float32(104) - np.float32(103.939)] * 3]], np.float32)
        means = np.full((1, 1, 3), 103.939)
        exact = img.astype(np.float64) + means
        assert (np.floor(exact) == 103).all()
        assert deprocess(img, means).tolist() == [[[104, 104, 104]]]

    def test_leaves_the_callers_array_as_it_is(self, tmp_path):
        img = np.zeros((3, 4, 3), np.float32)
        save_img(img, str(tmp_path / "x.png"), MEANS)
        assert not img.any()

    def test_round_trip_without_loss(self, tmp_path, picture):
        path = str(tmp_path / "x.png")
        write_picture(picture, path)
        save_img(load_img(path, (40, 30), MEANS)[0], path, MEANS)
        np.testing.assert_allclose(cv2.imread(path).astype(int), picture.astype(int), atol=1)

    @pytest.mark.parametrize("extension", ["jpg", "png"])
    def test_writes_the_bytes_that_imwrite_does(self, tmp_path, picture, extension):
        ours, theirs = (tmp_path / (name + "." + extension) for name in ("ours", "theirs"))
        write_picture(picture, str(ours))
        cv2.imwrite(str(theirs), picture)
        assert ours.read_bytes() == theirs.read_bytes()

    def test_a_failed_write_leaves_the_old_picture_and_no_rubbish(self, tmp_path, picture, monkeypatch):
        path = write(tmp_path / "x.png", b"old")

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(OutputError, match="No space left"):
            write_picture(picture, path)
        assert (tmp_path / "x.png").read_bytes() == b"old"
        assert os.listdir(str(tmp_path)) == ["x.png"]

    def test_keeps_the_mode_of_the_file_and_the_link_to_it(self, tmp_path, picture):
        path = tmp_path / "x.png"
        path.write_bytes(b"old")
        path.chmod(0o640)
        (tmp_path / "link.png").symlink_to("x.png")
        write_picture(picture, str(tmp_path / "link.png"))
        assert (tmp_path / "link.png").is_symlink()
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        np.testing.assert_array_equal(cv2.imread(str(path)), picture)


class TestCheckOutput:
    def test_makes_the_folder_and_leaves_what_is_there(self, tmp_path):
        path = tmp_path / "new" / "x.jpg"
        check_output(str(path), (40, 30))
        assert os.listdir(str(path.parent)) == []
        path.write_bytes(b"old")
        check_output(str(path), (40, 30))
        assert path.read_bytes() == b"old"
        assert os.listdir(str(path.parent)) == ["x.jpg"]

    @pytest.mark.parametrize("name", ["x", "x.txt", "x.", ".jpg"])
    def test_refuses_a_name_that_is_no_pictures(self, tmp_path, name):
        with pytest.raises(OutputError, match="ends in .jpg or .png"):
            check_output(str(tmp_path / name), (40, 30))

    def test_refuses_a_size_that_the_format_cannot_hold(self, tmp_path):
        with pytest.raises(OutputError, match="20000x1"):
            check_output(str(tmp_path / "x.webp"), (20000, 1))

    def test_refuses_a_folder(self, tmp_path):
        (tmp_path / "x.jpg").mkdir()
        with pytest.raises(OutputError, match="is a folder"):
            check_output(str(tmp_path / "x.jpg"), (40, 30))

    def test_refuses_an_input(self, tmp_path):
        path = write(tmp_path / "x.jpg", b"precious")
        other = write(tmp_path / "y.jpg", b"other")
        with pytest.raises(OutputError, match="is read or written by the same run already"):
            check_output(path, (40, 30), inputs=[np.zeros((1, 1, 3)), other, str(tmp_path / "." / "x.jpg")])

    def test_refuses_a_folder_that_cannot_be(self, tmp_path):
        blocked = write(tmp_path / "file", b"")
        with pytest.raises(OutputError, match="cannot be written in"):
            check_output(os.path.join(blocked, "x.jpg"), (40, 30))

    def test_folder_without_room(self, tmp_path):
        if not os.path.isdir("/proc"):
            pytest.skip("no /proc, the folder here in which nobody can write")
        with pytest.raises(OutputError, match="cannot be written in"):
            check_output("/proc/nst_graph/x.jpg", (40, 30))


class TestCreateNoisyImg:
    def test_draws_what_the_articles_program_draws_after_seeding(self):
        img = np.arange(24, dtype=np.float32).reshape((1, 2, 4, 3))
        np.random.seed(0)
        expected = 0.6 * np.random.uniform(-20, 20, (1, 2, 4, 3)).astype("float32") + (1 - 0.6) * img
        np.testing.assert_array_equal(create_noisy_img(img, 0.6, np.random.RandomState(0)), expected)
        np.random.seed(0)
        np.testing.assert_array_equal(create_noisy_img(img, 0.6), expected)
        assert expected.dtype == create_noisy_img(img, 0.6).dtype == np.float32

    def test_first_draw_of_seed_0(self):
        # The first double of the Mersenne Twister seeded with 0 is 0.5488135..., so the first noise is 1.952540...
        noise = create_noisy_img(np.zeros((1, 1, 1, 3), np.float32), 1, np.random.RandomState(0))
        assert noise[0, 0, 0, 0] == pytest.approx(40 * 0.5488135039273248 - 20, rel=1e-6)

    def test_mix_at_the_ends(self):
        img = np.full((1, 50, 50, 3), 99, np.float32)
        np.testing.assert_array_equal(create_noisy_img(img, 0, np.random.RandomState(0)), img)
        noise = create_noisy_img(img, 1, np.random.RandomState(0))
        assert -20 <= noise.min() < -19.9 and 19.9 < noise.max() <= 20
        assert abs(noise.mean()) < 0.7  # five standard deviations of the mean of 7500 draws
        assert (img == 99).all()
