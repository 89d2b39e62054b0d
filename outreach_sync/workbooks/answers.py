"""What an HTTP answer of Workbooks means before anyone looks at its rows: usable, wait, or give up.

Facts: the API developers guide, sections on errors and log-in; the lists of reasons there are open. A redirect means
rate limiting, an invalid session or a log-out, and nothing tells them apart.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from outreach_sync.errors import NotAllowedError, NotAuthenticatedError, OutreachSyncError, UntrustedAnswerError
from outreach_sync.http import BusyError, GarbledError, RetriableError, ThrottledError, retry_after
from outreach_sync.workbooks.verdicts import BatchRefused, clean_text, reasons_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.http import Answer

_SESSION_REASONS = frozenset(("session_expired", "no_session", "no_session_found"))
_PASSING_REASONS = frozenset(
    ("no_available_database", "requested_database_not_available", "database_being_migrated", "database_archived"),
)
_ADVICE = {
    "user_agent_required": "Set workbooks.application_name.",
    "invalid_application_name": "Choose another workbooks.application_name.",
    "no_permission_for_api": "Give the user of the API key permission to use the API.",
}
_KEY_ADVICE = "Check workbooks.api_key: its expiry date, its permitted IP addresses and its user."
_CHECK_ADVICE = "Run `outreach-sync check`."


class TurnedAwayError(RetriableError):
    """A redirect or a lost session: a passing limit, or a key that is not accepted. The client counts these."""


def parse(answer: Answer) -> dict[str, Any]:
    """Return the JSON object of a 200 answer.

    Invalid UTF-8, which the PHP binding has to work around, is replaced.

    Raises:
        TurnedAwayError, ThrottledError, BusyError, GarbledError: it may pass.
        NotAuthenticatedError, NotAllowedError: it will not.
        UntrustedAnswerError: the request itself was not understood.
    """
    if answer.status == 200:  # noqa: PLR2004
        return _json_object(answer.body)
    raise failure(answer)


def failure(answer: Answer) -> OutreachSyncError:
    """Name what an answer other than 200 means."""
    status = answer.status
    if 300 <= status < 400:  # noqa: PLR2004
        return TurnedAwayError(f"Workbooks answered with a redirect ({status})", asked_seconds=_asked(answer))
    if status in {401, 403}:
        return _turned_down(answer)
    if status == 404:  # noqa: PLR2004
        return NotAllowedError("Workbooks does not know this kind of record, or hides it (404).", advice=_CHECK_ADVICE)
    if status in {408, 429}:
        return ThrottledError(f"Workbooks asks to wait ({status})", asked_seconds=_asked(answer))
    if status >= 500 and status != 501:  # noqa: PLR2004
        return BusyError(f"Workbooks failed ({status})", status=status, asked_seconds=_asked(answer))
    return UntrustedAnswerError(f"Workbooks did not understand the request ({status}).", advice=_CHECK_ADVICE)


def request_refusal(answer: Answer) -> BatchRefused | None:
    """Recognise a status that refuses a write as a whole, so that none of it was done; None for every other.

    A deleted id may make all of a batch 404 (not documented), so that counts here.
    """
    if not 400 <= answer.status < 500 or answer.status in {401, 403, 408, 429}:  # noqa: PLR2004
        return None
    return BatchRefused(_reasons_of(answer) or (f"refused with status {answer.status}",))


def refused_reading(said: Mapping[str, Any]) -> UntrustedAnswerError:
    """Name a 200 that is not a success on a read: a filter or a column that Workbooks does not accept."""
    reasons = "; ".join(reasons_in(said)) or "without a reason"
    return UntrustedAnswerError(f"Workbooks refused a look-up: {reasons}.", advice=_CHECK_ADVICE)


def not_accepted() -> NotAuthenticatedError:
    """Name a key that was only ever met with redirects or lost sessions."""
    return NotAuthenticatedError("Workbooks keeps turning the API key away.", advice=_KEY_ADVICE)


def _turned_down(answer: Answer) -> OutreachSyncError:
    """Tell, by the reason a 401 or 403 gives, what passes from what does not. The list of reasons is open."""
    reason = _failure_reason(answer.body)
    if reason in _SESSION_REASONS:
        return TurnedAwayError(f"Workbooks has no session for us ({reason})", asked_seconds=_asked(answer))
    if reason in _PASSING_REASONS:
        why = f"the Workbooks database cannot be used now ({reason})"
        return BusyError(why, status=answer.status, asked_seconds=_asked(answer))
    shown = f"{answer.status} {reason}".strip()
    if answer.status == 401:  # noqa: PLR2004
        return NotAuthenticatedError(f"Workbooks does not accept the API key ({shown}).", advice=_KEY_ADVICE)
    return NotAllowedError(f"Workbooks does not allow this ({shown}).", advice=_ADVICE.get(reason, _KEY_ADVICE))


def _failure_reason(body: bytes) -> str:
    said = _try_json(body)
    if not isinstance(said, dict):
        return ""
    return clean_text(str(said.get("failure_reason") or said.get("failure_message") or ""))


def _reasons_of(answer: Answer) -> tuple[str, ...]:
    said = _try_json(answer.body)
    return reasons_in(said) if isinstance(said, dict) else ()


def _json_object(body: bytes) -> dict[str, Any]:
    said = _try_json(body)
    if not isinstance(said, dict):
        raise GarbledError("Workbooks answered with something that is not a JSON object")
    return said


def _try_json(body: bytes) -> object:
    try:
        return json.loads(body.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return None


def _asked(answer: Answer) -> float | None:
    return retry_after(answer.headers, answer.status, answer.server_time)
