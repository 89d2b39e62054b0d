"""Every way in which the simulated Outreach can misbehave, or settle a question the documentation leaves open.

Each comes from a report or a documented answer. Options are named in the line that documents the fault; every fault
also takes ``kind`` (a part of the request's kind in the journal, such as ``list tasks``). Those that strike where an
event is written take a part of its name instead: it happens outside of any request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.sandbox.faults import FLAG, TEXT, Option, fault, one_of, seconds, whole
from outreach_sync.sandbox.outreach.schema import RESOURCES
from outreach_sync.sandbox.outreach.trouble import FORMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.sandbox.faults import Fault

_FORM = one_of(*FORMS)
_TYPE = one_of(*RESOURCES)
_TEXT_OR_NUMBER = Option("a text or a number", lambda value: isinstance(value, str | int | float))
_NOWHERE = {
    "relationship": one_of(*sorted({name for resource in RESOURCES.values() for name in resource.relationships}))
}

FAULTS: Mapping[str, Fault] = {
    "rate_limited": fault(
        "429; form = seconds|epoch|iso|iso_naive|http_date|odd (no time at all)|none (epoch), wait = seconds (5)",
        form=_FORM,
        wait=seconds(),
    ),
    "quota_nearly_spent": fault("fires once: only `remaining` (3) requests are left in this hour", remaining=whole(0)),
    "remaining_two_numbers": fault(
        "X-RateLimit-Remaining holds two numbers: '9999, 19999'; swapped: the larger one first", swapped=FLAG
    ),
    "reset_in_form": fault(
        "X-RateLimit-Reset of every answer is written in `form` (seconds), as in rate_limited", form=_FORM
    ),
    "rate_headers_missing": fault("answers have no X-RateLimit headers; a 429 keeps its own"),
    "server_error_500": fault("500 with plain text"),
    "bad_gateway_large_pages": fault("502 with HTML for a page[size] above `threshold` (500)", threshold=whole(0)),
    "gateway_timeout_504": fault("504 with plain text"),
    "maintenance_503": fault(
        "503 scheduledServerMaintenance; form as in rate_limited (iso), wait = seconds (60)", form=_FORM, wait=seconds()
    ),
    "html_with_200": fault("200 with an HTML page instead of JSON"),
    "gateway_page": fault(
        "a page of a gateway; status (403), text: plain text instead of HTML; kind token or s2s: at that endpoint",
        status=one_of(401, 403, 404, 422, 429, 503),
        text=FLAG,
    ),
    "broken_json": fault("200 with JSON that stops in the middle, at its full announced length"),
    "huge_answer": fault("the answer is compressed and unpacks to `megabytes` (625)", megabytes=whole(1)),
    "body_cut_short": fault("the connection is closed in the middle of the body"),
    "reset_before_answer": fault("the connection is reset before any answer"),
    "reset_during_answer": fault("the connection is reset in the middle of the body"),
    "hang": fault("no answer for `seconds` (60), then the connection is closed", seconds=seconds()),
    "slow": fault("the body takes `seconds` (5) to arrive", seconds=seconds()),
    "redirect_elsewhere": fault("302 to the same path on `host` (https://elsewhere.example)", host=TEXT),
    "clock_skew": fault("the Date header is off by `ms` (3600000, may be negative)", ms=whole()),
    "url_too_long": fault("414 with HTML for an address of more than `bytes` (4096)", bytes=whole(0)),
    "token_expired_mid_walk": fault("the access token in use dies: 401 until it is refreshed"),
    "second_access_token_refused": fault(
        "401 for every access token that took `nth` (2) refreshes or more", nth=whole(0)
    ),
    "refresh_refused_once": fault("fires once: /oauth/token answers 503 with plain text"),
    "refresh_revoked": fault(
        "/oauth/token refuses; status = 400|401 (400), error (invalid_grant), form = json|html|empty",
        status=one_of(400, 401),
        error=TEXT,
        form=one_of("json", "html", "empty"),
    ),
    "refresh_rotates_hard": fault("a refresh token dies when it is used"),
    "token_minute_rule": fault(
        "/oauth/token answers 429 within 60 seconds of the last access token; retry_after: the header's text",
        retry_after=_TEXT_OR_NUMBER,
    ),
    "unauthorized_without_body": fault("a 401 has no JSON; form = empty|html (empty)", form=one_of("empty", "html")),
    "consent_state_lost": fault("the consent page sends the browser back without the state it was given"),
    "scope_missing": fault("403 unauthorizedOauthScope where `scope` is needed (default: any)", scope=TEXT),
    "governance_refuses": fault("403 unauthorizedRequest"),
    "governance_hides": fault(
        "rows whose id is a multiple of `every` (2), of `type` (any), are not there", every=whole(1), type=_TYPE
    ),
    "out_of_order": fault("the rows of a page come in reverse"),
    "duplicate_across_pages": fault("a page begins with the last row of the page before"),
    "changes_while_paged": fault(
        "after each page its first `count` (1) rows and the next one are changed", count=whole(1)
    ),
    "upper_bound_ignored": fault("the upper bound of a filter on updatedAt (events: createdAt) has no effect"),
    "late_visibility": fault(
        "rows changed (events: written) less than `ms` (60000) ago are missing from lists", ms=whole(0)
    ),
    "short_pages": fault("pages hold only `rows` (1) rows, and go on", rows=whole(1)),
    "empty_page_with_next": fault("a page without rows, with a next link to the rows"),
    "cursor_loops": fault("links.next of a later page leads to that same page again"),
    "cursor_refused": fault("422 for any page[after]"),
    "cursor_bound_to_size": fault("422 for page[after] with another page[size] than it was made with"),
    "offset_cap": fault("offset paging ends after `rows` (1000) rows instead of 10000", rows=whole(1)),
    "next_link_null": fault("links.next of the last page is null instead of absent"),
    "next_link_other_host": fault("links.next points to `host` (https://elsewhere.example)", host=TEXT),
    "next_link_missing_links": fault("links is missing from a page although there are more rows"),
    "neginf_refused": fault("422 for a range that starts with neginf"),
    "count_truncated": fault("a count is given as 0 with count_truncated"),
    "count_by_default": fault("meta.count is there unless count=false, as for older apps"),
    "trashed_listed": fault("prospects with trashedAt are listed like the others"),
    "to_one_null": fault(
        "to-one relationships to nothing are {data: null}; `relationship`: this one points nowhere", **_NOWHERE
    ),
    "to_one_links_only": fault(
        "to-one relationships to nothing hold only links; `relationship`: this one points nowhere", **_NOWHERE
    ),
    "to_one_empty": fault(
        "to-one relationships to nothing are {}; `relationship`: this one points nowhere", **_NOWHERE
    ),
    "included_missing": fault("resources of `type` (any) are missing from included", type=_TYPE),
    "unknown_state": fault("every sequence state's state is `state` (hibernating)", state=TEXT),
    "unknown_attributes_added": fault("records have attributes that nobody asked for"),
    "opt_status_null_text": fault("emailsOptStatus and callsOptStatus are the text 'null' instead of null"),
    "ids_as_strings": fault("ids are strings"),
    "stamps_ahead": fault("updatedAt and stateChangedAt are shown `ms` (3600000) later than they are", ms=whole()),
    "sequences_renamed": fault("every sequence's name ends with `suffix` ( (renamed))", suffix=TEXT),
    "skip_is_not_completed": fault("a skipped task is complete, completed false, completedAt null (hypothesis H1)"),
    "skip_is_like_done": fault(
        "a skipped task is like a done one, but by nobody and after its autoskipAt; exactly: in all (hypothesis H2)",
        exactly=FLAG,
    ),
    "skip_is_another_word": fault(
        "a skipped task's state is `word` (bypassed), as no list has it (hypothesis H3)", word=TEXT
    ),
    "skip_destroys_task": fault("a skipped task is gone (hypothesis H4)"),
    "skip_keeps_updated_at": fault(
        "a task that is skipped keeps its updatedAt; the same for the sequence state it moves on"
    ),
    "skip_keeps_step": fault("a skip leaves the sequence state at its step"),
    "opt_out_keeps_updated_at": fault("a prospect that opts out keeps its updatedAt"),
    "merge_names": fault(
        "prospect_merged names `which` prospect: loser|winner|both (loser)", which=one_of("loser", "winner", "both")
    ),
    "event_names_refused": fault("422 for a filter of events by more than one name"),
    "event_missing": fault("no event is written; kind: a part of its name"),
    "event_repeated": fault(
        "an event is written `times_each` (2) times; kind: a part of its name", times_each=whole(2)
    ),
    "event_renamed": fault("an event has another `name` (renamed); kind: a part of its name", name=TEXT),
    "event_stamped": fault(
        "an event's eventAt and createdAt are off by `ms` (-60000); kind: a part of its name", ms=whole()
    ),
    "event_without": fault(
        "an event does not say its `relationship` (task); kind: a part of its name",
        relationship=one_of(*RESOURCES["event"].relationships),
    ),
    "event_relations_die": fault(
        "events do not name what is gone; shape = null|links|empty (null)", shape=one_of("null", "links", "empty")
    ),
}
"""Every fault by name."""
