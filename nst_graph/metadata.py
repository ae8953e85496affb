"""What a picture file carries beside its pixels: EXIF tags, a colour profile and a text of this package. No TensorFlow.

OpenCV reads and writes the pixels and drops the rest. Here Pillow reads the rest, and this module puts it into the file
that OpenCV encodes, so the pixels are the same with it and without it. Pillow does not write the file: it cannot write
EXIF tags to a compressed TIFF, and Pillow 9 fails for a JPEG if the tags, the profile and the text do not fit into 64 KB.

EXIF tags are copied as bytes, not through `PIL.Image.Exif`. That class replaces non-ASCII letters, for example in the
name of the artist, and does not keep the types of the values.
"""

import contextlib
import io
import os
import struct
import warnings
import zlib
from typing import Container, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from nst_graph import console, images
from nst_graph.errors import OutputError
from nst_graph.files import replacing

#: Keyword of the text in a PNG. In the other formats the text follows this word and a colon.
KEYWORD = "nst_graph"
_MARKER = f"{KEYWORD}: "

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}

# The most bytes that one segment of a JPEG holds (ITU T.81, annex B). EXIF tags must be in one segment.
_SEGMENT = 65533
# The most bytes of a profile, and of one directory's values together. Pillow has the same limit for a PNG's profile.
_ROOM = 1 << 20

_EXIF_START = b"Exif\0\0"
_ICC_START = b"ICC_PROFILE\0"
_TIFF_START = b"II*\0\0\0\0\0"  # little-endian; the offset of the first directory is not known yet
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}

# Types of tag values (TIFF 6.0, section 2): bytes per value, bytes per number. A fraction is two numbers.
_TYPES = {
    1: (1, 1),  # BYTE
    2: (1, 1),  # ASCII
    3: (2, 2),  # SHORT
    4: (4, 4),  # LONG
    5: (8, 4),  # RATIONAL
    6: (1, 1),  # SBYTE
    7: (1, 1),  # UNDEFINED
    8: (2, 2),  # SSHORT
    9: (4, 4),  # SLONG
    10: (8, 4),  # SRATIONAL
    11: (4, 4),  # FLOAT
    12: (8, 8),  # DOUBLE
    13: (4, 4),  # IFD
}
_LONG, _UNDEFINED = 4, 7

_EXIF_POINTER, _GPS_POINTER, _ICC_PROFILE, _USER_COMMENT = 0x8769, 0x8825, 0x8773, 0x9286

# Tags that go from the content picture into the result: they tell what was photographed, when, where, how, by whom.
# Tags about the content's file and its pixels do not: orientation, resolution, software, compression.
_MAIN_TAGS = frozenset(
    [
        0x010E,  # ImageDescription
        0x010F,  # Make
        0x0110,  # Model
        0x0132,  # DateTime
        0x013B,  # Artist
        0x8298,  # Copyright
        *range(0x9C9B, 0x9CA0),  # XPTitle, XPComment, XPAuthor, XPKeywords, XPSubject
    ]
)
_EXIF_TAGS = frozenset([0x829A, 0x829D, *range(0x8822, 0x8836), *range(0x9000, 0x9500), *range(0xA000, 0xA501)]) - {
    0x8825,  # the pointer to the GPS directory, which is not in this one
    0x9101,  # ComponentsConfiguration
    0x9102,  # CompressedBitsPerPixel
    0x9214,  # SubjectArea, in pixels
    0x927C,  # MakerNote: has offsets that hold only in the camera's file, and may have a preview of the old picture
    0xA002,  # PixelXDimension
    0xA003,  # PixelYDimension
    0xA005,  # the pointer to the interoperability directory
    0xA20E,  # FocalPlaneXResolution, in pixels per unit
    0xA20F,  # FocalPlaneYResolution
    0xA210,  # FocalPlaneResolutionUnit
    0xA214,  # SubjectLocation, in pixels
    0xA301,  # SceneType, which can only say "directly photographed"
    0xA420,  # ImageUniqueID
}
_GPS_TAGS = range(32)

# Tag to type and value, little-endian.
_Directory = Dict[int, Tuple[int, bytes]]


class Carried(NamedTuple):
    """What goes from the content picture's file into the result's file.

    Attributes
    ----------
    exif : bytes
        EXIF tags as a JPEG holds them: `Exif`, two zero bytes, then a TIFF file without a picture. May be empty.
    icc_profile : bytes
        A colour profile for RGB. May be empty.
    """

    exif: bytes
    icc_profile: bytes


class _Tags(NamedTuple):
    main: _Directory
    exif: _Directory
    gps: _Directory


class _Found(NamedTuple):
    tags: _Tags
    icc_profile: bytes
    text: Optional[str]


_NO_TAGS = _Tags({}, {}, {})


def holds_text(path: str) -> bool:
    """Return whether `write` stores the text in a file of this name. The extension decides; its case does not matter.

    Parameters
    ----------
    path : str
        A picture file. It need not exist.
    """
    return _format(path) is not None


def carried_by(path: str) -> Carried:
    """Return what the result takes over from a content picture's file. Reads no pixels.

    Parameters
    ----------
    path : str
        A picture file.

    Returns
    -------
    Carried
        Of the EXIF tags, those that are also true for the result. These are left out:

        - the orientation, because OpenCV has turned the pixels already
        - the thumbnail, because it shows the content picture
        - sizes, resolutions and positions in pixels; software; compression; the image's unique ID
        - MakerNote, because its inner offsets hold only in the camera's file

        The profile only if it is for RGB: that is what the result's pixels are. Fields are empty if the file has
        no such data, is damaged or missing, has more than 64 KB of EXIF tags (a JPEG does not hold more) or 1 MB of
        profile, or is no JPEG, PNG, WebP or TIFF.

    Notes
    -----
    Source: CIPA DC-008 (Exif 2.32), section 4.6; ICC.1:2010, section 7.2.6. The position (GPS) is taken over.
    """
    try:
        found = _found(path)
    except Exception:  # Pillow documents no list of what a damaged file raises
        return Carried(b"", b"")
    tags = found.tags
    if _text_of_comment(tags.exif) is not None:  # the content is itself a result
        del tags.exif[_USER_COMMENT]
    exif = _exif_block(tags)
    is_rgb = found.icc_profile[16:20] == b"RGB " and len(found.icc_profile) <= _ROOM
    return Carried(exif if len(exif) <= _SEGMENT else b"", found.icc_profile if is_rgb else b"")


def read_text(path: str) -> Optional[str]:
    """Return the text that `write` stored in a picture file. Reads no pixels of a file that has one.

    Parameters
    ----------
    path : str
        A picture file.

    Returns
    -------
    str or None
        In a PNG, the text with the keyword `nst_graph`. In a JPEG, a comment that starts with `nst_graph: `; in a WebP
        and a TIFF, such an EXIF UserComment. Without that start. None if there is none, or if a picture's data beside
        the pixels are damaged or unusually large. The text may be anything if another program wrote it.

    Raises
    ------
    PictureError
        If the file is missing, a folder, empty or not a picture.
    """
    try:
        return _found(path).text
    except Exception:  # Pillow documents no list of what a damaged file raises
        images.read_picture(path)
        return None


def write(picture: np.ndarray, path: str, text: str, carried: Carried) -> None:
    """Write a picture file with a text, EXIF tags and a colour profile, whole or not at all.

    Parameters
    ----------
    picture : ndarray
        uint8 (h, w, 3), blue, green and red. The file has the same pixels as one of `images.write_picture`.
    path : str
        The file; its extension sets the format. An existing file is replaced when the new one is complete. If
        `holds_text` is false for it, the file has the pixels only.
    text : str
        A JSON text of up to 500 KB. A JPEG holds a long one as several comments of 64 KB.
    carried : Carried
        From `carried_by`.

    Raises
    ------
    OutputError
        If there is no encoder for the extension, the format does not allow this size, or the file cannot be written.

    Notes
    -----
    A WebP and a TIFF hold the text as EXIF UserComment, in place of the content's own. A lone surrogate in the text,
    as in a file name that is not UTF-8, becomes its JSON escape.
    """
    kind = _format(path)
    if kind is None:
        images.write_picture(picture, path)
        return
    data = images.encoded(picture, path)
    # No encoding has lone surrogates. The escape \udcXX is the same string in JSON.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if kind == "JPEG":
        data = _jpeg(data, text, carried)
    elif kind == "PNG":
        data = _png(data, text, carried)
    elif kind == "WEBP":
        data = _webp(data, (picture.shape[1], picture.shape[0]), text, carried)
    else:
        data = _tiff(data, text, carried)
    try:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            file.write(data)
    except OSError as error:
        raise OutputError(f"the picture {path!r} cannot be written: {error.strerror}") from error


def _format(path: str) -> Optional[str]:
    return _FORMATS.get(os.path.splitext(path)[1].lower())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings off standard error."""
    with console.silenced(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _jpeg(file: bytes, text: str, carried: Carried) -> bytes:
    """Return a JPEG with segments behind its first one, which is JFIF's (ITU T.81, annex B)."""
    segments = [(b"\xe1", carried.exif)] if carried.exif else []
    profile = _pieces(carried.icc_profile, _SEGMENT - len(_ICC_START) - 2)
    segments += [(b"\xe2", _ICC_START + bytes([i, len(profile)]) + piece) for i, piece in enumerate(profile, 1)]
    marker = _MARKER.encode("ascii")
    segments += [(b"\xfe", marker + piece) for piece in _pieces(text.encode("utf-8"), _SEGMENT - len(marker))]
    at = 4 + int.from_bytes(file[4:6], "big")
    return (
        file[:at]
        + b"".join(b"\xff" + name + struct.pack(">H", 2 + len(value)) + value for name, value in segments)
        + file[at:]
    )


def _pieces(data: bytes, length: int) -> List[bytes]:
    return [data[start : start + length] for start in range(0, len(data), length)]


def _png(file: bytes, text: str, carried: Carried) -> bytes:
    """Return a PNG with chunks behind its header (PNG specification, third edition, section 11.3)."""
    chunks = []
    if carried.icc_profile:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(carried.icc_profile)))
    if carried.exif:
        chunks.append((b"eXIf", carried.exif[len(_EXIF_START) :]))
    keyword = KEYWORD.encode("ascii")
    if text.isascii():
        chunks.append((b"tEXt", keyword + b"\0" + text.encode("ascii")))
    else:  # not compressed, no language, no translated keyword
        chunks.append((b"iTXt", keyword + b"\0\0\0\0\0" + text.encode("utf-8")))
    at = 33  # behind the signature and the header
    return file[:at] + b"".join(_png_chunk(name, value) for name, value in chunks) + file[at:]


def _png_chunk(name: bytes, value: bytes) -> bytes:
    return struct.pack(">L", len(value)) + name + value + struct.pack(">L", zlib.crc32(name + value))


def _webp(file: bytes, size: Tuple[int, int], text: str, carried: Carried) -> bytes:
    """Return a WebP in the extended format (RFC 9649, section 2.7), made from one in the simple format."""
    exif = _exif_block(_with_comment(_tags_of_carried(carried), text))[len(_EXIF_START) :]
    flags = 0x08 | (0x20 if carried.icc_profile else 0)  # has EXIF tags, has a profile
    width, height = size
    header = struct.pack("<L", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + _riff_chunk(b"VP8X", header)
    if carried.icc_profile:
        body += _riff_chunk(b"ICCP", carried.icc_profile)
    return _riff_chunk(b"RIFF", body + file[12:] + _riff_chunk(b"EXIF", exif))


def _riff_chunk(name: bytes, value: bytes) -> bytes:
    return name + struct.pack("<L", len(value)) + value + b"\0" * (len(value) % 2)


def _tiff(file: bytes, text: str, carried: Carried) -> bytes:
    """Return a TIFF with a new first directory at its end: the tags that it has and ours (TIFF 6.0, section 2)."""
    tags = _with_comment(_tags_of_carried(carried), text)
    main = {**tags.main, **_first_directory(file, range(1 << 16), len(file))}
    if carried.icc_profile:
        main[_ICC_PROFILE] = (_UNDEFINED, carried.icc_profile)
    return _with_directories(file, tags._replace(main=main))


def _found(path: str) -> _Found:
    """Read what a JPEG, PNG, WebP or TIFF carries. Raises anything if the file is damaged or of another format."""
    if not os.path.isfile(path):  # a pipe can be read only once, and for the pixels
        raise ValueError(path)
    with open(path, "rb") as file:
        data = file.read()
    if data[:4] in _BYTE_ORDERS:
        tags = _tags_of(data)
        _, profile = _first_directory(data, {_ICC_PROFILE}, _ROOM).get(_ICC_PROFILE, (0, b""))
        return _Found(tags, profile, _text_of_comment(tags.exif))
    with _quiet():
        # Not by `Image.open`: that refuses large pictures, or warns of them, though it reads no pixels.
        if data.startswith(b"\x89PNG"):
            png = PngImageFile(io.BytesIO(data))
            text = png.info.get(KEYWORD)
            return _Found(_tags_of_exif(png), _profile(png), None if text is None else str(text))
        if data.startswith(b"RIFF"):
            webp = WebPImageFile(io.BytesIO(data))
            tags = _tags_of_exif(webp)
            return _Found(tags, _profile(webp), _text_of_comment(tags.exif))
        jpeg = JpegImageFile(io.BytesIO(data))
    marker = _MARKER.encode("ascii")
    pieces = [value[len(marker) :] for name, value in jpeg.applist if name == "COM" and value.startswith(marker)]
    return _Found(_tags_of_exif(jpeg), _profile(jpeg), b"".join(pieces).decode("utf-8", "replace") if pieces else None)


def _profile(file: Image.Image) -> bytes:
    return file.info.get("icc_profile") or b""


def _text_of_comment(directory: _Directory) -> Optional[str]:
    """Return the text in a UserComment, None if the comment is another program's."""
    _, value = directory.get(_USER_COMMENT, (0, b""))
    encoding = "utf-16-le" if value.startswith(b"UNICODE\0") else "ascii"
    text = value[8:].decode(encoding, "replace")
    return text[len(_MARKER) :] if text.startswith(_MARKER) else None


def _with_comment(tags: _Tags, text: str) -> _Tags:
    """Add the text as a UserComment: eight bytes name the encoding (CIPA DC-008, section 4.6.5)."""
    text = _MARKER + text
    value = b"ASCII\0\0\0" + text.encode("ascii") if text.isascii() else b"UNICODE\0" + text.encode("utf-16-le")
    return tags._replace(exif={**tags.exif, _USER_COMMENT: (_UNDEFINED, value)})


def _tags_of_carried(carried: Carried) -> _Tags:
    return _tags_of(carried.exif[len(_EXIF_START) :]) if carried.exif else _NO_TAGS


def _tags_of_exif(file: Image.Image) -> _Tags:
    """Return the tags of a file that Pillow has opened, none if they are damaged."""
    exif = file.info.get("exif") or b""
    try:
        return _tags_of(exif[len(_EXIF_START) :] if exif.startswith(_EXIF_START) else exif)
    except (KeyError, struct.error):
        return _NO_TAGS


def _tags_of(data: bytes) -> _Tags:
    """Return the tags to carry that a TIFF file has. Raises KeyError or struct.error if it is damaged."""
    order = _BYTE_ORDERS[data[:4]]
    main = _first_directory(data, _MAIN_TAGS | {_EXIF_POINTER, _GPS_POINTER}, _ROOM)
    others = []
    for pointer, wanted in ((_EXIF_POINTER, _EXIF_TAGS), (_GPS_POINTER, _GPS_TAGS)):
        place = main.pop(pointer, None)
        start = None if place is None else struct.unpack("<L", place[1])[0]
        others.append({} if start is None else _directory(data, order, start, wanted, _ROOM))
    kind, comment = others[0].get(_USER_COMMENT, (0, b""))
    if order == ">" and comment.startswith(b"UNICODE\0"):
        others[0][_USER_COMMENT] = (kind, comment[:8] + _swapped(comment[8:], 2))
    return _Tags(main, *others)


def _first_directory(data: bytes, wanted: Container[int], room: int) -> _Directory:
    order = _BYTE_ORDERS[data[:4]]
    return _directory(data, order, struct.unpack_from(order + "L", data, 4)[0], wanted, room)


def _directory(data: bytes, order: str, start: int, wanted: Container[int], room: int) -> _Directory:
    """Return the wanted tags of one directory of a TIFF file (TIFF 6.0, section 2), their values little-endian.

    Damaged values are left out, and values that together have more bytes than `room`: in a hostile file, thousands of
    tags share one large value.
    """
    found = {}
    (count,) = struct.unpack_from(order + "H", data, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHL", data, place)
        if tag not in wanted or kind not in _TYPES:
            continue
        per_value, per_number = _TYPES[kind]
        length = values * per_value
        at = place + 8 if length <= 4 else struct.unpack_from(order + "L", data, place + 8)[0]
        if length == 0 or length > room or at + length > len(data):
            continue
        room -= length
        value = data[at : at + length]
        found[tag] = (kind, value if order == "<" else _swapped(value, per_number))
    return found


def _swapped(value: bytes, per_number: int) -> bytes:
    whole = value[: len(value) // per_number * per_number]
    return np.frombuffer(whole, f">u{per_number}").astype(f"<u{per_number}").tobytes()


def _exif_block(tags: _Tags) -> bytes:
    """Return EXIF tags as a JPEG holds them, empty if there are none."""
    return _EXIF_START + _with_directories(_TIFF_START, tags) if any(tags) else b""


def _with_directories(file: bytes, tags: _Tags) -> bytes:
    """Return a little-endian TIFF file with directories at its end, the first of which takes the place of its own."""
    file += b"\0" * (len(file) % 2)  # directories and values are at even places
    main = dict(tags.main)
    for pointer, directory in ((_EXIF_POINTER, tags.exif), (_GPS_POINTER, tags.gps)):
        if directory:
            main[pointer] = (_LONG, struct.pack("<L", len(file)))
            file += _packed(directory, len(file))
    return file[:4] + struct.pack("<L", len(file)) + file[8:] + _packed(main, len(file))


def _packed(directory: _Directory, start: int) -> bytes:
    """Return the bytes of a directory that is at `start` in its file, with its values behind it."""
    entries, values = struct.pack("<H", len(directory)), b""
    at = start + 2 + 12 * len(directory) + 4
    for tag, (kind, value) in sorted(directory.items()):
        entries += struct.pack("<HHL", tag, kind, len(value) // _TYPES[kind][0])
        if len(value) <= 4:
            entries += value.ljust(4, b"\0")
        else:
            entries += struct.pack("<L", at + len(values))
            values += value + b"\0" * (len(value) % 2)
    return entries + struct.pack("<L", 0) + values
