"""A config in a temporary directory."""

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
    def write_config(text: str | bytes) -> Path:
        path = tmp_path / "outreach-sync.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_config


@pytest.fixture
def minimal(write: Write) -> Write:
    """A config with its credentials and whatever else a test adds."""
    return lambda more="": write(MINIMAL + more)
