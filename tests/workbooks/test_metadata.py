"""What Workbooks says of itself, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.workbooks.metadata import (
    FieldType,
    RecordType,
    field_problems,
    missing_labels,
    permission_problems,
    read_picklist_entries,
    read_types,
)

if TYPE_CHECKING:
    from outreach_sync.workbooks.client import Workbooks
    from tests.workbooks.conftest import SmallCrm

PERSON = "Private::Crm::Person"


@pytest.mark.parametrize("broken", [{"fields": None, "actions": "x"}, {}, {"fields": [1]}])
def test_a_type_without_parts_has_none(workbooks: Workbooks, crm: SmallCrm, broken: dict[str, Any]) -> None:
    crm.records["metadata/types"] = [{"class_name": PERSON, **broken}]
    described = read_types(workbooks, [PERSON])[PERSON]
    assert not described.fields
    assert not described.permitted


def test_picklist_entries_are_kept_apart(workbooks: Workbooks, crm: SmallCrm) -> None:
    crm.records["admin/picklist_entries"] = [
        {"id": 1, "picklist_id": 77, "value": "Finished"},
        {"id": 2, "picklist_id": 12, "value": "Cancelled"},
        {"id": 3, "picklist_id": 77, "value": "Paused"},
        {"id": 4, "picklist_id": 5, "value": "Foreign"},
    ]
    assert read_picklist_entries(workbooks, [77, 12, 99]) == {77: ("Finished", "Paused"), 12: ("Cancelled",), 99: ()}


RUNNING = "Active \u2013 Running"


def field(name: str, datatype: str, *, updateable: bool = True) -> FieldType:
    return FieldType(name, name, datatype, createable=True, updateable=updateable, picklist=None)


def person(*fields: FieldType, permitted: frozenset[str] = frozenset({"create", "update"})) -> RecordType:
    return RecordType("Private::Crm::Person", "crm/people", {one.name: one for one in fields}, permitted)


@pytest.mark.parametrize(
    ("role", "datatype"),
    [
        ("sequence_state", "picklist_data"), ("sequence_state", "string"), ("state_updated_at", "datetime"),
        ("state_updated_at", "var_date_time"), ("no_email", "boolean"), ("outreach_id", "String"),
        ("sequences", "text"),
    ],
)  # fmt: skip
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
    assert missing_labels(entries, [RUNNING]) == {RUNNING: nearest}
