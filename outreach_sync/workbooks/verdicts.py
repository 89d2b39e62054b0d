"""What an answer of Workbooks means: of the whole request (usable, wait, give up), then of each object of a write.

Pure. The HTTP status says nothing of an object and the top level of the answer little (guide: a failed write is 200
with ``"success": false``; how a mixture is answered is not documented), so an object counts as done only if its own
entry says so and names its own id. Whatever is not certain is `Unknown`, which makes the caller look.

A refusal counts only in Workbooks' own form, JSON; a page of HTML or text is a gateway's. A redirect slows a client
down, unless it leads to a log-in page (guide: Rate limiting, Authentication; the lists of reasons there are open).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from outreach_sync.errors import NotAllowedError, NotAuthenticatedError, OutreachSyncError, UntrustedAnswerError
from outreach_sync.http import BusyError, GarbledError, RetriableError, ThrottledError, retry_after
from outreach_sync.records import Accepted, Rejected, Stale, Unknown, Verdict, Write
from outreach_sync.workbooks.wire import REFERENCE, lock_version_of, read_integer, read_text

if TYPE_CHECKING:
    from outreach_sync.http import Answer

STALE_TEXT = "already been updated elsewhere"
"""What Workbooks says of a lock version that is not the current one (guide), in whatever case."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_REASON_LENGTH = 300
_REASON_COUNT = 10
_NAMELESS = frozenset(("", "[]", "base"))
_DEPTH = 6
_SESSION_REASONS = frozenset(("session_expired", "no_session", "no_session_found"))
_PASSING_REASONS = frozenset(
    ("no_available_database", "requested_database_not_available", "database_being_migrated", "database_archived")
)
_ADVICE = {
    "user_agent_required": "Set workbooks.application_name.",
    "invalid_application_name": "Choose another workbooks.application_name.",
    "no_permission_for_api": "Give the user of the API key permission to use the API.",
}
_KEY_ADVICE = "Check workbooks.api_key: its expiry date, its permitted IP addresses and its user."
_OWN_KEYS = frozenset(
    ("success", "failure_reason", "failure_message", "failures", "errors", "error", "affected_objects")
)
_LOG_IN = re.compile(r"(?:users?[-_])?(?:log|sign)[-_]?(?:in|on)(?:\.\w+)?|sso", re.IGNORECASE)
_CHECK_ADVICE = "Run `outreach-sync check`."


class DelayedError(RetriableError):
    """A redirect: Workbooks slows us down. The same request goes again after a pause, with fewer at once."""

    eagerness = 6.0


class TurnedAwayError(RetriableError):
    """A redirect to a log-in page, or a lost session: the key may not be accepted. The client counts these."""


class FailedError(BusyError):
    """Workbooks, or what stands before it, failed at a request; a write may have been carried out."""


class BatchRefused(NamedTuple):
    """Workbooks refused the request as a whole and says nothing of its objects: none was written."""

    reasons: tuple[str, ...]


def parse(answer: Answer, endpoint: str = "") -> dict[str, Any]:
    """Return the JSON object of a 200 answer to a request for `endpoint`, such as ``login.api``.

    Invalid UTF-8, which the PHP binding has to work around, is replaced.

    Raises:
        DelayedError, TurnedAwayError, ThrottledError, BusyError, FailedError, GarbledError: it may pass.
        NotAuthenticatedError, NotAllowedError: it will not.
        UntrustedAnswerError: the request itself was not understood.
    """
    if answer.status != 200:  # noqa: PLR2004 - the status says more than a name, here and below
        raise _failure(answer, endpoint)
    said = _json_object(answer.body)
    if said is None:
        raise GarbledError("Workbooks answered with something that is not a JSON object")
    return said


def _failure(answer: Answer, endpoint: str) -> OutreachSyncError:
    """Name what an answer other than 200 means."""
    status, asked = answer.status, retry_after(answer.headers, answer.status, answer.server_time)
    if 300 <= status < 400 or status in {408, 429}:  # noqa: PLR2004
        return _put_off(answer, asked, endpoint)
    if status in {401, 403, 404, 422} and _own_form(answer.body) is None:
        return BusyError(f"something before Workbooks answered {status}", status=status, asked_seconds=asked)
    if status in {401, 403}:
        return _turned_down(answer, asked)
    if status == 404:  # noqa: PLR2004
        return NotAllowedError("Workbooks does not know this kind of record, or hides it (404).", advice=_CHECK_ADVICE)
    if status >= 500 and status != 501:  # noqa: PLR2004
        kind_of_busy = BusyError if status == 503 else FailedError  # noqa: PLR2004
        return kind_of_busy(f"Workbooks failed ({status})", status=status, asked_seconds=asked)
    return UntrustedAnswerError(f"Workbooks did not understand the request ({status}).", advice=_CHECK_ADVICE)


def request_refusal(answer: Answer) -> BatchRefused | None:
    """Recognise a status that refuses a write as a whole, so that none of it was done; None for every other.

    A deleted id may make all of a batch 404 (not documented), so that counts here.
    """
    if not 400 <= answer.status < 500 or answer.status in {401, 403, 408, 429}:  # noqa: PLR2004
        return None
    said = _own_form(answer.body)
    if said is None and answer.status in {404, 422}:
        return None
    return BatchRefused(reasons_in(said or {}) or (f"refused with status {answer.status}",))


def refused_reading(said: Mapping[str, Any]) -> UntrustedAnswerError:
    """Name a 200 that is not a success on a read: a filter or a column that Workbooks does not accept."""
    reasons = "; ".join(reasons_in(said)) or "without a reason"
    return UntrustedAnswerError(f"Workbooks refused a look-up: {reasons}.", advice=_CHECK_ADVICE)


def not_accepted() -> NotAuthenticatedError:
    """Name a key that was only ever met with log-in pages or lost sessions."""
    return NotAuthenticatedError("Workbooks keeps turning the API key away.", advice=_KEY_ADVICE)


def _put_off(answer: Answer, asked: float | None, endpoint: str) -> RetriableError:
    """Tell a client that is asked to wait from one that is sent to log in: the Location of a redirect says which.

    One that leads to the endpoint that was asked for is a delay, though it be the one for logging in.
    """
    if answer.status in {408, 429}:
        return ThrottledError(f"Workbooks asks to wait ({answer.status})", asked_seconds=asked)
    try:
        address = urlsplit(answer.headers.get("Location", ""))
    except ValueError:
        address = urlsplit("")
    first_label = address.netloc.rpartition("@")[2].partition(".")[0]
    parts = (first_label, *address.path.split("/"))
    to_log_in = any(_LOG_IN.fullmatch(part) for part in parts if part != endpoint)
    kind = TurnedAwayError if to_log_in else DelayedError
    return kind(f"Workbooks answered with a redirect ({answer.status})", asked_seconds=asked)


def _turned_down(answer: Answer, asked: float | None) -> OutreachSyncError:
    """Tell, by the reason a 401 or 403 gives, what passes from what does not. The list of reasons is open."""
    said = _own_form(answer.body) or {}
    reason = clean_text(str(said.get("failure_reason") or said.get("failure_message") or ""))
    if reason in _SESSION_REASONS:
        return TurnedAwayError(f"Workbooks has no session for us ({reason})", asked_seconds=asked)
    if reason in _PASSING_REASONS:
        return RetriableError(f"the Workbooks database cannot be used now ({reason})", asked_seconds=asked)
    shown = f"{answer.status} {reason}".strip()
    if answer.status == 401:  # noqa: PLR2004
        return NotAuthenticatedError(f"Workbooks does not accept the API key ({shown}).", advice=_KEY_ADVICE)
    return NotAllowedError(f"Workbooks does not allow this ({shown}).", advice=_ADVICE.get(reason, _KEY_ADVICE))


def _own_form(body: bytes) -> dict[str, Any] | None:
    """Return what Workbooks itself says: a JSON object with a key that it uses. None: someone else speaks."""
    said = _json_object(body)
    return said if said is not None and not _OWN_KEYS.isdisjoint(said) else None


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(body.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


class _Entry(NamedTuple):
    """What the answer holds about one object; `flag` is its own success, None where it has none."""

    record: Mapping[str, Any]
    flag: bool | None
    errors: tuple[str, ...]


class _Whole(NamedTuple):
    """What the answer says of all objects together; `clean` means success and no error anywhere."""

    clean: bool
    failed: bool
    reasons: tuple[str, ...]


def judge(answer: Mapping[str, Any], writes: Sequence[Write]) -> tuple[Verdict, ...]:
    """Judge each object of a write from the parsed answer; the result is parallel to `writes`."""
    reasons, success = reasons_in(answer), answer.get("success")
    whole = _Whole(clean=success is True and not reasons, failed=success is False, reasons=reasons)
    entries = _pair(answer, writes)
    return tuple(
        _judge_one(write, entry, whole, alone=len(writes) == 1) for write, entry in zip(writes, entries, strict=True)
    )


def batch_refusal(answer: Mapping[str, Any]) -> BatchRefused | None:
    """Recognise an answer that refuses everything without a word on any object; None where there is such a word."""
    speaks_of_objects = answer.get("affected_objects") or answer.get("affected_object_information")
    if answer.get("success") is not False or speaks_of_objects:
        return None
    return BatchRefused(reasons_in(answer) or ("refused without a reason",))


def settle_single(refusal: BatchRefused) -> Verdict:
    """Turn the refusal of a request that held one object into the verdict on that object."""
    return Stale() if _stale(refusal.reasons) else Rejected(refusal.reasons)


def reasons_in(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """Collect every reason an answer gives, wherever it stands, fit to be shown."""
    information = _dicts(answer.get("affected_object_information"))
    places = [answer.get(key) for key in ("failures", "errors", "affected_object_errors")]
    return _reasons(*places, *(entry.get("errors") for entry in information))


def clean_text(text: str) -> str:
    """Make a service's text fit to be shown and kept: no control characters, bounded length."""
    return _CONTROL.sub(" ", read_text(text) or "").strip()[:_REASON_LENGTH]


def _judge_one(write: Write, entry: _Entry | None, whole: _Whole, *, alone: bool) -> Verdict:
    if entry is None:
        return Unknown(_why("the answer does not say what became of this record", whole.reasons))
    if _stale(entry.errors):
        return Stale()
    if entry.flag is False or (entry.flag is None and entry.errors):
        return _refused(write, entry, whole)
    if entry.errors or not (entry.flag or whole.clean):
        return _undecided(write, entry, whole, alone=alone)
    return _accepted(write, entry)


def _refused(write: Write, entry: _Entry, whole: _Whole) -> Verdict:
    """Judge an object that failed; only one without errors of its own is explained by those of the whole."""
    if not _names_itself_or_nothing(write, entry.record):
        return Unknown(_why("the answer names another record in this place", entry.errors))
    if entry.errors:
        return Rejected(entry.errors)
    if write.id and _stale(whole.reasons):
        return Stale()
    if write.id and not whole.reasons:
        return Unknown("refused without a reason")
    return Rejected(whole.reasons or ("refused without a reason",))


def _undecided(write: Write, entry: _Entry, whole: _Whole, *, alone: bool) -> Verdict:
    """Judge an object whose entry is silent or contradicts itself; what is said of all is about it if it was alone."""
    reasons = entry.errors or whole.reasons
    about_it = alone and entry.flag is None and whole.failed and reasons
    if about_it and _names_itself_or_nothing(write, entry.record):
        return settle_single(BatchRefused(reasons))
    return Unknown(_why("the answer does not clearly say that this record was saved", reasons))


def _accepted(write: Write, entry: _Entry) -> Verdict:
    record_id = _id(entry)
    if record_id is None or record_id <= 0 or (write.id and record_id != write.id):
        return Unknown("the answer reports success, but for another record")
    if not write.id and not _same_reference(write, entry.record):
        return Unknown("the answer reports success, but for another record")
    return Accepted(record_id, lock_version_of(entry.record))


def _names_itself_or_nothing(write: Write, record: Mapping[str, Any]) -> bool:
    """Say whether a failed object's entry is plausibly its own: a failed create comes back with a null id."""
    record_id = read_integer(record.get("id"))
    if write.id:
        return record_id in (write.id, None)
    return record_id in (0, None) and _same_reference(write, record)


def _same_reference(write: Write, record: Mapping[str, Any]) -> bool:
    """Say whether a new record bears the reference that was sent, where both name one."""
    sent, named = write.fields.get(REFERENCE), record.get(REFERENCE)
    return sent is None or named is None or str(named) == sent


def _pair(answer: Mapping[str, Any], writes: Sequence[Write]) -> list[_Entry | None]:
    """Find each object's entry: by position, or where the count is off by id, which no create has yet."""
    records = _dicts(answer.get("affected_objects"))
    information = _dicts(answer.get("affected_object_information"))
    old_errors = answer.get("affected_object_errors")
    if information and len(information) != len(records):
        return [None] * len(writes)
    own_errors = (
        old_errors if isinstance(old_errors, list) and len(old_errors) == len(records) else [None] * len(records)
    )
    facts = information or [{}] * len(records)
    entries = [_entry(*parts) for parts in zip(records, facts, own_errors, strict=True)]
    if len(entries) == len(writes):
        return _without_doubles(writes, entries)
    by_id = [[entry for entry in entries if write.id and _id(entry) == write.id] for write in writes]
    return [found[0] if len(found) == 1 else None for found in by_id]


def _without_doubles(writes: Sequence[Write], entries: list[_Entry]) -> list[_Entry | None]:
    """Keep entries by position, but none whose id is reported for two objects or belongs to another that was sent."""
    reported = [_id(entry) for entry in entries]
    sent = {write.id for write in writes if write.id}
    return [
        None if found and (reported.count(found) > 1 or (not write.id and found in sent)) else entry
        for write, entry, found in zip(writes, entries, reported, strict=True)
    ]


def _id(entry: _Entry) -> int | None:
    return read_integer(entry.record.get("id"))


def _entry(record: Mapping[str, Any], information: Mapping[str, Any], old_errors: object) -> _Entry:
    success = information.get("success")
    flag = success if isinstance(success, bool) else None
    said = information.get("message") if flag is False else None
    return _Entry(record, flag, _reasons(information.get("errors"), old_errors, said))


def _reasons(*places: object) -> tuple[str, ...]:
    """Flatten texts, lists and maps of field to text into ``field: text``, each once and bounded."""
    texts = (clean_text(text) for place in places for text in _texts(place, "", _DEPTH))
    return tuple(dict.fromkeys(text for text in texts if text))[:_REASON_COUNT]


def _texts(place: object, field: str, depth: int) -> Iterator[str]:
    if place is None or depth == 0:
        return
    if isinstance(place, Mapping):
        for name, inner in place.items():
            yield from _texts(inner, field if name in _NAMELESS else str(name), depth - 1)
    elif isinstance(place, list):
        for inner in place:
            yield from _texts(inner, field, depth - 1)
    elif str(place).strip():
        yield f"{field}: {place}" if field else str(place)


def _dicts(entries: object) -> list[Mapping[str, Any]]:
    """Take a list of maps; anything else in a place is an empty map, so that positions stay."""
    if not isinstance(entries, list):
        return []
    return [entry if isinstance(entry, dict) else {} for entry in entries]


def _stale(reasons: Sequence[str]) -> bool:
    return any(STALE_TEXT in reason.lower() for reason in reasons)


def _why(summary: str, reasons: Sequence[str]) -> str:
    return f"{summary}: {'; '.join(reasons)}" if reasons else summary
