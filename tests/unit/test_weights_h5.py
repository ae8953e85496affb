"""Reading and writing Keras's .h5 files."""

import errno
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from nst_graph.errors import WeightsError
from nst_graph.weights import read_h5, write_h5


def equal(one, two):
    return len(one) == len(two) and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, two))


class TestReadH5:
    def test_reads_what_write_wrote(self, tmp_path, vgg_weights):
        path = str(tmp_path / "w.h5")
        write_h5(path, vgg_weights.arrays)
        assert equal(read_h5(path), vgg_weights.arrays)

    def test_keras_reads_what_write_wrote_and_we_read_what_keras_writes(self, tmp_path, vgg_weights):
        from nst_graph.runtimes import get_runtime

        ours, theirs, whole = (str(tmp_path / name) for name in ("ours.h5", "theirs.h5", "whole.h5"))
        write_h5(ours, vgg_weights.arrays)
        runtime = get_runtime()
        with runtime.session_scope():
            model = runtime.keras.applications.VGG19(weights=None, include_top=False)
            model.load_weights(ours, by_name=True)  # the file has no entry for layers without weights
            assert equal(model.get_weights(), vgg_weights.arrays)
            model.save_weights(theirs)
            model.save(whole)
        assert equal(read_h5(theirs), vgg_weights.arrays)
        assert equal(read_h5(whole), vgg_weights.arrays)

    def test_refuses_what_is_no_weights_file(self, tmp_path):
        for name, data, message in (
            ("text.h5", b"hello", "damaged or is no HDF5"),
            ("empty.h5", b"", "damaged or is no HDF5"),
        ):
            (tmp_path / name).write_bytes(data)
            with pytest.raises(WeightsError, match=message):
                read_h5(str(tmp_path / name))
        with pytest.raises(WeightsError, match="there is no weights file"):
            read_h5(str(tmp_path / "missing.h5"))
        with pytest.raises(WeightsError, match="is a folder"):
            read_h5(str(tmp_path))

    def test_refuses_a_file_cut_short(self, tmp_path, vgg_weights):
        path = tmp_path / "w.h5"
        write_h5(str(path), vgg_weights.arrays)
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(WeightsError, match="damaged"):
            read_h5(str(path))

    def test_refuses_other_layers_shapes_and_values(self, tmp_path, vgg_weights):
        path = str(tmp_path / "w.h5")

        def refused(change, message):
            arrays = list(vgg_weights.arrays)
            change(arrays)
            write_h5(path, arrays)
            with pytest.raises(WeightsError, match=message) as caught:
                read_h5(path)
            assert "\n" not in str(caught.value)

        refused(lambda a: a.__setitem__(0, a[0][:, :, :1]), r"block1_conv1 should be finite floats \(3, 3, 3, 64\)")
        refused(lambda a: a.__setitem__(31, a[31][:5]), "block5_conv4")
        refused(lambda a: a.__setitem__(3, a[3].astype(int)), "block1_conv2")
        refused(lambda a: a.__setitem__(1, a[1] * np.nan), "block1_conv1 should be finite")
        with h5py.File(path, "w") as file:
            file.create_group("conv2d_1")
        with pytest.raises(WeightsError, match="block1_conv1"):
            read_h5(path)
        with h5py.File(path, "w") as file:
            file["block1_conv1"] = np.zeros(3)
            file["block1_conv1"].attrs["weight_names"] = [b"kernel"]
        with pytest.raises(WeightsError, match="is no Keras file of VGG-19's weights"):
            read_h5(path)

    def test_float64_becomes_float32(self, tmp_path, vgg_weights):
        path = str(tmp_path / "w.h5")
        write_h5(path, [array.astype(np.float64) for array in vgg_weights.arrays])
        assert equal(read_h5(path), vgg_weights.arrays)


def one_line(caught):
    return "\n" not in str(caught.value)


class TestDamagedFiles:
    """HDF5 has many ways to fail; each is a WeightsError of one line."""

    def refused(self, path, message):
        with pytest.raises(WeightsError, match=message) as caught:
            read_h5(str(path))
        assert str(path) in str(caught.value) and one_line(caught)

    def test_a_loop_of_links(self, tmp_path):
        with h5py.File(str(tmp_path / "w.h5"), "w") as file:
            file["block1_conv1"] = h5py.SoftLink("/block1_conv1")
        self.refused(tmp_path / "w.h5", "damaged.*too many links")

    def test_groups_or_nothing_in_place_of_arrays(self, tmp_path):
        with h5py.File(str(tmp_path / "w.h5"), "w") as file:
            file.create_group("block1_conv1/kernel")
            file["block1_conv1"].attrs["weight_names"] = [b"kernel", b"bias"]
        self.refused(tmp_path / "w.h5", "bias")
        with h5py.File(str(tmp_path / "w.h5"), "a") as file:
            file.create_group("block1_conv1/bias")
        self.refused(tmp_path / "w.h5", "damaged")

    def test_an_array_that_claims_to_fill_the_memory_is_not_read(self, tmp_path):
        with h5py.File(str(tmp_path / "w.h5"), "w") as file:
            for name in ("kernel", "bias"):
                file.create_dataset("block1_conv1/" + name, (1 << 20, 1 << 20, 64), "f4", chunks=(1, 1, 64))
            file["block1_conv1"].attrs["weight_names"] = [b"kernel", b"bias"]
        self.refused(tmp_path / "w.h5", r"block1_conv1 should be finite floats \(3, 3, 3, 64\), but .* 1048576")

    def test_a_kernel_without_its_bias(self, tmp_path):
        with h5py.File(str(tmp_path / "w.h5"), "w") as file:
            file["block1_conv1/kernel"] = np.zeros((3, 3, 3, 64), np.float32)
            file["block1_conv1"].attrs["weight_names"] = [b"kernel"]
        self.refused(tmp_path / "w.h5", "1 array for block1_conv1, not a kernel and a bias")

    @pytest.mark.parametrize(
        "error",
        [
            RuntimeError("Object visitation failed"),
            OSError("Unable to open file (unable to seek, errno = 22, error message = 'Invalid argument')"),
            OSError("Can't read data (inflate() failed)"),
            UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
            IndexError("index out of range"),
            OverflowError("Python int too large"),
            MemoryError(),
            RuntimeError("two\nlines"),
        ],
        ids=repr,
    )
    def test_whatever_h5py_raises(self, tmp_path, monkeypatch, error):
        """Simulated: most of these need a certain damage and a certain version of HDF5."""
        (tmp_path / "w.h5").write_bytes(b"")

        def fail(*_):
            raise error

        monkeypatch.setattr(h5py, "File", fail)
        self.refused(tmp_path / "w.h5", "damaged")


class TestWhatTheOperatingSystemRefuses:
    """The message has the system's reason, and not the word `damaged`."""

    def refused(self, path, message):
        with pytest.raises(WeightsError, match=message) as caught:
            read_h5(str(path))
        assert "damaged" not in str(caught.value) and str(path) in str(caught.value) and one_line(caught)

    def test_a_file_that_another_program_writes(self, tmp_path, vgg_weights):
        fcntl = pytest.importorskip("fcntl")
        path = tmp_path / "w.h5"
        write_h5(str(path), vgg_weights.arrays)
        with open(str(path), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # as HDF5 does while it writes
            self.refused(path, os.strerror(errno.EAGAIN) + ".*another program")

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (
                OSError(
                    "Unable to open file (unable to open file: name = 'w.h5', errno = 13, "
                    "error message = 'Permission denied', flags = 0, o_flags = 0)"
                ),
                "Permission denied",
            ),
            (
                OSError(
                    "Can't read data (file read failed: time = Wed Nov 25 00:07:41 2026\n, filename = 'w.h5', "
                    "file descriptor = 3, errno = 5, error message = 'Input/output error', buf = 0x7ff)"
                ),
                "Input/output error",
            ),
            (OSError(5, "Unable to synchronously open file (something, with no message of the system)"), "something"),
        ],
        ids=["h5py 2.10", "while reading", "h5py 3"],
    )
    def test_reasons_in_h5pys_words(self, tmp_path, monkeypatch, error, reason):
        """Simulated: tests often run as root, whom permissions do not stop, and disks seldom fail."""
        (tmp_path / "w.h5").write_bytes(b"")

        def fail(*_):
            raise error

        monkeypatch.setattr(h5py, "File", fail)
        self.refused(tmp_path / "w.h5", "cannot be read.*" + reason)

    def test_a_file_that_must_not_be_read(self, tmp_path, monkeypatch, vgg_weights):
        """Simulated: tests often run as root, whom permissions do not stop."""
        path = tmp_path / "w.h5"
        write_h5(str(path), vgg_weights.arrays)
        deny(monkeypatch, path)
        self.refused(path, "cannot be read.*" + os.strerror(errno.EACCES))

    def test_a_folder_that_must_not_be_read_is_not_a_missing_file(self, tmp_path):
        """A loop of links stands for it: `os.path.exists` says no to both."""
        path = tmp_path / "loop.h5"
        os.symlink(str(path), str(path))
        self.refused(path, "cannot be read.*" + os.strerror(errno.ELOOP))

    @pytest.mark.skipif(sys.platform == "win32", reason="limits of this kind are Unix's")
    def test_a_full_disk_leaves_the_file_as_it_was_and_the_program_running(self, tmp_path):
        """HDF5 crashes the whole process when it cannot write, so it must never meet the disk itself."""
        program = (
            "import resource, sys; from nst_graph.weights import random_weights, write_h5\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (5000000, resource.RLIM_INFINITY))\n"
            "try: write_h5(sys.argv[1], random_weights().arrays)\n"
            "except OSError as error: print(error.strerror)"
        )
        (tmp_path / "w.h5").write_bytes(b"before")
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "w.h5")], stdout=subprocess.PIPE, timeout=120
        )
        assert (done.returncode, done.stdout.decode().strip()) == (0, os.strerror(errno.EFBIG))
        assert os.listdir(str(tmp_path)) == ["w.h5"] and (tmp_path / "w.h5").read_bytes() == b"before"


def deny(monkeypatch, path):
    """Make Python's `open` refuse one file."""
    real = open

    def refuse(file, *arguments, **named):
        if str(file) == str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(file, *arguments, **named)

    monkeypatch.setattr("builtins.open", refuse)
