"""Faults that concern a request as a whole: refused, redirected, broken on the wire, or answered with nonsense."""

from __future__ import annotations

import gzip
import json
import random
import secrets
import time
import zlib
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from outreach_sync.sandbox.server import Response, WireFault
from outreach_sync.sandbox.workbooks.calls import DELAY
from outreach_sync.sandbox.workbooks.faults import number_option
from outreach_sync.sandbox.workbooks.sessions import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.calls import Call

_HTML = b"<!DOCTYPE html><html><head><title>Workbooks</title></head><body>We will be back soon.</body></html>"
_PAGE = b"<!DOCTYPE html><html><head><title>Workbooks</title></head><body>Please log in.</body></html>"
_JSON = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-cache, no-store, must-revalidate"}


class _Held(NamedTuple):
    """A request that was sent to a delaying address: what it is to become there, and its answer if it is done."""

    call: Call
    carry_out: Callable[[], Response]
    follow: str
    seconds: float
    answer: Response | None


class Breakage:
    """Bends whole answers, before a request is carried out and after."""

    def __init__(self, faults: FaultBoard) -> None:
        """Take the faults; remember the delaying addresses that were handed out."""
        self._faults = faults
        self._delayed: set[str] = set()
        self._held: dict[str, _Held] = {}
        self._thrown_for: Mapping[str, object] = {}
        self._dice = random.Random(1)  # noqa: S311 - nothing secret

    def around(self, call: Call, carry_out: Callable[[], Response]) -> Response:
        """Answer a request, carrying it out unless a fault prevents that."""
        if call.kind == "delay":
            return self._delayed_answer(call)
        early = self._instead(call, carry_out) or self._refused_status(call) or self._redirected(call, carry_out)
        return early or self._afterwards(call, carry_out())

    def knows_delay(self, call: Call) -> bool:
        """Tell whether a request comes by a delaying address that was handed out, which lets it in."""
        return call.form.controls.get("_delayed") in self._delayed

    def _instead(self, call: Call, carry_out: Callable[[], Response]) -> Response | None:
        """Answer with what a broken network gives; the request may be carried out all the same."""
        answers: tuple[tuple[str, Callable[[Mapping[str, object]], Response]], ...] = (
            ("reset_before_answer", lambda _: json_response(200, {})._replace(wire=WireFault("reset_before"))),
            ("hang", _hang),
            ("gateway_page", _gateway_page),
            ("html_with_200", lambda _: Response(200, {"Content-Type": "text/html; charset=utf-8"}, _HTML)),
        )
        for name, answer in answers:
            options = self._faults.take(name, call.kind)
            if options is not None:
                if options.get("committed"):
                    carry_out()
                return answer(options)
        return None

    def _refused_status(self, call: Call) -> Response | None:
        for name, status in (("rate_limited_429", 429), ("unavailable_503", 503)):
            options = self._faults.take(name, call.kind)
            if options is not None:
                return _please_wait(status, options)
        options = self._faults.take("error_500", call.kind)
        if options is None and call.writes:
            options = self._faults.take("error_500_before_commit", call.kind)
        if options is not None:
            return _server_error(options)
        if self._faults.take("database_being_migrated", call.kind) is not None:
            return self.refused(RefusedError("database_being_migrated"))
        options = self._faults.take("key_refused", call.kind)
        return None if options is None else self.refused(_key_refused(options))

    def refused(self, error: RefusedError) -> Response:
        """Answer a request that is not let in."""
        key = "failure_reason" if self._faults.take("failure_message") is None else "failure_message"
        return json_response(error.status, {key: error.reason})

    def _redirected(self, call: Call, carry_out: Callable[[], Response]) -> Response | None:
        options = self._faults.take("delaying_redirect", call.kind)
        if options is not None and not self.knows_delay(call):
            dice = self._dice_of(options)
            if dice.random() < number_option(options, "probability", 0.6):
                done = dice.random() < number_option(options, "done", 0)
                return redirect(self._hold(call, carry_out, options, done=done))
        if self._faults.take("redirect_to_login_302", call.kind) is not None:
            return to_login(call)
        options = self._faults.take("redirect_delay_302", call.kind)
        return None if options is None else redirect(self._location(call, options))

    def _dice_of(self, options: Mapping[str, object]) -> random.Random:
        """Give the dice of a switch, which begin anew each time it is switched on."""
        if self._thrown_for is not options:
            self._thrown_for = options
            self._dice = random.Random(int(number_option(options, "seed", 1)))  # noqa: S311 - nothing secret
        return self._dice

    def _hold(self, call: Call, carry_out: Callable[[], Response], options: Mapping[str, object], *, done: bool) -> str:
        """Carry the request out now if it is to be `done`, and give the address that stands for it."""
        follow = str(options.get("follow", "repeat"))
        answer = carry_out() if done else None
        if follow in ("repeat", "elsewhere"):
            return self._location(call, {"location": "same" if follow == "repeat" else "other"})
        token = secrets.token_hex(8)
        self._held[token] = _Held(call, carry_out, follow, number_option(options, "seconds", 0), answer)
        return f"{_own_origin(call)}{DELAY}{token}"

    def _delayed_answer(self, call: Call) -> Response:
        held = self._held.get(call.request.path.removeprefix(DELAY))
        if held is None:
            return json_response(HTTPStatus.NOT_FOUND, {"success": False, "failures": ["there is no such address"]})
        time.sleep(held.seconds)
        if held.follow == "back":
            return redirect(f"{_own_origin(call)}{held.call.request.target}")
        request, first = call.request, held.call.request
        wanted = ("GET", b"") if held.follow == "get" else (first.method, first.body)
        if (request.method, request.body) != wanted:
            return page()
        return held.carry_out() if held.answer is None else held.answer

    def _afterwards(self, call: Call, response: Response) -> Response:
        if call.writes:
            response = self._after_commit(call, response)
        if self._faults.take("broken_json", call.kind) is not None:
            response = response._replace(body=response.body[: len(response.body) * 2 // 3])
        if self._faults.take("invalid_utf8", call.kind) is not None:
            response = response._replace(body=response.body[:-1] + b',"note":"caf\xe9"}')
        if self._faults.take("body_cut_short", call.kind) is not None:
            response = response._replace(wire=WireFault("cut_short"))
        options = self._faults.take("huge_answer", call.kind)
        if options is not None:
            response = _huge(response, int(number_option(options, "megabytes", 625)))
        options = self._faults.take("slow", call.kind)
        if options is not None:
            response = response._replace(wire=WireFault("slow", number_option(options, "seconds", 1)))
        return response

    def _after_commit(self, call: Call, response: Response) -> Response:
        if self._faults.take("answer_lost_after_commit", call.kind) is not None:
            return response._replace(wire=WireFault("reset_before"))
        options = self._faults.take("error_500_after_commit", call.kind)
        if options is not None:
            return _server_error(options)
        options = self._faults.take("redirect_after_commit_302", call.kind)
        return response if options is None else redirect(self._location(call, options))

    def _location(self, call: Call, options: Mapping[str, object]) -> str:
        """Make a delaying address; whoever follows it is let in, even without a key and with another method.

        A GET says in its address what it wants, so its query goes along: the guide means it to be followed.
        """
        wanted = str(options.get("location", "same"))
        if wanted not in ("same", "other"):
            return wanted
        token = secrets.token_hex(8)
        self._delayed.add(token)
        origin = _own_origin(call) if wanted == "same" else "https://delay.example.net"
        kept = [pair for pair in call.request.query if pair[0] != "_delayed"] if call.request.method == "GET" else []
        return f"{origin}{call.request.path}?{urlencode([*kept, ('_delayed', token)])}"


def json_response(status: int, document: object) -> Response:
    """Answer with JSON."""
    return Response(int(status), dict(_JSON), json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))


def redirect(location: str) -> Response:
    """Answer 302."""
    return Response(302, {"Location": location, "Content-Type": "text/html; charset=utf-8"}, b"")


def to_login(call: Call) -> Response:
    """Send whoever has no valid session to the login page."""
    return redirect(f"{_own_origin(call)}/login")


def page() -> Response:
    """Answer with a page of the web application: a 200 that looks like success to whoever does not look at it."""
    return Response(200, {"Content-Type": "text/html; charset=utf-8"}, _PAGE)


def _server_error(options: Mapping[str, object]) -> Response:
    """Answer 500 with a reference to quote to the support team, or as the gateway before the service does."""
    status = int(number_option(options, "status", 500))
    if status != HTTPStatus.INTERNAL_SERVER_ERROR:
        return Response(status, {"Content-Type": "text/html; charset=utf-8"}, _HTML)
    return json_response(500, {"exception_reference": secrets.token_hex(4), "message": "An error has occurred."})


def _gateway_page(options: Mapping[str, object]) -> Response:
    """Answer as something in between does, which knows nothing of the API."""
    status = int(number_option(options, "status", HTTPStatus.FORBIDDEN))
    if options.get("text"):
        return Response(status, {"Content-Type": "text/plain"}, f"{status} {HTTPStatus(status).phrase}".encode())
    return Response(status, {"Content-Type": "text/html; charset=utf-8"}, _HTML)


def _huge(response: Response, megabytes: int) -> Response:
    """Compress the answer with blanks in its middle, which JSON allows and no reader needs."""
    parts = (gzip.compress(response.body[:1]), _blanks(megabytes), gzip.compress(response.body[1:]))
    return response._replace(headers={**response.headers, "Content-Encoding": "gzip"}, body=b"".join(parts))


@lru_cache(maxsize=2)
def _blanks(megabytes: int) -> bytes:
    packer = zlib.compressobj(level=1, wbits=31)
    return b"".join([*(packer.compress(b" " * 2**20) for _ in range(megabytes)), packer.flush()])


def _hang(options: Mapping[str, object]) -> Response:
    return json_response(200, {})._replace(wire=WireFault("hang", number_option(options, "seconds", 30)))


def _please_wait(status: int, options: Mapping[str, object]) -> Response:
    response = Response(status, {"Content-Type": "text/plain"}, b"Please try again later.")
    if "retry_after" in options:
        response.headers["Retry-After"] = str(options["retry_after"])
    return response


def _key_refused(options: Mapping[str, object]) -> RefusedError:
    reason = str(options.get("reason", "unrecognised_name_or_password"))
    status = options.get("status")
    return RefusedError(reason, status if isinstance(status, int) else None)


def _own_origin(call: Call) -> str:
    return f"http://{call.request.headers.get('Host') or 'localhost'}"
