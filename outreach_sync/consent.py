"""The consent of a user of Outreach: how its code comes back to us, what it allows, and how long it holds.

OAuth 2: the browser is sent to the redirect URI with `code` and the `state` we gave it, or with `error`. Only an http
address on loopback can be listened on; an https one would need a certificate, so its address is pasted by hand.
"""

from __future__ import annotations

import hmac
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from outreach_sync.errors import ConfigError, NotAuthenticatedError, StateError, UnavailableError, UsageError
from outreach_sync.http import check
from outreach_sync.instants import Instant, to_iso
from outreach_sync.outreach.auth import (
    LOG_IN,
    SCOPES,
    StoredTokens,
    TokenFile,
    another_app,
    app_of,
    credentials_of,
    signed,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from outreach_sync.config.model import Config
    from outreach_sync.http import StopSignal

_LOOPBACK = "127.0.0.1"
_TICK_SECONDS = 0.2
_PAGE = "<!doctype html><title>outreach-sync</title><p>"
_TAKEN = "Done: you can close this page."
_DENIED = "Access was not allowed, so nothing was stored. To try again, run the command again."
_NOT_OURS = "This is not the consent that was asked for."
_AROUND = "\"'<>`"
TOKEN_DAYS, TOKEN_WARN_DAYS = 14, 7
"""How long an idle refresh token lives, and from which age on it is worth a warning."""
_DAY_MS = 86_400_000


class Landing(NamedTuple):
    """Where the browser lands: an address on loopback that we can listen on."""

    port: int
    path: str


def landing_of(redirect_uri: str) -> Landing | None:
    """Return where to listen for the code; None where that cannot be done and the address has to be pasted."""
    parts = urlsplit(redirect_uri)
    if parts.scheme != "http" or parts.hostname not in {"localhost", _LOOPBACK}:
        return None
    return Landing(parts.port or 80, parts.path or "/")


def code_from(pasted: str, state: str) -> str:
    """Take the code out of what a user pasted: the address the browser ended at, its query, or the code alone.

    Raises:
        UsageError: there is no code in it, or it answers another request than ours.
        NotAuthenticatedError: consent was refused.
    """
    text = "".join(pasted.split()).strip(_AROUND).replace("&amp;", "&")
    if not text:
        raise UsageError("no code was given.", advice="Run `outreach-sync auth login` again and paste the address.")
    address, mark, after = text.partition("?")
    if not mark and not re.search(r"(?:^|&)(?:code|state|error)=", text) and "://" not in text:
        return text
    query = parse_qs((after if mark else address).partition("#")[0])
    if not _is_ours(query, state):
        raise UsageError(
            "the address answers another request than this one: its state differs.",
            advice="Open the address that was just printed, and paste the one that it ends at.",
        )
    return _code(query)


class Listener(ThreadingHTTPServer):
    """Listens where the browser lands, from its making on. A context manager."""

    daemon_threads = True
    timeout = _TICK_SECONDS

    def __init__(self, landing: Landing, state: str) -> None:
        """Listen; whatever has another state is turned away.

        Raises:
            OSError: the port is in use.
        """
        self.path, self.state = landing.path, state
        self.brought: list[dict[str, list[str]]] = []
        super().__init__((_LOOPBACK, landing.port), _Visitor)

    def code(self, stop: StopSignal, *, seconds: float) -> str:
        """Wait for the browser and return the code it brings.

        Raises:
            UnavailableError: nobody came within `seconds`.
            NotAuthenticatedError: consent was refused.
            InterruptedByError: asked to stop.
        """
        ends = time.monotonic() + seconds
        while not self.brought:
            check(stop)
            if time.monotonic() > ends:
                raise UnavailableError(
                    f"nobody gave consent within {seconds:.0f} s.",
                    advice="Run `outreach-sync auth login` again; with --paste where the browser is elsewhere.",
                )
            self.handle_request()
        return _code(self.brought[0])

    def handle_error(self, *_: object) -> None:
        """Say nothing of visitors who leave before they are answered: what they brought was kept."""


class _Visitor(BaseHTTPRequestHandler):
    """Answers a browser, and keeps the query that is ours."""

    server: Listener
    timeout = 5

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        ours = parts.path == self.server.path and _is_ours(query, self.server.state)
        if ours:
            self.server.brought.append(query)  # before the answer, which the browser may not wait for
        says = _DENIED if "error" in query else _TAKEN
        self.send_response(200 if ours else 400)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(f"{_PAGE}{says if ours else _NOT_OURS}".encode())

    def log_message(self, *_: object) -> None:
        """Say nothing: the request line holds the code."""


def missing_scopes(granted: str, needed: Collection[str]) -> tuple[str, ...]:
    """Name the scopes that are needed and were not granted; none where Outreach did not say what it granted."""
    given = set(granted.split())
    if not given:
        return ()
    return tuple(scope for scope in needed if not {scope, scope.rpartition(".")[0] + ".all"} & given)


def _is_ours(query: dict[str, list[str]], state: str) -> bool:
    return hmac.compare_digest(query.get("state", [""])[0].encode(errors="replace"), state.encode())


def _code(query: dict[str, list[str]]) -> str:
    if "error" in query:
        why = query["error"][0][:60]
        raise NotAuthenticatedError(
            f"consent was refused ({why}).", advice="Run `outreach-sync auth login` again, and allow it."
        )
    if not query.get("code"):
        raise UsageError("the address holds no code.", advice="Paste the whole address that the browser ended at.")
    return query["code"][0]


def tokens_document(config: Config, now: Instant) -> dict[str, Any]:
    """Return what `auth status --json` prints; nobody is asked, and no token is shown.

    `now` is this machine's clock; that of Outreach is told from it by the offset stored with the tokens.

    Raises:
        StateError: the token file cannot be read.
    """
    file = TokenFile.beside(config.state.path)
    stored = file.read() or StoredTokens()
    at = Instant(now + (stored.clock_offset_ms or 0))
    by_consent = config.outreach.s2s is None
    expires = stored.expires_at
    access: dict[str, Any] = {"expires_at": None, "seconds_left": None}
    if expires is not None:
        access = {"expires_at": to_iso(expires), "seconds_left": max((expires - at) // 1000, 0)}
    refresh = _refresh_token(stored, at) if by_consent else None
    missing = missing_scopes(stored.scope, SCOPES) if by_consent else ()
    try:
        if stored.app not in {"", app_of(config)[0]}:
            raise another_app(file.path)
        problem = _problem_of_consent(config, stored, refresh) if by_consent else None
        if config.outreach.s2s is not None and config.outreach.s2s.private_key is not None:
            signed({}, config.outreach.s2s.private_key.get_secret_value())
    except (StateError, ConfigError) as error:
        problem = str(error)
    return {
        "variant": "oauth" if by_consent else "s2s",
        "authenticated": problem is None,
        "access_token": access if stored.access_token else None,
        "refresh_token": refresh,
        "scopes": sorted(stored.scope.split()),
        "missing_scopes": list(missing),
        "warning": problem or _warning(config, refresh, missing),
    }


def _refresh_token(stored: StoredTokens, at: Instant) -> dict[str, Any] | None:
    """Say how old the refresh token is; each refresh starts its 14 days anew."""
    if not stored.refresh_token:
        return None
    if stored.issued_at is None:
        return {"issued_at": None, "age_days": None, "days_left": None, "expires_at": None}
    days = (at - stored.issued_at) / _DAY_MS
    return {
        "issued_at": to_iso(stored.issued_at),
        "age_days": round(days, 2),
        "days_left": round(max(TOKEN_DAYS - days, 0), 2),
        "expires_at": to_iso(Instant(stored.issued_at + TOKEN_DAYS * _DAY_MS)),
    }


def _problem_of_consent(config: Config, stored: StoredTokens, refresh: dict[str, Any] | None) -> str | None:
    """Say why the next run cannot get a token; a first token that the stored chain did not grow from may still work."""
    if config.outreach.refresh_token is not None and stored.seed != app_of(config)[1]:
        return None
    if refresh is None:
        return f"there is no refresh token. {LOG_IN}"
    if refresh["days_left"] == 0:
        return f"the refresh token was idle for more than {TOKEN_DAYS} days and is dead. {LOG_IN}"
    return None


def _warning(config: Config, refresh: dict[str, Any] | None, missing: tuple[str, ...]) -> str | None:
    if missing:
        return f"scopes are missing: {', '.join(missing)}; add them to the app in Outreach, then `auth login`"
    unset = [name for name, value in credentials_of(config).items() if value is None]
    if unset:
        return f"{', '.join(unset)} is not set here: a run in this environment could not get a token"
    if refresh is not None and (refresh["age_days"] or 0) >= TOKEN_WARN_DAYS:
        return f"the refresh token is {refresh['age_days']:.0f} days old and lives {TOKEN_DAYS}; any run renews it"
    return None
