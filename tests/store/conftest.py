from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outreach_sync.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


@pytest.fixture
def state(path: Path) -> Iterator[Store]:
    opened = Store.open(path)
    yield opened
    opened.connection.close()  # as often as one likes, unlike `close`
