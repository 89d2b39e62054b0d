from __future__ import annotations

import pytest

from outreach_sync.workbooks.findings import (
    MissingLabel,
    field_problems,
    hidden_type,
    missing_labels,
    permission_problems,
)
from outreach_sync.workbooks.metadata import FieldType, RecordType

RUNNING = "Active \u2013 Running"


def field(name: str, datatype: str, *, updateable: bool = True) -> FieldType:
    return FieldType(name, name, datatype, createable=True, updateable=updateable, picklist=None)


def person(*fields: FieldType, permitted: frozenset[str] = frozenset({"create", "update"})) -> RecordType:
    return RecordType("Private::Crm::Person", "crm/people", {one.name: one for one in fields}, permitted)


@pytest.mark.parametrize(
    ("role", "datatype"),
    [
        ("sequence_state", "picklist_data"),
        ("sequence_state", "string"),
        ("state_updated_at", "datetime"),
        ("state_updated_at", "var_date_time"),
        ("no_email", "boolean"),
        ("outreach_id", "String"),
        ("sequences", "text"),
    ],
)
def test_fields_of_the_right_kind_are_no_problem(role: str, datatype: str) -> None:
    assert field_problems(person(field("cf", datatype)), {role: "cf"}) == ()


@pytest.mark.parametrize(
    ("role", "datatype", "fatal"),
    [
        ("no_email", "string", True),
        ("sequence_state", "boolean", True),
        ("state_updated_at", "date", False),
        ("state_updated_at", "boolean", True),
        ("sequence_state", "unheard_of", False),
        ("sequence_state", "", False),
    ],
)
def test_a_wrong_kind_is_fatal_only_where_it_is_certain(role: str, datatype: str, *, fatal: bool) -> None:
    (finding,) = field_problems(person(field("cf", datatype)), {role: "cf"})
    assert finding.subject == "cf"
    assert finding.fatal is fatal


def test_a_missing_field_is_named_with_the_nearest() -> None:
    (finding,) = field_problems(
        person(field("cf_person_sequence_state", "string")), {"sequence_state": "cf_sequence_state"}
    )
    assert "no such field" in finding.problem
    assert "cf_person_sequence_state" in finding.hint
    assert "workbooks.fields.sequence_state" in finding.hint
    (lonely,) = field_problems(person(), {"no_email": "no_email_soliciting"})
    assert "Did you mean" not in lonely.hint


def test_a_custom_field_that_was_never_made_is_not_taken_for_a_name_of_another_kind() -> None:
    (finding,) = field_problems(
        person(field("person_last_name", "string")), {"sequence_state": "cf_person_sequence_state"}
    )
    assert "Did you mean" not in finding.hint


def test_a_field_that_cannot_be_written_is_a_problem() -> None:
    (finding,) = field_problems(person(field("cf", "string", updateable=False)), {"sequences": "cf"})
    assert finding.fatal
    assert "written" in finding.problem


def test_missing_permissions_are_named_one_by_one() -> None:
    (finding,) = permission_problems(person(permitted=frozenset({"update"})), ("create", "update"))
    assert "create" in finding.problem
    assert finding.fatal


def test_a_hidden_record_type_is_fatal() -> None:
    assert hidden_type("Private::Crm::Person").fatal


@pytest.mark.parametrize(
    ("entries", "nearest"),
    [
        (["Active - Running", "Finished"], "Active - Running"),
        (["ACTIVE\u2014RUNNING"], "ACTIVE\u2014RUNNING"),
        (["Finished"], None),
        ([], None),
    ],
)
def test_a_missing_label_comes_with_the_entry_most_like_it(entries: list[str], nearest: str | None) -> None:
    assert missing_labels(entries, [RUNNING]) == (MissingLabel(RUNNING, nearest),)


def test_labels_that_are_there_to_the_letter_are_not_missing() -> None:
    assert missing_labels([RUNNING, "Finished"], ["Finished", RUNNING]) == ()
