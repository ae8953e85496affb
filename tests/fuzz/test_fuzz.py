"""The fuzzer finds faults that were planted."""

import sys

from tests.fuzz.__main__ import Fuzzing, main

SOFT = ["exception", "prints", "warns", "memory", "runs or writes", "runs or writes", "message"]
if sys.version_info < (3, 8):  # Python cannot tell what it runs
    SOFT = [kind for kind in SOFT if kind != "runs or writes"]


def test_faults_that_were_planted_are_found(tmp_path, capfd):
    fuzzing = Fuzzing("planted", tmp_path, example_seconds=20)
    fuzzing.run(0.01, seed=0)
    assert [finding["kind"] for finding in fuzzing.findings] == [*SOFT, "crash"]
    assert "KeyError: 'raise'" in fuzzing.findings[0]["detail"]
    # What was kept is found again.
    (tmp_path / "again").mkdir()
    words = ["--target", "planted", "--input", fuzzing.findings[0]["input"], "--folder", str(tmp_path / "again")]
    assert main(words) == 1
    assert "KeyError: 'raise'" in capfd.readouterr().out


def test_a_hang_is_found(tmp_path):
    (tmp_path / "input").write_bytes(b"hang")
    fuzzing = Fuzzing("planted", tmp_path, example_seconds=0.5)
    fuzzing.repeat(str(tmp_path / "input"))
    assert [finding["kind"] for finding in fuzzing.findings] == ["hang"]
