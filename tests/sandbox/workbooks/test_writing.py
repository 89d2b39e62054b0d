from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.sandbox.workbooks.planning import STALE_TEXT
from outreach_sync.sandbox.workbooks.schema import PERSON, PICKLIST_ENTRY, TASK

if TYPE_CHECKING:
    from conftest import Client

PEOPLE = "crm/people"
TASKS = "activity/tasks"
STATE = "cf_person_sequence_state"


@pytest.fixture
def ada(client: Client) -> int:
    return client.service.store.add_person(name="Ada Example")


@pytest.fixture
def bo(client: Client) -> int:
    return client.service.store.add_person(name="Bo Example")


def kept(client: Client, id_: int) -> dict[str, Any]:
    return client.service.store.get(PERSON, id_)


def successes(answer: dict[str, Any]) -> list[bool]:
    return [one["success"] for one in answer["affected_object_information"]]


def errors(answer: dict[str, Any], place: int = 0) -> dict[str, list[str]]:
    found: dict[str, list[str]] = answer["affected_object_information"][place]["errors"]
    return found


def test_an_update_changes_what_was_sent_and_names_the_new_lock_version(client: Client, ada: int) -> None:
    answer = client.write(PEOPLE, {"id": ada, STATE: "Opted Out", "no_email_soliciting": "1"})
    assert answer["success"]
    result = answer["affected_objects"][0]
    assert (result["id"], result["lock_version"], result[STATE]) == (ada, 1, "Opted Out")
    assert result["no_email_soliciting"] is True
    assert (kept(client, ada)["lock_version"], kept(client, ada)[STATE]) == (1, "Opted Out")


def test_what_is_there_already_keeps_lock_version_and_stamp(client: Client, ada: int) -> None:
    client.write(PEOPLE, {"id": ada, STATE: "Finished"})
    stamp = kept(client, ada)["updated_at"]
    client.service.clock.advance(60_000)
    answer = client.write(PEOPLE, {"id": ada, "lock_version": 1, STATE: "Finished", "no_email_soliciting": "0"})
    assert answer["affected_objects"] == [{"id": ada, "lock_version": 1}]
    assert kept(client, ada)["updated_at"] == stamp
    last = client.service.store.writes[-1]
    assert (last.changed, set(last.unchanged)) == ({}, {STATE, "no_email_soliciting"})


def test_the_log_of_writes_says_what_changed_from_what_to_what(client: Client, ada: int) -> None:
    client.write(PEOPLE, {"id": ada, STATE: "Finished"})
    client.write(PEOPLE, {"id": ada, "lock_version": 1, STATE: "Bounced"})
    last = client.service.store.writes[-1]
    assert (last.record_class, last.id, last.method) == (PERSON, ada, "PUT")
    assert last.changed == {STATE: ("Finished", "Bounced")}


def test_a_stale_lock_version_is_200_and_nothing_is_written(client: Client, ada: int, bo: int) -> None:
    client.service.store.touch(PERSON, bo)
    response = client.put(PEOPLE, {"id": ada, STATE: "Finished"}, {"id": bo, STATE: "Finished"})
    answer = response.json()
    assert response.status_code == 200
    assert (answer["success"], answer["failures"], successes(answer)) == (False, [STALE_TEXT], [True, False])
    assert errors(answer, 1) == {"base": [STALE_TEXT]}
    assert answer["affected_objects"][1] == {"id": bo, "lock_version": 0, STATE: "Finished"}
    assert (kept(client, ada)[STATE], kept(client, bo)[STATE]) == ("Finished", None)


def test_without_per_object_transactions_one_bad_object_undoes_all(client: Client, ada: int, bo: int) -> None:
    objects = ({"id": ada, STATE: "Finished"}, {"id": bo, STATE: "Nonsense"})
    answer = client.write(PEOPLE, *objects, _per_object_transactions="0")
    assert successes(answer) == [False, False]
    assert (kept(client, ada)[STATE], client.service.store.writes) == (None, [])


def test_undone_reads_as_success_when_that_question_is_so_decided(client: Client, ada: int, bo: int) -> None:
    client.service.faults.on("undone_reads_as_success")
    objects = ({"id": ada, STATE: "Finished"}, {"id": bo, STATE: "Nonsense"})
    answer = client.write(PEOPLE, *objects, _per_object_transactions="0")
    assert (answer["success"], successes(answer)) == (False, [True, False])
    assert kept(client, ada)[STATE] is None


def test_a_create_gets_an_id_and_shows_all_it_has(client: Client) -> None:
    answer = client.write(TASKS, {"name": "Call", "activity_status": "Cancelled", "due_date": "1 Sep 2026"})
    result = answer["affected_objects"][0]
    assert (result["id"], result["lock_version"], result["due_date"]) == (4001, 0, " 1 Sep 2026")
    assert (result["type"], result["activity_type"], result["created_through"]) == (TASK, "To-do", "outreach_sync")
    assert set(result) == set(client.service.store.table(TASK).fields)
    assert result["description"] is None


def test_a_refused_create_has_a_null_id_beside_one_that_worked(client: Client) -> None:
    answer = client.write(TASKS, {"name": "Call"}, {"name": ""})
    assert [one["id"] for one in answer["affected_objects"]] == [4001, None]
    assert answer["errors"] == {"[]": {"name": "is a required field"}}
    assert errors(answer, 1) == {"name": ["is a required field"]}
    assert len(client.service.store.all(TASK)) == 1


def test_create_update_and_delete_mix_in_one_request(client: Client, ada: int, bo: int) -> None:
    objects = ({"name": "Cy Example"}, {"id": ada, "name": "Ada E."}, {"id": bo, "method": "DELETE"})
    answer = client.write(PEOPLE, *objects)
    assert successes(answer) == [True, True, True]
    assert answer["affected_objects"][2] == {"id": bo, "lock_version": 0}
    assert [one["name"] for one in client.service.store.all(PERSON)] == ["Ada E.", "Cy Example"]
    assert [write.method for write in client.service.store.writes] == ["POST", "PUT", "DELETE"]


def test_null_value_clears_and_no_value_leaves_alone(client: Client, ada: int) -> None:
    client.service.store.update(PERSON, ada, **{STATE: "Finished", "person_job_title": "Head"})
    client.write(PEOPLE, {"id": ada, "lock_version": 1, STATE: ":null_value:", "person_job_title": ":no_value:"})
    assert (kept(client, ada)[STATE], kept(client, ada)["person_job_title"]) == (None, "Head")


def test_null_on_an_empty_text_is_a_change_and_emptiness_on_null_is_none(client: Client, ada: int) -> None:
    client.service.store.update(PERSON, ada, person_job_title="")
    cleared = client.write(PEOPLE, {"id": ada, "lock_version": 1, "person_job_title": ":null_value:"})
    assert (cleared["affected_objects"][0]["lock_version"], kept(client, ada)["person_job_title"]) == (2, None)
    emptied = client.write(PEOPLE, {"id": ada, "lock_version": 2, "person_job_title": ""})
    assert emptied["affected_objects"] == [{"id": ada, "lock_version": 2}]


@pytest.mark.parametrize("name", ["cf_person_nonsense", "object_ref"])
def test_an_unknown_or_fixed_attribute_is_ignored_unless_checking_is_strict(
    client: Client, ada: int, name: str
) -> None:
    lax = client.write(PEOPLE, {"id": ada, name: "x"}, _strict_attribute_checking="0")
    strict = client.write(PEOPLE, {"id": ada, name: "x"})
    assert lax["success"]
    assert list(errors(strict)) == [name]


def test_a_restricted_picklist_refuses_and_an_auto_create_one_grows(client: Client, ada: int) -> None:
    assert not client.write(PEOPLE, {"id": ada, STATE: "finished"})["success"]
    assert client.write(PEOPLE, {"id": ada, "lead_source_type": "Outreahc"})["success"]
    assert "Outreahc" in [one["value"] for one in client.service.store.all(PICKLIST_ENTRY)]


@pytest.mark.parametrize(
    ("objects", "controls"),
    [
        ([{"lead_source_type": "Outreahc", STATE: "Nonsense"}], {}),
        ([{"lead_source_type": "Outreahc", "lock_version": 7}], {}),
        ([{"lead_source_type": "Outreahc"}, {"name": ""}], {"_per_object_transactions": "0"}),
    ],
    ids=["refused", "stale", "undone"],
)
def test_a_picklist_does_not_grow_by_what_was_not_saved(
    client: Client, ada: int, bo: int, objects: list[dict[str, Any]], controls: dict[str, str]
) -> None:
    named = [{"id": id_, **one} for id_, one in zip((ada, bo), objects, strict=False)]
    assert not client.write(PEOPLE, *named, **controls)["success"]
    assert "Outreahc" not in [one["value"] for one in client.service.store.all(PICKLIST_ENTRY)]


def test_a_value_that_two_objects_bring_becomes_one_entry(client: Client, ada: int, bo: int) -> None:
    assert client.write(PEOPLE, *({"id": one, "lead_source_type": "Fair"} for one in (ada, bo)))["success"]
    assert [one["value"] for one in client.service.store.all(PICKLIST_ENTRY)].count("Fair") == 1


def test_picklist_entry_missing_makes_the_value_invalid(client: Client, ada: int) -> None:
    client.service.faults.on("picklist_entry_missing", value="Finished")
    assert list(errors(client.write(PEOPLE, {"id": ada, STATE: "Finished"}))) == [STATE]
    assert client.ids("admin/picklist_entries", ("value", "eq", "Finished")) == []


def test_custom_field_removed_makes_the_attribute_unknown(client: Client, ada: int) -> None:
    client.service.faults.on("custom_field_removed", field=STATE)
    assert errors(client.write(PEOPLE, {"id": ada, STATE: "Finished"})) == {STATE: ["is not a recognised attribute"]}
    assert client.get(PEOPLE, ("id", "gt", "0"), columns=STATE)["data"] == [{}]


def test_only_one_of_the_three_views_of_a_moment_may_be_set(client: Client) -> None:
    answer = client.write(TASKS, {"name": "Call", "due": "2026-09-01", "due_date": "1 Sep 2026"})
    assert "only one of due, due_date and due_datetime may be set" in str(errors(answer))


def test_true_written_as_python_does_is_false(client: Client, ada: int) -> None:
    client.write(PEOPLE, {"id": ada, "no_email_soliciting": "True"})
    assert kept(client, ada)["no_email_soliciting"] is False


def test_a_read_only_record_is_refused(client: Client, ada: int) -> None:
    client.service.store.make_read_only(ada)
    assert "permission" in str(errors(client.write(PEOPLE, {"id": ada, STATE: "Finished"})))
    assert client.get(PEOPLE, ("id", "gt", "0"), columns="_can_modify")["data"] == [{"_can_modify": False}]


def refused(client: Client, pairs: list[tuple[str, str]]) -> str:
    answer = client.post(PEOPLE, pairs).json()
    assert list(answer) == ["success", "failures"]
    assert client.service.store.writes == []
    return str(answer["failures"][0])


def test_more_than_100_objects_are_refused(client: Client) -> None:
    objects = [{"name": f"Person {number}"} for number in range(101)]
    assert "no more than 100" in refused(client, client.write_pairs(objects, client.PER_OBJECT))


def test_an_object_that_occurs_twice_is_refused(client: Client, ada: int) -> None:
    objects = [{"id": ada, "name": "A"}, {"id": ada, "name": "B"}]
    assert "occurs twice" in refused(client, client.write_pairs(objects, client.PER_OBJECT))


def test_an_array_that_is_not_square_is_refused(client: Client, ada: int) -> None:
    assert "name[]" in refused(
        client, [*client.write_pairs([{"id": ada, "name": "A"}], client.PER_OBJECT), ("name[]", "B")]
    )


def without_filter(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [pair for pair in pairs if not pair[0].startswith("_f")]


def test_a_filter_must_select_exactly_the_objects(client: Client, ada: int, bo: int) -> None:
    pairs = without_filter(client.write_pairs([{"id": ada, "name": "A"}], client.PER_OBJECT))
    assert "must select" in refused(client, pairs)
    more = [("_ff[]", "id"), ("_ft[]", "gt"), ("_fc[]", "0")]
    assert "not in the request" in refused(client, [*more, *pairs])
    other = [("_ff[]", "id"), ("_ft[]", "eq"), ("_fc[]", "0")]
    assert "does not select" in refused(client, [*other, *pairs])
    assert client.post(PEOPLE, [*more[:2], ("_fc[]", str(bo)), *pairs]).json()["success"] is False


def test_any_filter_that_selects_the_object_will_do(client: Client, ada: int) -> None:
    by_name = [("_ff[]", "name"), ("_ft[]", "ct"), ("_fc[]", "ada")]
    assert client.post(PEOPLE, [*by_name, *without_filter(client.write_pairs([{"id": ada, "name": "A"}], {}))]).json()[
        "success"
    ]


def test_filterless_creates_refused_only_when_the_guides_text_is_taken_at_its_word(client: Client) -> None:
    pairs = without_filter(client.write_pairs([{"name": "Cy Example"}], client.PER_OBJECT))
    client.service.faults.on("filterless_creates_refused", times=1)
    assert "must select" in refused(client, pairs)
    client.service.faults.off("filterless_creates_refused")
    assert client.post(PEOPLE, pairs).json()["success"]


@pytest.mark.parametrize("change", [{"method": "PATCH"}, {"method": "POST"}])
def test_a_method_that_does_not_fit_is_refused(client: Client, ada: int, change: dict[str, str]) -> None:
    assert "not a valid method" in refused(
        client, client.write_pairs([{"id": ada, "name": "A", **change}], client.PER_OBJECT)
    )


def test_a_deleted_unknown_or_forbidden_id_is_a_failed_object(client: Client, ada: int, bo: int) -> None:
    store = client.service.store
    store.delete(PERSON, bo)
    hidden = store.add_person(name="Cy Example")
    store.hide(hidden)
    objects = [{"id": id_, STATE: "Finished", "lock_version": 0} for id_ in (ada, bo, hidden, 99)]
    assert successes(client.write(PEOPLE, *objects)) == [True, False, False, False]


def test_deleted_id_fails_batch_404_and_nothing_is_done(client: Client, ada: int) -> None:
    client.service.faults.on("deleted_id_fails_batch_404")
    response = client.put(PEOPLE, {"id": ada, STATE: "Finished"}, {"id": 99, STATE: "Finished"})
    assert (response.status_code, kept(client, ada)[STATE]) == (404, None)
    assert client.put(PEOPLE, {"id": ada, STATE: "Finished"}).status_code == 200


def test_deleted_id_shortens_results_and_the_rest_is_done(client: Client, ada: int) -> None:
    client.service.faults.on("deleted_id_shortens_results")
    answer = client.write(PEOPLE, {"id": 99, STATE: "Finished"}, {"id": ada, STATE: "Finished"})
    assert [one["id"] for one in answer["affected_objects"]] == [ada]
    assert successes(answer) == [True]


def test_no_permission_to_create_is_said_in_the_answer_and_in_metadata(client: Client, ada: int) -> None:
    client.service.faults.on("no_permission_to_create", **{"class": TASK})
    assert "permission" in str(errors(client.write(TASKS, {"name": "Call"})))
    assert client.write(PEOPLE, {"id": ada, STATE: "Finished"}, {"name": "Bo Example"})["success"]
    types = client.post("metadata/types", [("_method", "GET")]).json()["data"]
    permitted = {
        one["class_name"]: action["permitted"]
        for one in types
        for action in one["actions"]
        if action["name"] == "create"
    }
    assert (permitted[TASK], permitted[PERSON]) == (False, True)


def test_created_rows_appear_late_for_a_number_of_lookups(client: Client) -> None:
    client.service.faults.on("created_rows_appear_late", lookups=2)
    client.write(TASKS, {"name": "Call"})
    looks = [client.ids(TASKS, ("name", "eq", "Call")) for _ in range(3)]
    assert looks == [[], [], [4001]]


def test_created_rows_appear_late_for_some_seconds(client: Client) -> None:
    client.service.faults.on("created_rows_appear_late", seconds=30)
    client.write(TASKS, {"name": "Call"})
    assert client.ids(TASKS, ("name", "eq", "Call")) == []
    client.service.clock.advance(31_000)
    assert client.ids(TASKS, ("name", "eq", "Call")) == [4001]


def test_status_sets_completed_though_nobody_sent_it(client: Client) -> None:
    client.service.faults.on("status_sets_completed")
    client.write(TASKS, {"name": "Call", "activity_status": "Cancelled"})
    assert client.service.store.get(TASK, 4001)["completed"] is not None


def test_what_the_service_sets_by_itself_is_in_the_answer(client: Client) -> None:
    task = client.service.store.add_task(name="Call")
    client.service.faults.on("status_sets_completed")
    result = client.write(TASKS, {"id": task, "activity_status": "Complete"})["affected_objects"][0]
    assert {"completed", "completed_date", "completed_datetime"} <= set(result)
    assert result["completed"] == client.service.store.get(TASK, task)["completed"]


def test_created_through_is_the_application_name_else_the_first_word_of_the_user_agent(client: Client) -> None:
    client.session.headers["User-Agent"] = "outreach-sync/1.0"
    client.write(PEOPLE, {"name": "Ada Example"})
    client.write(PEOPLE, {"name": "Bo Example"}, _application_name="my tool")
    assert [one["created_through"] for one in client.service.store.all(PERSON)] == ["outreach", "my tool"]
