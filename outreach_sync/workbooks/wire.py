"""How Workbooks is spoken to: requests as form bodies, the forms of values, and what an answer means.

Facts: the API developers guide, and the PHP binding for nested names. All goes in the body of a POST, with `_method`
saying what is meant, so that no proxy log holds the key and no list of ids is too long for a URL.

A failed write is 200 with ``"success": false`` (guide); how a mixture is answered is not documented. So an object
counts as done only if its own entry says so and names its own id. What is not certain is `Unknown`: the caller looks.
A refusal counts only in Workbooks' own form, JSON; a page of HTML or text is a gateway's. A redirect slows a client
down, unless it leads to a log-in page (guide: Rate limiting, Authentication; the lists of reasons there are open).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from outreach_sync.errors import NotAllowedError, NotAuthenticatedError, OutreachSyncError, UntrustedAnswerError
from outreach_sync.http import BusyError, GarbledError, RetriableError, ThrottledError, moment, retry_after
from outreach_sync.instants import EARLIEST, LATEST, Instant, parse_http_date, parse_iso, to_datetime
from outreach_sync.records import Accepted, Date, DateTime, Rejected, Scalar, Stale, Unknown, Verdict, Write, WriteValue
from outreach_sync.rules.person import ROLES, Datatype, mailbox

if TYPE_CHECKING:
    from outreach_sync.connections import Answer

T = TypeVar("T")
Pair = tuple[str, str]
Row = Mapping[str, Any]  # one record as it came, by column; the `read_` functions parse the values
PEOPLE, TASKS = "crm/people", "activity/tasks"
PERSON_CLASS, TASK_CLASS = "Private::Crm::Person", "Private::Activity::Task"
EMAIL, OBJECT_REF, REFERENCE = "main_location[email]", "object_ref", "created_through_reference"
ROLE_DATATYPES = {role.name: role.datatype for role in ROLES}  # what each configured field holds
PADDED_EMAIL = "padded email"  # the match rule `email` behind any number of blanks: a second look
NO_VALUE, NULL_VALUE = ":no_value:", ":null_value:"  # leave a field alone that only others set; set it to null
LOCK_UNKNOWN = -1  # of an accepted object whose answer named none: read the record before the next write
PAGE_ROWS = 100  # the documented safe maximum of rows in an answer, and of objects in a write
_VALUES = 96
_CONTAINED = 50  # addresses in one look-up for a part: no index helps with that
_ADDRESS = re.compile(r"[^\s,\\@]+@[^\s,\\@]+\.[^\s,\\@]+")


class Filter(NamedTuple):
    """One condition: a field, an operator of the guide (eq, gt, true...), and the value ('' where it takes none)."""

    field: str
    operator: str
    value: str


class Reading(NamedTuple):
    """Which rows, and which of their columns."""

    filters: tuple[Filter, ...]
    columns: tuple[str, ...]
    logic: str = ""  # joins the filters by their 1-based numbers; '' means all hold
    extra: tuple[Pair, ...] = ()  # further parameters, of metadata alone, which comes in one answer, not page by page


def chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut values into parts of at most `size`."""
    return (values[start : start + size] for start in range(0, len(values), size))


def look_ups(
    field: str, values: Iterable[str], columns: Sequence[str], *, include_deleted: bool, one_each: bool, padded: bool
) -> Iterator[tuple[Sequence[str], Reading]]:
    """Cut the values of a field into look-ups: each time some of them, and how to ask for these; blanks are left out.

    Where any number may match, each asks for a few values less than a page has rows: no further page is needed then.
    Whether Workbooks ignores case or blanks is not documented: an address is asked for as it is and in lower case, also
    with a blank before it, behind it or on both sides. Nor is whether a backslash escapes more than a comma, and so
    itself: a value with one goes alone, in two ways; what the wrong way finds is not what was asked for.
    `padded` asks for all that have an address in them, but for what is none: that may be part of every other.
    """
    if padded:
        boxes = {mailbox(value): value.strip() for value in values if _ADDRESS.fullmatch(value.strip())}
        for some in chunks(tuple(boxes), _CONTAINED):
            parts = dict.fromkeys(form for box in some for form in (boxes[box], box))
            logic = " OR ".join(map(str, range(1, len(parts) + 1))) if len(parts) > 1 else ""
            yield some, Reading(tuple(Filter(field, "ct", part) for part in parts), tuple(columns), logic)
        return
    spelled: dict[str, Iterable[str]] = {value: (value,) for value in values if value.strip()}
    for value in spelled if field == EMAIL else ():
        cases = dict.fromkeys((value, value.strip(), value.strip().lower()))
        spelled[value] = [one for case in cases for one in (case, f" {case}", f"{case} ", f" {case} ")]
    usual = [value for value in spelled if "\\" not in value]
    for some in chunks(usual, PAGE_ROWS if one_each or len(usual) <= PAGE_ROWS else _VALUES):
        forms = dict.fromkeys(form for value in some for form in spelled[value])
        yield some, look_up(field, forms, columns, include_deleted=include_deleted)
    for odd, spellings in spelled.items():
        for form in dict.fromkeys(spellings) if "\\" in odd else ():
            for escaped in (form, form.replace("\\", "\\\\")):
                yield (odd,), look_up(field, (escaped,), columns, include_deleted=include_deleted)


def encode(pairs: Iterable[Pair]) -> bytes:
    """Percent-encode as UTF-8 form data, but for the `[]` that ends a name; half a surrogate pair becomes a "?"."""
    return urlencode(list(pairs), quote_via=quote, safe="", errors="replace").replace("%5B%5D=", "[]=").encode()


def read_pairs(reading: Reading, *, after: int = 0, skip_totals: Sequence[str] = ()) -> list[Pair]:
    """Spell out a read: the page in the order of ids behind `after`; `skip_totals`: how to spell "do not count"."""
    filters, logic = reading.filters, reading.logic
    if after:  # an offset would shift, and skip rows, while others delete
        filters = (*filters, Filter("id", "gt", str(after)))
        logic = f"({logic}) AND {len(filters)}" if logic else ""
    pairs = [("_method", "GET"), *reading.extra]
    if not reading.extra:  # a limit needs a start (guide)
        pairs += [("_start", "0"), ("_limit", str(PAGE_ROWS)), ("_sort", "id"), ("_dir", "ASC")]
        pairs += [(name, "true") for name in skip_totals]
    if logic:
        pairs.append(("_fm", logic))
    for one in filters:
        pairs += [("_ff[]", one.field), ("_ft[]", one.operator), ("_fc[]", one.value)]
    return pairs + [("_select_columns[]", column) for column in reading.columns]


def write_pairs(writes: Sequence[Write]) -> list[Pair]:
    """Spell out a write: a filter that selects exactly the objects, then each object with the same names in one order.

    A name nested twice, ``a[b[c]]``, becomes ``a[b][c]``, as in the PHP binding. Raises ValueError for an id twice.
    """
    ids = [write.id for write in writes if write.id]
    if len(set(ids)) != len(ids):
        raise ValueError("a record occurs twice in one write")
    selected = dict.fromkeys(str(write.id) for write in writes)
    pairs = [("_method", "PUT"), ("_strict_attribute_checking", "1"), ("_per_object_transactions", "1")]
    pairs += [("_fm", "or")] if len(selected) > 1 else []
    for one in selected:
        pairs += [("_ff[]", "id"), ("_ft[]", "eq"), ("_fc[]", one)]
    columns = {}
    for name in dict.fromkeys(name for write in writes for name in write.fields):
        head, *nested = name.replace("]", "").split("[")
        columns[name] = head + "".join(f"[{part}]" for part in nested) + "[]"
    for write in writes:
        pairs += [("__method[]", "PUT" if write.id else "POST"), ("id[]", str(write.id))]
        pairs += [("lock_version[]", str(write.lock_version))]
        values = {name: to_wire(value) for name, value in write.fields.items()}
        pairs += [(spelled, values.get(name, NO_VALUE)) for name, spelled in columns.items()]
    return pairs


def look_up(field: str, values: Iterable[str], columns: Iterable[str], *, include_deleted: bool = False) -> Reading:
    """Ask for rows whose field is one of the values, by `eq` with a list (guide); `is_deleted` shows deleted ones."""
    one_of = Filter(field, "eq", ",".join(value.replace(",", "\\,") for value in values))
    reading = Reading((one_of,), tuple(dict.fromkeys(columns)))
    either = (Filter("is_deleted", "true", ""), Filter("is_deleted", "false", ""))
    return reading._replace(filters=(one_of, *either), logic="1 AND (2 OR 3)") if include_deleted else reading


_TRUE = frozenset(("true", "t", "on", "1", "yes", "y"))
_DIGITS = re.compile(r"\d{1,19}", re.ASCII)
_EPOCH = re.compile(r"-?\d{1,11}(?:\.\d+)?", re.ASCII)
_DAY_LENGTH = len("2026-09-01")
_LARGEST = 2**62  # larger ids make no sense, and those near 2^63 fit no database


def to_wire(value: WriteValue) -> str:
    """Write a value as Workbooks documents it, in English: ``Tue Sep 01 10:00:04 UTC 2026``, `` 1 Sep 2026`` (UTC)."""
    if isinstance(value, DateTime | Date):
        at = to_datetime(value.at)
        weekday, month, *_ = at.ctime().split()
        if isinstance(value, Date):
            return f"{at.day:2d} {month} {at.year:04d}"
        return f"{weekday} {month} {at:%d %H:%M:%S} UTC {at.year:04d}"
    if isinstance(value, bool):
        return "1" if value else "0"
    return NULL_VALUE if value is None else str(value)


def read_text(raw: object) -> str | None:
    """Read text: a number becomes its digits (18.0 those of 18), emptiness None, half a surrogate pair a "?"."""
    if raw is None or raw == "":
        return None
    if isinstance(raw, bool):
        return "true" if raw else "false"
    text = str(int(raw)) if isinstance(raw, float) and raw.is_integer() else str(raw)
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode("utf-8")


def read_boolean(raw: object) -> bool | None:
    """Read a boolean in any of the spellings Workbooks takes for true; everything else is false, null is None."""
    return None if raw is None else str(raw).strip().lower() in _TRUE


def read_integer(raw: object) -> int | None:
    """Read a whole number that a database can hold, also one that came as text; anything else is None."""
    if (isinstance(raw, str) and _DIGITS.fullmatch(raw.strip())) or (isinstance(raw, float) and raw.is_integer()):
        raw = int(raw)
    is_number = isinstance(raw, int) and not isinstance(raw, bool) and abs(raw) <= _LARGEST
    return raw if is_number else None  # type: ignore[return-value]


def read_datetime(raw: object) -> Instant | None:
    """Read a time in any form Workbooks gives one, a day as its midnight; None for all but those from 1900 to 3000."""
    text = (read_text(raw) or "").strip()
    first, _, rest = text.partition(",")  # a var_date_time: <ISO 8601>,<1 with time, 0 a day>,<zone>
    if _EPOCH.fullmatch(text):
        found: Instant | None = Instant(round(float(text) * 1000))
    else:
        found = moment(first[:_DAY_LENGTH] if rest.startswith("0") else first, parse_iso)
    if found is None:  # the default forms are near enough to those of e-mail
        found = moment(f"{text} 00:00 UTC" if text[:1].isdigit() else text, parse_http_date)
    return found if found is not None and EARLIEST <= found < LATEST else None


READERS: dict[Datatype, Callable[[object], Scalar]] = {
    Datatype.TEXT: read_text,
    Datatype.BOOLEAN: read_boolean,
    Datatype.DATETIME: read_datetime,
}


def record_id(row: Row, column: str = "id") -> int:
    """Return the id of a row, or its `lock_version`; raise UntrustedAnswerError where it has none that makes sense."""
    number = read_integer(row.get(column))
    if number is None or number < (column == "id"):
        raise UntrustedAnswerError(f"Workbooks returned a record whose {column} makes no sense.")
    return number


def lock_version_of(row: Row) -> int:
    """Return the lock version of a row, `LOCK_UNKNOWN` where it has none."""
    lock_version = read_integer(row.get("lock_version"))
    return LOCK_UNKNOWN if lock_version is None else lock_version


def is_kept(sent: WriteValue, raw: object) -> bool:
    """Say whether a field that reads as `raw` holds what was sent for it; times count by the second."""
    if isinstance(sent, DateTime | Date):
        kept = read_datetime(raw)
        return kept is not None and to_wire(type(sent)(kept)) == to_wire(sent)
    if isinstance(sent, bool):
        return bool(read_boolean(raw)) is sent
    wanted = "" if sent is None else str(sent)
    return (read_text(raw) or "").replace("\r\n", "\n") == wanted.replace("\r\n", "\n")


STALE_TEXT = "already been updated elsewhere"  # of a lock version that is not the current one (guide), in any case
KEY_ADVICE = "Check workbooks.api_key: its expiry date, its permitted IP addresses and its user."
_CHECK_ADVICE = "Run `outreach-sync check`."
_ADVICE = {
    "user_agent_required": "Set workbooks.application_name.",
    "invalid_application_name": "Choose another workbooks.application_name.",
    "no_permission_for_api": "Give the user of the API key permission to use the API.",
}
_SESSION_REASONS = frozenset(("session_expired", "no_session", "no_session_found"))
_PASSING_REASONS = frozenset(
    ("no_available_database", "requested_database_not_available", "database_being_migrated", "database_archived")
)
_OWN_KEYS = {"success", "failure_reason", "failure_message", "failures", "errors", "error", "affected_objects"}
_LOG_IN = re.compile(r"(?:users?[-_])?(?:log|sign)[-_]?(?:in|on)(?:\.\w+)?|sso", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_REASON_LENGTH, _REASON_COUNT, _DEPTH = 300, 10, 6
_NAMELESS = frozenset(("", "[]", "base"))
_WITHOUT_REASON = "refused without a reason"


class DelayedError(RetriableError):
    """A redirect: Workbooks slows us down. The same request goes again after a pause, with fewer at once."""

    eagerness = 6.0


class TurnedAwayError(RetriableError):
    """A redirect to a log-in page, or a lost session: the key may not be accepted. The client counts these."""


class FailedError(BusyError):
    """Workbooks, or what stands before it, failed at a request; a write may have been carried out."""


def parse(answer: Answer, endpoint: str = "") -> dict[str, Any]:
    """Return the JSON object of a 200 answer to a request for `endpoint`, such as ``login.api``.

    Raises RetriableError (it may pass), NotAuthenticatedError, NotAllowedError, UntrustedAnswerError (not understood).
    """
    status = answer.status
    if status == 200:  # noqa: PLR2004 - the status says more than a name, here and below
        said = _json_object(answer.body)
        if said is None:
            raise GarbledError("Workbooks answered with something that is not a JSON object")
        return said
    asked = retry_after(answer.headers, status, answer.server_time)
    if status in {408, 429}:
        raise ThrottledError(f"Workbooks asks to wait ({status})", asked_seconds=asked)
    if 300 <= status < 400:  # noqa: PLR2004
        kind = TurnedAwayError if _leads_to_log_in(answer.headers.get("Location", ""), endpoint) else DelayedError
        raise kind(f"Workbooks answered with a redirect ({status})", asked_seconds=asked)
    if 400 <= status < 500 and _json_object(answer.body, _OWN_KEYS) is None:  # noqa: PLR2004
        raise BusyError(f"something before Workbooks answered {status}", status=status, asked_seconds=asked)
    if status in {401, 403}:
        raise _turned_down(answer, asked)
    if status == 404:  # noqa: PLR2004
        raise NotAllowedError("Workbooks does not know this kind of record, or hides it (404).", advice=_CHECK_ADVICE)
    if status >= 500 and status != 501:  # noqa: PLR2004
        kind_of_busy = BusyError if status == 503 else FailedError  # noqa: PLR2004
        raise kind_of_busy(f"Workbooks failed ({status})", status=status, asked_seconds=asked)
    raise UntrustedAnswerError(f"Workbooks did not understand the request ({status}).", advice=_CHECK_ADVICE)


def rows(said: Mapping[str, Any]) -> list[Row]:
    """Return the rows of the answer to a look-up; raise UntrustedAnswerError where it holds none, or was refused."""
    if said.get("success") is False:
        reasons = "; ".join(reasons_in(said)) or "without a reason"
        raise UntrustedAnswerError(f"Workbooks refused a look-up: {reasons}.", advice=_CHECK_ADVICE)
    listed = said.get("data")
    if not isinstance(listed, list) or not all(isinstance(row, dict) for row in listed):
        raise UntrustedAnswerError("Workbooks answered a look-up without a list of rows.")
    return listed


def refusal(answer: Answer) -> Rejected | None:
    """Recognise a status that refuses a write as a whole, also 404, which one deleted id may cause (not documented)."""
    if not 400 <= answer.status < 500 or answer.status in {401, 403, 408, 429}:  # noqa: PLR2004
        return None
    said = _json_object(answer.body, _OWN_KEYS)
    its_own = said is not None or answer.status == 413  # noqa: PLR2004 - too large for whoever says so: a half may do
    return Rejected(reasons_in(said or {}) or (f"refused with status {answer.status}",)) if its_own else None


def _leads_to_log_in(location: str, endpoint: str) -> bool:
    """Tell a redirect to log in from a delay; one to the endpoint that was asked for is a delay, even for `login`."""
    try:
        address = urlsplit(location)
    except ValueError:
        return False
    first_label = address.netloc.rpartition("@")[2].partition(".")[0]
    return any(_LOG_IN.fullmatch(part) for part in (first_label, *address.path.split("/")) if part != endpoint)


def _turned_down(answer: Answer, asked: float | None) -> OutreachSyncError:
    """Tell, by the reason a 401 or 403 gives, what passes from what does not. The list of reasons is open."""
    said = _json_object(answer.body) or {}
    reason = clean_text(str(said.get("failure_reason") or said.get("failure_message") or "; ".join(reasons_in(said))))
    if reason in _SESSION_REASONS:
        return TurnedAwayError(f"Workbooks has no session for us ({reason})", asked_seconds=asked)
    if reason in _PASSING_REASONS:
        return RetriableError(f"the Workbooks database cannot be used now ({reason})", asked_seconds=asked)
    shown = f"{answer.status} {reason}".strip()
    if answer.status == 401:  # noqa: PLR2004
        return NotAuthenticatedError(f"Workbooks does not accept the API key ({shown}).", advice=KEY_ADVICE)
    return NotAllowedError(f"Workbooks does not allow this ({shown}).", advice=_ADVICE.get(reason, KEY_ADVICE))


def _json_object(body: bytes, keys: set[str] | None = None) -> dict[str, Any] | None:
    """Read a JSON object, None where it is none, or has none of the keys by which Workbooks itself is known."""
    try:
        said = json.loads(body.decode("utf-8", errors="replace"))  # the PHP binding knows invalid UTF-8
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and (keys is None or not keys.isdisjoint(said)) else None


class _Entry(NamedTuple):
    """What the answer holds about one object, or all of them."""

    record: Mapping[str, Any]
    success: bool | None  # its own flag, None where it has none
    reasons: tuple[str, ...]


def judge(answer: Mapping[str, Any], writes: Sequence[Write]) -> tuple[Verdict, ...] | Rejected:
    """Judge each object of a write; `Rejected`: all was refused without a word on any, and nothing was written."""
    flag, reasons = answer.get("success"), reasons_in(answer)
    if flag is False and not (answer.get("affected_objects") or answer.get("affected_object_information")):
        return Rejected(reasons or (_WITHOUT_REASON,))
    whole = _Entry({}, flag if isinstance(flag, bool) else None, reasons)
    return tuple(
        _unknown("the answer does not say what became of this record", reasons)
        if entry is None
        else _judge_one(write, entry, whole, alone=len(writes) == 1)
        for write, entry in zip(writes, _pair(answer, writes), strict=True)
    )


def settle_single(reasons: tuple[str, ...]) -> Stale | Rejected:
    """Turn what is said of a request that held one object into the verdict on that object."""
    return Stale() if any(STALE_TEXT in reason.lower() for reason in reasons) else Rejected(reasons)


def _judge_one(write: Write, entry: _Entry, whole: _Entry, *, alone: bool) -> Verdict:
    """Judge one object; what is said of all is about it if it was alone, or failed without reasons of its own."""
    named, sent, seen = read_integer(entry.record.get("id")), write.fields.get(REFERENCE), entry.record.get(REFERENCE)
    same_reference = sent is None or seen is None or str(seen) == sent
    # a failed create comes back with a null id
    its_own = named in (write.id, None) if write.id else named in (0, None) and same_reference
    refused = entry.success is False or (entry.success is None and bool(entry.reasons))
    said = entry.reasons or whole.reasons
    verdict: Verdict
    if its_own and isinstance(settle_single(entry.reasons), Stale):
        verdict = Stale()
    elif refused and not its_own:
        verdict = _unknown("the answer names another record in this place", entry.reasons)
    elif refused and write.id:
        verdict = settle_single(said) if said else Unknown(_WITHOUT_REASON)
    elif refused:
        verdict = Rejected(said or (_WITHOUT_REASON,))
    elif entry.reasons or not (entry.success or (whole.success and not whole.reasons)):
        about_it = alone and entry.success is None and whole.success is False and its_own
        unclear = "the answer does not clearly say that this record was saved"
        verdict = settle_single(said) if about_it and said else _unknown(unclear, said)
    elif named is None or named <= 0 or (named != write.id if write.id else not same_reference):
        verdict = Unknown("the answer reports success, but for another record")
    else:
        verdict = Accepted(named, lock_version_of(entry.record))
    return verdict


def _pair(answer: Mapping[str, Any], writes: Sequence[Write]) -> list[_Entry | None]:
    """Find each object's entry: by position, or by id where the count is off; none whose id is another's, or twice."""
    records, information = maps(answer.get("affected_objects")), maps(answer.get("affected_object_information"))
    if information and len(information) != len(records):
        return [None] * len(writes)
    listed = answer.get("affected_object_errors")
    old_errors = listed if isinstance(listed, list) and len(listed) == len(records) else [None] * len(records)
    entries = []
    for record, facts, old in zip(records, information or [{}] * len(records), old_errors, strict=True):
        success = facts.get("success")
        failed = success is False or (success is None and answer.get("success") is False and len(records) == 1)
        reasons = _reasons(facts.get("errors"), old, facts.get("message") if failed else None)
        entries.append(_Entry(record, success if isinstance(success, bool) else None, reasons))
    ids = [read_integer(record.get("id")) for record in records]
    if len(entries) != len(writes):
        return [entries[ids.index(one.id)] if one.id and ids.count(one.id) == 1 else None for one in writes]
    sent = {write.id for write in writes if write.id}
    return [
        None if found and (ids.count(found) > 1 or (not write.id and found in sent)) else entry
        for write, entry, found in zip(writes, entries, ids, strict=True)
    ]


def reasons_in(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """Collect every reason an answer gives, wherever it stands, fit to be shown."""
    places = [answer.get(key) for key in ("failures", "errors", "affected_object_errors")]
    return _reasons(*places, *(entry.get("errors") for entry in maps(answer.get("affected_object_information"))))


def clean_text(text: str) -> str:
    """Make a service's text fit to be shown and kept: no control characters, bounded length."""
    return _CONTROL.sub(" ", read_text(text) or "").strip()[:_REASON_LENGTH]


def _reasons(*places: object) -> tuple[str, ...]:
    """Flatten texts, lists and maps of field to text into ``field: text``, each once and bounded."""
    texts = (clean_text(text) for text in _texts(list(places), "", _DEPTH + 1))
    return tuple(dict.fromkeys(text for text in texts if text))[:_REASON_COUNT]


def _texts(place: object, field: str, depth: int) -> Iterator[str]:
    if place is None or depth == 0:
        return
    if isinstance(place, Mapping | list):
        for name, inner in place.items() if isinstance(place, Mapping) else (("", one) for one in place):
            yield from _texts(inner, field if name in _NAMELESS else str(name), depth - 1)
    elif str(place).strip():
        yield f"{field}: {place}" if field else str(place)


def maps(entries: object) -> list[Mapping[str, Any]]:
    """Take a list of maps; anything else in a place is an empty map, so that positions stay."""
    return [entry if isinstance(entry, dict) else {} for entry in entries] if isinstance(entries, list) else []


def _unknown(summary: str, reasons: Sequence[str]) -> Unknown:
    return Unknown(f"{summary}: {'; '.join(reasons)}" if reasons else summary)
