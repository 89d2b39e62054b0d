"""The faults of the simulated Outreach that strike whatever is asked for.

The token endpoint is struck by these faults of a whole answer only if their ``kind`` is ``token``.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from outreach_sync.instants import Instant
from outreach_sync.sandbox.outreach import limits
from outreach_sync.sandbox.outreach.limits import Quota
from outreach_sync.sandbox.outreach.query import DEFAULT_PAGE
from outreach_sync.sandbox.outreach.refusals import json_response
from outreach_sync.sandbox.server import Response, WireFault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.sandbox.clock import SandboxClock
    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.server import Request

_PLAIN_TEXT = {"Content-Type": "text/plain; charset=utf-8"}
_HTML = {"Content-Type": "text/html; charset=utf-8"}
_FAILURES: Mapping[str, Response] = {
    "server_error_500": Response(500, _PLAIN_TEXT, b"Internal Server Error"),
    "gateway_timeout_504": Response(504, _PLAIN_TEXT, b"upstream request timeout"),
    "html_with_200": Response(200, _HTML, b"<html><body><h1>We will be right back</h1></body></html>"),
    "reset_before_answer": Response(200, _PLAIN_TEXT, b"", WireFault("reset_before")),
}
_BROKEN_WIRES: Mapping[str, WireFault] = {
    "body_cut_short": WireFault("cut_short"),
    "reset_during_answer": WireFault("reset_during"),
}


class Trouble:
    """Strikes whole answers: instead of them, or on their way."""

    def __init__(self, faults: FaultBoard, clock: SandboxClock) -> None:
        """Take the board that says what is on."""
        self._faults = faults
        self._clock = clock

    def instead(self, request: Request, kind: str) -> Response | None:
        """Give the answer that a fault puts in the place of the real one, None if none fires."""
        for name, response in _FAILURES.items():
            if self._take(name, kind) is not None:
                return response._replace(headers=dict(response.headers))
        return (
            self._hanging(kind)
            or self._limited(kind)
            or self._moved(request, kind)
            or self._too_long(request, kind)
            or self._overloaded(request, kind)
        )

    def on_the_way(self, response: Response, kind: str) -> Response:
        """Damage an answer."""
        skew = self._take("clock_skew", kind)
        if skew is not None:
            at = self._clock.header_now() + number(skew, "ms", 3_600_000)
            response = response._replace(headers={**response.headers, "Date": formatdate(at / 1000, usegmt=True)})
        if self._take("broken_json", kind) is not None:
            response = response._replace(body=response.body[: max(1, len(response.body) // 2)])
        for name, wire in _BROKEN_WIRES.items():
            if self._take(name, kind) is not None:
                response = response._replace(wire=wire)
        if response.status == 401:  # noqa: PLR2004
            response = self._unauthorized(response, kind)
        slow = self._take("slow", kind)
        return response if slow is None else response._replace(wire=WireFault("slow", seconds(slow, 5)))

    def _take(self, name: str, kind: str) -> Mapping[str, object] | None:
        if kind == "token" and self._faults.option(name, "kind") != "token":
            return None
        return self._faults.take(name, kind)

    def _hanging(self, kind: str) -> Response | None:
        options = self._take("hang", kind)
        return None if options is None else Response(200, {}, b"", WireFault("hang", seconds(options, 60)))

    def _limited(self, kind: str) -> Response | None:
        options = self._take("rate_limited", kind)
        if options is None:
            return self._maintained(kind)
        until = self._later(options, 5)
        form = str(options.get("form", "epoch"))
        return limits.refused(Quota(limits.HOURLY, 0, until), until=until, form=form, now=self._clock.now())

    def _maintained(self, kind: str) -> Response | None:
        options = self._take("maintenance_503", kind)
        if options is None:
            return None
        error = {"id": "scheduledServerMaintenance", "title": "Maintenance", "detail": "Scheduled server maintenance."}
        response = json_response(503, {"errors": [error]})
        form = str(options.get("form", "iso"))
        if form != "none":
            response.headers["Retry-After"] = limits.written(self._later(options, 60), form, self._clock.now())
        return response

    def _moved(self, request: Request, kind: str) -> Response | None:
        options = self._take("redirect_elsewhere", kind)
        if options is None:
            return None
        return Response(302, {"Location": f"{options.get('host', 'https://elsewhere.example')}{request.path}"}, b"")

    def _too_long(self, request: Request, kind: str) -> Response | None:
        most = self._faults.option("url_too_long", "bytes")
        if len(request.target) <= int(str(4096 if most is None else most)) or self._take("url_too_long", kind) is None:
            return None
        return Response(414, dict(_HTML), b"<html><head><title>414 Request-URI Too Large</title></head></html>")

    def _unauthorized(self, response: Response, kind: str) -> Response:
        options = self._take("unauthorized_without_body", kind)
        if options is None:
            return response
        html = options.get("form") == "html"
        headers = {**response.headers, "Content-Type": _HTML["Content-Type"] if html else "text/plain"}
        return response._replace(headers=headers, body=b"<h1>401 Authorization Required</h1>" if html else b"")

    def _overloaded(self, request: Request, kind: str) -> Response | None:
        asked = dict(request.query).get("page[size]", str(DEFAULT_PAGE))
        threshold = self._faults.option("bad_gateway_large_pages", "threshold")
        if not asked.isdigit() or int(asked) <= int(str(500 if threshold is None else threshold)):
            return None
        if self._take("bad_gateway_large_pages", kind) is None:
            return None
        return Response(502, dict(_HTML), b"<html><head><title>502 Bad Gateway</title></head></html>")

    def _later(self, options: Mapping[str, object], default: float) -> Instant:
        return Instant(self._clock.now() + round(float(str(options.get("wait", default))) * 1000))


def seconds(options: Mapping[str, object], default: float) -> float:
    """Read the option `seconds` of a fault."""
    return float(str(options.get("seconds", default)))


def number(options: Mapping[str, Any], name: str, default: int) -> int:
    """Read an option that is a whole number."""
    return int(options.get(name, default))
