"""What the options of the simulated Workbooks' faults may be; `faults` says what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.sandbox.faults import FLAG, TEXT, Option, needed, numbers, one_of, seconds, share, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXT_OR_NUMBER = Option("a text or a number", lambda value: isinstance(value, str | int | float))
_DONE_ALL_THE_SAME = {"committed": FLAG}
_WAIT = {"retry_after": _TEXT_OR_NUMBER}
_STATUS = {"status": one_of(500, 502, 504)}
_REDIRECT = {"location": TEXT}
_BLAME = {"text": TEXT, "field": TEXT}
_CONCERNED = {"ids": numbers(), "indexes": numbers()}

OPTIONS: Mapping[str, Mapping[str, Option]] = {
    "reset_before_answer": _DONE_ALL_THE_SAME,
    "hang": {"seconds": seconds(), **_DONE_ALL_THE_SAME},
    "slow": {"seconds": seconds()},
    "huge_answer": {"megabytes": whole(1)},
    "gateway_page": {"status": one_of(401, 403, 404, 422, 500, 502, 504), "text": FLAG, **_DONE_ALL_THE_SAME},
    "delaying_redirect": {
        "probability": share(),
        "done": share(),
        "seed": whole(),
        "seconds": seconds(),
        "follow": one_of("repeat", "same", "get", "back", "elsewhere"),
    },
    "records_hidden": {"ids": numbers(), "class": TEXT},
    "text_cut": {"length": whole(1), "field": TEXT},
    "field_required": {"field": TEXT, "class": TEXT},
    "html_with_200": _DONE_ALL_THE_SAME,
    "error_500_after_commit": _STATUS,
    "error_500_before_commit": _STATUS,
    "error_500": _STATUS,
    "rate_limited_429": _WAIT,
    "unavailable_503": _WAIT,
    "redirect_delay_302": _REDIRECT,
    "redirect_after_commit_302": _REDIRECT,
    "key_refused": {"reason": TEXT, "status": one_of(401, 403)},
    "page_shift": {"shift": whole(0)},
    "created_rows_appear_late": {"lookups": whole(0), "seconds": seconds()},
    "datetime_reads_back_as_date": {"field": TEXT},
    "skip_total_unknown": {"spelling": one_of("__skip_total_rows", "_skip_total_rows")},
    "refuse_one": {"index": whole(0), **_BLAME},
    "refuse_all": _BLAME,
    "refuse_value": {"field": needed(TEXT), "value": TEXT, "text": TEXT},
    "results_shorter": {"index": whole(0)},
    "information_missing": {"form": one_of("empty", "message", "absent")},
    "stale_some": _CONCERNED,
    "stale_again_and_again": {"ids": numbers()},
    "stale_text_in": {"place": one_of("failures", "errors", "affected_object_errors", "information")},
    "delete_between_read_and_write": _CONCERNED,
    "merge_between_read_and_write": {"into": whole(1), "alias": FLAG, **_CONCERNED},
    "read_only_between_read_and_write": _CONCERNED,
    "no_permission_to_create": {"class": TEXT},
    "no_permission_to_update": {"class": TEXT},
    "field_not_updateable": {"field": TEXT},
    "datetime_without_seconds": {"how": one_of("cut", "round")},
    "picklist_entry_missing": {"value": needed(TEXT)},
    "custom_field_removed": {"field": needed(TEXT)},
    "datetime_word": {"word": TEXT},
    "custom_field_slow": {"polls": whole(0), "seconds": seconds()},
}
"""By fault; one that is not here has none."""

KINDLESS = frozenset({"json_bodies_ok"})
"""What decides whether a request is understood at all, before its kind is known."""
