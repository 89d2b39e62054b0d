"""One cycle after another against both simulated services: what the contract says of people and tasks, as stories."""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from unittest import mock

import pytest

from outreach_sync.insight.explain import kind_of
from outreach_sync.instants import parse_duration
from outreach_sync.records import Unknown, Verdict, Write
from outreach_sync.run import RunSummary
from outreach_sync.workbooks.client import Workbooks
from tests.conftest import World
from tests.harness import DAY, NO_EMAIL, PERSON, RUNNING, STATE, TASK, counts

BULK = {"guard": {"share": 1.0, "count": 9999}, "patience": "1s"}


def people(ended: RunSummary) -> dict[str, int]:
    return {name: count for name, count in ended.document["people"].items() if count}


def test_a_person_known_by_email_is_updated_once_and_nothing_new_costs_a_request_for_each_stream(world: World) -> None:
    person = world.workbooks.add_person(name="Ada", email="ADA@example.com")
    world.prospect(email="ada@example.com", states=("finished",))
    first, second = world.run(), world.run()
    assert (first.exit_status, people(first), people(second)) == (0, {"updated": 1}, {})
    assert second.document["requests"] == {"outreach": 4, "workbooks": 0}
    assert world.workbooks.get(PERSON, person)[STATE] == "Finished"


def test_a_missing_person_is_created_with_names_and_reference_but_not_for_being_merely_not_active(world: World) -> None:
    prospect = world.prospect(email="ada@example.com", states=("paused",))
    world.workbooks.add_person(name="Bo", email="bo@example.com")
    for name in ("bo", "cy"):
        world.prospect(email=f"{name}@example.com", states=())
    assert people(world.run()) == {"created": 1, "updated": 1, "skipped": 1}
    known, person = world.people()
    assert person["created_through_reference"] == f"outreach-prospect-{prospect}"
    assert (person["name"], person["main_location[email]"]) == ("Ada Example", "ada@example.com")
    assert (known[STATE], known["cf_person_state_updated_at"]) == ("Not Active", None)


@pytest.mark.parametrize("opt_out", ["optedOut", "emailOptedOut"])
def test_an_opt_out_is_written_and_never_undone(world: World, opt_out: str) -> None:
    (prospect,) = world.known(1)
    for opted, label in ((True, "Opted Out"), (False, RUNNING)):
        world.outreach.update("prospect", prospect, **{opt_out: opted})
        world.run()
        assert (world.person()[STATE], world.person()[NO_EMAIL]) == (label, True)


def test_prospects_of_one_person_are_pooled_and_those_of_one_address_created_once_by_the_lower(world: World) -> None:
    world.workbooks.add_person(name="Ada", email="ada@example.com")
    world.prospect(email="ada@example.com", states=("finished",))
    world.prospect(email="Ada@Example.com", optedOut=True)
    lower = world.prospect(emails=["x@example.com", "shared@example.com"], states=("finished",))
    world.prospect(emails=["Shared@Example.com"])
    assert [people(world.run()), people(world.run())] == [{"created": 1, "updated": 1}, {}]
    known, created = world.people()
    assert (known[STATE], known[NO_EMAIL]) == ("Opted Out", True)
    assert created["created_through_reference"] == f"outreach-prospect-{lower}"


@pytest.mark.parametrize("stored", ["  Ada@example.com", "\t ada@example.com\u00a0", "ada@example.com   "])
@pytest.mark.parametrize("missing", ["create", "skip"])
def test_however_many_blanks_are_around_an_address_its_person_is_found(world: World, stored: str, missing: str) -> None:
    person = world.workbooks.add_person(name="Ada", email=stored)
    world.workbooks.add_person(name="Another", email="  canada@example.com")
    world.prospect(email="ada@example.com", states=("finished",))
    config = {"people": {"when_missing": missing}}
    first, second = world.run(sync=config), world.run(sync=config)
    assert [people(first), people(second)] == [{"updated": 1}, {}]
    assert world.workbooks.get(PERSON, person)[STATE] == "Finished"


def test_two_people_of_one_address_are_refused_by_name_whatever_blanks_are_around_it(world: World) -> None:
    twins = [world.workbooks.add_person(name="Ada", email=f"{blanks}ada@example.com") for blanks in ("  ", "   ")]
    world.prospect(emails=["ada@example.com", "other@example.com"])
    world.prospect(emails=["other@example.com"])
    first, second = world.run(), world.run()
    assert (first.exit_status, people(first)) == (1, {"created": 1, "rejected": 1, "queued": 1})
    assert people(second) == {"queued": 1}
    reason = str(world.failures()[0].reason)
    assert reason.startswith("ambiguous: the rule 'email' finds 2 people")
    assert all(str(one) in reason for one in twins)


def test_a_run_ends_where_somebody_queued_together_with_another_is_found_to_be_two_people(world: World) -> None:
    world.prospect(email="shared@example.com")
    world.prospect(emails=["shared@example.com", "twin@example.com"])
    world.sandbox.workbooks.faults.on("refuse_all")
    assert people(world.run())["rejected"] == 1
    world.sandbox.workbooks.faults.clear()
    for _ in range(2):
        world.workbooks.add_person(name="Twin", email="   twin@example.com")
    world.time.pass_time(DAY)
    asked, look_up = Counter[str](), Workbooks.people

    def at_most_ten(self: Workbooks, rule: str, values: Any) -> Any:
        asked[rule] += 1
        assert asked[rule] <= 10, "the run goes in circles"
        return look_up(self, rule, values)

    with mock.patch.object(Workbooks, "people", at_most_ten):
        assert people(world.run())["created"] == 1


def test_a_pilot_takes_the_first_of_all_also_where_blanks_are_around_its_address(world: World) -> None:
    first = world.workbooks.add_person(name="First", email="   first@example.com")
    world.prospect(email="first@example.com", states=("finished",))
    world.prospect(email="second@example.com")
    assert people(world.run(limit=1)) == {"updated": 1, "queued": 1}
    assert world.workbooks.get(PERSON, first)[STATE] == "Finished"


def test_an_unknown_state_is_refused_until_it_has_a_label_and_never_keeps_an_opt_out_back(world: World) -> None:
    world.settings["workbooks"]["fields"] = {"sequences": "cf_person_sequences"}
    for name in ("ada", "bo"):
        world.workbooks.add_person(name=name, email=f"{name}@example.com")
        world.prospect(email=f"{name}@example.com", states=("napping",), optedOut=name == "bo")
    assert world.run().exit_status == 1
    assert [(one[NO_EMAIL], one[STATE]) for one in world.people()] == [(False, None), (True, "Opted Out")]
    assert world.run(sync={"labels": {"napping": "Finished"}}).exit_status == 0
    assert [one[STATE] for one in world.people()] == ["Finished", "Opted Out"]


def test_a_skipped_task_becomes_one_cancelled_task_for_ever_and_none_without_a_prospect(world: World) -> None:
    task = world.skipped_task(world.prospect(email="ada@example.com"))
    world.skipped_task(None)
    ended = world.run()
    assert (ended.exit_status, ended.tasks.created, ended.document["streams"]["tasks"]["skipped"]) == (0, 1, 2)
    world.outreach.update("task", task, note="changed")
    world.run(full=True)
    (made,) = world.tasks()
    assert (made["activity_status"], made["primary_contact_id"]) == ("Cancelled", world.person()["id"])
    assert made["created_through_reference"] == f"outreach-task-{task}"


def test_tasks_wait_for_a_person_without_being_a_failure_and_go_where_their_prospect_goes(world: World) -> None:
    (other,), prospect = world.known(1), world.prospect(email="ada@example.com")
    skip, tasks = {"people": {"when_missing": "skip"}}, [world.skipped_task(prospect) for _ in range(2)]
    ended = world.run(sync=skip)
    assert (ended.exit_status, ended.people.skipped, ended.tasks.queued) == (0, 1, 2)
    world.outreach.update("task", tasks[0], prospect=other)
    assert (cut_off(world, 0).tasks.created, world.run(sync=skip).tasks.created) == (0, 1)
    world.workbooks.add_person(name="Ada", email="ada@example.com")
    world.run(sync=skip, full=True)
    assert [one["primary_contact_id"] for one in world.tasks()] == [one["id"] for one in world.people()]


def test_a_changed_skip_rule_judges_the_tasks_again(world: World) -> None:
    done = {"state": "complete", "completed": True, "completedAt": "2026-09-01T10:00:00.000Z", "completer": None}
    world.skipped_task(world.prospect(email="ada@example.com"), **done)
    made = []
    for sync in ({}, {"tasks": {"skipped_when": [{"state": "complete", "completer": None}]}}):
        world.run(sync=sync)
        made.append(len(world.tasks()))
    assert made == [0, 1]


def test_a_field_that_was_configured_since_is_written_though_another_said_the_same(world: World) -> None:
    world.known(1)
    world.settings["workbooks"]["fields"] = {"sequence_state": "cf_person_sequences"}
    assert people(world.run()) == {"updated": 1}
    assert world.person()["cf_person_sequences"] == world.person()[STATE] == RUNNING


def test_a_deleted_person_is_left_deleted_where_the_config_says_so(world: World) -> None:
    (prospect,) = world.known(1)
    world.workbooks.delete(PERSON, world.person()["id"])
    world.move(prospect, "finished")
    for _ in range(2):
        assert world.run(sync={"when_deleted": "leave"}).exit_status == 0
    assert world.people() == []


def test_a_dry_run_shows_what_the_guard_would_stop_and_changes_nothing(world: World) -> None:
    for number in range(5):
        world.prospect(email=f"p{number}@example.com", states=("finished",))
    world.run()
    before = (world.writes(), world.state_path.read_bytes())
    ended = world.run(sync={"labels": {"finished": "Failed"}}, dry_run=True)
    assert ended.document["guard_would_stop"] is True
    assert [change["fields"] for change in ended.document["changes"]] == [{STATE: ["Finished", "Failed"]}] * 5
    assert (world.writes(), world.state_path.read_bytes()) == before


def cut_off(world: World, after: int) -> RunSummary:
    """Let the walk of the states, two a page, fail after so many pages."""
    world.settings["outreach"]["page_size"] = 2
    world.sandbox.outreach.faults.on("server_error_500", after=after, kind="list sequenceStates")
    ended = world.run(sync={"patience": "1s"})
    world.sandbox.outreach.faults.clear()
    return ended


def test_nothing_but_opt_outs_is_written_of_a_walk_that_was_not_completed(world: World) -> None:
    for number in range(4):
        world.workbooks.add_person(name="P", email=f"p{number}@example.com")
        world.prospect(email=f"p{number}@example.com", optedOut=number == 0)
    assert cut_off(world, 1).exit_status == 4
    assert [one[STATE] for one in world.people()] == ["Opted Out", None, None, None]
    assert world.run(streams=("tasks",)).exit_status == 4, "it is said where this run was not to read that stream"
    assert [one[STATE] for one in world.people()] == ["Opted Out", None, None, None]
    assert world.run().exit_status == 0
    assert [one[STATE] for one in world.people()] == ["Opted Out", *[RUNNING] * 3]


def test_a_stream_that_fails_hides_no_opt_out_in_another_unless_outreach_says_when_to_come_back(world: World) -> None:
    (prospect,) = world.known(1)
    world.outreach.update("prospect", prospect, optedOut=True)
    world.sandbox.outreach.faults.on("maintenance_503", form="seconds", wait=3600)
    ended = world.run()
    assert (ended.exit_status, ended.document["requests"]["outreach"]) == (4, 1)
    world.sandbox.outreach.faults.clear()
    world.sandbox.outreach.faults.on("server_error_500", kind="list tasks")
    ended = world.run(sync={"patience": "1s"})
    assert (ended.exit_status, world.person()[NO_EMAIL]) == (4, True)


def test_a_walk_that_was_interrupted_goes_on_where_it_stopped(world: World) -> None:
    for number in range(6):
        world.prospect(email=f"p{number}@example.com")
    reads = [ended.document["streams"]["sequence_states"]["read"] for ended in (cut_off(world, 2), world.run())]
    assert (reads, len(world.people())) == ([4, 2], 6)


@pytest.mark.parametrize(
    ("late", "until", "sync"), [("5h", "20h", {}), ("1h", "3h", {"late_sweep": "3h"}), ("1h", "2m", {"overlap": "2h"})]
)
def test_records_that_appear_late_are_found_in_sweep_or_overlap(world: World, late: str, until: str, sync: Any) -> None:
    world.settings["sync"] |= sync
    (prospect,), hours = world.known(1), parse_duration(late)
    opted = {"prospect": prospect, "sequence": 1, "state": "opted_out"}
    world.outreach.add("sequenceState", opted, visible_after_ms=hours)
    world.time.pass_time(hours - 60_000)  # the watermark passes the record that is not shown yet
    world.run()
    assert not world.person()[NO_EMAIL]
    world.time.pass_time(parse_duration(until))
    world.run()
    assert world.person()[NO_EMAIL] is True


def test_a_dead_login_to_outreach_does_not_hold_up_what_is_queued(world: World) -> None:
    world.move(world.known(1)[0], "finished")
    world.sandbox.workbooks.faults.on("unavailable_503")
    assert world.run(sync={"patience": "1s"}).exit_status == 4
    world.sandbox.workbooks.faults.clear()
    world.sandbox.outreach.tokens.revoke_all()
    assert (world.run().exit_status, world.person()[STATE]) == (3, "Finished")


def test_an_opt_out_is_set_even_where_the_label_is_refused(world: World) -> None:
    (prospect,) = world.known(1)
    world.workbooks.remove_picklist_entry("Opted Out")
    world.outreach.update("prospect", prospect, optedOut=True)
    ended = world.run()
    assert (ended.exit_status, world.person()[NO_EMAIL], world.person()[STATE]) == (1, True, RUNNING)
    assert world.sql(f"SELECT field FROM write WHERE run_id = '{ended.run_id}'") == [(NO_EMAIL,)]  # noqa: S608


def test_a_field_that_is_gone_stops_the_run_instead_of_refusing_everybody(world: World) -> None:
    prospects = world.known(3)
    world.workbooks.remove_custom_field(STATE)
    for prospect in prospects:
        world.move(prospect, "failed")
    ended = world.run()
    assert (ended.exit_status, STATE in str(ended.error)) == (3, True)
    with world.state() as state:
        assert state.outbox.counts() == {("person", "queued"): 3}


def test_a_queue_left_by_an_outage_never_overtakes_what_was_read_since(world: World) -> None:
    prospects = world.known(420)
    for prospect in prospects[300:]:
        world.move(prospect, "paused")
    world.sandbox.workbooks.faults.on("unavailable_503", kind="write")
    assert world.run(sync=BULK).exit_status == 4
    world.sandbox.workbooks.faults.clear()
    for prospect in prospects[300:]:
        world.outreach.update("prospect", prospect, optedOut=True)
    for prospect in prospects[:300]:
        world.move(prospect, "finished")
    world.run(sync=BULK)
    assert [one[NO_EMAIL] for one in world.people()].count(True) == 120
    assert world.run(sync=BULK).document["requests"]["workbooks"] == 0


def test_two_who_are_no_longer_ambiguous_and_share_an_address_are_created_once(world: World) -> None:
    twins = [world.workbooks.add_person(name=name, email="twin@example.com") for name in ("A", "B")]
    for _ in range(2):
        world.prospect(email="twin@example.com")
    world.run()
    for twin in twins:
        world.workbooks.delete(PERSON, twin)
    world.retry()
    assert (people(world.run()), len(world.people())) == ({"created": 1}, 1)


def test_one_record_that_workbooks_fails_at_holds_up_nobody_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for prospect in world.known(30):
        world.move(prospect, "failed")
    poisoned, write = world.people()[17]["id"], Workbooks.write

    def fail_at_one(target: Workbooks, controller: str, writes: Sequence[Write]) -> Sequence[Verdict]:
        spoiled = any(one.id == poisoned for one in writes)
        return [Unknown("500")] * len(writes) if spoiled else write(target, controller, writes)

    monkeypatch.setattr(Workbooks, "write", fail_at_one)
    assert world.run(sync=BULK).exit_status == 1
    assert [one["id"] for one in world.people() if one[STATE] != "Failed"] == [poisoned]
    assert [kind_of(one).title for one in world.failures()] == ["Records that Workbooks fails at"]


@pytest.mark.parametrize(
    ("rule", "person", "prospect"),
    [
        ("outreach_id", {"cf_person_outreach_id": "1"}, {}),
        ("external_id", {}, {"externalId": " pers-1001 "}),
        ("email", {"email": "ADA@example.com"}, {"email": "ada@example.com"}),
    ],
)
def test_each_rule_finds_the_person(world: World, rule: str, person: Any, prospect: Any) -> None:
    world.settings["workbooks"]["fields"] = {"outreach_id": "cf_person_outreach_id"}
    world.workbooks.add_person(name="Ada", **person)
    world.prospect(**prospect)
    assert counts(world.run()) == {"updated": 1}
    assert (world.person()[STATE], world.sql("SELECT rule FROM person")) == (RUNNING, [(rule,)])


def test_a_task_without_a_due_date_of_its_own_is_due_when_it_last_changed(world: World) -> None:
    world.skipped_task(world.prospect(email="ada@example.com"), updatedAt="2026-09-01T10:00:00.000Z", dueAt=None)
    assert world.run().tasks.created == 1
    (write,) = [one for one in world.workbooks.writes if one.record_class == TASK]
    assert write.changed["due"][1] == "2026-09-01,0,Europe/London"
