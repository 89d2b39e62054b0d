"""What a Person that is created says beside the synced fields: who they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.rules.matching import prospect_reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outreach_sync.records import Prospect, Scalar


_TEXT_LENGTH = 255
"""Workbooks' guide: a string has at most so many characters."""


class Eligibility(NamedTuple):
    """What is known of the prospects behind a Person that does not exist."""

    readable: bool
    deleted: bool
    has_reason: bool
    """Whether there is a sequence state, an opt-out or a skipped task: merely Not Active is no reason."""


def base_fields(pool: Sequence[Prospect], create_fields: Mapping[str, str]) -> dict[str, Scalar]:
    """Return Workbooks field -> value for a new Person, from the lead prospect (the first of the pool).

    The full name is required in Workbooks: where Outreach has none, the address stands in, else the id.
    """
    lead = pool[0]
    email = next((address for prospect in pool for address in prospect.emails), None)
    full = " ".join(part.strip() for part in (lead.first_name, lead.last_name) if part and part.strip())
    fields: dict[str, Scalar] = {
        "name": _fitting(full or email or f"Outreach prospect {lead.id}"),
        "person_first_name": _fitting(lead.first_name),
        "person_last_name": _fitting(lead.last_name),
        "main_location[email]": email,
        "created_through_reference": prospect_reference(lead.id),
    }
    fields.update({field: lead.extra.get(attribute) for field, attribute in create_fields.items()})
    return {field: value for field, value in fields.items() if value is not None}


def _fitting(name: str | None) -> str | None:
    """Cut a name to what a text field of Workbooks holds: who it is can still be told."""
    return name and name[:_TEXT_LENGTH]
