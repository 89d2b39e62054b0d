"""What was asked of a simulated service: one entry for each request that reached it, without secrets."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from outreach_sync import instants

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.instants import Instant
    from outreach_sync.sandbox.server import Request

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

    def as_json(self) -> dict[str, object]:
        """Describe the entry as JSON; `at` as ISO 8601."""
        return asdict(self) | {"at": instants.to_iso(self.at)}


class Journal:
    """Remembers the last requests and counts all of them by kind. Thread-safe."""

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
        form: Mapping[str, str] | list[tuple[str, str]] | None = None,
    ) -> Entry:
        """Add one request. `form` is what its body said; values of secret names are replaced here."""
        pairs = [] if form is None else list(form.items() if not isinstance(form, list) else form)
        with self._lock:
            self._number += 1
            entry = Entry(
                number=self._number,
                at=request.at,
                kind=kind,
                method=request.method,
                path=request.path,
                query=_without_secrets(request.query),
                form=_without_secrets(pairs),
                status=status,
                faults=faults,
            )
            self._entries.append(entry)
            self._counts[kind] += 1
        return entry

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


def _without_secrets(pairs: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, "***" if _is_secret(name) else value) for name, value in pairs)


def _is_secret(name: str) -> bool:
    lowered = name.lower()
    return any(word in lowered for word in _SECRET_WORDS)
