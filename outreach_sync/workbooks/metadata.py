"""What Workbooks says of itself (record types, fields, picklists), how new ones are made, and what is wrong with them.

Facts: the guide on metadata and picklists, the bindings' examples. Names of fields are never derived from titles.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.rules.person import Datatype
from outreach_sync.workbooks import wire

if TYPE_CHECKING:
    from outreach_sync.workbooks.client import Workbooks

_TYPE_COLUMNS = ("class_name", "controller_path", "actions", "fields")
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"))
_DATATYPE_WORDS = {
    Datatype.BOOLEAN: ("boolean",),
    Datatype.DATETIME: ("datetime", "date_time", "var_date_time", "timestamp"),
    Datatype.TEXT: ("string", "text", "picklist", "memo"),
}


class PicklistLink(NamedTuple):
    """The picklist a field draws on. `auto_create`: an unknown value becomes an entry; `unrestricted`: it is taken."""

    picklist_id: int | None
    name: str
    unrestricted: bool
    auto_create: bool


class FieldType(NamedTuple):
    """One field."""

    name: str
    title: str
    datatype: str  # Workbooks' word
    createable: bool
    updateable: bool
    picklist: PicklistLink | None
    required: bool = False  # a new record must have it, and it has no default


class RecordType(NamedTuple):
    """One record type: its fields by name, and the actions (create, update...) that the key may take."""

    class_name: str
    controller: str
    fields: Mapping[str, FieldType]
    permitted: frozenset[str]


class Finding(NamedTuple):
    """One thing that is wrong, with what, and what to do; where it is not `fatal`, writes may work."""

    subject: str
    problem: str
    hint: str
    fatal: bool


def read_types(client: Workbooks, class_names: Sequence[str]) -> dict[str, RecordType]:
    """Read record types by class name; one that is absent does not exist or is hidden. Raises as `Workbooks.read`."""
    extra = tuple(("class_names[]", name) for name in class_names)
    rows = client.page("metadata/types", wire.Reading((), _TYPE_COLUMNS, extra=extra))
    types = {}
    for row in rows:
        name, controller = str(row.get("class_name") or ""), str(row.get("controller_path") or "")
        fields = {str(one["name"]): _field_type(one) for one in wire.maps(row.get("fields")) if one.get("name")}
        actions = wire.maps(row.get("actions"))
        permitted = frozenset(str(one.get("name")) for one in actions if wire.read_boolean(one.get("permitted")))
        types[name] = RecordType(name, controller, fields, permitted)
    return {name: one for name, one in types.items() if name in class_names}


def read_picklist_entries(client: Workbooks, picklist_ids: Iterable[int]) -> dict[int, tuple[str, ...]]:
    """Read the entries of picklists; each id that was asked for is a key. Raises as `Workbooks.read`."""
    ids = sorted(set(picklist_ids))
    rows = client.by_values("admin/picklist_entries", "picklist_id", map(str, ids), ("id", "value"))
    return {one: tuple(wire.read_text(row.get("value")) or "" for row in rows.get(str(one), ())) for one in ids}


def systemic_problem(client: Workbooks) -> str | None:
    """Say what makes Workbooks refuse everything (a field gone, a permission), None where nothing does; one request."""
    types = read_types(client, (wire.PERSON_CLASS, wire.TASK_CLASS))
    found: list[Finding] = []
    for class_name, actions in ((wire.PERSON_CLASS, ("create", "update")), (wire.TASK_CLASS, ("create",))):
        described = types.get(class_name)
        if described is None:
            found.append(hidden_type(class_name))
            continue
        found += field_problems(described, client.fields if class_name == wire.PERSON_CLASS else {})
        found += permission_problems(described, actions)
    return "; ".join(f"{one.subject}: {one.problem}" for one in found if one.fatal) or None


def _field_type(field: Mapping[str, Any]) -> FieldType:
    link, picklist = field.get("picklist"), None
    if isinstance(link, Mapping):
        flags = (bool(wire.read_boolean(link.get(flag))) for flag in ("unrestricted", "auto_create"))
        picklist = PicklistLink(wire.read_integer(link.get("picklist_id")), str(link.get("name") or ""), *flags)
    name, title, datatype = (str(field.get(word) or "") for word in ("name", "title", "datatype"))
    words = ("is_createable", "is_updateable", "required")
    createable, updateable, required = (bool(wire.read_boolean(field.get(word))) for word in words)
    needed = required and field.get("default_value") in (None, "")
    return FieldType(name, title, datatype, createable, updateable, picklist, needed)


def field_problems(described: RecordType, wanted: Mapping[str, str]) -> tuple[Finding, ...]:
    """Compare the configured fields, by role, with the record type."""
    found = []
    for role, name in wanted.items():
        key, field = f"workbooks.fields.{role}", described.fields.get(name)
        if field is None:
            near = difflib.get_close_matches(name, described.fields, n=1, cutoff=0.7)
            hint = f"{f'Did you mean {near[0]}? ' if near else ''}Set {key}, or run `provision`."
            found.append(Finding(name, f"{described.class_name} has no such field", hint, True))
            continue
        expected, word = wire.ROLE_DATATYPES.get(role, Datatype.TEXT), field.datatype.lower()
        kinds = [kind for kind, words in _DATATYPE_WORDS.items() if any(known in word for known in words)]
        if not field.updateable:
            found.append(Finding(name, "the field cannot be written", f"Choose another field for {key}.", True))
        elif expected is Datatype.DATETIME and expected not in kinds and "date" in word:
            problem = "the field holds days, so times of day are lost"
            found.append(Finding(name, problem, f"{key} wants a date-time.", False))
        elif expected not in kinds:
            problem = f"the field holds {field.datatype or 'something unnamed'}, not {expected}"
            fatal = bool(kinds)  # Workbooks' words are not published: an unknown one is but a warning
            found.append(Finding(name, problem, f"Choose another field for {key}.", fatal))
    return tuple(found)


def permission_problems(described: RecordType, actions: Iterable[str]) -> tuple[Finding, ...]:
    """Name the actions (create, update) that the key's user may not take on this record type."""
    name, hint = described.controller or described.class_name, "Give that user the permission in Workbooks."
    missing = (action for action in actions if action not in described.permitted)
    return tuple(Finding(name, f"the user of the API key may not {action} records", hint, True) for action in missing)


def hidden_type(class_name: str) -> Finding:
    """Name a record type that the metadata does not list."""
    return Finding(class_name, "the API key cannot see this record type", "Give its user access in Workbooks.", True)


def missing_labels(entries: Sequence[str], labels: Iterable[str]) -> dict[str, str | None]:
    """Return the labels that are no entry of the picklist, to the letter, each with the entry most like it, or None."""
    by_plain = {plain(entry): entry for entry in reversed(entries)}
    missing = dict[str, str | None]()
    for label in labels:
        if label not in entries:
            near = difflib.get_close_matches(plain(label), by_plain, n=1, cutoff=0.75)
            missing[label] = by_plain[near[0]] if near else None
    return missing


def plain(label: str) -> str:
    """Return a label without what is only typography: dashes, blanks and case."""
    return " ".join(label.translate(_DASHES).casefold().split())
