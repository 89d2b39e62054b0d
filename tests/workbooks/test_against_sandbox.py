"""The client against the simulated service, where what the service does matters more than one answer of it."""

from collections.abc import Iterator

import pytest

from outreach_sync.records import Accepted, Write
from outreach_sync.sandbox.workbooks import WorkbooksSandbox
from outreach_sync.workbooks.client import Workbooks
from outreach_sync.workbooks.wire import PADDED_EMAIL, PEOPLE, REFERENCE
from tests.harness import PERSON, STATE, Pauses
from tests.workbooks.conftest import configured, ids_of


@pytest.fixture
def sandbox() -> Iterator[WorkbooksSandbox]:
    with WorkbooksSandbox() as running:
        yield running


@pytest.fixture
def client(sandbox: WorkbooksSandbox) -> Workbooks:
    return Workbooks(configured(sandbox.url, api_key=sandbox.api_key), Pauses())


def test_padded_addresses_are_found_among_longer_ones_in_one_look_up_for_fifty(
    sandbox: WorkbooksSandbox, client: Workbooks
) -> None:
    for number in range(120):
        sandbox.store.add_person(name="Longer", email=f"xx-{number}ada@b.example")
    person = sandbox.store.add_person(name="Ada", email="\u00a0 ADA@b.example\t")
    found = client.people(PADDED_EMAIL, ["Ada@b.example", "a", "@", *(f"nobody{one}@b.example" for one in range(99))])
    assert ids_of(found) == {"ada@b.example": [person]}
    assert client.transport.requests == 3, "more than a hundred rows have one of the first fifty in them"


@pytest.mark.parametrize("escapes", [True, False])
@pytest.mark.parametrize(
    "address", [r"a\b@b.example", r'"a\,b"@b.example', r"a\\b@b.example", "b.example\\", '"a,b"@b.example']
)
def test_an_address_with_a_backslash_is_found_whatever_backslashes_mean(
    sandbox: WorkbooksSandbox, client: Workbooks, address: str, *, escapes: bool
) -> None:
    ids = {one: [sandbox.store.add_person(name="Odd", email=one)] for one in (address, "plain@b.example")}
    if escapes:
        sandbox.faults.on("backslash_escapes")
    assert ids_of(client.people("email", list(ids))) == ids


@pytest.mark.parametrize(("done", "looks"), [(0.0, 1), (0.5, 2), (1.0, 2)])
def test_a_redirect_of_a_creation_costs_no_answer_but_those_that_tell_what_became_of_it(
    sandbox: WorkbooksSandbox, client: Workbooks, done: float, looks: int
) -> None:
    """What is redirected once more is luck; where no redirect wrote anything, the first of two look-ups is left out."""
    spare = 3 * (2 - looks)  # until so many redirects have shown that they write nothing
    for seed in range(24):
        sandbox.journal.clear()
        sandbox.faults.on("delaying_redirect", probability=0.6, done=done, seed=seed)
        writes = [
            Write(0, 0, {"name": "Ada", REFERENCE: f"r{100 * seed + one}", STATE: "Pending"}) for one in range(100)
        ]
        assert {*map(type, client.write(PEOPLE, writes))} == {Accepted}
        answers = [(one.kind.startswith("write"), one.status) for one in sandbox.journal.entries()]
        put_off, written, looked = map(answers.count, ((True, 302), (True, 200), (False, 200)))
        spare -= max(0, written + looked - 1 - looks * put_off)
        assert done < 1 or (written, looked) == ((0, 1) if put_off else (1, 0))
    references = [one[REFERENCE] for one in sandbox.store.all(PERSON)]
    assert (spare, len(set(references)), len(references)) == (0, 24 * 100, 24 * 100)
