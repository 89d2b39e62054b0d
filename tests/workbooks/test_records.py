"""People, Tasks and metadata: found by what is known of them, and compared here."""

import unicodedata
from collections.abc import Callable
from typing import Any

import pytest

from outreach_sync.errors import UntrustedAnswerError
from outreach_sync.http import StopSignal
from outreach_sync.workbooks import metadata
from outreach_sync.workbooks.client import Workbooks
from outreach_sync.workbooks.metadata import FieldType, RecordType, field_problems
from outreach_sync.workbooks.wire import PERSON_CLASS, TASK_CLASS
from tests.workbooks.conftest import SmallCrm, configured, ids_of

EMAIL, REFERENCE = "main_location[email]", "created_through_reference"


def test_deleted_records_are_found_by_id_and_reference_but_by_nothing_else(workbooks: Workbooks, crm: SmallCrm) -> None:
    crm.records["crm/people"] = [{"id": 2, "is_deleted": True, EMAIL: "a@b.example", REFERENCE: "r"}, {"id": 3}]
    assert workbooks.people_by_ids([2])[2].is_deleted
    assert workbooks.people("email", ["a@b.example"]) == {}
    assert [row.is_deleted for row in workbooks.people("reference", ["r"])["r"]] == [True]
    crm.shows_deleted = True
    assert workbooks.people("email", ["a@b.example"]) == {}, "nor where the service shows it"
    bare = workbooks.people_by_ids([3])[3]
    assert (bare.is_deleted, bare.email, bare.fields) == (False, None, {}), "a column that is absent says nothing"
    crm.records["activity/tasks"] = [{"id": one, "is_deleted": one == 1, REFERENCE: "r"} for one in (1, 2)]
    assert [task.is_deleted for task in workbooks.tasks_by_reference(["r"])["r"]] == [True, False]


def test_look_ups_stay_within_a_tenth_of_the_fewest_requests(workbooks: Workbooks, crm: SmallCrm) -> None:
    numbers = range(1, 1001)
    crm.records["crm/people"] = [{"id": one, EMAIL: f"p{one}@b.example", REFERENCE: f"r{one}"} for one in numbers]
    for rule, form in (("email", "P{}@b.example"), ("reference", "r{}")):
        crm.forms.clear()
        assert len(workbooks.people(rule, map(form.format, numbers))) == 1000
        assert len(crm.forms) <= 11


@pytest.mark.parametrize("key", [str, str.lower, str.strip, lambda text: text.strip().casefold()])
@pytest.mark.parametrize(
    "stored", ["ada@example.com", "Ada@Example.com", " ada@example.com", "Ada@Example.com ", " ada@example.com "]
)
def test_an_address_is_found_whatever_the_service_makes_of_case_and_blanks(
    workbooks: Workbooks, crm: SmallCrm, stored: str, key: Callable[[str], str]
) -> None:
    crm.key = key
    crm.records["crm/people"] = [{"id": 1, EMAIL: stored}]
    found = workbooks.people("email", [" Ada@Example.com ", "", "bo@example.com"])
    assert ids_of(found) == {"ada@example.com": [1]}
    assert len(crm.forms) == 1


def test_other_mailboxes_that_a_lenient_service_returns_are_dropped(workbooks: Workbooks, crm: SmallCrm) -> None:
    crm.key = lambda text: unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    stored = ["info@strasse.example", "info@straße.example", "o\ufb03ce@b.example", "office@b.example", "zoe@b.example"]
    crm.records["crm/people"] = [{"id": one, EMAIL: address} for one, address in enumerate(stored, 1)]
    found = workbooks.people("email", ["info@Straße.example", "Office@b.example", "zoë@b.example", "İ@b.example"])
    assert ids_of(found) == {"info@straße.example": [2], "office@b.example": [4]}


def test_values_are_compared_to_the_letter_where_they_are_no_addresses(workbooks: Workbooks, crm: SmallCrm) -> None:
    crm.records["crm/people"] = [{"id": 1, "cf_person_outreach_id": "AB"}, {"id": 2, "object_ref": "PERS-2"}]
    assert workbooks.people("outreach_id", ["ab"]) == {}
    assert ids_of(workbooks.people("outreach_id", ["AB"])) == {"AB": [1]}
    assert ids_of(workbooks.people("external_id", ["PERS-2"])) == {"PERS-2": [2]}
    bare = Workbooks(configured("https://127.0.0.1:1", fields={}), StopSignal())
    assert (bare.people("outreach_id", ["18"]), bare.transport.requests) == ({}, 0)


_NO_IDS = [{"id": one} for one in (None, "PERS-1", True, 2**63 - 1, 10**300, -1, 0, "9" * 5000)]


@pytest.mark.parametrize("odd", [*_NO_IDS, {"lock_version": None}, {"lock_version": -1}])
def test_a_record_without_an_id_or_a_lock_version_that_makes_sense_is_not_trusted(
    workbooks: Workbooks, monkeypatch: pytest.MonkeyPatch, odd: dict[str, object]
) -> None:
    row = {"id": 1, "lock_version": 0, EMAIL: "a@b.example", **odd}
    monkeypatch.setattr(workbooks, "read", lambda *_, **__: [row])
    with pytest.raises(UntrustedAnswerError):
        workbooks.people("email", ["a@b.example"])


# Metadata


def described(name: str, permitted: tuple[str, ...], **fields: str) -> dict[str, Any]:
    return {
        "class_name": name,
        "actions": [{"name": action, "permitted": True} for action in permitted],
        "fields": [{"name": field, "datatype": kind, "is_updateable": True} for field, kind in fields.items()],
    }


FIELDS = {
    "cf_person_sequence_state": "picklist_data", "cf_person_state_updated_at": "datetime",
    "no_email_soliciting": "boolean", "cf_person_outreach_id": "string",
}  # fmt: skip


def test_a_lost_permission_a_hidden_type_or_field_explains_why_everything_is_refused(
    workbooks: Workbooks, crm: SmallCrm
) -> None:
    person, task = described(PERSON_CLASS, ("create", "update"), **FIELDS), described(TASK_CLASS, ("create",))
    odd = [1, {"name": "x", "required": True, "default_value": []}]
    for types, *named in (
        ([person, task],),
        ([{**person, "actions": []}], "may not create", "may not update", TASK_CLASS),
        ([task], PERSON_CLASS),
        ([{**person, "fields": person["fields"][1:]}, task], "cf_person_sequence_state: "),
        ([person, {**task, "actions": None, "fields": odd}], "may not create"),
    ):
        crm.records["metadata/types"] = types
        problem = metadata.systemic_problem(workbooks)
        assert bool(problem) == bool(named)
        assert all(text in (problem or "") for text in named)
    assert not metadata.read_types(workbooks, [TASK_CLASS])[TASK_CLASS].fields["x"].required


def test_picklist_entries_are_kept_apart(workbooks: Workbooks, crm: SmallCrm) -> None:
    entries = ((77, "Finished"), (12, "Cancelled"), (77, "Paused"), (5, "Foreign"), (77, "Gone"))
    crm.records["admin/picklist_entries"] = [
        {"id": place, "picklist_id": one, "value": value, "is_deleted": value == "Gone"}
        for place, (one, value) in enumerate(entries, 1)
    ]
    crm.shows_deleted = True
    found = metadata.read_picklist_entries(workbooks, [77, 12, 99])
    assert found == {77: ("Finished", "Paused"), 12: ("Cancelled",), 99: ()}


def person_with(name: str, datatype: str, *, updateable: bool = True) -> RecordType:
    field = FieldType(name, name, datatype, createable=True, updateable=updateable, picklist=None)
    return RecordType(PERSON_CLASS, "crm/people", {name: field}, frozenset())


@pytest.mark.parametrize(
    ("role", "datatype", "fatal"),
    [
        ("sequence_state", "picklist_data", None), ("sequence_state", "string", None),
        ("state_updated_at", "datetime", None), ("state_updated_at", "var_date_time", None),
        ("no_email", "boolean", None), ("outreach_id", "String", None), ("sequences", "text", None),
        ("no_email", "string", True), ("sequence_state", "boolean", True), ("state_updated_at", "date", False),
        ("state_updated_at", "boolean", True), ("sequence_state", "unheard_of", False), ("sequence_state", "", False),
    ],
)  # fmt: skip
def test_a_wrong_kind_of_field_is_fatal_where_it_is_certain_a_locked_one_always(
    role: str, datatype: str, fatal: object
) -> None:
    findings = field_problems(person_with("cf", datatype), {role: "cf"})
    assert [(finding.subject, finding.fatal) for finding in findings] == ([] if fatal is None else [("cf", fatal)])
    (locked,) = field_problems(person_with("cf", datatype, updateable=False), {role: "cf"})
    assert (locked.fatal, locked.problem) == (True, "the field cannot be written")


def test_a_missing_field_or_label_is_named_with_the_nearest_of_its_kind() -> None:
    for there, nearest in (("cf_person_sequence_state", "Did you mean cf_person_sequence_state? "), ("last_name", "")):
        (finding,) = field_problems(person_with(there, "string"), {"sequence_state": "cf_sequence_state"})
        assert "no such field" in finding.problem
        assert finding.hint == f"{nearest}Set workbooks.fields.sequence_state, or run `provision`."
    label, others = "Active \u2013 Running", ("Active - Running", "ACTIVE\u2014RUNNING")
    assert [metadata.missing_labels(["Finished", one], [label]) for one in others] == [{label: one} for one in others]
    assert metadata.missing_labels(["Finished"], [label]) == {label: None}
