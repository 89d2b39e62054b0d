"""One request to Outreach at a time: who we are, what the answer means, and how much quota is left."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

from outreach_sync import __version__
from outreach_sync.errors import (
    NotAllowedError,
    NotAuthenticatedError,
    OutreachSyncError,
    QuotaSpentError,
    ServiceError,
    UntrustedAnswerError,
)
from outreach_sync.http import GarbledError, OnRetry, Patience, Quota, Transport, quota
from outreach_sync.instants import Instant, to_iso
from outreach_sync.outreach.auth import raise_if_not_now, refusal_of
from outreach_sync.outreach.odd import parsed_object
from outreach_sync.outreach.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from outreach_sync.config.model import Config
    from outreach_sync.http import Answer, StopSignal

T = TypeVar("T")
Query = tuple[tuple[str, str], ...]

_MEDIA_TYPE = "application/vnd.api+json"
_QUOTA_HOUR_SECONDS = 3600
_ANY_ROW = (("fields[prospect]", "updatedAt"), ("page[size]", "1"), ("count", "false"))
_DOUBTS = 2
_REFUSES_CURSORS = frozenset({400, 404, 410, 422})


class NotFoundError(ServiceError):
    """There is no such record, or our user may not see it."""


class NotUnderstoodError(ServiceError):
    """Outreach refuses the request as it is: a filter, an attribute or a parameter."""


class CursorRefusedError(ServiceError):
    """Outreach no longer accepts the page token; the walk starts again."""


class Reply(NamedTuple, Generic[T]):
    """What an answer holds, and the `Date` it came with."""

    document: T
    server_time: Instant | None


class OutreachClient:
    """Reads from Outreach's REST API v2; safe to be used by several threads.

    Attributes:
        config: what it was made with.
        transport: what it sends with.
        tokens: who it is.
        quota: the request quota as last told.
        requests: how many were sent so far, those for tokens left out.
    """

    def __init__(self, config: Config, stop: StopSignal, *, on_retry: OnRetry | None = None) -> None:
        """Ask for nothing yet.

        Raises:
            ConfigError: a credential is missing.
        """
        self.config = config
        self.transport = Transport(config.outreach.base_url, user_agent=f"outreach-sync/{__version__}", stop=stop)
        self.patience = Patience(config.sync.patience_ms / 1000, stop, on_retry=on_retry)
        self.tokens = Tokens(config, self.transport, self.patience)
        self.quota = Quota()
        self.requests = 0
        self._quota_seen = 0.0
        self._counting = threading.Lock()
        self._doubtful = 0
        """How many answers in a row were a 401 that may be a gateway's."""

    def get(self, url_or_path: str, params: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
        """Return the JSON:API document at a path below the base, or at a URL on the configured host.

        Raises:
            NotAuthenticatedError, NotAllowedError: our token, or a missing scope or right.
            NotFoundError: no such record.
            NotUnderstoodError: Outreach refuses the request as it is.
            QuotaSpentError: the reserve is reached, or Outreach says to wait longer than patience.
            UnavailableError, UntrustedAnswerError: it kept failing, or cannot be right.
            InterruptedByError: asked to stop.
        """
        return self.reply(url_or_path, params, parse=json_api_document).document

    def reply(
        self,
        url_or_path: str,
        params: Iterable[tuple[str, str]] = (),
        *,
        parse: Callable[[bytes], T | None],
        at_most: float | None = None,
        on_failure: Callable[[ServiceError], None] = lambda _failure: None,
    ) -> Reply[T]:
        """Return document and server time. Raises as `get`, and CursorRefusedError where the URL holds a page token.

        `parse` makes the document of a body, None of one that is none, which is an answer to be had again. `at_most`
        are the seconds for it, where patience has more. `on_failure` sees each failed attempt, and may raise to end
        them.
        """
        url = self.config.outreach.base_url + url_or_path if url_or_path.startswith("/") else url_or_path
        query = tuple(params)

        def attempt(left: float) -> Reply[T]:
            try:
                return _reply(self._attempt(url, query, left), url, parse)
            except ServiceError as failure:
                on_failure(failure)
                raise

        return self.patience.ask(f"Outreach, reading {_resource(url)}", attempt, at_most=at_most)

    def heard_time(self) -> Instant | None:
        """Say what Outreach's clock reads, as last heard; None where it never answered."""
        return self.transport.server_now()

    def server_time(self) -> Instant:
        """Say what Outreach's clock reads: by its last answer and the time since, else by one minimal request.

        Raises:
            UntrustedAnswerError: its answers carry no `Date`. Otherwise as `get`.
        """
        if self.transport.server_time is None:
            self.tokens.current()  # may itself ask, and learn the time
        if self.transport.server_time is None:
            self.get("/api/v2/prospects", _ANY_ROW)
        now = self.transport.server_now()
        if now is None:
            raise UntrustedAnswerError("Outreach's answers carry no Date header, so bounds cannot be computed.")
        return now

    def trusts(self, url: str) -> bool:
        """Say whether a stored URL is on the host that is configured now."""
        return self.transport.trusts(url)

    def _attempt(self, url: str, query: Query, left: float) -> Answer:
        """Send with a token, and once more with another where this one is refused.

        The form of Outreach's own 401 is not documented. One that may be a gateway's is worth another try, then a new
        token, and no more than that.
        """
        self._keep_the_reserve()
        token = self.tokens.current()
        answer = self._send(url, query, token, left)
        if answer.status != 401:  # noqa: PLR2004
            self._doubtful = 0
            return answer
        own = _is_outreachs_own(answer)
        self._doubtful = 0 if own else self._doubtful + 1
        if own or self._doubtful == _DOUBTS:
            answer = self._send(url, query, self.tokens.refused(token), left)
            self._doubtful *= answer.status == 401  # noqa: PLR2004
        return answer

    def _send(self, url: str, query: Query, token: str, left: float) -> Answer:
        with self._counting:
            self.requests += 1
        answer = self.transport.send(
            "GET",
            url,
            params=query,
            headers={"Authorization": f"Bearer {token}", "Content-Type": _MEDIA_TYPE, "Accept": _MEDIA_TYPE},
            timeout_seconds=min(self.config.outreach.timeout_ms / 1000, left),
        )
        told = quota(answer.headers, answer.server_time)
        if told.remaining is not None and answer.status != 429:  # noqa: PLR2004 - there, Retry-After has the last word
            with self._counting:
                self.quota, self._quota_seen = told, time.monotonic()
        return answer

    def _keep_the_reserve(self) -> None:
        """Stop before a request that would use what is left for others.

        Raises:
            QuotaSpentError: no more than the reserve is left, and the quota has not started anew.
        """
        reserve = self.config.outreach.reserve
        with self._counting:
            told, seen = self.quota, self._quota_seen
        if told.remaining is None or told.remaining > reserve or self._starts_anew(told, seen):
            return
        until = f" until {to_iso(told.resets_at)}" if told.resets_at is not None else ""
        raise QuotaSpentError(
            f"{told.remaining} requests are left of Outreach's quota{until}, and {reserve} are reserved.",
            advice="What was read is kept and the next run goes on; to use more of the quota, lower outreach.reserve.",
        )

    def _starts_anew(self, told: Quota, seen: float) -> bool:
        """Say whether what was told is out of date: the reset has passed, or, where none was told, the hour."""
        now = self.transport.server_now()
        if told.resets_at is not None and now is not None:
            return now >= told.resets_at
        return time.monotonic() - seen >= _QUOTA_HOUR_SECONDS


def json_api_document(body: bytes) -> dict[str, Any] | None:
    """Parse a JSON:API document; None where the body is none."""
    document = parsed_object(body)
    return document if document is not None and isinstance(document.get("data"), (list, dict)) else None


def has_cursor(url: str) -> bool:
    """Say whether a URL holds a page token."""
    query = urlsplit(url).query.lower().replace("%5b", "[").replace("%5d", "]")
    return "page[after]" in query or "page[before]" in query


def _is_outreachs_own(answer: Answer) -> bool:
    try:
        refusal_of(answer)
    except GarbledError:
        return False
    return True


def _reply(answer: Answer, url: str, parse: Callable[[bytes], T | None]) -> Reply[T]:
    raise_if_not_now(answer)
    if 300 <= answer.status < 400:  # noqa: PLR2004
        raise GarbledError("the answer is a redirect, which is not followed")
    if not 200 <= answer.status < 300:  # noqa: PLR2004
        raise _refusal(answer.status, refusal_of(answer), url)
    document = parse(answer.body)
    if document is None:
        raise GarbledError("the answer is no JSON:API document")
    return Reply(document, answer.server_time)


def _refusal(status: int, error: str, url: str) -> OutreachSyncError:
    """Name what a 4xx of Outreach's own means; `error` is its word."""
    resource = _resource(url)
    if status in _REFUSES_CURSORS and has_cursor(url):
        return CursorRefusedError(f"Outreach no longer accepts the page token of {resource} ({error}).")
    if status == 401:  # noqa: PLR2004
        return NotAuthenticatedError(
            f"Outreach refuses a token that it has just given ({error}).",
            advice="Run `outreach-sync auth login`; if that does not help, the app may have been suspended.",
        )
    if status == 403 and error == "unauthorizedOauthScope":  # noqa: PLR2004
        scope = f"{resource.partition('/')[0]}.read"
        return NotAllowedError(
            f"the token lacks the scope {scope}.",
            advice=f"Add {scope} to the app in Outreach, then run `outreach-sync auth login`.",
        )
    if status == 403:  # noqa: PLR2004
        return NotAllowedError(
            f"the governance profile of the user does not allow reading {resource} ({error}).",
            advice="Let the integration run as a user whose profile may see all records.",
        )
    if status == 404:  # noqa: PLR2004
        return NotFoundError(f"Outreach has no such record among its {resource}, or may not show it ({error}).")
    return NotUnderstoodError(
        f"Outreach did not understand the request for {resource} ({status}, {error}).",
        advice="If the config names attributes, compare them with Outreach's reference; otherwise report this.",
    )


def _resource(url: str) -> str:
    """Return what a URL asks for, such as `sequenceStates`, without the query."""
    return urlsplit(url).path.rpartition("/api/v2/")[2] or "the API"
