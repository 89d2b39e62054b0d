"""What one check found."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.errors import (
    ConfigError,
    InterruptedByError,
    LockHeldError,
    OutreachSyncError,
    ServiceError,
    StateError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CONFIG, REFUSED, UNAVAILABLE = 2, 3, 4
"""Exit statuses: by what kind of thing is wrong."""

_OF_RUNS = "next run"
_LATER = "Try again later; the status page of the service may say more."
"""Instead of what is said to whom a run has failed: that nothing is lost, and that the next one goes on."""


class Check(NamedTuple):
    """One thing that was looked at. `status` is ok, warn or fail.

    `exit_status` is what a failure ends the command with.

    `hint` says what to do; empty where there is nothing to do.
    """

    name: str
    status: str
    detail: str
    hint: str = ""
    exit_status: int = REFUSED

    def as_json(self) -> dict[str, str]:
        """Return it as `check --json` has it."""
        return {"name": self.name, "status": self.status, "detail": self.detail, "hint": self.hint}


def ok(name: str, detail: str) -> Check:
    """Report that all is well."""
    return Check(name, "ok", detail)


def warn(name: str, detail: str, hint: str = "") -> Check:
    """Report something that works, but perhaps not as meant."""
    return Check(name, "warn", detail, hint)


def fail(name: str, detail: str, hint: str = "", *, exit_status: int = REFUSED) -> Check:
    """Report something that keeps runs from working."""
    return Check(name, "fail", detail, hint, exit_status)


def exit_status(checks: Iterable[Check]) -> int:
    """Say what the command ends with: config (2) before what is refused (3) before what is down (4)."""
    return min((check.exit_status for check in checks if check.status == "fail"), default=0)


def guarded(name: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """Look, and turn what goes wrong into a check of that name.

    Raises:
        InterruptedByError: asked to stop.
    """
    try:
        yield from look()
    except OutreachSyncError as error:
        yield failed_by(name, error)


def failed_by(name: str, error: OutreachSyncError) -> Check:
    """Report what an error says; that another run holds the lock is no failure.

    Raises:
        InterruptedByError: the error is a request to stop.
    """
    match error:
        case InterruptedByError():
            raise error
        case LockHeldError():
            return warn(name, f"not tried: {error.message}", "Try again when that run has ended.")
        case ServiceError():
            hint = _LATER if not error.advice or _OF_RUNS in error.advice else error.advice
            return fail(name, error.message, hint, exit_status=UNAVAILABLE)
        case ConfigError():
            return fail(name, "\n".join((error.message, *error.problems)), error.advice, exit_status=CONFIG)
        case StateError():
            return fail(name, error.message, error.advice, exit_status=CONFIG)
    return fail(name, error.message, error.advice)
