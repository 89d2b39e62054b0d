"""What both simulated services have in common: a port, a clock, faults, a journal, and the back door.

The back door is everything under ``/_sandbox/``, as JSON, without authentication, and in no journal:

| request | does |
|---|---|
| ``GET /_sandbox/`` | summary: service, time, records by type, requests by kind, active faults |
| ``GET /_sandbox/faults`` | every fault with its documentation, options and state |
| ``POST /_sandbox/faults`` | ``{"name", "times", "after", "options"}`` switches one on |
| ``DELETE /_sandbox/faults[/NAME]`` | switches all, or one, off |
| ``GET``, ``DELETE /_sandbox/requests`` | the journal; forget it |
| ``POST /_sandbox/clock`` | ``{"advance_ms"}`` and, or, ``{"header_skew_ms"}`` |
| ``GET``, ``POST /_sandbox/records`` | dump of all records; a change, in the form the service's store takes |
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from outreach_sync import instants
from outreach_sync.sandbox.server import HttpServer, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from outreach_sync.instants import Instant
    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.server import Request, SandboxClock

PREFIX = "/_sandbox"
_FAULT_KEYS = ("name", "times", "after", "options")
_KEPT = 200_000
_SECRET_WORDS = ("secret", "token", "api_key", "password", "code", "authorization")


@dataclass(frozen=True, slots=True)
class Entry:
    """One request: what was asked, what kind of request that is, and how it was answered."""

    number: int
    at: Instant
    kind: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    form: tuple[tuple[str, str], ...]
    status: int
    faults: tuple[str, ...]


class Journal:
    """Remembers the last requests, without secrets, and counts all of them by kind. Thread-safe."""

    def __init__(self) -> None:
        """Start empty."""
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque(maxlen=_KEPT)
        self._counts: Counter[str] = Counter()
        self._number = 0

    def record(
        self,
        request: Request,
        *,
        kind: str,
        status: int,
        faults: tuple[str, ...] = (),
        form: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Add one request. `form` is what its body said; values of secret names are replaced here."""
        query, said = _without_secrets(request.query), _without_secrets(form)
        with self._lock:
            self._number += 1
            entry = Entry(self._number, request.at, kind, request.method, request.path, query, said, status, faults)
            self._entries.append(entry)
            self._counts[kind] += 1

    def entries(self, kind: str | None = None) -> list[Entry]:
        """List the remembered requests, oldest first; those of one kind if it is given."""
        with self._lock:
            return [entry for entry in self._entries if kind is None or entry.kind == kind]

    def counts(self) -> dict[str, int]:
        """Count the requests by kind."""
        with self._lock:
            return dict(self._counts)

    def total(self) -> int:
        """Count all requests since the last `clear`."""
        with self._lock:
            return sum(self._counts.values())

    def clear(self) -> None:
        """Forget every request; numbers go on."""
        with self._lock:
            self._entries.clear()
            self._counts.clear()


def _without_secrets(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, "***" if any(word in name.lower() for word in _SECRET_WORDS) else value) for name, value in pairs
    )


class SimulatedService(HttpServer, ABC):
    """One simulated service on a port of its own.

    It has a `clock`, `faults` (all off at first) and a `journal` of what was asked of it.
    """

    name: ClassVar[str]

    def __init__(
        self, faults: FaultBoard, store: Any, *, clock: SandboxClock, port: int = 0, latency_ms: float = 0
    ) -> None:
        """Bind to a port (0: any free one); answers begin with `start`.

        `store` is what the back door shows and changes, by its methods `summary`, `dump` and `change`.
        """
        self.faults = faults
        self.journal = Journal()
        self._store = store
        super().__init__(self._respond, clock=clock, port=port, latency_ms=latency_ms)

    @abstractmethod
    def answer(self, request: Request) -> Response:
        """Answer a request that is not for the back door, and write it to the journal."""

    def _respond(self, request: Request) -> Response:
        """Answer any request; by the back door 200, 400 for what makes no sense, 404 for anything unknown."""
        if request.path != PREFIX and not request.path.startswith(f"{PREFIX}/"):
            return self.answer(request)
        door, _, name = request.path.removeprefix(PREFIX).strip("/").partition("/")
        doors: dict[tuple[str, str], Callable[[Any], Any]] = {
            ("GET", ""): lambda _: self._summary(),
            ("GET", "faults"): lambda _: self.faults.state(),
            ("POST", "faults"): self._switch_on,
            ("DELETE", "faults"): lambda _: self.faults.off(name) if name else self.faults.clear(),
            ("GET", "requests"): lambda _: [
                asdict(one) | {"at": instants.to_iso(one.at)} for one in self.journal.entries()
            ],
            ("DELETE", "requests"): lambda _: self.journal.clear(),
            ("POST", "clock"): self._move_clock,
            ("GET", "records"): lambda _: self._store.dump(),
            ("POST", "records"): self._store.change,
        }
        if (request.method, door) not in doors or (name and (request.method, door) != ("DELETE", "faults")):
            return _json(404, {"error": f"there is no {request.method} {request.path}"})
        try:
            done = doors[request.method, door](json.loads(request.body or b"{}"))
            return _json(200, {} if done is None else done)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            return _json(400, {"error": str(error.args[0] if error.args else error)})  # a KeyError quotes its text

    def _summary(self) -> dict[str, Any]:
        return {
            "service": self.name,
            "now": instants.to_iso(self.clock.now()),
            "header_skew_ms": self.clock.header_skew,
            "records": dict(self._store.summary()),
            "requests": self.journal.counts(),
            "faults": [name for name, switch in self.faults.state().items() if switch["active"]],
        }

    def _switch_on(self, document: dict[str, Any]) -> dict[str, Any]:
        options = document.get("options") or {}
        if document.keys() - _FAULT_KEYS or "name" not in document or not isinstance(options, dict):
            raise ValueError(f"a fault is given as {', '.join(_FAULT_KEYS)} (an object); only name is needed")
        misplaced = options.keys() & _FAULT_KEYS
        if misplaced:
            raise ValueError(f"'{min(misplaced)}' stands beside options, not in them")
        name = document["name"]
        self.faults.on(name, times=document.get("times"), after=document.get("after") or 0, **options)
        return self.faults.state()[name]

    def _move_clock(self, document: dict[str, Any]) -> dict[str, Any]:
        self.clock.advance(int(document.get("advance_ms", 0)))
        self.clock.header_skew = int(document.get("header_skew_ms", self.clock.header_skew))
        return {"now": instants.to_iso(self.clock.now()), "header_skew_ms": self.clock.header_skew}


def _json(status: int, document: object) -> Response:
    body = json.dumps(document, ensure_ascii=False, default=str).encode()
    return Response(status, {"Content-Type": "application/json; charset=utf-8"}, body)
