"""The simulated Outreach, and our side of the conversation with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync import http
from outreach_sync.config.model import Config
from outreach_sync.outreach.client import Outreach
from outreach_sync.sandbox.outreach import OutreachSandbox
from tests.harness import NoWaiting, Time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from outreach_sync.connections import Transport
    from outreach_sync.http import RetryNote, StopSignal
    from outreach_sync.outreach.auth import TokenFile, Tokens


@dataclass
class Side:
    """Everything of ours, as one process has it."""

    config: Config
    stop: StopSignal
    source: Outreach
    retries: list[RetryNote]

    @property
    def tokens(self) -> Tokens:
        return self.source.tokens

    @property
    def file(self) -> TokenFile:
        return self.source.tokens.file

    @property
    def transport(self) -> Transport:
        return self.source.transport


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.01)


@pytest.fixture
def sandbox() -> Iterator[OutreachSandbox]:
    with OutreachSandbox() as running:
        yield running


@pytest.fixture
def connect(sandbox: OutreachSandbox, tmp_path: Path) -> Iterator[Callable[..., Side]]:
    """Start as a new process would, with the same token file; `changes` are keys of the section `outreach`."""
    made: list[Outreach] = []

    def _connect(*, patience: str = "3s", sync: dict[str, Any] | None = None, **changes: Any) -> Side:
        oauth = {
            "client_id": sandbox.client_id,
            "client_secret": sandbox.client_secret,
            "redirect_uri": "https://localhost:8484/callback",
            "refresh_token": sandbox.refresh_token,
        }
        outreach = {"base_url": sandbox.url, "timeout": "5s", **({} if "s2s" in changes else oauth), **changes}
        config = Config.model_validate(
            {
                "outreach": {name: value for name, value in outreach.items() if value is not None},
                "workbooks": {"api_key": "unused"},
                "sync": {"patience": patience, **(sync or {})},
                "state": {"path": str(tmp_path / "state" / "state.db")},
            }
        )
        stop, retries = NoWaiting(Time()), list[http.RetryNote]()
        source = Outreach(config, stop, on_retry=retries.append)
        made.append(source)
        return Side(config, stop, source, retries)

    yield _connect
    for source in made:
        source.transport.close()


@pytest.fixture
def side(connect: Callable[..., Side]) -> Side:
    return connect()
