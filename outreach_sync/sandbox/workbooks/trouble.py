"""Faults that concern a request as a whole: refused, redirected, broken on the wire, or answered with nonsense."""

from __future__ import annotations

import json
import random
import secrets
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.sandbox.server import Response, WireFault, inflated
from outreach_sync.sandbox.workbooks.calls import DELAY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.calls import Call

HTML = {"Content-Type": "text/html; charset=utf-8"}
_JSON = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-cache, no-store, must-revalidate"}
_BACK_SOON = b"<!DOCTYPE html><html><head><title>Workbooks</title></head><body>We will be back soon.</body></html>"
_LOG_IN = b"<!DOCTYPE html><html><head><title>Workbooks</title></head><body>Please log in.</body></html>"

_UNAUTHORIZED = frozenset(
    (
        *("password_expired", "login_disabled", "unrecognised_name_or_password", "session_expired", "no_session"),
        *("no_session_found", "client_not_licensed", "licence_expired", "no_licensed_edition", "client_not_activated"),
    )
)
"""The documented `failure_reason` of a 401; all others come with 403."""


class RefusedError(Exception):
    """The request is not let in; `reason` is the `failure_reason` of the answer."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        """Take the reason; the status goes with it unless another is given."""
        super().__init__(reason)
        self.reason = reason
        self.status = status or (HTTPStatus.UNAUTHORIZED if reason in _UNAUTHORIZED else HTTPStatus.FORBIDDEN)


class _Held(NamedTuple):
    """A request that was sent to a delaying address: what it is to become there, and its answer if it is done."""

    call: Call
    carry_out: Callable[[], Response]
    follow: str
    seconds: float
    answer: Response | None


class Trouble:
    """Bends whole answers, before a request is carried out and after."""

    def __init__(self, faults: FaultBoard) -> None:
        """Take the faults; remember the delaying addresses that were handed out."""
        self._faults = faults
        self._delayed: set[str] = set()
        self._held: dict[str, _Held] = {}
        self._thrown_for: Mapping[str, Any] = {}
        self._dice = random.Random(1)  # noqa: S311 - nothing secret

    def around(self, call: Call, carry_out: Callable[[], Response]) -> Response:
        """Answer a request, carrying it out unless a fault prevents that.

        Raises:
            RefusedError: a fault has it that the request is not let in.
        """
        if call.kind == "delay":
            return self._at_delaying_address(call)
        early = self._instead(carry_out) or self._refused(call) or self._redirected(call, carry_out)
        return early or self._afterwards(call, carry_out())

    def knows_delay(self, call: Call) -> bool:
        """Tell whether a request comes by a delaying address that was handed out, which lets it in."""
        return call.form.controls.get("_delayed") in self._delayed

    def refusal(self, error: RefusedError) -> Response:
        """Answer a request that is not let in."""
        key = "failure_reason" if self._faults.take("failure_message") is None else "failure_message"
        return json_response(error.status, {key: error.reason})

    def _instead(self, carry_out: Callable[[], Response]) -> Response | None:
        """Answer with what a broken network gives; the request may be carried out all the same."""
        answers: tuple[tuple[str, Callable[[Mapping[str, Any]], Response]], ...] = (
            ("reset_before_answer", lambda _: _broken("reset_before")),
            ("hang", lambda options: _broken("hang", options.get("seconds", 30))),
            ("gateway_page", _gateway_page),
            ("html_with_200", lambda _: Response(200, dict(HTML), _BACK_SOON)),
        )
        for name, answer in answers:
            options = self._faults.take(name)
            if options is not None:
                if options.get("committed"):
                    carry_out()
                return answer(options)
        return None

    def _refused(self, call: Call) -> Response | None:
        for name, status in (("rate_limited_429", 429), ("unavailable_503", 503)):
            options = self._faults.take(name)
            if options is not None:
                pause = {"Retry-After": str(options["retry_after"])} if "retry_after" in options else {}
                return Response(status, {"Content-Type": "text/plain", **pause}, b"Please try again later.")
        options = self._faults.take("error_500")
        if options is None and call.writes:
            options = self._faults.take("error_500_before_commit")
        if options is not None:
            return _server_error(options)
        if self._faults.take("database_being_migrated") is not None:
            raise RefusedError("database_being_migrated")
        options = self._faults.take("key_refused")
        if options is not None:
            raise RefusedError(options.get("reason", "unrecognised_name_or_password"), options.get("status"))
        return None

    def _redirected(self, call: Call, carry_out: Callable[[], Response]) -> Response | None:
        options = self._faults.take("delaying_redirect")
        if options is not None and not self.knows_delay(call):
            if options is not self._thrown_for:  # switched on anew
                self._thrown_for, self._dice = options, random.Random(options.get("seed", 1))  # noqa: S311
            if self._dice.random() < options.get("probability", 0.6):
                answer = carry_out() if self._dice.random() < options.get("done", 0) else None
                return redirect(self._hold(call, carry_out, options, answer))
        if self._faults.take("redirect_to_login_302") is not None:
            return to_login(call)
        options = self._faults.take("redirect_delay_302")
        return None if options is None else redirect(self._location(call, options.get("location", "same")))

    def _hold(
        self, call: Call, carry_out: Callable[[], Response], options: Mapping[str, Any], answer: Response | None
    ) -> str:
        """Give the address that stands for a request, whose `answer` is None while it is not done."""
        follow = options.get("follow", "repeat")
        if follow in ("repeat", "elsewhere"):
            return self._location(call, "same" if follow == "repeat" else "other")
        token = secrets.token_hex(8)
        self._held[token] = _Held(call, carry_out, follow, options.get("seconds", 0), answer)
        return f"{_origin(call)}{DELAY}{token}"

    def _at_delaying_address(self, call: Call) -> Response:
        held = self._held.get(call.request.path.removeprefix(DELAY))
        if held is None:
            return json_response(HTTPStatus.NOT_FOUND, {"success": False, "failures": ["there is no such address"]})
        time.sleep(held.seconds)
        request, first = call.request, held.call.request
        if held.follow == "back":
            return redirect(f"{_origin(call)}{first.target}")
        wanted = ("GET", b"") if held.follow == "get" else (first.method, first.body)
        if (request.method, request.body) != wanted:
            return page()
        return held.carry_out() if held.answer is None else held.answer

    def _location(self, call: Call, wanted: str) -> str:
        """Make a delaying address; whoever follows it is let in, even without a key and with another method."""
        if wanted not in ("same", "other"):
            return wanted
        token = secrets.token_hex(8)
        self._delayed.add(token)
        origin = _origin(call) if wanted == "same" else "https://delay.example.net"
        return f"{origin}{call.request.path}?_delayed={token}"

    def _afterwards(self, call: Call, response: Response) -> Response:
        if call.writes:
            response = self._after_commit(call, response)
        if self._faults.take("broken_json") is not None:
            response = response._replace(body=response.body[: len(response.body) * 2 // 3])
        if self._faults.take("invalid_utf8") is not None:
            response = response._replace(body=response.body[:-1] + b',"note":"caf\xe9"}')
        if self._faults.take("body_cut_short") is not None:
            response = response._replace(wire=WireFault("cut_short"))
        options = self._faults.take("huge_answer")
        if options is not None:
            response = inflated(response, options.get("megabytes", 625))
        options = self._faults.take("slow")
        return response if options is None else response._replace(wire=WireFault("slow", options.get("seconds", 1)))

    def _after_commit(self, call: Call, response: Response) -> Response:
        if self._faults.take("answer_lost_after_commit") is not None:
            return response._replace(wire=WireFault("reset_before"))
        options = self._faults.take("error_500_after_commit")
        if options is not None:
            return _server_error(options)
        options = self._faults.take("redirect_after_commit_302")
        return response if options is None else redirect(self._location(call, options.get("location", "same")))


def json_response(status: int, document: object) -> Response:
    """Answer with JSON."""
    return Response(int(status), dict(_JSON), json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))


def redirect(location: str) -> Response:
    """Answer 302."""
    return Response(302, {"Location": location, **HTML}, b"")


def to_login(call: Call) -> Response:
    """Send whoever has no valid session to the login page."""
    return redirect(f"{_origin(call)}/login")


def page() -> Response:
    """Answer with a page of the web application: a 200 that looks like success to whoever does not look at it."""
    return Response(200, dict(HTML), _LOG_IN)


def _origin(call: Call) -> str:
    return f"http://{call.request.headers.get('Host') or 'localhost'}"


def _broken(kind: Any, seconds: float = 0) -> Response:
    return json_response(200, {})._replace(wire=WireFault(kind, seconds))


def _server_error(options: Mapping[str, Any]) -> Response:
    """Answer 500 with a reference to quote to the support team, or as the gateway before the service does."""
    status = options.get("status", 500)
    if status != HTTPStatus.INTERNAL_SERVER_ERROR:
        return Response(status, dict(HTML), _BACK_SOON)
    return json_response(500, {"exception_reference": secrets.token_hex(4), "message": "An error has occurred."})


def _gateway_page(options: Mapping[str, Any]) -> Response:
    """Answer as something in between does, which knows nothing of the API."""
    status = HTTPStatus(options.get("status", HTTPStatus.FORBIDDEN))
    if options.get("text"):
        return Response(status, {"Content-Type": "text/plain"}, f"{status.value} {status.phrase}".encode())
    return Response(status, dict(HTML), _BACK_SOON)
