"""A config in a temporary directory, and an environment without anything that would change what it means."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

MINIMAL = """
outreach:
  client_id: the-client
  client_secret: planted-client-secret
workbooks:
  api_key: planted-api-key
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_config(text: str) -> Path:
        path = tmp_path / "outreach-sync.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_config


@pytest.fixture
def minimal(write: Write) -> Callable[..., Path]:
    """A config with its credentials and whatever else a test adds."""

    def write_minimal(more: str = "") -> Path:
        return write(MINIMAL + more)

    return write_minimal


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OUTREACH", "WORKBOOKS", "XDG_"))]:
        monkeypatch.delenv(name)
