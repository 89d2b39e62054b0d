"""The forms that single values of the config take, and how each is told what is allowed.

A form stands in a model's annotation: `Annotated[int, Whole(1, 100)]`. It turns the text of the file into the value,
and never repeats that text in a complaint: it might be a secret in the wrong place.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import CoreSchema, core_schema

from outreach_sync.instants import LONGEST_MS, OutOfReachError, parse_duration

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler

JsonSchema = dict[str, Any]
_VARIABLE: JsonSchema = {"type": "string", "pattern": r"\$\{[A-Za-z_]"}


class Form(ABC):
    """What one value may look like. Subclasses are frozen, so that they can stand in annotations."""

    @property
    @abstractmethod
    def allowed(self) -> str:
        """Say in a few words what is allowed; it stands in complaints and in the reference."""

    @abstractmethod
    def parse(self, raw: object) -> Any:
        """Turn what the file says (text, None, list, dict) into the value.

        Raises:
            ValueError: it has another form; the text says how, beginning with a verb.
        """

    @property
    def json_schema(self) -> JsonSchema:
        """Describe the form for editors."""
        return {"type": "string"}

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        """Let pydantic call `_checked` for the value."""
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        """Let pydantic put the form into the schema it generates."""
        return dict(self.json_schema)

    def _checked(self, raw: object) -> Any:
        try:
            return self.parse(raw)
        except ValueError as error:
            raise ValueError(f"{error}; allowed: {self.allowed}") from None


def text_of(raw: object) -> str:
    """Take the text of a scalar; a mapping, a list or nothing at all is refused."""
    if raw is None:
        raise ValueError("is empty")
    if isinstance(raw, bool | int | float):
        return str(raw)
    if not isinstance(raw, str):
        raise ValueError("is a list" if isinstance(raw, list | tuple) else "is a mapping")  # noqa: TRY004  # pydantic wants it so
    if not raw.strip():
        raise ValueError("is empty")
    return str.__str__(raw)


@dataclass(frozen=True)
class Text(Form):
    """Text that is not empty; with a pattern, that matches it whole."""

    allowed: str = "text"
    pattern: str = ""

    def parse(self, raw: object) -> str:
        """Take it as it is."""
        text = text_of(raw)
        if self.pattern and not re.fullmatch(self.pattern, text, re.ASCII):
            raise ValueError("has characters that do not belong there")
        return text

    @property
    def json_schema(self) -> JsonSchema:
        """Say the pattern where there is one; a variable fits it as well."""
        return {"type": "string"} | ({"pattern": rf"^({self.pattern}|.*\$\{{.*)$"} if self.pattern else {})


@dataclass(frozen=True)
class Maybe(Form):
    """Another form, or null; text that is empty (a variable set to nothing) counts as null."""

    form: Form

    @property
    def allowed(self) -> str:
        """Add null to what is allowed."""
        return f"{self.form.allowed}, or null"

    @property
    def json_schema(self) -> JsonSchema:
        """Add null to the schema."""
        return {"anyOf": [self.form.json_schema, {"type": "null"}]}

    def parse(self, raw: object) -> Any:
        """Take nothing for None."""
        return None if raw is None or raw == "" else self.form.parse(raw)


@dataclass(frozen=True)
class Whole(Form):
    """A whole number within bounds, both included."""

    least: int
    most: int | None = None

    @property
    def allowed(self) -> str:
        """Say the bounds."""
        return (
            f"a whole number, {self.least} or more"
            if self.most is None
            else f"a whole number from {self.least} to {self.most}"
        )

    @property
    def json_schema(self) -> JsonSchema:
        """Say the bounds; text is for variables."""
        bounds = {"minimum": self.least} | ({} if self.most is None else {"maximum": self.most})
        return {"anyOf": [{"type": "integer"} | bounds, _VARIABLE]}

    def parse(self, raw: object) -> int:
        """Read the digits."""
        text = text_of(raw).strip()
        if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
            raise ValueError("is not a whole number")
        number = int(text)
        if number < self.least or (self.most is not None and number > self.most):
            raise ValueError("is too small" if number < self.least else "is too large")
        return number


@dataclass(frozen=True)
class Share(Form):
    """A part of the whole, 0 to 1."""

    allowed: str = "a number from 0 to 1"

    @property
    def json_schema(self) -> JsonSchema:
        """Say the bounds."""
        return {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, _VARIABLE]}

    def parse(self, raw: object) -> float:
        """Read the number."""
        text = text_of(raw)
        try:
            share = float(text)
        except ValueError:
            raise ValueError("is not a number") from None
        if not 0 <= share <= 1:
            raise ValueError("is no share")
        return share


@dataclass(frozen=True)
class Flag(Form):
    """Yes or no."""

    allowed: str = "true or false"

    @property
    def json_schema(self) -> JsonSchema:
        """A truth value; text is for variables."""
        return {"anyOf": [{"type": "boolean"}, _VARIABLE]}

    def parse(self, raw: object) -> bool:
        """Read YAML's words for it."""
        word = text_of(raw).strip().lower()
        if word not in {"true", "false", "yes", "no", "on", "off"}:
            raise ValueError("is neither true nor false")
        return word in {"true", "yes", "on"}


@dataclass(frozen=True)
class Choice(Form):
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """List the words."""
        return ", ".join(self.words)

    @property
    def json_schema(self) -> JsonSchema:
        """List the words."""
        return {"anyOf": [{"type": "string", "enum": list(self.words)}, _VARIABLE]}

    def parse(self, raw: object) -> str:
        """Compare the word."""
        word = text_of(raw).strip()
        if word not in self.words:
            raise ValueError("is not one of the words")
        return word


@dataclass(frozen=True)
class Duration(Form):
    """A span of time, in milliseconds once read; `bounds` says its bounds in words."""

    least_ms: int = 0
    bounds: str = ""
    most_ms: int = LONGEST_MS

    @property
    def allowed(self) -> str:
        """Show what durations look like."""
        return "a duration such as 30s, 10m, 24h or 90d" + (f", {self.bounds}" if self.bounds else "")

    @property
    def json_schema(self) -> JsonSchema:
        """Show what durations look like."""
        return {"type": "string", "examples": ["30s", "10m", "24h", "90d"]}

    def parse(self, raw: object) -> int:
        """Read amount and unit."""
        text = text_of(raw)
        try:
            span = parse_duration(text)
        except OutOfReachError:
            raise
        except ValueError:
            raise ValueError("is not a duration") from None
        if not self.least_ms <= span <= self.most_ms:
            raise ValueError("is too short" if span < self.least_ms else "is too long")
        return span
