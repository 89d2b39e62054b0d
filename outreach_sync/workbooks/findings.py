"""What is wrong with a Workbooks before the first record is written: fields, permissions, picklist labels.

Pure: the metadata that was read goes in, findings for people come out.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.workbooks.formats import ROLE_DATATYPES, Datatype

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from outreach_sync.workbooks.metadata import FieldType, RecordType

_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"))
_DATATYPE_WORDS = {
    Datatype.BOOLEAN: ("boolean",),
    Datatype.DATETIME: ("datetime", "date_time", "var_date_time", "timestamp"),
    Datatype.TEXT: ("string", "text", "picklist", "memo"),
}


class Finding(NamedTuple):
    """One thing that is wrong: the field, picklist label or action it is about, what is wrong, and what to do.

    `fatal` says whether writes would fail; otherwise it may work.
    """

    subject: str
    problem: str
    hint: str
    fatal: bool


class MissingLabel(NamedTuple):
    """A label that a picklist lacks, and the entry most like it: a hyphen for a dash, another case; None if none is."""

    label: str
    nearest: str | None


def field_problems(described: RecordType, wanted: Mapping[str, str]) -> tuple[Finding, ...]:
    """Compare the configured fields, by role, with what the record type has."""
    checked = (_field_problem(described, role, name) for role, name in wanted.items())
    return tuple(finding for finding in checked if finding is not None)


def permission_problems(described: RecordType, actions: Iterable[str]) -> tuple[Finding, ...]:
    """Name the actions (create, update) that the key's user may not take on this record type."""
    return tuple(
        Finding(
            subject=described.controller or described.class_name,
            problem=f"the user of the API key may not {action} records",
            hint="Give that user the permission in Workbooks.",
            fatal=True,
        )
        for action in actions
        if action not in described.permitted
    )


def hidden_type(class_name: str) -> Finding:
    """Name a record type that the metadata does not list."""
    return Finding(class_name, "the API key cannot see this record type", "Give its user access in Workbooks.", True)


def missing_labels(entries: Sequence[str], labels: Iterable[str]) -> tuple[MissingLabel, ...]:
    """Name the labels that are no entry of the picklist, to the letter, each with the nearest entry."""
    present = set(entries)
    return tuple(MissingLabel(label, _nearest(label, entries)) for label in labels if label not in present)


def typographic_twin(label: str, entries: Iterable[str]) -> str | None:
    """Return the entry that differs from the label only in dashes, blanks or case; None where there is none."""
    return next((entry for entry in entries if entry != label and _plain(entry) == _plain(label)), None)


def _field_problem(described: RecordType, role: str, name: str) -> Finding | None:
    field = described.fields.get(name)
    key = f"workbooks.fields.{role}"
    if field is None:
        near = difflib.get_close_matches(name, described.fields, n=1, cutoff=0.7)
        hint = f"Did you mean {near[0]}? " if near else ""
        return Finding(name, f"{described.class_name} has no such field", f"{hint}Set {key}, or run `provision`.", True)
    if not field.updateable:
        return Finding(name, "the field cannot be written", f"Choose another field for {key}.", True)
    return _datatype_problem(field, role, key)


def _datatype_problem(field: FieldType, role: str, key: str) -> Finding | None:
    """Judge the datatype. The list of Workbooks' words is not published, so an unknown one is but a warning."""
    expected = ROLE_DATATYPES.get(role, Datatype.TEXT)
    word = field.datatype.lower()
    if any(known in word for known in _DATATYPE_WORDS[expected]):
        return None
    if expected is Datatype.DATETIME and "date" in word:
        return Finding(field.name, "the field holds days, so times of day are lost", f"{key} wants a date-time.", False)
    known_words = [known for words in _DATATYPE_WORDS.values() for known in words]
    certain = any(known in word for known in known_words)
    problem = f"the field holds {field.datatype or 'something unnamed'}, not {expected}"
    return Finding(field.name, problem, f"Choose another field for {key}.", certain)


def _nearest(label: str, entries: Sequence[str]) -> str | None:
    by_plain = {_plain(entry): entry for entry in reversed(entries)}
    near = difflib.get_close_matches(_plain(label), by_plain, n=1, cutoff=0.75)
    return by_plain[near[0]] if near else None


def _plain(label: str) -> str:
    return " ".join(label.translate(_DASHES).casefold().split())
