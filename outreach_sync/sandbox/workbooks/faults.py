"""Every way in which the simulated Workbooks can misbehave, or settle a question the documentation leaves open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.sandbox.faults import Fault, FaultBoard
from outreach_sync.sandbox.workbooks.fault_options import KINDLESS, OPTIONS

if TYPE_CHECKING:
    from outreach_sync.sandbox.workbooks.schema import Field

ON_THE_WIRE = {
    "answer_lost_after_commit": "the write is done, then the connection is reset without an answer",
    "reset_before_answer": "the connection is reset, nothing is done; option committed: it is done",
    "body_cut_short": "the request is carried out, its answer ends in the middle",
    "hang": "no byte for option seconds (30), then the connection closes; nothing is done; option committed: it is",
    "slow": "the answer takes option seconds (1)",
    "html_with_200": "a page of HTML with status 200, nothing is done; option committed: it is",
    "broken_json": "the request is carried out, its answer is no JSON",
    "huge_answer": "the request is carried out, its answer is compressed and unpacks to option megabytes (625)",
    "gateway_page": "a page of a gateway, nothing is done; options status (403; 401, 404, 422, 502 ...), text: plain"
    " text instead of HTML, committed: the request was carried out",
    "invalid_utf8": "the request is carried out, a byte that is no UTF-8 stands in its answer",
}
STATUSES = {
    "error_500_after_commit": "the write is done, the answer is 500 with a reference; option status as below",
    "error_500_before_commit": "a write is not done, the answer is 500 with a reference; option status as below",
    "error_500": "nothing is done, the answer is 500; any request; option status: 502, 504: a page of some gateway",
    "rate_limited_429": "429; option retry_after: the header's text",
    "unavailable_503": "503; option retry_after: the header's text",
    "redirect_delay_302": "302 to a delaying address, nothing is done; option location: same, other, or an address",
    "redirect_after_commit_302": "302 after the write was done; option location as above",
    "delaying_redirect": "302 to a delaying address on the same host; options probability (0.6) and done (0), the share"
    " of the redirected requests that were carried out, both drawn by seed (1); seconds: how long that address takes;"
    " follow: what answers there: repeat (the request sent there, whatever it is), same (the request, with its method"
    " and body), get (the first request, asked for by GET), back (a redirect to the first address),"
    " elsewhere (nothing: it is another host)",
    "redirect_to_login_302": "302 to the login page, as for an invalid session; nothing is done",
    "key_refused": "401 or 403; options reason (unrecognised_name_or_password), status",
    "failure_message": "a refusal gives its reason as failure_message, not failure_reason",
    "database_being_migrated": "403 database_being_migrated",
    "session_expires": "the session of the request is over: 401 session_expired; requests with a key are not concerned",
    "cookie_changes": "the session gets another cookie with the answer",
}
READING = {
    "records_hidden": "records are not to be seen by the key's user: in no answer, though not deleted; options ids (all"
    " there are), class (Person)",
    "filter_ignored": "the filters of a read are ignored: unfiltered rows come back",
    "eq_case_sensitive": "eq heeds case in text",
    "eq_without_accents": "eq takes letters with and without accents for the same, and \u00df for ss",
    "eq_without_blanks": "eq ignores blanks around text",
    "backslash_escapes": "in the values of eq a backslash takes any next character as it is, not a comma alone",
    "page_shift": "another process deletes a row before the page: option shift (1) rows are missed",
    "created_rows_appear_late": "what is created stays out of look-ups; options lookups (1) or seconds",
    "datetime_reads_back_as_date": "times are shown as days; option field: only of this field",
    "custom_datetime_is_var": "custom fields of times are var_date_time: shown, described and taken as such",
    "skip_total_unknown": "neither spelling of skip_total_rows is known: rows are counted; option spelling: only this"
    " one is unknown",
    "text_line_ends_crlf": "line ends in long texts come back as CR LF",
    "strict_objects_to_control_parameters": "strict checking refuses a request with an undocumented control parameter",
}
WRITING = {
    "refuse_one": "one object is refused; options index (0), text, field: what is blamed",
    "refuse_all": "each object is refused; options text, field",
    "refuse_value": "an object that sets option field (to option value, if given) is refused; option text",
    "top_level_success_true_on_partial": "success is true at the top though an object failed",
    "top_level_success_false_on_success_info_missing": "all is done, success is false at the top, nothing on objects",
    "results_longer": "one more object in the results than was sent",
    "results_shorter": "the results lack an object; option index (the last)",
    "results_reordered": "the results come in reverse order",
    "information_missing": "affected_object_information in the old forms; option form: empty, message, absent",
    "undone_reads_as_success": "an object undone because another failed reads as success (all-or-nothing mode)",
    "stale_some": "another process changes objects just before the write; options ids or indexes (the first)",
    "stale_all": "another process changes every object just before the write",
    "stale_again_and_again": "another process changes the objects just before each write; option ids",
    "stale_text_in": "where the text on a stale object stands; option place: failures, errors, affected_object_errors,"
    " information",
    "stale_without_text": "a stale object fails without any text",
    "delete_between_read_and_write": "the object is deleted just before the write; options ids or indexes (the first)",
    "merge_between_read_and_write": "the Person is merged into another just before the write; options ids or indexes,"
    " into (a new Person), alias: from then on the losing id stands for the winner",
    "read_only_between_read_and_write": "the object becomes read-only just before the write; options ids or indexes",
    "deleted_id_fails_batch_404": "a deleted or unknown id among the objects: 404 for all, nothing is done",
    "deleted_id_shortens_results": "a deleted or unknown id among the objects is left out of the results",
    "filterless_creates_refused": "a create without the filter id = 0 is refused, as the guide's text demands",
    "no_permission_to_create": "the key's user may not create; option class: only this class",
    "no_permission_to_update": "the key's user may not update; option class: only this class",
    "field_not_updateable": "fields can be set in creates only; option field: only this one",
    "double_id_taken": "an id that occurs twice in a write is taken, not refused: both are carried out",
    "errors_flat": "errors at the top of an answer stand there as they are, not under []",
    "application_name_ignored": "_application_name has no effect but in a login",
    "emoji_lost": "a character beyond the 16 bits of older databases, as emoji are, is kept as a question mark",
    "ampersand_escaped": "an ampersand in text is kept as &amp;",
    "text_cut": "text is kept cut at option length (30); option field: only in this field",
    "blanks_trimmed": "blanks around text are not kept",
    "field_required": "a create needs option field (person_job_title), which metadata say too; option class (Person)",
    "booleans_without_case": "the words for true are known in any case: True is true",
    "custom_datetime_refuses_iso": "custom fields of times take Workbooks' own forms and epochs, not ISO 8601",
    "datetime_without_seconds": "custom fields of times keep whole minutes; option how: cut, round",
    "primary_contact_makes_link": "a Task with a primary contact gets an activity link to it too",
    "status_sets_completed": "a Task that becomes Complete or Cancelled gets a completion time nobody sent",
    "json_bodies_ok": "a JSON body is taken",
}
SETUP = {
    "picklist_entry_missing": "option value: the entry is removed from its picklist, for good, before the next request",
    "custom_field_removed": "option field: the custom field is removed, for good, before the next request",
    "custom_field_slow": "a new custom field is available after option polls (3) look-ups, and seconds if given",
    "labels_with_hyphen": "entries of picklists lose their en dashes to hyphens, for good, before the next request",
    "datetime_word": "the data_type of a custom field of times is not datetime; option word (date_time)",
    "custom_datetime_is_date": "a custom field created as datetime turns out to hold days",
}
FAULTS = {**ON_THE_WIRE, **STATUSES, **READING, **WRITING, **SETUP}
"""Every fault by name, with what it does and its options. Every fault also takes the option `kind`: see the journal."""


def fault_board() -> FaultBoard:
    """Make the board of the simulated Workbooks, everything off."""
    table = {name: Fault(doc, OPTIONS.get(name, {}), name in KINDLESS) for name, doc in FAULTS.items()}
    return FaultBoard(table)


def may(faults: FaultBoard, action: str, record_class: str) -> bool:
    """Tell whether the key's user may take an action (create, update) on records of a class."""
    if action not in ("create", "update"):
        return True
    fault = f"no_permission_to_{action}"
    concerned = faults.option(fault, "class") in (None, record_class)
    return not concerned or faults.throughout(fault) is None


def may_update_field(faults: FaultBoard, field: str) -> bool:
    """Tell whether a field that can be set in updates really can."""
    fault = "field_not_updateable"
    concerned = faults.option(fault, "field") in (None, field)
    return not concerned or faults.throughout(fault) is None


def is_required(faults: FaultBoard, record_class: str, field: Field) -> bool:
    """Tell whether a record of a class cannot be created without the field."""
    fault = "field_required"
    options = faults.peek(fault)
    if options is None or (record_class, field.name) != (
        options.get("class", "Private::Crm::Person"),
        options.get("field", "person_job_title"),
    ):
        return field.required
    return field.required or faults.throughout(fault) is not None


def number_option(options: object, name: str, default: float) -> float:
    """Read a number among a fault's options."""
    value = options.get(name, default) if isinstance(options, dict) else default
    return float(value)
