"""Reading and writing Keras's .h5 files: good ones, damaged ones, and those that are made to do harm."""

import errno
import hashlib
import io
import os
import signal
import socket
import struct
import subprocess
import sys
import warnings

import h5py
import numpy as np
import psutil
import pytest

from nst_graph.errors import WeightsError
from nst_graph.weights import h5, h5_reader, read_h5, write_h5

KERNEL, BIAS = (3, 3, 3, 64), (64,)
#: VGG-19's first layer. Most files here have no other: what is wrong with it is found before the next.
LAYER = [("block1_conv1", (KERNEL, BIAS))]

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of this kind are Linux's")
unix = pytest.mark.skipif(sys.platform == "win32", reason="files and limits of this kind are Unix's")


def equal(one, two):
    return len(one) == len(two) and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, two))


def deny(monkeypatch, path):
    """Make the system refuse to open one file. Tests often run as root, whom permissions do not stop."""
    real = os.open

    def refuse(file, *arguments, **named):
        if str(file) == str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(file, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)


def take_for_kerass_own(monkeypatch, path):
    """Make a file the one that Keras is known to offer."""
    monkeypatch.setattr(h5, "KERAS_BYTES", os.path.getsize(str(path)))
    monkeypatch.setattr(h5, "KERAS_MD5", hashlib.md5(path.read_bytes()).hexdigest())


def refused(path, message):
    """Assert that `read_h5` refuses a file in one short line that names it, and return the line."""
    with pytest.raises(WeightsError, match=message) as caught:
        read_h5(str(path))
    line = str(caught.value)
    assert str(path) in line and "\n" not in line and len(line) < len(str(path)) + 500
    return line


def made(path, add=None, names=(b"kernel", b"bias")):
    """Write a file with the first layer alone: its kernel by `add(group)`, a good one by default, and a good bias."""
    with h5py.File(str(path), "w") as file:
        group = file.create_group("block1_conv1")
        group["bias"] = np.ones(BIAS, np.float32)
        if add is None:
            group["kernel"] = np.ones(KERNEL, np.float32)
        else:
            add(group)
        if names is not None:
            group.attrs["weight_names"] = names if isinstance(names, bytes) else list(names)
    return path


def read_here(path):
    """Read the first layer of a file in this process."""
    with open(str(path), "rb") as file:
        return list(h5_reader.read_arrays(file, LAYER))


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

    def test_the_last_array_counts_as_much_as_the_first(self, tmp_path, vgg_weights):
        path = tmp_path / "w.h5"
        write_h5(str(path), [*vgg_weights.arrays[:31], vgg_weights.arrays[31] * np.inf])
        refused(path, "block5_conv4 should be finite floats, but some are infinite or not numbers")

    def test_kerass_own_file_is_read_without_another_process(self, tmp_path, monkeypatch, vgg_weights):
        path = tmp_path / "w.h5"
        write_h5(str(path), vgg_weights.arrays)
        take_for_kerass_own(monkeypatch, path)
        monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
        assert equal(read_h5(str(path)), vgg_weights.arrays)

    def test_a_file_that_differs_from_it_by_one_bit_is_not_its(self, tmp_path, monkeypatch):
        path = made(tmp_path / "w.h5")
        take_for_kerass_own(monkeypatch, path)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        started = []
        real = subprocess.Popen
        monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(1) or real(*a, **k))
        refused(path, "block1_conv2")
        assert started == [1]


class TestTypes:
    @pytest.mark.parametrize("dtype", ["f2", ">f4", "f8", np.longdouble], ids=str)
    def test_floats_become_float32(self, tmp_path, dtype):
        values = np.linspace(-2, 2, int(np.prod(KERNEL))).reshape(KERNEL).astype(np.float16)
        path = made(tmp_path / "w.h5", lambda group: group.create_dataset("kernel", data=values.astype(dtype)))
        assert equal(read_here(path), [values.astype(np.float32), np.ones(BIAS, np.float32)])

    def test_names_as_texts_of_any_length(self, tmp_path):
        assert len(read_here(made(tmp_path / "w.h5", names=("kernel", "bias")))) == 2

    @pytest.mark.parametrize("value", [1, True, 1j, b"text"], ids=repr)
    def test_what_is_no_float_is_refused(self, tmp_path, value):
        path = made(tmp_path / "w.h5", lambda group: group.create_dataset("kernel", data=np.full(KERNEL, value)))
        with pytest.raises(h5_reader.Refused, match=r"block1_conv1 should be finite floats \(3, 3, 3, 64\), but it is"):
            read_here(path)

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (np.float64(1e39), "too large for float32"),
            (np.float64(-1.7e308), "too large for float32"),
            (np.float16(np.inf), "infinite or not numbers"),
            (np.float64(np.nan), "infinite or not numbers"),
        ],
    )
    def test_values_that_are_no_finite_float32_are_refused_without_a_warning(self, tmp_path, value, message):
        values = np.ones(KERNEL, value.dtype)
        values[1, 2, 1, 33] = value
        path = made(tmp_path / "w.h5", lambda group: group.create_dataset("kernel", data=values))
        with warnings.catch_warnings(), pytest.raises(h5_reader.Refused, match=message):
            warnings.simplefilter("error")
            read_here(path)


def linked(target):
    return lambda group: group.__setitem__("kernel", target)


class TestWhatIsNotInTheFileItself:
    """A file may lead to others, or to itself. Nothing is followed: a good array at the other end changes nothing."""

    @pytest.fixture
    def other(self, tmp_path):
        return str(made(tmp_path / "other.h5"))

    def test_links_to_an_array(self, tmp_path, other):
        to_other = h5py.ExternalLink(other, "/block1_conv1/kernel")
        for target, message in (
            (to_other, "'kernel' is a link to another file"),
            (h5py.SoftLink("bias"), "'kernel' is a symbolic link"),
            (h5py.SoftLink("/block1_conv1/kernel"), "'kernel' is a symbolic link"),  # a loop
        ):
            with pytest.raises(h5_reader.Refused, match=message + "; store what it leads to in its place"):
                read_here(made(tmp_path / "w.h5", linked(target)))

    @pytest.mark.parametrize("name", ["model_weights", "block1_conv1"])
    def test_links_to_a_group(self, tmp_path, other, name):
        for target in (h5py.ExternalLink(other, "/block1_conv1"), h5py.SoftLink("/" + name)):
            with h5py.File(str(tmp_path / "w.h5"), "w") as file:
                file[name] = target
            with pytest.raises(h5_reader.Refused, match=f"'{name}' is a .*link"):
                read_here(tmp_path / "w.h5")

    def test_a_group_inside_itself(self, tmp_path):
        def add(group):
            group["kernel"] = np.ones(KERNEL, np.float32)
            group["loop"] = group

        assert len(read_here(made(tmp_path / "w.h5", add, (b"loop/loop/kernel", b"bias")))) == 2
        with pytest.raises(h5_reader.Refused, match="longer than 1000"):
            read_here(made(tmp_path / "w.h5", add, (b"loop/" * 3000 + b"kernel", b"bias")))

    @unix
    @pytest.mark.parametrize("where", ["raw", "pipe"])
    def test_values_in_another_file(self, tmp_path, where):
        (tmp_path / "raw").write_bytes(np.ones(KERNEL, np.float32).tobytes())
        os.mkfifo(str(tmp_path / "pipe"))

        def add(group):
            group.create_dataset("kernel", KERNEL, "f4", external=[(str(tmp_path / where), 0, h5py.h5f.UNLIMITED)])

        refused(made(tmp_path / "w.h5", add), "the values of 'kernel' are in another file; store them in this one")

    @pytest.mark.skipif(not hasattr(h5py, "VirtualLayout"), reason="this HDF5 has no virtual data sets")
    def test_values_in_other_data_sets(self, tmp_path, other):
        """A data set that is made of itself crashes HDF5, so this is read in another process."""
        for source in (".", other):
            layout = h5py.VirtualLayout(KERNEL, np.float32)
            layout[...] = h5py.VirtualSource(source, "/block1_conv1/kernel", KERNEL)
            path = made(tmp_path / "w.h5", lambda group, layout=layout: group.create_virtual_dataset("kernel", layout))
            refused(path, "'kernel' is a virtual data set")


class TestWhatClaimsTooMuch:
    def test_a_shape_that_fills_the_memory(self, tmp_path):
        def add(group):
            group.create_dataset("kernel", (1 << 20, 1 << 20, 64), "f4", chunks=(1, 1, 64), compression="gzip")

        refused(
            made(tmp_path / "w.h5", add), r"should be finite floats \(3, 3, 3, 64\), but it is .* \(1048576, 1048576"
        )

    def test_a_forged_shape(self, tmp_path):
        path = made(tmp_path / "w.h5")
        data, shape = path.read_bytes(), struct.pack("<4Q", *KERNEL)
        assert shape in data
        path.write_bytes(data.replace(shape, struct.pack("<4Q", 1 << 20, 1 << 20, 1 << 20, 64)))
        refused(path, r"damaged|\(1048576, 1048576, 1048576, 64\)")  # some versions of HDF5 find out themselves

    def test_a_chunk_that_fills_the_memory(self, tmp_path):
        def add(group):
            group.create_dataset("kernel", KERNEL, "f4", maxshape=(None,) * 4, chunks=(64, 64, 64, 128))

        with pytest.raises(h5_reader.Refused, match="a chunk of 'kernel' is larger than any array of VGG-19"):
            read_here(made(tmp_path / "w.h5", add))

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            ([b"kernel"] * 1500, "has 1500 arrays for block1_conv1, not a kernel and a bias"),
            ([b"kernel"], "has 1 array for block1_conv1"),
            ([b"kernel", b"kernel"], r"should be finite floats \(64,\), but it is"),
            (b"kernel", "no list of names"),
            ([1, 2], "no list of names"),
            (np.array([b"k" * 1001, b"bias"]), "longer than 1000"),
            (["k" * 1001, "bias"], "longer than 1000"),
            ([b"k" * 900, b"bias"], "it has no 'kkk"),
            ([b"../bias", b"bias"], "it has no '../bias'"),
            ([b"a\nb\x1b[31m", b"bias"], r"it has no 'a\\nb\\x1b\[31m'"),
            (None, "weight_names"),
        ],
        ids=range(11),
    )
    def test_lists_of_names(self, tmp_path, names, message):
        with pytest.raises(h5_reader.Refused, match=message) as caught:
            read_here(made(tmp_path / "w.h5", names=names))
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


class TestOtherFiles:
    def test_what_is_no_whole_hdf5_file(self, tmp_path):
        for name, data in (("text.h5", b"hello"), ("empty.h5", b"")):
            (tmp_path / name).write_bytes(data)
            refused(tmp_path / name, "is damaged or is no HDF5 file; get it again or name another")
        path = made(tmp_path / "w.h5")
        path.write_bytes(path.read_bytes()[:-1000])
        refused(path, "is damaged or is no HDF5 file")

    def test_other_layers_or_nothing_in_their_place(self, tmp_path):
        for build, message in (
            (lambda file: file.create_group("conv2d_1"), "it has no 'block1_conv1'"),
            (lambda file: file.create_dataset("block1_conv1", data=np.zeros(3)), "block1_conv1 is no group"),
            (lambda file: file.__setitem__("model_weights", np.zeros(3)), "it has no 'block1_conv1'"),
        ):
            with h5py.File(str(tmp_path / "w.h5"), "w") as file:
                build(file)
            with pytest.raises(h5_reader.Refused, match="is no Keras file of VGG-19's weights.*" + message):
                read_here(tmp_path / "w.h5")
        for add, message in (
            (lambda group: None, "it has no 'kernel'"),
            (lambda group: group.create_group("kernel"), "'kernel' is no array"),
            (lambda group: group.__setitem__("kernel", np.dtype("f4")), "'kernel' is no array"),
            (lambda group: group.create_dataset("kernel", (3, 3, 1, 64), "f4"), r"but it is float32 \(3, 3, 1, 64\)"),
        ):
            with pytest.raises(h5_reader.Refused, match=message):
                read_here(made(tmp_path / "w.h5", add))

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (RuntimeError("Object visitation failed"), "damaged: Object visitation failed"),
            (OSError("Can't read data (inflate() failed)"), "is damaged or is no HDF5 file"),
            (OSError("Unable to open file (file is already open for write)"), "open for writing in another program"),
            (OSError(errno.EIO, "anything"), "cannot be read: " + os.strerror(errno.EIO)),
            (OSError(errno.EINVAL, "anything"), "is damaged or is no HDF5 file"),
            (OSError(errno.EMFILE, "anything"), "leads to another file"),
            (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), "damaged"),
            (OverflowError("Python int too large"), "damaged"),
            (MemoryError(), "needs far more memory"),
            (RuntimeError("two\nlines"), "damaged: two lines"),
            (KeyError("x" * 100_000), "damaged: x{200}$"),
        ],
        ids=range(11),
    )
    def test_whatever_h5py_raises(self, monkeypatch, error, message):
        """Simulated: most of these need a certain damage, a disk that fails, or a certain version of HDF5."""

        def fail(*_):
            raise error

        monkeypatch.setattr(h5py, "File", fail)
        with pytest.raises(h5_reader.Refused, match=message):
            list(h5_reader.read_arrays(io.BytesIO(), LAYER))

    def test_a_disk_that_fails(self, tmp_path):
        class Failing(io.FileIO):
            def readinto(self, buffer):
                if len(buffer) >= 4 * np.prod(KERNEL):
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                return super().readinto(buffer)

        with Failing(str(made(tmp_path / "w.h5"))) as file:
            with pytest.raises(h5_reader.Refused, match="^cannot be read: " + os.strerror(errno.EIO)):
                list(h5_reader.read_arrays(file, LAYER))


class TestWhatIsNotRead:
    """Each has a line of its own, and none is called damaged."""

    def refused(self, path, message):
        assert "damaged" not in refused(path, message)

    def test_no_file(self, tmp_path):
        self.refused(tmp_path / "missing.h5", "there is no weights file")
        (tmp_path / "file").write_text("")
        self.refused(tmp_path / "file" / "w.h5", "there is no weights file")
        with pytest.raises(WeightsError, match="there is no weights file"):
            read_h5("with\0null")

    def test_a_folder(self, tmp_path):
        self.refused(tmp_path, "is a folder; name a file in it")

    @unix
    def test_what_is_no_regular_file(self, tmp_path):
        os.mkfifo(str(tmp_path / "w.h5"))
        self.refused(tmp_path / "w.h5", "is a pipe, a device or a socket")
        self.refused("/dev/zero", "is a pipe, a device or a socket")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "s"))
            self.refused(tmp_path / "s", "cannot be read")

    def test_a_file_that_another_program_writes(self, tmp_path):
        fcntl = pytest.importorskip("fcntl")
        path = made(tmp_path / "w.h5")
        with open(str(path), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # as HDF5 does while it writes
            self.refused(path, os.strerror(errno.EAGAIN) + ".*another program")

    def test_a_file_without_permission(self, tmp_path, monkeypatch):
        path = made(tmp_path / "w.h5")
        deny(monkeypatch, path)
        self.refused(path, "cannot be read.*" + os.strerror(errno.EACCES))

    def test_a_loop_of_symbolic_links(self, tmp_path):
        path = tmp_path / "loop.h5"
        os.symlink(str(path), str(path))
        self.refused(path, "cannot be read.*" + os.strerror(errno.ELOOP))

    def test_a_long_name_is_not_repeated(self):
        with pytest.raises(WeightsError, match="File name too long") as caught:
            read_h5("x" * 100_000)
        assert len(str(caught.value)) < 400


class TestTheOtherProcess:
    """What happens to it is not this process's fate."""

    @pytest.fixture
    def path(self, tmp_path):
        return made(tmp_path / "w.h5")

    @unix
    @pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
    def test_a_crash(self, path, monkeypatch, name):
        monkeypatch.setattr(h5, "_BOOTSTRAP", f"import os, signal; os.kill(os.getpid(), signal.{name})")
        refused(path, rf"is damaged or malicious: HDF5 crashed on it \({name}\); name another or get it again")

    def test_an_early_end(self, path, monkeypatch):
        monkeypatch.setattr(h5, "_BOOTSTRAP", "import os; os.write(1, bytes(1000))")
        refused(path, r"HDF5 crashed on it \(exit status 0\)")

    @unix
    def test_a_crash_after_all_arrays(self, path, monkeypatch):
        monkeypatch.setattr(h5, "_BOOTSTRAP", "import os, sys; sys.stdout.buffer.write(bytes(80097536)); os.abort()")
        refused(path, r"HDF5 crashed on it \(SIGABRT\)")

    def test_reading_without_end(self, path, monkeypatch):
        monkeypatch.setattr(h5, "_BOOTSTRAP", "import time; time.sleep(60)")
        monkeypatch.setattr(h5, "READ_SECONDS", 0.3)
        before = psutil.Process().children()
        refused(path, "is given up: reading it took more than 0.3 s")
        assert psutil.Process().children() == before

    @unix
    def test_an_interruption_ends_it(self, path, monkeypatch):
        monkeypatch.setattr(h5, "_BOOTSTRAP", "import time; time.sleep(60)")
        before = psutil.Process().children()

        def interrupt(*_):
            raise KeyboardInterrupt

        handler = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            with pytest.raises(KeyboardInterrupt):
                read_h5(str(path))
        finally:
            signal.signal(signal.SIGALRM, handler)
        assert psutil.Process().children() == before

    def test_a_python_that_fails(self, path, monkeypatch):
        monkeypatch.setattr(h5, "_BOOTSTRAP", "import no_such_module")
        assert "damaged" not in refused(path, "cannot be read: .*no_such_module")
        monkeypatch.setattr(sys, "executable", str(path))
        refused(path, "cannot be read: no process can be started for it")
        monkeypatch.setattr(sys, "executable", "")
        refused(path, "sys.executable")

    def test_it_imports_nothing_from_the_current_folder(self, path, tmp_path, monkeypatch):
        folder, marker = tmp_path / "pictures", tmp_path / "marker"
        folder.mkdir()
        for name in ("h5py", "numpy", "json", "runpy", "sitecustomize"):
            (folder / (name + ".py")).write_text(f"open({str(marker)!r}, 'w').write({name!r})\n")
        monkeypatch.chdir(str(folder))
        monkeypatch.setenv("PYTHONPATH", os.pathsep)
        monkeypatch.setattr(sys, "path", ["", *sys.path])
        refused(path, "block1_conv2")
        assert not marker.exists()

    @unix
    def test_without_limits_as_on_windows(self, tmp_path, monkeypatch, vgg_weights):
        monkeypatch.setattr(h5, "_BOOTSTRAP", "import sys; sys.modules['resource'] = None\n" + h5._BOOTSTRAP)
        write_h5(str(tmp_path / "w.h5"), vgg_weights.arrays)
        assert equal(read_h5(str(tmp_path / "w.h5")), vgg_weights.arrays)

    @linux
    def test_its_limits(self, tmp_path):
        """It can take no more memory, open no other file and write to none; and it ends if nobody ends it."""
        program = (
            "import os, signal, sys; from nst_graph.weights import h5_reader\n"
            "written = open(sys.argv[1], 'wb', 0)\n"
            "h5_reader._limit(60)\n"
            "def tried(thing):\n"
            "    try: thing()\n"
            "    except Exception as error: return type(error).__name__, getattr(error, 'errno', None)\n"
            "print(tried(lambda: bytearray(400 << 20)), tried(lambda: bytearray(600 << 20)),\n"
            "      tried(lambda: open(sys.argv[1])), tried(lambda: written.write(b'x')), signal.alarm(0) > 60)"
        )
        printed = subprocess.check_output([sys.executable, "-c", program, str(tmp_path / "x")]).decode().strip()
        assert printed == (f"None ('MemoryError', None) ('OSError', {errno.EMFILE}) ('OSError', {errno.EFBIG}) True")


class TestWriteH5:
    @unix
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
