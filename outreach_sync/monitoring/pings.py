"""Pings: an address that is called when a run begins and ends, as healthchecks.io and its like want it.

Protocol (healthchecks.io, "Pinging API"): `<url>/start`, `<url>` for success, `<url>/fail`, `<url>/<exit status>`,
`<url>/log` for neither; the body is shown with the ping; `rid`, a UUID, ties a start to its end.
"""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit, urlunsplit

from outreach_sync import __version__
from outreach_sync.errors import OutreachSyncError
from outreach_sync.http import StopSignal, Transport

if TYPE_CHECKING:
    from outreach_sync.pipeline.run import Log

START, SUCCESS, FAIL, LOG = "/start", "", "/fail", "/log"

_TIMEOUT_SECONDS = 4.0
_SETTLE_SECONDS = 5.0
_LONGEST_BODY = 10_000
_RUNS = uuid.UUID("5f1d7a0e-6f0b-4d5e-9c63-0b8a4f6f2d11")
_OK = range(200, 300)


class Pings:
    """Calls one address. The address is a secret: whoever has it can forge pings, so it is never said."""

    def __init__(self, url: str, log: Log) -> None:
        """Call nobody yet."""
        self._url = url
        self._log = log
        self._under_way: list[_Call] = []

    def send(self, signal: str, run_id: str, body: str = "") -> None:
        """Call in the background: a run does not wait for its begin to be known."""
        earlier = self._under_way[-1] if self._under_way else None
        call = _Call(signal, address(self._url, signal, run_id), body[-_LONGEST_BODY:], after=earlier)
        self._under_way.append(call)
        call.start()

    def settle(self) -> None:
        """Give what is under way a few seconds, and log what did not arrive."""
        last = self._under_way[-1:]
        for call in last:
            call.join(_SETTLE_SECONDS)
        for call in self._under_way:
            problem = "no answer in time" if call.is_alive() else call.problem
            if problem is not None:
                self._log.warning("ping_failed", what=call.signal.lstrip("/") or "success", why=problem)
        self._under_way.clear()


def address(url: str, signal: str, run_id: str) -> str:
    """Put the signal behind the path of the address, and the run's id, as a UUID, into its query."""
    parts = urlsplit(url)
    rid = urlencode({"rid": str(uuid.uuid5(_RUNS, run_id))})
    query = f"{parts.query}&{rid}" if parts.query else rid
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + signal, query=query))


class _Call(threading.Thread):
    """One call; `problem` is why it failed, without the address."""

    def __init__(self, signal: str, url: str, body: str, *, after: _Call | None) -> None:
        super().__init__(name="ping", daemon=True)
        self.signal = signal
        self.problem: str | None = None
        self._target_url = url
        self._content = body.encode()
        self._after = after

    def run(self) -> None:
        if self._after is not None:
            self._after.join(_SETTLE_SECONDS)  # an end that arrives before its start would leave the run open
        transport = Transport(self._target_url, user_agent=f"outreach-sync/{__version__}", stop=StopSignal())
        try:
            answer = transport.send("POST", self._target_url, body=self._content, timeout_seconds=_TIMEOUT_SECONDS)
        except OutreachSyncError as failure:
            host = urlsplit(self._target_url).hostname or ""
            self.problem = failure.message.replace(host, "the address")
        else:
            self.problem = None if answer.status in _OK else f"answered {answer.status}"
        finally:
            transport.close()
