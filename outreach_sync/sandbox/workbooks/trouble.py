"""Faults that concern a request as a whole: refused, redirected, broken on the wire, or answered with nonsense."""

from __future__ import annotations

import json
import random
import secrets
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.sandbox.faults import table
from outreach_sync.sandbox.server import HTML, Response, WireFault, damaged
from outreach_sync.sandbox.workbooks.calls import DELAY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outreach_sync.sandbox.faults import Fault, FaultBoard
    from outreach_sync.sandbox.workbooks.calls import Call

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
        """Answer a request, carrying it out unless a fault prevents that."""
        if call.kind == "delay":
            return self._at_delaying_address(call)
        early = self._instead(call, carry_out)
        if early is not None:
            return early
        response = carry_out()
        if call.writes and self._faults.fires("answer_lost_after_commit"):
            response = response._replace(wire=WireFault("reset_before"))
        if self._faults.fires("invalid_utf8"):
            response = response._replace(body=response.body[:-1] + b',"note":"caf\xe9"}')
        return damaged(response, self._faults.take, seconds=1)

    def knows_delay(self, call: Call) -> bool:
        """Tell whether a request comes by a delaying address that was handed out, which lets it in."""
        return call.form.controls.get("_delayed") in self._delayed

    def refusal(self, error: RefusedError) -> Response:
        """Answer a request that is not let in."""
        key = "failure_reason" if not self._faults.fires("failure_message") else "failure_message"
        return json_response(error.status, {key: error.reason})

    def _instead(self, call: Call, carry_out: Callable[[], Response]) -> Response | None:
        """Answer with what a fault has instead; the request may be carried out all the same."""
        for name, answer in _INSTEAD.items():
            options = self._faults.take(name)
            if options is not None:
                if options.get("committed"):
                    carry_out()
                return answer(options)
        if self._faults.fires("database_being_migrated"):
            return self.refusal(RefusedError("database_being_migrated"))
        options = self._faults.take("key_refused")
        if options is not None:
            reason = options.get("reason", "unrecognised_name_or_password")
            return self.refusal(RefusedError(reason, options.get("status")))
        return self._redirected(call, carry_out)

    def _redirected(self, call: Call, carry_out: Callable[[], Response]) -> Response | None:
        options = self._faults.take("delaying_redirect")
        if options is not None and not self.knows_delay(call):
            if options is not self._thrown_for:  # switched on anew
                self._thrown_for, self._dice = options, random.Random(options.get("seed", 1))  # noqa: S311
            if self._dice.random() < options.get("probability", 0.6):
                answered = carry_out() if self._dice.random() < options.get("done", 0) else None
                return redirect(self._hold(call, carry_out, options, answered))
        options = self._faults.take("redirect_302")
        if options is None:
            return None
        if options.get("committed"):
            carry_out()
        return redirect(self._location(call, options.get("location", "same")))

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
        if wanted == "login":
            return login_page(call)
        if wanted not in ("same", "other"):
            return wanted
        token = secrets.token_hex(8)
        self._delayed.add(token)
        origin = _origin(call) if wanted == "same" else "https://delay.example.net"
        return f"{origin}{call.request.path}?_delayed={token}"


def json_response(status: int, document: object) -> Response:
    """Answer with JSON."""
    return Response(int(status), dict(_JSON), json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))


def redirect(location: str) -> Response:
    """Answer 302."""
    return Response(302, {"Location": location, **HTML}, b"")


def login_page(call: Call) -> str:
    """Say where anyone without a valid session is sent."""
    return f"{_origin(call)}/login"


def page() -> Response:
    """Answer with a page of the web application: a 200 that looks like success to whoever does not look at it."""
    return Response(200, dict(HTML), _LOG_IN)


def _origin(call: Call) -> str:
    return f"http://{call.request.headers.get('Host') or 'localhost'}"


def _server_error(options: Mapping[str, Any]) -> Response:
    """Answer 500 with a reference to quote to the support team, or as the gateway before the service does."""
    status = options.get("status", 500)
    if status != HTTPStatus.INTERNAL_SERVER_ERROR:
        return Response(status, dict(HTML), _BACK_SOON)
    return json_response(500, {"exception_reference": secrets.token_hex(4), "message": "An error has occurred."})


def _gateway_page(options: Mapping[str, Any]) -> Response:
    """Answer as something in between does, which knows nothing of the API."""
    status = HTTPStatus(options.get("status", HTTPStatus.FORBIDDEN))
    text = Response(status, {"Content-Type": "text/plain"}, f"{status.value} {status.phrase}".encode())
    return text if options.get("text") else Response(status, dict(HTML), _BACK_SOON)


def _later(status: int, options: Mapping[str, Any]) -> Response:
    pause = {"Retry-After": str(options["retry_after"])} if "retry_after" in options else {}
    return Response(status, {"Content-Type": "text/plain", **pause}, b"Please try again later.")


_INSTEAD: Mapping[str, Callable[[Mapping[str, Any]], Response]] = {
    "reset_before_answer": lambda _: Response(200, {}, b"", WireFault("reset_before")),
    "hang": lambda options: Response(200, {}, b"", WireFault("hang", options.get("seconds", 30))),
    "gateway_page": _gateway_page,
    "html_with_200": lambda _: Response(200, dict(HTML), _BACK_SOON),
    "rate_limited_429": lambda options: _later(429, options),
    "unavailable_503": lambda options: _later(503, options),
    "error_500": _server_error,
    "not_taken": lambda options: json_response(
        options.get("status", 501), {"success": False, "failures": ["the request cannot be processed"]}
    ),
}
"""What is answered instead of anything, by the fault."""


# -- every fault

FAULTS: Mapping[str, Fault] = table(
    """
# on the wire
answer_lost_after_commit: the write is done, then the connection is reset without an answer
reset_before_answer(committed=flag): the connection is reset, nothing is done; option committed: it is done
body_cut_short: the request is carried out, its answer ends in the middle
hang(seconds=seconds, committed=flag): no byte for option seconds (30), then the connection closes; nothing is done;
    option committed: it is
slow(seconds=seconds): the answer takes option seconds (1)
html_with_200(committed=flag): a page of HTML with status 200, nothing is done; option committed: it is
broken_json: the request is carried out, its answer is no JSON
invalid_utf8: the request is carried out, a byte that is no UTF-8 stands in its answer
huge_answer(megabytes=1..): the request is carried out, its answer is compressed and unpacks to option megabytes (625)
date_missing: answers have no Date header
gateway_page(status=401/403/404/405/413/422/500/501/502/504, text=flag, committed=flag): a page of a gateway, nothing is
    done; options status (403), text: plain text instead of HTML, committed: it was done
# the answer as a whole
error_500(status=500/502/504, committed=flag): the answer is 500 with a reference, nothing is done; options status: 502,
    504: a page of some gateway, committed: it is done
not_taken(status=405/406/501): the answer is 501 in Workbooks' own form, or option status; nothing is done
rate_limited_429(retry_after=scalar): 429; option retry_after: the header's text
unavailable_503(retry_after=scalar): 503; option retry_after: the header's text
redirect_302(location=text, committed=flag): 302 to a delaying address, nothing is done; options location: same, other,
    login (the login page, as if the key was not taken), or an address; committed: it is done
delaying_redirect(probability=share, done=share, seed=whole, seconds=seconds, follow=repeat/same/get/back/elsewhere):
    302 to a delaying address on the same host; options probability (0.6) and done (0), the share of the redirected
    requests that were carried out, both drawn by seed (1); seconds: how long that address takes; follow: what answers
    there: repeat (the request sent there, whatever it is), same (the request, with its method and body), get (the
    first request, asked for by GET), back (a redirect to the first address), elsewhere (nothing: it is another host)
key_refused(reason=text, status=401/403): 401 or 403; options reason (unrecognised_name_or_password), status
failure_message: a refusal gives its reason as failure_message, not failure_reason
database_being_migrated: 403 database_being_migrated
# reading
records_hidden(ids=numbers, class=text): records are not to be seen by the key's user: in no answer, though not
    deleted; options ids (all there are), class (Person)
filter_ignored: the filters of a read are ignored: unfiltered rows come back
eq_case_sensitive: eq heeds case in text
eq_without_accents: eq takes letters with and without accents for the same, and \u00df for ss
eq_without_blanks: eq ignores blanks around text
backslash_escapes: in the values of eq a backslash takes any next character as it is, not a comma alone
created_rows_appear_late(lookups=0.., seconds=seconds): what is created stays out of look-ups; options lookups (1) or
    seconds
datetime_reads_back_as_date(field=text): times are shown as days; option field: only of this field
custom_datetime_is_var: custom fields of times are var_date_time: shown, described and taken as such
skip_total_unknown(spelling=__skip_total_rows/_skip_total_rows, refused=flag): neither spelling of skip_total_rows is
    known: rows are counted; options spelling: only this one is unknown, refused: the read is refused
deleted_listed: deleted rows are listed although nobody asks for them
sort_ignored: rows come in another order than was asked for, the newest first
no_permission_to_read(class=text, status=403/404): the key's user may not read; options class: only this class, status
    (403)
column_missing(field=text!): option field: the column is in no row, as if it had not been asked for
text_line_ends_crlf: line ends in long texts come back as CR LF
# writing
refuse_one(index=0.., text=text, field=text): one object is refused; options index (0), text, field: what is blamed
refuse_all(text=text, field=text): each object is refused; options text, field
refuse_value(field=text!, value=text, text=text): an object that sets option field (to option value, if given) is
    refused; option text
top_level_success_true_on_partial: success is true at the top though an object failed
top_level_success_false_on_success_info_missing: all is done, success is false at the top, nothing on objects
results_longer: one more object in the results than was sent
results_shorter(index=0..): the results lack an object; option index (the last)
results_reordered: the results come in reverse order
information_missing(form=empty/message/absent): affected_object_information in the old forms; option form: empty,
    message, absent
stale_some(ids=numbers, indexes=numbers): another process changes objects just before the write; options ids or
    indexes (the first)
stale_all: another process changes every object just before the write
stale_again_and_again(ids=numbers): another process changes the objects just before each write; option ids
stale_text_in(place=failures/errors/affected_object_errors/information): where the text on a stale object stands;
    option place: failures, errors, affected_object_errors, information
stale_without_text: a stale object fails without any text
delete_between_read_and_write(ids=numbers, indexes=numbers): the object is deleted just before the write; options ids
    or indexes (the first)
merge_between_read_and_write(into=1.., alias=flag, ids=numbers, indexes=numbers): the Person is merged into another
    just before the write; options ids or indexes, into (a new Person), alias: from then on the losing id stands for
    the winner
read_only_between_read_and_write(ids=numbers, indexes=numbers): the object becomes read-only just before the write;
    options ids or indexes
deleted_id_fails_batch_404: a deleted or unknown id among the objects: 404 for all, nothing is done
deleted_id_shortens_results: a deleted or unknown id among the objects is left out of the results
field_required(field=text, class=text): a create needs option field (person_job_title), which metadata say too; option
    class (Person)
no_permission_to_create(class=text): the key's user may not create; option class: only this class
no_permission_to_update(class=text): the key's user may not update; option class: only this class
field_not_updateable(field=text): fields can be set in creates only; option field: only this one
field_not_createable(field=text): fields cannot be set in creates; option field: only this one
errors_flat: errors at the top of an answer stand there as they are, not under []
emoji_lost: a character beyond the 16 bits of older databases, as emoji are, is kept as a question mark
ampersand_escaped: an ampersand in text is kept as &amp;
text_cut(length=1.., field=text): text is kept cut at option length (30); option field: only in this field
blanks_trimmed: blanks around text are not kept
datetime_without_seconds(how=cut/round): custom fields of times keep whole minutes; option how: cut, round
# the account
picklist_entry_missing(value=text!): option value: the entry is removed from its picklist, for good, before the next
    request
custom_field_removed(field=text!): option field: the custom field is removed, for good, before the next request
custom_field_slow(polls=0.., seconds=seconds): a new custom field is available after option polls (3) look-ups, and
    seconds if given
labels_with_hyphen: entries of picklists lose their en dashes to hyphens, for good, before the next request
datetime_word(word=text): the data_type of a custom field of times is not datetime; option word (date_time)
custom_datetime_is_date: a custom field created as datetime turns out to hold days
"""
)
"""Every fault by name. Every fault also takes the option `kind`: see the journal."""
