import errno
import logging
import os
import subprocess
import sys
import time

import pytest

from nst_graph import files
from nst_graph.errors import OutputError
from nst_graph.files import Dispensable, Repeated, check_file, check_folder, real_path, real_paths, replacing
from tests import ROOT


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


def test_the_extension_is_kept(tmp_path):
    """Matplotlib goes by it."""
    with pytest.raises(KeyError), replacing(str(tmp_path / "x.y.png")) as temporary:
        assert temporary.endswith(".png")
        raise KeyError


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (done.append(os.fstat(descriptor).st_ino), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("replace"), replace(*paths)))
    with replacing(str(tmp_path / "x")) as temporary, open(temporary, "w") as file:
        file.write("new")
    assert done == [(tmp_path / "x").stat().st_ino, "replace"]


def test_a_network_share_that_is_full_says_so_when_the_file_is_brought_to_it(tmp_path, monkeypatch):
    target = tmp_path / "x"
    target.write_text("old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), replacing(str(target)) as temporary, open(
        temporary, "w"
    ) as file:
        file.write("new")
    assert target.read_text() == "old" and os.listdir(str(tmp_path)) == ["x"]


class TestWhatAKilledProcessLeaves:
    """A lock, and what it wrote."""

    #: Writes x in two halves; what it does between them is the test's.
    PROGRAM = """
import os, sys
from nst_graph.files import replacing
with replacing("x.png") as temporary, open(temporary, "w") as file:
    file.write("a half")
    file.flush()
    print("a half", flush=True)
    sys.stdin.read()
"""

    @pytest.fixture
    def writer(self, tmp_path):
        process = subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM],
            cwd=str(tmp_path),
            env=dict(os.environ, PYTHONPATH=str(ROOT)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout.readline() == b"a half\n"
        yield process
        process.kill()
        process.communicate()

    @staticmethod
    def write(path):
        with replacing(str(path)) as temporary, open(temporary, "w") as file:
            file.write("new")

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no signal 9")
    def test_is_removed_when_it_is_dead_and_not_before(self, tmp_path, writer):
        begun = sorted(os.listdir(str(tmp_path)))
        assert len(begun) == 2
        self.write(tmp_path / "other")
        assert sorted(os.listdir(str(tmp_path))) == [*begun, "other"]
        writer.kill()
        writer.wait()
        self.write(tmp_path / "other")
        assert os.listdir(str(tmp_path)) == ["other"]

    def test_the_live_one_ends_well(self, tmp_path, writer):
        for _ in range(3):
            self.write(tmp_path / "x.png")
        writer.communicate()
        assert writer.returncode == 0
        assert (tmp_path / "x.png").read_text() == "a half" and os.listdir(str(tmp_path)) == ["x.png"]

    def abandoned(self, folder, machine=None, days=0):
        name = f".nst_graph-{machine or files._machine()}-{32 * '0'}"
        for path in (folder / name, folder / (name + ".part.png")):
            path.write_text("")
            then = time.time() - days * 86400
            os.utime(str(path), (then, then))

    def test_of_another_machine_only_after_a_day(self, tmp_path):
        """There are file systems whose locks other machines do not see."""
        self.abandoned(tmp_path, "0" * 8)
        self.write(tmp_path / "x")
        assert len(os.listdir(str(tmp_path))) == 3
        self.abandoned(tmp_path, "0" * 8, days=2)
        self.write(tmp_path / "x")
        assert os.listdir(str(tmp_path)) == ["x"]

    def test_where_a_file_system_has_no_locks(self, tmp_path, monkeypatch):
        fcntl = pytest.importorskip("fcntl", reason="this system has other locks")

        def flock(*arguments):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(fcntl, "flock", flock)
        self.abandoned(tmp_path)
        self.write(tmp_path / "x")
        assert len(os.listdir(str(tmp_path))) == 3
        self.abandoned(tmp_path, days=2)
        self.write(tmp_path / "x")
        assert os.listdir(str(tmp_path)) == ["x"]

    def test_where_a_file_system_does_not_tell_a_process_from_itself(self, tmp_path, monkeypatch):
        """Another thread of this process writes here too."""
        fcntl = pytest.importorskip("fcntl", reason="this system has other locks")
        monkeypatch.setattr(fcntl, "flock", lambda *arguments: None)
        with replacing(str(tmp_path / "x")) as temporary, open(temporary, "w") as file:
            file.write("new")
            self.write(tmp_path / "other")
        assert sorted(os.listdir(str(tmp_path))) == ["other", "x"]

    def test_other_names_and_links_stay(self, tmp_path):
        name = f".nst_graph-{files._machine()}-{32 * '0'}"
        (tmp_path / "mine").write_text("mine")
        (tmp_path / name).symlink_to("mine")
        for other in (name + "0", name[:-1], name[1:], ".nst_graph-abcd1234", ".nst_graph-x.part"):
            (tmp_path / other).write_text("")
        before = sorted(os.listdir(str(tmp_path)))
        self.write(tmp_path / "x")
        assert sorted(os.listdir(str(tmp_path))) == sorted([*before, "x"])

    def test_a_lock_that_another_process_found_first_is_not_used(self, tmp_path, monkeypatch):
        """It was removed in the moment before it was locked."""
        locked, seen = files._locked_now, []

        def found_first(descriptor):
            if not seen:
                seen.extend(tmp_path.iterdir())
                seen[0].unlink()
            return locked(descriptor)

        monkeypatch.setattr(files, "_locked_now", found_first)
        with replacing(str(tmp_path / "x")) as temporary, open(temporary, "w") as file:
            assert not temporary.startswith(str(seen[0]))
            file.write("new")
        assert os.listdir(str(tmp_path)) == ["x"]


def test_a_file_that_is_written_again_and_again(caplog):
    """One line for each time that a disk is full, and one when it is not any more."""
    full, tried = [False], []

    def write(number):
        tried.append(number)
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    repeated = Repeated()
    for number in range(8):
        full[0] = number in (1, 2, 5)
        assert repeated.attempt(f"file {number}", write, number) == (not full[0])
    assert tried == list(range(8))
    failure = "cannot be written (No space left on device); the run goes on and tries again"
    assert [record.getMessage() for record in caplog.records] == [
        f"file 1 {failure}",
        "file 3 can be written again",
        f"file 5 {failure}",
        "file 6 can be written again",
    ]
    with pytest.raises(ZeroDivisionError):
        repeated.attempt("it", lambda: 1 / 0)


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

    @pytest.mark.parametrize("name", ["x" * 251 + ".png", "x." + "y" * 253])
    def test_the_longest_name_can_be_written(self, tmp_path, name):
        path = str(tmp_path / name)
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

    def test_a_working_folder_that_was_removed(self, tmp_path, monkeypatch):
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        with pytest.raises(OutputError, match="'x.png' cannot be written: the working folder was removed; change to"):
            check_file("x.png")
        check_file(str(tmp_path / "x.png"), ["x.png", "y"])
        check_folder("log", [str(tmp_path / "x.png")])

    def test_a_folder_in_the_place_of_a_file(self, tmp_path):
        path = str(tmp_path / "x")
        for folder in (path, os.path.join(path, "log")):
            with pytest.raises(OutputError, match="would be in the place of the run's file"):
                check_folder(folder, [path])
        check_folder(path, [os.path.join(path, "picture.png"), path + "y"])

    def test_a_name_that_is_too_long(self, tmp_path):
        with pytest.raises(OutputError, match="File name too long"):
            check_file(str(tmp_path / ("x" * 252 + ".png")))
        assert os.listdir(str(tmp_path)) == []


@pytest.mark.skipif(os.name != "posix", reason="links are those of POSIX")
def test_many_real_paths_are_those_of_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "a" / "file").symlink_to("../gone")
    paths = [
        "a/file",
        "link/x",
        "a/x",
        "./link/../a/x",
        "x",
        "",
        ".",
        "link",
        "link/",
        "link/..",
        "/",
        "/x",
        "gone/x/y",
    ]
    assert real_paths(iter(paths)) == [real_path(path) for path in paths]
