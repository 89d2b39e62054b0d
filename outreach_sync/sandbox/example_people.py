"""Who is in the example data: sixty invented prospects, and for those with something special, what it is."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

FIRST_NAMES = (
    *(
        "Ada",
        "Bo",
        "Çağla",
        "Dörte",
        "Émile",
        "Fiona",
        "Gwen",
        "Håkon",
        "Inés",
        "José",
        "Kaja",
        "Łucja",
        "Mika",
        "Nuno",
    ),
    *(
        "Óscar",
        "Petra",
        "Quinn",
        "Rui",
        "Søren",
        "Tomáš",
        "Ümit",
        "Vera",
        "Wanda",
        "Xenia",
        "Yara",
        "Zoë",
        "李",
        "Ольга",
    ),
    *("Siobhán", "D'Arcy"),
)
LAST_NAMES = ("Example", "Muster", "Przykład", "O'Sample", "Ejemplo", "Van den Voorbeeld")
TITLES = ("Head of Sales", "IT Director", "Buyer", "Operations", None, "CFO & co-founder")
_PLAIN_LETTERS = {"ł": "l", "ø": "o", "ğ": "g", "李": "li", "Ольга": "olga"}
PROSPECTS = 60


class Special(NamedTuple):
    """What is special about a prospect.

    `emails` replaces the ordinary address. `person` says how the Person in Workbooks relates to the prospect: ``email``
    (has its address), ``none`` (there is none), ``other_case``, ``second_email``, ``external_id``, ``reference``,
    ``twice`` (two People have the address), ``same_as_before`` (the Person of the prospect before), ``deleted``,
    ``no_email`` (with No Email set already). `states` fixes its sequence states; None leaves them to chance.
    """

    what: str
    emails: tuple[str, ...] | None = None
    person: str = "email"
    states: tuple[str, ...] | None = None
    opt_out: str = ""
    external_id: str | None = None


SPECIALS: dict[int, Special] = {
    2: Special("opted out of everything", opt_out="all", states=("active", "finished")),
    3: Special("opted out of e-mail, it is known when", opt_out="email", states=("paused",)),
    4: Special("opted out of e-mail, nobody knows when", opt_out="email_undated", states=("active",)),
    5: Special("opted out in one of two sequences", states=("opted_out", "active")),
    6: Special("had opted out, was resumed: No Email stays", person="no_email", states=("active",)),
    7: Special("an address with a comma", emails=('"muster, dörte"@example.com',), states=("active",)),
    8: Special("an address with a plus sign", emails=("bo+outreach@example.org",), states=("pending",)),
    9: Special("an address in mixed case", emails=("Ines.Mixed@Example.COM",), person="other_case", states=("active",)),
    10: Special("an address with an apostrophe", emails=("jose.o'sample@example.com",), states=("bounced",)),
    11: Special("shares an address that Workbooks lacks", emails=("shared@example.net",), person="none"),
    12: Special("shares an address that Workbooks lacks", emails=("Shared@example.net",), person="none"),
    13: Special("one Person with the next", emails=("nuno@example.com",), states=("finished",)),
    14: Special("one Person with the one before", emails=("nuno@example.com",), person="same_as_before"),
    15: Special("externalId names the Person", person="external_id", states=("active",)),
    16: Special("two People have the address", person="twice", states=("paused",)),
    17: Special("has no address", emails=(), person="none", states=("active",)),
    18: Special("in the bin", states=("finished",), opt_out="trashed"),
    19: Special("in no sequence, known to Workbooks", states=()),
    20: Special("in no sequence, unknown to Workbooks", person="none", states=()),
    21: Special("the Person was deleted", person="deleted", states=("active",)),
    22: Special(
        "the second address is the known one",
        emails=("vera.private@example.org", "vera@example.com"),
        person="second_email",
        states=("finished", "paused"),
    ),
    23: Special("created by an earlier integration", person="reference", states=("failed",)),
    24: Special("externalId names nobody", external_id="PERS-999999", states=("disabled",)),
    25: Special("externalId is another system's", external_id="0031x00000ABCDE", states=("active", "active")),
    26: Special("opted out, and nobody in Workbooks", opt_out="all", person="none", states=()),
}
"""What is special, by the id of the prospect; the others are ordinary."""


class Someone(NamedTuple):
    """One prospect of the example."""

    id: int
    first: str
    last: str
    emails: tuple[str, ...]
    title: str | None
    special: Special


def people() -> list[Someone]:
    """List all prospects in the order of their ids, always the same."""
    return [_someone(id_) for id_ in range(1, PROSPECTS + 1)]


def _someone(id_: int) -> Someone:
    first = FIRST_NAMES[(id_ - 1) % len(FIRST_NAMES)]
    last = LAST_NAMES[(id_ - 1) // 2 % len(LAST_NAMES)]
    person = "none" if id_ % 7 == 0 and id_ not in SPECIALS else "email"
    special = SPECIALS.get(id_, Special("", person=person))
    ordinary = (f"{_letters(first)}.{_letters(last)}{id_}@example.com",)
    emails = ordinary if special.emails is None else special.emails
    return Someone(id_, first, last, emails, TITLES[id_ % len(TITLES)], special)


def _letters(name: str) -> str:
    """Write a name with the letters a to z, as people do in their addresses."""
    lowered = name.lower()
    for letter, plain in _PLAIN_LETTERS.items():
        lowered = lowered.replace(letter.lower(), plain)
    decomposed = unicodedata.normalize("NFKD", lowered)
    return "".join(letter for letter in decomposed if letter.isascii() and letter.isalnum())
