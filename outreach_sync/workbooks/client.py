"""How Workbooks is asked: reads that are repeated until they can be trusted, writes that are sent once.

The key goes with each request (see docs/decisions/0003-key-per-request.md), in the body of a POST, to the configured
host only. A write is repeated only where it certainly did not arrive; whenever its answer is missing or unclear the
verdict is `Unknown`, and it is for the caller to look before sending again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.errors import (
    InterruptedByError,
    UnavailableError,
    UntrustedAnswerError,
)
from outreach_sync.http import MaybeSentError, OnRetry, Patience, RetriableError
from outreach_sync.instants import now
from outreach_sync.records import Rejected, Unknown, Verdict, Write
from outreach_sync.workbooks import answers, wire
from outreach_sync.workbooks.answers import TurnedAwayError
from outreach_sync.workbooks.formats import read_integer, read_text
from outreach_sync.workbooks.verdicts import BatchRefused, batch_refusal, judge, settle_single

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from outreach_sync.http import Answer, StopSignal, Transport
    from outreach_sync.workbooks.settings import WorkbooksSettings

_SKIP_TOTALS = ("__skip_total_rows", "_skip_total_rows")
_TURNED_AWAY_LIMIT = 3
_READINGS_LIMIT = 3
_WRITE_PATIENCE_SECONDS = 30.0
_WRITE_GRACE_SECONDS = 20.0
_LONGEST_REST_SECONDS = 30.0


class _Lost(NamedTuple):
    """A write whose answer did not come."""

    why: str


class Account(NamedTuple):
    """Who is behind a key, as the answer to a log-in says it (guide: Authentication).

    `logical_database_id` tells one customer's database from another's; `database_created_at` is its text as it came.
    """

    logical_database_id: int
    database_name: str
    database_created_at: str
    user_id: int | None
    person_name: str


class _StrangeRowsError(Exception):
    """Rows came that were not asked for: a filter was ignored, and what is absent proves nothing."""


class WorkbooksClient:
    """Reads and writes records of any controller; safe to be used by several threads.

    `transport` must be made for `settings.base_url`. Rows are maps of column to raw value; `formats.read` parses them.
    """

    def __init__(
        self,
        settings: WorkbooksSettings,
        transport: Transport,
        stop: StopSignal,
        *,
        on_retry: OnRetry | None = None,
    ) -> None:
        """Send nothing yet. `on_retry` is told of each repetition."""
        self.settings = settings
        self._transport = transport
        self._stop = stop
        self._skip_totals: tuple[str, ...] = _SKIP_TOTALS
        self._counting = threading.Lock()
        self._proven = False
        self._turned_away = 0
        self._patience = Patience(settings.patience_ms / 1000, stop, on_retry=on_retry)

    def read(
        self,
        controller: str,
        reading: wire.Reading,
        *,
        asked_for: Callable[[wire.Row], bool],
        at_most: int | None = None,
    ) -> list[wire.Row]:
        """Read all rows of a look-up, page by page until a short one, in the order of their ids.

        `asked_for` says whether a row is one that was asked for: a filter with a slip in it is ignored in silence and
        unfiltered rows come back, so others are dropped. `at_most` is how many can match; once they came no page
        follows.

        Raises:
            UnavailableError, QuotaSpentError: not answered for as long as patience allows.
            UntrustedAnswerError: refused, not JSON, or rows that were not asked for, however often it was asked.
            NotAuthenticatedError, NotAllowedError: by what Workbooks says of the key or the controller.
            InterruptedByError: asked to stop.
        """
        columns = reading.columns if "id" in reading.columns else ("id", *reading.columns)
        for _ in range(_READINGS_LIMIT):
            try:
                return self._read_all(controller, reading._replace(columns=columns), asked_for, at_most)
            except _StrangeRowsError:
                continue
        raise UntrustedAnswerError(f"Workbooks returned rows of {controller} that were not asked for.")

    def list_rows(self, controller: str, reading: wire.Reading) -> list[wire.Row]:
        """Read a list that is not paged, such as metadata. Raises as `read` does."""
        return self._page(controller, reading, paged=False)

    def who(self) -> Account:
        """Ask who is behind the key: a log-in whose session is not used. Raises as `read` does."""
        pairs = [("_method", "POST"), ("_application_name", self.settings.application_name)]

        def attempt(seconds_left: float) -> Account:
            answer = self._send("login", pairs, min(self.settings.timeout_ms / 1000, seconds_left))
            return account(self._parse(answer))

        return self._patience.ask("asking Workbooks who is behind the key", attempt)

    def write(self, controller: str, writes: Sequence[Write]) -> tuple[Verdict, ...]:
        """Write objects, each named once, in batches; the verdicts are parallel to `writes`.

        A batch that is refused as a whole is halved until the object to blame is alone. Being stopped, cut off,
        redirected or put off makes the verdict `Unknown`, no exception.

        Raises:
            NotAuthenticatedError, NotAllowedError: the key is refused; this batch was not written, earlier ones may
                have been.
        """
        sendable = [(place, one) for place, one in enumerate(writes) if wire.unsendable(one) is None]
        verdicts: list[Verdict] = [Rejected((wire.unsendable(one) or "",)) for one in writes]
        size = self.settings.batch_size
        for start in range(0, len(sendable), size):
            batch = sendable[start : start + size]
            settled = self._settle(controller, [one for _, one in batch])
            for (place, _), verdict in zip(batch, settled, strict=True):
                verdicts[place] = verdict
        return tuple(verdicts)

    def _read_all(
        self,
        controller: str,
        reading: wire.Reading,
        asked_for: Callable[[wire.Row], bool],
        at_most: int | None,
    ) -> list[wire.Row]:
        rows: list[wire.Row] = []
        last_id = 0
        while True:
            page = self._page(controller, wire.beyond(reading, last_id) if last_id else reading)
            wanted = [row for row in page if asked_for(row)]
            full = len(page) >= wire.PAGE_ROWS
            if (full or last_id) and 2 * len(wanted) < len(page):
                raise _StrangeRowsError
            rows += wanted
            if not full or (at_most is not None and len(rows) >= at_most):
                return rows
            last_id = _next_start(page, last_id)

    def _page(self, controller: str, reading: wire.Reading, *, paged: bool = True) -> list[wire.Row]:
        def attempt(seconds_left: float) -> list[wire.Row]:
            timeout = min(self.settings.timeout_ms / 1000, seconds_left)
            return self._read_once(controller, reading, timeout, paged=paged)

        return self._patience.ask(f"reading {controller}", attempt)

    def _read_once(self, controller: str, reading: wire.Reading, timeout: float, *, paged: bool) -> list[wire.Row]:
        spellings = self._skip_totals
        answer = self._send(controller, wire.read_pairs(reading, paged=paged, skip_totals=spellings), timeout)
        try:
            return _rows(self._parse(answer))
        except UntrustedAnswerError:
            if not (paged and spellings and b"skip_total_rows" in answer.body):
                raise
        self._skip_totals = _accepted_spellings(answer.body, spellings)
        return self._read_once(controller, reading, timeout, paged=paged)

    def _settle(self, controller: str, writes: Sequence[Write]) -> tuple[Verdict, ...]:
        outcome = self._write_once(controller, writes)
        if not isinstance(outcome, BatchRefused):
            return outcome
        if len(writes) == 1:
            return (settle_single(outcome),)
        middle = len(writes) // 2
        return self._settle(controller, writes[:middle]) + self._settle(controller, writes[middle:])

    def _write_once(self, controller: str, writes: Sequence[Write]) -> tuple[Verdict, ...] | BatchRefused:
        try:
            answer = self._send_write(controller, wire.write_pairs(writes))
        except (UnavailableError, InterruptedByError) as failure:
            return _all_unknown(writes, failure.message)
        if isinstance(answer, _Lost):
            return _all_unknown(writes, answer.why)
        refusal = answers.request_refusal(answer)
        if refusal is not None:
            return refusal
        try:
            said = self._parse(answer)
        except RetriableError as failure:
            self._rest(failure)
            return _all_unknown(writes, failure.message)
        except UntrustedAnswerError as failure:
            return _all_unknown(writes, failure.message)
        return batch_refusal(said) or judge(said, writes)

    def _send_write(self, controller: str, pairs: list[wire.Pair]) -> Answer | _Lost:
        """Send a write; only where it certainly did not arrive is it sent again."""

        def attempt(seconds_left: float) -> Answer:
            timeout = min(self.settings.timeout_ms / 1000, seconds_left)
            return self._send(controller, pairs, timeout, _WRITE_GRACE_SECONDS)

        try:
            return self._patience.ask(f"writing {controller}", attempt, final=(MaybeSentError,))
        except MaybeSentError as failure:
            return _Lost(failure.message)

    def _rest(self, failure: RetriableError) -> None:
        """Leave Workbooks in peace for as long as it asked, or for longer each time it turns us away in a row."""
        asked = failure.asked_seconds
        seconds = 2.0 ** min(self._turned_away, 5) / 2 if asked is None else asked
        self._stop.wait(min(seconds, _LONGEST_REST_SECONDS, self.settings.patience_ms / 1000))

    def _send(
        self,
        controller: str,
        pairs: list[wire.Pair],
        timeout_seconds: float,
        grace_seconds: float = 0.0,
    ) -> Answer:
        return self._transport.send(
            "POST",
            f"{self.settings.base_url.rstrip('/')}/{controller}.api",
            params=[("_dc", str(now()))],  # against caches on the way, as the guide advises
            body=wire.encode([*wire.credentials(self.settings.api_key), *pairs]),
            headers={
                "User-Agent": self.settings.user_agent,
                "Content-Type": "application/x-www-form-urlencoded",
            },
            timeout_seconds=timeout_seconds,
            grace_seconds=grace_seconds,
        )

    def _parse(self, answer: Answer) -> dict[str, Any]:
        """Parse an answer and count being turned away: three times with a key that never worked is a refusal."""
        try:
            said = answers.parse(answer)
        except TurnedAwayError:
            with self._counting:
                self._turned_away += 1
                refused = self._turned_away >= _TURNED_AWAY_LIMIT and not self._proven
            if refused:
                raise answers.not_accepted() from None
            raise
        with self._counting:
            self._turned_away = 0
            self._proven = self._proven or said.get("success") is not False
        return said


def account(said: Mapping[str, Any]) -> Account:
    """Read the answer to a log-in.

    Raises:
        UntrustedAnswerError: it names no database.
    """
    database = read_integer(said.get("logical_database_id"))
    if database is None:
        raise UntrustedAnswerError("Workbooks answered a log-in without a logical_database_id.")
    listed = said.get("databases")
    known = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    (own,) = [one for one in known if read_integer(one.get("id")) == database][:1] or [{}]
    return Account(
        logical_database_id=database,
        database_name=read_text(said.get("database_name")) or read_text(own.get("name")) or "",
        database_created_at=read_text(own.get("created_at")) or "",
        user_id=read_integer(said.get("user_id")),
        person_name=read_text(said.get("person_name")) or "",
    )


def _rows(said: Mapping[str, Any]) -> list[wire.Row]:
    if said.get("success") is False:
        raise answers.refused_reading(said)
    rows = said.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UntrustedAnswerError("Workbooks answered a look-up without a list of rows.")
    return rows


def _next_start(page: Sequence[wire.Row], last_id: int) -> int:
    """Return the id the next page starts after; ids must ascend, or rows would be skipped."""
    ids = [read_integer(row.get("id")) or 0 for row in page]
    if ids != sorted(ids) or ids[0] <= last_id:
        raise _StrangeRowsError
    return ids[-1]


def _accepted_spellings(objection: bytes, spellings: tuple[str, ...]) -> tuple[str, ...]:
    """Drop the spellings that an objection names; one may be named only as a part of the other. If none, drop all."""
    left = tuple(name for name in spellings if name.encode() not in objection.replace(b"_" + name.encode(), b""))
    return left if left != spellings else ()


def _all_unknown(writes: Sequence[Write], why: str) -> tuple[Verdict, ...]:
    return (Unknown(why),) * len(writes)
