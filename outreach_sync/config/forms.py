"""The forms that single values of the config take, and how each is told what is allowed.

A form stands in a model's annotation: `Annotated[int, Whole(1, 100)]`. It turns the text of the file into the value, and never
repeats that text in a complaint: it might be a secret in the wrong place.
"""

from __future__ import annotations

import ipaddress
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any, TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import GetJsonSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema

from outreach_sync.config.conditions import AnyOf, Clause, Condition, Equals, NotAfter, Requirement
from outreach_sync.config.cron import normal_cron
from outreach_sync.config.document import Plain
from outreach_sync.config.start import Back, Everything, From, Start
from outreach_sync.instants import parse_duration, parse_iso

if TYPE_CHECKING:
    from outreach_sync.records import Scalar

JsonSchema = dict[str, Any]

_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)


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
    pattern: str = r"(?s).*"

    def parse(self, raw: object) -> str:
        """Take it as it is."""
        text = text_of(raw)
        if not re.fullmatch(self.pattern, text, re.ASCII):
            raise ValueError("has characters that do not belong there")
        return text

    @property
    def json_schema(self) -> JsonSchema:
        """Say the pattern where there is one."""
        return (
            {"type": "string"}
            if self.pattern.startswith("(?s)")
            else {"type": "string", "pattern": f"^{self.pattern}$"}
        )


def attribute_name() -> Text:
    """Make the form of an attribute's name in Outreach."""
    return Text("the name of an attribute in Outreach, such as customField or completedAt", _ATTRIBUTE.pattern)


def field_name() -> Text:
    """Make the form of a field's name in Workbooks; related ones are written ``main_location[town]``."""
    return Text("the name of a field in Workbooks, such as cf_person_outreach_id", r"[A-Za-z_]\w*(\[\w+\])*")


def state_name() -> Text:
    """Make the form of a sequence state's name as Outreach writes it."""
    return Text("a sequence state as Outreach writes it, such as opted_out", r"[a-z][a-z0-9_]*")


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
class Secret(Form):
    """Text that is never shown."""

    allowed: str = "text, best as ${NAME}, or by the key with `_file` added"

    def parse(self, raw: object) -> SecretStr:
        """Hide it."""
        return raw if isinstance(raw, SecretStr) else SecretStr(text_of(raw))


@dataclass(frozen=True)
class SecretUrl(Form):
    """An address that may hold a token, and is never shown."""

    allowed: str = "an address that begins with https:// or http://"

    def parse(self, raw: object) -> SecretStr:
        """Check and hide it."""
        if isinstance(raw, SecretStr):
            return raw
        text = text_of(raw)
        _host_of(text, ("https", "http"))
        return SecretStr(text)


@dataclass(frozen=True)
class ServiceUrl(Form):
    """Where a service is: https, except on a loopback address. A slash at the end is dropped."""

    allowed: str = "an https:// address without a query (http:// only on a loopback address)"
    keep_path_end: bool = False

    def parse(self, raw: object) -> str:
        """Check the parts of the address."""
        text = text_of(raw).strip()
        host = _host_of(text, ("https", "http"))
        parts = urlsplit(text)
        if parts.scheme == "http" and not is_loopback(host):
            raise ValueError("is http on a host that is not this machine")
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("has more than a host and a path")
        return text if self.keep_path_end else text.rstrip("/")


def _host_of(text: str, schemes: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not an address") from None
    if parts.scheme not in schemes or not host or re.search(r"\s", text):
        raise ValueError("is not an address")
    return host


def is_loopback(host: str) -> bool:
    """Say whether a host name is this machine, whatever the resolver thinks of it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
        try:
            share = float(text_of(raw))
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
        return {"type": "string", "enum": list(self.words)}

    def parse(self, raw: object) -> str:
        """Compare the word."""
        word = text_of(raw).strip()
        if word not in self.words:
            raise ValueError("is not one of the words")
        return word


@dataclass(frozen=True)
class Duration(Form):
    """A span of time, in milliseconds once read."""

    least_ms: int = 0
    least: str = ""

    @property
    def allowed(self) -> str:
        """Show what durations look like."""
        return "a duration such as 30s, 10m, 24h or 90d" + (f", {self.least} or more" if self.least else "")

    @property
    def json_schema(self) -> JsonSchema:
        """Show what durations look like."""
        return {"type": "string", "examples": ["30s", "10m", "24h", "90d"]}

    def parse(self, raw: object) -> int:
        """Read amount and unit."""
        text = text_of(raw)
        try:
            span = parse_duration(text)
        except ValueError:
            raise ValueError("is not a duration") from None
        if span < self.least_ms:
            raise ValueError("is too short")
        return span


@dataclass(frozen=True)
class StartForm(Form):
    """How far back the first run reads."""

    allowed: str = "a duration such as 90d, a date such as 2026-01-31, or all"

    def parse(self, raw: object) -> Start:
        """Tell the three apart."""
        text = text_of(raw).strip()
        if text.lower() == "all":
            return Everything()
        for reads in (lambda: Back(parse_duration(text)), lambda: From(parse_iso(text))):
            try:
                return reads()
            except ValueError:
                continue
        raise ValueError("is none of the three")


@dataclass(frozen=True)
class Cron(Form):
    """A cron expression of five fields, in UTC; days of the week come out as names."""

    allowed: str = 'five fields as in a cron table, such as "0 3 * * sun"'

    def parse(self, raw: object) -> str:
        """Check it."""
        return normal_cron(text_of(raw))


@dataclass(frozen=True)
class FilePath(Form):
    """A path; `~` is the home directory. Relative ones are resolved when the file's place is known."""

    allowed: str = "a path; a relative one starts at the config's directory"

    def parse(self, raw: object) -> Path:
        """Expand the home directory."""
        text = text_of(raw)
        if "\0" in text:
            raise ValueError("is not a path")
        try:
            return Path(text).expanduser()
        except RuntimeError:
            raise ValueError("names a home directory that does not exist") from None


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


_VARIABLE: JsonSchema = {"type": "string", "pattern": r"\$\{[A-Za-z_]"}
