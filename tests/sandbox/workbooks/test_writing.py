"""What a write does, what it is answered, and what others do to records meanwhile."""

from typing import Any

import pytest

from outreach_sync.instants import parse_iso
from outreach_sync.sandbox.workbooks.schema import PERSON, PICKLIST_ENTRY, SEQUENCE_STATES, TASK
from outreach_sync.sandbox.workbooks.writing import STALE_TEXT
from tests.sandbox.workbooks.conftest import PEOPLE, STAMP, STATE, TASKS, Client

WORKBOOKS_FORM = "Tue Sep 01 10:00:31 UTC 2026"


def successes(answer: dict[str, Any]) -> list[bool]:
    return [one["success"] for one in answer["affected_object_information"]]


def errors(answer: dict[str, Any], place: int = 0) -> dict[str, list[str]]:
    found: dict[str, list[str]] = answer["affected_object_information"][place]["errors"]
    return found


def change(client: Client, id_: int, **more: str) -> Any:
    """Write one Person as it stands now."""
    return client.write(PEOPLE, {"id": id_, "lock_version": client.kept(id_)["lock_version"], **more})


def finish(client: Client, ids: list[int], **more: str) -> Any:
    return client.finish(*ids, **more).json()


def test_what_is_there_already_and_what_is_unknown_unless_strict_change_nothing(client: Client, ada: int) -> None:
    result = client.write(PEOPLE, {"id": ada, STATE: "Opted Out", "no_email_soliciting": "1"})["affected_objects"][0]
    assert (result["id"], result["lock_version"], result[STATE]) == (ada, 1, "Opted Out")
    assert (client.kept(ada)["lock_version"], client.kept(ada)["no_email_soliciting"]) == (1, True)
    stamp = client.kept(ada)["updated_at"]
    client.service.clock.advance(60_000)
    again = client.write(PEOPLE, {"id": ada, "lock_version": 1, STATE: "Opted Out", "person_job_title": ""})
    assert again["affected_objects"] == [{"id": ada, "lock_version": 1}]
    assert client.kept(ada)["updated_at"] == stamp
    for name in ("cf_person_nonsense", "object_ref"):
        lenient = client.write(PEOPLE, {"id": ada, "lock_version": 1, name: "x"}, _strict_attribute_checking="0")
        assert lenient["success"]
        assert list(errors(change(client, ada, **{name: "x"}))) == [name]


def test_a_stale_object_is_200_and_undoes_the_others_only_if_told_to(client: Client, three: list[int]) -> None:
    client.store.touch(PERSON, three[1])
    objects = [{"id": id_, STATE: "Finished"} for id_ in three[:2]]
    together = client.write(PEOPLE, *objects, _per_object_transactions="0")
    assert (successes(together), client.store.writes) == ([False, False], [])
    response = client.put(PEOPLE, *objects)
    answer = response.json()
    assert (response.status_code, answer["success"], answer["failures"]) == (200, False, [STALE_TEXT])
    assert (successes(answer), errors(answer, 1)) == ([True, False], {"base": [STALE_TEXT]})
    assert answer["affected_objects"][1] == {"id": three[1], "lock_version": 0, STATE: "Finished"}
    assert [client.kept(id_)[STATE] for id_ in three[:2]] == ["Finished", None]


def test_a_create_shows_all_it_has_and_a_refused_one_beside_it_a_null_id(client: Client) -> None:
    good = {"name": "Call", "activity_status": "Cancelled", "due_date": "1 Sep 2026"}
    answer = client.write(TASKS, good, {"name": ""})
    result = answer["affected_objects"][0]
    assert (result["id"], result["lock_version"], result["due_date"]) == (4001, 0, " 1 Sep 2026")
    assert (result["activity_type"], result["created_through"]) == ("To-do", "outreach_sync")
    assert set(result) == set(client.store.table(TASK).fields)
    assert (answer["affected_objects"][1]["id"], answer["errors"]) == (None, {"[]": {"name": "is a required field"}})
    client.faults.on("errors_flat")
    assert client.write(TASKS, {"name": ""})["errors"] == {"name": "is a required field"}


def test_values_are_taken_in_every_documented_form_and_what_does_not_fit_is_refused(client: Client, ada: int) -> None:
    at, iso = parse_iso("2026-09-01T10:00:31Z"), "2026-09-01T10:00:31Z"
    for name, value, forms in (
        ("no_email_soliciting", True, ("true", "t", "on", "1", "yes", "y")),
        ("no_email_soliciting", False, ("True", "0", "2", "")),
        (STAMP, at, (WORKBOOKS_FORM, iso, "1788256831", "2026-09-01T11:00:31")),
        (STAMP, None, ("",)),
        ("name", "x" * 255, ("x" * 255,)),
    ):
        for form in forms:
            client.store.update(PERSON, ada, **{name: not value if isinstance(value, bool) else None})
            assert change(client, ada, **{name: form})["success"]
            assert client.kept(ada)[name] == value, form
    for name, sent, says in (
        (STAMP, "soon", "is not a valid date"),
        (STAMP, "2026-13-01", "is not a valid date"),
        ("name", "x" * 256, "is too long (maximum is 255 characters)"),
        ("employer_link", "2147483648", "is out of range"),
        ("employer_link", "x", "is not a number"),
        (STATE, "finished", "is not a valid picklist value"),
    ):
        assert errors(change(client, ada, **{name: sent})) == {name: [says]}
    answer = client.write(TASKS, {"name": "Call", "due": "2026-09-01", "due_date": "1 Sep 2026"})
    assert "only one of due, due_date and due_datetime may be set" in str(errors(answer))


def test_a_picklist_with_auto_create_grows_once_by_what_was_saved_alone(client: Client, three: list[int]) -> None:
    client.write(PEOPLE, {"id": three[0], "lead_source_type": "Fair", "lock_version": 7})
    assert "Fair" not in client.store.picklist_values(14)
    client.write(PEOPLE, *({"id": one, "lead_source_type": "Fair"} for one in three))
    assert [one["value"] for one in client.store.all(PICKLIST_ENTRY)].count("Fair") == 1


def test_a_write_that_makes_no_sense_as_a_whole_is_refused(client: Client, three: list[int]) -> None:
    pairs = client.write_pairs([{"id": three[0], "name": "A"}], client.PER_OBJECT)
    every_id = [("_ff[]", "id"), ("_ft[]", "gt"), ("_fc[]", "0")]
    for says, odd in {
        "name[] was not given as often as id[]": [*pairs, ("name[]", "B")],
        "__method[] must be given": [pair for pair in pairs if pair[0] != "__method[]"],
        "a filter must select": [pair for pair in pairs if not pair[0].startswith("_f")],
        "not in the request": [*every_id, *pairs],
        "does not select each": [(name, "0" if name == "_fc[]" else value) for name, value in pairs],
        "valid method": [(name, "PATCH" if name == "__method[]" else value) for name, value in pairs],
        "an object occurs twice": [*pairs, *pairs[-4:]],
        "no more than 100 objects": [*pairs, *pairs[-4:] * 100],
    }.items():
        answer = client.post(PEOPLE, odd).json()
        assert (list(answer), client.store.writes) == (["success", "failures"], [])
        assert says in answer["failures"][0]
    creates = [pair for pair in client.write_pairs([{"name": "Cy"}], client.PER_OBJECT) if pair[0][:2] != "_f"]
    assert client.post(PEOPLE, creates).json()["success"]


def test_a_deleted_unknown_or_read_only_id_is_a_failed_object(client: Client, three: list[int]) -> None:
    client.store.delete(PERSON, three[1])
    client.store.make_read_only(three[2])
    assert successes(finish(client, [*three, 99])) == [True, False, False, False]
    client.faults.on("deleted_id_shortens_results")
    assert [one["id"] for one in finish(client, [99, three[0]])["affected_objects"]] == [three[0]]
    client.faults.on("deleted_id_fails_batch_404")
    assert client.finish(99).status_code == 404


def test_what_the_user_may_not_do_is_said_in_the_answer_and_in_metadata(client: Client, ada: int) -> None:
    for fault, task in (("no_permission_to_create", {"name": "Call"}), ("no_permission_to_update", {"id": 4001})):
        client.faults.on(fault, **{"class": TASK})
        assert "permission" in str(errors(client.write(TASKS, task)))
        action = {"name": fault.rpartition("_")[2], "permitted": False}
        assert [one["class_name"] for one in client.types() if action in one["actions"]] == [TASK]
        client.faults.clear()
        client.write(TASKS, {"name": "Call"})
    client.faults.on("no_permission_to_read", status=404, **{"class": PERSON})
    assert client.post(PEOPLE, [("_method", "GET")]).status_code == 404
    assert {"name": "index", "permitted": False} in client.types(**{"class_names[]": PERSON})[0]["actions"]
    for fault, one in (("field_not_updateable", {"id": ada}), ("field_not_createable", {"name": "Bo"})):
        client.faults.clear()
        client.faults.on(fault, field=STATE)
        assert errors(client.write(PEOPLE, {**one, STATE: "Finished"})) == {STATE: ["cannot be set"]}
        assert [client.field(name)[fault.replace("field_not", "is")] for name in (STATE, STAMP)] == [False, True]
    client.faults.clear()
    client.faults.on("field_required", field="person_last_name")
    assert errors(client.write(PEOPLE, {"name": "Ada"})) == {"person_last_name": ["is a required field"]}
    assert client.write(PEOPLE, {"name": "Ada", "person_last_name": "Example"})["success"]
    assert client.field("person_last_name")["required"]


def test_what_is_kept_otherwise_than_it_was_sent_is_no_change_the_next_time(client: Client) -> None:
    for fault, options, name, sent, made in (
        ("emoji_lost", {}, "name", "Ada \N{SPARKLES} \N{ROCKET}", "Ada \N{SPARKLES} ?"),
        ("ampersand_escaped", {}, "name", "R&D", "R&amp;D"),
        ("text_cut", {"length": 3}, "name", "Ada Example", "Ada"),
        ("blanks_trimmed", {}, "name", " Ada ", "Ada"),
        ("datetime_without_seconds", {"how": "cut"}, STAMP, WORKBOOKS_FORM, "Tue Sep 01 10:00:00 UTC 2026"),
        ("datetime_without_seconds", {"how": "round"}, STAMP, WORKBOOKS_FORM, "Tue Sep 01 10:01:00 UTC 2026"),
    ):
        client.faults.clear()
        client.faults.on(fault, **options)
        person = client.store.add_person(name="Bo")
        change(client, person, **{name: sent})
        assert client.get(PEOPLE, ("id", "eq", str(person)), columns=name)["data"] == [{name: made}]
        assert change(client, person, **{name: sent})["affected_objects"] == [{"id": person, "lock_version": 1}]
    client.faults.clear()
    client.faults.on("custom_datetime_is_var")
    assert change(client, person, **{STAMP: "2026-09-01T10:00:31.000Z,1,Europe/London"})["success"]
    assert client.kept(person)[STAMP] == parse_iso("2026-09-01T10:00:31Z")


@pytest.mark.parametrize(
    ("fault", "options", "expected"),
    [
        ("stale_some", {}, [False, True, True]),
        ("stale_some", {"indexes": [1, 2]}, [True, False, False]),
        ("stale_all", {}, [False, False, False]),
        ("stale_again_and_again", {"ids": [1003]}, [True, True, False]),
        ("delete_between_read_and_write", {}, [False, True, True]),
        ("merge_between_read_and_write", {"indexes": [2]}, [True, True, False]),
        ("read_only_between_read_and_write", {"ids": [1001, 1002]}, [False, False, True]),
        ("refuse_one", {"index": 2, "field": "name", "text": "is odd"}, [True, True, False]),
        ("refuse_all", {}, [False, False, False]),
        ("refuse_value", {"field": STATE}, [False, False, False]),
        ("refuse_value", {"field": STATE, "value": "Bounced"}, [True, True, True]),
    ],
)
def test_a_fault_concerns_the_objects_it_names(
    client: Client, three: Any, fault: str, options: Any, expected: Any
) -> None:
    client.faults.on(fault, times=1, **options)
    assert successes(finish(client, three)) == expected
    finished = [one[STATE] for one in client.store.all(PERSON) if one["id"] in three]
    assert finished.count("Finished") == expected.count(True)


@pytest.mark.parametrize("place", ["failures", "errors", "affected_object_errors", "information", ""])
def test_the_text_on_a_stale_object_stands_in_one_place_or_none(client: Client, three: list[int], place: str) -> None:
    client.faults.on("stale_some", times=1)
    client.faults.on("stale_text_in", place=place) if place else client.faults.on("stale_without_text")
    answer = finish(client, three)
    said = [name for name, value in answer.items() if STALE_TEXT in str(value)]
    assert said == [place.replace("information", "affected_object_information")] * bool(place)
    assert successes(answer) == [False, True, True]


def test_results_may_not_match_and_information_may_come_in_the_old_forms(client: Client, three: list[int]) -> None:
    for form, keys in (("empty", [[]] * 3), ("message", [["message"]] * 3), ("absent", [])):
        client.faults.on("information_missing", form=form)
        answer = finish(client, three, name="")
        assert [list(one) for one in answer.get("affected_object_information", ())] == keys
        assert answer["affected_object_errors"] == [{"name": ["is a required field"]}] * 3
    changed = {"results_longer": [999_999, *three], "results_shorter": three[:2], "results_reordered": three[::-1]}
    for fault, ids in changed.items():
        client.faults.clear()
        client.faults.on(fault)
        answer = finish(client, three)
        assert [one["id"] for one in answer["affected_objects"]] == ids
        assert len(answer["affected_object_information"]) == len(ids)


def test_the_verdict_at_the_top_may_be_wrong_both_ways(client: Client, three: list[int]) -> None:
    client.faults.on("refuse_one", times=1)
    client.faults.on("top_level_success_true_on_partial")
    answer = finish(client, three)
    assert (answer["success"], successes(answer)) == (True, [False, True, True])
    client.faults.on("top_level_success_false_on_success_info_missing")
    answer = client.write(PEOPLE, {"id": three[0], STATE: "Finished"})
    assert (answer["success"], "affected_object_information" in answer) == (False, False)
    assert client.kept(three[0])[STATE] == "Finished"


def test_created_rows_appear_late(client: Client) -> None:
    for task, options in ((4001, {"lookups": 2}), (4002, {"seconds": 30})):
        client.faults.on("created_rows_appear_late", **options)
        client.write(TASKS, {"name": "Call"})
        assert [task in client.ids(TASKS) for _ in range(2)] == [False, False]
        client.service.clock.advance(31_000)
        assert task in client.ids(TASKS)


def test_a_merge_leaves_no_pointer_unless_the_losing_id_goes_on_answering(client: Client, three: list[int]) -> None:
    store, (loser, winner, other) = client.store, three
    store.update(PERSON, loser, **{"main_location[email]": "ada@example.com"})
    task = store.add_task(name="Call", primary_contact_id=loser)
    store.merge_people(winner, loser)
    assert client.kept(winner)["main_location[email]"] == "ada@example.com"
    assert client.kept(loser)["is_deleted"]
    assert store.get(TASK, task)["primary_contact_id"] == winner
    assert client.ids(PEOPLE, ("id", "eq", str(loser))) == []
    store.merge_people(other, winner, alias=True)
    assert client.ids(PEOPLE, ("id", "eq", str(winner))) == [other]
    answer = client.write(PEOPLE, {"id": winner, "lock_version": 1, STATE: "Finished"})
    assert (answer["success"], answer["affected_objects"][0]["id"]) == (True, other)


def test_what_an_administrator_takes_away_is_gone(client: Client, ada: int) -> None:
    client.faults.on("picklist_entry_missing", value="Finished")
    client.faults.on("labels_with_hyphen")
    assert list(errors(finish(client, [ada]))) == [STATE]
    assert "Active - Running" in client.store.picklist_values(SEQUENCE_STATES)
    client.faults.on("custom_field_removed", field=STATE)
    assert errors(finish(client, [ada])) == {STATE: ["is not a recognised attribute"]}


def test_changes_may_be_given_as_json(client: Client) -> None:
    store = client.store
    for name in ("Ada", "Bo"):
        store.add_person(name=name)
    for change, names in (
        ({"do": "update", "class": PERSON, "id": 1001, "fields": {"name": "Ada E."}}, ["Ada E.", "Bo"]),
        ({"do": "delete", "class": PERSON, "id": 1001}, ["Bo"]),
        ({"do": "restore", "class": PERSON, "id": 1001}, ["Ada E.", "Bo"]),
        ({"do": "merge", "winner": 1001, "loser": 1002}, ["Ada E."]),
        ({"do": "add", "class": PEOPLE, "fields": {"name": "Cy"}}, ["Ada E.", "Cy"]),
        ({"do": "purge", "class": PEOPLE, "id": 1001}, ["Cy"]),
        ({"do": "identify", "fields": {"logical_database_id": 8}}, ["Cy"]),
    ):
        store.change(change)
        assert [one["name"] for one in store.all(PERSON)] == names
    assert store.account.logical_database_id == 8
    assert [one["values"]["name"] for one in store.dump()["records"][PERSON]] == ["Bo", "Cy"]
