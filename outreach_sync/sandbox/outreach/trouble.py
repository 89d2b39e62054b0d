"""The faults of the simulated Outreach: all their names, and those that strike whatever is asked for.

Each comes from a report or a documented answer. Options are named in the line that documents the fault; every fault
also takes ``kind`` (a part of the request's kind in the journal, such as ``list tasks``). The token endpoint is struck
by the faults of a whole answer only if their ``kind`` is ``token``.
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

FAULTS: Mapping[str, str] = {
    "rate_limited": "429; form = seconds|epoch|iso|iso_naive|http_date|none (epoch), wait = seconds (5)",
    "quota_nearly_spent": "fires once: only `remaining` (3) requests are left in this hour",
    "remaining_two_numbers": "X-RateLimit-Remaining holds two numbers, as in '9999, 19999'",
    "server_error_500": "500 with plain text",
    "bad_gateway_large_pages": "502 with HTML for a page[size] above `threshold` (500)",
    "gateway_timeout_504": "504 with plain text",
    "maintenance_503": "503 scheduledServerMaintenance; form as in rate_limited (iso), wait = seconds (60)",
    "html_with_200": "200 with an HTML page instead of JSON",
    "broken_json": "200 with JSON that stops in the middle, at its full announced length",
    "body_cut_short": "the connection is closed in the middle of the body",
    "reset_before_answer": "the connection is reset before any answer",
    "reset_during_answer": "the connection is reset in the middle of the body",
    "hang": "no answer for `seconds` (60), then the connection is closed",
    "slow": "the body takes `seconds` (5) to arrive",
    "redirect_elsewhere": "302 to the same path on `host` (https://elsewhere.example)",
    "clock_skew": "the Date header is off by `ms` (3600000, may be negative)",
    "token_expired_mid_walk": "the access token in use dies: 401 until it is refreshed",
    "second_access_token_refused": "401 for every access token that took `nth` (2) refreshes or more",
    "refresh_refused_once": "fires once: /oauth/token answers 503 with plain text",
    "refresh_revoked": "/oauth/token answers invalid_grant; status = 400|401 (400)",
    "refresh_rotates_hard": "a refresh token dies when it is used",
    "token_minute_rule": "/oauth/token answers 429 within 60 seconds of the last access token",
    "scope_missing": "403 unauthorizedOauthScope where `scope` is needed (default: any)",
    "governance_refuses": "403 unauthorizedRequest",
    "governance_hides": "rows whose id is a multiple of `every` (2), of `type` (any), are not there",
    "out_of_order": "the rows of a page come in reverse",
    "duplicate_across_pages": "a page begins with the last row of the page before",
    "changes_while_paged": "after each page its first `count` (1) rows and the next one are changed",
    "upper_bound_ignored": "the upper bound of a filter on updatedAt has no effect",
    "late_visibility": "rows changed less than `ms` (60000) ago are missing from lists",
    "short_pages": "pages hold only `rows` (1) rows, and go on",
    "empty_page_with_next": "a page without rows, with a next link to the rows",
    "cursor_loops": "links.next of a later page leads to that same page again",
    "cursor_refused": "422 for any page[after]",
    "next_link_other_host": "links.next points to `host` (https://elsewhere.example)",
    "next_link_missing_links": "links is missing from a page although there are more rows",
    "neginf_refused": "422 for a range that starts with neginf",
    "count_truncated": "a count is given as 0 with count_truncated",
    "count_by_default": "meta.count is there unless count=false, as for older apps",
    "trashed_listed": "prospects with trashedAt are listed like the others",
    "to_one_null": "to-one relationships to nothing are {data: null}; `relationship`: this one points nowhere",
    "to_one_links_only": "to-one relationships to nothing hold only links; `relationship`: this one points nowhere",
    "to_one_empty": "to-one relationships to nothing are {}; `relationship`: this one points nowhere",
    "included_missing": "resources of `type` (any) are missing from included",
    "unknown_state": "every sequence state's state is `state` (hibernating)",
    "unknown_attributes_added": "records have attributes that nobody asked for",
    "opt_status_null_text": "emailsOptStatus and callsOptStatus are the text 'null' instead of null",
    "ids_as_strings": "ids are strings",
    "sequences_renamed": "every sequence's name ends with `suffix` ( (renamed))",
}
"""Every fault by name, with its options and their defaults."""

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
            self._hanging(kind) or self._limited(kind) or self._moved(request, kind) or self._overloaded(request, kind)
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
