from collections.abc import Callable, Iterator
from typing import Any

import pytest

from outreach_sync.errors import InterruptedByError
from outreach_sync.insight.explain import recreate_hidden
from outreach_sync.outreach.client import CursorRefusedError, Outreach
from outreach_sync.reconcile import reconcile
from outreach_sync.records import Page, Stream
from outreach_sync.run import RunSummary
from outreach_sync.store.progress import SURVEY
from tests.conftest import World
from tests.harness import DAY, NO_EMAIL, PERSON, RUNNING, STATE, TASK

ADA = "ada@example.com"
PAUSED = "Active \u2013 Paused"
LEAVE: dict[str, Any] = {"when_deleted": "leave"}


def cached_states(world: World) -> set[int]:
    return {one for (one,) in world.sql("SELECT id FROM sequence_state")}


def seen(world: World) -> int:
    return len(world.sql("SELECT * FROM survey_seen"))


@pytest.mark.parametrize("how", [None, "cut", "round"])
def test_a_time_that_workbooks_keeps_in_its_own_way_is_not_written_again(world: World, how: str | None) -> None:
    fault, options = ("datetime_without_seconds", {"how": how}) if how else ("custom_datetime_is_var", {})
    world.sandbox.workbooks.faults.on(fault, **options)
    for second in (1, 29, 31, 59):
        at = f"2026-09-01T10:00:{second:02d}Z"
        world.outreach.add_state(world.prospect(states=()), 1, "active", stateChangedAt=at)
    world.run()
    before = world.writes()
    for _ in range(2):
        ended = world.repair()
        assert (ended.exit_status, ended.people.updated, world.writes()) == (0, 0, before)


def test_what_was_edited_by_hand_is_put_right_but_an_email_flag_that_was_set_is_left_alone(world: World) -> None:
    prospect = world.prospect(states=("active", "finished"))
    world.run()
    person, before = world.person()["id"], world.writes()
    world.edit_person(person, **{NO_EMAIL: True})
    ended = world.repair()
    assert (ended.exit_status, ended.people.updated, ended.people.unchanged, world.writes()) == (0, 0, 1, before)
    world.move(prospect, "opted_out")
    world.run()
    world.edit_person(person, **{NO_EMAIL: False, STATE: "Finished"})
    world.repair()
    assert (world.person()[NO_EMAIL], world.person()[STATE]) == (True, "Opted Out")


def test_a_state_that_no_cycle_saw_is_stored_shown_and_listed_by_the_name_of_its_sequence(world: World) -> None:
    world.settings["workbooks"]["fields"] = {"sequences": "cf_person_sequences"}
    prospect = world.prospect(states=("finished",))
    world.run()
    campaign = world.outreach.add_sequence("Old campaign")
    world.outreach.add_state(prospect, campaign, "paused", updatedAt=0, stateChangedAt=world.sandbox.now())
    assert world.run().people.updated == 0
    for name in ("Old campaign", "Renamed, and nobody moves in it"):
        world.outreach.update("sequence", campaign, name=name)
        world.repair()
        assert world.person()["cf_person_sequences"].startswith(f"{name}: {PAUSED} (")
    assert world.person()[STATE] == PAUSED


@pytest.mark.parametrize("kind", [PERSON, TASK])
def test_what_was_deleted_is_created_again_once_unless_the_config_says_leave(world: World, kind: str) -> None:
    world.skipped_task(world.prospect(email=ADA))
    world.run()
    (record,) = world.workbooks.all(kind)
    world.workbooks.delete(kind, record["id"])
    for word, live in (("leave", 0), ("leave", 0), ("recreate", 1), ("recreate", 1)):
        assert (world.repair(sync={"when_deleted": word}).exit_status, len(world.workbooks.all(kind))) == (0, live)


def test_a_person_that_was_taken_out_of_the_bin_is_synced_again_and_gets_the_tasks_that_waited(world: World) -> None:
    prospect = world.prospect(email=ADA)
    world.run()
    person = world.person()["id"]
    world.workbooks.delete(PERSON, person)
    world.repair(sync=LEAVE)
    world.skipped_task(prospect)
    assert (world.repair(sync=LEAVE).exit_status, world.tasks()) == (0, [])
    world.workbooks.restore(PERSON, person)
    world.edit_person(person, **{STATE: "Finished"})
    world.repair(sync=LEAVE)
    assert (world.person()[STATE], [task["primary_contact_id"] for task in world.tasks()]) == (RUNNING, [person])


@pytest.mark.parametrize("alias", [False, True])
def test_a_merged_person_is_followed_instead_of_created_again(world: World, *, alias: bool) -> None:
    winner = world.workbooks.add_person(name="Ada E", email="ada.e@example.org")
    world.prospect(email=ADA)
    world.run()
    (loser,) = {one["id"] for one in world.people()} - {winner}
    world.workbooks.merge_people(winner, loser, alias=alias)
    world.edit_person(winner, **{"main_location[email]": ADA, STATE: None})
    assert world.repair().people.recreated == 0
    assert (world.person()["id"], world.person()[STATE]) == (winner, RUNNING)


def test_someone_without_a_match_is_looked_up_again(world: World) -> None:
    skip = {"people": {"when_missing": "skip"}}
    world.prospect(email=ADA)
    world.run(sync=skip)
    world.workbooks.add_person(name="Ada", email=ADA)
    assert world.run(sync=skip).people.updated == 0
    world.repair(sync=skip)
    assert world.person()[STATE] == RUNNING


def test_a_task_that_is_still_there_is_never_created_twice(world: World) -> None:
    world.skipped_task(world.prospect())
    world.run()
    world.sql("UPDATE task SET workbooks_id = 999999")
    assert (world.repair().tasks.created, len(world.tasks())) == (0, 1)


@pytest.mark.parametrize(
    ("rule", "gone", "change", "made"),
    [
        (True, True, {}, 1),
        (True, False, {}, 0),
        (False, True, {}, 0),
        (True, True, {"state": "finished"}, 0),
        (True, True, {"repliedAt": "2026-09-01T00:00:00Z"}, 0),
        (True, True, {"sequenceStep": 1}, 0),
        (True, True, {"hidden": True}, 0),
    ],
)
def test_a_vanished_task_counts_as_skipped_where_the_config_says_so_and_its_sequence_went_on(
    world: World, rule: bool, gone: bool, change: dict[str, Any], made: int
) -> None:
    prospect = world.prospect()
    (state,) = world.states_of(prospect)
    first, second = world.outreach.add_step(1), world.outreach.add_step(1)
    task = world.skipped_task(prospect, state="incomplete", sequenceState=state, sequenceStep=first, completed=False)
    world.run()
    steps = {"tasks": {"vanished_is_skipped": rule}}
    world.outreach.update("sequenceState", state, sequenceStep=second)
    world.run(sync=steps)
    world.outreach.update("sequenceState", state, **change)
    if gone:
        world.outreach.delete("task", task)
    for _ in range(2):
        world.repair(sync=steps)
        assert len(world.tasks()) == made


def test_a_deleted_state_gives_way_to_what_remains_and_a_dry_run_shows_it_and_changes_nothing(world: World) -> None:
    prospect = world.prospect(states=("finished", "active"))
    world.run()
    finished, shown = world.states_of(prospect)
    world.outreach.delete("sequenceState", shown)
    before = world.writes()
    (change,) = world.repair(dry_run=True).document["changes"]
    assert change["fields"][STATE] == [RUNNING, "Finished"]
    assert (world.writes(), cached_states(world)) == (before, {finished, shown})
    assert world.repair().people.updated == 1
    assert (world.person()[STATE], cached_states(world)) == ("Finished", {finished})


# -- the guard, and what is not to be seen


def many(world: World, count: int = 6, **settings: int) -> list[int]:
    """Bring so many into step, with so low a guard that they are too many, and such settings of `outreach`."""
    world.settings["sync"]["guard"] |= {"lost_share": 0.5, "lost_count": 3}
    world.settings["outreach"] |= settings
    prospects = [world.prospect(email=f"p{number}@example.com") for number in range(count)]
    world.run()
    world.run()
    return prospects


def hide_states(world: World, prospects: list[int], *, hidden: bool = True) -> None:
    for state in (one for prospect in prospects for one in world.states_of(prospect)):
        world.outreach.update("sequenceState", state, hidden=hidden)


def test_a_stopped_reconcile_keeps_nothing_that_it_found_missing_and_asks_for_a_sample_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    prospects = many(world)
    hide_states(world, prospects)
    before, cached = world.writes() + 1, cached_states(world)
    world.outreach.update("prospect", prospects[0], optedOut=True)  # which no guard keeps back
    monkeypatch.setattr("outreach_sync.reconcile._SAMPLE", 3)
    world.sandbox.outreach.journal.clear()
    assert (world.repair().exit_status, cached_states(world), world.writes()) == (6, cached, before)
    queries = [dict(one.query) for one in world.sandbox.outreach.journal.entries()]
    assert [one["filter[id]"].count(",") for one in queries if "filter[id]" in one] == [2], "of six"
    assert world.run().exit_status == 0, "the next cycle is not affected"
    hide_states(world, prospects, hidden=False)
    assert (world.repair().exit_status, world.writes()) == (0, before)


def test_tasks_that_are_all_hidden_stop_the_guard_instead_of_being_created_again(world: World) -> None:
    prospects = many(world)
    tasks = [world.skipped_task(prospect) for prospect in prospects]
    world.run()
    before = world.writes()
    for task in world.tasks():
        world.workbooks.hide(task["id"], TASK)
    world.move(prospects[0], "opted_out")
    world.move(prospects[1], "finished")
    assert (len(tasks), world.repair().exit_status, world.writes()) == (6, 6, before + 1)
    assert [one[STATE] for one in world.people()] == ["Opted Out", *[RUNNING] * 5]


def test_people_that_stay_hidden_stop_the_guard_once(world: World) -> None:
    many(world)
    for person in world.people():
        world.workbooks.hide(person["id"])
    assert [world.repair(allow_bulk=bulk).exit_status for bulk in (False, True, False)] == [6, 1, 1]


@pytest.fixture
def hidden(world: World) -> int:
    """A Task that was made and is hidden since."""
    world.skipped_task(world.prospect())
    world.run()
    task: int = world.tasks()[0]["id"]
    world.workbooks.hide(task, TASK)
    for _ in range(2):
        assert (world.repair().exit_status, len(world.workbooks.all(TASK))) == (1, 1)
    return task


def test_a_task_that_is_hidden_is_refused_and_made_again_only_where_somebody_says_so(world: World, hidden: int) -> None:
    world.workbooks.reveal(hidden, TASK)
    assert world.repair().exit_status == 0
    world.workbooks.purge(TASK, hidden)
    world.repair()
    with world.state() as store, store.transaction():
        recreate_hidden(store, store.outbox.failures())
    assert world.run().tasks.created == 1
    assert (world.repair().exit_status, len(world.tasks())) == (0, 1)


@pytest.mark.parametrize("becomes", ["shown", "deleted", "hidden"])
def test_a_hidden_task_is_asked_for_again_when_it_is_to_be_retried(world: World, hidden: int, becomes: str) -> None:
    assert world.run().exit_status == 1
    if becomes != "hidden":
        world.workbooks.reveal(hidden, TASK)
    if becomes == "deleted":
        world.workbooks.delete(TASK, hidden)
    world.retry()
    assert (world.run().tasks.created, len(world.tasks())) == (becomes == "deleted", 1)
    assert len(world.failures()) == (becomes == "hidden")


def test_a_task_that_one_look_does_not_show_is_looked_for_again_before_it_is_refused(world: World) -> None:
    world.skipped_task(world.prospect())
    world.run()
    world.time.pass_time(DAY)
    (record,) = world.workbooks.table(TASK).records.values()
    record.hidden_reads = 1
    world.workbooks.table(TASK).late.add(record.id)
    assert (world.repair().exit_status, world.failures()) == (0, [])


# -- the walk through all states


def test_a_state_that_the_walk_misses_but_that_exists_is_not_removed(world: World) -> None:
    prospect = world.prospect()
    world.run()
    with world.state() as state, state.transaction():  # a complete walk, early, that saw nothing
        state.progress.keep_walk(SURVEY, None, watermark=world.sandbox.clock.now() - 5_000)
    before = world.writes()
    assert world.repair().exit_status == 0
    assert (world.writes(), cached_states(world)) == (before, set(world.states_of(prospect)))


@pytest.mark.parametrize(
    ("fault", "options"),
    [("server_error_500", {"after": 4, "kind": "sequenceState"}), ("quota_nearly_spent", {"remaining": 19})],
)
def test_an_interrupted_walk_proves_nothing_and_goes_on_where_it_stopped(
    world: World, fault: str, options: dict[str, Any]
) -> None:
    hide_states(world, many(world, page_size=2, reserve=10)[:1])
    world.sandbox.outreach.faults.on(fault, **options)
    assert world.repair().exit_status == 4
    assert (0 < seen(world) < 5, len(cached_states(world))) == (True, 6)
    world.sandbox.outreach.faults.clear()
    world.sandbox.clock.advance(3_600_000)
    assert (world.repair().exit_status, len(cached_states(world)), seen(world)) == (0, 5, 0)


def repair_with(world: World, begin: Callable[[Any], None]) -> RunSummary:
    """Reconcile, and do something when the streams have been read and the walk begins."""

    def work(run: Any) -> None:
        first = run.source.all_states_url()
        run.source.all_states_url = lambda: begin(run) or first
        reconcile(run)

    return world.do(work)


def test_a_signal_stops_the_walk_between_pages_and_the_next_one_goes_on(world: World) -> None:
    hide_states(world, many(world, page_size=2)[:1])
    stopped = repair_with(world, lambda run: setattr(run, "on_progress", lambda *_: world.stop.set(15)))
    assert (type(stopped.error), seen(world), len(cached_states(world))) == (InterruptedByError, 2, 6)
    world.stop = type(world.stop)(world.time)
    assert (world.repair().exit_status, len(cached_states(world))) == (0, 5)


def test_a_log_in_that_dies_in_the_midst_keeps_back_no_opt_out(world: World) -> None:
    world.move(many(world, 1)[0], "opted_out")
    ended = repair_with(world, lambda _: world.sandbox.outreach.tokens.revoke_all())
    assert (ended.exit_status, world.person()[STATE]) == (3, "Opted Out")


@pytest.mark.parametrize("fault", ["cursor_refused", "cursor_loops", "next_link_missing_links"])
def test_a_walk_that_cannot_be_completed_removes_nothing(world: World, fault: str) -> None:
    hide_states(world, many(world, page_size=1)[:1])
    assert repair_with(world, lambda _: world.sandbox.outreach.faults.on(fault)).exit_status == 4
    assert len(cached_states(world)) == 6
    world.sandbox.outreach.faults.clear()
    assert (world.repair().exit_status, len(cached_states(world))) == (0, 5)


@pytest.mark.parametrize("fault", ["duplicate_across_pages", "out_of_order", "short_pages", "empty_page_with_next"])
def test_what_a_strange_walk_does_not_show_is_not_removed(world: World, fault: str) -> None:
    many(world, page_size=2)
    before, times = world.writes(), 1 if fault == "empty_page_with_next" else None
    assert repair_with(world, lambda _: world.sandbox.outreach.faults.on(fault, times=times)).exit_status == 0
    assert (len(cached_states(world)), world.writes()) == (6, before)


def test_a_walk_that_begins_again_forgets_what_it_saw_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    prospects, walk = many(world, page_size=1), Outreach.pages

    def refused_once(source: Outreach, stream: Stream, *starts: str) -> Iterator[Page]:
        if starts != (source.all_states_url(),):
            yield from walk(source, stream, *starts)
            return
        monkeypatch.setattr(Outreach, "pages", walk)
        yield next(walk(source, stream, *starts))
        hide_states(world, prospects[:1])
        raise CursorRefusedError("the page token is refused")

    monkeypatch.setattr(Outreach, "pages", refused_once)
    assert (world.repair().exit_status, len(cached_states(world))) == (0, 5)


def test_a_walk_that_began_long_ago_begins_anew(world: World) -> None:
    kept, gone = world.states_of(world.prospect(states=("active", "finished")))
    world.run()
    with world.state() as state, state.transaction():
        state.progress.keep_walk(SURVEY, None, watermark=0)
        state.connection.execute("INSERT INTO survey_seen VALUES (?), (?)", (kept, gone))
    world.outreach.keep_events = False
    world.outreach.delete("sequenceState", gone)
    world.repair()
    assert cached_states(world) == {kept}


def test_without_the_stream_of_states_none_is_taken_for_missing(world: World) -> None:
    (state,) = world.states_of(world.prospect(email=ADA))
    world.run()
    world.outreach.delete("sequenceState", state)
    assert world.repair(sync={"streams": ["tasks", "prospects"]}).exit_status == 0
    assert cached_states(world) == {state}
