import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from outreach_sync.errors import StateError
from outreach_sync.pull import pull
from outreach_sync.reconcile import reconcile
from outreach_sync.records import Refused, Stream
from outreach_sync.store.backup import back_up, back_up_elsewhere, copies_of, forget, problems_of
from outreach_sync.store.erasure import forgotten_ids, look_up

PLANTED = ("Zephyrine", "Quillfeather", "zephyrine.q@planted.example", "zq@home.example", "xyzzy-note-of-hers")


def plant(world: Any, *, email: str = PLANTED[2], **attributes: Any) -> int:
    """Add somebody whose every datum can be found again, with a skipped task."""
    values = {"firstName": PLANTED[0], "lastName": PLANTED[1], "emails": [email, PLANTED[3]], **attributes}
    prospect = world.prospect(**values)
    world.skipped_task(prospect, note=f"{PLANTED[4]} {'long ' * 2000}")
    return int(prospect)


@pytest.fixture
def planted(world: Any) -> int:
    """Return the prospect whose every datum can be found again, as a run has read it."""
    prospect = plant(world)
    world.run()
    return prospect


def erase(world: Any, **whom: int) -> Any:
    with world.state() as state:
        return forget(state, look_up(state.connection, **whom))


def forgotten(world: Any) -> set[int]:
    with world.state() as state:
        return set(forgotten_ids(state.connection, "prospect"))


def found_in(directory: Path) -> set[tuple[str, str]]:
    """Return (file, planted text) for each that any file below a directory still holds."""
    files = [(path.name, path.read_bytes()) for path in directory.rglob("*") if path.is_file()]
    texts = [(text, form.encode()) for text in PLANTED for form in (text, text.casefold())]
    return {(name, text) for name, content in files for text, form in texts if form in content}


def test_no_byte_of_theirs_stays_in_the_state_its_log_or_its_copies(world: Any, planted: int) -> None:
    other = world.prospect(email="ada@example.com")
    world.run()
    with world.state() as state:
        back_up(state, world.state_path.with_name("state.db.backup-2026-01-01"))
        back_up_elsewhere(state, world.directory / "elsewhere.db")
        with state.transaction():
            state.history.finish(state.history.runs(1)[0].id, 1, 1, "partial", {"error": f"{PLANTED[0]} is refused"})
    assert {name for name, _ in found_in(world.directory)} >= {"state.db", "elsewhere.db", "state.db.backup-2026-01-01"}
    erased = erase(world, prospect_id=planted)
    assert found_in(world.directory) == set()
    assert (erased.known.known, erased.known.names) == (True, ("Zephyrine Quillfeather",))
    assert len(erased.copies) == 2 + len(list(world.state_path.parent.glob("*.backup-20??-??-??"))) - 1
    with world.state() as state:
        assert set(state.cache.prospects([planted, other])) == {other}
        assert "[erased] is refused" in state.history.runs(1)[0].summary["error"]
    assert problems_of(world.state_path) == []


def test_while_they_wait_in_the_queue_nothing_of_theirs_stays_there(world: Any) -> None:
    world.sandbox.workbooks.faults.on("refuse_all")
    prospect = plant(world)
    world.run()
    erase(world, prospect_id=prospect)
    assert (found_in(world.directory), world.failures()) == (set(), [])


@pytest.mark.parametrize("again", ["run", "full", "reconcile"])
def test_whoever_was_forgotten_is_never_stored_or_created_again(world: Any, again: str) -> None:
    erase(world, prospect_id=plant(world))
    for _ in range(2):
        if again == "reconcile":
            world.do(reconcile)
        else:
            world.run(full=again == "full")
    assert (world.people(), world.tasks(), found_in(world.directory)) == ([], [], set())


@pytest.mark.parametrize("named", ["prospect_id", "person_id"])
def test_all_prospects_of_one_person_go_together_and_are_written_no_more(world: Any, named: str) -> None:
    person = world.workbooks.add_person(name="Z", email=PLANTED[2])
    first, second = plant(world), plant(world)
    world.run()
    erased = erase(world, **{named: second if named == "prospect_id" else person})
    assert (erased.known.whom.prospects, erased.known.whom.people) == ({first, second}, {person})
    before = world.writes()
    world.move(first, "finished")
    world.run()
    world.do(reconcile)
    assert (world.writes(), found_in(world.directory)) == (before, set())


def test_a_new_prospect_of_a_forgotten_person_is_forgotten_when_it_is_recognised(world: Any) -> None:
    erase(world, person_id=world.workbooks.add_person(name="Z", email=PLANTED[2]))
    prospect, before = plant(world), world.writes()
    world.run()
    with world.state() as state:
        assert state.cache.prospects([prospect]) == {}
    assert (forgotten(world), world.writes()) == ({prospect}, before)


def test_forgetting_again_does_no_harm_and_an_unknown_id_is_noted_all_the_same(world: Any, planted: int) -> None:
    known = [erase(world, prospect_id=one).known.known for one in (planted, planted, 424242)]
    assert (known, 424242 in forgotten(world)) == ([True, False, False], True)


def test_nothing_of_an_address_is_kept_but_a_hash_that_needs_the_key_of_the_file(world: Any, planted: int) -> None:
    erase(world, prospect_id=planted)
    kept = {row[0] for row in world.sql("SELECT hash FROM forgotten_address")}
    assert len(kept) == 2
    assert not kept & {hashlib.sha256(address.encode()).hexdigest() for address in PLANTED}


def test_a_copy_that_cannot_be_rewritten_is_removed_and_one_that_was_moved_is_named(world: Any, planted: int) -> None:
    damaged = world.state_path.with_name("state.db.backup-2020-01-01")
    damaged.write_bytes(b"SQLite format 3\0" + PLANTED[0].encode())
    world.state_path.with_name("state.db.backup-2020-01-02.partial").write_text(PLANTED[0])
    moved = world.directory / "moved.db"
    with world.state() as state:
        back_up_elsewhere(state, moved)
    moved.unlink()
    erased = erase(world, prospect_id=planted)
    assert (erased.removed, erased.unreachable) == ((damaged,), (moved,))
    assert found_in(world.directory) == set()
    assert damaged not in copies_of(world.state_path)


def test_what_makes_no_sense_of_theirs_is_not_kept_as_a_refusal(world: Any) -> None:
    prospect = world.prospect(email="ada@example.com")
    erase(world, prospect_id=prospect)

    def pull_nonsense(run: Any) -> None:
        pages = run.source.pages
        refused = (Refused(Stream.TASKS, 5, prospect, "task 5: no sense"),)
        run.source.pages = lambda stream, url: (page._replace(refused=refused) for page in pages(stream, url))
        pull(run, Stream.TASKS)

    world.do(pull_nonsense)
    assert world.failures() == []


def test_a_program_that_keeps_reading_the_state_is_named(world: Any, planted: int) -> None:
    with world.state() as reader, world.state() as state:
        reader.connection.execute("BEGIN")
        reader.connection.execute("SELECT * FROM prospect").fetchone()
        state.connection.execute("PRAGMA busy_timeout = 50")
        with pytest.raises(StateError, match="another program reads"):
            forget(state, look_up(state.connection, prospect_id=planted))
        reader.connection.execute("COMMIT")
    erase(world, prospect_id=planted)
    assert found_in(world.directory) == set()
    assert not os.access(world.state_path.with_name("state.db-wal"), os.R_OK)


@pytest.mark.parametrize("seen", ["after", "before"])
def test_the_same_human_under_a_new_id_is_not_created_again(world: Any, seen: str) -> None:
    skip = {"people": {"when_missing": "skip"}}
    prospect = plant(world)
    if seen == "before":
        plant(world, email=PLANTED[2].upper())
    world.run(sync=skip)
    if seen == "before":  # both would have been one Person: forget only the first, as if the second came in between
        with world.state() as state, state.transaction():
            state.outbox.drop([prospect, prospect + 1], "person")
    erase(world, prospect_id=prospect)
    if seen == "after":
        plant(world, email=f" {PLANTED[2].upper()}")
    world.run(full=True)
    assert (world.people(), world.tasks(), found_in(world.directory)) == ([], [], set())
    assert prospect + 1 in forgotten(world)
