"""Rows in the form that nearly all have, read in a fraction of the time that it takes to doubt each part.

Whatever departs from that form in any way (an id that is text, a missing part, a character beyond ASCII, a time that
is none) makes a reader here raise; `parse` then reads the row with every doubt there is. Both give the same record for
what both can read, which the tests hold them to.
"""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from outreach_sync.instants import Instant, parse_iso
from outreach_sync.records import Prospect, SequenceState

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]

UNUSUAL = (KeyError, ValueError, TypeError, AttributeError, OverflowError)
"""What a reader raises for a row that has another form."""

_LARGEST_ID = 2**63 - 1
_FLAG = (bool, type(None))
_attributes = itemgetter(
    *("firstName", "lastName", "emails", "externalId", "optedOut", "emailOptedOut"),
    *("optedOutAt", "emailsOptedAt", "trashedAt", "updatedAt"),
)


@lru_cache(maxsize=4_096)  # rows come in the order of their stamps
def usual_time(text: str | None) -> Instant | None:
    """Parse a time, or null; bulk actions give many rows the same one.

    Raises:
        ValueError, TypeError, OverflowError: it is neither.
    """
    return None if text is None else parse_iso(text)


def usual_state(row: Json) -> SequenceState:
    """Read a sequence state. Raises what `UNUSUAL` lists."""
    attributes, relationships = row["attributes"], row["relationships"]
    number, state = row["id"], attributes["state"]
    prospect, sequence = relationships["prospect"]["data"]["id"], relationships["sequence"]["data"]["id"]
    if not (type(number) is type(prospect) is type(sequence) is int and state.isascii()):
        raise ValueError("unusual")
    if not (0 < number <= _LARGEST_ID and 0 < prospect <= _LARGEST_ID and 0 < sequence <= _LARGEST_ID):
        raise ValueError("unusual")
    return SequenceState(
        number, prospect, sequence, state, usual_time(attributes["stateChangedAt"]), usual_time(attributes["updatedAt"])
    )


def prospect_reader(extra: tuple[str, ...]) -> Callable[[Json], Prospect] | None:
    """Return a reader of prospects; None where further attributes are wanted, of which nothing is known."""
    return None if extra else _usual_prospect


def _usual_prospect(row: Json) -> Prospect:
    number = row["id"]
    first, last, emails, external_id, opted_out, email_opted_out, *times = _attributes(row["attributes"])
    together = "".join(emails)
    if not (type(number) is int and 0 < number <= _LARGEST_ID and type(emails) is list and all(emails)):
        raise ValueError("unusual")
    if not (f"{first}{last}{together}".isascii() and together.isprintable() and " " not in together):
        raise ValueError("unusual")
    if not (first is None or type(first) is str) or not (last is None or type(last) is str):
        raise ValueError("unusual")
    if not (type(opted_out) in _FLAG and type(email_opted_out) in _FLAG and external_id is None):
        raise ValueError("unusual")
    opted_out_at, emails_opted_at, trashed_at, updated_at = map(usual_time, times)
    return Prospect(
        *(number, first, last, tuple(emails), None, opted_out is True, opted_out_at, email_opted_out is True),
        *(emails_opted_at, trashed_at, updated_at, {}),
    )
