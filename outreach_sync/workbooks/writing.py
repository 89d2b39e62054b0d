"""What becomes of a write to Workbooks, object by object, and never in a way that could write anything twice.

- It did not arrive, or Workbooks put it off (a redirect, 429, 503): after a pause the same batch goes again, at the
  same size. An update is safe by its lock version: if it was carried out all the same, the second one is stale, and the
  record is compared with what was sent. A creation is looked for first, twice, since rows may appear late.
- Its answer was lost or is unclear: the verdict is `Unknown`, and the caller looks before sending again.
- It was put off for as long as patience lasts: that is an error, and nothing else is sent. Only where a gateway lets
  one half of the batch through and not the other, the object at which it stops is `Unknown`, and the rest is settled.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from outreach_sync.errors import InterruptedByError, ServiceError, UnavailableError, UntrustedAnswerError
from outreach_sync.http import BusyError, GarbledError, MaybeSentError, NotSentError, RetriableError
from outreach_sync.records import Accepted, Stale, Unknown, Verdict, Write
from outreach_sync.workbooks.verdicts import BatchRefused, FailedError, settle_single
from outreach_sync.workbooks.wire import REFERENCE, is_kept, lock_version_of, read_integer, record_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outreach_sync.workbooks.client import WorkbooksClient

_BRIEFLY = 1.0
_LOST = (MaybeSentError, GarbledError, FailedError)


def settle(
    client: WorkbooksClient,
    controller: str,
    writes: Sequence[Write],
    *,
    was_put_off: bool = False,
    at_most: float | None = None,
) -> tuple[Verdict, ...]:
    """Send one batch until it is settled; the verdicts are parallel to `writes`. Raises as `WorkbooksClient.write`.

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
        return (settle_single(outcome),)
    halves = writes[:middle], writes[middle:]
    put_off = delivery.was_put_off
    first, second = (settle(client, controller, half, was_put_off=put_off, at_most=at_most) for half in halves)
    return first + second


def _without_the_one_to_blame(
    client: WorkbooksClient, controller: str, writes: Sequence[Write], failure: UnavailableError
) -> tuple[Verdict, ...]:
    """Send halves of what does not get through: of what a gateway stops at, nothing is known; the rest is settled.

    Raises:
        UnavailableError: neither half gets through, so it is no single object that is to blame.
    """
    middle = len(writes) // 2
    settled: list[tuple[Verdict, ...] | None] = []
    for half in (writes[:middle], writes[middle:]):
        try:
            settled.append(settle(client, controller, half, was_put_off=True, at_most=_BRIEFLY))
        except UnavailableError:
            settled.append(None)
    if settled == [None, None]:
        raise failure
    found: tuple[Verdict, ...] = ()
    for half, known in zip((writes[:middle], writes[middle:]), settled, strict=True):
        found += known if known is not None else _blame(client, controller, half, failure)
    return found


def _blame(
    client: WorkbooksClient, controller: str, writes: Sequence[Write], failure: UnavailableError
) -> tuple[Verdict, ...]:
    if len(writes) > 1:
        with suppress(UnavailableError):
            return _without_the_one_to_blame(client, controller, writes, failure)
    return (Unknown(failure.message),) * len(writes)


class _Delivery:
    """One batch on its way: sent until Workbooks looks at it, and never in a way that could write anything twice."""

    def __init__(self, client: WorkbooksClient, controller: str, writes: Sequence[Write], *, was_put_off: bool) -> None:
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
