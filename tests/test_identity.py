"""A state belongs to one Outreach and one Workbooks, and is never used with another."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from outreach_sync.errors import WrongAccountError
from outreach_sync.sandbox import Sandbox
from tests.harness import PERSON

PEOPLE = 12
OPEN = {"guard": {"create": 500, "lost_count": 500, "count": 500}}


@pytest.fixture
def other() -> Iterator[Sandbox]:
    """Other services: records with the same ids, of other people."""
    with Sandbox() as sandbox:
        outreach = sandbox.outreach.store
        outreach.add_sequence("Another sequence")
        for number in range(PEOPLE):
            names = {"firstName": f"Two{number}", "lastName": "Other", "emails": [f"two{number}@example.com"]}
            outreach.add_state(outreach.add("prospect", names), 1, "active")
        yield sandbox


@pytest.fixture
def lived(world: Any) -> Any:
    for number in range(PEOPLE):
        world.prospect(email=f"one{number}@example.com", firstName=f"One{number}")
    assert world.run(sync=OPEN).exit_status == 0
    return world


def _add(sandbox: Sandbox, person: dict[str, Any], address: str) -> None:
    """Give another Workbooks a Person with the id of one that the state knows."""
    sandbox.workbooks.store.add(PERSON, id=person["id"], name="P", **{"main_location[email]": address})


def _people_like(sandbox: Sandbox, world: Any, who: str) -> None:
    for number, person in enumerate(world.people()):
        _add(sandbox, person, f"{who}{number}@example.com")


def _move(world: Any, sandbox: Sandbox, section: str) -> None:
    """Point the config at other services, with their credentials and tokens."""
    world.settings[section] = sandbox.config(world.state_path)[section]
    if section == "outreach":
        world.state_path.with_name("state.db.tokens").unlink()


def _renew_the_key(world: Any, key: str, **account: Any) -> None:
    store = world.sandbox.workbooks.store
    store.account = replace(store.account, api_key=key, user_id=store.account.user_id + 1, **account)
    world.settings["workbooks"]["api_key"] = key


def _renew_the_secret(world: Any) -> None:
    world.sandbox.outreach.app.client_secret = world.settings["outreach"]["client_secret"] = "secret-that-was-renewed"


def _status(world: Any) -> int:
    return world.run(sync=OPEN).exit_status


@pytest.mark.parametrize("section", ["workbooks", "outreach"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_another_account_ends_with_2_and_nothing_is_written_anywhere(
    lived: Any, other: Sandbox, section: str, dry_run: bool
) -> None:
    _people_like(other, lived, "two")
    _move(lived, other, section)
    before = lived.writes()
    ended = lived.run(dry_run=dry_run, sync=OPEN)
    assert (ended.exit_status, type(ended.error)) == (2, WrongAccountError)
    assert f"belongs to another {section.capitalize()}" in str(ended.error)
    assert "state rebind" in str(ended.error)
    assert (lived.writes(), len(other.workbooks.store.writes)) == (before, 0)


def test_an_empty_workbooks_is_another_too_and_no_work_begins(lived: Any, other: Sandbox) -> None:
    _move(lived, other, "workbooks")
    assert _status(lived) == 2
    began: list[Any] = []
    assert lived.do(began.append).exit_status == 2
    assert (began, other.workbooks.store.writes) == ([], [])


@pytest.mark.parametrize("account", [{"logical_database_id": 4}, {"created_at": "Tue Jan 06 14:30:11 UTC 2026"}])
def test_a_copy_in_another_database_is_another(lived: Any, other: Sandbox, account: dict[str, Any]) -> None:
    _people_like(other, lived, "one")
    other.workbooks.store.account = replace(other.workbooks.store.account, **account)
    _move(lived, other, "workbooks")
    ended = lived.run(sync=OPEN)
    assert ended.exit_status == 2
    assert f"it is database 3, and the key is for database {account.get('logical_database_id', 3)}" in str(ended.error)


@pytest.mark.parametrize(("same", "others", "status"), [(3, 0, 0), (2, 0, 2), (4, 4, 0), (4, 5, 2)])
def test_half_of_those_who_are_there_and_a_quarter_of_all_have_to_be_the_same(
    lived: Any, other: Sandbox, same: int, others: int, status: int
) -> None:
    for number, person in enumerate(lived.people()[: same + others]):
        _add(other, person, f"{'one' if number < same else 'two'}{number}@example.com")
    _move(lived, other, "workbooks")
    assert _status(lived) == status


@pytest.mark.parametrize(
    "known_by", ["created_through_reference", "cf_person_outreach_id", "object_ref", "main_location[email]"]
)
def test_a_person_is_the_same_by_whatever_would_find_it(lived: Any, other: Sandbox, known_by: str) -> None:
    for number, person in enumerate(lived.people()):
        prospect = int(person["created_through_reference"].rpartition("-")[2])
        if known_by == "object_ref":
            lived.outreach.update("prospect", prospect, externalId=f" pers-{person['id']} ")
        said = {
            "created_through_reference": f"outreach-prospect-{prospect}",
            "cf_person_outreach_id": str(prospect),
            "main_location[email]": f"ONE{number}@example.com ",
        }
        told = {name: value for name, value in said.items() if name == known_by}
        other.workbooks.store.add(PERSON, id=person["id"], name="P", **told)
    assert _status(lived) == 0
    _move(lived, other, "workbooks")
    lived.settings["workbooks"]["fields"] = {"outreach_id": "cf_person_outreach_id"}
    assert _status(lived) == 0


@pytest.mark.parametrize("made", ["Mon Jan 05 14:30:11 UTC 2026", "2026-01-05T14:30:11.000Z", ""])
def test_a_renewed_key_and_a_renewed_secret_pass_without_a_word(lived: Any, made: str) -> None:
    _renew_the_key(lived, "98765-renewed-key", created_at=made)
    _renew_the_secret(lived)
    assert _status(lived) == 0
    asked = len(lived.sandbox.workbooks.journal.entries())
    assert _status(lived) == 0
    assert len(lived.sandbox.workbooks.journal.entries()) == asked, "it is remembered from now on"


def test_a_key_whose_user_sees_nobody_or_people_whose_addresses_all_changed_is_of_the_same_account(lived: Any) -> None:
    for person in lived.people():
        lived.edit_person(person["id"], **{"main_location[email]": "married@example.com"})
    _renew_the_key(lived, "98765-renewed-key")
    assert _status(lived) == 0
    for person in lived.people():
        lived.sandbox.workbooks.store.hide(person["id"])
    _renew_the_key(lived, "98765-another-key")
    assert _status(lived) == 0


def test_a_service_that_has_to_be_asked_and_is_down_is_not_guessed_about(lived: Any, other: Sandbox) -> None:
    _people_like(other, lived, "two")
    _move(lived, other, "workbooks")
    other.workbooks.faults.on("unavailable_503")
    assert lived.run(sync={**OPEN, "patience": "1s"}).exit_status == 4
    assert other.workbooks.store.writes == []


@pytest.mark.parametrize(
    ("before", "since", "status"),
    [
        ({}, {"emails": []}, 0),
        ({"externalId": "A-1"}, {"emails": ["new@example.com"], "firstName": "New"}, 0),
        ({}, {"emails": ["new@example.com"]}, 2),
    ],
    ids=["their names, without an address", "their external ids", "not by their names, with another address"],
)
def test_prospects_are_the_same_by_what_they_still_say(lived: Any, before: Any, since: Any, status: int) -> None:
    for changes in (before, since):
        assert _status(lived) == 0
        for prospect in lived.outreach.all("prospect"):
            lived.outreach.update("prospect", prospect.id, **changes)
    _renew_the_secret(lived)
    assert _status(lived) == status


@pytest.mark.parametrize(
    ("fault", "options"), [("unavailable_503", {}), ("key_refused", {"status": 403, "reason": "no_permission_for_api"})]
)
def test_a_new_state_needs_no_answer_to_who_it_is(world: Any, fault: str, options: dict[str, Any]) -> None:
    world.prospect(email="ada@example.com")
    world.sandbox.workbooks.faults.on(fault, kind="login", **options)
    assert world.run(sync={"patience": "2m"}).exit_status == 0
    assert (len(world.people()), world.time.waited() <= 10) == (1, True)


def test_another_organisation_that_consented_to_the_same_app_is_another(lived: Any) -> None:
    tokens = lived.state_path.with_name("state.db.tokens")
    for consent, status in (("renewed", 0), ("another", 2)):
        tokens.write_text(json.dumps(json.loads(tokens.read_text()) | {"consent": consent}))
        assert _status(lived) == status
        for prospect in lived.outreach.all("prospect"):
            lived.outreach.update("prospect", prospect.id, emails=[f"two{prospect.id}@example.com"], firstName="Two")
