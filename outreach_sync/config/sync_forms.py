"""The forms of what belongs to the sync itself: names, times, templates and conditions."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING

from outreach_sync.config.cron import checked_cron
from outreach_sync.config.document import Plain
from outreach_sync.config.forms import Form, JsonSchema, Text, text_of
from outreach_sync.config.start import Back, Everything, From, Start
from outreach_sync.instants import OutOfReachError, parse_duration, parse_moment
from outreach_sync.rules.conditions import AnyOf, Clause, Condition, Equals, NotAfter, Requirement

if TYPE_CHECKING:
    from outreach_sync.records import Scalar

_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)


def attribute_name() -> Text:
    """Make the form of an attribute's name in Outreach."""
    return Text("the name of an attribute in Outreach, such as customField or completedAt", _ATTRIBUTE.pattern)


def field_name() -> Text:
    """Make the form of a field's name in Workbooks; related ones are written ``main_location[town]``."""
    return Text("the name of a field in Workbooks, such as cf_person_outreach_id", r"[A-Za-z_]\w*(\[\w+\])*")


def state_name() -> Text:
    """Make the form of a sequence state's name as Outreach writes it."""
    return Text("a sequence state as Outreach writes it, such as opted_out", r"[a-z][a-z0-9_]*")


def event_name() -> Text:
    """Make the form of an event's name as Outreach writes it."""
    return Text("the name of an event as Outreach writes it, such as skip_task", r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Value(Form):
    """One value that a field may have."""

    allowed: str = "text, a number, true, false, or null for an empty field"

    @property
    def json_schema(self) -> JsonSchema:
        """Any scalar."""
        return {"type": ["string", "number", "boolean", "null"]}

    def parse(self, raw: object) -> Scalar:
        """Take it as YAML reads it."""
        return _scalar(raw)


@dataclass(frozen=True)
class CommandForm(Form):
    """A command to start: a list of words, or one line that is split as a shell would."""

    allowed: str = "a command as a list of words, or as one line; it is started without a shell"

    @property
    def json_schema(self) -> JsonSchema:
        """Either form."""
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}

    def parse(self, raw: object) -> tuple[str, ...]:
        """Split the line, or take the words."""
        try:
            words = [text_of(word) for word in raw] if isinstance(raw, list) else shlex.split(text_of(raw))
        except ValueError as error:
            raise ValueError("has a quote that is not closed" if "quot" in str(error) else str(error)) from None
        if not words or any("\0" in word for word in words):
            raise ValueError("is not a command")
        return tuple(words)


@dataclass(frozen=True)
class StartForm(Form):
    """How far back the first run reads."""

    allowed: str = "a duration such as 90d, a date such as 2026-01-31, or all"

    def parse(self, raw: object) -> Start:
        """Tell the three apart."""
        text = text_of(raw).strip()
        if text.lower() == "all":
            return Everything()
        for reads in (lambda: Back(parse_duration(text)), lambda: From(parse_moment(text))):
            try:
                return reads()
            except OutOfReachError:
                raise
            except ValueError:
                continue
        raise ValueError("is none of the three")


@dataclass(frozen=True)
class Cron(Form):
    """A cron expression of five fields, in UTC; days of the week come out as names."""

    allowed: str = 'five fields as in a cron table, such as "0 3 * * sun"'

    def parse(self, raw: object) -> str:
        """Check it."""
        return checked_cron(text_of(raw))


@dataclass(frozen=True)
class Template(Form):
    """Text with places to fill in, in braces."""

    places: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """List the places."""
        return "text with any of " + " ".join(f"{{{place}}}" for place in self.places) + "; {{ and }} for braces"

    def parse(self, raw: object) -> str:
        """Check that every place is known."""
        text = text_of(raw)
        try:
            parts = list(Formatter().parse(text))
        except ValueError:
            raise ValueError("has a brace that is not closed, or not opened") from None
        for _, place, layout, conversion in parts:
            if place is not None and (place not in self.places or layout or conversion):
                raise ValueError("has a place that is not known")
        return text


@dataclass(frozen=True)
class ConditionForm(Form):
    """One condition of `skipped_when`."""

    allowed: str = "a map of attribute to a value, null, a list of values, or {not_after: ATTRIBUTE}"

    @property
    def json_schema(self) -> JsonSchema:
        """A map of clauses."""
        scalar: JsonSchema = {"type": ["string", "number", "boolean", "null"]}
        not_after = {
            "type": "object",
            "properties": {"not_after": {"type": "string"}},
            "required": ["not_after"],
            "additionalProperties": False,
        }
        clause = {"anyOf": [scalar, {"type": "array", "items": scalar, "minItems": 1}, not_after]}
        return {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": f"^{_ATTRIBUTE.pattern}$"},
            "additionalProperties": clause,
        }

    def parse(self, raw: object) -> Condition:
        """Read every clause."""
        if not isinstance(raw, Mapping) or not raw:
            raise ValueError("is not a condition")
        return tuple(Clause(_attribute(name), _requirement(wanted)) for name, wanted in raw.items())


def _attribute(raw: object) -> str:
    if not isinstance(raw, str) or not _ATTRIBUTE.fullmatch(raw):
        raise ValueError("names something that cannot be an attribute")
    return str.__str__(raw)


def _requirement(raw: object) -> Requirement:
    if isinstance(raw, Mapping):
        if set(raw) != {"not_after"}:
            raise ValueError("has a map that is not {not_after: ATTRIBUTE}")
        return NotAfter(_attribute(raw["not_after"]))
    if isinstance(raw, list):
        if not raw:
            raise ValueError("has an empty list, which nothing can match")
        return AnyOf(tuple(_scalar(item) for item in raw))
    return Equals(_scalar(raw))


def _scalar(raw: object) -> Scalar:
    if isinstance(raw, Plain):
        return raw.value
    if raw is None or isinstance(raw, bool | int | float):
        return raw
    if isinstance(raw, str):
        return str.__str__(raw)
    raise ValueError("has a value that is neither text, a number, a truth value nor null")
