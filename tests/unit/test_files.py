import os

import pytest

from nst_graph.files import replacing


def test_the_target_is_old_until_the_block_ends(tmp_path):
    target = tmp_path / "x.txt"
    target.write_text("old")
    with replacing(str(target)) as temporary:
        assert os.path.dirname(temporary) == str(tmp_path)
        with open(temporary, "w") as file:
            file.write("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert os.listdir(str(tmp_path)) == ["x.txt"]


def test_a_block_that_raises_changes_nothing(tmp_path):
    target = tmp_path / "x.txt"
    target.write_text("old")
    with pytest.raises(KeyError), replacing(str(target)) as temporary:
        with open(temporary, "w") as file:
            file.write("ne")
        raise KeyError
    assert target.read_text() == "old"
    assert os.listdir(str(tmp_path)) == ["x.txt"]


def test_two_writers_do_not_meet(tmp_path):
    target = str(tmp_path / "x.txt")
    with replacing(target) as one, replacing(target) as two:
        assert one != two
        for temporary in (one, two):
            with open(temporary, "w") as file:
                file.write(temporary)
    assert os.listdir(str(tmp_path)) == ["x.txt"]
