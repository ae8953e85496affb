import errno
import logging
import os

import pytest

from nst_graph.files import Dispensable, replacing


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


class TestDispensable:
    def test_what_can_be_written_is(self, tmp_path):
        Dispensable("the log").attempt((tmp_path / "x").write_text, "text")
        assert (tmp_path / "x").read_text() == "text"

    def test_the_first_failure_is_told_and_nothing_is_tried_after_it(self, caplog):
        tried = []

        def fail(number):
            tried.append(number)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        log = Dispensable("the log")
        with caplog.at_level(logging.INFO):
            for number in range(3):
                log.attempt(fail, number)
        assert tried == [0] and log.given_up
        (record,) = caplog.records
        assert record.name == "nst_graph.files"
        assert record.getMessage() == "the log cannot be written (No space left on device); the run goes on without"

    def test_a_fault_of_the_program_goes_through(self):
        with pytest.raises(ZeroDivisionError):
            Dispensable("the log").attempt(lambda: 1 / 0)

    def test_given_up_from_the_start(self):
        Dispensable("the log", given_up=True).attempt(lambda: pytest.fail("it was tried"))
