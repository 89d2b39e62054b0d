"""What a Person says: the table of contract rules, row by row."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from outreach_sync.config.model import DEFAULT_LABELS, Config, Fields, Sync, Workbooks
from outreach_sync.instants import Instant, parse_iso
from outreach_sync.rules.person import PooledProspect, PooledState, shown_state, wanted_person

SEEN = parse_iso("2026-09-01T00:00:00Z")
OLD = parse_iso("2026-09-02T10:00:00Z")
NEW = parse_iso("2026-09-03T10:00:00Z")
LATEST = Config()
LISTING = LATEST.model_copy(update={"workbooks": Workbooks(fields=Fields(sequences="f_sequences", outreach_id="f_id"))})
PRECEDENCE = LATEST.model_copy(
    update={"sync": Sync(multiple_sequences="precedence", precedence=("active", "finished"))}
)


def prospect(prospect_id: int = 18, **changes: object) -> PooledProspect:
    plain = PooledProspect(prospect_id, False, None, False, None, None, False)
    return plain._replace(**changes)


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
        ("active", "Active \u2013 Running"),
        ("paused", "Active \u2013 Paused"),
        ("opted_out", "Opted Out"),
        ("finished", "Finished"),
        ("pending", "Pending"),
        ("disabled", "Disabled"),
        ("failed", "Failed"),
        ("bounced", "Bounced"),
    ],
)
def test_each_state_gets_its_label_and_its_time(word: str, label: str) -> None:
    wanted = wanted_person([prospect()], [state(1, word)], LATEST)
    assert (wanted.sequence_state, wanted.state_updated_at, wanted.problem) == (label, OLD, None)


def test_without_any_state_the_person_is_not_active_and_the_time_is_left_alone() -> None:
    wanted = wanted_person([prospect()], [], LATEST)
    assert (wanted.sequence_state, wanted.state_updated_at, wanted.no_email) == ("Not Active", None, False)


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ([state(1, "finished", OLD), state(2, "active", NEW)], 2),
        ([state(1, "finished", NEW), state(2, "active", OLD)], 1),
        ([state(7, "finished", OLD), state(3, "active", OLD)], 7),
        ([state(1, "finished", None), state(2, "active", OLD)], 2),
    ],
)
def test_the_latest_state_is_shown_and_ties_go_to_the_higher_id(states: list[PooledState], shown: int) -> None:
    assert shown_state(states, None).id == shown


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ([state(1, "active", OLD), state(2, "finished", NEW)], 1),
        ([state(1, "active", OLD), state(2, "active", NEW)], 2),
        ([state(1, "active", OLD), state(2, "active", OLD)], 2),
        ([state(1, "bounced", NEW), state(2, "finished", OLD)], 2),
        ([state(1, "bounced", OLD), state(2, "failed", NEW)], 2),
    ],
)
def test_precedence_shows_the_first_listed_state_then_the_newest(states: list[PooledState], shown: int) -> None:
    assert shown_state(states, PRECEDENCE.sync.precedence).id == shown


@pytest.mark.parametrize("policy", [LATEST, PRECEDENCE])
@pytest.mark.parametrize(
    ("who", "states"),
    [
        (prospect(opted_out=True), [state(1, "active", NEW)]),
        (prospect(email_opted_out=True), [state(1, "active", NEW)]),
        (prospect(), [state(1, "opted_out", OLD), state(2, "active", NEW)]),
        (prospect(opted_out=True), []),
        (prospect(opted_out=True, trashed=True), []),
        (prospect(trashed=True), [state(1, "opted_out", OLD)]),
    ],
)
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


def test_one_opted_out_prospect_of_a_pool_opts_the_person_out() -> None:
    wanted = wanted_person([prospect(5), prospect(9, opted_out=True)], [state(1, "active", NEW, owner=5)], LATEST)
    assert wanted.no_email


def test_a_resumed_person_gets_the_new_state_and_no_email_is_not_spoken_of() -> None:
    wanted = wanted_person([prospect()], [state(1, "active", NEW)], LATEST)
    assert (wanted.sequence_state, wanted.no_email) == ("Active \u2013 Running", False)


def test_states_of_a_pool_are_pooled_and_the_lowest_id_is_written() -> None:
    states = [state(1, "finished", OLD, owner=5), state(2, "active", NEW, owner=9, sequence=2, name="Renewal")]
    wanted = wanted_person([prospect(9), prospect(5)], states, LISTING)
    assert wanted.outreach_id == "5"
    assert wanted.sequences == "Renewal: Active \u2013 Running (2026-09-03)\nTrial: Finished (2026-09-02)"


def test_of_several_states_in_one_sequence_the_newest_is_listed() -> None:
    states = [state(1, "finished", OLD), state(2, "active", NEW)]
    assert wanted_person([prospect()], states, LISTING).sequences == "Trial: Active \u2013 Running (2026-09-03)"


def test_a_name_with_line_breaks_cannot_forge_a_line_of_the_list() -> None:
    forged = "Trial\nRenewal: Finished (2020-01-01)"
    assert "\n" not in str(wanted_person([prospect()], [state(1, "active", name=forged)], LISTING).sequences)


def test_a_sequence_whose_name_is_hidden_is_listed_by_its_id() -> None:
    assert str(wanted_person([prospect()], [state(1, "active", name=None)], LISTING).sequences).startswith(
        "Sequence 1:"
    )


def test_an_unknown_state_that_would_be_shown_is_refused_by_name() -> None:
    wanted = wanted_person([prospect()], [state(4, "napping", NEW), state(1, "active", OLD)], LATEST)
    assert wanted.sequence_state is None
    assert "napping" in str(wanted.problem)
    assert "4" in str(wanted.problem)


def test_an_unknown_state_that_is_not_shown_does_no_harm() -> None:
    wanted = wanted_person([prospect()], [state(4, "napping", OLD), state(1, "active", NEW)], LATEST)
    assert (wanted.sequence_state, wanted.problem) == ("Active \u2013 Running", None)


def test_an_unknown_state_that_would_be_listed_is_refused() -> None:
    states = [state(4, "napping", OLD, sequence=2), state(1, "active", NEW)]
    wanted = wanted_person([prospect()], states, LISTING)
    assert wanted.sequence_state is None
    assert wanted.problem is not None


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


@given(
    STATES,
    st.booleans(),
    st.booleans(),
    st.randoms(use_true_random=False),
    st.sampled_from([LATEST, PRECEDENCE, LISTING]),
)
def test_the_order_in_which_states_are_read_never_matters(
    states: list[PooledState],
    opted_out: bool,
    email_opted_out: bool,
    random: object,
    policy: Config,
) -> None:
    who = prospect(opted_out=opted_out, email_opted_out=email_opted_out)
    shuffled = list(states)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert wanted_person([who], states, policy) == wanted_person([who], shuffled, policy)


@given(STATES, st.booleans())
def test_no_email_is_wanted_exactly_when_an_opt_out_holds(states: list[PooledState], opted_out: bool) -> None:
    wanted = wanted_person([prospect(opted_out=opted_out)], states, LATEST)
    assert wanted.no_email == (opted_out or any(one.state == "opted_out" for one in states))
