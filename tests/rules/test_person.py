from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from outreach_sync.config.model import DEFAULT_LABELS, Config, Fields, Sync, Workbooks
from outreach_sync.instants import Instant, parse_iso
from outreach_sync.records import Prospect
from outreach_sync.rules.person import (
    Ambiguous,
    Found,
    Held,
    PooledProspect,
    PooledState,
    Wanted,
    base_fields,
    differences,
    mailbox,
    questions,
    recognised,
    shown_state,
    verdict,
    wanted_person,
)

SEEN = parse_iso("2026-09-01T00:00:00Z")
OLD = parse_iso("2026-09-02T10:00:00Z")
NEW = parse_iso("2026-09-03T10:00:00Z")
LATEST = Config()
LISTING = LATEST.model_copy(update={"workbooks": Workbooks(fields=Fields(sequences="f_sequences", outreach_id="f_id"))})
FIRST = ("active", "finished")
PRECEDENCE = LATEST.model_copy(update={"sync": Sync(multiple_sequences="precedence", precedence=FIRST)})


def prospect(prospect_id: int = 18, **changes: object) -> PooledProspect:
    return PooledProspect(prospect_id, False, None, False, None, None, False)._replace(**changes)


def state(
    state_id: int,
    word: str,
    at: Instant | None = OLD,
    *,
    sequence: int = 1,
    owner: int = 18,
    name: str | None = "Trial",
) -> PooledState:
    return PooledState(state_id, owner, sequence, word, at, name)


@pytest.mark.parametrize(
    ("word", "label"),
    [
        ("active", "Active \u2013 Running"), ("paused", "Active \u2013 Paused"), ("opted_out", "Opted Out"),
        ("finished", "Finished"), ("pending", "Pending"), ("disabled", "Disabled"), ("failed", "Failed"),
        ("bounced", "Bounced"),
    ],
)  # fmt: skip
def test_each_state_gets_its_label_and_its_time(word: str, label: str) -> None:
    wanted = wanted_person([prospect()], [state(1, word)], LATEST)
    assert (wanted.sequence_state, wanted.state_updated_at, wanted.problem) == (label, OLD, None)


def test_without_any_state_the_person_is_not_active_and_the_time_is_left_alone() -> None:
    wanted = wanted_person([prospect()], [], LATEST)
    assert (wanted.sequence_state, wanted.state_updated_at, wanted.no_email) == ("Not Active", None, False)


@pytest.mark.parametrize(
    ("precedence", "first", "second", "shown"),
    [
        ((), (1, "finished", OLD), (2, "active", NEW), 2), ((), (1, "finished", NEW), (2, "active", OLD), 1),
        ((), (7, "finished", OLD), (3, "active", OLD), 7), ((), (1, "finished", None), (2, "active", OLD), 2),
        (FIRST, (1, "active", OLD), (2, "finished", NEW), 1), (FIRST, (1, "active", OLD), (2, "active", NEW), 2),
        (FIRST, (1, "active", OLD), (2, "active", OLD), 2), (FIRST, (1, "bounced", NEW), (2, "finished", OLD), 2),
        (FIRST, (1, "bounced", OLD), (2, "failed", NEW), 2),
    ],
)  # fmt: skip
def test_the_first_listed_state_then_the_latest_then_the_highest_id_is_shown(
    precedence: tuple[str, ...], first: Any, second: Any, shown: int
) -> None:
    assert shown_state([state(*first), state(*second)], precedence).id == shown


@pytest.mark.parametrize("policy", [LATEST, PRECEDENCE])
@pytest.mark.parametrize(
    ("who", "states"),
    [
        (prospect(opted_out=True), [state(1, "active", NEW)]),
        (prospect(email_opted_out=True), [state(1, "active", NEW)]),
        (prospect(), [state(1, "opted_out", OLD), state(2, "active", NEW)]), (prospect(opted_out=True), []),
        (prospect(opted_out=True, trashed=True), []), (prospect(trashed=True), [state(1, "opted_out", OLD)]),
    ],
)  # fmt: skip
def test_an_opt_out_beats_everything_in_both_modes(
    policy: Config, who: PooledProspect, states: list[PooledState]
) -> None:
    wanted = wanted_person([who], states, policy)
    assert (wanted.sequence_state, wanted.no_email) == ("Opted Out", True)


@pytest.mark.parametrize(
    ("who", "states", "at"),
    [
        (prospect(opted_out=True, opted_out_at=NEW), [], NEW),
        (prospect(opted_out=True, opted_out_at=None, opt_out_seen_at=SEEN), [], SEEN),
        (prospect(email_opted_out=True, emails_opted_at=NEW, opt_out_seen_at=SEEN), [], NEW),
        (prospect(email_opted_out=True, opt_out_seen_at=SEEN), [], SEEN),
        (prospect(opted_out=True, emails_opted_at=NEW, opt_out_seen_at=SEEN), [], SEEN),
        (prospect(opted_out=True, email_opted_out=True, opted_out_at=OLD, emails_opted_at=NEW), [], OLD),
        (prospect(opted_out=True, opted_out_at=NEW), [state(1, "opted_out", OLD)], OLD),
    ],
)
def test_the_time_of_an_opt_out_is_that_of_the_state_else_of_the_prospect(
    who: PooledProspect, states: list[PooledState], at: Instant
) -> None:
    assert wanted_person([who], states, LATEST).state_updated_at == at


def test_states_of_a_pool_are_pooled_and_the_lowest_id_is_written() -> None:
    states = [state(1, "finished", OLD, owner=5), state(2, "active", NEW, owner=9, sequence=2, name="Renewal")]
    wanted = wanted_person([prospect(9), prospect(5)], states, LISTING)
    assert wanted.outreach_id == "5"
    assert wanted.sequences == "Renewal: Active \u2013 Running (2026-09-03)\nTrial: Finished (2026-09-02)"


def test_of_several_states_in_one_sequence_the_newest_is_listed() -> None:
    states = [state(1, "finished", OLD), state(2, "active", NEW)]
    assert wanted_person([prospect()], states, LISTING).sequences == "Trial: Active \u2013 Running (2026-09-03)"


@pytest.mark.parametrize(
    ("name", "listed"),
    [("Trial\nRenewal: Finished (2020-01-01)", "Trial Renewal: Finished (2020-01-01)"), (None, "Sequence 1")],
)
def test_a_name_cannot_forge_a_line_and_a_hidden_one_is_told_by_its_id(name: str | None, listed: str) -> None:
    wanted = wanted_person([prospect()], [state(1, "active", name=name)], LISTING)
    assert wanted.sequences == f"{listed}: Active \u2013 Running (2026-09-02)"


def test_an_unknown_state_that_would_be_shown_is_refused_by_name() -> None:
    wanted = wanted_person([prospect()], [state(4, "napping", NEW), state(1, "active", OLD)], LATEST)
    assert wanted.sequence_state is None
    assert "napping" in str(wanted.problem)
    assert "4" in str(wanted.problem)


@pytest.mark.parametrize(("policy", "shown"), [(LATEST, "Active \u2013 Running"), (LISTING, None)])
def test_an_unknown_state_that_is_not_shown_does_harm_only_where_it_would_be_listed(
    policy: Config, shown: str | None
) -> None:
    wanted = wanted_person([prospect()], [state(4, "napping", OLD, sequence=2), state(1, "active", NEW)], policy)
    assert (wanted.sequence_state, wanted.problem is None) == (shown, shown is not None)


def test_an_opt_out_is_written_whatever_else_cannot_be_decided() -> None:
    states = [state(4, "napping", NEW, sequence=2)]
    wanted = wanted_person([prospect(opted_out=True, opted_out_at=OLD)], states, LISTING)
    assert (wanted.sequence_state, wanted.no_email, wanted.sequences) == ("Opted Out", True, None)
    assert wanted.problem is not None


def test_states_of_a_deleted_prospect_no_longer_count() -> None:
    wanted = wanted_person([prospect(trashed=True)], [state(1, "active", NEW)], LATEST)
    assert wanted.sequence_state == "Not Active"


WORDS = st.sampled_from([*DEFAULT_LABELS, "napping"])
STATES = st.lists(
    st.builds(state, st.integers(1, 99), WORDS, st.sampled_from([OLD, NEW, SEEN, None]), sequence=st.integers(1, 3)),
    max_size=6,
    unique_by=lambda one: one.id,
)


@given(STATES.flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))), st.booleans(), st.data())
def test_the_order_in_which_states_are_read_never_matters(orders: Any, opted_out: bool, data: st.DataObject) -> None:
    who, policy = prospect(opted_out=opted_out), data.draw(st.sampled_from([LATEST, PRECEDENCE, LISTING]))
    one, other = (wanted_person([who], states, policy) for states in orders)
    assert one == other


@given(STATES, st.booleans())
def test_no_email_is_wanted_exactly_when_an_opt_out_holds(states: list[PooledState], opted_out: bool) -> None:
    wanted = wanted_person([prospect(opted_out=opted_out)], states, LATEST)
    assert wanted.no_email == (opted_out or any(one.state == "opted_out" for one in states))


ADA = Prospect(18, "Ada", "Example", ("ada@example.com",), None, False, None, False, None, None, 1, {"title": "CTO"})


def test_a_person_gets_names_address_reference_and_the_configured_attributes() -> None:
    assert base_fields([ADA], {"person_job_title": "title", "cf_person_source": "absent"}) == {
        "name": "Ada Example",
        "person_first_name": "Ada",
        "person_last_name": "Example",
        "main_location[email]": "ada@example.com",
        "created_through_reference": "outreach-prospect-18",
        "person_job_title": "CTO",
    }


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"first_name": None}, "Example"),
        ({"last_name": " "}, "Ada"),
        ({"first_name": None, "last_name": None}, "ada@example.com"),
        ({"first_name": None, "last_name": None, "emails": ()}, "Outreach prospect 18"),
    ],
)
def test_the_required_name_is_never_empty(changes: dict[str, object], name: str) -> None:
    assert base_fields([ADA._replace(**changes)], {})["name"] == name


def test_an_address_is_taken_from_the_pool_where_the_lead_has_none() -> None:
    assert base_fields([ADA._replace(emails=()), ADA], {})["main_location[email]"] == "ada@example.com"


def test_a_name_too_long_for_workbooks_is_cut_instead_of_refused() -> None:
    fields = base_fields([ADA._replace(last_name="x" * 300)], {})
    assert [len(str(fields[name])) for name in ("name", "person_last_name")] == [255, 255]


AT = parse_iso("2026-09-01T10:12:31Z")
WANTED = Wanted(
    "Finished", AT, no_email=False, outreach_id="18", sequences="A: Finished", opted_out=False, problem=None, because=""
)
SAME = Held("Finished", AT, no_email=False, outreach_id="18", sequences="A: Finished")


@pytest.mark.parametrize(
    ("held", "written"),
    [
        ({"sequence_state": "Pending"}, {"sequence_state": "Finished"}),
        ({"sequence_state": None}, {"sequence_state": "Finished"}),
        ({"state_updated_at": None}, {"state_updated_at": AT}),
        ({"state_updated_at": Instant(AT + 1000)}, {"state_updated_at": AT}),
        ({"outreach_id": None}, {"outreach_id": "18"}), ({"outreach_id": ""}, {"outreach_id": "18"}),
        ({"sequences": "B"}, {"sequences": "A: Finished"}), ({"sequences": None}, {"sequences": "A: Finished"}),
        ({}, {}), ({"state_updated_at": Instant(AT + 999)}, {}),
        ({"state_updated_at": parse_iso("2026-09-01")}, {}),  # a field that keeps days
        ({"sequences": "A: Finished\r\n"}, {}), ({"outreach_id": "17"}, {}), ({"no_email": True}, {}),
    ],
)  # fmt: skip
def test_exactly_the_field_that_differs_and_not_only_looks_so_is_written(
    held: dict[str, object], written: dict[str, object]
) -> None:
    assert differences(WANTED, SAME._replace(**held)) == written


OURS = SAME._replace(sequence_state="Läuft 🎉", sequences="Q & A: Läuft")


@pytest.mark.parametrize(
    ("role", "made"),
    [
        ("sequence_state", "Läuft ?"), ("sequences", "Q &amp; A: Läuft"), ("sequences", "Q & A"),
        ("state_updated_at", parse_iso("2026-09-01T10:12:00Z")), ("state_updated_at", parse_iso("2026-09-01")),
    ],
)  # fmt: skip
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
        ("sequence_state", None, "Finished"), ("sequences", None, "A: Finished"),
        ("state_updated_at", AT, parse_iso("2026-09-01")), ("state_updated_at", parse_iso("2026-08-01"), AT),
    ],
)  # fmt: skip
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


def test_none_means_leave_alone() -> None:
    leave = Wanted(
        None, None, no_email=False, outreach_id=None, sequences=None, opted_out=False, problem=None, because=""
    )
    assert differences(leave, Held("x", AT, no_email=True, outreach_id="1", sequences="y")) == {}


MATCHED = Prospect(
    18, "Ada", "Example", (" Ada@Example.com", "ada@work.example", ""), " pers-12 ", False, None, False, None, None, 1
)


@pytest.mark.parametrize(
    ("rule", "asked"),
    [
        ("link", ()), ("outreach_id", ("18",)), ("reference", ("outreach-prospect-18",)),
        ("external_id", ("PERS-12",)), ("email", ("Ada@Example.com", "ada@work.example")),
    ],
)  # fmt: skip
def test_each_rule_asks_for_its_own_values(rule: str, asked: tuple[str, ...]) -> None:
    assert questions(rule, MATCHED) == asked


@pytest.mark.parametrize("external", [None, "", "12", "ORG-12", "PERS-", "PERS-12x", "PERS-१२"])
def test_an_external_id_that_is_no_reference_to_a_person_is_not_asked_for(external: str | None) -> None:
    assert questions("external_id", MATCHED._replace(external_id=external)) == ()


def test_exactly_one_person_is_a_match_however_often_it_is_found() -> None:
    assert (verdict([7, 7], "email"), verdict([], "email")) == (Found(7, "email"), None)


def test_several_people_are_never_resolved_by_guessing() -> None:
    found = verdict([9, 7, 9], "email")
    assert found == Ambiguous((7, 9), "email")
    assert isinstance(found, Ambiguous)
    assert "7, 9" in found.reason


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Ada@Example.COM", "ada@example.com", True), (" ada@example.com\t", "ada@example.com", True),
        ("JÖRG@EXAMPLE.COM", "jörg@example.com", True), ("STRAẞE@EXAMPLE.COM", "straße@example.com", True),
        ("info@straße.example", "info@strasse.example", False), ("o\ufb03ce@example.com", "office@example.com", False),
        ("\u212aate@example.com", "kate@example.com", False), ("\u0130da@example.com", "ida@example.com", False),
        ("a da@example.com", "ada@example.com", False),
    ],
)  # fmt: skip
def test_case_and_blanks_around_an_address_alone_make_no_other_mailbox(one: str, other: str, same: bool) -> None:
    assert (mailbox(one) == mailbox(other)) is same
