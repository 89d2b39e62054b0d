"""What kinds of record the simulated Workbooks has, which fields, as tables; and the forms in which values come and go.

Fields and their types: the API developers guide (Datatypes, Dates and Times) and the examples of the vendor's client
library. Names of custom fields differ from customer to customer.

Kept values are plain: text, whole numbers, booleans, times as `Instant` cut to the second, days as ``2026-09-01``, and
a ``var_date_time`` as its documented text ``2026-09-01T09:00:00.000Z,1,Europe/London``. What does not fit raises
ValueError, with the service's words for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from outreach_sync.instants import Instant, from_datetime, to_date, to_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outreach_sync.sandbox.faults import FaultBoard

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

# -- the forms of values

TRUE_WORDS = frozenset(("true", "t", "on", "1", "yes", "y"))
"""Everything else is false, ``True`` included (guide: Datatypes)."""
STRING_LENGTH = 255
TEXT_TYPES = ("string", "text", "picklist_data")

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY_FORM = re.compile(r"(\d{1,2}) ([A-Z][a-z]{2})[a-z]* (\d{4})", re.ASCII)
_TIME_FORM = re.compile(
    r"[A-Z][a-z]{2},? ([A-Z][a-z]{2})[a-z]* {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?: (UTC|GMT|Z|[+-]\d{4}))? (\d{4})",
    re.ASCII,
)
_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EPOCH = re.compile(r"-?\d{1,11}", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_INTEGERS = 2**31
"""How many whole numbers there are on either side of zero: 32 bits, two's complement."""
_BEYOND_16_BITS = re.compile("[\U00010000-\U0010ffff]")
_MINUTE_MS = 60_000


class Moment(NamedTuple):
    """A point in time, or a whole day: then `at` is its midnight in the user's zone and `day` its name."""

    at: Instant
    day: str | None = None


class Values(NamedTuple):
    """Reads what is sent and shows what is kept, as the faults that settle open questions have it.

    A time without a zone is read in `zone`, that of the key's user.
    """

    faults: FaultBoard
    zone: str

    def read(self, field: Field, text: str) -> Any:
        """Read a value that was sent for a field."""
        if field.datatype in TEXT_TYPES:
            if self.faults.fires("blanks_trimmed"):
                text = text.strip()
            if self.faults.fires("emoji_lost"):
                text = _BEYOND_16_BITS.sub("?", text)
            if self.faults.fires("ampersand_escaped"):
                text = text.replace("&", "&amp;")
            cut = self.faults.take("text_cut", field=field.name)
            text = text if cut is None else text[: cut.get("length", 30)]
        if field.datatype != "datetime" or not field.is_custom:
            return read_value(field.datatype, text, self.zone)
        if self.faults.fires("custom_datetime_is_var"):
            kept = read_value("var_date_time", text, self.zone)
            at = None if kept is None else read_var(kept, "UTC").at
        else:
            at = read_value("datetime", text, self.zone)
        how = self.faults.setting("datetime_without_seconds", "how", "cut")
        if at is None or how is None:
            return at
        return Instant((at + (_MINUTE_MS // 2 if how == "round" else 0)) // _MINUTE_MS * _MINUTE_MS)

    def show(self, field: Field, value: Any) -> Any:
        """Show a kept value as JSON."""
        if value is None:
            return None
        if field.datatype == "datetime" and not self.faults.fires("datetime_reads_back_as_date", field=field.name):
            is_var = field.is_custom and self.faults.fires("custom_datetime_is_var")
            return var_time(value, self.zone) if is_var else show_time(value)
        if field.datatype in ("datetime", "date"):
            return show_day(value if field.datatype == "date" else to_date(value))
        if field.datatype == "text" and value and self.faults.fires("text_line_ends_crlf"):
            return str(value).replace("\r\n", "\n").replace("\n", "\r\n")
        return value


def read_value(datatype: str, text: str, zone: str) -> Any:
    """Read a value for a field of this datatype; emptiness is null for all but text and boolean."""
    if datatype in TEXT_TYPES:
        if datatype == "string" and len(text) > STRING_LENGTH:
            raise ValueError(f"is too long (maximum is {STRING_LENGTH} characters)")
        return text if text or datatype != "picklist_data" else None
    if datatype == "boolean":
        return text in TRUE_WORDS
    return _READERS[datatype](text.strip(), zone) if text.strip() else None


def read_moment(text: str, zone: str) -> Moment:
    """Read a day or time in any form Workbooks takes; one without zone is read in the user's."""
    try:
        if match := _TIME_FORM.fullmatch(text):
            month, day, hour, minute, second, offset, year = match.groups()
            named = {"UTC": "+0000", "GMT": "+0000", "Z": "+0000", None: ""}.get(offset, offset or "")
            number = _MONTHS.index(month) + 1
            return _read_iso(f"{year}-{number:02d}-{int(day):02d}T{hour}:{minute}:{second}{named}", zone)
        if match := _DAY_FORM.fullmatch(text):
            return day_moment(date(int(match[3]), _MONTHS.index(match[2]) + 1, int(match[1])).isoformat(), zone)
        if _EPOCH.fullmatch(text):
            return Moment(from_datetime(to_datetime(Instant(int(text) * 1000))))  # so that no calendar lacks it
        return _read_iso(text, zone)
    except (LookupError, ValueError, OverflowError):
        raise ValueError("is not a valid date") from None


def day_moment(day: str, zone: str) -> Moment:
    """Take a whole day, ``2026-09-01``, in a zone."""
    return Moment(from_datetime(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))), day)


def day_after(day: str, zone: str) -> Instant:
    """Say when the day is over in a zone: 23 to 25 hours after it began."""
    return day_moment((date.fromisoformat(day) + timedelta(days=1)).isoformat(), zone).at


def show_time(at: Instant) -> str:
    """Show a time as ``Tue Sep 01 10:00:04 UTC 2026``: always UTC, in English whatever the locale."""
    moment = to_datetime(at)
    return f"{_DAYS[moment.weekday()]} {_MONTHS[moment.month - 1]} {moment:%d %H:%M:%S} UTC {moment.year:04d}"


def show_day(day: str) -> str:
    """Show a day, ``2026-05-02``, as `` 2 May 2026``."""
    moment = datetime.fromisoformat(day).replace(tzinfo=UTC)
    return f"{moment.day:2d} {_MONTHS[moment.month - 1]} {moment.year:04d}"


def var_time(at: Instant, zone: str) -> str:
    """Write a time as a ``var_date_time``."""
    return f"{to_datetime(at):%Y-%m-%dT%H:%M:%S}.000Z,1,{zone}"


def read_var(text: str, zone: str) -> Moment:
    """Read a ``var_date_time`` in full, or a day or time in any form."""
    value, _, rest = text.partition(",")
    flag, _, named = rest.partition(",")
    return read_moment(value[:10] if flag == "0" else value, named or zone)


def twin_value(datatype: str, value: str | None) -> Any:
    """Show a ``var_date_time`` as its ``_date`` or ``_datetime`` twin does; a day has no time."""
    if value is None:
        return None
    moment = read_var(value, "UTC")
    if datatype == "date":
        return moment.day or to_date(moment.at)
    return None if moment.day else moment.at


def twin_text(field: Field, value: Any, zone: str) -> str | None:
    """Turn what was set through a ``_date`` or ``_datetime`` twin into the ``var_date_time`` behind it."""
    if value is None:
        return None
    return f"{value},0,{zone}" if field.datatype == "date" else var_time(value, zone)


def _read_iso(text: str, zone: str) -> Moment:
    if _ISO_DAY.fullmatch(text):
        return day_moment(text, zone)
    moment = datetime.fromisoformat(text)
    return Moment(from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))))


def _read_integer(text: str, _zone: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError("is not a number")
    if not -_INTEGERS <= int(text) < _INTEGERS:
        raise ValueError("is out of range")
    return int(text)


def _read_day(text: str, zone: str) -> str:
    moment = read_moment(text, zone)
    return moment.day or to_datetime(moment.at).astimezone(ZoneInfo(zone)).date().isoformat()


def _read_var(text: str, zone: str) -> str:
    moment = read_var(text, zone)
    own_zone = text.split(",")[2] if text.count(",") > 1 else zone
    return f"{moment.day},0,{own_zone}" if moment.day else var_time(moment.at, own_zone)


_READERS: dict[str, Callable[[str, str], Any]] = {
    "integer": _read_integer,
    "has_one": _read_integer,
    "date": _read_day,
    "datetime": lambda text, zone: Instant(read_moment(text, zone).at // 1000 * 1000),
    "var_date_time": _read_var,
}
