"""Reads: which rows, in which order, which page, which columns (API developers guide: Fetching objects)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.sandbox.workbooks import formats
from outreach_sync.sandbox.workbooks.conditions import Condition, MalformedError, join
from outreach_sync.sandbox.workbooks.faults import number_option
from outreach_sync.sandbox.workbooks.filters import RawFilter, Setting, read_filter
from outreach_sync.sandbox.workbooks.form import filters_of
from outreach_sync.sandbox.workbooks.intake import is_custom_moment
from outreach_sync.sandbox.workbooks.schema import PERSON
from outreach_sync.sandbox.workbooks.table import IdRange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from outreach_sync.instants import Instant
    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.form import Form
    from outreach_sync.sandbox.workbooks.formats import OutputForms
    from outreach_sync.sandbox.workbooks.schema import Field
    from outreach_sync.sandbox.workbooks.sessions import Manner
    from outreach_sync.sandbox.workbooks.store import WorkbooksStore
    from outreach_sync.sandbox.workbooks.table import Record, Table

MOST_ROWS = 100
_SKIP_TOTALS = ("__skip_total_rows", "_skip_total_rows")


class Selection(NamedTuple):
    """What filters select: the condition, and whether deleted rows are meant too."""

    condition: Condition
    with_deleted: bool


class Page(NamedTuple):
    """Rows of an answer, as JSON, and how many there are in all, where that was asked for."""

    rows: list[dict[str, Any]]
    total: int


class Reader:
    """Reads records of one store."""

    def __init__(self, store: WorkbooksStore, faults: FaultBoard) -> None:
        """Take the store and the faults that concern reading."""
        self._store = store
        self._faults = faults

    def select(self, form: Form, table: Table, zone: str, at: Instant) -> Selection:
        """Read the filters of a request.

        Raises:
            MalformedError: they make no sense.
        """
        return self.selection(filters_of(form), form.controls.get("_fm", ""), table, zone=zone, at=at)

    def selection(self, raw: Sequence[RawFilter], logic: str, table: Table, *, zone: str, at: Instant) -> Selection:
        """Turn filters and the logic that joins them into one condition.

        Raises:
            MalformedError: they make no sense.
        """
        setting = Setting(
            zone,
            at,
            case_sensitive=self._faults.throughout("eq_case_sensitive") is not None,
            without_accents=self._faults.throughout("eq_without_accents") is not None,
            without_blanks=self._faults.throughout("eq_without_blanks") is not None,
            booleans_without_case=self._faults.throughout("booleans_without_case") is not None,
            backslash_escapes=self._faults.throughout("backslash_escapes") is not None,
        )
        followed = self._following_merges(_joined_ids(raw, logic), table)
        conditions = [read_filter(one, table, setting) for one in followed]
        return Selection(join(conditions, logic), any(one.field == "is_deleted" for one in raw))

    def _following_merges(self, raw: Sequence[RawFilter], table: Table) -> Sequence[RawFilter]:
        """Let ids that lost a merge, and stand for the winner, find it."""
        if table.record_class.name != PERSON or not self._store.winners:
            return raw
        return [one._replace(value=self._winners(table, one.value)) if one[:2] == ("id", "eq") else one for one in raw]

    def _winners(self, table: Table, ids: str) -> str:
        numbers = (int(one) if one.isdecimal() else one for one in ids.split(","))
        return ",".join(str(self._store.merged_into(table, one) if isinstance(one, int) else one) for one in numbers)

    def matching(
        self, table: Table, selection: Selection, at: Instant, *, descending: bool = False
    ) -> Iterator[Record]:
        """Go through the records that are selected and visible, in the order of their ids."""
        candidates = selection.condition.candidates()
        ids = table.ids() if candidates is None else candidates
        if not isinstance(ids, IdRange):
            ids = sorted(set(ids))
        for id_ in reversed(ids) if descending else ids:
            record = table.records[id_]
            if record.is_deleted and not selection.with_deleted:
                continue
            if self.sees(table, record, at) and selection.condition.holds(record):
                yield record

    def sees(self, table: Table, record: Record, at: Instant) -> bool:
        """Tell whether the key's user can find a record at this time."""
        if not record.visible(at):
            return False
        fault = "records_hidden"
        if (self._faults.option(fault, "class") or PERSON) != table.record_class.name:
            return True
        ids: Any = self._faults.option(fault, "ids")
        return not (ids is None or record.id in ids) or self._faults.throughout(fault) is None

    def page(self, form: Form, table: Table, manner: Manner, at: Instant, *, kind: str) -> Page:
        """Answer a read of a list.

        Raises:
            MalformedError: filters or order make no sense.
        """
        with self._store.lock:
            self._check_controls(form, manner, kind)
            selection = self.select(form, table, manner.zone, at)
            if self._faults.take("filter_ignored", kind) is not None:
                selection = self.selection((), "", table, zone=manner.zone, at=at)
            records, total = self._window(form, table, selection, at, kind)
            rows = [self.show(table, record, form.lists.get("_select_columns[]"), manner.forms) for record in records]
            _one_look_less(table)
            return Page(rows, total)

    def show(self, table: Table, record: Record, columns: Iterable[str] | None, forms: OutputForms) -> dict[str, Any]:
        """Show columns of a record as JSON, all of them by default; one that does not exist is left out."""
        wanted = table.fields if columns is None else columns
        fields = (table.fields[name] for name in wanted if name in table.fields)
        return {field.name: self.shown_value(field, table.value(record, field), forms) for field in fields}

    def shown_value(self, field: Field, value: Any, forms: OutputForms) -> Any:
        """Show one value as JSON."""
        if field.datatype == "datetime" and value is not None and self._shows_days(field):
            return formats.show_day(formats.local_day(value, "UTC"), forms.date)
        if (
            value is not None
            and is_custom_moment(field)
            and self._faults.throughout("custom_datetime_is_var") is not None
        ):
            return formats.var_time(value, self._store.zone)
        if field.datatype == "text" and value and self._faults.throughout("text_line_ends_crlf") is not None:
            return str(value).replace("\r\n", "\n").replace("\n", "\r\n")
        return formats.show_value(field.datatype, value, forms)

    def _shows_days(self, field: Field) -> bool:
        fault = "datetime_reads_back_as_date"
        concerned = self._faults.option(fault, "field") in (None, field.name)
        return concerned and self._faults.throughout(fault) is not None

    def _window(
        self, form: Form, table: Table, selection: Selection, at: Instant, kind: str
    ) -> tuple[list[Record], int]:
        start, limit = _start_and_limit(form)
        start += self._shift(start, kind)
        order = _order(form, table)
        by_id = order in ([("id", "ASC")], [("id", "DESC")])
        matching = self.matching(table, selection, at, descending=by_id and order[0][1] == "DESC")
        if by_id and self._skips_total(form):
            rows = [
                record for position, record in zip(range(start + limit), matching, strict=False) if position >= start
            ]
            return rows, len(rows)
        found = list(matching)
        if not by_id:
            _sort(found, table, order)
        rows = found[start : start + limit]
        return rows, len(rows) if self._skips_total(form) else len(found)

    def _shift(self, start: int, kind: str) -> int:
        if not start:
            return 0
        options = self._faults.take("page_shift", kind)
        return 0 if options is None else int(number_option(options, "shift", 1))

    def _skips_total(self, form: Form) -> bool:
        return any(form.flag(name) and self._knows(name) for name in _SKIP_TOTALS)

    def _knows(self, name: str) -> bool:
        unknown = self._faults.option("skip_total_unknown", "spelling") in (None, name)
        return not unknown or self._faults.throughout("skip_total_unknown") is None

    def _check_controls(self, form: Form, manner: Manner, kind: str) -> None:
        unknown = undocumented(form)
        if unknown and manner.strict and self._faults.take("strict_objects_to_control_parameters", kind) is not None:
            raise MalformedError(f"'{unknown[0]}' is not a recognised parameter")


_DOCUMENTED = frozenset(
    (
        "_dc",
        "_method",
        "client",
        "api_version",
        "api_key",
        "username",
        "password",
        "session_id",
        "logical_database_id",
        "json",
        "id",
        "_application_name",
        "_time_zone",
        "_strict_attribute_checking",
        "_per_object_transactions",
        "_json_output_date_format",
        "_json_output_time_format",
        "_json_output_datetime_format",
        "_authenticity_token",
        "_fm",
        "_filter_json",
        "_sort",
        "_dir",
        "_start",
        "_limit",
        "__skip_total_rows",
        "picklist_id",
        "callback",
        "jsonp",
    )
)


def _joined_ids(raw: Sequence[RawFilter], logic: str) -> Sequence[RawFilter]:
    """Make one list of ids out of many single ones joined by ``or``, the usual working set: quicker, the same rows."""
    if logic != "or" or any((one.field, one.operator) != ("id", "eq") for one in raw):
        return raw
    return [RawFilter("id", "eq", ",".join(one.value for one in raw))]


def undocumented(form: Form) -> list[str]:
    """List the control parameters of a request that the guide does not name."""
    return [name for name in form.controls if name not in _DOCUMENTED]


def _start_and_limit(form: Form) -> tuple[int, int]:
    """Give the page that was asked for; a limit counts only beside a start (guide)."""
    start = form.number("_start")
    limit = form.number("_limit")
    if start is None:
        return 0, MOST_ROWS
    return start, MOST_ROWS if limit is None else min(limit, MOST_ROWS)


def _order(form: Form, table: Table) -> list[tuple[str, str]]:
    names = form.lists.get("_sort[]", []) or [form.controls.get("_sort", "id")]
    directions = form.lists.get("_dir[]", []) or [form.controls.get("_dir", "ASC")]
    directions += ["ASC"] * (len(names) - len(directions))
    unknown = [name for name in names if name not in table.fields]
    if unknown:
        raise MalformedError(f"'{unknown[0]}' is not a valid sort column")
    return [(name, direction.upper()) for name, direction in zip(names, directions, strict=False)]


def _sort(records: list[Record], table: Table, order: list[tuple[str, str]]) -> None:
    for name, direction in reversed(order):
        field = table.fields[name]
        records.sort(key=lambda record: _sort_key(table.value(record, field)), reverse=direction == "DESC")


def _sort_key(value: Any) -> tuple[int, float, str]:
    if value is None:
        return (0, 0, "")
    if isinstance(value, int | float):
        return (1, value, "")
    return (2, 0, str(value).casefold())


def _one_look_less(table: Table) -> None:
    """Count down the look-ups for which new records stay hidden."""
    for id_ in list(table.late):
        record = table.records[id_]
        record.hidden_reads -= 1
        if record.hidden_reads <= 0:
            table.late.discard(id_)
