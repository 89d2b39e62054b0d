from __future__ import annotations

import pytest

from outreach_sync.sandbox.clock import SandboxClock
from outreach_sync.sandbox.workbooks import WorkbooksStore
from outreach_sync.sandbox.workbooks.schema import CUSTOM_FIELD, PERSON, PICKLIST_ENTRY, SEQUENCE_STATES, TASK


def test_a_users_edit_raises_lock_version_and_stamp_and_is_no_write_of_the_api(store: WorkbooksStore) -> None:
    id_ = store.add_person(name="Ada Example")
    before = store.get(PERSON, id_)
    store.clock.advance(5000)
    store.update(PERSON, id_, person_job_title="Head")
    after = store.get(PERSON, id_)
    assert (before["lock_version"], after["lock_version"]) == (0, 1)
    assert after["updated_at"] > before["updated_at"]
    assert store.writes == []


def test_deletion_is_soft_and_undone_by_restore(store: WorkbooksStore) -> None:
    id_ = store.add_person(name="Ada Example")
    store.delete(PERSON, id_)
    assert store.all(PERSON) == []
    assert store.all(PERSON, include_deleted=True)[0]["is_deleted"]
    store.restore(PERSON, id_)
    assert [one["id"] for one in store.all(PERSON)] == [id_]


def test_a_purged_record_is_gone(store: WorkbooksStore) -> None:
    id_ = store.add_person(name="Ada Example")
    store.purge(PERSON, id_)
    with pytest.raises(KeyError):
        store.get(PERSON, id_)


def test_merging_moves_what_the_winner_lacks_and_the_tasks_and_leaves_no_pointer(store: WorkbooksStore) -> None:
    winner = store.add_person(name="Ada Example")
    loser = store.add_person(name="A. Example", email="ada@example.com")
    task = store.add_task(name="Call", primary_contact_id=loser)
    store.merge_people(winner, loser)
    merged = store.get(PERSON, winner)
    assert (merged["name"], merged["main_location[email]"]) == ("Ada Example", "ada@example.com")
    assert store.get(PERSON, loser)["is_deleted"]
    assert str(winner) not in str(store.get(PERSON, loser).values())
    assert store.get(TASK, task)["primary_contact_id"] == winner


def test_the_account_is_prepared_for_the_sync_unless_bare() -> None:
    names = {"cf_person_sequence_state", "cf_person_state_updated_at", "cf_person_outreach_id", "cf_person_sequences"}
    prepared, bare = WorkbooksStore(SandboxClock()), WorkbooksStore(SandboxClock(), bare=True)
    assert names <= set(prepared.table(PERSON).fields)
    assert not names & set(bare.table(PERSON).fields)
    assert {one["value_column_name"] for one in prepared.all(CUSTOM_FIELD)} == names
    assert "Active – Paused" in prepared.picklist_values(SEQUENCE_STATES)  # noqa: RUF001
    assert bare.picklist_values(SEQUENCE_STATES) == set()


def test_custom_fields_are_named_by_the_rule(store: WorkbooksStore) -> None:
    assert store.add_custom_field("Owner's Fav. (colour)", "string") == "cf_person_owners_fav_colour"
    assert store.add_custom_field("Sequence State", "string") == "cf_person_sequence_state_1"
    assert store.add_custom_field("Level", "integer", resource_type=TASK) == "cf_task_level"


def test_a_removed_custom_field_takes_its_values_along(store: WorkbooksStore) -> None:
    id_ = store.add_person(name="Ada Example", cf_person_outreach_id="18")
    store.remove_custom_field("cf_person_outreach_id")
    assert "cf_person_outreach_id" not in store.get(PERSON, id_)
    with pytest.raises(KeyError):
        store.remove_custom_field("cf_person_outreach_id")


def test_a_removed_picklist_entry_stays_in_the_records_that_hold_it(store: WorkbooksStore) -> None:
    id_ = store.add_person(name="Ada Example", cf_person_sequence_state="Finished")
    store.remove_picklist_entry("Finished")
    assert "Finished" not in [one["value"] for one in store.all(PICKLIST_ENTRY)]
    assert store.get(PERSON, id_)["cf_person_sequence_state"] == "Finished"
    with pytest.raises(KeyError):
        store.remove_picklist_entry("Finished")


def test_a_day_set_through_a_twin_is_the_day_of_the_field(store: WorkbooksStore) -> None:
    task = store.get(TASK, store.add_task(name="Call", due_date="2026-09-01"))
    assert task["due"] == "2026-09-01,0,Europe/London"
    assert task["due_date"] == "2026-09-01"


def test_an_id_is_not_given_twice(store: WorkbooksStore) -> None:
    store.add_person(name="Ada Example", id=2000)
    with pytest.raises(ValueError, match="exists"):
        store.add_person(name="Bo Example", id=2000)
    assert store.add_person(name="Bo Example") == 2001


def test_the_log_of_writes_can_be_switched_off_for_a_load_test(store: WorkbooksStore) -> None:
    store.keep_writes = False
    store.commit_create(store.table(PERSON), {"name": "Ada Example"}, "bench")
    assert store.writes == []
    store.keep_writes = True
    store.commit_create(store.table(PERSON), {"name": "Bo Example"}, "bench")
    assert [write.id for write in store.writes] == [1002]


def test_an_unknown_field_is_a_mistake_in_the_test(store: WorkbooksStore) -> None:
    with pytest.raises(KeyError):
        store.add_person(name="Ada Example", nonsense=1)
