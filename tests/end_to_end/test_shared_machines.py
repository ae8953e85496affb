"""Several processes that write the same files, and users without a home folder and without a network."""

import os
import subprocess
import sys

import pytest

WRITER = """
import sys
from nst_graph.files import replacing
path, letter, count = sys.argv[1:]
for _ in range(int(count)):
    with replacing(path) as temporary, open(temporary, "w") as file:
        for _ in range(10):
            file.write(letter * 10_000)
            file.flush()
"""


def test_a_file_that_several_processes_write_is_always_whole(tmp_path):
    path = tmp_path / "output.png"
    words = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*words, letter, "100"]) for letter in "abc"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            text = path.read_text()
            assert len(text) == 100_000 and len(set(text)) == 1
            seen.add(text[0])
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len(seen) > 1 and os.listdir(str(tmp_path)) == ["output.png"]


#: Looks for weights like a user whom the system does not know.
WITHOUT_HOME = """
import pwd, sys
from nst_graph import find_weights
from nst_graph.program import set_up

def unknown(number):
    raise KeyError(number)

pwd.getpwuid = unknown
set_up("program")
find_weights("auto")
"""


@pytest.mark.skipif(os.name != "posix", reason="other systems have no users without a home folder")
def test_without_a_home_folder_and_a_network_one_line_says_what_to_do(tmp_path):
    nobody = "http://127.0.0.1:9"  # nothing listens there: TCP's port 9 is for discarding
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("HOME", "XDG_", "KERAS_", "PIP_"))
    }
    environment.update(
        dict.fromkeys(["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "PIP_INDEX_URL"], nobody)
    )
    environment.update(PIP_CONFIG_FILE=os.devnull, PIP_RETRIES="0")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_HOME], cwd=str(tmp_path), env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stdout == ""
    *notices, error = done.stderr.splitlines()
    assert (
        error.startswith("program: error: VGG-19's weights are not available. Three ways out: ") and len(error) < 1000
    )
    assert len(notices) <= 3 and "Traceback" not in done.stderr
    assert os.listdir(str(tmp_path)) == []  # no folder of the name `~`
