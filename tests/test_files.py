import os
import stat
import threading
from pathlib import Path

import pytest

from outreach_sync.files import beside, make_directory, open_private, read_limited, root_among_others, write_whole


def _names(directory: Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir())


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("there", "private", "mode"), [(0o640, False, 0o640), (0o754, True, 0o700), (0, False, 0o644)])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path, there: int, private: bool, mode: int) -> None:
    path = tmp_path / "file"
    if there:
        path.write_text("a longer old one")
        path.chmod(there)
    write_whole(path, "new – one\n", mode=0o644, private=private)  # noqa: RUF001
    assert path.read_text(encoding="utf-8") == "new – one\n"  # noqa: RUF001
    assert (_mode(path), _names(tmp_path)) == (mode, ["file"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_or_makes_belongs_to_the_user_whose_place_it_is_and_root_is_told(tmp_path: Path) -> None:
    home = tmp_path / "service"
    path, another, lock = home / "file", home / "another", home / "a" / "b" / "lock"
    assert root_among_others(path) is None
    home.mkdir()
    path.write_text("old")
    for one in (home, path):
        os.chown(one, 12345, 23456)
    write_whole(path, "new")
    write_whole(another, "new")
    make_directory(lock.parent)
    os.close(open_private(lock))
    owners = {(one.stat().st_uid, one.stat().st_gid) for one in (path, another, lock, *lock.parents[:2])}
    assert owners == {(12345, 23456)}
    assert f"{home} belongs to user 12345, and this is root" in str(root_among_others(home / "state.db"))
    assert root_among_others(path / "state.db") is None  # a file is in the way: what to do is another thing


def test_two_names_of_one_file_have_one_file_beside_it_and_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "directory").symlink_to(tmp_path / "real")
    (tmp_path / "name.db").symlink_to(tmp_path / "directory" / "state.db")
    lock = tmp_path / "real" / "state.db.lock"
    assert {beside(tmp_path / name, ".lock") for name in ("real/state.db", "directory/state.db", "name.db")} == {lock}
    (tmp_path / "precious").write_text("keep")
    lock.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        open_private(lock)


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_limited(path, 100) == b"x" * 100
    for too_large in (path, Path("/dev/zero")):
        with pytest.raises(OSError, match="larger"):
            read_limited(too_large, 99)


def test_a_symbolic_link_stays_one_and_what_it_points_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "file", tmp_path / "link"
    link.symlink_to(target)
    for text in ("new", "newer"):
        write_whole(link, text)
        assert (link.is_symlink(), target.read_text(), _names(tmp_path / "real")) == (True, text, ["file"])


def test_a_pipe_is_written_into_where_that_is_wanted_and_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_whole(pipe, "through", through=True)
    reader.join(10)
    with pytest.raises(OSError, match="not a regular file"):
        write_whole(pipe, "not this way")
    assert (got, pipe.is_fifo()) == (["through"], True)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, through in ((tmp_path, True), (tmp_path, False), (tmp_path / "loop", True), (tmp_path / "loop", False)):
        with pytest.raises(OSError, match=r"Is a directory|Too many levels"):
            write_whole(path, "text", through=through)
    assert _names(tmp_path) == ["loop", "pipe"]


def test_a_file_and_its_name_are_brought_to_the_disk_and_a_full_one_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "file", []

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", lambda one: synced.append(stat.S_ISDIR(os.fstat(one).st_mode)))
    write_whole(path, "old")
    assert synced == [False, True], "the file, then its directory"
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new")
    assert (path.read_text(), _names(tmp_path)) == ("old", ["file"])
