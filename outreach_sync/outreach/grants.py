"""What the token endpoint and the API say about who we are and whether to come back later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.errors import NotAuthenticatedError, OutreachSyncError
from outreach_sync.http import BusyError, GarbledError, ThrottledError, retry_after
from outreach_sync.instants import Instant
from outreach_sync.outreach.rows import parsed_object

if TYPE_CHECKING:
    from outreach_sync.http import Answer

LOG_IN = "Run `outreach-sync auth login`, or put a fresh refresh token into outreach.refresh_token."
"""What to do when consent is needed anew."""

_DEFAULT_LIFE_S = 7200
_LONGEST_WORD = 80


class GrantRefusedError(OutreachSyncError):
    """Outreach no longer accepts this refresh token or code."""

    exit_status = 3


class Grant(NamedTuple):
    """What the token endpoint gave. `refresh_token` is '' where it gave none."""

    access_token: str
    refresh_token: str
    expires_at: Instant | None
    issued_at: Instant | None
    scope: str


def raise_if_not_now(answer: Answer) -> None:
    """Let an answer that means "later" end the attempt.

    Raises:
        ThrottledError: 429, which at the token endpoint also means a second token within 60 s.
        BusyError: any 5xx.
    """
    asked = retry_after(answer.headers, answer.status, answer.server_time)
    if answer.status == 429:  # noqa: PLR2004 - the status says more than a name
        raise ThrottledError("the service answered 429, too many requests", asked_seconds=asked)
    if answer.status >= 500:  # noqa: PLR2004
        raise BusyError(f"the service answered {answer.status}", status=answer.status, asked_seconds=asked)


def grant_of(answer: Answer) -> Grant:
    """Read what the token endpoint gave.

    Raises:
        GrantRefusedError: the refresh token or code is dead.
        NotAuthenticatedError: it refuses the app, or for another reason.
        ThrottledError, BusyError, GarbledError: it may pass.
    """
    raise_if_not_now(answer)
    if answer.status >= 300:  # noqa: PLR2004 - the status says more than a name
        raise _refusal(refusal_of(answer))
    content = parsed_object(answer.body) or {}
    token = content.get("access_token")
    if not isinstance(token, str) or not token:
        raise GarbledError(f"the token endpoint answered {answer.status} without a token")
    return _dated(content, token, answer.server_time)


def _dated(content: dict[str, Any], token: str, at: Instant | None) -> Grant:
    created = content.get("created_at")
    issued = at if at is not None or not isinstance(created, int) else Instant(created * 1000)
    life = content.get("expires_in")
    life_ms = (life if isinstance(life, int) and life > 0 else _DEFAULT_LIFE_S) * 1000
    return Grant(
        access_token=token,
        refresh_token=_text(content.get("refresh_token")),
        expires_at=None if issued is None else Instant(issued + life_ms),
        issued_at=issued,
        scope=_text(content.get("scope")),
    )


def refusal_of(answer: Answer) -> str:
    """Return the word with which Outreach itself refuses a request.

    Its API says `{"errors": [{"id": ...}]}`, its token endpoint `{"error": ...}`. A gateway or a challenge page in
    front of it answers 401, 403, 404 and 422 as well, with HTML or text: that refuses nothing, and may pass.

    Raises:
        GarbledError: it is not Outreach that answers.
    """
    content = parsed_object(answer.body) or {}
    errors = content.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return _word(errors[0].get("id")) or f"status {answer.status}"
    error = _word(content.get("error"))
    if not error:
        raise GarbledError(
            f"the answer ({answer.status}) is not Outreach's own: a gateway in front of it may have made it"
        )
    return error


def _word(value: object) -> str:
    """Return a word that a service gave, bounded, since it goes into a message."""
    return value[:_LONGEST_WORD] if isinstance(value, str) and value.isprintable() else ""


def _refusal(error: str) -> OutreachSyncError:
    """Tell a dead refresh token, which consent mends, from an app that is not known."""
    if error == "invalid_grant":
        return GrantRefusedError("the grant is refused")
    if error == "invalid_client":
        return NotAuthenticatedError(
            "Outreach does not know this client_id with this client_secret.",
            advice="Compare outreach.client_id and outreach.client_secret with the app's page in Outreach.",
        )
    return NotAuthenticatedError(f"Outreach refused to give a token ({error}).", advice=LOG_IN)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
