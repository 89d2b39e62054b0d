"""The simulated Outreach, and our side of the conversation with it."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from outreach_sync import http
from outreach_sync.config.model import Config
from outreach_sync.connections import Answer
from outreach_sync.outreach.client import Outreach
from outreach_sync.sandbox.outreach import OutreachSandbox
from tests.harness import NoWaiting, Time


class Side:
    """Everything of ours, as one process has it."""

    def __init__(self, config: Config) -> None:
        self.config, self.stop, self.retries = config, NoWaiting(Time()), list[http.RetryNote]()
        self.source: Any = Outreach(config, self.stop, on_retry=self.retries.append)
        self.tokens, self.file, self.transport = self.source.tokens, self.source.tokens.file, self.source.transport

    def get(self) -> dict[str, Any]:
        """Read a prospect."""
        return self.source.get("/api/v2/prospects", [("page[size]", "1")])

    def intercept(self, answer: Callable[..., Answer]) -> None:
        """Have each request go through `answer(send, method, url, **named)`."""
        self.transport.send = partial(answer, self.transport.send)

    def first_answers(self, answer: Answer, times: float, to: str = "") -> list[str]:
        """Have so many requests to a part of the service answered by something before it; return all that were sent."""
        sent: list[str] = []

        def answered(send: Callable[..., Answer], method: str, url: str, **named: Any) -> Answer:
            if to in f"{url}&":
                sent.append(url)
                if len(sent) <= times:
                    return answer
            return send(method, url, **named)

        self.intercept(answered)
        return sent


@pytest.fixture
def sandbox() -> Iterator[OutreachSandbox]:
    with OutreachSandbox() as running:
        yield running


@pytest.fixture
def connect(sandbox: OutreachSandbox, tmp_path: Path) -> Iterator[Callable[..., Side]]:
    """Start as a new process would, with the same token file; `changes` are keys of the section `outreach`."""
    made: list[Side] = []

    def _connect(*, sync: dict[str, Any] | None = None, **changes: Any) -> Side:
        oauth = {name: getattr(sandbox, name) for name in ("client_id", "client_secret", "refresh_token")}
        outreach = {"base_url": sandbox.url, "timeout": "60s", **({} if "s2s" in changes else oauth), **changes}
        document = {
            "outreach": {name: value for name, value in outreach.items() if value is not None},
            "sync": {"patience": "1m", **(sync or {})},
            "state": {"path": str(tmp_path / "state" / "state.db")},
        }
        made.append(Side(Config.model_validate(document)))
        return made[-1]

    yield _connect
    for side in made:
        side.transport.close()


@pytest.fixture
def side(connect: Callable[..., Side]) -> Side:
    return connect()
