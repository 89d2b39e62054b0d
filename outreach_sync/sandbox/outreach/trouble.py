"""Answers other than data: refusals in the API's own form, the quota of requests, and faults of a whole answer.

Refusals are ``{"errors":[{"id","title","detail"}]}``. Ids and statuses come from the documentation where it gives them;
titles and details are plausible inventions. The quota is 10,000 requests an hour for a user, told in
``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset``, and in ``Retry-After`` on 429 and 503.
"""

from __future__ import annotations

import json
import threading
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync import instants
from outreach_sync.instants import Instant
from outreach_sync.sandbox.faults import one_of, table
from outreach_sync.sandbox.outreach.schema import RESOURCES
from outreach_sync.sandbox.server import HTML, Response, WireFault, damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outreach_sync.sandbox.faults import Fault, FaultBoard
    from outreach_sync.sandbox.server import Request, SandboxClock

JSON_API = "application/vnd.api+json"
HOURLY = 10_000
FORMS = ("seconds", "epoch", "iso", "iso_naive", "http_date", "odd", "none")
"""The forms of a time in Retry-After and X-RateLimit-Reset; ``odd`` is no time, ``none`` leaves the header out."""

_CONTENT_TYPE = JSON_API + "; charset=utf-8"
_PLAIN_TEXT = {"Content-Type": "text/plain; charset=utf-8"}
_HOUR_MS = 3_600_000
_ODD = "\u00b2 \x1f0"
"""What passes for a digit or for white space in some places, and not in others."""


_REFUSALS: Mapping[str, tuple[int, str]] = {
    "validationError": (422, "Validation Error"),
    "filterParameter.invalid": (422, "Invalid Filter Parameter"),
    "filterParameter.invalidDatetimeFormat": (422, "Invalid Filter Parameter"),
    "unauthorized": (401, "Unauthorized"),  # the body of this one is not documented
    "unauthorizedOauthScope": (403, "Unauthorized OAuth Scope"),
    "unauthorizedRequest": (403, "Unauthorized Request"),
    "resourceNotFound": (404, "Resource Not Found"),
    "routeNotFound": (404, "Route Not Found"),
    "unsupportedMediaType": (415, "Unsupported Media Type"),
    "rateLimitExceeded": (429, "Rate Limit Exceeded"),
}
"""Status and title of each refusal, by the id in its body."""


class Refusal(Exception):  # noqa: N818 - an answer of the API, no failure of ours
    """A request that is answered with an error of one of the ids above."""

    def __init__(self, id_: str, detail: str, *, pointer: str | None = None) -> None:
        """Keep the id, the detail and, where a parameter is to blame, its name."""
        super().__init__(detail)
        self.status, title = _REFUSALS[id_]
        key = "details" if self.status == 415 else "detail"  # noqa: PLR2004 - as documented, for this one alone
        self._error = {"id": id_, "title": title, key: detail}
        if pointer:
            self._error["source"] = {"pointer": pointer}  # type: ignore[assignment]

    def response(self) -> Response:
        """Build the answer."""
        return json_response(self.status, {"errors": [self._error]})


def json_response(status: int, document: object, content_type: str = _CONTENT_TYPE) -> Response:
    """Answer with a JSON body."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(status, {"Content-Type": content_type}, body)


def written(at: Instant, form: str, now: Instant) -> str:
    """Write a time in one of `FORMS` other than ``none``, rounded up to the second."""
    whole = Instant(-(-at // 1000) * 1000)
    match form:
        case "seconds":
            return str(max(0, -(-(at - now) // 1000)))
        case "epoch":
            return str(whole // 1000)
        case "http_date":
            return formatdate(whole / 1000, usegmt=True)
        case "odd":
            return _ODD
    text = instants.to_iso(whole)
    return text.removesuffix("Z") if form == "iso_naive" else text


class Quota(NamedTuple):
    """What is left: `remaining` after this request (negative: it was one too many), until `reset_at`."""

    limit: int
    remaining: int
    reset_at: Instant

    def headers(self, form: str, now: Instant) -> dict[str, str]:
        """Write the quota as answers carry it, when it ends in one of `FORMS`."""
        told = {"X-RateLimit-Limit": str(self.limit), "X-RateLimit-Remaining": str(max(0, self.remaining))}
        return told if form == "none" else {**told, "X-RateLimit-Reset": written(self.reset_at, form, now)}

    def refusal(self, form: str, now: Instant) -> Response:
        """Answer 429, telling in the given form how long."""
        again = written(self.reset_at, "iso_naive", now)
        detail = f"You have exceeded your permitted rate limit of {self.limit:,}; please try again at {again}."
        response = Refusal("rateLimitExceeded", detail).response()
        response.headers.update(self.headers(form, now))
        if form != "none":
            response.headers["Retry-After"] = response.headers["X-RateLimit-Reset"]
        return response


class RateLimit:
    """Counts the requests of the hour: `limit` are allowed in each hour of the clock. Thread-safe."""

    def __init__(self, clock: SandboxClock) -> None:
        """Start with nothing used."""
        self.limit = HOURLY
        self._clock = clock
        self._lock = threading.Lock()
        self._hour = 0
        self._used = 0

    def use(self, *, left: int | None = None) -> Quota:
        """Count one request; with `left`, pretend that so many were left in this hour before it."""
        with self._lock:
            hour = self._clock.now() // _HOUR_MS
            if hour != self._hour:
                self._hour, self._used = hour, 0
            self._used = 1 + (self._used if left is None else self.limit - left)
            return Quota(self.limit, self.limit - self._used, Instant((hour + 1) * _HOUR_MS))


class Trouble(NamedTuple):
    """Strikes whole answers: instead of them, or on their way.

    The token endpoints are struck by these faults only if their option `kind` says so, ``token`` or ``s2s``, but for
    `date_missing`: a header that something on the way strips is missing everywhere.
    """

    faults: FaultBoard
    clock: SandboxClock

    def instead(self, request: Request, kind: str) -> Response | None:
        """Give the answer that a fault puts in the place of the real one, None if none fires."""
        for name, strike in _STRIKES.items():
            options = self._take(name, kind)
            if options is not None:
                return strike(options, request, self.clock.now())
        return self._too_large(request, kind)

    def on_the_way(self, response: Response, kind: str) -> Response:
        """Damage an answer."""
        skew = self._take("clock_skew", kind)
        if skew is not None:
            at = self.clock.header_now() + skew.get("ms", _HOUR_MS)
            response = response._replace(headers={**response.headers, "Date": formatdate(at / 1000, usegmt=True)})
        if response.status == 401 and (options := self._take("unauthorized_without_body", kind)) is not None:  # noqa: PLR2004
            html = options.get("form") == "html"
            body = b"<h1>401 Authorization Required</h1>" if html else b""
            response = Response(401, {**response.headers, **(HTML if html else _PLAIN_TEXT)}, body)
        response = damaged(response, lambda name: self._take(name, kind), seconds=5)
        broken = self._take("reset_during_answer", kind)
        return response if broken is None else response._replace(wire=WireFault("reset_during"))

    def _take(self, name: str, kind: str) -> Mapping[str, Any] | None:
        if name != "date_missing" and kind in {"token", "s2s"} and (self.faults.peek(name) or {}).get("kind") != kind:
            return None
        return self.faults.take(name)

    def _too_large(self, request: Request, kind: str) -> Response | None:
        """Refuse an address that is too long, or a page that is too large, where a fault says so."""
        most = (self.faults.peek("url_too_long") or {}).get("bytes", 4096)
        if len(request.target) > most and self._take("url_too_long", kind) is not None:
            return Response(414, dict(HTML), b"<html><head><title>414 Request-URI Too Large</title></head></html>")
        size = dict(request.query).get("page[size]", "")
        threshold = (self.faults.peek("bad_gateway_large_pages") or {}).get("threshold", 500)
        if not size.isdigit() or int(size) <= threshold or self._take("bad_gateway_large_pages", kind) is None:
            return None
        return Response(502, dict(HTML), b"<html><head><title>502 Bad Gateway</title></head></html>")


def _gateway_page(options: Mapping[str, Any], _request: Request, _now: Instant) -> Response:
    """Answer as a gateway in front of the service does; both texts were seen at the token endpoint."""
    status = options.get("status", 403)
    if options.get("text"):
        return Response(status, dict(_PLAIN_TEXT), b"Retry later\n" if status in {403, 429} else b"no healthy upstream")
    return Response(status, dict(HTML), f"<html><body><h1>{status}</h1>Request blocked.</body></html>".encode())


def _rate_limited(options: Mapping[str, Any], _request: Request, now: Instant) -> Response:
    until = Instant(now + round(options.get("wait", 5) * 1000))
    return Quota(HOURLY, 0, until).refusal(options.get("form", "epoch"), now)


def _maintenance(options: Mapping[str, Any], _request: Request, now: Instant) -> Response:
    error = {"id": "scheduledServerMaintenance", "title": "Maintenance", "detail": "Scheduled server maintenance."}
    response, form = json_response(503, {"errors": [error]}), options.get("form", "iso")
    if form != "none":
        response.headers["Retry-After"] = written(Instant(now + round(options.get("wait", 60) * 1000)), form, now)
    return response


def _elsewhere(options: Mapping[str, Any], request: Request, _now: Instant) -> Response:
    return Response(302, {"Location": f"{options.get('host', 'https://elsewhere.example')}{request.path}"}, b"")


_STRIKES: Mapping[str, Callable[[Mapping[str, Any], Request, Instant], Response]] = {
    "server_error_500": lambda *_: Response(500, dict(_PLAIN_TEXT), b"Internal Server Error"),
    "gateway_timeout_504": lambda *_: Response(504, dict(_PLAIN_TEXT), b"upstream request timeout"),
    "html_with_200": lambda *_: Response(200, dict(HTML), b"<html><body><h1>We will be right back</h1></body></html>"),
    "gateway_page": _gateway_page,
    "reset_before_answer": lambda *_: Response(200, {}, b"", WireFault("reset_before")),
    "hang": lambda options, *_: Response(200, {}, b"", WireFault("hang", options.get("seconds", 60))),
    "rate_limited": _rate_limited,
    "maintenance_503": _maintenance,
    "redirect_elsewhere": _elsewhere,
}
"""What is answered instead of anything, by the fault."""


# -- every fault

_RELATIONS = sorted({name for resource in RESOURCES.values() for name in resource.relationships})

FAULTS: Mapping[str, Fault] = table(
    """
rate_limited(form=form, wait=seconds): 429; form = seconds|epoch|iso|iso_naive|http_date|odd (no time at all)|none
    (epoch), wait = seconds (5)
quota_nearly_spent(remaining=0..): fires once: only `remaining` (3) requests are left in this hour
remaining_two_numbers(swapped=flag): X-RateLimit-Remaining holds two numbers: '9999, 19999'; swapped: the larger one
    first
reset_in_form(form=form): X-RateLimit-Reset of every answer is written in `form` (seconds), as in rate_limited
rate_headers_missing: answers have no X-RateLimit headers; a 429 keeps its own
server_error_500: 500 with plain text
bad_gateway_large_pages(threshold=0..): 502 with HTML for a page[size] above `threshold` (500)
gateway_timeout_504: 504 with plain text
maintenance_503(form=form, wait=seconds): 503 scheduledServerMaintenance; form as in rate_limited (iso), wait =
    seconds (60)
html_with_200: 200 with an HTML page instead of JSON
gateway_page(status=401/403/404/405/413/422/429/501/503, text=flag): a page of a gateway; status (403), text: plain
    text instead of HTML; kind token or s2s: at that endpoint
broken_json: 200 with JSON that stops in the middle, at its full announced length
huge_answer(megabytes=1..): the answer is compressed and unpacks to `megabytes` (625)
body_cut_short: the connection is closed in the middle of the body
reset_before_answer: the connection is reset before any answer
reset_during_answer: the connection is reset in the middle of the body
hang(seconds=seconds): no answer for `seconds` (60), then the connection is closed
slow(seconds=seconds): the body takes `seconds` (5) to arrive
redirect_elsewhere(host=text): 302 to the same path on `host` (https://elsewhere.example)
clock_skew(ms=whole): the Date header is off by `ms` (3600000, may be negative)
date_missing: answers have no Date header, those that bring a token neither
url_too_long(bytes=0..): 414 with HTML for an address of more than `bytes` (4096)
token_expired_mid_walk: the access token in use dies: 401 until it is refreshed
second_access_token_refused(nth=0..): 401 for every access token that took `nth` (2) refreshes or more
refresh_refused_once: fires once: /oauth/token answers 503 with plain text
refresh_revoked(status=400/401, error=text, form=json/html/empty): /oauth/token refuses; status = 400|401 (400), error
    (invalid_grant), form = json|html|empty
refresh_rotates_hard: a refresh token dies when it is used
token_minute_rule(retry_after=scalar): /oauth/token answers 429 within 60 seconds of the last access token;
    retry_after: the header's text
unauthorized_without_body(form=empty/html): a 401 has no JSON; form = empty|html (empty)
consent_state_lost: the consent page sends the browser back without the state it was given
scope_missing(scope=text): 403 unauthorizedOauthScope where `scope` is needed (default: any)
governance_refuses: 403 unauthorizedRequest
governance_hides(every=1.., type=type): rows whose id is a multiple of `every` (2), of `type` (any), are not there
out_of_order: the rows of a page come in reverse
duplicate_across_pages: a page begins with the last row of the page before
changes_while_paged(count=1..): after each page its first `count` (1) rows and the next one are changed
id_list_refused(ids=1..): 422 for a filter by a list of more than `ids` (50) ids
id_list_cut(ids=1..): of a list of ids in a filter only the `ids` (50) lowest count
late_visibility(ms=0..): rows changed (events: written) less than `ms` (60000) ago are missing from lists
short_pages(rows=1..): pages hold only `rows` (1) rows, and go on
empty_page_with_next: a page without rows, with a next link to the rows
cursor_loops: links.next of a later page leads to that same page again
cursor_refused: 422 for any page[after]
cursor_bound_to_size: 422 for page[after] with another page[size] than it was made with
next_link_null: links.next of the last page is null instead of absent
next_link_other_host(host=text): links.next points to `host` (https://elsewhere.example)
next_link_missing_links: links is missing from a page although there are more rows
trashed_listed: prospects with trashedAt are listed like the others
to_one_null(relationship=relation!): `relationship` points nowhere, which is {data: null}
to_one_links_only(relationship=relation): to-one relationships to nothing hold only links; `relationship`: this one
    points nowhere
to_one_empty(relationship=relation): to-one relationships to nothing are {}; `relationship`: this one points nowhere
included_missing(type=type): resources of `type` (any) are missing from included
unknown_state(state=text): every sequence state's state is `state` (hibernating)
unknown_attributes_added: records have attributes that nobody asked for
ids_as_strings: ids are strings
stamps_ahead(ms=whole): updatedAt and stateChangedAt are shown `ms` (3600000) later than they are
skip_is_not_completed: a skipped task is complete, completed false, completedAt null (hypothesis H1)
skip_is_like_done(exactly=flag): a skipped task is like a done one, but by nobody and after its autoskipAt; exactly:
    in all (hypothesis H2)
skip_is_another_word(word=text): a skipped task's state is `word` (bypassed), as no list has it (hypothesis H3)
skip_destroys_task: a skipped task is gone (hypothesis H4)
skip_keeps_updated_at: a task that is skipped keeps its updatedAt; the same for the sequence state it moves on
skip_keeps_step: a skip leaves the sequence state at its step
opt_out_keeps_updated_at: a prospect that opts out keeps its updatedAt
merge_names(which=loser/winner/both): prospect_merged names `which` prospect: loser|winner|both (loser)
event_names_refused: 422 for a filter of events by more than one name
event_missing: no event is written; kind: a part of its name
event_repeated(times_each=2..): an event is written `times_each` (2) times; kind: a part of its name
event_renamed(name=text): an event has another `name` (renamed); kind: a part of its name
event_stamped(ms=whole): an event's eventAt and createdAt are off by `ms` (-60000); kind: a part of its name
event_without(relationship=event_relation): an event does not say its `relationship` (task); kind: a part of its name
event_relations_die(shape=null/links/empty): events do not name what is gone; shape = null|links|empty (null)
""",
    form=one_of(*FORMS),
    type=one_of(*RESOURCES),
    relation=one_of(*_RELATIONS),
    event_relation=one_of(*RESOURCES["event"].relationships),
)
"""Every fault by name."""
