"""What Workbooks says of itself (record types, fields, picklists), how new ones are made, and what is wrong with them.

Facts: the guide's sections on metadata and picklists, the bindings' custom-field and picklist examples. Names of custom
fields are read here and never derived from titles.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.records import Write, WriteValue
from outreach_sync.rules.person import Datatype
from outreach_sync.workbooks.wire import (
    PERSON_CLASS,
    ROLE_DATATYPES,
    TASK_CLASS,
    Reading,
    Row,
    maps,
    read_boolean,
    read_integer,
    read_text,
    record_id,
)

if TYPE_CHECKING:
    from outreach_sync.records import Verdict
    from outreach_sync.workbooks.client import Workbooks

_TYPES = "metadata/types"
_PICKLISTS = "admin/picklists"
_ENTRIES = "admin/picklist_entries"
_CUSTOM_FIELDS = "admin/custom_fields"
_TYPE_COLUMNS = ("class_name", "controller_path", "actions", "fields")
_CUSTOM_FIELD_COLUMNS = ("id", "title", "status", "value_column_name")
_AVAILABLE = "available"
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
    """One field of a record type; `datatype` is Workbooks' word (boolean, picklist_data, string...).

    `required`: a new record must have it, and it has no default.
    """

    name: str
    title: str
    datatype: str
    createable: bool
    updateable: bool
    picklist: PicklistLink | None
    required: bool = False


class RecordType(NamedTuple):
    """One record type: its fields by name, and the actions (create, update...) that the key may take."""

    class_name: str
    controller: str
    fields: Mapping[str, FieldType]
    permitted: frozenset[str]


class CustomField(NamedTuple):
    """A custom field as the administration knows it; `column` is its name in records, None while there is none."""

    id: int
    title: str
    status: str
    column: str | None

    @property
    def available(self) -> bool:
        """Say whether records have it already; a new one may take a while."""
        return self.status.lower() == _AVAILABLE and self.column is not None


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


class Metadata:
    """Reads and extends the description of one Workbooks. Reading raises as `Workbooks.read` does."""

    def __init__(self, client: Workbooks) -> None:
        """Send nothing yet."""
        self._client = client

    def read_types(self, class_names: Sequence[str]) -> dict[str, RecordType]:
        """Read record types by class name; one that is absent does not exist or is hidden from us."""
        extra = tuple(("class_names[]", name) for name in class_names)
        rows = self._client.page(_TYPES, Reading((), _TYPE_COLUMNS, extra=extra), paged=False)
        types = [
            RecordType(
                class_name=str(row.get("class_name") or ""),
                controller=str(row.get("controller_path") or ""),
                fields={
                    str(field["name"]): _field_type(field) for field in maps(row.get("fields")) if field.get("name")
                },
                permitted=frozenset(
                    str(action.get("name"))
                    for action in maps(row.get("actions"))
                    if read_boolean(action.get("permitted"))
                ),
            )
            for row in rows
        ]
        return {one.class_name: one for one in types if one.class_name in class_names}

    def problems(self, fields: Mapping[str, str]) -> tuple[Finding, ...]:
        """Compare the configured fields, by role, and the needed permissions with the metadata, in one request."""
        types = self.read_types((PERSON_CLASS, TASK_CLASS))
        person, task = types.get(PERSON_CLASS), types.get(TASK_CLASS)
        of_person = (
            (hidden_type(PERSON_CLASS),)
            if person is None
            else field_problems(person, fields) + permission_problems(person, ("create", "update"))
        )
        return of_person + ((hidden_type(TASK_CLASS),) if task is None else permission_problems(task, ("create",)))

    def read_picklist_entries(self, picklist_ids: Iterable[int]) -> dict[int, tuple[str, ...]]:
        """Read the entries of picklists; each id that was asked for is a key."""
        ids = sorted(set(picklist_ids))
        rows = self._client.by_values(_ENTRIES, "picklist_id", map(str, ids), ("id", "value"))
        return {one: tuple(read_text(row.get("value")) or "" for row in rows.get(str(one), ())) for one in ids}

    def find_picklists(self, name: str) -> tuple[int, ...]:
        """Find the ids of all picklists of this name."""
        return tuple(map(record_id, self._client.by_values(_PICKLISTS, "name", (name,), ("id",)).get(name, ())))

    def create_picklist(self, name: str, description: str) -> Verdict:
        """Create an empty picklist. Needs an administrator's key. Raises as `Workbooks.write` does."""
        return self._client.write(_PICKLISTS, [Write(0, 0, {"name": name, "description": description})])[0]

    def add_picklist_entries(self, picklist_id: int, values: Sequence[str]) -> tuple[Verdict, ...]:
        """Add entries to a picklist, in order. Raises as `Workbooks.write` does."""
        writes = [Write(0, 0, {"picklist_id": picklist_id, "value": value}) for value in values]
        return self._client.write(_ENTRIES, writes)

    def find_custom_fields(self, title: str) -> tuple[CustomField, ...]:
        """Find the custom fields of this title, of whatever record type."""
        rows = self._client.by_values(_CUSTOM_FIELDS, "title", (title,), _CUSTOM_FIELD_COLUMNS)
        return tuple(map(_custom_field, rows.get(title, ())))

    def create_custom_field(
        self, *, title: str, class_name: str, data_type: str, description: str, picklist_id: int | None = None
    ) -> Verdict:
        """Create a custom field; `data_type` is a word of the examples (boolean, string, picklist, date...).

        Needs an administrator's key. Raises as `Workbooks.write` does.
        """
        fields: dict[str, WriteValue] = {
            "title": title,
            "resource_type": class_name,
            "data_type": data_type,
            "description": description,
        }
        if picklist_id is not None:
            fields["picklist_id"] = picklist_id
        return self._client.write(_CUSTOM_FIELDS, [Write(0, 0, fields)])[0]

    def read_custom_field(self, field_id: int) -> CustomField | None:
        """Read one custom field, to see whether it is available yet; None where it is not (yet) to be seen."""
        rows = self._client.by_ids(_CUSTOM_FIELDS, (field_id,), _CUSTOM_FIELD_COLUMNS, include_deleted=False)
        return _custom_field(rows[0]) if rows else None


def _field_type(field: Mapping[str, Any]) -> FieldType:
    link = field.get("picklist")
    return FieldType(
        name=str(field["name"]),
        title=str(field.get("title") or ""),
        datatype=str(field.get("datatype") or ""),
        createable=bool(read_boolean(field.get("is_createable"))),
        updateable=bool(read_boolean(field.get("is_updateable"))),
        picklist=None
        if not isinstance(link, Mapping)
        else PicklistLink(
            picklist_id=read_integer(link.get("picklist_id")),
            name=str(link.get("name") or ""),
            unrestricted=bool(read_boolean(link.get("unrestricted"))),
            auto_create=bool(read_boolean(link.get("auto_create"))),
        ),
        required=bool(read_boolean(field.get("required"))) and field.get("default_value") in {None, ""},
    )


def _custom_field(row: Row) -> CustomField:
    return CustomField(
        id=record_id(row),
        title=read_text(row.get("title")) or "",
        status=read_text(row.get("status")) or "",
        column=read_text(row.get("value_column_name")),
    )


def field_problems(described: RecordType, wanted: Mapping[str, str]) -> tuple[Finding, ...]:
    """Compare the configured fields, by role, with what the record type has.

    The list of Workbooks' words for datatypes is not published, so an unknown one is but a warning.
    """
    found = []
    for role, name in wanted.items():
        key, field = f"workbooks.fields.{role}", described.fields.get(name)
        if field is None:
            near = difflib.get_close_matches(name, described.fields, n=1, cutoff=0.7)
            hint = f"{f'Did you mean {near[0]}? ' if near else ''}Set {key}, or run `provision`."
            found.append(Finding(name, f"{described.class_name} has no such field", hint, True))
            continue
        expected, word = ROLE_DATATYPES.get(role, Datatype.TEXT), field.datatype.lower()
        kinds = [kind for kind, words in _DATATYPE_WORDS.items() if any(known in word for known in words)]
        if not field.updateable:
            found.append(Finding(name, "the field cannot be written", f"Choose another field for {key}.", True))
        elif expected is Datatype.DATETIME and expected not in kinds and "date" in word:
            problem = "the field holds days, so times of day are lost"
            found.append(Finding(name, problem, f"{key} wants a date-time.", False))
        elif expected not in kinds:
            problem = f"the field holds {field.datatype or 'something unnamed'}, not {expected}"
            found.append(Finding(name, problem, f"Choose another field for {key}.", bool(kinds)))
    return tuple(found)


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
    by_plain = {_plain(entry): entry for entry in reversed(entries)}
    missing = [label for label in labels if label not in entries]
    found = (difflib.get_close_matches(_plain(label), by_plain, n=1, cutoff=0.75) for label in missing)
    nearest = [by_plain[one[0]] if one else None for one in found]
    return tuple(map(MissingLabel, missing, nearest))


def typographic_twin(label: str, entries: Iterable[str]) -> str | None:
    """Return the entry that differs from the label only in dashes, blanks or case; None where there is none."""
    return next((entry for entry in entries if entry != label and _plain(entry) == _plain(label)), None)


def _plain(label: str) -> str:
    return " ".join(label.translate(_DASHES).casefold().split())
