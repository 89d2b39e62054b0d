"""How one attempt can fail, named by what may be done about it."""

from __future__ import annotations

from typing import ClassVar

from outreach_sync.errors import QuotaSpentError, ServiceError, UnavailableError, UntrustedAnswerError


class RetriableError(ServiceError):
    """An attempt failed in a way that may pass.

    Attributes:
        gives_up_as: what a caller raises when patience is over.
        asked_seconds: the pause that the service asked for, None where it said nothing.
    """

    gives_up_as: ClassVar[type[ServiceError]] = UnavailableError

    def __init__(self, message: str, *, asked_seconds: float | None = None) -> None:
        """Keep the message (no secret, no URL with a query, no body) and the pause asked for."""
        super().__init__(message)
        self.asked_seconds = asked_seconds


class NotSentError(RetriableError):
    """The request certainly did not reach the service: no address, no connection, no TLS. A write may be repeated."""


class MaybeSentError(RetriableError):
    """The answer was lost: the request may have been carried out. Look before repeating a write.

    `timed_out` says that it took too long, rather than being cut off.
    """

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        """Keep how it was lost."""
        super().__init__(message)
        self.timed_out = timed_out


class ThrottledError(RetriableError):
    """The service answered that there were too many requests; this one was not carried out."""

    gives_up_as = QuotaSpentError


class BusyError(RetriableError):
    """The service answered that it cannot now; `status` is its 5xx."""

    def __init__(self, message: str, *, status: int, asked_seconds: float | None = None) -> None:
        """Keep the status beside what every failure has."""
        super().__init__(message, asked_seconds=asked_seconds)
        self.status = status


class GarbledError(RetriableError):
    """The answer arrived but is not what the service promises (no JSON, a page of HTML)."""

    gives_up_as = UntrustedAnswerError
