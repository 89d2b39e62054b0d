"""The simulated Outreach, and our side of the conversation with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from outreach_sync import http
from outreach_sync.http import StopSignal, Transport
from outreach_sync.outreach.client import OutreachClient
from outreach_sync.outreach.settings import OutreachSettings
from outreach_sync.outreach.tokenfile import TokenFile
from outreach_sync.outreach.tokens import OAuthTokens
from outreach_sync.outreach.walk import Walker
from outreach_sync.sandbox.outreach import OutreachSandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from outreach_sync.http import RetryNote


@dataclass
class Side:
    """Everything of ours, as one process has it."""

    settings: OutreachSettings
    file: TokenFile
    stop: StopSignal
    transport: Transport
    tokens: OAuthTokens
    client: OutreachClient
    walker: Walker
    retries: list[RetryNote]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.01)


@pytest.fixture
def sandbox() -> Iterator[OutreachSandbox]:
    with OutreachSandbox() as running:
        yield running


@pytest.fixture
def connect(sandbox: OutreachSandbox, tmp_path: Path) -> Iterator[Callable[..., Side]]:
    """Start as a new process would, with the same token file and with settings that may differ."""
    made: list[Transport] = []

    def _connect(**changes: object) -> Side:
        given: dict[str, object] = {
            "base_url": sandbox.url,
            "client_id": sandbox.client_id,
            "client_secret": sandbox.client_secret,
            "redirect_uri": "https://localhost:8484/callback",
            "refresh_token": sandbox.refresh_token,
            "timeout_ms": 5_000,
            "patience_ms": 3_000,
            **changes,
        }
        settings = OutreachSettings(**given)  # type: ignore[arg-type]
        file = TokenFile(tmp_path / "state" / "tokens.json")
        stop = StopSignal()
        retries: list[RetryNote] = []
        transport = Transport(settings.base_url, user_agent="outreach-sync test", stop=stop)
        made.append(transport)
        tokens = OAuthTokens(settings, file, transport, stop, on_retry=retries.append)
        client = OutreachClient(settings, tokens, transport, stop, on_retry=retries.append)
        return Side(settings, file, stop, transport, tokens, client, Walker(client), retries)

    yield _connect
    for transport in made:
        transport.close()


@pytest.fixture
def side(connect: Callable[..., Side]) -> Side:
    return connect()
