"""The back door of both simulated services: everything under ``/_sandbox/``, as JSON, without authentication.

| request | does |
|---|---|
| ``GET /_sandbox/`` | summary: service, time, records by type, requests by kind, active faults |
| ``GET /_sandbox/faults`` | every fault with its documentation and state |
| ``POST /_sandbox/faults`` | ``{"name", "times", "after", "options"}`` switches one on |
| ``DELETE /_sandbox/faults[/NAME]`` | switches all, or one, off |
| ``GET``, ``DELETE /_sandbox/requests`` | the journal; forget it |
| ``POST /_sandbox/clock`` | ``{"advance_ms"}`` and, or, ``{"header_skew_ms"}`` |
| ``GET``, ``POST /_sandbox/records`` | dump of all records; a change, in the form the service's store takes |

None of this is written to the journal.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from outreach_sync import instants
from outreach_sync.sandbox.server import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.sandbox.clock import SandboxClock
    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.journal import Journal
    from outreach_sync.sandbox.server import Request

PREFIX = "/_sandbox"
_FAULT_KEYS = ("name", "times", "after", "options")


class Records(Protocol):
    """What the back door needs of a store."""

    def summary(self) -> Mapping[str, int]:
        """Count the records by type."""

    def dump(self) -> dict[str, Any]:
        """Give everything as a JSON value."""

    def change(self, document: dict[str, Any]) -> dict[str, Any]:
        """Apply a change given as JSON and say what came of it.

        Raises:
            ValueError, KeyError: the change makes no sense.
        """


class Control:
    """Answers requests below ``/_sandbox/`` for one service."""

    def __init__(self, name: str, *, clock: SandboxClock, faults: FaultBoard, journal: Journal, store: Records) -> None:
        """Take the parts of the service that it shows and changes."""
        self._name = name
        self._clock = clock
        self._faults = faults
        self._journal = journal
        self._store = store

    @staticmethod
    def concerns(request: Request) -> bool:
        """Tell whether the request is for the back door."""
        return request.path == PREFIX or request.path.startswith(PREFIX + "/")

    def respond(self, request: Request) -> Response:
        """Answer: 200 with JSON, 400 for a change that makes no sense, 404 for anything unknown."""
        topic, _, rest = request.path.removeprefix(PREFIX).strip("/").partition("/")
        answer = getattr(self, f"_{request.method.lower()}_{topic or 'summary'}", None)
        if answer is None:
            return _json(404, {"error": f"there is no {request.method} {request.path}"})
        try:
            return _json(200, answer(rest, json.loads(request.body or b"{}")))
        except (KeyError, TypeError, ValueError) as error:
            return _json(400, {"error": str(error)})

    def _get_summary(self, _rest: str, _document: dict[str, Any]) -> dict[str, Any]:
        return {
            "service": self._name,
            "now": instants.to_iso(self._clock.now()),
            "header_skew_ms": self._clock.header_skew,
            "records": dict(self._store.summary()),
            "requests": self._journal.counts(),
            "faults": [name for name, switch in self._faults.state().items() if switch["active"]],
        }

    def _get_faults(self, _rest: str, _document: dict[str, Any]) -> dict[str, Any]:
        return dict(self._faults.state())

    def _post_faults(self, _rest: str, document: dict[str, Any]) -> dict[str, Any]:
        unknown = document.keys() - _FAULT_KEYS
        options = document.get("options") or {}
        if unknown or "name" not in document or not isinstance(options, dict):
            raise ValueError(f"a fault is given as {', '.join(_FAULT_KEYS)} (an object); only name is needed")
        name = document["name"]
        misplaced = options.keys() & _FAULT_KEYS
        if misplaced:
            raise ValueError(f"'{min(misplaced)}' stands beside options, not in them")
        self._faults.on(name, times=document.get("times"), after=document.get("after") or 0, **options)
        return self._faults.state()[name]

    def _delete_faults(self, rest: str, _document: dict[str, Any]) -> dict[str, Any]:
        if rest:
            self._faults.off(rest)
        else:
            self._faults.clear()
        return {}

    def _get_requests(self, _rest: str, _document: dict[str, Any]) -> list[dict[str, Any]]:
        return [entry.as_json() for entry in self._journal.entries()]

    def _delete_requests(self, _rest: str, _document: dict[str, Any]) -> dict[str, Any]:
        self._journal.clear()
        return {}

    def _post_clock(self, _rest: str, document: dict[str, Any]) -> dict[str, Any]:
        self._clock.advance(int(document.get("advance_ms", 0)))
        self._clock.header_skew = int(document.get("header_skew_ms", self._clock.header_skew))
        return {"now": instants.to_iso(self._clock.now()), "header_skew_ms": self._clock.header_skew}

    def _get_records(self, _rest: str, _document: dict[str, Any]) -> dict[str, Any]:
        return self._store.dump()

    def _post_records(self, _rest: str, document: dict[str, Any]) -> dict[str, Any]:
        return self._store.change(document)


def _json(status: int, document: object) -> Response:
    body = json.dumps(document, ensure_ascii=False, default=str).encode()
    return Response(status, {"Content-Type": "application/json; charset=utf-8"}, body)
