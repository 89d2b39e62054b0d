"""The consent of a user of Outreach: how its code comes back to us, and what it allows.

OAuth 2: the redirect URI gets `code` and our `state`, or `error`. Only http on loopback can be listened on; an https
address would need a certificate, so it is pasted by hand.
"""

from __future__ import annotations

import hmac
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from outreach_sync.errors import NotAuthenticatedError, UnavailableError, UsageError
from outreach_sync.http import check

if TYPE_CHECKING:
    from collections.abc import Collection

    from outreach_sync.http import StopSignal

_LOOPBACK = "127.0.0.1"
_PAGE = "<!doctype html><title>outreach-sync</title><p>"
_TAKEN = "Done: you can close this page."
_DENIED = "Access was not allowed, so nothing was stored. To try again, run the command again."
_NOT_OURS = "This is not the consent that was asked for."
_AROUND = "\"'<>`"


def landing_of(redirect_uri: str) -> tuple[int, str] | None:
    """Return port and path to listen on for the code; None where the address has to be pasted."""
    parts = urlsplit(redirect_uri)
    if parts.scheme != "http" or parts.hostname not in {"localhost", _LOOPBACK}:
        return None
    return parts.port or 80, parts.path or "/"


def code_from(pasted: str, state: str) -> str:
    """Take the code out of what a user pasted: the address the browser ended at, its query, or the code alone."""
    text = "".join(pasted.encode("ascii", "ignore").decode().split()).strip(_AROUND).replace("&amp;", "&")
    if not text:
        raise UsageError("no code was given.", advice="Run `outreach-sync auth login` again and paste the address.")
    address, mark, after = text.partition("?")
    if not mark and not re.search(r"(?:^|&)(?:code|state|error)=", text) and "://" not in text:
        return text
    query = parse_qs((after if mark else address).partition("#")[0])
    if not _is_ours(query, state):
        advice = "Open the address that was just printed, and paste the one that it ends at."
        raise UsageError("the address answers another request than this one: its state differs.", advice=advice)
    return _code(query)


class Listener(ThreadingHTTPServer):
    """Listens where the browser lands, from its making on. A context manager."""

    daemon_threads = True
    timeout = 0.2  # seconds between two looks whether to stop

    def __init__(self, landing: tuple[int, str], state: str) -> None:
        """Listen; whatever has another state is turned away; OSError: the port is in use."""
        port, self.path = landing
        self.state = state
        self.brought: list[dict[str, list[str]]] = []
        super().__init__((_LOOPBACK, port), _Visitor)

    def code(self, stop: StopSignal, *, seconds: float) -> str:
        """Wait for the browser and return the code it brings, or end when asked to stop."""
        ends = time.monotonic() + seconds
        while not self.brought:
            check(stop)
            if time.monotonic() > ends:
                advice = "Run `outreach-sync auth login` again; with --paste where the browser is elsewhere."
                raise UnavailableError(f"nobody gave consent within {seconds:.0f} s.", advice=advice)
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
    return tuple(one for one in needed if given and not {one, one.rpartition(".")[0] + ".all"} & given)


def _is_ours(query: dict[str, list[str]], state: str) -> bool:
    return hmac.compare_digest(query.get("state", [""])[0].encode(errors="replace"), state.encode())


def _code(query: dict[str, list[str]]) -> str:
    if "error" in query:
        why, advice = query["error"][0][:60], "Run `outreach-sync auth login` again, and allow it."
        raise NotAuthenticatedError(f"consent was refused ({why}).", advice=advice)
    if not query.get("code"):
        raise UsageError("the address holds no code.", advice="Paste the whole address that the browser ended at.")
    return query["code"][0]
