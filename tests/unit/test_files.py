import errno
import logging
import os

import pytest

from nst_graph.errors import OutputError
from nst_graph.files import Dispensable, check_file, check_folder, replacing


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


class TestCheckFile:
    """What the check says before a run is what `replacing` meets at its end."""

    def test_a_file_that_can_be_written(self, tmp_path):
        check_file(str(tmp_path / "new" / "x.png"))
        assert os.listdir(str(tmp_path)) == ["new"] and os.listdir(str(tmp_path / "new")) == []

    def test_a_link_is_probed_where_its_target_is(self, tmp_path):
        (tmp_path / "target").mkdir()
        link = tmp_path / "x.png"
        link.symlink_to(tmp_path / "file" / "x.png")
        (tmp_path / "file").write_text("no folder")
        with pytest.raises(OutputError, match="file' cannot be written in"):
            check_file(str(link))
        link.unlink()
        link.symlink_to(tmp_path / "target" / "x.png")
        check_file(str(link))
        with replacing(str(link)) as temporary, open(temporary, "w") as file:
            file.write("new")
        assert link.is_symlink() and (tmp_path / "target" / "x.png").read_text() == "new"

    def test_the_folder_of_a_links_target_is_made(self, tmp_path):
        link = tmp_path / "x.png"
        link.symlink_to(tmp_path / "missing" / "x.png")
        check_file(str(link))
        with replacing(str(link)) as temporary, open(temporary, "w") as file:
            file.write("new")
        assert (tmp_path / "missing" / "x.png").read_text() == "new"

    def test_the_longest_name_can_be_written(self, tmp_path):
        path = str(tmp_path / ("x" * 251 + ".png"))
        check_file(path)
        with replacing(path) as temporary, open(temporary, "w") as file:
            file.write("new")
        assert os.path.getsize(path) == 3

    @pytest.mark.parametrize("kind", ["a pipe", "a device"])
    def test_what_is_no_file_is_not_replaced(self, tmp_path, kind):
        path = "/dev/null"
        if kind == "a pipe":
            path = str(tmp_path / "x.png")
            os.mkfifo(path)
        (tmp_path / "link.png").symlink_to(path)
        for name in (path, str(tmp_path / "link.png")):
            with pytest.raises(OutputError, match="is a device, a pipe or a socket, which a file would replace"):
                check_file(name)

    def test_a_file_of_the_same_run(self, tmp_path):
        path = str(tmp_path / "x")
        with pytest.raises(OutputError, match="is read or written by the same run already"):
            check_file(path, [str(tmp_path / "." / "x")])
        for name, other in ((path, os.path.join(path, "y")), (os.path.join(path, "z", "y"), path)):
            with pytest.raises(OutputError, match="one is to be a file and the other a file in it"):
                check_file(name, [other])
        check_file(path, [path + "y"])
        assert os.listdir(str(tmp_path)) == []  # no folder was made for what is refused

    def test_a_folder_in_the_place_of_a_file(self, tmp_path):
        path = str(tmp_path / "x")
        for folder in (path, os.path.join(path, "log")):
            with pytest.raises(OutputError, match="would be in the place of the run's file"):
                check_folder(folder, [path])
        check_folder(path, [os.path.join(path, "picture.png"), path + "y"])

    def test_a_name_that_is_too_long(self, tmp_path):
        for name in ("x" * 252 + ".png", "x." + "y" * 230):
            with pytest.raises(OutputError, match="File name too long"):
                check_file(str(tmp_path / name))
        assert os.listdir(str(tmp_path)) == []
