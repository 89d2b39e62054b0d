"""Which Person a prospect is: the first rule that finds exactly one live Person wins, and nothing is ever guessed."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from outreach_sync.records import Prospect

_OBJECT_REF = re.compile(r"PERS-\d+", re.ASCII)


class Found(NamedTuple):
    """Exactly one Person, and the rule that found it."""

    person_id: int
    rule: str


class Ambiguous(NamedTuple):
    """Several Persons under one rule."""

    person_ids: tuple[int, ...]
    rule: str

    @property
    def reason(self) -> str:
        """Say it for people."""
        listed = ", ".join(str(person_id) for person_id in self.person_ids)
        return (
            f"ambiguous: the rule '{self.rule}' finds {len(self.person_ids)} people ({listed}): merge them in Workbooks"
        )


def verdict(person_ids: Collection[int], rule: str) -> Found | Ambiguous | None:
    """Judge what one rule found."""
    distinct = sorted(set(person_ids))
    if not distinct:
        return None
    return Found(distinct[0], rule) if len(distinct) == 1 else Ambiguous(tuple(distinct), rule)


def prospect_reference(prospect_id: int) -> str:
    """Return the `created_through_reference` of the Person that is created for a prospect."""
    return f"outreach-prospect-{prospect_id}"


def task_reference(task_id: int) -> str:
    """Return the `created_through_reference` of the Task that is created for a skipped task."""
    return f"outreach-task-{task_id}"


def mailbox(address: str) -> str:
    """Return the form in which two spellings of one address are equal: without blanks around it, in lower case.

    Case alone is ignored, one character for one: `ß` is not `ss`, `ﬃ` is not `ffi`, the Kelvin sign is not `k`. Those
    are other mailboxes.
    """
    bare = address.strip()
    return bare.lower() if bare.isascii() else "".join(map(_lower, bare))


def _lower(character: str) -> str:
    lower = character.lower()
    return lower if len(lower) == 1 and unicodedata.normalize("NFC", character) == character else character


def questions(rule: str, prospect: Prospect) -> tuple[str, ...]:
    """Return the values that a rule looks up for a prospect; none: the rule does not apply."""
    match rule:
        case "outreach_id":
            return (str(prospect.id),)
        case "reference":
            return (prospect_reference(prospect.id),)
        case "external_id":
            external = (prospect.external_id or "").strip().upper()
            return (external,) if _OBJECT_REF.fullmatch(external) else ()
        case "email":
            return tuple(dict.fromkeys(address.strip() for address in prospect.emails if address.strip()))
    return ()
