"""How Workbooks is asked: reads that are repeated until they can be trusted, and one exchange of a write.

The key goes with each request (docs/decisions/0003-key-per-request.md), in a POST body, to the configured host only.

What becomes of a write, object by object, and never in a way that could write anything twice:

- It did not arrive, or Workbooks put it off (a redirect, 429, 503): after a pause the same batch goes again. If an
  update was carried out all the same, the second one is stale, and the record is compared with what was sent. Creations
  are looked for first, twice, since rows may appear late; after three redirects that wrote nothing, once, as late.
- Its answer was lost or is unclear: the verdict is `Unknown`, and the caller looks before sending again.
- It was put off for as long as patience lasts: that is an error, and nothing else is sent. Only where a gateway lets
  one half of the batch through and not the other, the object at which it stops is `Unknown`, and the rest is settled.
"""

from __future__ import annotations

import re
import threading
from contextlib import nullcontext
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync import __version__, errors, http
from outreach_sync.config.model import Config, revealed
from outreach_sync.connections import Answer, Transport
from outreach_sync.instants import now
from outreach_sync.records import Accepted, PersonRow, Rejected, Stale, TaskRow, Unknown, Verdict, Write
from outreach_sync.rules.person import Datatype, mailbox
from outreach_sync.workbooks import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_TURNED_AWAY_LIMIT, _READINGS_LIMIT, _PROOFS = 3, 3, 3
_WRITE_GRACE_SECONDS, _LOOK_AGAIN_SECONDS, _BRIEFLY = 20.0, 2.0, 1.0
_LOST = (http.MaybeSentError, http.GarbledError, wire.FailedError)
_CLEAN_ANSWERS = 10  # so many must come without a redirect before several requests go at once again


class Account(NamedTuple):
    """Whose database a key is for (guide: Authentication), and when that was made, in the words of the answer."""

    database: int  # its logical_database_id
    created_at: str


class Workbooks:
    """Reads and writes records; safe to be used by several threads. All look-ups raise as `read` does."""

    def __init__(self, config: Config, stop: http.StopSignal, *, on_retry: http.OnRetry | None = None) -> None:
        """Send nothing yet; raise ConfigError where the key is missing. `on_retry` is told of each repetition."""
        section = self._section = config.workbooks
        self.stop = stop
        self._key = revealed(section.api_key, "workbooks.api_key")
        self.patience = http.Patience(config.sync.patience_ms / 1000, stop, on_retry=on_retry)
        agent = f"{re.sub(r'[^A-Za-z0-9_.]+', '_', section.application_name)}/{__version__} (gzip)"
        self.transport = Transport(section.base_url, user_agent=agent, stop=stop, connections=section.concurrency)
        self._turn, self._counting = threading.Lock(), threading.Lock()
        self._slowed, self._turned_away, self._proven = 0, 0, False
        self._skip_totals: tuple[str, ...] = ("__skip_total_rows", "_skip_total_rows")
        self.redirected_was_written: list[bool] = []  # whether anything of creations was that a redirect answered
        self.fields = {role: name for role, name in section.fields.model_dump().items() if name is not None}
        self._datatypes = {
            name: Datatype.BOOLEAN if isinstance(value, bool) else Datatype.TEXT
            for name, value in config.sync.people.only_where.items()
        } | {name: wire.ROLE_DATATYPES.get(role, Datatype.TEXT) for role, name in self.fields.items()}
        self._columns = ("id", "lock_version", wire.REFERENCE, wire.EMAIL, wire.OBJECT_REF, *self._datatypes)

    def who(self, *, at_most: float | None = None) -> Account:
        """Ask who is behind the key, for at most so many seconds: a log-in whose session is not used."""
        pairs = [("_method", "POST"), ("_application_name", self._section.application_name)]
        said = self.patience.ask(
            "asking Workbooks who is behind the key",
            lambda left: self._parse(self._send("login", pairs, left), "login.api"),
            at_most=at_most,
        )
        database = wire.read_integer(said.get("logical_database_id"))
        if database is None:
            raise errors.UntrustedAnswerError("Workbooks answered a log-in without a logical_database_id.")
        own = (one for one in wire.maps(said.get("databases")) if wire.read_integer(one.get("id")) == database)
        return Account(database, wire.read_text(next(own, {}).get("created_at")) or "")

    def read(
        self,
        controller: str,
        reading: wire.Reading,
        *,
        asked_for: Callable[[wire.Row], bool],
        at_most: int | None = None,
        of: str = "id",
    ) -> list[wire.Row]:
        """Read all rows of a look-up, page by page until a short one, in the order of their ids.

        A filter with a slip in it is ignored in silence: other rows than `asked_for` are dropped, or raise
        UntrustedAnswerError in the end. No page follows once `at_most` values of the column `of` came.
        """
        reading = reading._replace(columns=tuple(dict.fromkeys(("id", *reading.columns))))
        for _ in range(_READINGS_LIMIT):
            rows: list[wire.Row] = []
            last_id, strange = 0, False
            while not strange:
                page = self.page(controller, reading, after=last_id)
                if page and all(of not in row for row in page):  # which rows these are cannot be seen
                    raise errors.UntrustedAnswerError(f"Workbooks returned {controller} without their {of}.")
                wanted = [row for row in page if asked_for(row)]
                ids = [wire.read_integer(row.get("id")) or 0 for row in page]
                full = len(page) >= wire.PAGE_ROWS
                rows += wanted
                # a filter that was ignored shows in strangers, and what is absent proves nothing then
                strange = (full or last_id > 0) and 2 * len(wanted) < len(page)
                if not strange and (
                    not full or (at_most is not None and len({row.get(of) for row in rows}) >= at_most)
                ):
                    return rows
                strange = strange or ids != sorted(ids) or ids[0] <= last_id  # or rows would be skipped
                last_id = ids[-1]
        raise errors.UntrustedAnswerError(f"Workbooks returned rows of {controller} that were not asked for.")

    def page(self, controller: str, reading: wire.Reading, *, after: int = 0) -> list[wire.Row]:
        """Read one page, that after this id, or all of the metadata."""

        def attempt(left: float) -> list[wire.Row]:
            while True:
                spellings = self._skip_totals
                answer = self._send(controller, wire.read_pairs(reading, after=after, skip_totals=spellings), left)
                try:
                    return wire.rows(self._parse(answer))
                except errors.UntrustedAnswerError:
                    if reading.extra or not spellings or b"skip_total_rows" not in answer.body:
                        raise
                # One spelling may be named only as a part of the other. Where the objection names none, both go.
                named = [one for one in spellings if one.encode() in answer.body.replace(f"_{one}".encode(), b"")]
                self._skip_totals = tuple(one for one in spellings if named and one not in named)

        return self.patience.ask(f"reading {controller} of Workbooks", attempt)

    def by_ids(
        self, controller: str, ids: Iterable[int], columns: Iterable[str], *, include_deleted: bool
    ) -> list[wire.Row]:
        """Read records by id, 100 a request: once every id came back no further page is needed."""
        texts = map(str, sorted(set(ids)))
        rows = self.by_values(controller, "id", texts, columns, include_deleted=include_deleted, one_each=True)
        return [row for some in rows.values() for row in some]

    def by_values(
        self,
        controller: str,
        field: str,
        values: Iterable[str],
        columns: Iterable[str],
        *,
        include_deleted: bool = False,
        one_each: bool = False,
        padded: bool = False,
    ) -> dict[str, list[wire.Row]]:
        """Read records whose field equals one of the values, by that value; empty values match nothing.

        Compared here, since Workbooks' own comparison is not documented; an e-mail address comes back as its `mailbox`.
        `one_each`: it is enough to find each once. `padded`: look among all that have one of these in them.
        """
        form: Callable[[str], str] = mailbox if field == wire.EMAIL else str
        columns = (*columns, field, "is_deleted")
        found: dict[int, wire.Row] = {}
        wanted: set[str] = set()

        def key(row: wire.Row) -> str:
            return form(wire.read_text(row.get(field)) or "")

        def asked_for(some: frozenset[str], row: wire.Row) -> bool:
            alive = include_deleted or not wire.read_boolean(row.get("is_deleted"))
            return alive and (key(row) in some or (padded and any(one in key(row) for one in some)))

        how = {"include_deleted": include_deleted, "one_each": one_each, "padded": padded}
        for some, reading in wire.look_ups(field, values, columns, **how):
            these = frozenset(map(form, some))
            most = len(some) if one_each else None
            rows = self.read(controller, reading, asked_for=partial(asked_for, these), at_most=most, of=field)
            found |= {wire.record_id(row): row for row in rows}
            wanted |= these
        grouped: dict[str, list[wire.Row]] = {}
        for row in found.values():
            if key(row) in wanted:
                grouped.setdefault(key(row), []).append(row)
        return grouped

    def people_by_ids(self, person_ids: Iterable[int]) -> dict[int, PersonRow]:
        """Read People, deleted ones too, with what they hold; those that are absent may be hidden from the key."""
        rows = self.by_ids(wire.PEOPLE, person_ids, self._columns, include_deleted=True)
        return {person.id: person for person in map(self._person, rows)}

    def people(self, rule: str, values: Iterable[str]) -> dict[str, list[PersonRow]]:
        """Find live People by match rule or `PADDED_EMAIL`, keyed as in `by_values`; by reference deleted ones too."""
        fields = {"reference": wire.REFERENCE, "external_id": wire.OBJECT_REF}
        field = self.fields.get(rule) if rule == "outreach_id" else fields.get(rule, wire.EMAIL)
        if field is None:  # none is configured for it
            return {}
        how = {"include_deleted": rule == "reference", "padded": rule == wire.PADDED_EMAIL}
        rows = self.by_values(wire.PEOPLE, field, values, self._columns, **how)
        return {key: list(map(self._person, some)) for key, some in rows.items()}

    def _person(self, row: wire.Row) -> PersonRow:
        return PersonRow(
            id=wire.record_id(row),
            lock_version=wire.record_id(row, "lock_version"),
            is_deleted=bool(wire.read_boolean(row.get("is_deleted"))),
            email=wire.read_text(row.get(wire.EMAIL)),
            reference=wire.read_text(row.get(wire.REFERENCE)),
            object_ref=wire.read_text(row.get(wire.OBJECT_REF)),
            fields={name: wire.READERS[kind](row[name]) for name, kind in self._datatypes.items() if name in row},
        )

    def tasks_by_reference(self, references: Iterable[str]) -> dict[str, list[TaskRow]]:
        """Find Tasks by `created_through_reference`, deleted ones too; only what matched is a key."""
        rows = self.by_values(wire.TASKS, wire.REFERENCE, references, (), include_deleted=True)
        return {reference: list(map(_task, some)) for reference, some in rows.items()}

    def tasks_by_ids(self, task_ids: Iterable[int]) -> dict[int, TaskRow]:
        """Read Tasks, deleted ones too."""
        rows = self.by_ids(wire.TASKS, task_ids, (), include_deleted=True)
        return {task.id: task for task in map(_task, rows)}

    def write(self, controller: str, writes: Sequence[Write]) -> tuple[Verdict, ...]:
        """Write objects, each named once, in batches; the verdicts are parallel to `writes`.

        A batch refused as a whole is halved until the object to blame is alone. A stop makes `Unknown`. Raises for a
        bad key, and where patience ends: this batch was most likely not written, earlier ones may have been.
        """
        settled: dict[int, Verdict] = {}
        for place, one in enumerate(writes):
            for name, value in one.fields.items():
                if value in (wire.NO_VALUE, wire.NULL_VALUE):
                    why = f"{name}: the text '{value}' has a special meaning and cannot be sent"
                    settled.setdefault(place, Rejected((why,)))
        sendable = [place for place in range(len(writes)) if place not in settled]
        for batch in wire.chunks(sendable, self._section.batch_size):
            verdicts = _Delivery(self, controller, [writes[place] for place in batch]).verdicts()
            settled.update(zip(batch, verdicts, strict=True))
        return tuple(settled[place] for place in range(len(writes)))

    def send_write(self, controller: str, writes: Sequence[Write], left: float) -> tuple[Verdict, ...] | Rejected:
        """Send objects once and judge the answer. Raises as `wire.parse` and `Transport.send` do."""
        answer = self._send(controller, wire.write_pairs(writes), left, _WRITE_GRACE_SECONDS)
        return wire.refusal(answer) or wire.judge(self._parse(answer), writes)

    def _send(self, controller: str, pairs: list[wire.Pair], left: float, grace_seconds: float = 0.0) -> Answer:
        """Send one request; while Workbooks slows us down, they go one at a time."""
        with self._turn if self._slowed else nullcontext():
            # `_dc` against caches on the way, as the guide advises
            url = f"{self._section.base_url.rstrip('/')}/{controller}.api?_dc={now()}"
            body = wire.encode([("client", "api"), ("api_version", "1"), ("api_key", self._key), *pairs])
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            longest = min(self._section.timeout_ms / 1000, left)
            return self.transport.send(
                "POST", url, body=body, headers=form, timeout_seconds=longest, grace_seconds=grace_seconds
            )

    def _parse(self, answer: Answer, endpoint: str = "") -> dict[str, Any]:
        """Parse an answer and count being turned away: three times with a key that never worked is a refusal."""
        try:
            said = wire.parse(answer, endpoint)
        except (wire.DelayedError, http.ThrottledError):
            self._slowed = _CLEAN_ANSWERS
            raise
        except wire.TurnedAwayError:
            with self._counting:
                self._turned_away += 1
                refused = self._turned_away >= _TURNED_AWAY_LIMIT and not self._proven
            if refused:
                why = "Workbooks keeps turning the API key away."
                raise errors.NotAuthenticatedError(why, advice=wire.KEY_ADVICE) from None
            raise
        with self._counting:
            self._slowed = max(self._slowed - 1, 0)
            self._turned_away = 0
            self._proven = self._proven or said.get("success") is not False
        return said


def _task(row: wire.Row) -> TaskRow:
    return TaskRow(wire.record_id(row), bool(wire.read_boolean(row.get("is_deleted"))))


class _Delivery:
    """One batch on its way, sent until Workbooks looks at it; `was_put_off`: it may have been carried out already."""

    def __init__(
        self,
        client: Workbooks,
        controller: str,
        writes: Sequence[Write],
        *,
        was_put_off: bool = False,
        at_most: float | None = None,
    ) -> None:
        self._client, self._controller, self.writes, self._at_most = client, controller, writes, at_most
        self._found: dict[int, Verdict] = {}
        self._was_put_off = self._to_be_looked_for = was_put_off
        self._was_turned_back = self._was_redirected = False

    def verdicts(self) -> tuple[Verdict, ...]:
        """Send it until it is settled; the verdicts are parallel to the writes. Raises as `Workbooks.write`."""
        what = f"writing {self._controller} of Workbooks"
        try:
            outcome = self._client.patience.ask(what, self._attempt, at_most=self._at_most, final=_LOST)
        except (*_LOST, errors.UntrustedAnswerError, errors.InterruptedByError) as failure:
            return (Unknown(failure.message),) * len(self.writes)
        except errors.UnavailableError as failure:
            if self._at_most is None and len(self.writes) > 1 and self._was_turned_back:
                return self.around_the_one_to_blame(failure)
            raise
        if not isinstance(outcome, Rejected):
            return outcome
        if len(self.writes) == 1:
            return (wire.settle_single(outcome.reasons),)
        halves = self._halves(was_put_off=self._was_put_off, at_most=self._at_most)
        return tuple(chain.from_iterable(half.verdicts() for half in halves))

    def _halves(self, **how: Any) -> list[_Delivery]:
        middle = len(self.writes) // 2
        both = (self.writes[:middle], self.writes[middle:])
        return [_Delivery(self._client, self._controller, half, **how) for half in both]

    def around_the_one_to_blame(self, failure: errors.UnavailableError) -> tuple[Verdict, ...]:
        """Send halves of what does not get through; raise `failure` where neither does: no single one is to blame."""
        nothing_known = (Unknown(failure.message),)
        if len(self.writes) == 1:
            return nothing_known
        halves = self._halves(was_put_off=True, at_most=_BRIEFLY)
        settled: list[tuple[Verdict, ...] | None] = []
        for half in halves:
            try:
                settled.append(half.verdicts())
            except errors.UnavailableError:
                settled.append(None)
        if settled == [None, None]:
            raise failure
        found: list[Verdict] = []
        for half, known in zip(halves, settled, strict=True):
            try:
                found += known if known is not None else half.around_the_one_to_blame(failure)
            except errors.UnavailableError:
                found += nothing_known * len(half.writes)
        return tuple(found)

    def _attempt(self, left: float) -> tuple[Verdict, ...] | Rejected:
        if self._to_be_looked_for:
            self._look_for_creations()
            self._to_be_looked_for = False
        waiting = [place for place in range(len(self.writes)) if place not in self._found]
        if not waiting:
            return tuple(self._found[place] for place in range(len(self.writes)))
        try:
            said = self._client.send_write(self._controller, [self.writes[place] for place in waiting], left)
        except http.RetriableError as failure:
            self._was_turned_back = isinstance(failure, http.BusyError) and failure.asked_seconds is None
            self._was_redirected = isinstance(failure, wire.DelayedError)
            if not isinstance(failure, http.NotSentError):
                self._was_put_off = self._to_be_looked_for = True
            raise
        if isinstance(said, Rejected):
            if not self._found:
                return said
            said = (Unknown("refused together with others, of which some were written"),) * len(waiting)
        settled = self._found | dict(zip(waiting, said, strict=True))
        stale = {self.writes[place].id: place for place in waiting if isinstance(settled[place], Stale)}
        if self._was_put_off and stale:
            settled |= self._carried_out(stale)
        return tuple(settled[place] for place in range(len(self.writes)))

    def _look_for_creations(self) -> None:
        """Find what was created although the request was put off; the first of two looks may be left out, see above."""
        waiting = {place: one.fields.get(wire.REFERENCE) for place, one in enumerate(self.writes) if not one.id}
        missing = {str(one): place for place, one in waiting.items() if one and place not in self._found}
        nameless = Unknown("it was put off, and has no reference by which it could be looked for")
        self._found |= {place: nameless for place, one in waiting.items() if not one}
        proven, count = self._client.redirected_was_written, len(missing)
        only_late = self._was_redirected and len(proven) >= _PROOFS and not any(proven)
        for is_late in (True,) if only_late else (False, True):
            if is_late and missing:
                http.pause(_LOOK_AGAIN_SECONDS, self._client.stop)
            found = self._client.by_values(self._controller, wire.REFERENCE, missing, ("lock_version",), one_each=True)
            for reference, rows in found.items():
                self._found[missing.pop(reference)] = (
                    Accepted(wire.record_id(rows[0]), wire.lock_version_of(rows[0]))
                    if len(rows) == 1
                    else Unknown("several records bear the reference of the one that was to be created")
                )
        if count and (self._was_redirected or len(missing) < count):
            proven.append(len(missing) < count)
            if only_late and len(missing) < count:
                self._look_for_creations()

    def _carried_out(self, stale: dict[int, int]) -> dict[int, Verdict]:
        """Tell, of what is stale now (id -> place), what is so because it was written although it was put off."""
        columns = dict.fromkeys(name for place in stale.values() for name in self.writes[place].fields)
        try:
            rows = self._client.by_ids(self._controller, stale, ("lock_version", *columns), include_deleted=False)
        except (errors.ServiceError, errors.InterruptedByError):
            return {}  # stale they stay, and are read again
        written: dict[int, Verdict] = {}
        for row in rows:
            place = stale[wire.record_id(row)]
            write, lock_version = self.writes[place], wire.read_integer(row.get("lock_version"))
            if lock_version == write.lock_version + 1 and all(
                wire.is_kept(sent, row.get(name)) for name, sent in write.fields.items()
            ):
                written[place] = Accepted(write.id, lock_version)
        return written
