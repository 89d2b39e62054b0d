"""How Workbooks is asked: reads that are repeated until they can be trusted, and one exchange of a write.

The key goes with each request (see docs/decisions/0003-key-per-request.md), in the body of a POST, to the configured
host only.

What becomes of a write, object by object, and never in a way that could write anything twice:

- It did not arrive, or Workbooks put it off (a redirect, 429, 503): after a pause the same batch goes again, at the
  same size. An update is safe by its lock version: if it was carried out all the same, the second one is stale, and the
  record is compared with what was sent. A creation is looked for first, twice, since rows may appear late.
- Its answer was lost or is unclear: the verdict is `Unknown`, and the caller looks before sending again.
- It was put off for as long as patience lasts: that is an error, and nothing else is sent. Only where a gateway lets
  one half of the batch through and not the other, the object at which it stops is `Unknown`, and the rest is settled.
"""

from __future__ import annotations

import html
import re
import threading
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync import __version__
from outreach_sync.config.model import revealed
from outreach_sync.connections import Transport
from outreach_sync.errors import InterruptedByError, ServiceError, UnavailableError, UntrustedAnswerError
from outreach_sync.http import (
    BusyError,
    GarbledError,
    MaybeSentError,
    NotSentError,
    Patience,
    RetriableError,
    ThrottledError,
    pause,
)
from outreach_sync.instants import now
from outreach_sync.records import Accepted, Date, PersonRow, Rejected, Stale, TaskRow, Unknown, Verdict, Write
from outreach_sync.rules.person import Datatype, mailbox
from outreach_sync.workbooks import wire
from outreach_sync.workbooks.metadata import Metadata
from outreach_sync.workbooks.wire import (
    EMAIL,
    OBJECT_REF,
    PEOPLE,
    PERSON_CLASS,
    REFERENCE,
    ROLE_DATATYPES,
    TASKS,
    BatchRefused,
    DelayedError,
    FailedError,
    Reading,
    Row,
    TurnedAwayError,
    is_kept,
    lock_version_of,
    read_boolean,
    read_integer,
    read_text,
    record_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.connections import Answer
    from outreach_sync.http import OnRetry, StopSignal
    from outreach_sync.instants import Instant
    from outreach_sync.records import WriteValue
    from outreach_sync.workbooks.metadata import Finding

_TASK_COLUMNS = ("id", "lock_version", "is_deleted", REFERENCE)
_PERSON_COLUMNS = (*_TASK_COLUMNS, EMAIL, OBJECT_REF)
_NAME_LENGTH = 255
_SKIP_TOTALS = ("__skip_total_rows", "_skip_total_rows")
_TURNED_AWAY_LIMIT = 3
_READINGS_LIMIT = 3
_WRITE_GRACE_SECONDS = 20.0
_LOOK_AGAIN_SECONDS = 2.0
_BRIEFLY = 1.0
_LOST = (MaybeSentError, GarbledError, FailedError)
_CLEAN_ANSWERS = 10
"""So many answers must come without a redirect before several requests go at once again."""
_ADDRESS = re.compile(r"[^\s,\\@]+@[^\s,\\@]+\.[^\s,\\@]+")
_NOT_A_WORD = re.compile(r"[^A-Za-z0-9_.]+")


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


class Workbooks:
    """Reads and writes records of any controller; safe to be used by several threads.

    Rows are maps of column to raw value, which `wire.read` parses.

    Attributes:
        transport: what it sends with.
        patience: how long Workbooks may keep a run waiting, in all.
        metadata: what `check` and `provision` read and make.
        fields: the configured fields of a Person, role -> name.
    """

    def __init__(self, config: Config, stop: StopSignal, *, on_retry: OnRetry | None = None) -> None:
        """Send nothing yet. `on_retry` is told of each repetition.

        Raises:
            ConfigError: the key is missing.
        """
        section = config.workbooks
        self._key = revealed(section.api_key, "workbooks.api_key")
        self._section = section
        self._stop = stop
        self.patience = Patience(config.sync.patience_ms / 1000, stop, on_retry=on_retry)
        agent = f"{_NOT_A_WORD.sub('_', section.application_name)}/{__version__} (gzip)"
        self.transport = Transport(section.base_url, user_agent=agent, stop=stop, connections=section.concurrency)
        self._brake = _Brake()
        self._skip_totals: tuple[str, ...] = _SKIP_TOTALS
        self._counting = threading.Lock()
        self._proven = False
        self._turned_away = 0
        self.metadata = Metadata(self)
        self.fields = {role: name for role, name in section.fields.model_dump().items() if name is not None}
        self._datatypes = {
            name: Datatype.BOOLEAN if isinstance(value, bool) else Datatype.TEXT
            for name, value in config.sync.people.only_where.items()
        } | {name: ROLE_DATATYPES.get(role, Datatype.TEXT) for role, name in self.fields.items()}
        self._columns = (*_PERSON_COLUMNS, *self._datatypes)

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self.transport.requests

    def server_now(self) -> Instant | None:
        """Say what Workbooks' clock reads, None before its first answer."""
        return self.transport.server_now()

    def who(self, *, at_most: float | None = None) -> Account:
        """Ask who is behind the key: a log-in whose session is not used, for at most so many seconds.

        Raises as `read` does.
        """
        pairs = [("_method", "POST"), ("_application_name", self._section.application_name)]
        return self.patience.ask(
            "asking Workbooks who is behind the key",
            lambda left: _account(self._parse(self._send("login", pairs, left), "login.api")),
            at_most=at_most,
        )

    def read(
        self, controller: str, reading: Reading, *, asked_for: Callable[[Row], bool], at_most: int | None = None
    ) -> list[Row]:
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

    def by_ids(
        self, controller: str, ids: Iterable[int], columns: Iterable[str], *, include_deleted: bool
    ) -> list[Row]:
        """Read records by id, 100 a request: once every id came back no further page is needed. Raises as `read`."""
        rows: list[Row] = []
        for chunk in wire.chunks(sorted(set(ids)), wire.PAGE_ROWS):
            reading = wire.look_up("id", map(str, chunk), columns, include_deleted=include_deleted)
            asked_for = partial(_has_id_in, frozenset(chunk))
            rows += self.read(controller, reading, asked_for=asked_for, at_most=len(chunk))
        return rows

    def by_values(
        self,
        controller: str,
        field: str,
        values: Iterable[str],
        columns: Iterable[str],
        *,
        include_deleted: bool = False,
        spellings: Callable[[str], Iterable[str]] = lambda value: (value,),
        key: Callable[[str], str] = str,
    ) -> dict[str, list[Row]]:
        """Read records whose field equals one of the values, by the key of that value; empty values match nothing.

        `spellings` are the forms of one value to ask for. `key` is the form in which a value and what came back must be
        equal, since Workbooks' own comparison is not documented. Raises as `read`.
        """
        unique = tuple(dict.fromkeys(value for value in values if value.strip()))
        wanted = frozenset(map(key, unique))

        def asked_for(row: Row) -> bool:
            return key(read_text(row.get(field)) or "") in wanted and (
                include_deleted or not read_boolean(row.get("is_deleted"))
            )

        found: dict[int, Row] = {}
        for chunk in wire.value_chunks(unique):
            asked = dict.fromkeys(spelling for value in chunk for spelling in spellings(value))
            for listed in wire.spelled_lists(tuple(asked)):
                reading = wire.look_up(field, listed, (*columns, field), include_deleted=include_deleted)
                found |= {record_id(row): row for row in self.read(controller, reading, asked_for=asked_for)}
        grouped: dict[str, list[Row]] = {}
        for row in found.values():
            grouped.setdefault(key(read_text(row.get(field)) or ""), []).append(row)
        return grouped

    def list_rows(self, controller: str, reading: Reading) -> list[Row]:
        """Read a list that is not paged, such as metadata. Raises as `read` does."""
        return self._page(controller, reading, paged=False)

    def write(self, controller: str, writes: Sequence[Write]) -> tuple[Verdict, ...]:
        """Write objects, each named once, in batches; the verdicts are parallel to `writes`.

        A batch that is refused as a whole is halved until the object to blame is alone. Being stopped or cut off makes
        the verdict `Unknown`, no exception.

        Raises:
            NotAuthenticatedError, NotAllowedError: the key is refused.
            UnavailableError, QuotaSpentError: Workbooks could not be reached, or put the write off, for as long as
                patience allows. This batch was most likely not written, earlier ones may have been.
        """
        sendable = [(place, one) for place, one in enumerate(writes) if wire.unsendable(one) is None]
        settled: list[Verdict] = [Rejected((wire.unsendable(one) or "",)) for one in writes]
        size = self._section.batch_size
        for start in range(0, len(sendable), size):
            batch = sendable[start : start + size]
            for (place, _), verdict in zip(batch, _settle(self, controller, [one for _, one in batch]), strict=True):
                settled[place] = verdict
        return tuple(settled)

    def people_by_ids(self, person_ids: Iterable[int]) -> dict[int, PersonRow]:
        """Read People, deleted ones too, with what they hold; those that are absent may be hidden from the key."""
        rows = self.by_ids(PEOPLE, person_ids, self._columns, include_deleted=True)
        return {person.id: person for person in map(self._person, rows)}

    def people_by_reference(self, references: Iterable[str]) -> dict[str, list[PersonRow]]:
        """Find People by `created_through_reference`, which need not be unique, deleted ones too; by reference."""
        return self._people(REFERENCE, references, include_deleted=True)

    def people_by_object_ref(self, object_refs: Iterable[str]) -> dict[str, list[PersonRow]]:
        """Find live People by `PERS-<n>`."""
        return self._people(OBJECT_REF, object_refs)

    def people_by_outreach_id(self, outreach_ids: Iterable[str]) -> dict[str, list[PersonRow]]:
        """Find live People by the configured Outreach id field, to the letter; nobody where none is configured."""
        field = self.fields.get("outreach_id")
        return self._people(field, outreach_ids) if field else {}

    def people_by_email(self, addresses: Iterable[str]) -> dict[str, list[PersonRow]]:
        """Find live People by main e-mail address, whatever its case and the blanks around it, by its `mailbox`.

        Whether Workbooks ignores case or blanks is not documented: each address is asked for as it is and in lower
        case, also with a blank before it, behind it or on both sides, and compared here. One stored in yet another
        spelling is missed; `people_by_padded_email` finds any number of blanks.
        """
        return self._people(EMAIL, addresses, spellings=_spellings, key=mailbox)

    def people_by_padded_email(self, addresses: Iterable[str]) -> dict[str, list[PersonRow]]:
        """Find live People whose main e-mail address has one of these in it and nothing else but blanks, by `mailbox`.

        `ct` (contains) is slower than `eq`, and finds longer addresses too; only what is the same mailbox is returned.
        What does not look like an address is not asked for, since it may be part of every other.
        """
        wanted = {mailbox(address): address.strip() for address in addresses if _ADDRESS.fullmatch(address.strip())}
        grouped: dict[str, list[PersonRow]] = {}
        for chunk in wire.chunks(tuple(wanted), wire.PAGE_ROWS):
            parts = tuple(dict.fromkeys(form for one in chunk for form in (wanted[one], one)))
            logic = " OR ".join(str(number) for number in range(1, len(parts) + 1)) if len(parts) > 1 else ""
            reading = Reading(tuple(wire.Filter(EMAIL, "ct", part) for part in parts), self._columns, logic)
            for row in self.read(PEOPLE, reading, asked_for=partial(_holds_one_of, frozenset(chunk))):
                if (box := mailbox(read_text(row.get(EMAIL)) or "")) in wanted:
                    grouped.setdefault(box, []).append(self._person(row))
        return grouped

    def tasks_by_reference(self, references: Iterable[str]) -> dict[str, list[TaskRow]]:
        """Find Tasks by `created_through_reference`, deleted ones too; only what matched is a key."""
        rows = self.by_values(TASKS, REFERENCE, references, _TASK_COLUMNS, include_deleted=True)
        return {reference: list(map(_task, some)) for reference, some in rows.items()}

    def tasks_by_ids(self, task_ids: Iterable[int]) -> dict[int, TaskRow]:
        """Read Tasks, deleted ones too."""
        rows = self.by_ids(TASKS, task_ids, _TASK_COLUMNS, include_deleted=True)
        return {task.id: task for task in map(_task, rows)}

    def write_people(self, writes: Sequence[Write]) -> tuple[Verdict, ...]:
        """Write People, each judged by its own answer, in order."""
        return self.write(PEOPLE, writes)

    def write_tasks(self, writes: Sequence[Write]) -> tuple[Verdict, ...]:
        """Write Tasks, each judged by its own answer, in order."""
        return self.write(TASKS, writes)

    def problems(self) -> tuple[Finding, ...]:
        """Compare the configured fields and needed permissions with the metadata, in one request."""
        return self.metadata.problems(self.fields)

    def systemic_problem(self) -> str | None:
        """Say what makes Workbooks refuse everything (a field gone, a permission), None where nothing does."""
        fatal = [f"{finding.subject}: {finding.problem}" for finding in self.problems() if finding.fatal]
        return "; ".join(fatal) or None

    def _people(self, field: str, values: Iterable[str], **how: Any) -> dict[str, list[PersonRow]]:
        rows = self.by_values(PEOPLE, field, values, self._columns, **how)
        return {key: list(map(self._person, some)) for key, some in rows.items()}

    def _person(self, row: Row) -> PersonRow:
        return PersonRow(
            id=record_id(row),
            lock_version=lock_version_of(row),
            is_deleted=bool(read_boolean(row.get("is_deleted"))),
            email=read_text(row.get(EMAIL)),
            reference=read_text(row.get(REFERENCE)),
            object_ref=read_text(row.get(OBJECT_REF)),
            fields={name: wire.read(row.get(name), datatype) for name, datatype in self._datatypes.items()},
        )

    def _read_all(
        self, controller: str, reading: Reading, asked_for: Callable[[Row], bool], at_most: int | None
    ) -> list[Row]:
        rows: list[Row] = []
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
            ids = [read_integer(row.get("id")) or 0 for row in page]
            if ids != sorted(ids) or ids[0] <= last_id:  # ids must ascend, or rows would be skipped
                raise _StrangeRowsError
            last_id = ids[-1]

    def _page(self, controller: str, reading: Reading, *, paged: bool = True) -> list[Row]:
        return self.patience.ask(
            f"reading {controller} of Workbooks", lambda left: self._read_once(controller, reading, left, paged=paged)
        )

    def _read_once(self, controller: str, reading: Reading, left: float, *, paged: bool) -> list[Row]:
        spellings = self._skip_totals
        answer = self._send(controller, wire.read_pairs(reading, paged=paged, skip_totals=spellings), left)
        try:
            return _rows(self._parse(answer))
        except UntrustedAnswerError:
            if not (paged and spellings and b"skip_total_rows" in answer.body):
                raise
        # One spelling may be named only as a part of the other. Where the objection names none, both are dropped.
        body = answer.body
        left_over = tuple(one for one in spellings if one.encode() not in body.replace(b"_" + one.encode(), b""))
        self._skip_totals = left_over if left_over != spellings else ()
        return self._read_once(controller, reading, left, paged=paged)

    def send_write(self, controller: str, writes: Sequence[Write], left: float) -> tuple[Verdict, ...] | BatchRefused:
        """Send objects once and judge the answer. Raises as `wire.parse` does, and what sending raises."""
        answer = self._send(controller, wire.write_pairs(writes), left, _WRITE_GRACE_SECONDS)
        refusal = wire.request_refusal(answer)
        if refusal is not None:
            return refusal
        said = self._parse(answer)
        return wire.batch_refusal(said) or wire.judge(said, writes)

    def look_again(self) -> None:
        """Wait for rows that were created a moment ago, which may appear late. Raises InterruptedByError."""
        pause(_LOOK_AGAIN_SECONDS, self._stop)

    def _send(self, controller: str, pairs: list[wire.Pair], left: float, grace_seconds: float = 0.0) -> Answer:
        with self._brake.turn():
            return self.transport.send(
                "POST",
                f"{self._section.base_url.rstrip('/')}/{controller}.api",
                params=[("_dc", str(now()))],  # against caches on the way, as the guide advises
                body=wire.encode([*wire.credentials(self._key), *pairs]),
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                timeout_seconds=min(self._section.timeout_ms / 1000, left),
                grace_seconds=grace_seconds,
            )

    def _parse(self, answer: Answer, endpoint: str = "") -> dict[str, Any]:
        """Parse an answer and count being turned away: three times with a key that never worked is a refusal."""
        try:
            said = wire.parse(answer, endpoint)
        except (DelayedError, ThrottledError):
            self._brake.pull()
            raise
        except TurnedAwayError:
            with self._counting:
                self._turned_away += 1
                refused = self._turned_away >= _TURNED_AWAY_LIMIT and not self._proven
            if refused:
                raise wire.not_accepted() from None
            raise
        self._brake.ease()
        with self._counting:
            self._turned_away = 0
            self._proven = self._proven or said.get("success") is not False
        return said


class _Brake:
    """While Workbooks slows us down, requests go one at a time."""

    def __init__(self) -> None:
        """Begin with the brake off."""
        self._turn = threading.Lock()
        self._clean_answers_to_come = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until a request may go."""
        if not self._clean_answers_to_come:
            yield
            return
        with self._turn:
            yield

    def pull(self) -> None:
        """Take note of a redirect."""
        self._clean_answers_to_come = _CLEAN_ANSWERS

    def ease(self) -> None:
        """Take note of an answer that came without one."""
        self._clean_answers_to_come = max(self._clean_answers_to_come - 1, 0)


def _has_id_in(ids: frozenset[int], row: Row) -> bool:
    return read_integer(row.get("id")) in ids


def _account(said: Mapping[str, Any]) -> Account:
    """Read the answer to a log-in.

    Raises:
        UntrustedAnswerError: it names no database.
    """
    database = read_integer(said.get("logical_database_id"))
    if database is None:
        raise UntrustedAnswerError("Workbooks answered a log-in without a logical_database_id.")
    listed = said.get("databases")
    known = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    own: Row = next((one for one in known if read_integer(one.get("id")) == database), {})
    return Account(
        logical_database_id=database,
        database_name=read_text(said.get("database_name")) or read_text(own.get("name")) or "",
        database_created_at=read_text(own.get("created_at")) or "",
        user_id=read_integer(said.get("user_id")),
        person_name=read_text(said.get("person_name")) or "",
    )


def _rows(said: Mapping[str, Any]) -> list[Row]:
    if said.get("success") is False:
        raise wire.refused_reading(said)
    rows = said.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UntrustedAnswerError("Workbooks answered a look-up without a list of rows.")
    return rows


def _settle(
    client: Workbooks,
    controller: str,
    writes: Sequence[Write],
    *,
    was_put_off: bool = False,
    at_most: float | None = None,
) -> tuple[Verdict, ...]:
    """Send one batch until it is settled; the verdicts are parallel to `writes`. Raises as `Workbooks.write`.

    `was_put_off`: it is part of a batch that was, and may have been carried out. `at_most`: for so many seconds.
    """
    delivery = _Delivery(client, controller, writes, was_put_off=was_put_off)
    middle = len(writes) // 2
    try:
        outcome = delivery.outcome(at_most)
    except (*_LOST, UntrustedAnswerError, InterruptedByError) as failure:
        return (Unknown(failure.message),) * len(writes)
    except UnavailableError as failure:
        if at_most is None and middle and delivery.was_turned_back:
            return _without_the_one_to_blame(client, controller, writes, failure)
        raise
    if not isinstance(outcome, BatchRefused):
        return outcome
    if not middle:
        return (wire.settle_single(outcome),)
    halves = writes[:middle], writes[middle:]
    put_off = delivery.was_put_off
    first, second = (_settle(client, controller, half, was_put_off=put_off, at_most=at_most) for half in halves)
    return first + second


def _without_the_one_to_blame(
    client: Workbooks, controller: str, writes: Sequence[Write], failure: UnavailableError
) -> tuple[Verdict, ...]:
    """Send halves of what does not get through: of what a gateway stops at, nothing is known; the rest is settled.

    Raises:
        UnavailableError: neither half gets through, so it is no single object that is to blame.
    """
    middle = len(writes) // 2
    settled: list[tuple[Verdict, ...] | None] = []
    for half in (writes[:middle], writes[middle:]):
        try:
            settled.append(_settle(client, controller, half, was_put_off=True, at_most=_BRIEFLY))
        except UnavailableError:
            settled.append(None)
    if settled == [None, None]:
        raise failure
    found: tuple[Verdict, ...] = ()
    for half, known in zip((writes[:middle], writes[middle:]), settled, strict=True):
        found += known if known is not None else _blame(client, controller, half, failure)
    return found


def _blame(
    client: Workbooks, controller: str, writes: Sequence[Write], failure: UnavailableError
) -> tuple[Verdict, ...]:
    if len(writes) > 1:
        with suppress(UnavailableError):
            return _without_the_one_to_blame(client, controller, writes, failure)
    return (Unknown(failure.message),) * len(writes)


class _Delivery:
    """One batch on its way: sent until Workbooks looks at it, and never in a way that could write anything twice."""

    def __init__(self, client: Workbooks, controller: str, writes: Sequence[Write], *, was_put_off: bool) -> None:
        self._client = client
        self._controller = controller
        self._writes = writes
        self._found: dict[int, Verdict] = {}
        self.was_put_off = was_put_off
        self.was_turned_back = False

    def outcome(self, at_most: float | None) -> tuple[Verdict, ...] | BatchRefused:
        """Return what became of each object, or that all were refused.

        Raises:
            MaybeSentError, GarbledError, FailedError, UntrustedAnswerError: nothing is known.
            InterruptedByError: asked to stop; likewise.
            ServiceError: patience is over; `was_turned_back` says that a gateway, or a 503, was the last word.
        """
        return self._client.patience.ask(
            f"writing {self._controller} of Workbooks", self._attempt, at_most=at_most, final=_LOST
        )

    def _attempt(self, left: float) -> tuple[Verdict, ...] | BatchRefused:
        if self.was_put_off:
            self._look_for_creations()
        waiting = [place for place in range(len(self._writes)) if place not in self._found]
        if not waiting:
            return tuple(self._found[place] for place in range(len(self._writes)))
        try:
            said = self._client.send_write(self._controller, [self._writes[place] for place in waiting], left)
        except RetriableError as failure:
            self.was_turned_back = isinstance(failure, BusyError) and failure.asked_seconds is None
            self.was_put_off = self.was_put_off or not isinstance(failure, NotSentError)
            raise
        if isinstance(said, BatchRefused):
            if not self._found:
                return said
            said = (Unknown("refused together with others, of which some were written"),) * len(waiting)
        settled = self._found | dict(zip(waiting, said, strict=True))
        if self.was_put_off:
            settled |= self._carried_out({place: settled[place] for place in waiting})
        return tuple(settled[place] for place in range(len(self._writes)))

    def _look_for_creations(self) -> None:
        """Find what was created although the request was put off: twice, since rows may appear late."""
        for place, write in enumerate(self._writes):
            if not write.id and REFERENCE not in write.fields:
                self._found[place] = Unknown("it was put off, and has no reference by which it could be looked for")
        for again in (False, True):
            places = {
                str(write.fields[REFERENCE]): place
                for place, write in enumerate(self._writes)
                if place not in self._found and not write.id and REFERENCE in write.fields
            }
            if not places:
                return
            if again:
                self._client.look_again()
            found = self._client.by_values(self._controller, REFERENCE, places, ("lock_version", "is_deleted"))
            for reference, rows in found.items():
                self._found[places[reference]] = (
                    Accepted(record_id(rows[0]), lock_version_of(rows[0]))
                    if len(rows) == 1
                    else Unknown("several records bear the reference of the one that was to be created")
                )

    def _carried_out(self, settled: Mapping[int, Verdict]) -> dict[int, Verdict]:
        """Tell, of what is stale now, what is so because it was written although it was put off."""
        stale = {self._writes[place].id: place for place, verdict in settled.items() if isinstance(verdict, Stale)}
        if not stale:
            return {}
        columns = dict.fromkeys(name for place in stale.values() for name in self._writes[place].fields)
        try:
            rows = self._client.by_ids(self._controller, stale, ("lock_version", *columns), include_deleted=False)
        except (ServiceError, InterruptedByError):
            return {}  # stale they stay, and are read again
        written: dict[int, Verdict] = {}
        for row in rows:
            place = stale[record_id(row)]
            write, lock_version = self._writes[place], read_integer(row.get("lock_version"))
            if lock_version == write.lock_version + 1 and all(
                is_kept(sent, row.get(name)) for name, sent in write.fields.items()
            ):
                written[place] = Accepted(write.id, lock_version)
        return written


def task_write(
    *,
    name: str,
    activity_type: str,
    activity_status: str,
    due: Instant | None,
    description: str,
    person_id: int,
    reference: str,
) -> Write:
    """Describe the create of one Task for a Person.

    `description` is plain text; `due` becomes its UTC day, and without one no due date is sent. A name longer than the
    255 characters a string may have is cut.
    """
    fields: dict[str, WriteValue] = {
        "name": name[:_NAME_LENGTH],
        "activity_type": activity_type,
        "activity_status": activity_status,
        "description": html.escape(description).replace("\r\n", "\n").replace("\n", "<br>"),
        "primary_contact_id": person_id,
        "primary_contact_type": PERSON_CLASS,
        REFERENCE: reference,
    }
    if due is not None:
        fields["due_date"] = Date(due)
    return Write(0, 0, fields)


def _holds_one_of(boxes: Collection[str], row: Row) -> bool:
    address = mailbox(read_text(row.get(EMAIL)) or "")
    return not read_boolean(row.get("is_deleted")) and any(box in address for box in boxes)


def _spellings(address: str) -> Iterable[str]:
    plain = address.strip()
    forms: Mapping[str, None] = dict.fromkeys((address, plain, plain.lower()))
    return dict.fromkeys(spelling for form in forms for spelling in (form, f" {form}", f"{form} ", f" {form} "))


def _task(row: Row) -> TaskRow:
    return TaskRow(
        id=record_id(row),
        lock_version=lock_version_of(row),
        is_deleted=bool(read_boolean(row.get("is_deleted"))),
        reference=read_text(row.get(REFERENCE)) or "",
    )
