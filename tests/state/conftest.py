from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from outreach_sync.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


@pytest.fixture
def state(path: Path) -> Iterator[State]:
    opened = State.open(path)
    yield opened
    opened.connection.close()  # as often as one likes, unlike `close`
