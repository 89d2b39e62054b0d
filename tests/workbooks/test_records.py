"""People and Tasks: found by what is known of them, compared here, and written."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.errors import UntrustedAnswerError
from outreach_sync.http import StopSignal
from outreach_sync.workbooks.client import Workbooks
from outreach_sync.workbooks.metadata import systemic_problem
from tests.workbooks.conftest import configured

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.workbooks.conftest import SmallCrm


def test_deleted_and_double_tasks_are_found_too(workbooks: Workbooks, crm: SmallCrm) -> None:
    crm.records["activity/tasks"] = [
        {"id": 1, "is_deleted": True, "created_through_reference": "r"},
        {"id": 2, "is_deleted": False, "created_through_reference": "r"},
    ]
    assert [task.is_deleted for task in workbooks.tasks_by_reference(["r"])["r"]] == [True, False]


def test_a_bare_answer_leaves_lock_and_fields_unknown(workbooks: Workbooks, crm: SmallCrm) -> None:
    crm.records["crm/people"] = [{"id": 3}]
    person = workbooks.people_by_ids([3])[3]
    assert (person.lock_version, person.is_deleted, person.email) == (-1, False, None)
    assert set(person.fields.values()) == {None}


def test_deleted_people_are_found_by_id_but_by_nothing_else(workbooks: Workbooks, crm: SmallCrm) -> None:
    gone = {"id": 2, "is_deleted": True, "main_location[email]": "a@b.example", "created_through_reference": "r"}
    crm.records["crm/people"] = [gone]
    assert workbooks.people_by_ids([2])[2].is_deleted
    assert workbooks.people("email", ["a@b.example"]) == {}
    assert [row.is_deleted for row in workbooks.people("reference", ["r"])["r"]] == [True]


@pytest.mark.parametrize("count", [1000, 3000])
def test_look_ups_stay_within_a_tenth_of_the_fewest_requests(workbooks: Workbooks, crm: SmallCrm, count: int) -> None:
    crm.records["crm/people"] = [
        {"id": number, "main_location[email]": f"p{number}@b.example", "created_through_reference": f"r{number}"}
        for number in range(1, count + 1)
    ]
    assert len(workbooks.people("email", [f"P{number}@b.example" for number in range(1, count + 1)])) == count
    assert len(crm.forms) <= 1.1 * count / 100
    crm.forms.clear()
    assert len(workbooks.people("reference", [f"r{number}" for number in range(1, count + 1)])) == count
    assert len(crm.forms) <= 1.1 * count / 100


@pytest.mark.parametrize("key", [str, str.lower, str.strip, lambda text: text.strip().casefold()])
@pytest.mark.parametrize(
    "stored", ["ada@example.com", "Ada@Example.com", " ada@example.com", "Ada@Example.com ", " ada@example.com "]
)
def test_an_address_is_found_whatever_the_service_makes_of_case_and_blanks(
    workbooks: Workbooks, crm: SmallCrm, stored: str, key: Callable[[str], str]
) -> None:
    crm.key = key
    crm.records["crm/people"] = [{"id": 1, "main_location[email]": stored}]
    found = workbooks.people("email", [" Ada@Example.com ", "", "bo@example.com"])
    assert {address: [row.id for row in rows] for address, rows in found.items()} == {"ada@example.com": [1]}
    assert len(crm.forms) == 1


def test_other_mailboxes_that_a_lenient_service_returns_are_dropped(workbooks: Workbooks, crm: SmallCrm) -> None:
    crm.key = lambda text: unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    stored = ["info@strasse.example", "info@straße.example", "o\ufb03ce@b.example", "office@b.example", "zoe@b.example"]
    crm.records["crm/people"] = [{"id": one, "main_location[email]": address} for one, address in enumerate(stored, 1)]
    found = workbooks.people("email", ["info@Straße.example", "Office@b.example", "zoë@b.example", "İ@b.example"])
    assert {address: [row.id for row in rows] for address, rows in found.items()} == {
        "info@straße.example": [2],
        "office@b.example": [4],
    }


def test_values_are_compared_to_the_letter_where_they_are_no_addresses(workbooks: Workbooks, crm: SmallCrm) -> None:
    crm.records["crm/people"] = [{"id": 1, "cf_person_outreach_id": "AB"}, {"id": 2, "object_ref": "PERS-2"}]
    assert workbooks.people("outreach_id", ["ab"]) == {}
    assert [row.id for row in workbooks.people("outreach_id", ["AB"])["AB"]] == [1]
    assert [row.id for row in workbooks.people("external_id", ["PERS-2"])["PERS-2"]] == [2]


def described(name: str, permitted: tuple[str, ...], **fields: str) -> dict[str, Any]:
    return {
        "class_name": name,
        "actions": [{"name": action, "permitted": True} for action in permitted],
        "fields": [{"name": field, "datatype": kind, "is_updateable": True} for field, kind in fields.items()],
    }


PERSON = described(
    "Private::Crm::Person",
    ("create", "update"),
    cf_person_sequence_state="picklist_data",
    cf_person_state_updated_at="datetime",
    no_email_soliciting="boolean",
    cf_person_outreach_id="string",
)
TASK = described("Private::Activity::Task", ("create",))


def test_without_an_outreach_id_field_nobody_is_looked_up_by_it(crm: SmallCrm) -> None:
    bare = Workbooks(configured("https://127.0.0.1:1", fields={}), StopSignal())
    assert bare.people("outreach_id", ["18"]) == {}
    assert bare.transport.requests == 0


def test_lost_permissions_and_hidden_types_explain_it_too(workbooks: Workbooks, crm: SmallCrm) -> None:
    crm.records["metadata/types"] = [{**PERSON, "actions": []}]
    problem = systemic_problem(workbooks) or ""
    assert "create" in problem
    assert "Private::Activity::Task" in problem
    crm.records["metadata/types"] = [TASK]
    assert "Private::Crm::Person" in (systemic_problem(workbooks) or "")


@pytest.mark.parametrize("nonsense", [None, "PERS-1", True, 2**63 - 1, 2**63, 10**300, -1, 0, "9" * 5000])
def test_a_record_without_an_id_that_makes_sense_is_not_trusted(
    workbooks: Workbooks, monkeypatch: pytest.MonkeyPatch, nonsense: object
) -> None:
    row = {"id": nonsense, "main_location[email]": "a@b.example"}
    monkeypatch.setattr(workbooks, "read", lambda *_, **__: [row])
    with pytest.raises(UntrustedAnswerError) as refused:
        workbooks.people("email", ["a@b.example"])
    assert refused.value.exit_status == 4
