"""`state rebind`: the move of a state to another Outreach or Workbooks."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

PERSON = "Private::Crm::Person"
KEPT = {"run", "fact", "forgotten_address", "sqlite_sequence", "sqlite_stat1", "_sqlite_migrations"}
OF_OUTREACH = {"prospect", "sequence_state", "sequence", "changed", "progress"}


@pytest.fixture
def other() -> Iterator[Sandbox]:
    """Services with an example of their own, in which the same ids are other people."""
    with Sandbox() as sandbox:
        sandbox.load_example()
        for prospect in sandbox.outreach.store.all("prospect"):
            sandbox.outreach.store.update(
                "prospect", prospect.id, emails=[f"other{prospect.id}@example.org"], externalId=None
            )
        for person in sandbox.workbooks.store.all(PERSON):
            address = f"other{person['id']}@example.org"
            values = {"main_location[email]": address, "created_through_reference": "by hand"}
            sandbox.workbooks.store.update(PERSON, person["id"], **values, cf_person_outreach_id="")
        yield sandbox


def _point_at(setup: Any, sandbox: Sandbox, section: str) -> None:
    fields = setup.settings["workbooks"]["fields"]
    setup.settings[section] = sandbox.config(setup.state_path)[section]
    setup.settings["workbooks"]["fields"] = fields
    setup.write()


def _tables(setup: Any) -> dict[str, int]:
    with closing(sqlite3.connect(setup.state_path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}  # noqa: S608


@pytest.mark.parametrize("section", ["workbooks", "outreach"])
def test_nothing_stays_that_belongs_to_the_account_left_behind(setup: Any, other: Sandbox, section: str) -> None:
    setup("run", "-q")
    _point_at(setup, other, section)
    refused = setup("run")
    assert (refused.status, "state rebind" in refused.err) == (2, True)
    checks = {one["name"]: one for one in setup("check", "--json").document["checks"]}
    assert checks["accounts" if section == "workbooks" else "outreach login"]["status"] == "fail"
    for change in (["forget", "--prospect", "1", "--yes"], ["failures", "retry"], ["failures", "discard", "1"]):
        assert (setup(*change).status, _tables(setup)["forgotten_address"]) == (2, 0), change
    asked = setup("state", "rebind")
    assert (asked.status, "--yes" in asked.err) == (2, True)
    assert _tables(setup)["person"] > 0

    done = setup("state", "rebind", "--yes")
    assert done.status == 0, done.err
    assert f"belongs to another {section.capitalize()}" in done.out
    left = {name for name, rows in _tables(setup).items() if rows}
    allowed = KEPT | (OF_OUTREACH if section == "workbooks" else set())
    assert left <= allowed
    with closing(sqlite3.connect(setup.state_path)) as connection:
        assert connection.execute("SELECT count(*) FROM prospect WHERE person_id IS NOT NULL").fetchone()[0] == 0
    assert setup("run", "--allow-bulk", "-q").status in {0, 1}
    checks = {one["name"]: one for one in setup("check", "--json").document["checks"]}
    assert checks["accounts"]["status"] == "ok"


def test_a_state_that_belongs_there_is_left_as_it_is(setup: Any) -> None:
    setup("run", "-q")
    before = _tables(setup)
    done = setup("state", "rebind")
    assert (done.status, "nothing had to be done" in done.out) == (0, True)
    assert _tables(setup) == before


def test_the_accounts_are_kept_without_their_secrets(setup: Any) -> None:
    setup("run", "-q")
    with closing(sqlite3.connect(setup.state_path)) as connection:
        facts = dict(connection.execute("SELECT name, value FROM fact"))
    known = json.loads(facts["identity_workbooks"])
    assert (known["address"], known["database"]) == (setup.sandbox.workbooks.url, 3)
    for secret in (setup.settings["workbooks"]["api_key"], setup.settings["outreach"]["client_secret"]):
        assert secret not in json.dumps(facts)


def test_fields_are_not_provisioned_in_another_workbooks(setup: Any, other: Sandbox) -> None:
    setup("run", "-q")
    _point_at(setup, other, "workbooks")
    ran = setup("provision")
    assert (ran.status, "belongs to another Workbooks" in ran.err) == (2, True)
