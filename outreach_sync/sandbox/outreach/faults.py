"""Every way in which the simulated Outreach can misbehave, or settle a question the documentation leaves open.

Each comes from a report or a documented answer. Options are named in the line that documents the fault; every fault
also takes ``kind`` (a part of the request's kind in the journal, such as ``list tasks``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.sandbox.faults import FLAG, TEXT, Fault, FaultBoard, one_of, seconds, whole
from outreach_sync.sandbox.outreach.limits import FORMS
from outreach_sync.sandbox.outreach.schema import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.sandbox.faults import Option

FAULTS: Mapping[str, str] = {
    "rate_limited": "429; form = seconds|epoch|iso|iso_naive|http_date|none (epoch), wait = seconds (5)",
    "quota_nearly_spent": "fires once: only `remaining` (3) requests are left in this hour",
    "remaining_two_numbers": "X-RateLimit-Remaining holds two numbers: '9999, 19999'; swapped: the larger one first",
    "reset_in_form": "X-RateLimit-Reset of every answer is written in `form` (seconds), as in rate_limited",
    "rate_headers_missing": "answers have no X-RateLimit headers; a 429 keeps its own",
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
    "url_too_long": "414 with HTML for an address of more than `bytes` (4096)",
    "token_expired_mid_walk": "the access token in use dies: 401 until it is refreshed",
    "second_access_token_refused": "401 for every access token that took `nth` (2) refreshes or more",
    "refresh_refused_once": "fires once: /oauth/token answers 503 with plain text",
    "refresh_revoked": "/oauth/token refuses; status = 400|401 (400), error (invalid_grant), form = json|html|empty",
    "refresh_rotates_hard": "a refresh token dies when it is used",
    "token_minute_rule": "/oauth/token answers 429 within 60 seconds of the last access token; retry_after: in seconds",
    "unauthorized_without_body": "a 401 has no JSON; form = empty|html (empty)",
    "consent_state_lost": "the consent page sends the browser back without the state it was given",
    "scope_missing": "403 unauthorizedOauthScope where `scope` is needed (default: any)",
    "governance_refuses": "403 unauthorizedRequest",
    "governance_hides": "rows whose id is a multiple of `every` (2), of `type` (any), are not there",
    "out_of_order": "the rows of a page come in reverse",
    "duplicate_across_pages": "a page begins with the last row of the page before",
    "changes_while_paged": "after each page its first `count` (1) rows and the next one are changed",
    "upper_bound_ignored": "the upper bound of a filter on updatedAt (events: createdAt) has no effect",
    "late_visibility": "rows changed (events: written) less than `ms` (60000) ago are missing from lists",
    "short_pages": "pages hold only `rows` (1) rows, and go on",
    "empty_page_with_next": "a page without rows, with a next link to the rows",
    "cursor_loops": "links.next of a later page leads to that same page again",
    "cursor_refused": "422 for any page[after]",
    "cursor_bound_to_size": "422 for page[after] with another page[size] than it was made with",
    "offset_cap": "offset paging ends after `rows` (1000) rows instead of 10000",
    "next_link_null": "links.next of the last page is null instead of absent",
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
    "skip_is_not_completed": "a skipped task is complete, completed false, completedAt null (hypothesis H1)",
    "skip_is_like_done": "a skipped task is like a done one, but by nobody and after its autoskipAt; exactly: in"
    " everything (hypothesis H2)",
    "skip_is_another_word": "a skipped task's state is `word` (bypassed), as no list has it (hypothesis H3)",
    "skip_destroys_task": "a skipped task is gone (hypothesis H4)",
    "skip_keeps_updated_at": "a task that is skipped keeps its updatedAt; the same for the sequence state it moves on",
    "skip_keeps_step": "a skip leaves the sequence state at its step",
    "opt_out_keeps_updated_at": "a prospect that opts out keeps its updatedAt",
    "merge_names": "prospect_merged names `which` prospect: loser|winner|both (loser)",
    "event_names_refused": "422 for a filter of events by more than one name",
    "event_missing": "no event is written; kind: a part of its name",
    "event_repeated": "an event is written `times_each` (2) times; kind: a part of its name",
    "event_renamed": "an event has another `name` (renamed); kind: a part of its name",
    "event_stamped": "an event's eventAt and createdAt are off by `ms` (-60000); kind: a part of its name",
    "event_without": "an event does not say its `relationship` (task); kind: a part of its name",
    "event_relations_die": "events do not name what is gone; shape = null|links|empty (null)",
}
"""Every fault by name, with its options and their defaults."""

_FORM = one_of(*FORMS)
_TYPE = one_of(*RESOURCES)
_NOWHERE = {
    "relationship": one_of(*sorted({name for resource in RESOURCES.values() for name in resource.relationships}))
}
OPTIONS: Mapping[str, Mapping[str, Option]] = {
    "rate_limited": {"form": _FORM, "wait": seconds()},
    "quota_nearly_spent": {"remaining": whole(0)},
    "remaining_two_numbers": {"swapped": FLAG},
    "reset_in_form": {"form": _FORM},
    "url_too_long": {"bytes": whole(0)},
    "bad_gateway_large_pages": {"threshold": whole(0)},
    "maintenance_503": {"form": _FORM, "wait": seconds()},
    "hang": {"seconds": seconds()},
    "slow": {"seconds": seconds()},
    "redirect_elsewhere": {"host": TEXT},
    "clock_skew": {"ms": whole()},
    "second_access_token_refused": {"nth": whole(0)},
    "refresh_revoked": {"status": one_of(400, 401), "error": TEXT, "form": one_of("json", "html", "empty")},
    "token_minute_rule": {"retry_after": whole(0)},
    "unauthorized_without_body": {"form": one_of("empty", "html")},
    "scope_missing": {"scope": TEXT},
    "governance_hides": {"every": whole(1), "type": _TYPE},
    "changes_while_paged": {"count": whole(1)},
    "late_visibility": {"ms": whole(0)},
    "short_pages": {"rows": whole(1)},
    "offset_cap": {"rows": whole(1)},
    "next_link_other_host": {"host": TEXT},
    "to_one_null": _NOWHERE,
    "to_one_links_only": _NOWHERE,
    "to_one_empty": _NOWHERE,
    "included_missing": {"type": _TYPE},
    "unknown_state": {"state": TEXT},
    "sequences_renamed": {"suffix": TEXT},
    "skip_is_another_word": {"word": TEXT},
    "skip_is_like_done": {"exactly": FLAG},
    "merge_names": {"which": one_of("loser", "winner", "both")},
    "event_repeated": {"times_each": whole(2)},
    "event_renamed": {"name": TEXT},
    "event_stamped": {"ms": whole()},
    "event_without": {"relationship": one_of(*RESOURCES["event"].relationships)},
    "event_relations_die": {"shape": one_of("null", "links", "empty")},
}
"""What the options of a fault may be; a fault that is not here has none."""


def fault_board() -> FaultBoard:
    """Make the board of the simulated Outreach, everything off."""
    return FaultBoard({name: Fault(doc, OPTIONS.get(name, {})) for name, doc in FAULTS.items()})
