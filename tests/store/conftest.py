"""Records as Outreach tells them, for a state in a directory of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outreach_sync.records import Prospect, SequenceState, SourceTask
from outreach_sync.store import Store
from outreach_sync.store.cache import CachedTask


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


@pytest.fixture
def state(path: Path) -> Iterator[Store]:
    opened = Store.open(path)
    yield opened
    opened.connection.close()  # as often as one likes, unlike `close`


def state_of(prospect_id: int | None, word: str = "active", at: Any = 1, **values: Any) -> SequenceState:
    return SequenceState(7, prospect_id, 1, word, at, at)._replace(**values)


def prospect_of(at: Any = 1, **values: Any) -> Prospect:
    emails = ("ada@example.com",)
    return Prospect(1, None, None, emails, None, False, None, False, None, None, at)._replace(**values)


def task_of(at: Any = 1, *, skipped: bool = True, **values: Any) -> CachedTask:
    task = SourceTask(5, 1, None, None, None, "t", "a", None, None, at, {"state": "x"})
    return CachedTask(task._replace(**values), skipped)


def put(state: Store, value: str = "value") -> None:
    """Change something in a state, in a transaction of its own."""
    with state.transaction():
        state.facts.put("name", value)
