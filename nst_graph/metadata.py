"""What a picture file carries beside its pixels: EXIF tags, a colour profile and a text of this package. No TensorFlow.

OpenCV drops all of these. Pillow reads and writes them; this module only chooses what goes from one file to the other.
"""

import contextlib
import io
import os
import struct
import warnings
from typing import IO, Any, Callable, Dict, Iterator, NamedTuple, Optional, Tuple

import numpy as np
from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import MAX_TEXT_CHUNK, PngImageFile, PngInfo
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from nst_graph import console, images
from nst_graph.errors import OutputError
from nst_graph.picture_files import claimed_by_tags, exif_of_jpeg

#: Keyword of the text in a PNG. In the other formats the text follows this word and a colon.
KEYWORD = "nst_graph"
_JPEG_START = f"{KEYWORD}: ".encode()
_EXIF_START = b"UNICODE\0" + f"{KEYWORD}: ".encode("utf-16-le")  # CIPA DC-008, section 4.6.5, table 9

_EXTENSIONS = {"PNG": [".png"], "JPEG": [".jpg", ".jpeg", ".jpe"], "WEBP": [".webp"], "TIFF": [".tif", ".tiff"]}
_READERS: Dict[bytes, Callable[[IO[bytes]], ImageFile]] = {
    b"\x89PNG": PngImageFile,
    b"RIFF": WebPImageFile,
    b"II*\0": TiffImageFile,
    b"MM\0*": TiffImageFile,
}

#: Bytes that EXIF tags may have. In a JPEG they have at most 64 KB, in the other formats it might be any number.
_MOST_TAGS = 1 << 18

# Pillow 9 may fail on a JPEG with more than 64 KB of EXIF tags, profile and comment. Most of it is for the others.
_LARGEST_EXIF = 1 << 14

# What was photographed, when and by whom. The other main tags are about the content's file and its pixels.
_MAIN_TAGS = "ImageDescription Make Model DateTime Artist Copyright XPTitle XPComment XPAuthor XPKeywords XPSubject"
# Tags of the camera that are not true for the result. MakerNote has offsets that hold only in the camera's file, and
# may have a preview of the old picture. SceneType can only say "directly photographed".
_LEFT_OUT = """
    ComponentsConfiguration CompressedBitsPerPixel MakerNote ExifImageWidth ExifImageHeight ExifInteroperabilityOffset
    FocalPlaneXResolution FocalPlaneYResolution FocalPlaneResolutionUnit SubjectLocation SceneType ImageUniqueID
"""
_SUBJECT_AREA = 0x9214  # in pixels; `Base` does not have it


class Carried(NamedTuple):
    """What goes from the content picture's file into the result's file.

    Attributes
    ----------
    exif : bytes
        EXIF tags as `PIL.Image.Exif.tobytes` gives them. May be empty.
    icc_profile : bytes
        A colour profile for RGB. May be empty.
    """

    exif: bytes
    icc_profile: bytes


def holds_text(path: str) -> bool:
    """Return whether `write` stores the text in a file of this name: PNG, JPEG, WebP and TIFF.

    Parameters
    ----------
    path : str
        A picture file. It need not exist. Only the extension matters, in upper or lower case.
    """
    return _format(path) is not None


def carried_by(data: bytes) -> Carried:
    """Return what the result takes over from a content picture. Decodes no pixels.

    Parameters
    ----------
    data : bytes
        The whole picture file. May be empty.

    Returns
    -------
    Carried
        Of the EXIF tags, the position (GPS) and those of the camera that are also true for the result. Left out are:

        - the orientation, because OpenCV has turned the pixels already
        - the thumbnail, because it shows the content picture
        - sizes, resolutions and positions in pixels; software; compression; the image's unique ID
        - MakerNote, because its inner offsets hold only in the camera's file
        - a UserComment that is a text of `write`

        Fields are empty if the file has no such data, is damaged, or is no JPEG, PNG, WebP or TIFF; the tags also if
        they have more than 16 KB, the profile also if it is not for RGB or has more than 1 MB.

    Notes
    -----
    Pillow replaces non-ASCII letters of a tag, as in an artist's name, by question marks.

    Source: CIPA DC-008 (Exif 2.32), section 4.6; ICC.1:2010, section 7.2.6.
    """
    exif = profile = b""
    # Pillow documents no list of what a damaged file raises. If only its tags are damaged, the profile is kept.
    with _quiet(), contextlib.suppress(Exception):
        file = _opened(data)
        found = file.info.get("icc_profile") or b""
        if found[16:20] == b"RGB " and len(found) <= MAX_TEXT_CHUNK:  # Pillow opens no PNG with a larger one
            profile = found
        exif = _chosen_exif(file)
    return Carried(exif if len(exif) <= _LARGEST_EXIF else b"", profile)


def read_text(data: bytes, path: str) -> Optional[str]:
    """Return the text that `write` stored in a picture file. Decodes no pixels of a file that has one.

    Parameters
    ----------
    data : bytes
        The whole picture file.
    path : str
        Its name, for the error message.

    Returns
    -------
    str or None
        None if there is none, or if a picture's data beside the pixels are damaged or unusually large. The text may be
        anything if another program wrote it.

    Raises
    ------
    PictureError
        If it is not a picture.
    """
    try:
        with _quiet():
            return _text(_opened(data))
    except Exception:  # Pillow documents no list of what a damaged file raises
        images.decoded(data, path)
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
        A JSON text. In a PNG it has the keyword `nst_graph`. It is a JPEG's comment and the EXIF UserComment of a WebP
        or TIFF, in place of the content's own; there it starts with `nst_graph:` and a space. A JPEG holds at most
        64 KB of it; with Pillow 9, of text, tags and profile together.
    carried : Carried
        From `carried_by`.

    Raises
    ------
    OutputError
        If the format does not allow this size or so long a text, or the file cannot be written.

    Notes
    -----
    A TIFF is not compressed: Pillow cannot write EXIF tags to a compressed one. A lone surrogate in the text, as in a
    file name that is not UTF-8, becomes its JSON escape.
    """
    kind = _format(path)
    if kind is None:
        images.write_picture(picture, path)
    else:
        images.write_bytes(_encoded(picture, path, kind, text, carried), path)


def check(path: str, size: Tuple[int, int], text: str, carried: Carried) -> None:
    """Check before a long run that `write` will be able to encode its picture. Writes nothing.

    Parameters
    ----------
    path, text, carried : str, str, Carried
        As `write` takes them.
    size : tuple of int
        Width and height of the picture.

    Raises
    ------
    OutputError
        If it cannot.
    """
    kind = _format(path)
    if kind is not None:
        _encoded(np.zeros((size[1], size[0], 3), np.uint8), path, kind, text, carried)


def _encoded(picture: np.ndarray, path: str, kind: str, text: str, carried: Carried) -> bytes:
    """Return the bytes of a picture file of a kind that holds text, see `write`."""
    # No encoding has lone surrogates. The escape \udcXX is the same string in JSON.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    options: Dict[str, Any] = {"exif": carried.exif, "icc_profile": carried.icc_profile}
    if kind == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_text(KEYWORD, text)
    elif kind == "JPEG":  # as OpenCV encodes it
        options.update(comment=_JPEG_START + text.encode("utf-8"), quality=95, subsampling="4:2:0")
    else:  # a TIFF is always lossless
        options.update(exif=_with_comment(carried.exif, text), lossless=True)
    data = io.BytesIO()
    try:
        with _quiet():
            Image.fromarray(picture[..., ::-1]).save(data, kind, **options)
    except (OSError, ValueError) as error:
        height, width = picture.shape[:2]
        raise OutputError(
            f"Pillow cannot write {path!r} at {width}x{height} with a text of {len(text)} characters ({error}); "
            "name a file that ends in .png, for example"
        ) from error
    return data.getvalue()


def _format(path: str) -> Optional[str]:
    extension = os.path.splitext(path)[1].lower()
    return next((kind for kind, extensions in _EXTENSIONS.items() if extension in extensions), None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Pillow and its libraries print off standard error."""
    with console.silenced(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _opened(data: bytes) -> ImageFile:
    """Open a picture without its pixels. Not by `Image.open`, which warns of large pictures or refuses them."""
    reader = _READERS.get(data[:4], JpegImageFile)
    if reader is TiffImageFile:
        _check_tags(data, len(data))
    elif reader is JpegImageFile:
        start, end = exif_of_jpeg(data)
        try:
            _check_tags(data[start:end])
        except (ValueError, struct.error):  # Pillow looks for the resolution in them at once
            data = b"".join([data[: start - 6], b"none", data[start - 2 :]])
    return reader(io.BytesIO(data))


def _tags(file: ImageFile) -> Image.Exif:
    """Return the EXIF tags of a picture; raise ValueError or struct.error if they are none."""
    tags = file.info.get("exif", b"")
    _check_tags(tags[6:] if tags.startswith(b"Exif\0\0") else tags)
    return file.getexif()


def _check_tags(tags: bytes, most: int = _MOST_TAGS) -> None:
    """Raise ValueError if tags claim more bytes than they have, or than tags ever have."""
    if tags and claimed_by_tags(tags) > min(len(tags), most):
        raise ValueError("tags that are no camera's")


def _chosen_exif(file: ImageFile) -> bytes:
    """Return the tags that go along, empty if there are none."""
    if isinstance(file, PngImageFile) and "exif" not in file.info:
        return b""  # `getexif` would decode the pixels, to look for tags behind them
    exif = _tags(file)
    chosen = Image.Exif()
    chosen.endian = exif.endian  # a UserComment in UTF-16 has the byte order of its file
    for tag in (Base[name] for name in _MAIN_TAGS.split()):
        if tag in exif:
            chosen[tag] = exif[tag]
    camera = dict(exif.get_ifd(IFD.Exif))
    for number in [_SUBJECT_AREA, *(Base[name] for name in _LEFT_OUT.split())]:
        camera.pop(number, None)
    if _text_of_comment(camera) is not None:  # the content is itself a result
        del camera[Base.UserComment]
    for pointer, tags in ((IFD.Exif, camera), (IFD.GPSInfo, dict(exif.get_ifd(IFD.GPSInfo)))):
        if tags:
            chosen[pointer] = tags
    return chosen.tobytes() if len(chosen) else b""


def _with_comment(carried: bytes, text: str) -> bytes:
    """Return EXIF tags with a text as UserComment."""
    exif = Image.Exif()
    exif.load(carried)
    exif.endian = "<"
    exif[IFD.Exif] = {**exif.get_ifd(IFD.Exif), Base.UserComment: _EXIF_START + text.encode("utf-16-le")}
    return exif.tobytes()


def _text(file: ImageFile) -> Optional[str]:
    if isinstance(file, PngImageFile):
        text = file.info.get(KEYWORD)
        return None if text is None else str(text)
    if isinstance(file, JpegImageFile):
        comments = [value for name, value in file.applist if name == "COM" and value.startswith(_JPEG_START)]
        return comments[0][len(_JPEG_START) :].decode("utf-8", "replace") if comments else None
    return _text_of_comment(_tags(file).get_ifd(IFD.Exif))


def _text_of_comment(camera: Dict[int, Any]) -> Optional[str]:
    """Return the text in a UserComment, None if the comment is another program's."""
    comment = camera.get(Base.UserComment)
    if not isinstance(comment, bytes) or not comment.startswith(_EXIF_START):
        return None
    return comment[len(_EXIF_START) :].decode("utf-16-le", "replace")
