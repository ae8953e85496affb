"""Checkpoints, without TensorFlow."""

import contextlib
import json
import os
import pickle
import stat
import zipfile

import numpy as np
import pytest

import nst_graph
from nst_graph import errors
from nst_graph.checkpoint import State, read_checkpoint, write_checkpoint
from nst_graph.errors import CheckpointError
from nst_graph.inputs import read_inputs
from nst_graph.record import File, record_of, to_text
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


def test_values_that_are_not_finite_come_back(path, state, record):
    state.image[0, 0, 0] = [np.nan, np.inf, -0.0]
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
    assert refusal(path) == f"the checkpoint {path!r} cannot be read: No such file or directory"
    assert "cannot be read: Is a directory" in refusal(str(tmp_path))
    assert "nul" in refusal(str(tmp_path / "nul\0"))


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
