"""Server to server: a signed statement is exchanged for an access token that lives one hour; there is no refresh token.

Facts: RS256 JWT with `iat`, `exp` at most an hour later and `iss` = the app's S2S GUID, as bearer to
`POST /api/app/installs/{install_id}/actions/accessToken`; the token is in `data.meta.accessToken`
(developers.outreach.io).
"""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any

from outreach_sync import instants
from outreach_sync.errors import ConfigError, NotAuthenticatedError
from outreach_sync.http import GarbledError, OnRetry, Patience
from outreach_sync.instants import Instant
from outreach_sync.outreach.grants import raise_if_not_now, refusal_of
from outreach_sync.outreach.rows import parsed_object
from outreach_sync.outreach.tokenfile import StoredTokens, TokenFile
from outreach_sync.outreach.tokens import (
    EXPIRY_MARGIN_MS,
    clock_offset,
    server_now,
)

if TYPE_CHECKING:
    from outreach_sync.http import Answer, StopSignal, Transport
    from outreach_sync.outreach.settings import OutreachSettings, S2SSettings

_LIFE_S = 3600
_STATEMENT_LIFE_S = 3000  # an hour is the most; less leaves room for clocks that differ
_REFUSES = frozenset({400, 401, 403, 404, 422})


class S2STokens:
    """The tokens of a server-to-server app; safe to be used by several threads."""

    def __init__(
        self,
        settings: OutreachSettings,
        s2s: S2SSettings,
        file: TokenFile,
        transport: Transport,
        stop: StopSignal,
        *,
        on_retry: OnRetry | None = None,
    ) -> None:
        """Read nothing yet."""
        self._settings = settings
        self._s2s = s2s
        self._file = file
        self._transport = transport
        self._patience = Patience(settings.patience_ms / 1000, stop, on_retry=on_retry)
        self._lock = threading.Lock()
        self._stored: StoredTokens | None = None

    def current(self) -> str:
        """Return an access token, a new one if it is about to expire by Outreach's clock.

        Raises:
            NotAuthenticatedError: Outreach refuses our statement.
            ConfigError: the extra `s2s` is not installed, or the key is none.
            StateError: the token file cannot be read or written.
            ServiceError: Outreach cannot be used now.
        """
        with self._lock:
            stored = self._known()
            return stored.access_token if self._is_fresh(stored) else self._renew()

    def refused(self, token: str) -> str:
        """Return another access token than `token`; signs once for each refused token. Raises as `current`."""
        with self._lock:
            stored = self._known()
            return self._renew() if stored.access_token in {token, ""} else stored.access_token

    def refresh(self) -> None:
        """Sign anew now, whatever the token's age. Raises as `current`."""
        with self._lock:
            self._renew()

    def _known(self) -> StoredTokens:
        if self._stored is None:
            stored = self._file.read()
            self._stored = stored if stored is not None and stored.seed == self._seed() else StoredTokens()
        return self._stored

    def _seed(self) -> str:
        return hashlib.sha256(f"s2s\0{self._s2s.install_id}\0{self._s2s.app_guid}".encode()).hexdigest()

    def _is_fresh(self, stored: StoredTokens) -> bool:
        at = server_now(self._transport, stored)
        expires = at is not None and stored.expires_at is not None and at > stored.expires_at - EXPIRY_MARGIN_MS
        return bool(stored.access_token) and not expires

    def _renew(self) -> str:
        token, at = self._patience.ask("Outreach, asking for a server-to-server token", self._ask)
        self._stored = StoredTokens(
            access_token=token,
            expires_at=None if at is None else Instant(at + _LIFE_S * 1000),
            issued_at=at,
            seed=self._seed(),
            clock_offset_ms=clock_offset(self._transport),
        )
        self._file.write(self._stored)
        return token

    def _ask(self, left: float) -> tuple[str, Instant | None]:
        by_our_own_clock = self._transport.server_time is None
        answer = self._send(left)
        if answer.status in _REFUSES and by_our_own_clock:
            answer = self._send(left)  # the refusal told the time, and a wrong clock of ours may have been the reason
        return _token(answer), answer.server_time

    def _send(self, left: float) -> Answer:
        return self._transport.send(
            "POST",
            self._settings.url(f"/api/app/installs/{self._s2s.install_id}/actions/accessToken"),
            headers={
                "Authorization": f"Bearer {self._statement()}",
                "Content-Type": "application/vnd.api+json",
                "Accept": "application/vnd.api+json",
            },
            timeout_seconds=min(self._settings.timeout_ms / 1000, left),
        )

    def _statement(self) -> str:
        """Sign who we are, dated by Outreach's clock where it is known."""
        try:
            import jwt  # noqa: PLC0415 - an extra, and only for this kind of app
        except ImportError:
            raise ConfigError(
                "outreach.s2s needs the extra `s2s`.", advice="Install it: pip install 'outreach-sync[s2s]'."
            ) from None
        issued = (self._transport.server_now() or instants.now()) // 1000
        claims = {"iat": issued, "exp": issued + _STATEMENT_LIFE_S, "iss": self._s2s.app_guid}
        try:
            return jwt.encode(claims, self._s2s.private_key, algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError):
            raise ConfigError(
                "outreach.s2s.private_key is no RSA private key in PEM form.",
                advice="Use the key file that was downloaded when the app was made.",
            ) from None


def _token(answer: Answer) -> str:
    raise_if_not_now(answer)
    if answer.status in _REFUSES:
        raise NotAuthenticatedError(
            f"Outreach refused the server-to-server app ({answer.status}, {refusal_of(answer)}).",
            advice="Compare install_id, app_guid and the key, and ask an administrator whether the app is installed.",
        )
    content: Any = parsed_object(answer.body)
    for name in ("data", "meta", "accessToken"):
        content = content.get(name) if isinstance(content, dict) else None
    if not isinstance(content, str) or not content:
        raise GarbledError(f"the answer ({answer.status}) holds no server-to-server token")
    return content
