"""What kinds of record the simulated Workbooks has, and which fields, as tables.

Fields and their types: the API developers guide and the examples of the vendor's client library. Names of custom fields
differ from customer to customer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.instants import Instant

PERSON = "Private::Crm::Person"
TASK = "Private::Activity::Task"
ORGANISATION = "Private::Crm::Organisation"
PICKLIST = "Private::Picklist"
PICKLIST_ENTRY = "Private::PicklistEntry"
CUSTOM_FIELD = "Private::CustomField"

ACTIVITY_TYPES, ACTIVITY_STATUSES, ACTIVITY_PRIORITIES, LEAD_SOURCES, SEQUENCE_STATES = 11, 12, 13, 14, 77
"""Ids of the picklists that are there from the start."""

SEQUENCE_LABELS = (
    "Active – Running",  # noqa: RUF001 - the documented label has an en dash
    "Active – Paused",  # noqa: RUF001 - likewise
    "Opted Out",
    "Finished",
    "Pending",
    "Disabled",
    "Failed",
    "Bounced",
    "Not Active",
)


USER_ID, USER_NAME = 2, "Integration User"


@dataclass
class Account:
    """Who is behind the key, as a login answers; two sandboxes that differ here are two databases.

    `created_at` is that of the database, in Workbooks' own form.
    """

    api_key: str = "01234-56789-01234-56789-01234-56789-01234-56789"
    logical_database_id: int = 3
    database_name: str = "Example"
    database_instance_id: int = 1
    created_at: str = "Mon Jan 05 14:30:11 UTC 2026"
    user_id: int = USER_ID
    person_name: str = USER_NAME
    login_name: str = "integration@example.com"


class CommittedWrite(NamedTuple):
    """One object that the API wrote: which fields changed, (old, new), and which already held what was sent."""

    record_class: str
    id: int
    method: str
    changed: Mapping[str, tuple[Any, Any]]
    unchanged: tuple[str, ...]
    at: Instant


class Field(NamedTuple):
    """One field of a class. `twin_of` names the ``var_date_time`` whose day or time this field is another view of."""

    name: str
    title: str
    datatype: str = "string"
    createable: bool = True
    updateable: bool = True
    required: bool = False
    picklist_id: int | None = None
    default: Any = None
    twin_of: str = ""

    @property
    def is_custom(self) -> bool:
        """Tell whether it is a customer's own."""
        return self.name.startswith("cf_")


class RecordClass(NamedTuple):
    """One class of records: `prefix` begins its object references, `word` its custom fields."""

    name: str
    controller: str
    prefix: str
    word: str
    first_id: int
    fields: tuple[Field, ...]


class Picklist(NamedTuple):
    """A picklist that is there from the start. Restricted ones refuse unknown values, `auto_create` adds them."""

    id: int
    name: str
    values: tuple[str, ...]
    unrestricted: bool = False
    auto_create: bool = False


def _fixed(name: str, datatype: str) -> Field:
    return Field(name, name.strip("_").replace("_", " ").capitalize(), datatype, createable=False, updateable=False)


def _plain(*names: str, datatype: str = "string") -> tuple[Field, ...]:
    return tuple(Field(name, name.replace("_", " ").replace("[", " ").rstrip("]").title(), datatype) for name in names)


def _moment(name: str) -> tuple[Field, ...]:
    title = name.capitalize()
    return (
        Field(name, title, "var_date_time"),
        Field(f"{name}_date", f"{title} Date", "date", twin_of=name),
        Field(f"{name}_datetime", f"{title} Time", "datetime", twin_of=name),
    )


COMMON_FIELDS = (
    *(_fixed(name, "integer") for name in ("id", "lock_version", "created_by", "updated_by")),
    *(_fixed(name, "datetime") for name in ("created_at", "updated_at")),
    *(_fixed(name, "boolean") for name in ("is_deleted", "_can_read", "_can_modify", "_can_delete")),
    *(_fixed(name, "string") for name in ("created_through", "object_ref", "type")),
    *(_fixed(f"{who}_by_user[person_name]", "string") for who in ("updated", "created")),
    Field("created_through_reference", "Created Through Reference"),
)
"""Fields that every class has."""

_PLACES = ("email", "alternate_email", "telephone", "mobile", "fax", "street_address", "town", "postcode", "country")
_LOCATIONS = _plain(
    *(f"{location}[{part}]" for location in ("main_location", "home_location") for part in _PLACES),
    "main_location[county_province_state]",
)
_NO_CONTACT = tuple(
    Field(name, title, "boolean", default=False)
    for name, title in (
        ("no_email_soliciting", "No Email"),
        ("no_phone_soliciting", "No Phone"),
        ("no_post_soliciting", "No Post"),
        ("email_opt_in", "Email Opt In"),
        ("gdpr_compliant", "GDPR Compliant"),
    )
)
_NAME = Field("name", "Name", required=True)

CLASSES = (
    RecordClass(
        *(PERSON, "crm/people", "PERS", "person", 1001),
        (
            _NAME,
            *_plain("person_first_name", "person_last_name", "person_middle_name", "person_job_title"),
            *_LOCATIONS,
            Field("main_location[email_address_undeliverable]", "Email Undeliverable", "boolean", default=False),
            *_NO_CONTACT,
            Field("employer_link", "Employer", "has_one"),
            Field("employer_name", "Employer Name"),
            Field("lead_source_type", "Lead Source", "picklist_data", picklist_id=LEAD_SOURCES),
            Field("assigned_to", "Assigned To", "integer", default=3),
            Field("owner_id", "Owner", "integer", default=2),
        ),
    ),
    RecordClass(
        *(TASK, "activity/tasks", "ACT", "task", 4001),
        (
            _NAME,
            Field("activity_type", "Type", "picklist_data", picklist_id=ACTIVITY_TYPES, default="To-do"),
            Field("activity_status", "Status", "picklist_data", picklist_id=ACTIVITY_STATUSES, default="New"),
            Field("activity_priority", "Priority", "picklist_data", picklist_id=ACTIVITY_PRIORITIES, default="Medium"),
            Field("primary_contact_id", "Primary Contact", "has_one"),
            Field("primary_contact_type", "Primary Contact Type"),
            *(field for name in ("due", "start", "finish", "started", "completed") for field in _moment(name)),
            Field("all_day", "All Day", "boolean", default=False),
            Field("description", "Description", "text"),
            Field("assigned_to", "Assigned To", "integer", default=5),
            Field("reminder_enabled", "Reminder", "boolean", default=False),
            Field("reminder_minutes", "Reminder Minutes", "integer"),
        ),
    ),
    RecordClass(
        *(ORGANISATION, "crm/organisations", "ORG", "organisation", 501),
        (
            _NAME,
            *_LOCATIONS,
            *_NO_CONTACT,
            *_plain("industry", "website", "organisation_annual_revenue", "organisation_category"),
            *_plain("organisation_company_number", "organisation_vat_number"),
            Field("organisation_num_employees", "Employees", "integer"),
        ),
    ),
    RecordClass(
        *(PICKLIST, "admin/picklists", "PICK", "picklist", 101),
        (
            _NAME,
            Field("description", "Description", "text"),
            Field("unrestricted", "Unrestricted", "boolean", default=False),
            Field("auto_create", "Auto Create", "boolean", default=False),
        ),
    ),
    RecordClass(
        *(PICKLIST_ENTRY, "admin/picklist_entries", "ENTRY", "entry", 701),
        (
            Field("picklist_id", "Picklist", "integer", updateable=False, required=True),
            Field("value", "Value", required=True),
        ),
    ),
    RecordClass(
        *(CUSTOM_FIELD, "admin/custom_fields", "FIELD", "field", 301),
        (
            Field("title", "Title", required=True),
            Field("resource_type", "Record Type", updateable=False, required=True),
            Field("data_type", "Data Type", updateable=False, required=True),
            Field("picklist_id", "Picklist", "integer"),
            Field("description", "Description", "text"),
            _fixed("status", "string"),
            _fixed("value_column_name", "string"),
        ),
    ),
)
"""Every class the simulated service has, in the order of their controllers' importance."""

PICKLISTS = (
    Picklist(ACTIVITY_TYPES, "Activity Types", ("To-do", "Phone call", "Email", "Meeting")),
    Picklist(ACTIVITY_STATUSES, "Activity Statuses", ("New", "In Progress", "Complete", "Cancelled")),
    Picklist(ACTIVITY_PRIORITIES, "Activity Priorities", ("High", "Medium", "Low")),
    Picklist(LEAD_SOURCES, "Lead Sources", ("Web", "Referral"), auto_create=True),
)
"""The picklists of an account that nobody has prepared for the sync."""
SEQUENCE_PICKLIST = Picklist(SEQUENCE_STATES, "Sequence States", SEQUENCE_LABELS)

DATA_TYPES = {
    **{name: name for name in ("boolean", "date", "datetime", "integer", "string", "text")},
    "iframe": "string",
    "percentage": "integer",
    "picklist": "picklist_data",
}
"""The `data_type` with which a custom field is created, and the datatype its field then has."""
SYNC_FIELDS = (
    ("Sequence State", "picklist", SEQUENCE_STATES),
    ("State Updated at", "datetime", None),
    ("Outreach ID", "string", None),
    ("Sequences", "text", None),
)
"""Custom fields of a Person in an account prepared for the sync: title, `data_type`, picklist."""
PLUGIN_FIELDS = (
    ("Outreach Id", "string", None),
    ("Sequence State", "picklist", SEQUENCE_STATES),
    ("State Updated at", "date", None),
)
"""Those that the vendor's own Outreach integration makes."""
