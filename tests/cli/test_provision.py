from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from outreach_sync import http
from outreach_sync.sandbox import Sandbox
from outreach_sync.sandbox.workbooks.schema import CUSTOM_FIELD, PICKLIST, PICKLIST_ENTRY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Setup


LABELS = 9


@pytest.fixture
def bare(empty: Setup, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    """An account that nobody prepared for the sync."""
    monkeypatch.setattr("outreach_sync.provision._FIRST_PAUSE", 0.01)
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.01)
    with Sandbox(bare=True) as sandbox:
        empty.sandbox = sandbox
        empty.change("outreach", **sandbox.config(empty.state_path)["outreach"])
        empty.change("workbooks", **sandbox.config(empty.state_path)["workbooks"])
        yield empty


def records(setup: Setup, kind: str) -> list[dict[str, Any]]:
    return [record.values for record in setup.sandbox.workbooks.store.tables[kind].records.values()]


def added(setup: Setup) -> tuple[int, int]:
    return len(records(setup, CUSTOM_FIELD)), len(records(setup, PICKLIST_ENTRY))


def test_a_new_account_gets_what_a_run_needs_once_and_a_dry_run_only_shows_it(bare: Setup) -> None:
    before = added(bare)
    ran = bare("provision", "--dry-run", "--json")
    made = [(step["kind"], step["name"]) for step in ran.document["steps"] if step["action"] == "create"]
    assert (ran.status, len(made), ("entry", "Active \u2013 Running") in made) == (0, 1 + LABELS + 4, True)
    assert "Sequence State" in bare("provision", "--dry-run").out
    assert added(bare) == before
    ran = bare("provision", "--json")
    assert (ran.status, ran.document["findings"]) == (0, [])
    assert set(ran.document["columns"]) == {"sequence_state", "state_updated_at", "outreach_id", "sequences"}
    before = added(bare)
    ran = bare("provision", "--json")
    assert (ran.status, {step["action"] for step in ran.document["steps"]}) == (0, {"exists"})
    assert added(bare) == before
    bare.sandbox.load_example()
    assert bare("run").status in {0, 1}


def test_only_missing_entries_are_added_and_none_beside_one_with_another_dash(empty: Setup) -> None:
    before = added(empty)
    empty.change("sync", labels={"active": "Active - Running"})
    assert "spells 'Active - Running' differently" in empty("provision").out
    assert added(empty) == before
    empty.change("sync", labels={"active": "Actively Running"})
    ran = empty("provision", "--json")
    assert [step["name"] for step in ran.document["steps"] if step["action"] == "create"] == ["Actively Running"]
    assert added(empty) == (before[0], before[1] + 1)


def test_fields_that_are_not_configured_are_not_made(bare: Setup) -> None:
    bare.settings["workbooks"]["fields"] = {}
    bare.write()
    bare("provision")
    assert sorted(one["title"] for one in records(bare, CUSTOM_FIELD)) == ["Sequence State", "State Updated at"]


def test_slow_fields_are_waited_for_and_an_impatient_run_is_carried_on(bare: Setup) -> None:
    bare.sandbox.workbooks.faults.on("custom_field_slow", polls=12)
    bare.change("sync", patience="0s")
    ran = bare("provision")
    assert (ran.status, "again" in ran.err) == (4, True)
    made = added(bare)
    bare.sandbox.workbooks.faults.clear()
    bare.change("sync", patience="20s")
    assert bare("provision").status == 0
    assert added(bare) == made


def test_columns_that_differ_are_written_into_the_config_with_its_comments(bare: Setup) -> None:
    bare.settings["workbooks"]["fields"] = {"sequence_state": "cf_person_other"}
    bare.write()
    text = bare.config_path.read_text().replace("workbooks:\n", "workbooks:  # the target\n")
    bare.config_path.write_text(text)
    shown = bare("provision")
    assert "sequence_state: cf_person_sequence_state" in shown.out
    assert bare.config_path.read_text() == text
    ran = bare("provision", "--write", "--json")
    assert ran.document["config_changes"] == {"workbooks.fields.sequence_state": "cf_person_sequence_state"}
    assert ran.document["config_written"] is True
    written = bare.config_path.read_text()
    assert "# the target" in written
    assert yaml.safe_load(written)["workbooks"]["fields"]["sequence_state"] == "cf_person_sequence_state"
    assert bare.config_path.stat().st_mode & 0o777 == 0o600
    assert bare("provision", "--json").document["config_changes"] == {}


def test_the_field_of_the_vendors_integration_is_proposed_and_none_is_made_beside_it(empty: Setup) -> None:
    empty.settings["workbooks"]["fields"] = {}
    empty.write()
    before = added(empty)
    ran = empty("provision", "--dry-run", "--json")
    assert ran.document["config_changes"] == {"workbooks.fields.outreach_id": "cf_person_outreach_id"}
    assert "propose" in {step["action"] for step in ran.document["steps"]}
    assert empty("provision", "--json").document["config_written"] is False
    assert "vendor's own integration" in empty("provision").out
    assert added(empty) == before


@pytest.mark.parametrize("kind", [PICKLIST, PICKLIST_ENTRY, CUSTOM_FIELD])
def test_a_key_that_is_no_administrators_ends_with_3_and_says_what_to_do(bare: Setup, kind: str) -> None:
    bare.sandbox.workbooks.faults.on("no_permission_to_create", **{"class": kind})
    ran = bare("provision")
    assert (ran.status, "administrator" in ran.err) == (3, True)


def test_another_word_for_the_type_is_asked_for_and_then_taken(bare: Setup) -> None:
    bare.sandbox.workbooks.faults.on("datetime_word", word="date_time")
    ran = bare("provision")
    assert (ran.status, "--datetime-type" in ran.err) == (2, True)
    assert bare("provision", "--datetime-type", "date_time").status == 0
    assert len(records(bare, CUSTOM_FIELD)) == 4


def test_a_field_that_turns_out_to_hold_days_is_told(bare: Setup) -> None:
    bare.sandbox.workbooks.faults.on("custom_datetime_is_date")
    ran = bare("provision")
    assert (ran.status, "days" in ran.out) == (0, True)


def test_several_picklists_of_the_name_are_not_guessed_between(bare: Setup) -> None:
    for _ in range(2):
        bare.sandbox.workbooks.store.add(PICKLIST, name="Sequence States")
    ran = bare("provision")
    assert (ran.status, "several picklists" in ran.err) == (2, True)


def test_a_lost_answer_is_no_duplicate_when_run_again(bare: Setup) -> None:
    bare.sandbox.workbooks.faults.on("answer_lost_after_commit", times=1)
    assert bare("provision").status in {0, 4}
    assert bare("provision").status == 0
    assert len([one for one in records(bare, PICKLIST) if one["name"] == "Sequence States"]) == 1
    assert len(records(bare, CUSTOM_FIELD)) == 4
