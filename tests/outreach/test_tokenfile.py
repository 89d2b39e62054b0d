from __future__ import annotations

import json
import os
import stat
import threading
import time
from typing import TYPE_CHECKING

import pytest

from outreach_sync.errors import StateError
from outreach_sync.instants import Instant
from outreach_sync.outreach.auth import StoredTokens, TokenFile

if TYPE_CHECKING:
    from pathlib import Path

TOKENS = StoredTokens(
    access_token="access",
    expires_at=Instant(2),
    refresh_token="refresh",
    issued_at=Instant(1),
    scope="tasks.read",
    seed="seed",
    clock_offset_ms=-5,
)


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "made" / "tokens.json")


def test_what_is_written_is_read(file: TokenFile) -> None:
    assert file.read() is None
    file.write(TOKENS)
    assert file.read() == TOKENS


def test_only_the_owner_may_read_the_tokens(file: TokenFile) -> None:
    before = os.umask(0)
    try:
        file.write(TOKENS)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_tokens_that_others_may_read_are_refused(file: TokenFile, mode: int) -> None:
    file.write(TOKENS)
    file.path.chmod(mode)
    with pytest.raises(StateError, match="chmod 600"):
        file.read()


def test_a_write_leaves_nothing_beside_the_file(file: TokenFile) -> None:
    file.prove_writable()
    assert list(file.path.parent.iterdir()) == []
    file.write(TOKENS)
    file.write(TOKENS)
    assert list(file.path.parent.iterdir()) == [file.path]


def test_a_failed_write_leaves_what_was_there(file: TokenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write(TOKENS)

    def no_space(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StateError, match="No space left"):
        file.write(TOKENS._replace(access_token="other"))
    assert file.read() == TOKENS
    assert list(file.path.parent.iterdir()) == [file.path]


def test_new_tokens_are_on_disk_when_they_are_used(file: TokenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    file.write(TOKENS)
    assert synced == ["file", "directory"]


def test_a_place_that_cannot_be_written_is_noticed_in_time(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("a file where the directory should be")
    file = TokenFile(tmp_path / "made" / "tokens.json")
    with pytest.raises(StateError, match="cannot be written"):
        file.prove_writable()
    with pytest.raises(StateError, match="cannot be written"), file.alone():
        pass


@pytest.mark.parametrize("content", ["{", "[]", "7", '{"access_token"'])
def test_a_damaged_file_is_not_taken_for_no_file(file: TokenFile, content: str) -> None:
    file.write(TOKENS)
    file.path.write_text(content)
    with pytest.raises(StateError, match="auth login"):
        file.read()


def test_a_field_of_a_newer_version_is_passed_over(file: TokenFile) -> None:
    file.write(TOKENS)
    file.path.write_text(json.dumps({"access_token": "a", "invented": 1}))
    assert file.read() == StoredTokens(access_token="a")


def test_one_process_rotates_at_a_time(file: TokenFile) -> None:
    inside: list[int] = []
    overlaps: list[int] = []

    def rotate() -> None:
        with TokenFile(file.path).alone():
            inside.append(1)
            overlaps.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    threads = [threading.Thread(target=rotate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert overlaps == [1, 1, 1, 1]
