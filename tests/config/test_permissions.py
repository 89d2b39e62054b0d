from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from outreach_sync.config import permissions_warning

Write = Callable[..., Path]


@pytest.mark.parametrize(("mode", "who"), [(0o644, "everyone"), (0o640, "its group"), (0o604, "everyone")])
def test_a_secret_that_others_can_read_is_named_and_not_shown(minimal: Write, mode: int, who: str) -> None:
    path = minimal()
    path.chmod(mode)
    warning = permissions_warning(path)
    assert warning is not None
    assert f"outreach.client_secret, workbooks.api_key and can be read by {who}" in warning
    assert "planted" not in warning


def test_a_secret_of_the_owner_alone_is_fine(minimal: Write) -> None:
    path = minimal()
    path.chmod(0o600)
    assert permissions_warning(path) is None


def test_a_config_without_a_secret_may_be_read_by_anyone(write: Write) -> None:
    path = write("outreach: {client_id: c, client_secret: '${S}'}\nworkbooks: {api_key_file: /run/key}\n")
    path.chmod(0o644)
    assert permissions_warning(path) is None
