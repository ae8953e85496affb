"""Picture files before they are decoded: their bytes, and what their header says. No TensorFlow.

A picture may come from anybody. So bytes, seconds and pixels are bounded, and what OpenCV would decode into wrong
colours is refused here, with the reason.
"""

import io
import math
import os
import re
import select
import stat
import struct
import time
import warnings
from typing import BinaryIO, Callable, List, NamedTuple, Optional, Set, Tuple, Type

from nst_graph.errors import NSTGraphError, PictureError

#: Millions of pixels that a picture may have. Decoded they take 600 MB.
MAX_MEGAPIXELS = 200

#: Bytes that a file may have. A TIFF of 200 megapixels with 16 bits and transparency has 1.6 GB.
_LARGEST_FILE = 2_000_000_000

#: Seconds until somebody must write to a pipe, and from one piece of it to the next.
_WRITER_SECONDS, _STALL_SECONDS = 10.0, 60.0

#: Bytes of a file from which its format is known.
_START = 32

_PIECE = 1 << 20


def open_file(path: str, what: str = "picture", error: Type[NSTGraphError] = PictureError) -> BinaryIO:
    """Open a file that may be anything: a device, or a pipe that nobody writes to.

    Parameters
    ----------
    path : str
        A file, or a pipe that somebody writes to, like `<(command)` of a shell.
    what : str
        What the file should be, for the error message.
    error : type
        The error to raise.

    Returns
    -------
    file
        Open for reading, at its beginning; it can be sought in. Of a pipe, all that came through it, at most 2 GB.

    Raises
    ------
    NSTGraphError
        If it is missing, a folder or a device, or cannot be read; if it is a pipe, also if nobody opens it for writing
        within 10 seconds, or nothing comes for 60.
    """
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to waits for ever. A file is not affected.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise error(f"there is no {what} {path!r} (looked in {_folder_of(path)})") from None
    except OSError as problem:
        raise error(f"the {what} {path!r} cannot be read: {problem.strerror}") from problem
    except ValueError:  # a null character, or one that the file system cannot write
        raise error(f"the {what} {path!r} cannot be read: no file can have this name") from None
    regular = False
    try:
        mode = os.fstat(descriptor).st_mode
        regular = stat.S_ISREG(mode)
        if regular:
            return os.fdopen(descriptor, "rb")
        if stat.S_ISDIR(mode):
            raise error(f"{path!r} is a folder; name a {what} in it")
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            raise error(f"{path!r} is a device, not a {what}; name a file")
        return io.BytesIO(_read_pipe(descriptor, path))
    except error:  # which may be an OSError itself
        raise
    except OSError as problem:
        raise error(f"the {what} {path!r} cannot be read: {problem.strerror}") from problem
    except PictureError as problem:
        raise error(str(problem)) from None
    finally:
        if not regular:
            os.close(descriptor)


def _folder_of(path: str) -> str:
    try:
        return os.path.dirname(os.path.abspath(path))
    except OSError:
        return "the working folder, which was removed"


def read_file(path: str) -> bytes:
    """Return the bytes of a picture file.

    Parameters
    ----------
    path : str
        See `open_file`.

    Returns
    -------
    bytes
        All of it.

    Raises
    ------
    PictureError
        See `open_file` and `read_open_file`.
    """
    with open_file(path) as file:
        return read_open_file(file, path)


def read_open_file(file: BinaryIO, path: str) -> bytes:
    """Return the bytes of a picture file from `open_file`.

    Raises
    ------
    PictureError
        If it is empty, no picture, has more than 2 GB, or cannot be read.
    """
    try:
        # Its start first: a film of gigabytes is refused without being read.
        pieces = [file.read(_START)]
        if not pieces[0]:
            raise PictureError(f"the picture {path!r} is empty (0 bytes); name another file")
        _format_of(pieces[0], path)
        length = file.seek(0, os.SEEK_END)
        file.seek(_START)
        while pieces[-1]:
            _check_length(length, path)
            pieces.append(file.read(_PIECE))
            length = max(length, sum(map(len, pieces)))  # it may grow meanwhile
    except OSError as error:
        raise PictureError(f"the picture {path!r} cannot be read: {error.strerror}") from error
    return b"".join(pieces)


def _read_pipe(descriptor: int, path: str) -> bytes:
    pieces, length = [], 0
    last = time.monotonic()
    while True:
        try:
            piece: Optional[bytes] = os.read(descriptor, _PIECE)
        except BlockingIOError:
            piece = None  # somebody has it open for writing, and nothing is there now
        waited = time.monotonic() - last
        if piece:
            pieces.append(piece)
            length += len(piece)
            last = time.monotonic()
            _check_length(length, path)
        elif piece == b"" and pieces:
            return b"".join(pieces)
        elif piece == b"" and waited > _WRITER_SECONDS:
            # A writer that came and went within a moment, or none.
            raise PictureError(f"nobody writes to the pipe {path!r}; name a file")
        elif waited > _STALL_SECONDS:
            raise PictureError(f"nothing came through the pipe {path!r} for {_STALL_SECONDS:.0f} seconds; name a file")
        elif piece is None:
            select.select([descriptor], [], [], 1.0)
        else:
            time.sleep(0.05)  # select would say at once that a pipe without a writer is at its end


def _check_length(length: int, path: str) -> None:
    if length > _LARGEST_FILE:
        raise PictureError(
            f"the file {path!r} has more than {_LARGEST_FILE // 10**9} GB, more than any picture that can be read"
        )


class _Format(NamedTuple):
    """A format of pictures.

    Attributes
    ----------
    start : bytes
        Regular expression for the first bytes of a file.
    name : str
        What it is called.
    size : callable or None
        Takes a whole file and returns width and height, without decoding a pixel. None if it is not read.
    refused : str
        Why it is not read.
    extensions : str
        What names of its files end in.
    """

    start: bytes
    name: str
    size: Optional[Callable[[bytes], Tuple[int, int]]]
    refused: str = ""
    extensions: str = ""


class _Refused(Exception):
    """A header that says why the file is not read."""


_FLOATS = "has fractions as its colours, which 8 bits do not hold; convert it to PNG first"


#: Bytes of a value by its type (TIFF 6.0, section 2, and its supplement), and the tags that lead to further tags.
_TAG_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_TO_FURTHER_TAGS = (0x8769, 0x8825)


def claimed_by_tags(data: bytes) -> float:
    """Return how many bytes the values of EXIF tags, or of a TIFF's, claim to have.

    They may lie on one another: then a file of 400 KB has values of gigabytes, and Pillow before 13 reads them all.

    Parameters
    ----------
    data : bytes
        From the first byte of their header, `II` or `MM`.

    Returns
    -------
    float
        Infinite if there are more directories than EXIF has.

    Raises
    ------
    struct.error
        If a directory is not in the data.
    """
    order = "<" if data[:2] == b"II" else ">"
    directories = {struct.unpack_from(order + "I", data, 4)[0]}
    done: Set[int] = set()
    claimed = 0.0
    while directories:
        start = directories.pop()
        done.add(start)
        (count,) = struct.unpack_from(order + "H", data, start)
        for number in range(count):
            tag, kind, length, value = struct.unpack_from(order + "HHII", data, start + 2 + 12 * number)
            claimed += length * _TAG_BYTES.get(kind, 0)
            if tag in _TO_FURTHER_TAGS and value not in done:
                directories.add(value)
        if len(done) + len(directories) > 1 + len(_TO_FURTHER_TAGS):
            return math.inf
    return claimed


def _tiff_size(data: bytes) -> Tuple[int, int]:
    """Return width and height of a TIFF: of its first picture, which is the one that OpenCV reads."""
    if claimed_by_tags(data) > len(data):
        raise ValueError("values lie on one another")
    # Imported here and below because few pictures are of these formats.
    from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, SAMPLEFORMAT, ImageFileDirectory_v2

    file = io.BytesIO(data)
    tags = ImageFileDirectory_v2(file.read(8))
    file.seek(tags.next)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tags.load(file)
        if 3 in tuple(tags.get(SAMPLEFORMAT, ())):  # floating point: TIFF 6.0, section 19
            raise _Refused(_FLOATS)
        return int(tags[IMAGEWIDTH]), int(tags[IMAGELENGTH])


def _jpeg_2000_size(data: bytes) -> Tuple[int, int]:
    from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        width, height = Jpeg2KImageFile(io.BytesIO(data)).size
    return width, height


def _pnm_size(data: bytes) -> Tuple[int, int]:
    """Return width and height of a PBM, PGM or PPM. Of other maxima than these two, OpenCV makes dark pictures."""
    words = re.sub(rb"#[^\r\n]*", b" ", data[:4096]).split(None, 4)
    if words[0] not in (b"P1", b"P4") and words[3] not in (b"255", b"65535"):
        raise _Refused("has another maximum than 255 or 65535; convert it to PNG first")
    return int(words[1]), int(words[2])


#: Scans of a JPEG. Programs write 1, 3 or about 10. OpenCV goes over the whole picture for each.
_MOST_SCANS = 100


def _jpeg_size(data: bytes) -> Tuple[int, int]:
    """Return width and height of a JPEG: those of its start-of-frame marker (ITU T.81, section B.2.2)."""
    if _scans(data) > _MOST_SCANS:
        raise _Refused(f"has more than {_MOST_SCANS} scans, each of which takes the time of a picture; save it anew")
    marker = _next_marker(data, 2)
    while marker is not None and not (b"\xc0" <= marker.group(1) <= b"\xcf" and marker.group(1) not in b"\xc4\xc8\xcc"):
        marker = _next_marker(data, _behind(data, marker))
    assert marker is not None
    height, width = struct.unpack(">HH", data[marker.end() + 3 : marker.end() + 7])
    return width, height


def _png_size(data: bytes) -> Tuple[int, int]:
    """Return width and height of a PNG whose chunks are all there (PNG specification, section 5.3).

    OpenCV allocates what a chunk claims to have, up to 4 GB, before it finds that the file ends.
    """
    position = 8
    while data[position + 4 : position + 8] != b"IEND":
        position += 12 + int.from_bytes(data[position : position + 4], "big")
        if position >= len(data):
            raise ValueError("a chunk reaches past the end")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _scans(data: bytes) -> int:
    """Return how many scans a JPEG has, at most one more than it may have."""
    position, count = 2, 0
    while count <= _MOST_SCANS:
        marker = _next_marker(data, position)
        if marker is None or marker.group(1) == b"\xd9":
            break
        count += marker.group(1) == b"\xda"
        position = _behind(data, marker)
    return count


def _webp_size(data: bytes) -> Tuple[int, int]:
    """Return width and height of a WebP (RFC 9649, sections 2.5 to 2.7). Pillow would allocate the pixels."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _bmp_size(data: bytes) -> Tuple[int, int]:
    """Return width and height of a BMP. A height below 0 says that the rows come from above; the first had 16 bits."""
    old = data[14:18] == b"\x0c\0\0\0"
    width, height = struct.unpack("<HH" if old else "<ii", data[18 : 22 if old else 26])
    return width, abs(height)


def _at(position: int, layout: str) -> Callable[[bytes], Tuple[int, int]]:
    """Return a reader of two numbers at a fixed position."""

    def size(data: bytes) -> Tuple[int, int]:
        width, height = struct.unpack_from(layout, data, position)
        return width, height

    return size


_FORMATS = (
    _Format(rb"\xff\xd8\xff", "JPEG", _jpeg_size, extensions=".jpg .jpeg .jpe .jfif"),
    _Format(rb"\x89PNG\r\n\x1a\n", "PNG", _png_size, extensions=".png"),
    _Format(rb"RIFF....WEBP", "WebP", _webp_size, extensions=".webp"),
    _Format(rb"II\*\0|MM\0\*", "TIFF", _tiff_size, extensions=".tif .tiff"),
    _Format(rb"BM", "BMP", _bmp_size, extensions=".bmp .dib"),
    _Format(rb"GIF8[79]a", "GIF", _at(6, "<HH"), extensions=".gif"),
    _Format(rb"P[1-6]\s", "PNM", _pnm_size, extensions=".pnm .pbm .pgm .ppm"),
    _Format(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000", _jpeg_2000_size, extensions=".jp2 .j2k .j2c .jpc"),
    _Format(rb"\x59\xa6\x6a\x95", "Sun raster", _at(4, ">II"), extensions=".ras .sr"),
    _Format(rb"P[Ff]\s", "PFM", None, _FLOATS),
    _Format(rb"#\?R(ADIANCE|GBE)", "Radiance HDR", None, _FLOATS),
    _Format(rb"\x76\x2f\x31\x01", "OpenEXR", None, _FLOATS),
    _Format(rb"P7\s", "PAM", None, "comes out in wrong colours; convert it to PNG first"),
)

#: What names of picture files end in that are read, in lower case. A file that is named itself may be called anything.
EXTENSIONS = frozenset(extension for form in _FORMATS for extension in form.extensions.split())


def _format_of(start: bytes, path: str) -> _Format:
    for form in _FORMATS:
        if re.match(form.start, start, re.DOTALL):
            if form.refused:
                raise PictureError(f"{path!r} is a picture that is not read: {form.name} {form.refused}")
            return form
    raise damaged(path)


def damaged(path: str) -> PictureError:
    """Return the error for a file that is no picture."""
    return PictureError(f"{path!r} is damaged or not a picture that can be read")


def check_header(data: bytes, path: str, max_megapixels: float = MAX_MEGAPIXELS) -> str:
    """Check a picture before it is decoded.

    Parameters
    ----------
    data : bytes
        The whole file.
    path : str
        Its name, for the error message.
    max_megapixels : float
        How many millions of pixels it may have.

    Returns
    -------
    str
        Name of the format, `JPEG` for example.

    Raises
    ------
    PictureError
        If it is no picture, or one that would come out wrong, or larger.
    """
    width, height = size_of(data, path)
    if width * height > max_megapixels * 1e6:
        raise PictureError(
            f"the picture {path!r} has {width}x{height} pixels, {width * height / 1e6:.0f} megapixels; the limit is "
            f"{max_megapixels:g}, which --max-megapixels raises"
        )
    return _format_of(data, path).name


def size_of(data: bytes, path: str) -> Tuple[int, int]:
    """Return width and height of a picture, as they are before EXIF turns it. Decodes nothing.

    Parameters
    ----------
    data : bytes
        The whole file. Mostly its beginning is enough.
    path : str
        Its name, for the error message.

    Raises
    ------
    PictureError
        If it is no picture, or one that would come out wrong.
    """
    form = _format_of(data, path)
    assert form.size is not None
    try:
        width, height = form.size(data)
    except _Refused as reason:
        raise PictureError(f"{path!r} is a picture that is not read: {form.name} {reason}") from None
    except Exception:  # Pillow documents no list of what a damaged file raises
        raise damaged(path) from None
    if width < 1 or height < 1:
        raise damaged(path)
    return width, height


def exif_of_jpeg(data: bytes) -> Tuple[int, int]:
    """Return where the first block of EXIF tags in a JPEG begins, with its `II` or `MM`, and ends; 6, 6 without one.

    Source: CIPA DC-008 (Exif 2.32), section 4.7.2.
    """
    marker = _next_marker(data, 2)
    while marker is not None and marker.group(1) != b"\xda":
        start, end = marker.end() + 2, _behind(data, marker)
        if marker.group(1) == b"\xe1" and data[start : start + 5] == b"Exif\0":
            return start + 6, end
        marker = _next_marker(data, end)
    return 6, 6


def is_cut_jpeg(data: bytes) -> bool:
    """Return whether a JPEG stream ends before its end-of-image marker (ITU T.81, annex B).

    OpenCV before 5 fills the missing rows of such a file with arbitrary values and reports no error.
    """
    position = 2
    while True:
        marker = _next_marker(data, position)
        if marker is None:
            return True
        if marker.group(1) == b"\xd9":
            return False
        position = _behind(data, marker)


def with_more_data(data: bytes) -> bytes:
    """Return a whole JPEG stream with some bytes more at the end of each of its scans.

    A decoder that has all rows skips them. One that misses rows decodes them: it gives another picture.
    """
    pieces: List[bytes] = []
    position, copied, in_scan = 2, 0, False
    while True:
        marker = _next_marker(data, position)
        if marker is None:
            return b"".join([*pieces, data[copied:]])
        if in_scan:
            pieces += [data[copied : marker.start()], _MORE]
            copied = marker.start()
        if marker.group(1) == b"\xd9":
            return b"".join([*pieces, data[copied:]])
        in_scan = marker.group(1) == b"\xda"
        position = _behind(data, marker)


#: Data without markers; and the same behind each restart marker, one of which a decoder that misses rows may wait for.
_MORE = bytes(range(1, 251))
_MORE += b"".join(b"\xff" + bytes([0xD0 + number]) + _MORE for number in range(8))


def _next_marker(data: bytes, position: int) -> "Optional[re.Match[bytes]]":
    # In entropy-coded data, 00 after FF is padding, and D0 to D7 are restart markers. Neither starts a segment.
    return _MARKER.search(data, position)


_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)


def _behind(data: bytes, marker: "re.Match[bytes]") -> int:
    return marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
