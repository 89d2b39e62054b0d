"""What is sent, refused, lost, gone or not shown yet: each object by itself, and nothing twice."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from typing import Any

import pytest

from outreach_sync import match
from outreach_sync.cycle import run_cycle
from outreach_sync.deliver import Delivery
from outreach_sync.insight.explain import kind_of
from outreach_sync.instants import now, parse_iso
from outreach_sync.reconcile import reconcile
from outreach_sync.records import Stale, Unknown
from outreach_sync.workbooks.client import Workbooks
from outreach_sync.workbooks.wire import PEOPLE
from tests.conftest import World
from tests.harness import DAY, PERSON, RUNNING, STATE, TASK, counts

LENIENT: dict[str, Any] = {"guard": {"share": 1.0, "count": 9999}, "patience": "5s"}


def lost(writes: Any, _send: Any) -> Any:
    return [Unknown("the answer was lost")] * len(writes)


class Batches(list[list[Any]]):
    """What is written to people, and what is said to it: `answer` is asked in place of Workbooks."""

    answer: Callable[[Any, Callable[[Any], Any]], Any] = staticmethod(lambda writes, send: send(writes))

    def lose(self, first: int) -> None:
        """Lose the answers to the next batches, and to no more."""
        self.clear()
        self.answer = lambda writes, send: lost(writes, send) if len(self) <= first else send(writes)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Batches:
    seen, real = Batches(), Workbooks.write

    def write(target: Workbooks, controller: str, writes: Any) -> Any:
        if controller != PEOPLE:
            return real(target, controller, writes)
        seen.append(list(writes))
        return seen.answer(writes, lambda some: real(target, controller, some))

    monkeypatch.setattr(Workbooks, "write", write)
    return seen


def moved(world: World, count: int) -> list[int]:
    """Link so many people and change what they are to say; return their ids."""
    for prospect in world.known(count):
        world.move(prospect, "finished")
    return [one["id"] for one in world.people()]


# -- sent


def test_an_entry_is_durably_marked_as_being_sent_before_its_request_leaves(world: World, batches: Batches) -> None:
    moved(world, 1)
    seen = list[tuple[str]]()

    def look(writes: Any, send: Any) -> Any:
        with closing(sqlite3.connect(world.state_path)) as other:  # as another process would after a power cut
            seen.extend(other.execute("SELECT state FROM outbox"))
        return send(writes)

    batches.answer = look
    world.run()
    assert seen == [("sending",)]


def test_no_more_requests_are_in_flight_than_configured(world: World, batches: Batches) -> None:
    world.settings["workbooks"] |= {"batch_size": 3, "concurrency": 2}
    moved(world, 12)
    begun, ended, at_once = list[Any](), list[Any](), list[int]()

    def watch(writes: Any, send: Any) -> Any:
        begun.append(writes)
        at_once.append(len(begun) - len(ended))
        verdicts = send(writes)
        ended.append(writes)
        return verdicts

    batches.answer = watch
    assert (world.run(sync=LENIENT).people.updated, max(at_once) <= 2) == (12, True)


def test_a_skipped_task_becomes_one_cancelled_task_of_the_person(world: World) -> None:
    task = world.skipped_task(world.known(1)[0], note="Ring <b>first</b>\r\nagain", dueAt="2026-09-01T23:00:00Z")
    told = {"name": "n" * 300, "description": "{note}", "type": {"default": "Task", "email": "Email"}}
    assert world.run(sync={"tasks": told}).tasks.created == 1
    (write,) = [one for one in world.workbooks.writes if one.record_class == TASK]
    assert {name: new for name, (_, new) in write.changed.items()} == {
        "name": "n" * 255, "activity_type": "Email", "activity_status": "Cancelled",
        "description": "Ring &lt;b&gt;first&lt;/b&gt;<br>again", "primary_contact_id": world.person()["id"],
        "primary_contact_type": PERSON, "created_through_reference": f"outreach-task-{task}",
        "due": "2026-09-01,0,Europe/London",
    }  # fmt: skip


# -- lost


def test_what_was_lost_once_makes_only_its_own_next_batches_small(world: World, batches: Batches) -> None:
    world.settings["workbooks"]["batch_size"] = 20
    moved(world, 60)
    batches.lose(1)
    assert world.run(sync=LENIENT).people.updated == 60
    assert sorted(len(batch) for batch in batches) == [5, 5, 5, 5, 20, 20, 20]


def test_a_record_that_was_lost_alone_once_is_no_failure(world: World, batches: Batches) -> None:
    moved(world, 2)
    batches.lose(2)
    assert counts(world.run(sync=LENIENT)) == {"updated": 2}


def test_a_record_that_workbooks_fails_at_is_parked_in_the_end(world: World, batches: Batches) -> None:
    """Alone it looks like a service that is down, so the cycle ends with 4. It counts an attempt all the same."""
    moved(world, 1)
    batches.answer = lost
    pauses = []
    for attempts in (1, 2, 3):
        ended = world.run(sync={"max_attempts": 3})
        assert (ended.exit_status, "keep being lost" in str(ended.error)) == (4, True)
        (entry,) = world.failures()
        assert entry.attempts == attempts
        pauses += [] if entry.next_attempt_at is None else [entry.next_attempt_at - now()]
        world.time.pass_time(DAY)
    assert pauses == pytest.approx([300_000, 600_000], rel=0.2)
    assert [entry.state for entry in world.failures()] == ["parked"]
    assert world.run().exit_status == 1


def test_a_service_that_takes_nothing_is_not_asked_for_every_record(world: World, batches: Batches) -> None:
    world.settings["workbooks"] |= {"batch_size": 20, "concurrency": 1}
    moved(world, 100)
    batches.clear()
    batches.answer = lost
    assert world.run(sync=LENIENT).exit_status == 4
    assert (len(batches) < 30, len(world.failures()) <= 6) == (True, True)
    assert len({one.id for batch in batches for one in batch}) == 40, "one batch, and the one ready behind it"


@pytest.mark.parametrize("limit", [1, 5])
def test_a_pilot_ends_as_any_run_while_answers_keep_being_lost(world: World, batches: Batches, limit: int) -> None:
    moved(world, 1)
    batches.lose(20)
    assert (world.run(limit=limit).exit_status, len(batches) <= 6) == (4, True)


def test_everybody_who_is_the_person_whose_creation_was_not_answered_is_linked_to_it(world: World) -> None:
    world.prospect(emails=["ada@example.com", "shared@example.com"])
    second = world.prospect(email="shared@example.com")
    world.sandbox.workbooks.faults.on("answer_lost_after_commit", times=1, kind="write")
    assert counts(world.run()) == {"created": 1}
    world.move(second, "finished")
    assert counts(world.run()) == {"updated": 1}
    assert [one[STATE] for one in world.people()] == ["Finished"]


def test_nobody_follows_another_to_a_person_that_was_not_created_for_both(world: World) -> None:
    world.workbooks.add_person(name="Bo", email="bo@example.com")
    first, _ = (world.prospect(email="shared@example.com") for _ in range(2))
    world.sandbox.workbooks.faults.on("refuse_all", times=1)
    assert world.run().people.rejected == 1
    world.outreach.update("prospect", first, emails=["bo@example.com"], optedOut=True)
    world.sandbox.outreach.faults.on("server_error_500", kind="list sequenceStates")
    assert world.run(sync={"patience": "1s"}).exit_status == 4
    world.sandbox.outreach.faults.clear()
    assert (world.run().exit_status, [one[STATE] for one in world.people()]) == (0, ["Opted Out", RUNNING])


def test_an_opt_out_whose_answer_was_lost_is_sent_once_while_a_walk_is_open(world: World, batches: Batches) -> None:
    world.outreach.opt_out(world.known(1)[0])
    world.sandbox.outreach.faults.on("server_error_500", kind="list sequenceStates")
    batches.clear()
    batches.answer = lambda writes, send: [Unknown("lost") for _ in send(writes)]
    ended = world.run(sync={"patience": "1s"})
    assert (ended.exit_status, ended.people.updated, len(batches), world.person()[STATE]) == (4, 1, 1, "Opted Out")


# -- refused


def test_a_record_that_is_always_stale_is_left_for_later_and_holds_up_nobody(world: World, batches: Batches) -> None:
    first, second = moved(world, 2)
    batches.answer = lambda writes, send: [Stale() if one.id == first else send([one])[0] for one in writes]
    assert world.run().people.rejected == 1
    assert world.workbooks.get(PERSON, second)[STATE] == "Finished"
    assert kind_of(world.failures()[0]).title == "People that somebody else keeps changing"


# -- gone


@pytest.mark.parametrize(("when_deleted", "made"), [("recreate", 1), ("leave", 0)])
def test_a_task_that_was_sent_and_deleted_before_the_state_was_lost_follows_when_deleted(
    world: World, when_deleted: str, made: int
) -> None:
    world.skipped_task(world.known(1)[0])
    world.run()
    world.workbooks.delete(TASK, world.tasks()[0]["id"])
    world.lose_the_state()
    assert world.run(sync={"when_deleted": when_deleted}).tasks.created == made
    assert (len(world.tasks()), world.sql("SELECT * FROM outbox")) == (made, [])


@pytest.mark.parametrize("passed", [0, -DAY], ids=["", "the clock was set back"])
def test_a_task_is_never_tied_to_a_deleted_person_but_to_the_one_created_again(world: World, passed: int) -> None:
    prospect = world.known(1)[0]
    world.time.pass_time(passed)
    world.workbooks.delete(PERSON, world.person()["id"])
    world.skipped_task(prospect)
    assert counts(world.run()) == {"recreated": 1, "tasks": 1}
    assert world.tasks()[0]["primary_contact_id"] == world.person()["id"]


def test_a_person_that_is_gone_is_not_created_again_for_a_task_while_a_walk_is_incomplete(world: World) -> None:
    world.skipped_task(world.known(1)[0])
    world.sandbox.workbooks.faults.on("unavailable_503", kind="write activity/tasks")
    assert world.run(sync={"patience": "1s"}).exit_status == 4
    world.sandbox.workbooks.faults.clear()
    world.workbooks.delete(PERSON, world.person()["id"])
    world.sandbox.outreach.faults.on("server_error_500", kind="list sequenceStates")
    assert world.run(sync={"patience": "1s"}).exit_status == 4
    assert (world.people(), world.tasks()) == ([], [])
    world.sandbox.outreach.faults.clear()
    assert counts(world.run()) == {"recreated": 1, "tasks": 1}


# -- not shown yet


def test_what_was_created_a_moment_ago_and_is_not_shown_yet_is_not_gone(world: World) -> None:
    prospect = world.prospect(email="ada@example.com")
    world.skipped_task(prospect)
    world.run()
    for table in (world.workbooks.table(PERSON), world.workbooks.table(TASK)):
        for record in table.records.values():
            record.hidden_reads = 3
            table.late.add(record.id)
    world.skipped_task(prospect)
    assert [world.repair().exit_status, world.run(full=True).exit_status] == [0, 0]
    assert (len(world.people()), len(world.tasks())) == (1, 2)


@pytest.mark.parametrize(("kind", "look_ups"), [("write activity/tasks", 1), ("write crm/people", 3)])
def test_what_was_created_without_an_answer_and_is_shown_late_is_not_made_twice(
    world: World, kind: str, look_ups: int
) -> None:
    world.skipped_task(world.prospect(email="ada@example.com"))
    world.sandbox.workbooks.faults.on("created_rows_appear_late", lookups=look_ups, kind=kind)
    world.sandbox.workbooks.faults.on("answer_lost_after_commit", times=2, kind="write")
    assert counts(world.run()) == {"created": 1, "tasks": 1}
    assert (len(world.people()), len(world.tasks())) == (1, 1)


@pytest.mark.parametrize(("since_made", "longest"), [(0, 60), (DAY, 1)])
def test_what_never_appears_is_not_waited_for_without_end(world: World, since_made: int, longest: int) -> None:
    world.prospect(email="ada@example.com")
    world.run()
    world.time.pass_time(since_made)
    world.workbooks.hide(world.person()["id"])
    before = world.time.waited()
    assert (world.repair().exit_status, world.time.waited() - before <= longest) == (1, True)


# -- whose Person


def test_the_reference_is_looked_for_whatever_the_config_says_since_the_state_may_have_been_lost(world: World) -> None:
    world.workbooks.add_person(name="Ada", created_through_reference="outreach-prospect-1")
    world.prospect()
    assert world.run(sync={"people": {"match": ["link", "email"]}}).people.created == 0
    assert world.person()[STATE] == RUNNING


def test_no_more_is_asked_for_those_a_rule_has_found(world: World) -> None:
    world.workbooks.add_person(name="Ada", created_through_reference="outreach-prospect-1")
    world.prospect(email="ada@example.com")
    world.run()
    assert "('_ff[]', 'main_location[email]')" not in str(world.sandbox.workbooks.journal.entries())


@pytest.mark.parametrize("lock_version", ["told", "untold"])
def test_a_row_that_is_older_than_our_own_write_hides_no_write(
    world: World, batches: Batches, monkeypatch: pytest.MonkeyPatch, lock_version: str
) -> None:
    """Two prospects are one Person, and the second was looked up before the first was written."""
    collect, ahead = Delivery._collect, match.ahead

    def at_once(call: Callable[[], Any], *, name: str) -> Future[Any]:
        future = ahead(call, name=name)
        future.result()
        return future

    def settled_at_once(delivery: Delivery, *, block: bool) -> None:
        collect(delivery, block=block or bool(delivery._in_flight))

    monkeypatch.setattr(match, "CHUNK", 1)
    monkeypatch.setattr(match, "ahead", at_once)
    monkeypatch.setattr(Delivery, "_collect", settled_at_once)
    at, paused = "2026-09-01T10:00:00Z", "Active \u2013 Paused"
    held = {STATE: paused, "cf_person_state_updated_at": parse_iso(at)}
    world.workbooks.add_person(name="Ada", email="ada@example.com", **held)
    for word in ("active", "paused"):
        world.outreach.add_state(world.prospect(email="ada@example.com", states=()), 1, word, stateChangedAt=at)
    if lock_version == "untold":  # the first answer does not say which version it has now
        batches.answer = lambda writes, send: [
            one._replace(lock_version=-1) if len(batches) == 1 else one for one in send(writes)
        ]
    world.run()
    assert world.person()[STATE] == paused, "of two states at the same time the higher id is shown"


# -- created


def test_a_prospect_that_cannot_be_read_is_refused_instead_of_created_empty(world: World) -> None:
    world.outreach.update("prospect", world.prospect(), hidden=True)
    world.run(sync={"streams": ["sequence_states"]})
    assert (world.people(), "cannot be read" in world.failures()[0].reason) == ([], True)


@pytest.mark.parametrize("work", [run_cycle, reconcile])
def test_a_run_ends_with_4_where_outreach_fails_only_when_it_is_asked_about_somebody_to_be_created(
    world: World, work: Callable[[Any], None]
) -> None:
    world.outreach.update("prospect", world.prospect(), hidden=True)
    world.sandbox.outreach.faults.on("server_error_500", kind="list prospects")
    ended = world.do(work, sync={"streams": ["sequence_states"], "patience": "1s"})
    assert (ended.exit_status, world.people(), ended.people.queued) == (4, [], 1)


def test_a_creation_that_never_arrived_is_looked_for_and_sent_again(world: World, batches: Batches) -> None:
    world.prospect()
    batches.lose(1)
    assert (world.run().exit_status, len(batches), len(world.people())) == (0, 2, 1)


def test_an_attribute_that_was_named_since_the_prospect_was_read_is_read_before_the_creation(world: World) -> None:
    world.prospect(title="Engineer")
    broken = world.prospect(title="CTO")
    world.run(sync={"people": {"when_missing": "skip"}})
    world.pass_the_overlap()
    world.outreach.get("prospect", broken).values["optedOutAt"] = "soon"
    world.repair(sync={"people": {"create_fields": {"person_job_title": "title"}}})
    assert world.people()[0]["person_job_title"] == "Engineer"
    assert [one.prospect_id for one in world.failures()] == [broken]


@pytest.mark.parametrize("twins", [1, 2])
def test_who_shares_an_address_is_not_taken_into_a_person_that_may_be_anothers(world: World, twins: int) -> None:
    """As after a lost state, while a walk is incomplete: nobody looked for the others yet."""
    for number in range(twins):
        world.workbooks.add_person(name=f"A{number}", created_through_reference="outreach-prospect-1")
    world.prospect(email="ada@example.com")
    world.prospect(email="ada@example.com", optedOut=True)
    world.sandbox.outreach.faults.on("server_error_500", kind="list sequenceStates")
    assert world.run(sync={"patience": "1s"}).exit_status == 4
    references = sorted(str(one["created_through_reference"]) for one in world.people())
    assert references == ["outreach-prospect-1"] * twins + ["outreach-prospect-2"]
