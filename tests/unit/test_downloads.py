"""Downloads of any file. What else can go wrong with one is tested with weights and with pictures."""

import hashlib
import os

import pytest

from nst_graph import downloads
from nst_graph.errors import DownloadError
from tests.servers import serving

BODY = b"bytes" * 100
SHA256 = downloads.Checksum("SHA-256", lambda data: hashlib.sha256(data).hexdigest(), hashlib.sha256(BODY).hexdigest())


@pytest.fixture
def url():
    with serving({"/file": (BODY, "good")}) as server:
        yield server.url + "/file"


def test_reaching_a_server_loads_nothing():
    with serving({"/file": (BODY, "good")}) as server:
        downloads.reach(server.url + "/file")
        assert server.requests == [("HEAD", "/file")]
        with pytest.raises(DownloadError, match="the server answers 404"):
            downloads.reach(server.url + "/other")


def test_a_file_is_replaced_only_by_the_right_one(url, tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    wrong = SHA256._replace(digits="0" * 64)
    with pytest.raises(DownloadError, match="its SHA-256 is not the expected one"):
        downloads.download(url, str(tmp_path / "file"), wrong, 1000)
    assert (tmp_path / "file").read_bytes() == b"old"
    downloads.download(url, str(tmp_path / "file"), SHA256, 1000)
    assert (tmp_path / "file").read_bytes() == BODY
    assert os.listdir(str(tmp_path)) == ["file"]


def test_as_many_bytes_as_allowed_and_no_more(url, tmp_path):
    with pytest.raises(DownloadError, match="stored more than 0 MB, more than was expected"):
        downloads.download(url, str(tmp_path / "file"), SHA256, len(BODY) - 1)
    assert os.listdir(str(tmp_path)) == []
    downloads.download(url, str(tmp_path / "file"), SHA256, len(BODY))
    assert os.listdir(str(tmp_path)) == ["file"]


def test_a_link_stays_and_its_file_is_written(url, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "file")
    downloads.download(url, str(tmp_path / "link"), SHA256, 1000)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "elsewhere" / "file").read_bytes() == BODY
    assert sorted(os.listdir(str(tmp_path))) == ["elsewhere", "link"]


def test_a_folder_that_cannot_be_written_is_an_oserror(url, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        downloads.download(url, str(tmp_path / "file" / "file"), SHA256, 1000)
