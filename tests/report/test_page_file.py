from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from outreach_sync.errors import UsageError
from outreach_sync.report.page_file import write_page

if TYPE_CHECKING:
    from pathlib import Path


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def test_a_page_replaces_the_old_one_whole_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("old", encoding="utf-8")
    target.chmod(0o644)
    write_page("new \u2013 page\n", target)
    assert target.read_bytes() == "new \u2013 page\n".encode()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert _names(tmp_path) == ["report.html"]


@pytest.mark.parametrize("name", ["", "missing/report.html", "a-file/report.html"])
def test_a_place_that_cannot_be_written_is_a_usage_error_that_names_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match="cannot be written") as caught:
        write_page("page", tmp_path / name)
    assert caught.value.exit_status == 2
    assert _names(tmp_path) == ["a-file"]


def test_a_full_disk_leaves_the_old_page_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.html"
    target.write_text("old", encoding="utf-8")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        write_page("new", target)
    assert target.read_text(encoding="utf-8") == "old"
    assert _names(tmp_path) == ["report.html"]
