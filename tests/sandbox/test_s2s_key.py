from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outreach_sync.errors import UsageError
from outreach_sync.sandbox.s2s_key import public_key_of

if TYPE_CHECKING:
    from pathlib import Path


def test_the_key_is_private_and_kept_for_the_next_time(tmp_path: Path) -> None:
    key = tmp_path / "somewhere" / "state.s2s.pem"
    public = public_key_of(key)
    made = key.read_bytes()
    assert public.startswith("-----BEGIN PUBLIC KEY-----")
    assert key.stat().st_mode & 0o777 == 0o600
    assert (public_key_of(key), key.read_bytes()) == (public, made)


def test_a_key_that_cannot_be_kept_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be kept"):
        public_key_of(tmp_path / "file" / "state.s2s.pem")
