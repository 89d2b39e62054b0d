"""Every way in which the simulated Workbooks can misbehave, or settle a question the documentation leaves open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.sandbox.faults import FLAG, TEXT, Fault, Option, needed, numbers, one_of, seconds, share, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.schema import Field

_TEXT_OR_NUMBER = Option("a text or a number", lambda value: isinstance(value, str | int | float))
_STATUS = one_of(500, 502, 504)
_FOLLOW = one_of("repeat", "same", "get", "back", "elsewhere")
_BLAME = {"text": TEXT, "field": TEXT}
_CONCERNED = {"ids": numbers(), "indexes": numbers()}

ON_THE_WIRE = {
    "answer_lost_after_commit": Fault("the write is done, then the connection is reset without an answer"),
    "reset_before_answer": Fault(
        "the connection is reset, nothing is done; option committed: it is done", {"committed": FLAG}
    ),
    "body_cut_short": Fault("the request is carried out, its answer ends in the middle"),
    "hang": Fault(
        "no byte for option seconds (30), then the connection closes; nothing is done; option committed: it is",
        {"seconds": seconds(), "committed": FLAG},
    ),
    "slow": Fault("the answer takes option seconds (1)", {"seconds": seconds()}),
    "html_with_200": Fault(
        "a page of HTML with status 200, nothing is done; option committed: it is", {"committed": FLAG}
    ),
    "broken_json": Fault("the request is carried out, its answer is no JSON"),
    "invalid_utf8": Fault("the request is carried out, a byte that is no UTF-8 stands in its answer"),
    "huge_answer": Fault(
        "the request is carried out, its answer is compressed and unpacks to option megabytes (625)",
        {"megabytes": whole(1)},
    ),
    "gateway_page": Fault(
        "a page of a gateway, nothing is done; options status (403; 401, 404, 422, 500, 502, 504), text: plain text"
        " instead of HTML, committed: it was done",
        {"status": one_of(401, 403, 404, 422, 500, 502, 504), "text": FLAG, "committed": FLAG},
    ),
}
STATUSES = {
    "error_500_after_commit": Fault(
        "the write is done, the answer is 500 with a reference; option status as below", {"status": _STATUS}
    ),
    "error_500_before_commit": Fault(
        "a write is not done, the answer is 500 with a reference; option status as below", {"status": _STATUS}
    ),
    "error_500": Fault(
        "nothing is done, the answer is 500; any request; option status: 502, 504: a page of some gateway",
        {"status": _STATUS},
    ),
    "rate_limited_429": Fault("429; option retry_after: the header's text", {"retry_after": _TEXT_OR_NUMBER}),
    "unavailable_503": Fault("503; option retry_after: the header's text", {"retry_after": _TEXT_OR_NUMBER}),
    "redirect_delay_302": Fault(
        "302 to a delaying address, nothing is done; option location: same, other, or an address", {"location": TEXT}
    ),
    "redirect_after_commit_302": Fault("302 after the write was done; option location as above", {"location": TEXT}),
    "delaying_redirect": Fault(
        "302 to a delaying address on the same host; options probability (0.6) and done (0), the share of the"
        " redirected requests that were carried out, both drawn by seed (1); seconds: how long that address takes;"
        " follow: what answers there: repeat (the request sent there, whatever it is), same (the request, with its"
        " method and body), get (the first request, asked for by GET), back (a redirect to the first address),"
        " elsewhere (nothing: it is another host)",
        {"probability": share(), "done": share(), "seed": whole(), "seconds": seconds(), "follow": _FOLLOW},
    ),
    "redirect_to_login_302": Fault("302 to the login page: the key was not taken; nothing is done"),
    "key_refused": Fault(
        "401 or 403; options reason (unrecognised_name_or_password), status",
        {"reason": TEXT, "status": one_of(401, 403)},
    ),
    "failure_message": Fault("a refusal gives its reason as failure_message, not failure_reason"),
    "database_being_migrated": Fault("403 database_being_migrated"),
}
READING = {
    "records_hidden": Fault(
        "records are not to be seen by the key's user: in no answer, though not deleted; options ids (all there are),"
        " class (Person)",
        {"ids": numbers(), "class": TEXT},
    ),
    "filter_ignored": Fault("the filters of a read are ignored: unfiltered rows come back"),
    "eq_case_sensitive": Fault("eq heeds case in text"),
    "eq_without_accents": Fault("eq takes letters with and without accents for the same, and \u00df for ss"),
    "eq_without_blanks": Fault("eq ignores blanks around text"),
    "backslash_escapes": Fault("in the values of eq a backslash takes any next character as it is, not a comma alone"),
    "page_shift": Fault(
        "another process deletes a row before the page: option shift (1) rows are missed", {"shift": whole(0)}
    ),
    "created_rows_appear_late": Fault(
        "what is created stays out of look-ups; options lookups (1) or seconds",
        {"lookups": whole(0), "seconds": seconds()},
    ),
    "datetime_reads_back_as_date": Fault("times are shown as days; option field: only of this field", {"field": TEXT}),
    "custom_datetime_is_var": Fault("custom fields of times are var_date_time: shown, described and taken as such"),
    "skip_total_unknown": Fault(
        "neither spelling of skip_total_rows is known: rows are counted; option spelling: only this one is unknown",
        {"spelling": one_of("__skip_total_rows", "_skip_total_rows")},
    ),
    "text_line_ends_crlf": Fault("line ends in long texts come back as CR LF"),
    "strict_objects_to_control_parameters": Fault(
        "strict checking refuses a request with an undocumented control parameter"
    ),
}
WRITING = {
    "refuse_one": Fault(
        "one object is refused; options index (0), text, field: what is blamed", {"index": whole(0), **_BLAME}
    ),
    "refuse_all": Fault("each object is refused; options text, field", _BLAME),
    "refuse_value": Fault(
        "an object that sets option field (to option value, if given) is refused; option text",
        {"field": needed(TEXT), "value": TEXT, "text": TEXT},
    ),
    "top_level_success_true_on_partial": Fault("success is true at the top though an object failed"),
    "top_level_success_false_on_success_info_missing": Fault(
        "all is done, success is false at the top, nothing on objects"
    ),
    "results_longer": Fault("one more object in the results than was sent"),
    "results_shorter": Fault("the results lack an object; option index (the last)", {"index": whole(0)}),
    "results_reordered": Fault("the results come in reverse order"),
    "information_missing": Fault(
        "affected_object_information in the old forms; option form: empty, message, absent",
        {"form": one_of("empty", "message", "absent")},
    ),
    "stale_some": Fault(
        "another process changes objects just before the write; options ids or indexes (the first)", _CONCERNED
    ),
    "stale_all": Fault("another process changes every object just before the write"),
    "stale_again_and_again": Fault(
        "another process changes the objects just before each write; option ids", {"ids": numbers()}
    ),
    "stale_text_in": Fault(
        "where the text on a stale object stands; option place: failures, errors, affected_object_errors, information",
        {"place": one_of("failures", "errors", "affected_object_errors", "information")},
    ),
    "stale_without_text": Fault("a stale object fails without any text"),
    "delete_between_read_and_write": Fault(
        "the object is deleted just before the write; options ids or indexes (the first)", _CONCERNED
    ),
    "merge_between_read_and_write": Fault(
        "the Person is merged into another just before the write; options ids or indexes, into (a new Person), alias:"
        " from then on the losing id stands for the winner",
        {"into": whole(1), "alias": FLAG, **_CONCERNED},
    ),
    "read_only_between_read_and_write": Fault(
        "the object becomes read-only just before the write; options ids or indexes", _CONCERNED
    ),
    "deleted_id_fails_batch_404": Fault("a deleted or unknown id among the objects: 404 for all, nothing is done"),
    "deleted_id_shortens_results": Fault("a deleted or unknown id among the objects is left out of the results"),
    "filterless_creates_refused": Fault("a create without the filter id = 0 is refused, as the guide's text demands"),
    "field_required": Fault(
        "a create needs option field (person_job_title), which metadata say too; option class (Person)",
        {"field": TEXT, "class": TEXT},
    ),
    "no_permission_to_create": Fault("the key's user may not create; option class: only this class", {"class": TEXT}),
    "no_permission_to_update": Fault("the key's user may not update; option class: only this class", {"class": TEXT}),
    "field_not_updateable": Fault("fields can be set in creates only; option field: only this one", {"field": TEXT}),
    "errors_flat": Fault("errors at the top of an answer stand there as they are, not under []"),
    "emoji_lost": Fault("a character beyond the 16 bits of older databases, as emoji are, is kept as a question mark"),
    "ampersand_escaped": Fault("an ampersand in text is kept as &amp;"),
    "text_cut": Fault(
        "text is kept cut at option length (30); option field: only in this field",
        {"length": whole(1), "field": TEXT},
    ),
    "blanks_trimmed": Fault("blanks around text are not kept"),
    "custom_datetime_refuses_iso": Fault("custom fields of times take Workbooks' own forms and epochs, not ISO 8601"),
    "datetime_without_seconds": Fault(
        "custom fields of times keep whole minutes; option how: cut, round", {"how": one_of("cut", "round")}
    ),
    "primary_contact_makes_link": Fault("a Task with a primary contact gets an activity link to it too"),
    "status_sets_completed": Fault("a Task that becomes Complete or Cancelled gets a completion time nobody sent"),
}
SETUP = {
    "picklist_entry_missing": Fault(
        "option value: the entry is removed from its picklist, for good, before the next request",
        {"value": needed(TEXT)},
    ),
    "custom_field_removed": Fault(
        "option field: the custom field is removed, for good, before the next request", {"field": needed(TEXT)}
    ),
    "custom_field_slow": Fault(
        "a new custom field is available after option polls (3) look-ups, and seconds if given",
        {"polls": whole(0), "seconds": seconds()},
    ),
    "labels_with_hyphen": Fault(
        "entries of picklists lose their en dashes to hyphens, for good, before the next request"
    ),
    "datetime_word": Fault(
        "the data_type of a custom field of times is not datetime; option word (date_time)", {"word": TEXT}
    ),
    "custom_datetime_is_date": Fault("a custom field created as datetime turns out to hold days"),
}
FAULTS: Mapping[str, Fault] = {**ON_THE_WIRE, **STATUSES, **READING, **WRITING, **SETUP}
"""Every fault by name. Every fault also takes the option `kind`: see the journal."""


def may(faults: FaultBoard, action: str, record_class: str) -> bool:
    """Tell whether the key's user may take an action (create, update) on records of a class."""
    return action not in ("create", "update") or not _holds_for(
        faults, f"no_permission_to_{action}", "class", record_class
    )


def may_update_field(faults: FaultBoard, field: str) -> bool:
    """Tell whether a field that can be set in updates really can."""
    return not _holds_for(faults, "field_not_updateable", "field", field)


def is_required(faults: FaultBoard, record_class: str, field: Field) -> bool:
    """Tell whether a record of a class cannot be created without the field."""
    if field.name != (faults.option("field_required", "field") or "person_job_title"):
        return field.required
    wanted = faults.option("field_required", "class") or "Private::Crm::Person"
    return field.required or (wanted == record_class and faults.throughout("field_required") is not None)


def _holds_for(faults: FaultBoard, name: str, option: str, value: str) -> bool:
    """Tell whether a fault is on in this request and concerns everything or, by its option, this."""
    return faults.option(name, option) in (None, value) and faults.throughout(name) is not None
