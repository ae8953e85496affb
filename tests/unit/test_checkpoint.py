"""Checkpoints, without TensorFlow."""

import contextlib
import json
import os
import pickle
import stat
import tracemalloc
import zipfile

import numpy as np
import pytest

import nst_graph
from nst_graph import errors, picture_files
from nst_graph.checkpoint import State, read_checkpoint, write_checkpoint
from nst_graph.errors import CheckpointError
from nst_graph.inputs import read_inputs
from nst_graph.record import LARGEST_TEXT, File, record_of, to_text
from nst_graph.settings import Settings


@pytest.fixture
def state():
    rng = np.random.RandomState(0)
    moments = {
        "input_var/Adam": rng.standard_normal((1, 2, 3, 3)).astype(np.float32),
        "train/beta1_power": np.float32(0.9),
        "pairs": np.zeros((0, 18)),
    }
    return State(40, rng.standard_normal((1, 2, 3, 3)).astype(np.float32), moments)


@pytest.fixture
def record():
    picture = np.zeros((2, 3, 3), np.uint8)
    return record_of(Settings(size=48, seed=3, weights="random"), read_inputs(picture, picture), "2.21.0")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "run.checkpoint")


def assert_same(one, two):
    assert one.iteration == two.iteration and type(one.iteration) is int
    assert set(one.optimiser) == set(two.optimiser)
    for mine, theirs in [
        (one.image, two.image),
        *((one.optimiser[name], two.optimiser[name]) for name in two.optimiser),
    ]:
        assert np.asarray(mine).dtype == np.asarray(theirs).dtype
        np.testing.assert_array_equal(mine, theirs)


def test_reads_what_was_written(path, state, record):
    write_checkpoint(path, state, record)
    found, found_record = read_checkpoint(path)
    assert_same(found, state)
    assert found_record == record
    assert os.listdir(os.path.dirname(path)) == ["run.checkpoint"]  # NumPy adds no .npz


def test_an_image_that_is_not_finite_is_refused(path, state, record):
    for value in (np.nan, np.inf, -np.inf):
        state.image[0, 1, 2, 0] = value
        write_checkpoint(path, state, record)
        assert "has pixels that are infinite or not numbers" in refusal(path)
    state.image[0, 1, 2, 0] = -0.0
    write_checkpoint(path, state, record)
    assert read_checkpoint(path)[0].image.tobytes() == state.image.tobytes()


def test_any_file_name_comes_back(path, state, record):
    # The last is what Python makes of a name that is not UTF-8.
    for name in ("ü日本.png", "caf\udce9.png"):
        named = record._replace(content=File(name, "0"))
        write_checkpoint(path, state, named)
        assert read_checkpoint(path)[1] == named


def test_is_a_numpy_file_that_needs_no_pickle(path, state, record):
    write_checkpoint(path, state, record)
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["iteration"] == 40
        np.testing.assert_array_equal(arrays["image"], state.image)
        assert json.loads(bytes(arrays["record"]).decode()) == json.loads(to_text(record))


def test_an_old_one_is_replaced_and_keeps_its_mode(path, state, record):
    write_checkpoint(path, state, record)
    os.chmod(path, 0o600)
    write_checkpoint(path, state._replace(iteration=60), record)
    assert read_checkpoint(path)[0].iteration == 60
    if os.name == "posix":
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_write_that_fails_leaves_the_old_one(path, state, record, monkeypatch):
    write_checkpoint(path, state, record)

    def savez(file, **arrays):
        file.write(b"PK half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", savez)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(path, state._replace(iteration=60), record)
    monkeypatch.undo()
    assert read_checkpoint(path)[0].iteration == 40
    assert os.listdir(os.path.dirname(path)) == ["run.checkpoint"]


def test_the_package_has_the_error():
    assert nst_graph.CheckpointError is errors.CheckpointError


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    return message


def test_one_that_is_missing_or_a_folder(tmp_path, path):
    assert refusal(path) == f"there is no checkpoint {path!r} (looked in {tmp_path})"
    assert "is a folder; name a checkpoint in it" in refusal(str(tmp_path))
    assert "no file can have this name" in refusal(str(tmp_path / "nul\0"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"PK",
        b"PK\x03\x04",
        b"{}",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\x02\x00{}",
        pickle.dumps([1]),
        b"\x89PNG",
    ],
    ids=repr,
)
def test_what_is_something_else(path, data):
    with open(path, "wb") as file:
        file.write(data)
    assert refusal(path) == f"{path!r} is not a checkpoint, or is damaged"


def test_a_numpy_file_that_is_something_else(path, state, record):
    with open(path, "wb") as file:
        np.save(file, state.image)
    assert "is not a checkpoint" in refusal(path)
    text = np.frombuffer(to_text(record).encode(), np.uint8)
    whole = {"iteration": np.int64(4), "image": state.image, "record": text}
    wrong = [
        {"iteration": np.int64(-1)},
        {"iteration": np.array("text")},
        {"iteration": np.zeros(3)},
        {"iteration": np.float64("nan")},
        {"iteration": np.float64("inf")},
        {"image": state.image.astype(np.float64)},
        {"image": state.image[0]},
        {"image": np.array("text")},
        {"record": np.frombuffer(b"{}", np.uint8)},
        {"record": np.frombuffer(b"\xff\xff", np.uint8)},
        {"record": np.int64(10**12)},  # bytes() of a number would make that many zeros
    ]
    for change in wrong:
        np.savez(path + ".npz", **{**whole, **change})
        assert "is not a checkpoint" in refusal(path + ".npz"), change
    for name in whole:
        np.savez(path + ".npz", **{key: array for key, array in whole.items() if key != name})
        assert "is not a checkpoint" in refusal(path + ".npz"), name


def test_pickled_objects_are_not_loaded(path, state, record, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    text = np.frombuffer(to_text(record).encode(), np.uint8)
    for name in ("iteration", "image", "record", "optimiser/x"):
        whole = {"iteration": np.int64(4), "image": state.image, "record": text}
        np.savez(path + ".npz", **{**whole, name: np.array([Evil()], object)})
        assert "is not a checkpoint" in refusal(path + ".npz")
    assert not (tmp_path / "made").exists()


def test_one_that_is_cut_short_anywhere(path, state, record):
    write_checkpoint(path, state, record)
    with open(path, "rb") as file:
        data = file.read()
    for length in range(0, len(data), 7):
        with open(path, "wb") as file:
            file.write(data[:length])
        assert "is not a checkpoint" in refusal(path), length


def test_one_with_a_wrong_bit_in_its_directory(path, state, record):
    """A zip archive has check sums for the data, but none for what stands around them."""
    write_checkpoint(path, state, record)
    with zipfile.ZipFile(path) as archive:
        header, entries = archive.getinfo("image.npy").header_offset, archive.start_dir
    with open(path, "rb") as file:
        data = bytearray(file.read())
    entry = data.index(b"PK\x01\x02", entries + 1)
    # A header of each kind (PKWARE's APPNOTE 6.3.10, section 4.3): of a file, of the directory's entry, of its end.
    for place in (*range(header, header + 39), *range(entry, entry + 55), *range(len(data) - 22, len(data))):
        for bit in range(8):
            data[place] ^= 1 << bit
            with open(path, "wb") as file:
                file.write(data)
            data[place] ^= 1 << bit
            with contextlib.suppress(CheckpointError):  # or it is read right: a date may be wrong, for example
                found, found_record = read_checkpoint(path)
                assert_same(found, state)
                assert found_record == record


def test_a_compressed_one_is_read_too(path, state, record):
    write_checkpoint(path, state, record)
    with np.load(path) as arrays:
        np.savez_compressed(path + ".npz", **{name: arrays[name] for name in arrays.files})
    assert_same(read_checkpoint(path + ".npz")[0], state)
    with zipfile.ZipFile(path + ".npz") as archive:
        place = archive.getinfo("image.npy").header_offset + 60
    with open(path + ".npz", "r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 20)
    assert "is not a checkpoint" in refusal(path + ".npz")


def members(path):
    """Return the files in a checkpoint by name, to be changed."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path, files, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def array_file(shape, data=b"", descr="<f4"):
    """Return a file of NumPy's format whose header claims any shape."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + data


def most_memory_while(call):
    """Return the most bytes that Python and NumPy had while a function ran."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_bomb_is_refused_before_it_is_unpacked(path, state, record):
    """256 MB of zeros, which a zip archive holds in 250 KB."""
    write_checkpoint(path, state, record)
    whole = members(path)
    zeros = array_file((1, 2000, 2667, 3), bytes(64_008_000))
    for name in ("image.npy", "optimiser/input_var/Adam.npy", "record.npy"):
        packed(path, {**whole, name: zeros}, zipfile.ZIP_DEFLATED)
        assert os.path.getsize(path) < 300_000
        assert most_memory_while(lambda: refusal(path)) < 8e6, name


def test_a_header_that_claims_more_than_there_is(path, state, record):
    write_checkpoint(path, state, record)
    whole = members(path)
    for shape in (
        "(1, 100000, 100000, 3)",
        "(10**9,)",
        "(-1, -72)",
        "(1, 2, 3, 3, )" * 999,
        "(" * 99 + ")" * 99,
        "(3L,)",
    ):
        for name in ("image.npy", "optimiser/input_var/Adam.npy"):
            packed(path, {**whole, name: array_file(shape, bytes(72))})
            assert most_memory_while(lambda: refusal(path)) < 1e6, (name, shape)
    for descr in ("|V0", "|O", "|S0", "<M8[s]", [("a", "<f4")]):
        packed(path, {**whole, "optimiser/x.npy": array_file("(99, )", bytes(72), descr)})
        assert "is not a checkpoint" in refusal(path)


def test_an_archive_with_other_files_is_refused(path, state, record):
    write_checkpoint(path, state, record)
    whole = members(path)
    for name in ("other.npy", "image", "../image.npy", "optimiser/x", "/optimiser/x.npy", "image.npy/"):
        packed(path, {**whole, name: whole["image.npy"]})
        assert "is not a checkpoint" in refusal(path), name
    packed(path, whole)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("image.npy", whole["image.npy"])
    assert "is not a checkpoint" in refusal(path)
    packed(path, {**whole, **{f"optimiser/{number}.npy": b"" for number in range(50_000)}})
    assert most_memory_while(lambda: refusal(path)) < 1e6


def test_arrays_that_are_no_state_are_refused(path, state, record):
    reasons = ["two\nlines", "\x1b[2J", "long" * 999]
    wrong = [{"x": np.zeros(65, np.float32)}, {"x": np.zeros((100, 17))}, {"x": np.array(["a", "b"])}]
    for arrays in wrong + [{"gave_up": np.array(reason)} for reason in reasons]:
        write_checkpoint(path, state._replace(optimiser=arrays), record)
        assert "is not a checkpoint" in refusal(path), arrays
    right = {
        "gave_up": np.array("no step lowers the cost"),
        "s": np.zeros((3, 18), np.float32),
        "evaluations": np.array(7),
    }
    write_checkpoint(path, state._replace(optimiser=right), record)
    assert_same(read_checkpoint(path)[0], state._replace(optimiser=right))


def test_a_record_of_megabytes_is_refused(path, state, record):
    write_checkpoint(path, state, record)
    text = to_text(record) + " " * LARGEST_TEXT
    packed(path, {**members(path), "record.npy": array_file(f"({len(text)},)", text.encode(), "|u1")})
    assert "is not a checkpoint" in refusal(path)


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices have names on POSIX only")
def test_what_is_no_regular_file(tmp_path, path, state, record, monkeypatch):
    write_checkpoint(path, state, record)
    with open(path, "rb") as file:
        data = file.read()
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as file:
            file.write(data)
        assert_same(read_checkpoint(f"/dev/fd/{reading}")[0], state)
    finally:
        os.close(reading)
    monkeypatch.setattr(picture_files, "_WRITER_SECONDS", 0.1)
    os.mkfifo(str(tmp_path / "pipe"))
    assert "nobody writes to the pipe" in refusal(str(tmp_path / "pipe"))
    assert "is a device, not a checkpoint" in refusal("/dev/zero")
