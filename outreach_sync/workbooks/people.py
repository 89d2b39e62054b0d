"""People in Workbooks: finding them by whatever is known of them, and writing what changed.

Column names are those of the guide and of production answers; which fields are ours the settings say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.records import PersonRow
from outreach_sync.rules.matching import mailbox
from outreach_sync.workbooks.formats import ROLE_DATATYPES, Datatype, read, read_boolean, read_integer, read_text
from outreach_sync.workbooks.lookups import UNIQUE_VALUES, record_id, rows_by_field, rows_by_id
from outreach_sync.workbooks.verdicts import LOCK_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from outreach_sync.records import Scalar, Verdict, Write
    from outreach_sync.workbooks.client import WorkbooksClient
    from outreach_sync.workbooks.wire import Row

CONTROLLER = "crm/people"
CLASS_NAME = "Private::Crm::Person"
EMAIL = "main_location[email]"
REFERENCE = "created_through_reference"
OBJECT_REF = "object_ref"
_IDENTITY = ("id", "lock_version", "is_deleted", EMAIL, REFERENCE, OBJECT_REF)


class People:
    """The People of one Workbooks. Every look-up raises as `WorkbooksClient.read` does."""

    def __init__(self, client: WorkbooksClient) -> None:
        """Read the configured fields, by their roles, from the client's settings."""
        self._client = client
        settings = client.settings
        self._datatypes = {
            **{
                name: Datatype.BOOLEAN if isinstance(value, bool) else Datatype.TEXT
                for name, value in settings.only_where.items()
            },
            **{name: ROLE_DATATYPES.get(role, Datatype.TEXT) for role, name in settings.fields.items()},
        }
        self._columns = (*_IDENTITY, *self._datatypes)

    def find_by_ids(self, ids: Iterable[int], *, include_deleted: bool = True) -> dict[int, PersonRow]:
        """Find People by id; whoever is absent is gone or hidden from us."""
        rows = rows_by_id(self._client, CONTROLLER, ids, self._columns, include_deleted=include_deleted)
        return {person.id: person for person in map(self._person, rows)}

    def find_by_field(self, field: str, values: Iterable[str]) -> dict[str, list[PersonRow]]:
        """Find live People by a text field, compared to the letter; only values that matched are keys."""
        return self._grouped(field, rows_by_field(self._client, CONTROLLER, field, values, self._columns))

    def find_by_reference(
        self,
        references: Iterable[str],
        *,
        include_deleted: bool = False,
    ) -> dict[str, list[PersonRow]]:
        """Find People by `created_through_reference`, which need not be unique."""
        return self._unique_field(REFERENCE, references, include_deleted=include_deleted)

    def find_by_object_ref(self, object_refs: Iterable[str]) -> dict[str, list[PersonRow]]:
        """Find live People by object reference, such as ``PERS-123``."""
        return self._unique_field(OBJECT_REF, object_refs, include_deleted=False)

    def find_by_email(self, addresses: Iterable[str]) -> dict[str, list[PersonRow]]:
        """Find live People by main e-mail address, ignoring case.

        Returns:
            The People by `mailbox` of the address. Whether Workbooks ignores case is not documented: each address is
            asked for as it is and in lower case, and compared here; one stored in yet another spelling may be missed.
        """
        spellings: dict[str, list[str]] = {}
        for address in addresses:
            spellings.setdefault(mailbox(address), []).extend((address.strip(), mailbox(address)))
        rows = rows_by_field(
            self._client,
            CONTROLLER,
            EMAIL,
            spellings,
            self._columns,
            spellings=spellings.__getitem__,
            folded=mailbox,
        )
        found: dict[str, list[PersonRow]] = {}
        for person in map(self._person, rows):
            found.setdefault(mailbox(person.email or ""), []).append(person)
        return found

    def write(self, writes: Sequence[Write]) -> tuple[Verdict, ...]:
        """Create and update People; raises and judges as `WorkbooksClient.write`."""
        return self._client.write(CONTROLLER, writes)

    def _unique_field(self, field: str, values: Iterable[str], *, include_deleted: bool) -> dict[str, list[PersonRow]]:
        rows = rows_by_field(
            self._client,
            CONTROLLER,
            field,
            values,
            self._columns,
            include_deleted=include_deleted,
            per_request=UNIQUE_VALUES,
        )
        return self._grouped(field, rows)

    def _grouped(self, field: str, rows: Iterable[Row]) -> dict[str, list[PersonRow]]:
        found: dict[str, list[PersonRow]] = {}
        for row in rows:
            found.setdefault(read_text(row.get(field)) or "", []).append(self._person(row))
        return found

    def _person(self, row: Row) -> PersonRow:
        lock_version = read_integer(row.get("lock_version"))
        return PersonRow(
            id=record_id(row),
            lock_version=LOCK_UNKNOWN if lock_version is None else lock_version,
            is_deleted=bool(read_boolean(row.get("is_deleted"))),
            email=read_text(row.get(EMAIL)),
            reference=read_text(row.get(REFERENCE)),
            object_ref=read_text(row.get(OBJECT_REF)),
            fields=self._fields(row),
        )

    def _fields(self, row: Row) -> Mapping[str, Scalar]:
        return {name: read(row.get(name), datatype) for name, datatype in self._datatypes.items()}
