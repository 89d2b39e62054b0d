from typing import Any

import pytest
from hypothesis import given, strategies as st

from outreach_sync.config.model import DEFAULT_LABELS, Config, Fields, Sync, Workbooks
from outreach_sync.instants import Instant, parse_iso
from outreach_sync.records import Prospect
from outreach_sync.rules import person as rules
from outreach_sync.rules.person import Ambiguous, Found, Held, PooledProspect, PooledState, Wanted
from tests.harness import RUNNING

SEEN = parse_iso("2026-09-01T00:00:00Z")
OLD = parse_iso("2026-09-02T10:00:00Z")
NEW = parse_iso("2026-09-03T10:00:00Z")
LATEST = Config()
LISTING = LATEST.model_copy(update={"workbooks": Workbooks(fields=Fields(sequences="f_sequences", outreach_id="f_id"))})
FIRST = ("active", "finished")
PRECEDENCE = LATEST.model_copy(update={"sync": Sync(multiple_sequences="precedence", precedence=FIRST)})
WHO = PooledProspect(18, False, None, False, None, None, False)
GONE, OPTED_OUT, NO_MAILS = WHO._replace(trashed=True), WHO._replace(opted_out=True), WHO._replace(email_opted_out=True)


def state(state_id: int, word: str, at: Instant | None = OLD, **changes: Any) -> PooledState:
    return PooledState(state_id, 18, 1, word, at, "Trial")._replace(**changes)


def decided(*states: PooledState, who: PooledProspect = WHO, by: Config = LATEST) -> Wanted:
    return rules.wanted_person([who], states, by)


LABELS = {
    "active": RUNNING, "paused": "Active \u2013 Paused", "opted_out": "Opted Out", "finished": "Finished",
    "pending": "Pending", "disabled": "Disabled", "failed": "Failed", "bounced": "Bounced",
}  # fmt: skip


def test_each_state_gets_its_label_and_its_time_and_where_there_is_none_the_time_is_left_alone() -> None:
    for word, label in LABELS.items():
        wanted = decided(state(1, word))
        assert (wanted.sequence_state, wanted.state_updated_at, wanted.problem) == (label, OLD, None)
    for wanted in (decided(), decided(state(1, "active", NEW), who=GONE)):
        assert (wanted.sequence_state, wanted.state_updated_at, wanted.no_email) == ("Not Active", None, False)


@pytest.mark.parametrize(
    ("precedence", "first", "second", "shown"),
    [
        ((), (1, "finished", OLD), (2, "active", NEW), 2), ((), (1, "finished", NEW), (2, "active", OLD), 1),
        ((), (7, "finished", OLD), (3, "active", OLD), 7), ((), (1, "finished", None), (2, "active", OLD), 2),
        (FIRST, (1, "active", OLD), (2, "finished", NEW), 1), (FIRST, (1, "active", OLD), (2, "active", NEW), 2),
        (FIRST, (1, "bounced", NEW), (2, "finished", OLD), 2), (FIRST, (1, "bounced", OLD), (2, "failed", NEW), 2),
    ],
)  # fmt: skip
def test_the_first_listed_state_then_the_latest_then_the_highest_id_is_shown(
    precedence: tuple[str, ...], first: Any, second: Any, shown: int
) -> None:
    assert rules.shown_state([state(*first), state(*second)], precedence).id == shown


@pytest.mark.parametrize("by", [LATEST, PRECEDENCE])
def test_an_opt_out_beats_everything_in_both_modes(by: Config) -> None:
    active, out = state(2, "active", NEW), state(1, "opted_out", OLD)
    both = OPTED_OUT._replace(trashed=True)
    for who, states in ((OPTED_OUT, [active]), (NO_MAILS, [active]), (WHO, [out, active]), (both, []), (GONE, [out])):
        wanted = decided(*states, who=who, by=by)
        assert (wanted.sequence_state, wanted.no_email) == ("Opted Out", True), (who, states)


@pytest.mark.parametrize(
    ("who", "at"),
    [
        (OPTED_OUT._replace(opted_out_at=NEW), NEW), (OPTED_OUT._replace(opt_out_seen_at=SEEN), SEEN),
        (NO_MAILS._replace(emails_opted_at=NEW, opt_out_seen_at=SEEN), NEW),
        (NO_MAILS._replace(opt_out_seen_at=SEEN), SEEN),
        (OPTED_OUT._replace(emails_opted_at=NEW, opt_out_seen_at=SEEN), SEEN),
        (OPTED_OUT._replace(email_opted_out=True, opted_out_at=OLD, emails_opted_at=NEW), OLD),
    ],
)  # fmt: skip
def test_the_time_of_an_opt_out_is_that_of_the_state_else_of_the_prospect(who: PooledProspect, at: Instant) -> None:
    assert decided(who=who).state_updated_at == at
    assert decided(state(1, "opted_out", SEEN - 1), who=who).state_updated_at == SEEN - 1


def test_states_of_a_pool_are_pooled_and_the_lowest_id_is_written() -> None:
    renewal = state(2, "active", NEW, prospect_id=9, sequence_id=2, sequence_name="Renewal")
    states = [state(1, "finished", OLD, prospect_id=5), renewal]
    wanted = rules.wanted_person([WHO._replace(id=9), WHO._replace(id=5)], states, LISTING)
    assert wanted.outreach_id == "5"
    assert wanted.sequences == f"Renewal: {RUNNING} (2026-09-03)\nTrial: Finished (2026-09-02)"


def test_a_sequence_is_listed_once_by_its_newest_state_and_its_name_cannot_forge_a_line() -> None:
    states = [state(1, "finished", OLD), state(2, "active", NEW)]
    assert decided(*states, by=LISTING).sequences == f"Trial: {RUNNING} (2026-09-03)"
    forged = decided(state(1, "active", sequence_name="Trial\nRenewal: Finished (2020-01-01)"), by=LISTING)
    assert forged.sequences == f"Trial Renewal: Finished (2020-01-01): {RUNNING} (2026-09-02)"
    hidden = decided(state(1, "active", sequence_name=None), by=LISTING)
    assert hidden.sequences == f"Sequence 1: {RUNNING} (2026-09-02)"


def test_an_unknown_state_is_refused_by_name_where_it_would_be_shown_or_listed_but_for_an_opt_out() -> None:
    known, unknown = state(1, "active", OLD), state(4, "napping", NEW, sequence_id=2)
    wanted, older = decided(known, unknown), unknown._replace(at=SEEN)
    assert wanted.sequence_state is None
    assert str(wanted.problem).startswith("sequence state 4 has the state 'napping'")
    assert (decided(known, older).sequence_state, decided(known, older).problem) == (RUNNING, None)
    assert decided(known, older, by=LISTING).sequence_state is None
    wanted = decided(unknown, who=OPTED_OUT, by=LISTING)
    assert (wanted.sequence_state, wanted.no_email, wanted.sequences) == ("Opted Out", True, None)
    assert wanted.problem is not None


WORDS = st.sampled_from([*DEFAULT_LABELS, "napping"])
TIMES = st.sampled_from([OLD, NEW, SEEN, None])
ONE = st.builds(state, st.integers(1, 99), WORDS, TIMES, sequence_id=st.integers(1, 3))
STATES = st.lists(ONE, max_size=6, unique_by=lambda one: one.id)


@given(
    STATES.flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))),
    st.sampled_from([WHO, OPTED_OUT]),
    st.sampled_from([LATEST, PRECEDENCE, LISTING]),
)
def test_the_order_in_which_states_are_read_never_matters_and_no_email_is_wanted_exactly_for_an_opt_out(
    orders: Any, who: PooledProspect, by: Config
) -> None:
    one, other = (decided(*states, who=who, by=by) for states in orders)
    assert one == other
    assert one.no_email == (who is OPTED_OUT or any(state.state == "opted_out" for state in orders[0]))


ADA = Prospect(18, "Ada", "Example", ("ada@example.com",), None, False, None, False, None, None, 1, {"title": "CTO"})


def test_a_person_gets_names_address_reference_and_the_configured_attributes() -> None:
    assert rules.base_fields([ADA], {"person_job_title": "title", "cf_person_source": "absent"}) == {
        "name": "Ada Example",
        "person_first_name": "Ada",
        "person_last_name": "Example",
        "main_location[email]": "ada@example.com",
        "created_through_reference": "outreach-prospect-18",
        "person_job_title": "CTO",
    }


def test_the_required_name_is_never_empty_nor_too_long_and_the_address_may_be_anothers_of_the_pool() -> None:
    nameless = ADA._replace(first_name=None, last_name=None)
    named = [ADA._replace(first_name=None), ADA._replace(last_name=" "), nameless, nameless._replace(emails=())]
    names = ["Example", "Ada", "ada@example.com", "Outreach prospect 18"]
    assert [rules.base_fields([who], {})["name"] for who in named] == names
    fields = rules.base_fields([ADA._replace(last_name="x" * 300)], {})
    assert [len(str(fields[name])) for name in ("name", "person_last_name")] == [255, 255]
    assert rules.base_fields([ADA._replace(emails=()), ADA], {})["main_location[email]"] == "ada@example.com"


AT = parse_iso("2026-09-01T10:12:31Z")
WANTED = Wanted("Finished", AT, False, "18", "A: Finished", False, None, "")
SAME = Held("Finished", AT, False, "18", "A: Finished")


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
def test_exactly_the_field_that_differs_and_not_only_looks_so_is_written(held: Any, written: dict[str, object]) -> None:
    assert rules.differences(WANTED, SAME._replace(**held)) == written


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
    assert rules.recognised(read, OURS, {}, same_version=True) == (OURS, {role: made})
    assert rules.recognised(read, OURS, {role: made}, same_version=False) == (OURS, {role: made})


@pytest.mark.parametrize(
    ("role", "now", "known", "same_version"),
    [
        ("sequence_state", None, "Finished", True), ("sequences", None, "A: Finished", True),
        ("state_updated_at", AT, parse_iso("2026-09-01"), True), ("no_email", False, True, True),
        ("state_updated_at", parse_iso("2026-08-01"), AT, True), ("sequence_state", "Pending", "Läuft 🎉", False),
    ],
)  # fmt: skip
def test_what_somebody_wrote_since_is_not_taken_for_ours(role: str, now: Any, known: Any, same_version: bool) -> None:
    read, kept_as = SAME._replace(**{role: now}), {} if same_version else {"sequence_state": "Läuft ?"}
    held = rules.recognised(read, SAME._replace(**{role: known}), kept_as, same_version=same_version)
    assert held == (read, {})
    assert rules.recognised(read, SAME._replace(**{role: known}), {}, same_version=False) == (read, {})


def test_an_opt_out_sets_no_email_where_it_is_not_set_and_none_means_leave_alone() -> None:
    for now in (False, None):
        assert rules.differences(WANTED._replace(no_email=True), SAME._replace(no_email=now)) == {"no_email": True}
    leave = Wanted(None, None, False, None, None, False, None, "")
    assert rules.differences(leave, Held("x", AT, no_email=True, outreach_id="1", sequences="y")) == {}


MATCHED = ADA._replace(emails=(" Ada@Example.com", "ada@work.example", ""), external_id=" pers-12 ")


def test_each_rule_asks_for_its_own_values_and_only_for_a_reference_to_a_person() -> None:
    assert {rule: rules.questions(rule, MATCHED) for rule in Sync().people.match} == {
        "link": (),
        "outreach_id": ("18",),
        "reference": ("outreach-prospect-18",),
        "external_id": ("PERS-12",),
        "email": ("Ada@Example.com", "ada@work.example"),
    }
    for external in (None, "", "12", "ORG-12", "PERS-", "PERS-12x", "PERS-१२", "PER\u017f-12"):
        assert rules.questions("external_id", MATCHED._replace(external_id=external)) == ()


def test_exactly_one_person_is_a_match_however_often_it_is_found_and_several_are_never_resolved_by_guessing() -> None:
    assert (rules.verdict([7, 7], "email"), rules.verdict([], "email")) == (Found(7, "email"), None)
    found = rules.verdict([9, 7, 9], "email")
    assert found == Ambiguous((7, 9), "email")
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
    assert (rules.mailbox(one) == rules.mailbox(other)) is same
