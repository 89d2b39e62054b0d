"""What the client has to be told: plain values, made from the config by whoever starts it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from outreach_sync import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.records import Scalar

_NOT_A_WORD = re.compile(r"[^A-Za-z0-9_.]+")


@dataclass(frozen=True, slots=True)
class WorkbooksSettings:
    """Where Workbooks is, who we are to it, and which of its fields are ours.

    `fields` maps a role (sequence_state, state_updated_at, no_email, outreach_id, sequences) to the name of the Person
    field that plays it; a role that is not configured is absent. `only_where` maps further fields that are read to the
    value they are compared with.
    """

    base_url: str
    api_key: str = field(repr=False)
    application_name: str
    batch_size: int
    timeout_ms: int
    patience_ms: int
    fields: Mapping[str, str]
    only_where: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def user_agent(self) -> str:
        """Name the program: the first word becomes `created_through`, and `gzip` asks for compressed answers.

        A hyphen would end that word (seen in production), so it becomes an underscore.
        """
        return f"{_NOT_A_WORD.sub('_', self.application_name)}/{__version__} (gzip)"
