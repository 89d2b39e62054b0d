"""What Workbooks says of itself: record types, their fields, picklists; and how new ones are made.

Facts: the guide's sections on metadata and picklists, the bindings' custom-field and picklist examples. Names of custom
fields are read here and never derived from titles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.records import Write, WriteValue
from outreach_sync.workbooks.formats import read_boolean, read_integer, read_text
from outreach_sync.workbooks.lookups import record_id, rows_by_field, rows_by_id
from outreach_sync.workbooks.wire import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from outreach_sync.records import Verdict
    from outreach_sync.workbooks.client import WorkbooksClient
    from outreach_sync.workbooks.wire import Row

_TYPES = "metadata/types"
_PICKLISTS = "admin/picklists"
_ENTRIES = "admin/picklist_entries"
_CUSTOM_FIELDS = "admin/custom_fields"
_TYPE_COLUMNS = ("class_name", "controller_path", "actions", "fields")
_CUSTOM_FIELD_COLUMNS = ("id", "title", "status", "value_column_name")
_AVAILABLE = "available"


class PicklistLink(NamedTuple):
    """The picklist a field draws on. `auto_create`: an unknown value becomes an entry; `unrestricted`: it is taken."""

    picklist_id: int | None
    name: str
    unrestricted: bool
    auto_create: bool


class FieldType(NamedTuple):
    """One field of a record type; `datatype` is Workbooks' word (boolean, picklist_data, string...)."""

    name: str
    title: str
    datatype: str
    createable: bool
    updateable: bool
    picklist: PicklistLink | None


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


class Metadata:
    """Reads and extends the description of one Workbooks. Reading raises as `WorkbooksClient.read` does."""

    def __init__(self, client: WorkbooksClient) -> None:
        """Send nothing yet."""
        self._client = client

    def read_types(self, class_names: Sequence[str]) -> dict[str, RecordType]:
        """Read record types by class name; one that is absent does not exist or is hidden from us."""
        extra = tuple(("class_names[]", name) for name in class_names)
        rows = self._client.list_rows(_TYPES, Reading((), _TYPE_COLUMNS, extra=extra))
        types = [_record_type(row) for row in rows]
        return {one.class_name: one for one in types if one.class_name in class_names}

    def read_picklist_entries(self, picklist_ids: Iterable[int]) -> dict[int, tuple[str, ...]]:
        """Read the entries of picklists; each id that was asked for is a key."""
        ids = sorted(set(picklist_ids))
        rows = rows_by_field(self._client, _ENTRIES, "picklist_id", map(str, ids), ("id", "picklist_id", "value"))
        return {
            picklist_id: tuple(
                read_text(row.get("value")) or "" for row in rows if read_integer(row.get("picklist_id")) == picklist_id
            )
            for picklist_id in ids
        }

    def find_picklists(self, name: str) -> tuple[int, ...]:
        """Find the ids of all picklists of this name."""
        return tuple(map(record_id, rows_by_field(self._client, _PICKLISTS, "name", (name,), ("id", "name"))))

    def create_picklist(self, name: str, description: str) -> Verdict:
        """Create an empty picklist. Needs an administrator's key. Raises as `WorkbooksClient.write` does."""
        return self._create(_PICKLISTS, {"name": name, "description": description})

    def add_picklist_entries(self, picklist_id: int, values: Sequence[str]) -> tuple[Verdict, ...]:
        """Add entries to a picklist, in order. Raises as `WorkbooksClient.write` does."""
        writes = [Write(0, 0, {"picklist_id": picklist_id, "value": value}) for value in values]
        return self._client.write(_ENTRIES, writes)

    def find_custom_fields(self, title: str) -> tuple[CustomField, ...]:
        """Find the custom fields of this title, of whatever record type."""
        rows = rows_by_field(self._client, _CUSTOM_FIELDS, "title", (title,), _CUSTOM_FIELD_COLUMNS)
        return tuple(map(_custom_field, rows))

    def create_custom_field(
        self,
        *,
        title: str,
        class_name: str,
        data_type: str,
        description: str,
        picklist_id: int | None = None,
    ) -> Verdict:
        """Create a custom field; `data_type` is a word of the examples (boolean, string, picklist, date...).

        Needs an administrator's key. Raises as `WorkbooksClient.write` does.
        """
        fields: dict[str, WriteValue] = {
            "title": title,
            "resource_type": class_name,
            "data_type": data_type,
            "description": description,
        }
        if picklist_id is not None:
            fields["picklist_id"] = picklist_id
        return self._create(_CUSTOM_FIELDS, fields)

    def read_custom_field(self, field_id: int) -> CustomField | None:
        """Read one custom field, to see whether it is available yet; None where it is not (yet) to be seen."""
        rows = rows_by_id(self._client, _CUSTOM_FIELDS, (field_id,), _CUSTOM_FIELD_COLUMNS, include_deleted=False)
        return _custom_field(rows[0]) if rows else None

    def _create(self, controller: str, fields: Mapping[str, WriteValue]) -> Verdict:
        return self._client.write(controller, [Write(0, 0, fields)])[0]


def _record_type(row: Row) -> RecordType:
    fields = [_field_type(field) for field in _maps(row.get("fields"))]
    return RecordType(
        class_name=str(row.get("class_name") or ""),
        controller=str(row.get("controller_path") or ""),
        fields={field.name: field for field in fields},
        permitted=frozenset(
            str(action.get("name")) for action in _maps(row.get("actions")) if read_boolean(action.get("permitted"))
        ),
    )


def _field_type(field: Mapping[str, Any]) -> FieldType:
    return FieldType(
        name=str(field.get("name") or ""),
        title=str(field.get("title") or ""),
        datatype=str(field.get("datatype") or ""),
        createable=bool(read_boolean(field.get("is_createable"))),
        updateable=bool(read_boolean(field.get("is_updateable"))),
        picklist=_picklist_link(field.get("picklist")),
    )


def _picklist_link(link: object) -> PicklistLink | None:
    if not isinstance(link, Mapping):
        return None
    return PicklistLink(
        picklist_id=read_integer(link.get("picklist_id")),
        name=str(link.get("name") or ""),
        unrestricted=bool(read_boolean(link.get("unrestricted"))),
        auto_create=bool(read_boolean(link.get("auto_create"))),
    )


def _custom_field(row: Row) -> CustomField:
    return CustomField(
        id=record_id(row),
        title=read_text(row.get("title")) or "",
        status=read_text(row.get("status")) or "",
        column=read_text(row.get("value_column_name")),
    )


def _maps(entries: object) -> list[Mapping[str, Any]]:
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
