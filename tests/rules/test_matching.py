"""Whose Person a prospect is: what is asked, and that nothing is guessed."""

from __future__ import annotations

import pytest

from outreach_sync.records import Prospect
from outreach_sync.rules.person import Ambiguous, Found, mailbox, questions, verdict

ADA = Prospect(
    18, "Ada", "Example", (" Ada@Example.com", "ada@work.example", ""), " pers-12 ", False, None, False, None, None, 1
)


@pytest.mark.parametrize(
    ("rule", "asked"),
    [
        ("link", ()),
        ("outreach_id", ("18",)),
        ("reference", ("outreach-prospect-18",)),
        ("external_id", ("PERS-12",)),
        ("email", ("Ada@Example.com", "ada@work.example")),
    ],
)
def test_each_rule_asks_for_its_own_values(rule: str, asked: tuple[str, ...]) -> None:
    assert questions(rule, ADA) == asked


@pytest.mark.parametrize("external", [None, "", "12", "ORG-12", "PERS-", "PERS-12x", "PERS-१२"])
def test_an_external_id_that_is_no_reference_to_a_person_is_not_asked_for(external: str | None) -> None:
    assert questions("external_id", ADA._replace(external_id=external)) == ()


def test_exactly_one_person_is_a_match_however_often_it_is_found() -> None:
    assert verdict([7, 7], "email") == Found(7, "email")


def test_nobody_is_no_match() -> None:
    assert verdict([], "email") is None


def test_several_people_are_never_resolved_by_guessing() -> None:
    found = verdict([9, 7, 9], "email")
    assert found == Ambiguous((7, 9), "email")
    assert isinstance(found, Ambiguous)
    assert "7, 9" in found.reason


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        (" ada@example.com\t", "ada@example.com"),
        ("JÖRG@EXAMPLE.COM", "jörg@example.com"),
        ("STRAẞE@EXAMPLE.COM", "straße@example.com"),
    ],
)
def test_case_and_blanks_around_an_address_make_no_other_mailbox(one: str, other: str) -> None:
    assert mailbox(one) == mailbox(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("info@straße.example", "info@strasse.example"),
        ("o\ufb03ce@example.com", "office@example.com"),
        ("\u212aate@example.com", "kate@example.com"),
        ("\u0130da@example.com", "ida@example.com"),
        ("a da@example.com", "ada@example.com"),
    ],
)
def test_what_is_more_than_case_is_another_mailbox(one: str, other: str) -> None:
    assert mailbox(one) != mailbox(other)
