from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from outreach_sync.whole_file import write_whole

if TYPE_CHECKING:
    from pathlib import Path


def _names(directory: Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir())


@pytest.mark.parametrize(("mode", "expected"), [(0o644, 0o644), (None, 0o640)])
def test_a_file_is_replaced_with_the_mode_that_was_asked_for(tmp_path: Path, mode: int | None, expected: int) -> None:
    path = tmp_path / "file"
    path.write_text("a longer old one")
    path.chmod(0o640)
    write_whole(path, "new – one\n", mode=mode)  # noqa: RUF001
    assert path.read_text(encoding="utf-8") == "new – one\n"  # noqa: RUF001
    assert stat.S_IMODE(path.stat().st_mode) == expected
    assert _names(tmp_path) == ["file"]


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
    with pytest.raises(OSError, match="no regular file"):
        write_whole(pipe, "not this way")
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("through", [True, False])
def test_a_directory_and_a_link_to_itself_are_refused(tmp_path: Path, through: bool) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path, tmp_path / "loop"):
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
