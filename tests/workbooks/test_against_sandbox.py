"""The client against the simulated service, where what the service does matters more than one answer of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.instants import parse_iso
from outreach_sync.records import Accepted, DateTime, Write, WriteValue
from outreach_sync.sandbox.workbooks import WorkbooksSandbox
from outreach_sync.sandbox.workbooks.schema import PERSON
from outreach_sync.workbooks.client import Workbooks
from outreach_sync.workbooks.metadata import field_problems, read_types
from outreach_sync.workbooks.wire import PADDED_EMAIL, PEOPLE
from tests.harness import Pauses
from tests.workbooks.conftest import configured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outreach_sync.connections import Answer


STATE, STAMP = "cf_person_sequence_state", "cf_person_state_updated_at"
FIELDS = {
    "sequence_state": STATE,
    "state_updated_at": STAMP,
    "no_email": "no_email_soliciting",
    "outreach_id": "cf_person_outreach_id",
    "sequences": "cf_person_sequences",
}
AT = parse_iso("2026-09-01T10:00:04Z")
SAID: dict[str, WriteValue] = {STATE: "Opted Out", STAMP: DateTime(AT), "no_email_soliciting": True}


@dataclass(frozen=True)
class Bench:
    """A simulated Workbooks with six People, of whom one is deleted, and the target that talks to it."""

    sandbox: WorkbooksSandbox
    target: Workbooks
    ids: tuple[int, ...]

    def write(self) -> None:
        """Read four of the People and write them, as a cycle does."""
        rows = self.target.people_by_ids(self.ids[:4])
        self.target.write(PEOPLE, [Write(row.id, row.lock_version, SAID) for row in rows.values()])


def created(number: int) -> dict[str, WriteValue]:
    reference = f"outreach-prospect-{number}"
    return {"name": f"Ada Example {number}", "created_through_reference": reference, STATE: "Finished"}


def target(sandbox: WorkbooksSandbox, **keys: Any) -> Workbooks:
    given = {"api_key": sandbox.api_key, "timeout": "1500ms", "fields": FIELDS, **keys}
    return Workbooks(configured(sandbox.url, **given), Pauses())


@pytest.fixture
def bench() -> Iterator[Bench]:
    with WorkbooksSandbox() as sandbox:
        store = sandbox.store
        ids = tuple(store.add_person(name=f"P{number}", email=f"p{number}@b.example") for number in range(6))
        store.delete(PERSON, ids[5])
        yield Bench(sandbox, target(sandbox), ids)


def test_padded_addresses_are_found_among_longer_ones_in_one_look_up_for_fifty(bench: Bench) -> None:
    add = bench.sandbox.store.add_person
    for number in range(120):
        add(name="Longer", email=f"xx-{number}ada@b.example")
    person = add(name="Ada", email="\u00a0 ADA@b.example\t")
    before = bench.target.transport.requests
    asked = ["Ada@b.example", "a", "@", *(f"nobody{number}@b.example" for number in range(99))]
    found = bench.target.people(PADDED_EMAIL, asked)
    assert {address: [row.id for row in rows] for address, rows in found.items()} == {"ada@b.example": [person]}
    assert bench.target.transport.requests - before == 3, "more than a hundred rows have one of the first fifty in them"


@pytest.mark.parametrize("escapes", [True, False])
@pytest.mark.parametrize(
    "address", [r"a\b@b.example", r'"a\,b"@b.example', r"a\\b@b.example", "b.example\\", '"a,b"@b.example']
)
def test_an_address_with_a_backslash_is_found_whatever_backslashes_mean(
    bench: Bench, address: str, *, escapes: bool
) -> None:
    person = bench.sandbox.store.add_person(name="Odd", email=address)
    if escapes:
        bench.sandbox.faults.on("backslash_escapes")
    found = bench.target.people("email", [address, "p1@b.example"])
    assert [row.id for row in found[address]] == [person]
    assert len(found["p1@b.example"]) == 1


def test_a_time_that_is_a_var_date_time_reads_as_what_was_written(bench: Bench) -> None:
    bench.sandbox.faults.on("custom_datetime_is_var")
    bench.write()
    assert bench.target.people_by_ids(bench.ids[:1])[bench.ids[0]].fields[STAMP] == AT
    person = read_types(bench.target, (PERSON,))[PERSON]
    assert field_problems(person, {"state_updated_at": STAMP}) == ()


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.torture)])
@pytest.mark.parametrize("done", [0.0, 0.5])
def test_a_service_that_slows_down_most_requests_is_asked_little_more_and_writes_everything_once(
    bench: Bench, seed: int, done: float
) -> None:
    store = bench.sandbox.store
    ids = [store.add_person(name=f"Q{number}", email=f"q{number}@b.example") for number in range(150)]
    rows = bench.target.people_by_ids(ids)
    undisturbed = bench.target.transport.requests + 2
    bench.sandbox.faults.on("delaying_redirect", probability=0.6, done=done, seed=seed)
    bench.target.people_by_ids(ids)
    updates = [Write(row.id, row.lock_version, SAID) for row in rows.values()]
    creations = [Write(0, 0, created(number)) for number in range(30)]
    before = bench.target.transport.requests
    assert all(isinstance(verdict, Accepted) for verdict in bench.target.write(PEOPLE, updates))
    assert bench.target.transport.requests - before <= 4 * undisturbed
    assert all(isinstance(verdict, Accepted) for verdict in bench.target.write(PEOPLE, creations))
    assert [row.lock_version for row in bench.target.people_by_ids(ids).values()] == [1] * 150
    references = [one["created_through_reference"] for one in store.all(PERSON)]
    assert all(references.count(f"outreach-prospect-{number}") == 1 for number in range(30))


@pytest.mark.parametrize("done", [0.0, 0.5, 1.0])
def test_a_redirect_of_a_creation_costs_no_answer_but_those_that_tell_what_became_of_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, done: float
) -> None:
    """What is redirected once more is luck; a look-up that is answered is ours, and two of them tell all."""
    answers: list[tuple[bool, int]] = []
    send = bench.target.transport.send

    def noting(*asked: Any, **how: Any) -> Answer:
        answer = send(*asked, **how)
        answers.append((b"__method" in how["body"], answer.status))
        return answer

    monkeypatch.setattr(bench.target.transport, "send", noting)
    for seed in range(24):
        answers.clear()
        bench.sandbox.faults.on("delaying_redirect", probability=0.6, done=done, seed=seed)
        creations = [Write(0, 0, created(100 * seed + number)) for number in range(100)]
        assert all(isinstance(verdict, Accepted) for verdict in bench.target.write(PEOPLE, creations))
        put_off = answers.count((True, 302))
        looked, written = answers.count((False, 200)), answers.count((True, 200))
        assert written + looked <= 1 + 2 * put_off
        assert done < 1 or (written, looked) == ((0, 1) if put_off else (1, 0))
    references = {one["created_through_reference"] for one in bench.sandbox.store.all(PERSON)} - {None, ""}
    assert len(references) == len(bench.sandbox.store.all(PERSON)) - 5 == 24 * 100
