from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from outreach_sync.files import beside, make_directory, open_private, read_limited, root_among_others, write_whole


def _names(directory: Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir())


@pytest.mark.parametrize(
    ("there", "private", "expected"), [(0o640, False, 0o640), (0o754, True, 0o700), (None, False, 0o644)]
)
def test_a_file_that_is_replaced_keeps_its_mode(
    tmp_path: Path, there: int | None, private: bool, expected: int
) -> None:
    path = tmp_path / "file"
    if there is not None:
        path.write_text("a longer old one")
        path.chmod(there)
    write_whole(path, "new – one\n", mode=0o644, private=private)  # noqa: RUF001
    assert path.read_text(encoding="utf-8") == "new – one\n"  # noqa: RUF001
    assert stat.S_IMODE(path.stat().st_mode) == expected
    assert _names(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_or_makes_belongs_to_the_user_whose_place_it_is(tmp_path: Path) -> None:
    home, path = tmp_path / "service", tmp_path / "service" / "file"
    home.mkdir()
    path.write_text("old")
    for one in (home, path):
        os.chown(one, 12345, 23456)
    write_whole(path, "new")
    write_whole(home / "another", "new")
    make_directory(home / "a" / "b")
    os.close(open_private(home / "a" / "b" / "lock"))
    made = (path, home / "another", home / "a", home / "a" / "b", home / "a" / "b" / "lock")
    assert {(one.stat().st_uid, one.stat().st_gid) for one in made} == {(12345, 23456)}


def test_directories_and_files_are_private_from_the_start_whatever_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_directory(tmp_path / "a" / "b" / "c")
        os.close(open_private(tmp_path / "a" / "b" / "c" / "file"))
    finally:
        os.umask(before)
    for name in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a/b/c/file").stat().st_mode) == 0o600


def test_a_link_in_the_place_of_a_private_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("keep")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        open_private(tmp_path / "lock")


def test_two_names_of_one_file_have_one_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "directory").symlink_to(tmp_path / "real")
    (tmp_path / "name.db").symlink_to(tmp_path / "directory" / "state.db")
    expected = tmp_path / "real" / "state.db.lock"
    for name in (tmp_path / "real/state.db", tmp_path / "directory/state.db", tmp_path / "name.db"):
        assert beside(name, ".lock") == expected


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_limited(path, 100) == b"x" * 100
    for too_large in (path, Path("/dev/zero")):
        with pytest.raises(OSError, match="larger"):
            read_limited(too_large, 99)


def test_the_name_of_a_new_file_is_on_the_disk_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda one: synced.append("directory" if stat.S_ISDIR(os.fstat(one).st_mode) else "file")
    )
    write_whole(tmp_path / "file", "text")
    assert synced == ["file", "directory"]


@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_stays_one_and_what_it_points_to_is_written(tmp_path: Path, there: bool) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "file", tmp_path / "link"
    if there:
        target.write_text("old")
    link.symlink_to(target)
    write_whole(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert _names(tmp_path / "real") == ["file"]


def test_a_pipe_is_written_into_where_that_is_wanted_and_never_replaced(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_whole(pipe, "through", through=True)
    reader.join(10)
    assert got == ["through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(OSError, match="not a regular file"):
        write_whole(pipe, "not this way")
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_directory_and_a_link_to_itself_are_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, through in ((tmp_path, True), (tmp_path, False), (tmp_path / "loop", True), (tmp_path / "loop", False)):
        with pytest.raises(OSError, match=r"Is a directory|Too many levels"):
            write_whole(path, "text", through=through)
    assert _names(tmp_path) == ["loop"]


def test_a_full_disk_leaves_what_was_there_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is warned")
def test_root_is_told_where_a_state_belongs_to_somebody_else(tmp_path: Path) -> None:
    assert root_among_others(tmp_path / "state.db") is None
    os.chown(tmp_path, 12345, 12345)
    warning = root_among_others(tmp_path / "state.db")
    assert warning is not None
    assert f"{tmp_path} belongs to user 12345, and this is root" in warning
