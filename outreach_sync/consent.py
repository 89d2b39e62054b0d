"""The consent of a user of Outreach: how its code comes back to us, and what it allows.

OAuth 2: the browser is sent to the redirect URI with `code` and the `state` we gave it, or with `error`. Only an http
address on loopback can be listened on; an https one would need a certificate, so its address is pasted by hand.
"""

from __future__ import annotations

import hmac
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from outreach_sync.errors import NotAuthenticatedError, UnavailableError, UsageError
from outreach_sync.http import check

if TYPE_CHECKING:
    from collections.abc import Collection

    from outreach_sync.http import StopSignal

_LOOPBACK = {"localhost": "127.0.0.1", "127.0.0.1": "127.0.0.1"}
_TICK_SECONDS = 0.2
_BACK_TO_TERMINAL = b"<!doctype html><title>outreach-sync</title><p>Done: you can close this page."
_NOT_OURS = b"<!doctype html><title>outreach-sync</title><p>This is not the consent that was asked for."


class Landing(NamedTuple):
    """Where the browser lands: an address that we can listen on."""

    host: str
    port: int
    path: str


def landing_of(redirect_uri: str) -> Landing | None:
    """Return where to listen for the code; None where that cannot be done and the address has to be pasted."""
    parts = urlsplit(redirect_uri)
    host = _LOOPBACK.get(parts.hostname or "")
    if parts.scheme != "http" or host is None:
        return None
    return Landing(host, parts.port or 80, parts.path or "/")


def code_from(pasted: str, state: str) -> str:
    """Take the code out of what a user pasted: the address the browser ended at, its query, or the code alone.

    Raises:
        UsageError: there is no code in it, or it answers another request than ours.
        NotAuthenticatedError: consent was refused.
    """
    text = pasted.strip()
    if not text:
        raise UsageError("no code was given.", advice="Run `outreach-sync auth login` again and paste the address.")
    if "=" not in text and "/" not in text:
        return text
    query = parse_qs(urlsplit(text).query or text.lstrip("?"))
    if not _is_ours(query, state):
        raise UsageError(
            "the address answers another request than this one: its state differs.",
            advice="Open the address that was just printed, and paste the one that it ends at.",
        )
    return _code(query)


class Listener:
    """Listens where the browser lands, from its making on. A context manager."""

    def __init__(self, landing: Landing, state: str) -> None:
        """Listen; whatever has another state is turned away.

        Raises:
            OSError: the port is in use.
        """
        self._brought: list[dict[str, list[str]]] = []
        self._server = ThreadingHTTPServer((landing.host, landing.port), _visitor(landing, state, self._brought))
        self._server.daemon_threads = True
        self._server.timeout = _TICK_SECONDS

    def code(self, stop: StopSignal, *, seconds: float) -> str:
        """Wait for the browser and return the code it brings.

        Raises:
            UnavailableError: nobody came within `seconds`.
            NotAuthenticatedError: consent was refused.
            InterruptedByError: asked to stop.
        """
        ends = time.monotonic() + seconds
        while not self._brought:
            check(stop)
            if time.monotonic() > ends:
                raise UnavailableError(
                    f"nobody gave consent within {seconds:.0f} s.",
                    advice="Run `outreach-sync auth login` again; with --paste where the browser is elsewhere.",
                )
            self._server.handle_request()
        return _code(self._brought[0])

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        self._server.server_close()


def missing_scopes(granted: str, needed: Collection[str]) -> tuple[str, ...]:
    """Name the scopes that are needed and were not granted; none where Outreach did not say what it granted."""
    given = set(granted.split())
    if not given:
        return ()
    return tuple(scope for scope in needed if not {scope, scope.rpartition(".")[0] + ".all"} & given)


def _visitor(landing: Landing, state: str, brought: list[dict[str, list[str]]]) -> type[BaseHTTPRequestHandler]:
    """Make the class that answers browsers and keeps the first query that is ours."""

    class Visitor(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            ours = parts.path == landing.path and _is_ours(query, state)
            self.send_response(200 if ours else 400)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(_BACK_TO_TERMINAL if ours else _NOT_OURS)
            if ours:
                brought.append(query)

        def log_message(self, *_: object) -> None:
            """Say nothing: the request line holds the code."""

    return Visitor


def _is_ours(query: dict[str, list[str]], state: str) -> bool:
    return hmac.compare_digest(query.get("state", [""])[0].encode(), state.encode())


def _code(query: dict[str, list[str]]) -> str:
    if "error" in query:
        why = query["error"][0][:60]
        raise NotAuthenticatedError(
            f"consent was refused ({why}).", advice="Run `outreach-sync auth login` again, and allow it."
        )
    if not query.get("code"):
        raise UsageError("the address holds no code.", advice="Paste the whole address that the browser ended at.")
    return query["code"][0]
