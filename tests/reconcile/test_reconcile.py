from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.insight.explain import recreate_hidden
from outreach_sync.instants import Instant
from outreach_sync.outreach.client import CursorRefusedError, Outreach
from outreach_sync.reconcile import reconcile
from outreach_sync.store.progress import SURVEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from outreach_sync.records import Page, Stream
    from outreach_sync.run import RunSummary

PERSON, TASK = "Private::Crm::Person", "Private::Activity::Task"
STATE = "cf_person_sequence_state"
RUNNING, PAUSED = "Active \u2013 Running", "Active \u2013 Paused"


def repair(world: Any, *, allow_bulk: bool = False, **keywords: Any) -> RunSummary:
    return world.do(lambda run: reconcile(run, allow_bulk=allow_bulk), **keywords)


def cached_states(world: Any) -> set[int]:
    with world.state() as state:
        return {row[0] for row in state.connection.execute("SELECT id FROM sequence_state")}


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("custom_datetime_is_var", {}),
        ("datetime_without_seconds", {"how": "cut"}),
        ("datetime_without_seconds", {"how": "round"}),
    ],
)
def test_a_time_that_workbooks_keeps_in_its_own_way_is_not_written_again_and_again(
    world: Any, fault: str, options: dict[str, str]
) -> None:
    world.sandbox.workbooks.faults.on(fault, **options)
    for second in (1, 29, 31, 59):
        prospect = world.prospect(states=())
        world.outreach.add_state(prospect, 1, "active", stateChangedAt=f"2026-09-01T10:00:{second:02d}Z")
    world.run()
    before = world.writes()
    for _ in range(2):
        ended = repair(world)
        assert (ended.exit_status, ended.document["people"]["updated"]) == (0, 0)
    assert world.writes() == before


def test_what_was_edited_by_hand_is_put_right(world: Any) -> None:
    world.prospect(states=("active", "opted_out"))
    world.run()
    person = world.person()["id"]
    world.edit_person(person, no_email_soliciting=False, **{STATE: "Finished"})
    repair(world)
    assert (world.person()["no_email_soliciting"], world.person()[STATE]) == (True, "Opted Out")


def test_what_agrees_and_an_email_flag_set_by_hand_are_left_alone(world: Any) -> None:
    world.prospect(states=("active", "finished"))
    world.run()
    world.edit_person(world.person()["id"], no_email_soliciting=True)
    before, ended = world.writes(), repair(world)
    assert (ended.exit_status, world.writes()) == (0, before)
    assert (ended.document["people"]["updated"], ended.document["people"]["unchanged"]) == (0, 1)


def test_a_state_that_no_cycle_saw_is_stored_shown_and_listed_by_the_name_of_its_sequence(world: Any) -> None:
    world.settings["workbooks"]["fields"] = {"sequences": "cf_person_sequences"}
    prospect = world.prospect(states=("finished",))
    world.run()
    unseen = world.outreach.add_sequence("Old campaign")
    old = {"updatedAt": "2020-01-01T00:00:00Z", "stateChangedAt": world.sandbox.now()}
    world.outreach.add_state(prospect, unseen, "paused", **old)
    assert world.run().document["people"]["updated"] == 0
    repair(world)
    assert world.person()[STATE] == PAUSED
    assert world.person()["cf_person_sequences"].startswith(f"Old campaign: {PAUSED} (")


def test_a_deleted_person_is_created_again_unless_the_config_says_leave(world: Any) -> None:
    world.prospect(email="ada@example.com")
    world.run()
    world.workbooks.delete(PERSON, world.person()["id"])
    for _ in range(2):
        assert repair(world, sync={"when_deleted": "leave"}).document["people"]["recreated"] == 0
        assert world.people() == []
    first = [repair(world).document["people"]["recreated"] for _ in range(2)]
    assert (first, len(world.people())) == ([1, 0], 1)


def test_a_person_that_was_taken_out_of_the_bin_is_synced_again_and_gets_the_tasks_that_waited(world: Any) -> None:
    prospect = world.prospect(email="ada@example.com")
    world.run()
    person = world.person()["id"]
    world.workbooks.delete(PERSON, person)
    repair(world, sync={"when_deleted": "leave"})
    world.skipped_task(prospect)
    assert repair(world, sync={"when_deleted": "leave"}).exit_status == 0
    assert world.tasks() == []
    world.workbooks.restore(PERSON, person)
    world.edit_person(person, **{STATE: "Finished"})
    repair(world, sync={"when_deleted": "leave"})
    assert world.person()[STATE] == RUNNING
    assert [task["primary_contact_id"] for task in world.tasks()] == [person]


@pytest.mark.parametrize("alias", [False, True])
def test_a_merged_person_is_followed_instead_of_created_again(world: Any, *, alias: bool) -> None:
    winner = world.workbooks.add_person(name="Ada E", email="ada.e@example.org")
    world.prospect(email="ada@example.com")
    world.run()
    (loser,) = {one["id"] for one in world.people()} - {winner}
    world.workbooks.merge_people(winner, loser, alias=alias)
    world.edit_person(winner, **{"main_location[email]": "ada@example.com", STATE: None})
    ended = repair(world)
    assert ended.document["people"]["recreated"] == 0
    assert [one["id"] for one in world.people()] == [winner]
    assert world.person()[STATE] == RUNNING


def test_someone_without_a_match_is_looked_up_again(world: Any) -> None:
    world.prospect(email="ada@example.com")
    skip = {"people": {"when_missing": "skip"}}
    world.run(sync=skip)
    person = world.workbooks.add_person(name="Ada", email="ada@example.com")
    assert world.run(sync=skip).document["people"]["updated"] == 0
    repair(world, sync=skip)
    assert world.workbooks.get(PERSON, person)[STATE] == RUNNING


@pytest.mark.parametrize(("when_deleted", "live"), [("recreate", 1), ("leave", 0)])
def test_a_deleted_task_follows_when_deleted(world: Any, when_deleted: str, live: int) -> None:
    world.skipped_task(world.prospect())
    world.run()
    (task,) = world.tasks()
    world.workbooks.delete(TASK, task["id"])
    for _ in range(2):
        repair(world, sync={"when_deleted": when_deleted})
        assert len(world.tasks()) == live


def test_a_task_that_is_still_there_is_never_created_twice(world: Any) -> None:
    world.skipped_task(world.prospect())
    world.run()
    with world.state() as state, state.transaction():
        state.connection.execute("UPDATE task SET workbooks_id = 999999")
    assert repair(world).document["tasks"]["created"] == 0
    assert len(world.tasks()) == 1


def open_task_of_a_state(world: Any) -> tuple[int, int]:
    prospect = world.prospect()
    (state,) = world.states_of(prospect)
    first, second = world.outreach.add_step(1), world.outreach.add_step(1)
    task = world.skipped_task(prospect, state="incomplete", sequenceState=state, sequenceStep=first, completed=False)
    world.run()
    world.outreach.update("sequenceState", state, sequenceStep=second)
    return task, state


@pytest.mark.parametrize(("rule", "created"), [(True, 1), (False, 0)])
def test_a_vanished_task_counts_as_skipped_only_where_the_config_says_so(world: Any, rule: bool, created: int) -> None:
    task, _ = open_task_of_a_state(world)
    world.outreach.delete("task", task)
    for _ in range(2):
        repair(world, sync={"tasks": {"vanished_is_skipped": rule}})
        assert len(world.tasks()) == created


@pytest.mark.parametrize(
    "change", [{"state": "opted_out"}, {"state": "finished"}, {"repliedAt": "2026-09-01T00:00:00Z"}]
)
def test_a_task_that_went_with_its_ended_sequence_was_not_skipped(world: Any, change: dict[str, str]) -> None:
    task, state = open_task_of_a_state(world)
    world.outreach.delete("task", task)
    world.outreach.update("sequenceState", state, **change)
    repair(world, sync={"tasks": {"vanished_is_skipped": True}})
    assert world.tasks() == []


def test_a_deleted_state_gives_way_to_what_remains_and_a_dry_run_shows_it_and_changes_nothing(world: Any) -> None:
    prospect = world.prospect(states=("finished", "active"))
    world.run()
    shown = world.states_of(prospect)[1]
    world.outreach.delete("sequenceState", shown)
    before = world.writes()
    (change,) = repair(world, dry_run=True).document["changes"]
    assert change["fields"][STATE] == [RUNNING, "Finished"]
    assert (world.writes(), len(cached_states(world))) == (before, 2)
    assert repair(world).document["people"]["updated"] == 1
    assert (world.person()[STATE], shown in cached_states(world)) == ("Finished", False)


def many(world: Any, count: int = 6) -> list[int]:
    world.settings["sync"]["guard"] |= {"lost_share": 0.5, "lost_count": 3}
    prospects = [world.prospect(email=f"p{number}@example.com") for number in range(count)]
    world.run()
    world.run()
    return prospects


def hide_states(world: Any, prospects: list[int], *, hidden: bool = True) -> None:
    for prospect in prospects:
        for state in world.states_of(prospect):
            world.outreach.update("sequenceState", state, hidden=hidden)


def test_a_stopped_reconcile_keeps_nothing_that_it_found_missing(world: Any) -> None:
    prospects = many(world)
    hide_states(world, prospects)
    before, cached = world.writes(), cached_states(world)
    assert repair(world).exit_status == 6
    assert cached_states(world) == cached
    assert world.run().exit_status == 0, "the next cycle is not affected"
    hide_states(world, prospects, hidden=False)
    assert repair(world).exit_status == 0
    assert world.writes() == before


def test_tasks_that_are_all_hidden_stop_the_guard_instead_of_being_created_again(world: Any) -> None:
    for prospect in many(world):
        world.skipped_task(prospect)
    world.run()
    assert len(world.tasks()) == 6
    for task in world.tasks():
        world.workbooks.hide(task["id"], TASK)
    before = world.writes()
    assert repair(world).exit_status == 6
    assert world.writes() == before


def test_a_task_that_is_hidden_is_refused_and_made_again_only_by_somebody_who_knows_better(world: Any) -> None:
    world.skipped_task(world.prospect())
    world.run()
    (task,) = world.tasks()
    world.workbooks.hide(task["id"], TASK)
    for _ in range(2):
        assert (repair(world).exit_status, len(world.workbooks.all(TASK))) == (1, 1)
    world.workbooks.reveal(task["id"], TASK)
    assert repair(world).exit_status == 0
    world.workbooks.purge(TASK, task["id"])
    repair(world)
    with world.state() as store, store.transaction():
        (entry,) = store.outbox.failures()
        recreate_hidden(store, [entry])
    assert world.run().document["tasks"]["created"] == 1
    assert (repair(world).exit_status, len(world.tasks())) == (0, 1)


def test_a_task_that_one_look_does_not_show_is_looked_for_again_before_it_is_refused(world: Any) -> None:
    world.skipped_task(world.prospect())
    world.run()
    world.time.pass_time(86_400_000)
    (record,) = world.workbooks.table(TASK).records.values()
    record.hidden_reads = 1
    world.workbooks.table(TASK).late.add(record.id)
    assert (repair(world).exit_status, world.failures()) == (0, [])


@pytest.mark.parametrize("becomes", ["shown", "deleted", "hidden"])
def test_a_hidden_task_is_asked_for_again_when_it_is_to_be_retried(world: Any, becomes: str) -> None:
    world.skipped_task(world.prospect())
    world.run()
    (task,) = world.tasks()
    world.workbooks.hide(task["id"], TASK)
    assert [repair(world).exit_status, world.run().exit_status] == [1, 1]
    if becomes != "hidden":
        world.workbooks.reveal(task["id"], TASK)
    if becomes == "deleted":
        world.workbooks.delete(TASK, task["id"])
    with world.state() as store, store.transaction():
        store.outbox.retry([one.id for one in store.outbox.failures()])
    created = world.run().document["tasks"]["created"]
    assert (created, len(world.tasks())) == (int(becomes == "deleted"), 1)
    assert len(world.failures()) == (becomes == "hidden")


def test_people_that_stay_hidden_stop_the_guard_once(world: Any) -> None:
    many(world)
    for person in world.people():
        world.workbooks.hide(person["id"])
    assert [repair(world, allow_bulk=bulk).exit_status for bulk in (False, True, False)] == [6, 1, 1]


def test_what_workbooks_keeps_refusing_does_not_stop_the_guard(world: Any) -> None:
    prospects = many(world)
    world.sandbox.workbooks.faults.on("refuse_value", field=STATE, value="Finished")
    for prospect in prospects:
        world.outreach.update("sequenceState", world.states_of(prospect)[0], state="finished")
    world.run(allow_bulk=True)
    assert repair(world).exit_status == 1


def test_a_state_that_the_walk_misses_but_that_exists_is_not_removed(world: Any) -> None:
    prospect = world.prospect()
    world.run()
    with world.state() as state, state.transaction():  # a complete walk, early, that saw nothing
        state.progress.keep_walk(SURVEY, None, watermark=Instant(world.sandbox.clock.now() - 5_000))
    before = world.writes()
    assert repair(world).exit_status == 0
    assert (world.writes(), cached_states(world)) == (before, set(world.states_of(prospect)))


def test_an_interrupted_walk_proves_nothing_and_goes_on_where_it_stopped(world: Any) -> None:
    world.settings["outreach"]["page_size"] = 2
    prospects = many(world)
    hide_states(world, prospects[:1])
    world.sandbox.outreach.faults.on("server_error_500", after=4, kind="sequenceState")
    ended = repair(world)
    assert ended.exit_status == 4
    with world.state() as state:
        seen = state.connection.execute("SELECT count(*) FROM survey_seen").fetchone()[0]
        assert 0 < seen < 5
        assert len(cached_states(world)) == 6
    world.sandbox.outreach.faults.clear()
    world.sandbox.outreach.journal.clear()
    assert repair(world).exit_status == 0
    assert len(cached_states(world)) == 5
    with world.state() as state:
        assert state.connection.execute("SELECT count(*) FROM survey_seen").fetchone()[0] == 0


def repair_with(world: Any, fault: str, times: int | None = None) -> RunSummary:
    """Reconcile, with a fault that begins when the streams have been read."""

    def work(run: Any) -> None:
        first = run.source.all_states_url()
        run.source.all_states_url = lambda: world.sandbox.outreach.faults.on(fault, times=times) or first
        reconcile(run)

    return world.do(work)


@pytest.mark.parametrize("fault", ["cursor_refused", "cursor_loops", "next_link_missing_links"])
def test_a_walk_that_cannot_be_completed_removes_nothing(world: Any, fault: str) -> None:
    world.settings["outreach"]["page_size"] = 1
    prospects = many(world)
    hide_states(world, prospects[:1])
    assert repair_with(world, fault).exit_status == 4
    assert len(cached_states(world)) == 6
    world.sandbox.outreach.faults.clear()
    assert repair(world).exit_status == 0
    assert len(cached_states(world)) == 5


def test_a_walk_that_begins_again_forgets_what_it_saw_before(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.settings["outreach"]["page_size"] = 1
    prospects, walk = many(world), Outreach.pages

    def refused_once(source: Outreach, stream: Stream, *starts: str) -> Iterator[Page]:
        if starts != (source.all_states_url(),):
            yield from walk(source, stream, *starts)
            return
        monkeypatch.setattr(Outreach, "pages", walk)
        yield next(walk(source, stream, *starts))
        hide_states(world, prospects[:1])
        raise CursorRefusedError("the page token is refused")

    monkeypatch.setattr(Outreach, "pages", refused_once)
    assert repair(world).exit_status == 0
    assert len(cached_states(world)) == 5


@pytest.mark.parametrize("fault", ["duplicate_across_pages", "out_of_order", "short_pages", "empty_page_with_next"])
def test_what_a_strange_walk_does_not_show_is_not_removed(world: Any, fault: str) -> None:
    world.settings["outreach"]["page_size"] = 2
    many(world)
    before = world.writes()
    assert repair_with(world, fault, 1 if fault == "empty_page_with_next" else None).exit_status == 0
    assert len(cached_states(world)) == 6
    assert world.writes() == before


def test_the_quota_that_is_left_for_others_is_respected_and_the_walk_goes_on_later(world: Any) -> None:
    world.settings["outreach"] |= {"page_size": 2, "reserve": 10}
    many(world)
    world.sandbox.outreach.faults.on("quota_nearly_spent", remaining=19)
    assert repair(world).exit_status == 4
    with world.state() as state:
        walk = state.progress.of(SURVEY).walk
        assert walk is not None
        assert walk.next_url
    world.sandbox.clock.advance(3_600_000)
    assert repair(world).exit_status == 0


def test_a_signal_stops_the_walk_between_pages_and_the_next_one_goes_on(world: Any) -> None:
    world.settings["outreach"]["page_size"] = 2
    many(world)

    def stopped(run: Any) -> None:
        run.on_progress = lambda what, _count: seen.append(what) or (len(seen) > 3 and world.stop.set(15))
        reconcile(run)

    seen: list[str] = []
    ended = world.do(stopped)
    assert type(ended.error).__name__ == "InterruptedByError"
    assert len(cached_states(world)) == 6
    world.stop = type(world.stop)(world.time)
    assert repair(world).exit_status == 0


def test_a_walk_that_began_long_ago_begins_anew(world: Any) -> None:
    prospect = world.prospect(states=("active", "finished"))
    world.run()
    gone = world.states_of(prospect)[1]
    with world.state() as state, state.transaction():
        state.progress.keep_walk(SURVEY, None, watermark=Instant(0))
        state.connection.executemany(
            "INSERT INTO survey_seen VALUES (?)", [(one,) for one in world.states_of(prospect)]
        )
    world.outreach.delete("sequenceState", gone)
    repair(world)
    assert gone not in cached_states(world)


def test_without_the_stream_of_states_none_is_taken_for_missing(world: Any) -> None:
    world.prospect(email="ada@example.com")
    world.run()
    before = cached_states(world)
    for state in before:
        world.outreach.delete("sequenceState", state)
    assert repair(world, sync={"streams": ["tasks", "prospects"]}).exit_status == 0
    assert cached_states(world) == before


def test_a_user_who_sees_no_state_any_more_costs_a_sample_and_not_one_question_a_hundred(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [world.prospect(email=f"p{number}@example.com", states=("active", "finished")) for number in range(8)]
    world.settings["sync"]["guard"] |= {"lost_share": 0.5, "lost_count": 3}
    world.run()
    monkeypatch.setattr("outreach_sync.reconcile._SAMPLE", 3)
    hide_states(world, people)
    asked: list[int] = []
    by_id = Outreach.by_id

    def counting(source: Outreach, stream: Stream, ids: Sequence[int]) -> Iterator[Page]:
        asked.extend(ids)
        return by_id(source, stream, ids)

    monkeypatch.setattr(Outreach, "by_id", counting)
    before = world.writes()
    assert world.do(reconcile).exit_status == 6
    assert (len(asked), world.writes()) == (3, before)  # of sixteen
