"""Picture files from anybody: what is read, what is refused, and how long that takes at most."""

import contextlib
import os
import struct
import threading
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from nst_graph import picture_files
from nst_graph.errors import PictureError
from nst_graph.images import read_picture
from nst_graph.picture_files import check_header, read_file
from tests import ROOT

CAT = ROOT / "input" / "cat.jpg"

posix = pytest.mark.skipif(os.name != "posix", reason="this system has no pipes in its file system, and no /dev")


@pytest.fixture
def picture():
    return cv2.imread(str(CAT))[:120, :160]


def encoded(picture, extension, *options):
    done, data = cv2.imencode(extension, picture, list(options))
    assert done
    return data.tobytes()


def refused(data, tmp_path, match):
    path = tmp_path / "picture"
    path.write_bytes(data)
    with pytest.raises(PictureError, match=match) as caught:
        read_picture(path)
    assert "\n" not in str(caught.value)


@posix
def test_in_a_working_folder_that_was_removed(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(PictureError, match="there is no picture 'x.png'.*the working folder, which was removed"):
        read_file("x.png")


@posix
class TestNotRegular:
    @pytest.fixture
    def pipe(self, tmp_path, monkeypatch):
        monkeypatch.setattr(picture_files, "_WRITER_SECONDS", 0.5)
        monkeypatch.setattr(picture_files, "_STALL_SECONDS", 0.5)
        path = str(tmp_path / "pipe")
        os.mkfifo(path)
        return path

    def test_a_pipe_that_nobody_writes_to_is_given_up(self, pipe):
        with pytest.raises(PictureError, match="nobody writes to the pipe"):
            read_file(pipe)

    def test_a_pipe_with_a_writer_that_says_nothing_is_given_up(self, pipe):
        descriptor = os.open(pipe, os.O_RDWR)
        try:
            os.write(descriptor, b"\xff\xd8")
            with pytest.raises(PictureError, match="nothing came through the pipe"):
                read_file(pipe)
        finally:
            os.close(descriptor)

    def test_a_pipe_that_is_written_to_slowly_and_late_works(self, pipe):
        data = CAT.read_bytes()

        def write():
            time.sleep(0.2)
            with open(pipe, "wb", buffering=0) as file:
                for part in (data[:7], data[7:1000], data[1000:]):
                    time.sleep(0.2)
                    file.write(part)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            assert read_file(pipe) == data
        finally:
            thread.join()

    def test_a_pipe_of_a_shell(self):
        reading, writing = os.pipe()
        try:
            with os.fdopen(writing, "wb") as file:
                file.write(b"\xff\xd8\xff short")
            assert read_file(f"/dev/fd/{reading}") == b"\xff\xd8\xff short"
        finally:
            os.close(reading)

    def test_no_more_is_read_than_the_limit(self, pipe, monkeypatch):
        monkeypatch.setattr(picture_files, "_LARGEST_FILE", 1000)

        def write():
            with open(pipe, "wb", buffering=0) as file:
                with contextlib.suppress(BrokenPipeError):
                    file.write(bytes(10**7))

        thread = threading.Thread(target=write)
        thread.start()
        with pytest.raises(PictureError, match="more than any picture"):
            read_file(pipe)
        thread.join()

    @pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/full"])
    def test_a_device_is_refused(self, device):
        with pytest.raises(PictureError, match="is a device"):
            read_file(device)


@pytest.mark.parametrize(
    ("start", "match"),
    [
        (b"", "not a picture"),
        (b"\0\0\0\x20ftypisom", "not a picture"),
        (b"\xff\xd8\xff\xe0", "has more than 2 GB"),
    ],
)
def test_a_file_of_a_terabyte_is_refused_at_once(tmp_path, start, match):
    path = tmp_path / "huge"
    with open(path, "wb") as file:
        file.write(start)
        try:
            file.truncate(10**12)  # without content: it takes no place on the disk
        except OSError as error:
            pytest.skip(f"this file system has no files of a terabyte: {error.strerror}")
    with pytest.raises(PictureError, match=match):
        read_file(str(path))


EXTENSIONS = ["jpg", "png", "webp", "tif", "bmp", "ppm", "jp2", "ras"]


class TestPixels:
    @pytest.mark.parametrize("extension", EXTENSIONS)
    def test_formats_are_known_and_read(self, tmp_path, picture, extension):
        path = tmp_path / ("x." + extension)
        path.write_bytes(encoded(picture, "." + extension))
        assert read_picture(path).shape == picture.shape
        assert isinstance(check_header(path.read_bytes(), "x"), str)

    @pytest.mark.parametrize("extension", EXTENSIONS)
    def test_the_limit_is_that_of_the_header(self, picture, extension):
        data = encoded(picture, "." + extension)
        check_header(data, "x", max_megapixels=160 * 120 / 1e6)
        with pytest.raises(PictureError, match=r"'x' has 160x120 pixels.*--max-megapixels raises"):
            check_header(data, "x", max_megapixels=(160 * 120 - 1) / 1e6)

    def test_forms_of_webp_and_of_bmp(self, tmp_path, picture):
        image = Image.fromarray(picture[..., ::-1])
        for name, options in (
            ("lossless.webp", {"lossless": True}),
            ("x.webp", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}),
        ):
            image.save(str(tmp_path / name), **options)
            with pytest.raises(PictureError, match="has 160x120 pixels"):
                check_header((tmp_path / name).read_bytes(), name, 0.01)
        image.convert("RGBA").save(str(tmp_path / "alpha.webp"))
        with pytest.raises(PictureError, match="has 160x120 pixels"):
            check_header((tmp_path / "alpha.webp").read_bytes(), "x", 0.01)
        data = bytearray(encoded(picture, ".bmp"))
        data[22:26] = struct.pack("<i", -120)
        with pytest.raises(PictureError, match="has 160x120 pixels"):
            check_header(bytes(data), "x", 0.01)

    def test_a_small_file_that_claims_a_gigapixel_decodes_nothing(self, tmp_path, picture, monkeypatch):
        jpeg = encoded(picture, ".jpg")
        frame = jpeg.index(b"\xff\xc0")
        jpeg = jpeg[: frame + 5] + struct.pack(">HH", 32700, 32700) + jpeg[frame + 9 :]
        png = encoded(picture, ".png")
        png = png[:16] + struct.pack(">II", 30000, 30000) + png[24:]
        monkeypatch.setattr(cv2, "imdecode", lambda *arguments: pytest.fail("it was decoded"))
        refused(jpeg, tmp_path, "has 32700x32700 pixels, 1069 megapixels; the limit is 200")
        refused(png, tmp_path, "has 30000x30000 pixels, 900 megapixels; the limit is 200")

    @pytest.mark.parametrize("kind", [b"tEXt", b"IDAT", b"PLTE", b"zzZz"])
    def test_a_chunk_of_a_png_that_claims_gigabytes_decodes_nothing(self, tmp_path, picture, monkeypatch, kind):
        monkeypatch.setattr(cv2, "imdecode", lambda *arguments: pytest.fail("it was decoded"))
        png = encoded(picture, ".png")
        for length in (len(png), 2**31 - 1, 2**32 - 1):
            refused(png[:33] + struct.pack(">I", length) + kind + png[33:], tmp_path, "is damaged")
        for kept in (7, 20, 33, 1000, len(png) - 12, len(png) - 9):
            refused(png[:kept], tmp_path, "is damaged")

    def test_a_jpeg_of_hundreds_of_scans_decodes_nothing(self, tmp_path, picture, monkeypatch):
        """107 KB with 500 scans of 4000x4000 pixels took 21 s."""
        jpeg = encoded(np.zeros_like(picture), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
        last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
        path = tmp_path / "x.jpg"
        path.write_bytes(jpeg[:-2] + 20 * last + jpeg[-2:] + 200 * b"\xff\xda")  # what follows is no part of it
        assert read_picture(path).shape == picture.shape
        monkeypatch.setattr(cv2, "imdecode", lambda *arguments: pytest.fail("it was decoded"))
        refused(jpeg[:-2] + 100 * last + jpeg[-2:], tmp_path, "JPEG has more than 100 scans")

    def test_a_higher_limit_is_the_callers(self, tmp_path, picture):
        path = tmp_path / "x.png"
        path.write_bytes(encoded(picture, ".png"))
        with pytest.raises(PictureError, match="the limit is 0.01"):
            read_picture(path, max_megapixels=0.01)
        assert read_picture(path, max_megapixels=0.02).shape == picture.shape


class TestWrongColours:
    """What OpenCV decodes into something else than the picture."""

    def test_floats(self, tmp_path, picture):
        floats = picture.astype(np.float32) / 255
        refused(encoded(floats, ".pfm"), tmp_path, "PFM has fractions")
        refused(encoded(floats, ".hdr"), tmp_path, "Radiance HDR has fractions")
        refused(encoded(floats, ".tiff"), tmp_path, "TIFF has fractions")
        refused(b"\x76\x2f\x31\x01" + bytes(100), tmp_path, "OpenEXR has fractions")

    def test_pam(self, tmp_path, picture):
        refused(encoded(picture, ".pam"), tmp_path, "PAM comes out in wrong colours")

    @pytest.mark.parametrize("maximum", [1, 15, 254, 256, 1023])
    @pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
    def test_another_maximum(self, tmp_path, kind, maximum):
        header = f"{kind}\n# made by 255\n2 2 # and 2\n{maximum}\n".encode()
        refused(header + b"1 1 1 1 1 1 1 1 1 1 1 1" * 4, tmp_path, "another maximum than 255 or 65535")

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_the_usual_maxima(self, tmp_path, picture, dtype):
        path = tmp_path / "x.ppm"
        path.write_bytes(encoded(picture.astype(dtype) * (257 if dtype is np.uint16 else 1), ".ppm"))
        np.testing.assert_allclose(read_picture(path).astype(int), picture, atol=1)


FORMS = {
    "baseline": [],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "optimised": [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
    "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 3],
}


class TestMissingRows:
    """JPEG files with an end marker behind a part of the picture."""

    @pytest.mark.parametrize("grey", [False, True])
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("kept", [0.4, 0.6, 0.8, 0.9, 0.97])
    def test_are_found(self, tmp_path, picture, form, grey, kept):
        data = encoded(picture[..., 0] if grey else picture, ".jpg", *FORMS[form])
        cut = data[: int(len(data) * kept)].rstrip(b"\xff") + b"\xff\xd9"
        refused(cut, tmp_path, "the end of the picture .* is missing")

    @pytest.mark.parametrize("grey", [False, True])
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("below", [0, 128, 255])
    def test_a_plain_lower_half_is_whole(self, tmp_path, picture, form, grey, below):
        picture[60:] = below
        path = tmp_path / "x.jpg"
        path.write_bytes(encoded(picture[..., 0] if grey else picture, ".jpg", *FORMS[form]))
        assert read_picture(path).shape == picture.shape


def test_every_format_that_is_read_has_extensions():
    assert all(bool(form.extensions) == (form.size is not None) for form in picture_files._FORMATS)
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".bmp", ".gif", ".ppm", ".jp2"} <= picture_files.EXTENSIONS
