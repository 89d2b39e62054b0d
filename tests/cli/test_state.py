import errno
import io
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from outreach_sync.config import find_config
from outreach_sync.errors import ConfigError
from outreach_sync.sandbox import Sandbox
from outreach_sync.store import run_lock
from outreach_sync.store.backup import copies_of
from tests.harness import PERSON, CommandLine


@pytest.fixture
def run(world: Any, command: CommandLine) -> CommandLine:
    """Run one command line with the config of `world`."""
    world.config()
    return command


def test_after_a_restore_nothing_is_lost_and_nothing_doubled(world: Any, run: Any) -> None:
    first = world.prospect(email="ada@example.com")
    world.skipped_task(first)
    world.run()
    copy = world.directory / "copy.db"
    assert run("state", "backup", str(copy)).status == 0
    second = world.prospect(email="bo@example.com", states=("paused",))
    world.skipped_task(second)
    world.move(first, "finished")
    world.run()
    assert (len(world.people()), len(world.tasks())) == (2, 2)
    world.move(second, "opted_out")
    before = world.writes()
    assert run("state", "restore", str(copy)).status == 0
    ended = world.run()
    assert (ended.exit_status, ended.document["people"]["created"], ended.document["tasks"]["created"]) == (0, 0, 0)
    assert world.writes() == before + 1, "the opt-out, which no run had written"
    assert (len(world.people()), len(world.tasks())) == (2, 2)
    assert world.people()[1]["no_email_soliciting"] is True
    assert world.run().document["people"]["updated"] == 0


def test_a_copy_with_creations_in_its_queue_does_not_create_them_twice(world: Any, run: Any) -> None:
    world.sandbox.workbooks.faults.on("refuse_all")
    world.skipped_task(world.prospect(email="ada@example.com"))
    world.run()
    copy = str(world.directory / "copy.db")
    run("state", "backup", copy)
    world.sandbox.workbooks.faults.clear()
    for restored in (False, True):
        if restored:
            assert run("state", "restore", copy).status == 0
        assert run("failures", "retry").status == 0
        assert world.run().exit_status == 0
        assert (len(world.people()), len(world.tasks())) == (1, 1)


def test_a_whole_state_is_verified_and_put_beside_itself_and_a_damaged_one_or_none_ends_with_2(
    world: Any, run: Any
) -> None:
    assert run("state", "verify").status == 2, "there is none yet"
    world.run()
    before = copies_of(world.state_path)
    assert run("state", "backup").status == 0
    (copy,) = set(copies_of(world.state_path)) - set(before)
    with run_lock(world.state_path, "run"):
        assert run("state", "restore", str(copy)).status == 5
    ran = run("state", "verify")
    assert (ran.status, "is whole" in ran.out) == (0, True)
    with world.state() as state, state.transaction():
        state.connection.execute("INSERT INTO changed VALUES (77, 0)")
    ran = run("state", "verify")
    assert (ran.status, "state restore" in ran.err) == (2, True)


def test_the_first_run_of_a_day_makes_a_copy_where_there_is_room_and_a_dry_run_none(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.prospect()
    world.run()  # there is nothing to copy yet
    world.run(dry_run=True)
    full = shutil.disk_usage(world.directory)._replace(free=0)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda _path: full)
        assert (world.run().exit_status, copies_of(world.state_path)) == (0, [])
    world.run()
    world.run()
    assert len(copies_of(world.state_path)) == 1


# -- forget


def test_it_shows_whom_and_says_what_it_removed(world: Any, run: Any) -> None:
    prospect = world.prospect(email="ada@example.com")
    world.run()
    person = world.person()["id"]
    ran = run("forget", "--prospect", str(prospect), "--dry-run")
    assert (ran.status, "Ada Example" in ran.out) == (0, True)
    with world.state() as state:
        assert prospect in state.cache.prospects([prospect])
    ran = run("forget", "--person", str(person), "--yes")
    stored = r"^Stored here: 1 sequence state, 0 tasks, 0 entries of the queue, \d+ lines of"
    assert (ran.status, bool(re.search(stored, ran.out, re.MULTILINE))) == (0, True)
    for said in (": Ada Example, ada@example.com", ": erased."):
        assert f"prospect {prospect}, Person {person}{said}" in ran.out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), 2, "Give either --prospect ID or --person ID."),
        (("--prospect", "1", "--person", "2"), 2, "Give either --prospect ID or --person ID."),
        (("--prospect", "424242", "--yes"), 2, "prospect 424242 is not known here"),
        (("--prospect", "424242", "--yes", "--unknown"), 0, "prospect 424242: was not known here; noted all the same."),
    ],
)
def test_one_id_is_wanted_which_is_a_mistake_where_nobody_has_it_unless_it_is_said_to_be_unknown(
    run: Any, arguments: tuple[str, ...], status: int, said: str
) -> None:
    ran = run("forget", *arguments)
    assert (ran.status, said in ran.everything) == (status, True)


@pytest.mark.parametrize(
    ("there", "answer", "status", "left"), [(True, "y", 0, False), (True, "n", 2, True), (False, "y", 2, True)]
)
def test_it_asks_on_a_terminal_and_off_one_wants_to_be_told_that_somebody_is_sure(
    world: Any, run: Any, monkeypatch: pytest.MonkeyPatch, answer: str, status: int, *, there: bool, left: bool
) -> None:
    prospect = world.prospect(email="ada@example.com")
    world.run()
    typed = io.StringIO(f"{answer}\n")
    typed.isatty = lambda: there  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", typed)
    assert run("forget", "--prospect", str(prospect)).status == status
    with world.state() as state:
        assert (prospect in state.cache.prospects([prospect])) is left


# -- rebind: the move of a state to another Outreach or Workbooks


KEPT = {"run", "fact", "forgotten_address", "sqlite_sequence", "_sqlite_migrations"}
OF_OUTREACH = {"prospect", "sequence_state", "sequence", "changed", "progress"}


@pytest.fixture
def other() -> Iterator[Sandbox]:
    """Services with an example of their own, in which the same ids are other people."""
    with Sandbox() as sandbox:
        sandbox.load_example()
        for one in sandbox.outreach.store.all("prospect"):
            sandbox.outreach.store.update("prospect", one.id, emails=[f"other{one.id}@example.org"], externalId=None)
        for person in sandbox.workbooks.store.all(PERSON):
            address = f"other{person['id']}@example.org"
            values = {"main_location[email]": address, "created_through_reference": "by hand"}
            sandbox.workbooks.store.update(PERSON, person["id"], **values, cf_person_outreach_id="")
        yield sandbox


def _tables(setup: Any) -> dict[str, int]:
    with closing(sqlite3.connect(setup.state_path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}  # noqa: S608


@pytest.mark.parametrize("section", ["workbooks", "outreach"])
def test_nothing_stays_that_belongs_to_the_account_left_behind(setup: Any, other: Sandbox, section: str) -> None:
    setup("run", "-q")
    setup.settings[section] |= other.config(setup.state_path)[section]
    setup.write()
    refused = setup("run")
    assert (refused.status, "state rebind" in refused.err) == (2, True)
    checks = {one["name"]: one["status"] for one in setup.document("check")["checks"]}
    assert checks["accounts" if section == "workbooks" else "outreach login"] == "fail"
    for change in (["forget", "--prospect", "1", "--yes"], ["failures", "retry"], ["failures", "discard", "1"]):
        assert (setup(*change).status, _tables(setup)["forgotten_address"]) == (2, 0), change
    if section == "workbooks":
        ran = setup("provision")
        assert (ran.status, "belongs to another Workbooks" in ran.err) == (2, True)
    asked = setup("state", "rebind")
    assert (asked.status, "--yes" in asked.err, _tables(setup)["person"] > 0) == (2, True, True)
    done = setup("state", "rebind", "--yes")
    assert (done.status, f"belongs to another {section.capitalize()}" in done.out) == (0, True), done.err
    left = {name for name, rows in _tables(setup).items() if rows}
    assert left <= KEPT | (OF_OUTREACH if section == "workbooks" else set())
    with closing(sqlite3.connect(setup.state_path)) as connection:
        assert connection.execute("SELECT count(*) FROM prospect WHERE person_id IS NOT NULL").fetchone()[0] == 0
    assert setup("run", "--allow-bulk", "-q").status in {0, 1}
    assert {one["name"]: one["status"] for one in setup.document("check")["checks"]}["accounts"] == "ok"


def test_a_state_that_belongs_there_is_left_as_it_is_and_knows_its_accounts_without_their_secrets(setup: Any) -> None:
    setup("run", "-q")
    before = _tables(setup)
    done = setup("state", "rebind")
    assert (done.status, "nothing had to be done" in done.out, _tables(setup)) == (0, True, before)
    with closing(sqlite3.connect(setup.state_path)) as connection:
        facts = dict(connection.execute("SELECT name, value FROM fact"))
    known = json.loads(facts["identity_workbooks"])
    assert (known["address"], known["database"]) == (setup.sandbox.workbooks.url, 3)
    for secret in (setup.settings["workbooks"]["api_key"], setup.settings["outreach"]["client_secret"]):
        assert secret not in json.dumps(facts)


# -- a directory that may not be entered; the tests may run as root, whom nothing keeps out: so `stat` says it


@pytest.fixture
def close(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Have nobody see what is in a directory."""
    stat = Path.stat

    def close(directory: Path) -> None:
        def refuse(path: Path, **options: Any) -> os.stat_result:
            if directory in path.absolute().parents:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return stat(path, **options)

        monkeypatch.setattr(Path, "stat", refuse)

    return close


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",), ("failures", "list"), ("failures", "retry"), ("run", "--dry-run"),
        ("state", "backup"), ("explain", "--prospect", "1"), ("report", "--out", "-"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_state_of_another_program_or_in_a_directory_that_cannot_be_entered_is_said_and_check_goes_on(
    arguments: tuple[str, ...], empty: Any, close: Callable[[Path], None]
) -> None:
    empty.state_path.parent.mkdir()
    with closing(sqlite3.connect(empty.state_path)) as connection:
        connection.execute("CREATE TABLE precious (id)")
    for words in (arguments, ("check",), ("run",)):
        ran = empty(*words)
        assert (ran.status, "not one of outreach-sync" in ran.everything) == (2, True)
    close(empty.state_path.parent)
    ran = empty(*arguments)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "cannot be used: Permission denied" in ran.err
    ran = empty("check")
    assert (ran.status, "FAIL  state: " in ran.out, "a bug" in ran.err) == (2, True, False)
    assert ("cannot be used: Permission denied" in ran.out, "ok    workbooks labels" in ran.out) == (True, True)


@pytest.mark.parametrize("words", [("state", "backup"), ("init", "--defaults")], ids=" ".join)
def test_nothing_is_written_where_nobody_can_say_whether_it_is_there(
    words: tuple[str, ...], empty: Any, tmp_path: Path, close: Callable[[Path], None]
) -> None:
    empty("run")
    (tmp_path / "vault").mkdir()
    close(tmp_path / "vault")
    ran = empty(*words, str(tmp_path / "vault" / "new"))
    assert (ran.status, "new cannot be written: Permission denied" in ran.err) == (2, True)


def test_a_config_that_cannot_be_looked_at_is_said_unless_the_system_has_one_beside_a_closed_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, close: Callable[[Path], None]
) -> None:
    """Cron jobs often keep the HOME of root."""
    (tmp_path / "home").mkdir()
    system = tmp_path / "system.yaml"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("outreach_sync.config._SYSTEM", system)
    close(tmp_path / "home")
    for named in (None, tmp_path / "home" / "config.yaml"):
        with pytest.raises(ConfigError, match="cannot be used: Permission denied"):
            find_config(named)
    system.touch()
    assert find_config() == system
