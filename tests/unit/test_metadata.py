"""What a picture file carries beside its pixels. Files are made and read back by Pillow, OpenCV and by hand."""

import contextlib
import errno
import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from nst_graph import metadata
from nst_graph.errors import OutputError, PictureError
from nst_graph.metadata import Carried
from nst_graph.picture_files import read_file


def read_text(path):
    return metadata.read_text(read_file(str(path)), str(path))


NOTHING = Carried(b"", b"")
HOLDING = [".png", ".jpg", ".jpeg", ".jpe", ".webp", ".tif", ".tiff"]
PLAIN = [".bmp", ".ppm"]
RGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
TEXTS = {
    "ascii": json.dumps({"nst_graph": "1.0", "content": "cat.jpg"}),
    "non-ascii": json.dumps({"nst_graph": "1.0", "content": "Zoë 猫 😀.jpg"}, ensure_ascii=False),
    "5 KB": json.dumps({"nst_graph": "1.0", "costs": list(range(1100))}),
    "lines": json.dumps({"nst_graph": "1.0", "losses": [1.5, 2]}, indent=2),
}

ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SRATIONAL = 2, 3, 4, 5, 7, 10
ARTIST = "José".encode() + b"\0"
THUMBNAIL = b"\xff\xd8thumbnail\xff\xd9"


def picture(height=13, width=18, seed=0):
    """Blurred noise: a JPEG of it depends on every setting of the encoder."""
    noise = np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (3, 3), 0)


def directory(order, start, tags, following=0):
    """One directory of a TIFF file. `tags` has the type, the number of values and their bytes in this byte order."""
    entries, values = struct.pack(order + "H", len(tags)), b""
    behind = start + 2 + 12 * len(tags) + 4
    for tag, (kind, count, value) in sorted(tags.items()):
        entries += struct.pack(order + "HHL", tag, kind, count)
        if len(value) > 4:
            entries += struct.pack(order + "L", behind + len(values))
            values += value
        else:
            entries += value.ljust(4, b"\0")
    return entries + struct.pack(order + "L", following) + values


def camera_exif(order):
    """EXIF tags as a camera writes them: picture turned, thumbnail, position, MakerNote, sizes in pixels."""

    def short(value):
        return (SHORT, 1, struct.pack(order + "H", value))

    def long(value):
        return (LONG, 1, struct.pack(order + "L", value))

    def numbers(kind, code, *values):
        return (kind, len(values) // 2, struct.pack(f"{order}{len(values)}{code}", *values))

    photo = {
        0x829A: numbers(RATIONAL, "L", 1, 250),  # exposure time
        0x9000: (UNDEFINED, 4, b"0231"),
        0x9003: (ASCII, 20, b"2020:01:02 03:04:05\0"),
        0x9204: numbers(SRATIONAL, "l", -1, 3),  # exposure bias
        0x9214: (SHORT, 4, struct.pack(order + "4H", 2000, 1500, 200, 100)),  # subject area
        0x927C: (UNDEFINED, 30, b"MakerNote with inner offsets.\0"),
        0x9286: (UNDEFINED, 14, b"UNICODE\0" + "né!".encode("utf-16-be" if order == ">" else "utf-16-le")),
        0xA001: short(1),  # sRGB
        0xA002: long(4000),
        0xA003: long(3000),
    }
    gps = {
        1: (ASCII, 2, b"N\0"),
        2: numbers(RATIONAL, "L", 48, 1, 51, 1, 2999, 100),
    }
    main = {
        0x010E: (ASCII, 6, b"a cat\0"),
        0x010F: (ASCII, 6, b"Maker\0"),
        0x0110: (ASCII, 8, b"Model X\0"),
        0x0112: short(6),
        0x011A: numbers(RATIONAL, "L", 300, 1),
        0x0131: (ASCII, 9, b"Firmware\0"),
        0x013B: (ASCII, len(ARTIST), ARTIST),
        0x8769: long(0),
        0x8825: long(0),
    }
    size = len(directory(order, 8, main))
    photo_at = 8 + size
    gps_at = photo_at + len(directory(order, photo_at, photo))
    second_at = gps_at + len(directory(order, gps_at, gps))
    main.update({0x8769: long(photo_at), 0x8825: long(gps_at)})
    second = {0x0103: short(6), 0x0201: long(0), 0x0202: long(len(THUMBNAIL))}
    second[0x0201] = long(second_at + len(directory(order, second_at, second)))
    return (
        (b"II*\0" if order == "<" else b"MM\0*")
        + struct.pack(order + "L", 8)
        + directory(order, 8, main, second_at)
        + directory(order, photo_at, photo)
        + directory(order, gps_at, gps)
        + directory(order, second_at, second)
        + THUMBNAIL
    )


def save_content(path, exif=b"", profile=b"", mode="RGB"):
    """Write a content picture by Pillow: it copies EXIF bytes and profiles as they are."""
    options = {"lossless": True} if str(path).endswith(".webp") else {}
    if exif:
        options["exif"] = b"Exif\0\0" + exif
    if profile:
        options["icc_profile"] = profile
    pixels = np.arange(12 * 20 * 3, dtype=np.uint8).reshape(12, 20, 3)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return str(path)


def tiff_with(tags):
    """A gray TIFF of 2x1 pixels with more tags, big-endian, as a camera's program could write it."""
    needed = {0x100: 2, 0x101: 1, 0x102: 8, 0x103: 1, 0x106: 1, 0x111: 8, 0x115: 1, 0x116: 1, 0x117: 2}
    all_tags = {tag: (SHORT, 1, struct.pack(">H", value)) for tag, value in needed.items()}
    all_tags.update(tags)
    return b"MM\0*" + struct.pack(">L", 10) + b"\x20\x80" + directory(">", 10, all_tags)


def carried_by(path):
    with open(str(path), "rb") as file:
        return metadata.carried_by(file.read())


def opened(path):
    with Image.open(path) as file:
        file.load()
        return file


def raw_tags(exif):
    """Every main tag of an EXIF block: number to type, number of values, bytes."""
    order = {b"II": "<", b"MM": ">"}[exif[6:8]]
    start = struct.unpack_from(order + "L", exif, 10)[0] + 6
    found = {}
    for place in range(start + 2, start + 2 + 12 * struct.unpack_from(order + "H", exif, start)[0], 12):
        tag, kind, count = struct.unpack_from(order + "HHL", exif, place)
        size = count * {ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1, SRATIONAL: 8}[kind]
        at = place + 8 if size <= 4 else struct.unpack_from(order + "L", exif, place + 8)[0] + 6
        found[tag] = (kind, count, exif[at : at + size])
    return found


class TestText:
    @pytest.mark.parametrize("text", list(TEXTS.values()), ids=list(TEXTS))
    @pytest.mark.parametrize("extension", [*HOLDING, ".PNG", ".JPG", ".Jpeg", ".WEBP", ".TIFF"])
    def test_is_read_back(self, tmp_path, extension, text):
        path = str(tmp_path / f"result{extension}")
        metadata.write(picture(), path, text, NOTHING)
        assert metadata.holds_text(path)
        assert read_text(path) == text

    @pytest.mark.parametrize("text", list(TEXTS.values()), ids=list(TEXTS))
    def test_is_where_other_programs_find_it(self, tmp_path, text):
        for extension in (".png", ".jpg", ".webp", ".tif"):
            metadata.write(picture(), str(tmp_path / f"result{extension}"), text, NOTHING)
        png = opened(tmp_path / "result.png")
        assert png.text == {"nst_graph": text}
        assert (b"iTXt" in (tmp_path / "result.png").read_bytes()) == ("猫" in text)
        assert opened(tmp_path / "result.jpg").info["comment"] == b"nst_graph: " + text.encode()
        for extension in (".webp", ".tif"):
            comment = opened(tmp_path / f"result{extension}").getexif().get_ifd(0x8769)[0x9286]
            assert comment == b"UNICODE\0" + f"nst_graph: {text}".encode("utf-16-le")

    @pytest.mark.parametrize("extension", [".png", ".webp", ".tif"])
    def test_of_200_kb_is_read_back(self, tmp_path, extension):
        path = str(tmp_path / f"result{extension}")
        text = json.dumps({"nst_graph": "1.0", "content": "é" * 100000}, ensure_ascii=False)
        metadata.write(picture(), path, text, NOTHING)
        assert read_text(path) == text
        assert cv2.imread(path).shape == (13, 18, 3)

    def test_that_no_jpeg_holds_is_an_error_that_names_another_format(self, tmp_path):
        with pytest.raises(
            OutputError, match=r"with a text of 65523 characters .*; name a file that ends in .png"
        ) as info:
            metadata.write(picture(), str(tmp_path / "result.jpg"), "x" * 65523, NOTHING)
        assert "\n" not in str(info.value)
        assert os.listdir(str(tmp_path)) == []

    @pytest.mark.parametrize("extension", HOLDING)
    def test_of_a_file_name_that_is_not_utf_8_has_the_same_meaning(self, tmp_path, extension):
        path = str(tmp_path / f"result{extension}")
        value = {"nst_graph": "1.0", "content": b"Zo\xeb.jpg".decode("utf-8", "surrogateescape")}
        metadata.write(picture(), path, json.dumps(value, ensure_ascii=False), NOTHING)
        assert json.loads(read_text(path)) == value

    @pytest.mark.parametrize("extension", PLAIN)
    def test_is_not_in_other_formats(self, tmp_path, extension):
        path = str(tmp_path / f"result{extension}")
        metadata.write(picture(), path, TEXTS["ascii"], Carried(b"Exif\0\0", RGB))
        assert not metadata.holds_text(path)
        assert read_text(path) is None
        assert (tmp_path / f"result{extension}").read_bytes() == cv2.imencode(extension, picture())[1].tobytes()

    @pytest.mark.parametrize("extension", HOLDING + PLAIN)
    def test_of_a_file_of_opencv_is_none(self, tmp_path, extension):
        path = str(tmp_path / f"picture{extension}")
        cv2.imwrite(path, picture())
        assert read_text(path) is None

    def test_of_another_program_is_none(self, tmp_path):
        other = '{"nst_graph": "someone else"}'
        image = Image.fromarray(picture())
        exif = Image.Exif()
        exif[0x8769] = {0x9286: b"ASCII\0\0\0" + other.encode()}
        exif[0x010E] = "nst_graph: a title"
        image.save(tmp_path / "a.jpg", comment=other.encode(), exif=exif)
        image.save(tmp_path / "a.webp", exif=exif)
        image.save(tmp_path / "a.tif", exif=exif.tobytes())  # not the object: it cannot be saved to a TIFF
        with_text = cv2.imencode(".png", picture())[1].tobytes()
        chunk = b"tEXtComment\0nst_graph: " + other.encode()
        chunk = struct.pack(">L", len(chunk) - 4) + chunk + struct.pack(">L", zlib.crc32(chunk))
        (tmp_path / "a.png").write_bytes(with_text[:33] + chunk + with_text[33:])
        segment = b"\xff\xef\0\x0fnst_graph: {}"  # of a program's own kind, not a comment
        (tmp_path / "b.jpg").write_bytes(b"\xff\xd8" + segment + (tmp_path / "a.jpg").read_bytes()[2:])
        for name in ("a.jpg", "b.jpg", "a.webp", "a.tif", "a.png"):
            assert read_text(tmp_path / name) is None

    def test_is_found_beside_another_programs_comment(self, tmp_path):
        path = tmp_path / "result.jpg"
        metadata.write(picture(), str(path), TEXTS["ascii"], NOTHING)
        data = path.read_bytes()
        path.write_bytes(data[:2] + b"\xff\xfe\0\x07other" + data[2:-2] + b"\xff\xd9")
        assert read_text(path) == TEXTS["ascii"]

    def test_that_unpacks_to_100_mb_is_none(self, tmp_path):
        packer = zlib.compressobj(1)
        packed = b"".join([packer.compress(bytes(1 << 20)) for _ in range(100)]) + packer.flush()
        data = cv2.imencode(".png", picture())[1].tobytes()
        for name, head in ((b"zTXt", b"nst_graph\0\0"), (b"iTXt", b"nst_graph\0\1\0\0\0"), (b"iCCP", b"nst_graph\0\0")):
            chunk = name + head + packed
            chunk = struct.pack(">L", len(chunk) - 4) + chunk + struct.pack(">L", zlib.crc32(chunk))
            (tmp_path / "bomb.png").write_bytes(data[:33] + chunk + data[33:])
            assert read_text(str(tmp_path / "bomb.png")) is None
            assert carried_by(str(tmp_path / "bomb.png")) == NOTHING

    def test_of_a_missing_file_a_folder_or_no_picture_is_an_error(self, tmp_path):
        (tmp_path / "empty.png").write_bytes(b"")
        (tmp_path / "notes.png").write_text("nst_graph: {}")
        (tmp_path / "start.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        (tmp_path / "start.jpg").write_bytes(b"\xff\xd8\xff\xe0")
        (tmp_path / "start.webp").write_bytes(b"RIFF\x10\0\0\0WEBP")
        (tmp_path / "start.tif").write_bytes(b"II*\0\xff\0\0\0")
        names = ["missing.png", "", "empty.png", "notes.png", "start.png", "start.jpg", "start.webp", "start.tif"]
        for name in names:
            with pytest.raises(PictureError):
                read_text(tmp_path / name)


class TestPixels:
    @pytest.mark.parametrize("extension", HOLDING)
    @pytest.mark.parametrize("size", [(13, 18), (1, 1), (64, 35)])
    def test_are_those_of_opencvs_own_file(self, tmp_path, extension, size):
        save_content(tmp_path / "content.jpg", camera_exif(">"), RGB)
        carried = carried_by(str(tmp_path / "content.jpg"))
        metadata.write(picture(*size), str(tmp_path / f"ours{extension}"), TEXTS["non-ascii"], carried)
        cv2.imwrite(str(tmp_path / f"opencv{extension}"), picture(*size))
        theirs = cv2.imread(str(tmp_path / f"opencv{extension}"))
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / f"ours{extension}")), theirs)
        if not extension.startswith(".jp"):
            np.testing.assert_array_equal(theirs, picture(*size))
            in_pillow = np.asarray(opened(tmp_path / f"ours{extension}").convert("RGB"))
            np.testing.assert_array_equal(in_pillow[:, :, ::-1], picture(*size))


class TestExif:
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("source", [".jpg", ".png", ".webp"])
    @pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".tif"])
    def test_goes_into_the_result_without_what_is_wrong_there(self, tmp_path, order, source, target):
        content = save_content(tmp_path / f"content{source}", camera_exif(order))
        before = opened(content).getexif()
        assert before[0x0112] == 6 and before.get_ifd(0x8769)[0xA002] == 4000  # the content is as it should be
        result = str(tmp_path / f"result{target}")
        metadata.write(picture(), result, TEXTS["ascii"], carried_by(content))

        exif = opened(result).getexif()
        assert (exif[0x010E], exif[0x010F], exif[0x0110]) == ("a cat", "Maker", "Model X")
        assert 0x0112 not in exif or exif[0x0112] == 1  # OpenCV gives a TIFF the orientation 1
        assert 0x0131 not in exif
        photo = exif.get_ifd(0x8769)
        comment = b"UNICODE\0" + "né!".encode("utf-16-be" if order == ">" else "utf-16-le")
        if target in (".webp", ".tif"):
            comment = b"UNICODE\0" + f"nst_graph: {TEXTS['ascii']}".encode("utf-16-le")
        assert exif.endian == ("<" if target in (".webp", ".tif") else order)
        assert photo == {
            0x829A: 1 / 250,
            0x9000: b"0231",
            0x9003: "2020:01:02 03:04:05",
            0x9204: pytest.approx(-1 / 3),
            0x9286: comment,
            0xA001: 1,
        }
        assert exif.get_ifd(0x8825) == {1: "N", 2: (48, 51, pytest.approx(29.99))}
        with open(result, "rb") as file:
            assert THUMBNAIL not in file.read()
        np.testing.assert_array_equal(cv2.imread(result).shape, (13, 18, 3))  # not turned

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_keeps_the_types(self, tmp_path, order):
        tags = raw_tags(carried_by(save_content(tmp_path / "content.jpg", camera_exif(order))).exif)
        assert set(tags) == {0x010E, 0x010F, 0x0110, 0x013B, 0x8769, 0x8825}
        assert tags[0x0110] == (ASCII, 8, b"Model X\0")
        assert tags[0x013B] == (ASCII, 6, b"Jos??\0")  # Pillow writes two bytes that are no ASCII as question marks

    def test_with_fractions_that_have_no_value_is_taken(self, tmp_path):
        lens = struct.pack("<8L", 24, 1, 70, 1, 0, 0, 0, 0)  # 0/0: the apertures are not known
        photo_at = 8 + 2 + 12 + 4
        exif = b"II*\0\x08\0\0\0" + directory("<", 8, {0x8769: (LONG, 1, struct.pack("<L", photo_at))})
        exif += directory("<", photo_at, {0xA432: (RATIONAL, 4, lens), 0xA431: (ASCII, 5, b"1234\0")})
        metadata.write(picture(), str(tmp_path / "a.tif"), "", carried_by(save_content(tmp_path / "a.jpg", exif)))
        photo = opened(tmp_path / "a.tif").getexif().get_ifd(0x8769)
        assert photo[0xA431] == "1234"
        assert [str(value) for value in photo[0xA432]] == ["24.0", "70.0", "nan", "nan"]

    def test_of_a_tiff_is_taken_without_the_tags_of_its_pixels(self, tmp_path):
        profile = (UNDEFINED, len(RGB), RGB)
        tags = {0x0110: (ASCII, 8, b"Model X\0"), 0x0112: (SHORT, 1, b"\0\6"), 0x8773: profile}
        (tmp_path / "content.tif").write_bytes(tiff_with(tags))
        assert opened(tmp_path / "content.tif").mode == "L"  # Pillow can read it
        carried = carried_by(str(tmp_path / "content.tif"))
        assert raw_tags(carried.exif) == {0x0110: (ASCII, 8, b"Model X\0")}
        assert carried.icc_profile == RGB

    def test_of_a_result_comes_without_the_old_text(self, tmp_path):
        first = carried_by(save_content(tmp_path / "content.jpg", camera_exif("<")))
        for extension in (".webp", ".tif"):
            path = str(tmp_path / f"first{extension}")
            metadata.write(picture(), path, "old", first)
            second = carried_by(path)
            assert b"old" not in second.exif and b"Model X" in second.exif
            metadata.write(picture(), path, "old", NOTHING)
            assert carried_by(path) == NOTHING

    @pytest.mark.parametrize("extension", HOLDING + PLAIN)
    def test_of_a_file_without_any_is_empty(self, tmp_path, extension):
        path = str(tmp_path / f"picture{extension}")
        cv2.imwrite(path, picture())
        assert carried_by(path) == NOTHING

    @pytest.mark.parametrize("data", [b"", b"not a picture", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF", b"II*\0"])
    def test_of_no_picture_is_empty(self, data):
        assert metadata.carried_by(data) == NOTHING

    def test_cut_or_changed_anywhere_is_never_an_error(self, tmp_path, recwarn, capfd):
        whole = camera_exif(">")
        random = np.random.RandomState(0)
        damaged = [whole[:length] for length in range(1, len(whole), 7)]
        for _ in range(100):
            changed = bytearray(whole)
            for place in random.randint(0, len(whole), 5):
                changed[place] = random.randint(256)
            damaged.append(bytes(changed))
        plain = cv2.imencode(".jpg", picture())[1].tobytes()
        path = tmp_path / "content.jpg"
        for exif in damaged:
            segment = b"Exif\0\0" + exif
            path.write_bytes(plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:])
            carried = carried_by(str(path))
            assert carried.icc_profile == b"" and len(carried.exif) <= 2 * len(segment)
            assert read_text(path) is None
            path.with_suffix(".tif").write_bytes(exif)
            carried_by(str(path.with_suffix(".tif")))
        assert not recwarn.list
        assert capfd.readouterr() == ("", "")

    def test_that_is_damaged_at_its_start_is_empty_and_the_profile_stays(self, tmp_path):
        content = save_content(tmp_path / "content.jpg", b"MM\0*\xff\xff\xff\xff", RGB)
        assert carried_by(content) == Carried(b"", RGB)

    @pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".tif"])
    @pytest.mark.parametrize("order", ["<", ">"])
    def test_whose_values_lie_on_one_another_take_no_memory(self, tmp_path, extension, order):
        """Tags of 50 KB each, which lie in the same 50 KB: 50 to 200 MB in Pillow before 13."""
        count, length = 1000, 50_000
        tags = b"".join(struct.pack(order + "HHII", tag, 1, length, 8) for tag in range(300, 300 + count))
        head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, count)
        exif = head + tags + bytes(4) + bytes(length - 12 * count)
        path = tmp_path / ("content" + extension)
        if extension == ".tif":
            path.write_bytes(exif)
        else:
            save_content(path, exif, RGB)
        tracemalloc.start()
        try:
            carried = carried_by(path)
            with contextlib.suppress(PictureError):  # the TIFF has no pixels
                assert read_text(path) is None
            assert tracemalloc.get_traced_memory()[1] < 5e6
        finally:
            tracemalloc.stop()
        assert carried == Carried(b"", b"" if extension == ".tif" else RGB)

    def test_of_16_kb_can_be_written_with_a_long_text_and_profile(self, tmp_path):
        exif = b"II*\0\x08\0\0\0" + directory("<", 8, {0x010E: (ASCII, 16300, b"d" * 16299 + b"\0")})
        carried = carried_by(save_content(tmp_path / "content.png", exif, RGB + bytes(30000)))
        for extension in (".jpg", ".png", ".webp", ".tif"):
            path = tmp_path / f"result{extension}"
            metadata.write(picture(), str(path), TEXTS["5 KB"], carried)
            assert opened(path).getexif()[0x010E] == "d" * 16299
            assert opened(path).info["icc_profile"] == RGB + bytes(30000)
            assert read_text(path) == TEXTS["5 KB"]

    def test_above_16_kb_is_left_out(self, tmp_path):
        exif = b"II*\0\x08\0\0\0" + directory("<", 8, {0x010E: (ASCII, 16400, b"d" * 16399 + b"\0")})
        assert carried_by(save_content(tmp_path / "content.png", exif, RGB)) == Carried(b"", RGB)

    def test_needs_no_pixels(self, tmp_path):
        carried = carried_by(save_content(tmp_path / "content.jpg", camera_exif("<"), RGB))
        for extension in (".png", ".jpg"):
            path = tmp_path / f"result{extension}"
            metadata.write(picture(), str(path), TEXTS["ascii"], carried)
            data = path.read_bytes()
            pixels = data.rfind(b"IDAT") + 4 if extension == ".png" else data.rfind(b"\xff\xda") + 14
            assert metadata.carried_by(data[:pixels]) == carried

    @pytest.mark.parametrize("extension", HOLDING)
    def test_of_a_file_without_any_decodes_no_pixels(self, tmp_path, monkeypatch, extension):
        path = save_content(tmp_path / f"content{extension}")
        decoded = []
        monkeypatch.setattr(ImageFile.ImageFile, "load", lambda file: decoded.append(file))
        carried_by(path)
        assert decoded == []

    def test_with_a_comment_of_the_wrong_type_is_taken(self, tmp_path):
        exif = Image.Exif()
        exif[0x0110] = "Model X"
        exif[0x8769] = {0x9286: "a text", 0x9003: "2020:01:02 03:04:05"}
        carried = carried_by(save_content(tmp_path / "content.jpg", exif.tobytes()[6:]))
        assert b"Model X" in carried.exif and b"2020:01:02" in carried.exif


class TestProfile:
    @pytest.mark.parametrize("source", [".jpg", ".png", ".webp"])
    @pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".tif"])
    @pytest.mark.parametrize("length", [len(RGB), 200001])
    def test_goes_into_the_result_byte_for_byte(self, tmp_path, source, target, length):
        profile = RGB + np.random.RandomState(0).bytes(length - len(RGB))  # the long one is several segments of a JPEG
        carried = carried_by(save_content(tmp_path / f"content{source}", profile=profile))
        assert carried == Carried(b"", profile)
        metadata.write(picture(), str(tmp_path / f"result{target}"), TEXTS["ascii"], carried)
        assert opened(tmp_path / f"result{target}").info["icc_profile"] == profile

    @pytest.mark.parametrize(("space", "mode"), [(b"GRAY", "L"), (b"CMYK", "CMYK"), (b"Lab ", "RGB")])
    def test_of_other_colours_is_left_out(self, tmp_path, space, mode):
        profile = RGB[:16] + space + RGB[20:]
        content = save_content(tmp_path / "content.jpg", camera_exif("<"), profile, mode)
        assert opened(content).info["icc_profile"] == profile
        carried = carried_by(content)
        assert carried.icc_profile == b"" and b"Model X" in carried.exif

    def test_above_1_mb_is_left_out_and_one_of_1_mb_can_be_read_from_every_format(self, tmp_path):
        largest = RGB + bytes((1 << 20) - len(RGB))
        assert carried_by(save_content(tmp_path / "content.jpg", profile=largest + b"\0")) == NOTHING
        carried = carried_by(save_content(tmp_path / "content.jpg", profile=largest))
        for extension in (".jpg", ".png", ".webp", ".tif"):
            path = str(tmp_path / f"result{extension}")
            metadata.write(picture(), path, TEXTS["ascii"], carried)
            assert carried_by(path) == Carried(b"", largest)
            assert read_text(path) == TEXTS["ascii"]


class TestWrite:
    @pytest.mark.parametrize("extension", HOLDING + PLAIN)
    def test_leaves_an_existing_file_as_it_was_when_it_fails(self, tmp_path, monkeypatch, extension):
        path = tmp_path / f"result{extension}"
        path.write_bytes(b"old")

        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(OutputError, match="No space left on device") as info:
            metadata.write(picture(), str(path), TEXTS["ascii"], NOTHING)
        assert "\n" not in str(info.value)
        assert path.read_bytes() == b"old"
        assert os.listdir(str(tmp_path)) == [path.name]

    @pytest.mark.parametrize(("name", "width"), [("a.jpg", 65536), ("a.webp", 16384), ("a.nothing", 3), ("a", 3)])
    def test_names_a_size_or_a_format_that_cannot_be(self, tmp_path, name, width):
        with pytest.raises(OutputError, match=f"cannot write '.*{name}' at {width}x1.*; name a file that ends in"):
            metadata.write(np.zeros((1, width, 3), np.uint8), str(tmp_path / name), TEXTS["ascii"], NOTHING)
        assert os.listdir(str(tmp_path)) == []

    @pytest.mark.parametrize(
        ("name", "length"), [("a.jpg", 65_500), ("a.webp", 10**6), ("a.png", 10**6), ("a.bmp", 10)]
    )
    def test_check_finds_what_write_would_find_and_writes_nothing(self, tmp_path, name, length):
        path = str(tmp_path / name)
        metadata.check(path, (3, 2), "x" * length, NOTHING)
        assert os.listdir(str(tmp_path)) == []
        metadata.write(picture(), path, "x" * length, NOTHING)
        if name == "a.jpg":
            for size, text in (((3, 2), "x" * 65_537), ((65536, 1), "x")):
                with pytest.raises(OutputError, match="cannot write .*; name a file that ends in .png"):
                    metadata.check(path, size, text, NOTHING)

    def test_into_a_missing_folder_is_an_error(self, tmp_path):
        with pytest.raises(OutputError, match="No such file"):
            metadata.write(picture(), str(tmp_path / "missing" / "a.png"), TEXTS["ascii"], NOTHING)


class TestLargePictures:
    """Pillow warns of pictures above 89 million pixels and refuses those above 179 million."""

    @pytest.mark.parametrize("width", [10000, 60000])
    def test_do_not_trouble(self, tmp_path, recwarn, width):
        content = save_content(tmp_path / "content.png", camera_exif("<"), RGB)
        metadata.write(picture(), str(tmp_path / "large.png"), TEXTS["ascii"], carried_by(content))
        data = bytearray((tmp_path / "large.png").read_bytes())
        data[16:24] = struct.pack(">LL", width, 10000)
        data[29:33] = struct.pack(">L", zlib.crc32(bytes(data[12:29])))
        (tmp_path / "large.png").write_bytes(bytes(data))
        carried = carried_by(str(tmp_path / "large.png"))
        assert b"Model X" in carried.exif and carried.icc_profile == RGB
        assert read_text(str(tmp_path / "large.png")) == TEXTS["ascii"]
        assert not recwarn.list


def test_needs_no_tensorflow():
    code = "import sys, nst_graph.metadata; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
