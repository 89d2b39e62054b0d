"""What all sections of the config have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from outreach_sync.instants import parse_duration


class Section(BaseModel):
    """A frozen model that refuses keys it does not know and never shows what it was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)


def nothing_as_empty(raw: object) -> object:
    """Take a section whose keys are all commented out for an empty one."""
    return {} if raw is None else raw


def duration(text: str, description: str, alias: str) -> Any:
    """Describe a field of milliseconds whose default is written as in the file; `alias` is its key there."""
    return Field(
        default=parse_duration(text), alias=alias, description=description, json_schema_extra={"default": text}
    )


def section(model: type[BaseModel], description: str) -> Any:
    """Describe a field that holds another section, by default with all its defaults."""
    return Field(default_factory=model, description=description)
