"""OAuth: who we are to Outreach, refreshed in time and never lost.

Facts: an access token lives 2 h; each refresh returns a new refresh token, and whether the old one still works is
disputed; one access token per user and app in 60 s, otherwise 429. So: one refresh at a time, over all threads and
processes, and the new refresh token is on disk before the new access token is used.
"""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode

from outreach_sync import instants
from outreach_sync.errors import NotAuthenticatedError
from outreach_sync.http import OnRetry, Patience
from outreach_sync.instants import Instant
from outreach_sync.outreach.grants import LOG_IN, Grant, GrantRefusedError, grant_of
from outreach_sync.outreach.tokenfile import StoredTokens, TokenFile

if TYPE_CHECKING:
    from outreach_sync.http import StopSignal, Transport
    from outreach_sync.outreach.settings import OutreachSettings

SCOPES = ("sequenceStates.read", "tasks.read", "prospects.read", "sequences.read", "events.read")
"""What consent is asked for."""

EXPIRY_MARGIN_MS = 5 * 60_000
REFRESH_TOKEN_MAX_AGE_MS = 7 * 86_400_000


class Tokens(Protocol):
    """Where the client gets its bearer token from."""

    def current(self) -> str:
        """Return an access token that should work."""

    def refused(self, token: str) -> str:
        """Return another access token, since a request with this one was refused."""


class OAuthTokens:
    """The tokens of the consent flow; safe to be used by several threads."""

    def __init__(
        self,
        settings: OutreachSettings,
        file: TokenFile,
        transport: Transport,
        stop: StopSignal,
        *,
        on_retry: OnRetry | None = None,
    ) -> None:
        """Read nothing yet."""
        self._settings = settings
        self._file = file
        self._transport = transport
        self._lock = threading.Lock()
        self._stored: StoredTokens | None = None
        self._patience = Patience(settings.patience_ms / 1000, stop, on_retry=on_retry)

    def current(self) -> str:
        """Return an access token, refreshed if it is about to expire by Outreach's clock.

        Raises:
            NotAuthenticatedError: there is no refresh token, or Outreach refuses it.
            StateError: the token file cannot be read or written.
            ServiceError: the token endpoint cannot be used now.
        """
        with self._lock:
            stored = self._known()
            return stored.access_token if self._is_fresh(stored) else self._refresh(stored.access_token)

    def refused(self, token: str) -> str:
        """Return another access token than `token`, with which a request was refused.

        Refreshes once for each refused token, whichever thread reports it first. Raises as `current`.
        """
        with self._lock:
            stored = self._known()
            return self._refresh(token) if stored.access_token == token else stored.access_token

    def refresh(self) -> None:
        """Refresh now, whatever the token's age. Raises as `current`."""
        with self._lock:
            self._refresh(self._known().access_token)

    def authorize_url(self, state: str) -> str:
        """Say where a user gives consent; `state` comes back with the code."""
        query = {
            "client_id": self._settings.client_id,
            "redirect_uri": self._settings.redirect_uri,
            "response_type": "code",
            "scope": " ".join(SCOPES),
            "state": state,
        }
        return self._settings.url("/oauth/authorize?" + urlencode(query))

    def exchange_code(self, code: str) -> StoredTokens:
        """Exchange the code of a consent for tokens and store them; they replace whatever was stored.

        Raises:
            NotAuthenticatedError: the code is refused. Otherwise as `current`.
        """
        with self._lock, self._file.alone():
            self._file.prove_writable()
            try:
                grant = self._ask("exchanging the code", grant_type="authorization_code", code=code)
            except GrantRefusedError:
                raise NotAuthenticatedError(
                    "Outreach refused the code.",
                    advice="Codes work once and briefly: run `outreach-sync auth login` again.",
                ) from None
            return self._keep(grant, "")

    def _known(self) -> StoredTokens:
        if self._stored is None:
            self._stored = self._load()
        return self._stored

    def _load(self) -> StoredTokens:
        """Prefer the stored chain, unless the config holds another first token than the one it grew from."""
        stored = self._file.read()
        first = self._settings.refresh_token
        if stored is not None and (stored.seed == self._seed() or not first):
            return stored
        if not first:
            raise NotAuthenticatedError("there is no refresh token for Outreach.", advice=LOG_IN)
        return StoredTokens(refresh_token=first, seed=self._seed())

    def _seed(self) -> str:
        text = f"{self._settings.client_id}\0{self._settings.refresh_token}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _is_fresh(self, stored: StoredTokens) -> bool:
        """Say whether to use it; in doubt yes: a refusal costs one request, a needless refresh rotates a token."""
        if not stored.access_token:
            return False
        at = server_now(self._transport, stored)
        if at is None:
            return True
        expires = stored.expires_at is not None and at > stored.expires_at - EXPIRY_MARGIN_MS
        ages = stored.issued_at is not None and at > stored.issued_at + REFRESH_TOKEN_MAX_AGE_MS
        return not (expires or ages)

    def _refresh(self, replaced: str) -> str:
        """Rotate, unless another process did so since we read the file."""
        with self._file.alone():
            stored = self._load()
            if stored.access_token == replaced or not self._is_fresh(stored):
                self._file.prove_writable()
                stored = self._rotate(stored.refresh_token)
            self._stored = stored
            return stored.access_token

    def _rotate(self, refresh_token: str) -> StoredTokens:
        """Refresh with the stored token; if that is refused and the config has another, once with that."""
        first = self._settings.refresh_token
        for candidate in dict.fromkeys(filter(None, (refresh_token, first))):
            try:
                grant = self._ask("refreshing the token", grant_type="refresh_token", refresh_token=candidate)
            except GrantRefusedError:
                continue
            return self._keep(grant, candidate)
        raise NotAuthenticatedError("Outreach no longer accepts the refresh token.", advice=LOG_IN)

    def _keep(self, grant: Grant, refresh_token: str) -> StoredTokens:
        """Bring a grant to disk; the token that was used lives on where no new one came."""
        self._stored = StoredTokens(
            access_token=grant.access_token,
            expires_at=grant.expires_at,
            refresh_token=grant.refresh_token or refresh_token,
            issued_at=grant.issued_at,
            scope=grant.scope,
            seed=self._seed(),
            clock_offset_ms=clock_offset(self._transport),
        )
        self._file.write(self._stored)
        return self._stored

    def _ask(self, what: str, **parameters: str) -> Grant:
        settings = self._settings
        form = {"client_id": settings.client_id, "client_secret": settings.client_secret, **parameters}
        if settings.redirect_uri:
            form["redirect_uri"] = settings.redirect_uri

        def attempt(left: float) -> Grant:
            answer = self._transport.send(
                "POST",
                settings.url("/oauth/token"),
                body=urlencode(form),
                headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
                timeout_seconds=min(settings.timeout_ms / 1000, left),
            )
            return grant_of(answer)

        return self._patience.ask(f"Outreach, {what}", attempt)


def server_now(transport: Transport, stored: StoredTokens) -> Instant | None:
    """Say what Outreach's clock reads: by its last answer, else by the offset stored with the tokens, else None."""
    seen = transport.server_now()
    if seen is not None or stored.clock_offset_ms is None:
        return seen
    return Instant(instants.now() + stored.clock_offset_ms)


def clock_offset(transport: Transport) -> int | None:
    """Say by how much Outreach's clock is ahead of this machine's."""
    seen = transport.server_now()
    return None if seen is None else seen - instants.now()
