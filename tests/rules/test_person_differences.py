"""Only what differs is written, and values are compared as values."""

from __future__ import annotations

import pytest

from outreach_sync.instants import Instant, parse_iso
from outreach_sync.rules.person import Held, Wanted, differences, recognised

AT = parse_iso("2026-09-01T10:12:31Z")
WANTED = Wanted(
    "Finished", AT, no_email=False, outreach_id="18", sequences="A: Finished", opted_out=False, problem=None, because=""
)
SAME = Held("Finished", AT, no_email=False, outreach_id="18", sequences="A: Finished")


def test_nothing_is_written_where_everything_is_there() -> None:
    assert differences(WANTED, SAME) == {}


@pytest.mark.parametrize(
    ("held", "written"),
    [
        (SAME._replace(sequence_state="Pending"), {"sequence_state": "Finished"}),
        (SAME._replace(sequence_state=None), {"sequence_state": "Finished"}),
        (SAME._replace(state_updated_at=None), {"state_updated_at": AT}),
        (SAME._replace(state_updated_at=Instant(AT + 1000)), {"state_updated_at": AT}),
        (SAME._replace(outreach_id=None), {"outreach_id": "18"}),
        (SAME._replace(outreach_id=""), {"outreach_id": "18"}),
        (SAME._replace(sequences="B"), {"sequences": "A: Finished"}),
        (SAME._replace(sequences=None), {"sequences": "A: Finished"}),
    ],
)
def test_exactly_the_field_that_differs_is_written(held: Held, written: dict[str, object]) -> None:
    assert differences(WANTED, held) == written


@pytest.mark.parametrize(
    "held",
    [
        SAME._replace(state_updated_at=Instant(AT + 999)),
        SAME._replace(state_updated_at=parse_iso("2026-09-01")),
        SAME._replace(sequences="A: Finished\r\n"),
        SAME._replace(outreach_id="17"),
        SAME._replace(no_email=True),
    ],
    ids=["milliseconds", "a field that keeps days", "line ends", "an id that is taken", "No Email set by hand"],
)
def test_what_only_looks_different_is_left_alone(held: Held) -> None:
    assert differences(WANTED, held) == {}


OURS = SAME._replace(sequence_state="Läuft 🎉", sequences="Q & A: Läuft")


@pytest.mark.parametrize(
    ("role", "made"),
    [
        ("sequence_state", "Läuft ?"),
        ("sequences", "Q &amp; A: Läuft"),
        ("sequences", "Q & A"),
        ("state_updated_at", parse_iso("2026-09-01T10:12:00Z")),
        ("state_updated_at", parse_iso("2026-09-01")),
    ],
)
def test_what_workbooks_made_of_our_value_is_known_as_ours_now_and_later(role: str, made: object) -> None:
    read = OURS._replace(**{role: made})
    assert recognised(read, OURS, {}, same_version=True) == (OURS, {role: made})
    assert recognised(read, OURS, {role: made}, same_version=False) == (OURS, {role: made})


def test_what_somebody_wrote_since_is_not_taken_for_ours() -> None:
    edited = OURS._replace(sequence_state="Pending")
    assert recognised(edited, OURS, {}, same_version=False) == (edited, {})
    assert recognised(edited, OURS, {"sequence_state": "Läuft ?"}, same_version=False) == (edited, {})


@pytest.mark.parametrize(
    ("role", "now", "known"),
    [
        ("sequence_state", None, "Finished"),
        ("sequences", None, "A: Finished"),
        ("state_updated_at", AT, parse_iso("2026-09-01")),
        ("state_updated_at", parse_iso("2026-08-01"), AT),
    ],
)
def test_an_empty_field_and_another_time_are_not_what_workbooks_made_of_ours(
    role: str, now: object, known: object
) -> None:
    read = SAME._replace(**{role: now})
    assert recognised(read, SAME._replace(**{role: known}), {}, same_version=True) == (read, {})


def test_a_no_email_that_did_not_stay_is_no_form_of_ours() -> None:
    cleared = OURS._replace(no_email=False)
    assert recognised(cleared, OURS._replace(no_email=True), {}, same_version=True) == (cleared, {})


@pytest.mark.parametrize("now", [False, None])
def test_an_opt_out_sets_no_email_where_it_is_not_set(now: bool | None) -> None:
    assert differences(WANTED._replace(no_email=True), SAME._replace(no_email=now)) == {"no_email": True}


def test_no_email_is_never_among_what_is_cleared() -> None:
    assert "no_email" not in differences(WANTED, SAME._replace(no_email=True, sequence_state=None))


def test_none_means_leave_alone() -> None:
    leave = Wanted(
        None, None, no_email=False, outreach_id=None, sequences=None, opted_out=False, problem=None, because=""
    )
    assert differences(leave, Held("x", AT, no_email=True, outreach_id="1", sequences="y")) == {}
