"""Access and refresh tokens as Outreach issues them: how long they live, how many, and what they allow.

Facts: access tokens live 2 hours (1 hour server-to-server), refresh tokens 14 days; at most 100 of each are alive for a
user and app, the oldest fall off. Whether an old refresh token dies when it is used is disputed, hence a switch.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outreach_sync.instants import Instant

if TYPE_CHECKING:
    from outreach_sync.sandbox.clock import SandboxClock

ACCESS_LIFE_MS = 7_200_000
S2S_LIFE_MS = 3_600_000
REFRESH_LIFE_MS = 14 * 86_400_000
CODE_LIFE_MS = 600_000
MINUTE_MS = 60_000
LIVE_TOKENS = 100

SCOPES = tuple(
    f"{plural}.read"
    for plural in ("sequenceStates", "tasks", "prospects", "sequences", "sequenceSteps", "users", "stages", "events")
)
"""What a reader asks for: the scopes of tokens that nobody named scopes for."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token stands for. `refreshed` counts the refreshes that led to it; `s2s`: server-to-server."""

    token: str
    scopes: tuple[str, ...]
    expires_at: Instant
    refreshed: int = 0
    s2s: bool = False


class TokenRegistry:
    """All tokens of the one user and app there is. Thread-safe."""

    def __init__(self, clock: SandboxClock) -> None:
        """Start without any token."""
        self._clock = clock
        self._lock = threading.Lock()
        self._access: dict[str, Grant] = {}
        self._refresh: dict[str, Grant] = {}
        self._codes: dict[str, tuple[Grant, str]] = {}
        self._issued_at: Instant | None = None

    def new_code(self, redirect_uri: str, scopes: tuple[str, ...]) -> str:
        """Make an authorization code for one use within ten minutes."""
        grant = self._grant("code", scopes, CODE_LIFE_MS)
        with self._lock:
            self._codes[grant.token] = (grant, redirect_uri)
        return grant.token

    def redeem_code(self, code: str, redirect_uri: str) -> tuple[Grant, Grant] | None:
        """Turn a code into (access, refresh), or None if it is unknown, used, too old or for another address."""
        with self._lock:
            grant, expected = self._codes.pop(code, (None, ""))
            if grant is None or expected != redirect_uri or grant.expires_at <= self._clock.now():
                return None
            return self._issue(grant.scopes, 0)

    def new_refresh(self, scopes: tuple[str, ...] = SCOPES) -> str:
        """Make a refresh token as if somebody had consented."""
        with self._lock:
            return self._issue_refresh(scopes, 0).token

    def refresh(self, token: str, *, kill_old: bool) -> tuple[Grant, Grant] | None:
        """Turn a refresh token into new (access, refresh), None if it is not alive. `kill_old`: it dies with that."""
        with self._lock:
            grant = _alive(self._refresh, token, self._clock.now())
            if grant is None:
                return None
            if kill_old:
                del self._refresh[token]
            return self._issue(grant.scopes, grant.refreshed + 1)

    def new_s2s(self, scopes: tuple[str, ...] = SCOPES) -> Grant:
        """Make a server-to-server access token."""
        grant = self._grant("s2s", scopes, S2S_LIFE_MS, s2s=True)
        with self._lock:
            _keep(self._access, grant)
        return grant

    def within_minute(self) -> bool:
        """Tell whether an access token was issued less than 60 seconds ago."""
        return self._issued_at is not None and self._clock.now() - self._issued_at < MINUTE_MS

    def authenticate(self, token: str) -> Grant | None:
        """Find the grant behind an access token, None if it is not alive."""
        with self._lock:
            return _alive(self._access, token, self._clock.now())

    def revoke_access(self, token: str) -> None:
        """Let an access token die now."""
        with self._lock:
            self._access.pop(token, None)

    def revoke_all(self) -> None:
        """Let every token die now, as when the user withdraws the consent."""
        with self._lock:
            self._access.clear()
            self._refresh.clear()

    def _issue(self, scopes: tuple[str, ...], refreshed: int) -> tuple[Grant, Grant]:
        access = self._grant("access", scopes, ACCESS_LIFE_MS, refreshed=refreshed)
        _keep(self._access, access)
        self._issued_at = self._clock.now()
        return access, self._issue_refresh(scopes, refreshed)

    def _issue_refresh(self, scopes: tuple[str, ...], refreshed: int) -> Grant:
        grant = self._grant("refresh", scopes, REFRESH_LIFE_MS, refreshed=refreshed)
        _keep(self._refresh, grant)
        return grant

    def _grant(
        self, kind: str, scopes: tuple[str, ...], life_ms: int, *, refreshed: int = 0, s2s: bool = False
    ) -> Grant:
        expires_at = Instant(self._clock.now() + life_ms)
        return Grant(f"{kind}-{secrets.token_urlsafe(24)}", scopes, expires_at, refreshed, s2s)


def _alive(tokens: dict[str, Grant], token: str, now: Instant) -> Grant | None:
    grant = tokens.get(token)
    return grant if grant is not None and grant.expires_at > now else None


def _keep(tokens: dict[str, Grant], grant: Grant) -> None:
    tokens[grant.token] = grant
    while len(tokens) > LIVE_TOKENS:
        del tokens[next(iter(tokens))]
