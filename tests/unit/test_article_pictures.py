"""Fetching the article's pictures, against a local server that has others, or none."""

import hashlib
import os

import pytest

from nst_graph import article_pictures, downloads
from nst_graph.errors import DownloadError, OutputError
from tests.servers import serving

#: What the server of these tests has under the pictures' names.
BODIES = {name: name.encode() * 1000 for name in article_pictures.SHA256}
NAMES = list(BODIES)
GOOD = {f"/{name}": (body, "good") for name, body in BODIES.items()}


@pytest.fixture
def serve(monkeypatch):
    """Let the pictures be at a local server. Give a function that changes how it serves pages, and takes no more."""
    pages = dict(GOOD)
    with serving(pages) as server:
        monkeypatch.setattr(article_pictures, "ADDRESS", server.url + "/")
        monkeypatch.setattr(
            article_pictures, "SHA256", {name: hashlib.sha256(body).hexdigest() for name, body in BODIES.items()}
        )
        server.change = pages.update
        yield server


def fetched(folder, *arguments, **limits):
    """Return what `fetch` says of each picture, by name."""
    found = {}
    for path, what in article_pictures.fetch(str(folder), *arguments, **limits):
        assert os.path.dirname(path) == str(folder) and os.path.isfile(path)
        found[os.path.basename(path)] = what
    return found


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_content_and_the_styles_are_the_four_pictures():
    assert [article_pictures.CONTENT, *article_pictures.STYLES] == list(article_pictures.SHA256)


def test_all_are_fetched_into_a_new_folder(serve, tmp_path):
    assert fetched(tmp_path / "a" / "b") == dict.fromkeys(NAMES, "fetched")
    assert contents(tmp_path / "a" / "b") == BODIES


def test_pictures_that_are_there_are_not_fetched_again(serve, tmp_path):
    (tmp_path / NAMES[1]).write_bytes(BODIES[NAMES[1]])
    assert fetched(tmp_path) == {name: "there already" if name == NAMES[1] else "fetched" for name in NAMES}
    assert {path for _, path in serve.requests} == {f"/{name}" for name in NAMES if name != NAMES[1]}
    del serve.requests[:]
    assert fetched(tmp_path, True) == dict.fromkeys(NAMES, "there already")
    assert serve.requests == []


def test_a_file_with_other_content_is_not_replaced(serve, tmp_path):
    for name in NAMES[2:]:
        (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(OutputError, match="there already with other content.*--overwrite") as caught:
        fetched(tmp_path)
    assert all(str(tmp_path / name) in str(caught.value) for name in NAMES[2:])
    assert contents(tmp_path) == dict.fromkeys(NAMES[2:], b"mine")
    assert serve.requests == []


def test_an_empty_file_and_a_larger_one_are_other_content(serve, tmp_path):
    (tmp_path / NAMES[0]).write_bytes(b"")
    with pytest.raises(OutputError, match="--overwrite"):
        fetched(tmp_path)
    (tmp_path / NAMES[0]).write_bytes(BODIES[NAMES[0]] + b"more")
    with pytest.raises(OutputError, match="--overwrite"):
        fetched(tmp_path)


def test_overwrite_replaces_it(serve, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "pictures" / NAMES[3]).symlink_to(tmp_path / "mine")
    (tmp_path / "pictures" / NAMES[0]).write_bytes(b"mine")
    whats = {name: "replaced" if name in (NAMES[0], NAMES[3]) else "fetched" for name in NAMES}
    assert fetched(tmp_path / "pictures", True) == whats
    assert contents(tmp_path / "pictures") == BODIES
    # As everywhere in this project, the file that a link leads to is written.
    assert (tmp_path / "pictures" / NAMES[3]).is_symlink() and (tmp_path / "mine").read_bytes() == BODIES[NAMES[3]]


def test_a_picture_that_has_moved_is_followed(serve, tmp_path):
    serve.change({f"/{NAMES[0]}": (b"/there", "moved"), "/there": (BODIES[NAMES[0]], "good")})
    assert fetched(tmp_path) == dict.fromkeys(NAMES, "fetched")
    assert contents(tmp_path) == BODIES


OTHER = b"<html>Log in first</html>"


@pytest.mark.parametrize(
    ("page", "limits", "why"),
    [
        ((OTHER, "good"), {}, "its SHA-256 is not the expected one"),
        ((BODIES[NAMES[2]], "short"), {}, "its SHA-256 is not the expected one|IncompleteRead"),
        ((BODIES[NAMES[2]], "stall"), {"stall_seconds": 0.5}, "timed out"),
        ((BODIES[NAMES[2]], "stall"), {"total_seconds": 1}, "took more than 1 s"),
        ((b"", "endless"), {}, "stored more than 1 MB"),
        ((b"", "missing"), {}, "the server answers 404"),
        ((b"", "silent"), {"connect_seconds": 0.3}, "did not answer in 0.3 s|timed out"),
    ],
    ids=["another file", "short", "stalls", "takes too long", "endless", "missing", "silent"],
)
def test_what_was_fetched_before_a_failure_stays(serve, tmp_path, monkeypatch, page, limits, why):
    monkeypatch.setattr(downloads, "_LOOK_SECONDS", 0.05)
    serve.change({f"/{NAMES[2]}": page})
    with pytest.raises(DownloadError, match=why) as caught:
        fetched(tmp_path, **limits)
    assert contents(tmp_path) == {name: BODIES[name] for name in NAMES[:2]}
    # What, from where, what to do: for this picture and the next.
    for part in (repr(str(tmp_path / NAMES[2])), f"{serve.url}/{NAMES[2]}: ", f"or put {NAMES[2]}, {NAMES[3]} from"):
        assert part in str(caught.value)


def test_a_file_stays_when_its_replacement_fails(serve, tmp_path):
    (tmp_path / NAMES[0]).write_bytes(b"mine")
    serve.change({f"/{NAMES[0]}": (OTHER, "good")})
    with pytest.raises(DownloadError, match="SHA-256"):
        fetched(tmp_path, True)
    assert contents(tmp_path) == {NAMES[0]: b"mine"}


def test_a_large_file_is_refused_though_it_came_quickly(serve, tmp_path, monkeypatch):
    """It may be complete before the first look at its size; its checksum alone is right."""
    monkeypatch.setattr(article_pictures, "MOST_BYTES", len(BODIES[NAMES[0]]) - 1)
    with pytest.raises(DownloadError, match="stored more than"):
        fetched(tmp_path)
    assert contents(tmp_path) == {}


def test_without_a_server_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(article_pictures, "ADDRESS", "http://127.0.0.1:9/")
    (tmp_path / "mine").mkdir()
    with pytest.raises(DownloadError, match="refused"):
        fetched(tmp_path / "mine" / "a" / "b")
    assert os.listdir(str(tmp_path / "mine")) == []


def test_an_interruption_leaves_nothing(serve, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "run_python", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetched(tmp_path / "a" / "b")
    assert os.listdir(str(tmp_path)) == []


def test_what_is_in_the_way_is_found_before_any_request(serve, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for folder, why in (("file", "is not a folder"), (os.path.join("file", "a"), "cannot be written in")):
        with pytest.raises(OutputError, match=why):
            fetched(tmp_path / folder)
    (tmp_path / "a" / NAMES[3]).mkdir(parents=True)
    with pytest.raises(OutputError, match="in the way and not a file"):
        fetched(tmp_path / "a", True)
    (tmp_path / "b").mkdir()
    os.mkfifo(str(tmp_path / "b" / NAMES[1]))
    with pytest.raises(OutputError, match="in the way and not a file"):
        fetched(tmp_path / "b", True)
    assert serve.requests == [] and os.listdir(str(tmp_path / "a")) == [NAMES[3]]
