"""Everything that can end a command, as one tree: each class carries its exit status and each error what to do next."""

from __future__ import annotations


class OutreachSyncError(Exception):
    """One line for the user: what is wrong, then `advice`, if the message lacks it; `exit_status` ends the process."""

    exit_status: int = 70

    def __init__(self, message: str, *, advice: str = "") -> None:
        """Keep the message and the advice; neither may hold a secret or a response body."""
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        """Return the one line."""
        return f"{self.message} {self.advice}".strip()


class UsageError(OutreachSyncError):
    """The command line, or what it names, makes no sense, or nothing can be written to stdout."""

    exit_status = 2


class ConfigError(OutreachSyncError):
    """The config is wrong; ``problems`` lists every mistake, a line each."""

    exit_status = 2

    def __init__(self, message: str, *, problems: tuple[str, ...] = (), advice: str = "") -> None:
        """Keep the mistakes beside the summary."""
        super().__init__(message, advice=advice)
        self.problems = problems

    def __str__(self) -> str:
        """Return the summary and the mistakes, a line each."""
        return "\n".join((super().__str__(), *self.problems))


class StateError(OutreachSyncError):
    """The state database cannot be opened, is damaged, or is newer than the program. It is never overwritten."""

    exit_status = 2


class WrongAccountError(StateError):
    """The state belongs to another Outreach or Workbooks than the config names. Nothing was touched."""


class NotAuthenticatedError(OutreachSyncError):
    """A service does not accept our credentials."""

    exit_status = 3


class NotAllowedError(OutreachSyncError):
    """A service accepts who we are but not what we ask for: a scope, a profile or a capability is missing."""

    exit_status = 3


class ServiceError(OutreachSyncError):
    """A service could not be used now; what was read is kept and the next run goes on."""

    exit_status = 4


class UnavailableError(ServiceError):
    """A service did not answer, or refused to, for as long as patience allows."""


class PutOffError(UnavailableError):
    """A service asks for a longer pause than patience has: it is not asked again in this run."""


class QuotaSpentError(ServiceError):
    """Going on would use requests that are reserved for others, or the service says to wait longer than we may."""


class UntrustedAnswerError(ServiceError):
    """An answer cannot be right: a paging loop, another host, not JSON however often it was asked."""


class LockHeldError(OutreachSyncError):
    """Another run holds the lock."""

    exit_status = 5


class GuardStoppedError(OutreachSyncError):
    """The cycle would change implausibly much and stopped before its first write."""

    exit_status = 6


class InterruptedByError(OutreachSyncError):
    """A signal asked the process to stop; the batch in flight was finished."""

    def __init__(self, signal_number: int) -> None:
        """Keep the signal; the exit status is 128 plus its number."""
        super().__init__(f"stopped by signal {signal_number}; the next run goes on from here.")
        self.signal_number = signal_number
        self.exit_status = 128 + signal_number
