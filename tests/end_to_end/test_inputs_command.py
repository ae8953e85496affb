"""`nst-graph inputs` in a process of its own, against a local server or none."""

import hashlib
import os
import shlex
import signal
import subprocess
import sys

import pytest

from nst_graph import article_pictures
from nst_graph.settings import from_words
from tests import ROOT
from tests.servers import serving

BODIES = {name: name.encode() * 1000 for name in article_pictures.SHA256}
NAMES = list(BODIES)

#: The command as it is, but for where the pictures are and, if that is said, which they are.
ELSEWHERE = """
import sys
from nst_graph import article_pictures, cli
article_pictures.ADDRESS = sys.argv[1]
article_pictures.SHA256.update(word.split("=") for word in sys.argv[2].split())
cli.main(["inputs", *sys.argv[3:]])
"""
OTHER_PICTURES = " ".join(f"{name}={hashlib.sha256(body).hexdigest()}" for name, body in BODIES.items())


def start(cwd, *words, **variables):
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=str(cwd),
        env=dict(os.environ, PYTHONPATH=str(ROOT), **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        # A shell's job in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def inputs(cwd, *words, **variables):
    """Run it, or what `words` begin with; return its exit status and the lines that it printed."""
    process = start(cwd, *words, **variables)
    output, errors = process.communicate()
    return process.returncode, output.splitlines(), errors.splitlines()


@pytest.fixture
def server():
    with serving({f"/{name}": (body, "good") for name, body in BODIES.items()}) as running:
        yield running


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("folder", ["pictures", "my friend's $HOME; 'pictures"])
@pytest.mark.parametrize("beside_the_script", [True, False])
def test_a_user_fetches_them_and_copies_a_command(server, tmp_path, folder, beside_the_script):
    if beside_the_script:
        (tmp_path / "legacy_script.py").write_text("")
    status, lines, errors = inputs(tmp_path, "-c", ELSEWHERE, server.url + "/", OTHER_PICTURES, folder)
    assert (status, errors) == (0, [])
    assert contents(tmp_path / folder) == BODIES
    assert lines[:4] == [f"{os.path.join(folder, name)}: fetched" for name in NAMES]
    assert "Carl Fredriksson" in lines[4] and "MIT License" in lines[4]
    assert "legacy_script.py" in lines[5]
    # Where the script is elsewhere, so is the folder that its user is in.
    shown = os.path.join("" if beside_the_script else str(tmp_path), folder)
    made = []
    for line, style in zip(lines[6:], article_pictures.STYLES):
        program, script, *words = shlex.split(line)
        assert (program, script) == ("python", "legacy_script.py")
        constants = from_words(words, {}).constants()
        assert constants["CONTENT_IMG_PATH"] == os.path.join(shown, "cat.jpg")
        assert constants["STYLE_IMG_PATH"] == os.path.join(shown, style)
        made.append(constants["GENERATED_IMG_PATH"])
    assert len(set(made)) == 3 and len(lines) == 9


def test_a_second_time_it_fetches_nothing_and_replaces_nothing(server, tmp_path):
    (tmp_path / NAMES[0]).write_bytes(b"mine")
    words = ["-c", ELSEWHERE, server.url + "/", OTHER_PICTURES, "."]
    status, lines, errors = inputs(tmp_path, *words)
    assert (status, lines, len(errors)) == (2, [], 1)
    assert errors[0].startswith("nst-graph: error: './cat.jpg': there already") and "--overwrite" in errors[0]
    assert contents(tmp_path) == {NAMES[0]: b"mine"}
    status, lines, _ = inputs(tmp_path, *words, "--overwrite")
    assert status == 0 and lines[0] == "./cat.jpg: replaced" and contents(tmp_path) == BODIES
    count = len(server.requests)
    status, lines, _ = inputs(tmp_path, *words)
    assert status == 0 and lines[:4] == [f"./{name}: there already" for name in NAMES]
    assert len(server.requests) == count


def test_offline_it_says_what_why_and_what_to_do(tmp_path):
    """The whole command with its own address, behind a proxy that is not there."""
    variables = dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    status, lines, errors = inputs(
        tmp_path, "-m", "nst_graph", "inputs", "pictures", no_proxy="", NO_PROXY="", **variables
    )
    assert (status, lines, len(errors)) == (2, [], 1)
    assert errors[0].startswith("nst-graph: error: 'pictures/cat.jpg' cannot be fetched from https://raw.")
    assert "/CarlFredriksson/neural_style_transfer/master/input/cat.jpg: Connection refused; check the net" in errors[0]
    assert errors[0].endswith("into 'pictures' yourself")
    assert os.listdir(str(tmp_path)) == []


def test_another_file_is_one_line(server, tmp_path):
    """The pictures of this server are not the article's."""
    status, lines, errors = inputs(tmp_path, "-c", ELSEWHERE, server.url + "/", "", "pictures")
    assert (status, lines, len(errors)) == (2, [], 1)
    assert "its SHA-256 is not the expected one" in errors[0]
    assert os.listdir(str(tmp_path)) == []


def test_control_c_leaves_nothing(tmp_path):
    with serving({f"/{NAMES[0]}": (BODIES[NAMES[0]], "stall")}) as server:
        process = start(tmp_path, "-c", ELSEWHERE, server.url + "/", OTHER_PICTURES, "pictures")
        assert server.stalled.wait(60)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    assert (process.returncode, output, errors) == (130, "", "")
    assert os.listdir(str(tmp_path)) == []


def test_the_articles_own_pictures_have_these_checksums(article_dir, tmp_path):
    real = {name: (article_dir / "article" / "inputs" / name).read_bytes() for name in NAMES}
    with serving({f"/{name}": (body, "good") for name, body in real.items()}) as server:
        status, _, errors = inputs(tmp_path, "-c", ELSEWHERE, server.url + "/", "", "pictures")
    assert (status, errors) == (0, [])
    assert contents(tmp_path / "pictures") == real


def test_it_needs_neither_opencv_nor_tensorflow(tmp_path):
    look = (
        "import sys\nfrom nst_graph import cli\n"
        "for words in (['inputs', '--help'], ['inputs', 'file']):\n"
        "    try:\n        cli.main(words)\n    except (SystemExit, OSError):\n        pass\n"
        "print(sorted({'tensorflow', 'keras', 'tf_keras', 'cv2', 'h5py', 'PIL'} & set(sys.modules)))\n"
    )
    (tmp_path / "file").write_bytes(b"")
    status, lines, _ = inputs(tmp_path, "-c", look)
    assert status == 0 and lines[0].startswith("usage: nst-graph inputs") and lines[-1] == "[]"
