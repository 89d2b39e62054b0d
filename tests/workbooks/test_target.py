from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.http import StopSignal
from outreach_sync.records import Accepted, Write
from outreach_sync.workbooks.target import Workbooks

if TYPE_CHECKING:
    from outreach_sync.http import Transport
    from outreach_sync.workbooks.settings import WorkbooksSettings

Records = dict[str, list[dict[str, Any]]]


@pytest.fixture
def workbooks(settings: WorkbooksSettings, transport: Transport) -> Workbooks:
    return Workbooks(settings, transport, StopSignal())


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


def test_each_look_up_finds_by_its_own_field(workbooks: Workbooks, records: Records) -> None:
    records["crm/people"] = [
        {
            "id": 1,
            "main_location[email]": "A@b.example",
            "created_through_reference": "r",
            "object_ref": "PERS-1",
            "cf_person_outreach_id": "18",
        }
    ]
    records["activity/tasks"] = [{"id": 9, "created_through_reference": "t"}]
    assert set(workbooks.people_by_ids([1])) == {1}
    assert set(workbooks.people_by_reference(["r"])) == {"r"}
    assert set(workbooks.people_by_object_ref(["PERS-1"])) == {"PERS-1"}
    assert set(workbooks.people_by_outreach_id(["18"])) == {"18"}
    assert set(workbooks.people_by_email(["a@B.example"])) == {"a@b.example"}
    assert set(workbooks.tasks_by_reference(["t"])) == {"t"}
    assert set(workbooks.tasks_by_ids([9])) == {9}
    assert workbooks.requests == 7


def test_without_an_outreach_id_field_nobody_is_looked_up_by_it(
    settings: WorkbooksSettings, transport: Transport
) -> None:
    bare = Workbooks(replace(settings, fields={}), transport, StopSignal())
    assert bare.people_by_outreach_id(["18"]) == {}
    assert bare.requests == 0


def test_writes_go_to_their_own_controllers(workbooks: Workbooks, records: Records) -> None:
    assert workbooks.write_people([Write(0, 0, {"name": "p"})]) == (Accepted(500, 0),)
    assert workbooks.write_tasks([Write(0, 0, {"name": "t"})]) == (Accepted(500, 0),)
    assert (records["crm/people"][0]["name"], records["activity/tasks"][0]["name"]) == ("p", "t")


def test_a_sound_workbooks_has_no_problem(workbooks: Workbooks, records: Records) -> None:
    records["metadata/types"] = [PERSON, TASK]
    assert workbooks.systemic_problem() is None
    assert workbooks.requests == 1


def test_a_field_that_is_gone_explains_why_everything_is_refused(workbooks: Workbooks, records: Records) -> None:
    without = {**PERSON, "fields": PERSON["fields"][1:]}
    records["metadata/types"] = [without, TASK]
    assert "cf_person_sequence_state" in (workbooks.systemic_problem() or "")


def test_lost_permissions_and_hidden_types_explain_it_too(workbooks: Workbooks, records: Records) -> None:
    records["metadata/types"] = [{**PERSON, "actions": []}]
    problem = workbooks.systemic_problem() or ""
    assert "create" in problem
    assert "Private::Activity::Task" in problem
    records["metadata/types"] = [TASK]
    assert "Private::Crm::Person" in (workbooks.systemic_problem() or "")
