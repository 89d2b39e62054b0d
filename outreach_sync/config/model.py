"""The config: every key with what it may be, its default and its meaning; before that, the types of values.

A default is written as in the file. Durations are whole milliseconds (`…_ms`), secrets are `SecretStr`. Schema,
reference, starter and complaints are made from here. A message never shows what was given: it might be a secret.
`errorMessage` is what editors show for a value that does not fit, and what our own complaints call allowed.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping  # noqa: TC003 - pydantic reads annotations at run time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

import yaml
from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    PlainValidator,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
)

from outreach_sync.errors import ConfigError
from outreach_sync.files import resolved
from outreach_sync.instants import LONGEST_MS, Back, Instant, parse_duration, parse_since
from outreach_sync.records import Scalar
from outreach_sync.rules.skipped import Condition

T = TypeVar("T")
Where = tuple[str | int, ...]  # The way to a value: keys, and indexes of lists from 0.
_DAY_MS = 86_400_000
_A_YEAR = datetime(2027, 1, 1, tzinfo=UTC)
_FIELD, _ATTRIBUTE, _WORD = r"^[A-Za-z_]\w*(\[\w+\])*$", "^[A-Za-z][A-Za-z0-9_]*$", "^[a-z][a-z0-9_]*$"
NAMES = {  # The pattern of a name to what is allowed.
    _FIELD: "the name of a field in Workbooks, such as cf_person_outreach_id",
    _ATTRIBUTE: "the name of an attribute in Outreach, such as customField or completedAt",
    _WORD: "a name as Outreach writes it, such as opted_out or skip_task",
}


class Plain(str):
    """Unquoted text that YAML reads as a number or a truth value."""

    __slots__ = ()


def as_yaml(tree: object) -> Any:
    """Return a part of the tree as YAML reads it, numbers and truth values included."""
    match tree:
        case Plain():
            try:
                return yaml.safe_load(tree)
            except ValueError:  # such as 0b_, which YAML 1.1 takes for a number until it reads it
                return str(tree)
        case list():
            return [as_yaml(one) for one in tree]
        case dict():
            return {key: as_yaml(one) for key, one in tree.items()}
    return tree


def checked_cron(text: str) -> str:
    """Return a cron expression of five fields (crontab(5), UTC) with single blanks; an error names only the field."""
    fields = text.lower().split()
    if len(fields) != 5:  # noqa: PLR2004
        raise ValueError("is not a cron expression of five fields")
    try:
        firing = next(CronSim(" ".join(fields), _A_YEAR), None)
    except CronSimError as error:
        raise ValueError(f"is not a cron expression ({str(error).lower()})") from None
    if firing is None:
        raise ValueError("never fires")
    return " ".join(fields)


def _fits(pattern: str, wrong: str, given: str | SecretStr) -> str | SecretStr:
    if not re.fullmatch(pattern, given if isinstance(given, str) else given.get_secret_value(), re.DOTALL):
        raise ValueError(wrong)
    return given


def address(given: str | SecretStr) -> str | SecretStr:
    """Return an address without blanks around it; a service's, unlike a secret one, has only a host and a path."""
    text = given.strip() if isinstance(given, str) else given.get_secret_value()
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        usable = parts.scheme in {"https", "http"} and host.encode("idna") and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(_UNBROKEN, text) or "//*" in text:
        raise ValueError("is not an address")
    if isinstance(given, SecretStr):
        return given
    try:  # whatever the resolver thinks of it
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if parts.scheme == "http" and not loopback:
        raise ValueError("is http on a host that is not this machine")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("has more than a host and a path")
    return text


def _path(raw: object, info: ValidationInfo) -> Path:
    if not isinstance(raw, str | Path) or not str(raw).strip() or "\0" in str(raw):
        raise ValueError("is not a path")
    try:
        return Path((info.context or {}).get("base", ""), Path(raw).expanduser())
    except RuntimeError:
        raise ValueError("names a home directory that does not exist") from None


def _each_once(given: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(given)) < len(given):
        raise ValueError("contains a duplicate")
    return given


def _one_value(raw: object) -> object:
    match raw:
        case list() | dict():
            raise ValueError("is more than one value")
    return raw


def _words(raw: object) -> object:
    try:
        return shlex.split(raw) if isinstance(raw, str) else raw
    except ValueError:
        raise ValueError("has a quote that is not closed") from None


def _condition(raw: object) -> Condition:
    given = as_yaml(raw)
    if not isinstance(given, dict) or not given:
        raise ValueError("is not a condition")
    for name, wanted in given.items():
        match wanted:
            case {"not_after": other, **more} if not more:
                names = [name, other]
            case dict():
                raise ValueError("has a map that is not {not_after: ATTRIBUTE}")
            case []:
                raise ValueError("has an empty list, which nothing can match")
            case list() if any(isinstance(one, list | dict) for one in wanted):
                raise ValueError("has a value that is neither text, a number, a truth value nor null")
            case _:
                names = [name]
        if not all(isinstance(one, str) and re.fullmatch(_ATTRIBUTE, one) for one in names):
            raise ValueError("names something that cannot be an attribute")
    return given


def says(allowed: str, **schema: Any) -> WithJsonSchema:
    """Describe a value to editors and in complaints, where pydantic cannot tell by itself."""
    return WithJsonSchema({"type": "string", **schema, "errorMessage": allowed})


_SCALAR: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}
_NOT_AFTER: dict[str, Any] = {
    "type": "object",
    "properties": {"not_after": {"type": "string"}},
    "required": ["not_after"],
    "additionalProperties": False,
}
_CLAUSE = {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}, _NOT_AFTER]}
_WORDS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
_PLACES = "action|sequence|step|task_type|id|prospect"
_TEMPLATE = r"([^{{}}]|\{{\{{|\}}\}}|\{{({})\}})*"
_STRAY = "has a place that is not known, or a brace that stands alone"
_ANY = "text with any of {action} {sequence} {step} {task_type} {id} {prospect}"
_BRACES = "; {{ and }} for braces"
_UNBROKEN = r"[^\s\x00-\x1f\x7f\u200b-\u200d\u2060\ufeff\ud800-\udfff]*"
_TORN = "has a blank, a line break or an invisible character inside"  # or it was glued
_WHOLE = AfterValidator(partial(_fits, _UNBROKEN, _TORN))
SPANS = "a duration such as 30s, 10m, 24h or 90d"
# A value or null; text that is empty (a variable set to nothing) counts as null.
Maybe = Annotated[T | None, BeforeValidator(lambda raw: None if raw == "" else raw)]
# A section or map whose keys are all commented out is empty.
Filled = Annotated[T, BeforeValidator(lambda raw: {} if raw is None else raw)]
Text = Annotated[str, AfterValidator(partial(_fits, r".*\S.*", "is empty"))]
Credential = Annotated[str, _WHOLE]
Secret = Annotated[SecretStr, _WHOLE, says("text, best as ${NAME}, or by the key with `_file` added", writeOnly=True)]
SecretAddress = Annotated[
    SecretStr, AfterValidator(address), says("an address that begins with https:// or http://", writeOnly=True)
]
Address = Annotated[
    str, AfterValidator(address), says("an https:// address without a query (http:// only on a loopback address)")
]
_BELOW = r"(?!.*/(api/v2|oauth/token|\w+\.api|[\w-]+\.(outreach\.io|workbooks\.com)/(api|oauth|crm))/*$).*"
_OURS = AfterValidator(partial(_fits, _BELOW, "ends with a path that the program adds by itself"))
BaseAddress = Annotated[Address, _OURS, AfterValidator(lambda one: one.rstrip("/"))]
FilePath = Annotated[Path, BeforeValidator(_path), says("a path; a relative one starts at the config's directory")]
Milliseconds = Annotated[int, BeforeValidator(lambda raw: parse_duration(str(raw)))]
Span = Annotated[Milliseconds, Field(ge=0, le=LONGEST_MS), says(SPANS)]
LongerThanNothing = Annotated[Milliseconds, Field(ge=1, le=LONGEST_MS), says(f"{SPANS}, longer than 0")]
AtMostADay = Annotated[Milliseconds, Field(ge=1, le=_DAY_MS), says(f"{SPANS}, longer than 0 and at most 24h")]
_VALUE = "text, a number, true, false, or null for an empty field"
Value = Annotated[Scalar, BeforeValidator(_one_value), WithJsonSchema({**_SCALAR, "errorMessage": _VALUE})]
FieldName = Annotated[str, Field(pattern=_FIELD, json_schema_extra={"errorMessage": NAMES[_FIELD]})]
AttributeName = Annotated[str, Field(pattern=_ATTRIBUTE, json_schema_extra={"errorMessage": NAMES[_ATTRIBUTE]})]
OutreachWord = Annotated[str, Field(pattern=_WORD, json_schema_extra={"errorMessage": NAMES[_WORD]})]
EachOnce = AfterValidator(_each_once)
AtLeastOne = Field(min_length=1)
_PLAIN, _WITH_NOTE = (
    AfterValidator(partial(_fits, _TEMPLATE.format(_PLACES + more), _STRAY)) for more in ("", "|note")
)
Template = Annotated[Text, _PLAIN, says(f"{_ANY}{_BRACES}")]
NoteTemplate = Annotated[Text, _WITH_NOTE, says(f"{_ANY} {{note}}{_BRACES}")]
Cron = Annotated[str, AfterValidator(checked_cron), says('five fields as in a cron table, such as "0 3 * * sun"')]
_COMMAND = "a command as a list of words, or as one line; it is started without a shell"
Command = Annotated[
    tuple[Text, ...], AtLeastOne, BeforeValidator(_words), WithJsonSchema({**_WORDS, "errorMessage": _COMMAND})
]
Start = Annotated[  # How far back to read; None: all there is.
    Back | Instant | None,
    PlainValidator(lambda raw: None if str(raw).strip().lower() == "all" else parse_since(str(raw))),
    says("a duration such as 90d, a date such as 2026-01-31, or all"),
]
SkipRule = Annotated[
    Condition,
    GetPydanticSchema(lambda _source, handler: handler(Annotated[Any, PlainValidator(_condition)])),
    says(
        "a map of attribute to a value, null, a list of values, or {not_after: ATTRIBUTE}",
        type="object",
        minProperties=1,
        propertyNames={"pattern": _ATTRIBUTE},
        additionalProperties=_CLAUSE,
    ),
]
# The keys
DEFAULT_LABELS = {  # Sequence state to label; `not_active` is for a prospect without any.
    "active": "Active – Running",  # noqa: RUF001 - the en dash is what Workbooks' own page uses
    "paused": "Active – Paused",  # noqa: RUF001
    "opted_out": "Opted Out",
    "finished": "Finished",
    "pending": "Pending",
    "disabled": "Disabled",
    "failed": "Failed",
    "bounced": "Bounced",
    "not_active": "Not Active",
}
_DEFAULT_TYPES = {"call": "Phone call", "email": "Email", "default": "To-do"}


def key(default: Any, description: str | None = None, **more: Any) -> Any:
    """Describe a key: its default as in the file, what it means (a section says so itself), and what `Field` takes."""
    return Field(default=default, description=description, **more)


class Section(BaseModel):
    """A frozen model that refuses keys it does not know and never shows what it was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


class S2S(Section):
    """Server-to-server access to Outreach (pip extra `s2s`), instead of the OAuth client."""

    install_id: Maybe[Credential] = key(None, "The id of the installation that an org admin of Outreach made.")
    app_guid: Maybe[Credential] = key(None, "The app's S2S GUID, the issuer of its tokens.")
    private_key: Maybe[SecretStr] = key(None, "The RSA private key (PEM) that signs tokens; best as private_key_file.")


class Outreach(Section):
    """Where and how Outreach is read. Either the OAuth client (four keys) or `s2s`."""

    base_url: BaseAddress = key(
        "https://api.outreach.io",
        "Outreach's address; /api/v2 and /oauth/token are below it. https, except on a loopback address.",
        examples=["${OUTREACH_BASE_URL:-https://api.outreach.io}"],
    )
    client_id: Maybe[Credential] = key(
        None, "The OAuth application's id. Required without s2s.", examples=["${OUTREACH_CLIENT_ID}"]
    )
    client_secret: Maybe[Secret] = key(
        None, "The OAuth application's secret. Required without s2s.", examples=["${OUTREACH_CLIENT_SECRET}"]
    )
    redirect_uri: Address = key(
        "https://localhost:8484/callback",
        "The redirect URI registered for the application; `auth login` takes the code from it.",
    )
    refresh_token: Maybe[Secret] = key(
        None,
        "The first refresh token only; the ones that follow are kept with the state.",
        examples=["${OUTREACH_REFRESH_TOKEN:-}"],
    )
    s2s: S2S | None = key(None, "Server-to-server access, instead of the four keys above.")
    page_size: int = key(1000, "Records in one page.", ge=1, le=1000)
    timeout_ms: AtMostADay = key("60s", "How long one request may take.", alias="timeout")
    reserve: int = key(1000, "Requests of the hourly quota to leave for everyone else.", ge=0)


class Fields(Section):
    """Which fields of a Workbooks Person are written. Only these ever are, and only where they differ; null: none."""

    sequence_state: FieldName = key(
        "cf_person_sequence_state", "Picklist or text: the label of the state that is shown."
    )
    state_updated_at: FieldName = key("cf_person_state_updated_at", "Date or date-time: since when.")
    no_email: FieldName = key("no_email_soliciting", "Boolean: set to true by an opt-out, never cleared.")
    outreach_id: Maybe[FieldName] = key(None, "Text or integer: the prospect's id, also used to find the Person.")
    sequences: Maybe[FieldName] = key(None, "Text: one line for each sequence the person is in, newest first.")


class Workbooks(Section):
    """Where and how Workbooks is written."""

    base_url: BaseAddress = key(
        "https://secure.workbooks.com",
        "Workbooks' address; some customers have a host of their own.",
        examples=["${WORKBOOKS_BASE_URL:-https://secure.workbooks.com}"],
    )
    api_key: Maybe[Secret] = key(
        None, "The API key; it acts with the permissions of its user. Required.", examples=["${WORKBOOKS_API_KEY}"]
    )
    application_name: str = key(
        "outreach-sync",
        "How Workbooks names the creator of new records.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}$",
        json_schema_extra={"errorMessage": "letters, digits, blanks, '.', '_' and '-', at most 100"},
    )
    batch_size: int = key(100, "Objects in one write.", ge=1, le=100)
    concurrency: int = key(2, "Requests at the same time.", ge=1, le=5)
    timeout_ms: AtMostADay = key("120s", "How long one request may take.", alias="timeout")
    fields: Filled[Fields] = key({})


class Guard(Section):
    """What stops a cycle before its first write, until `run --allow-bulk`. Opt-outs are written all the same."""

    share: float = key(0.5, "Updates: more than this share of all linked people, and more than count.", ge=0, le=1)
    count: int = key(500, "Updates: more people than this, and more than share.", ge=0)
    lost_share: float = key(
        0.1, "Losses (people who would become Not Active, records not to be seen): likewise the share.", ge=0, le=1
    )
    lost_count: int = key(10, "Losses: likewise the number.", ge=0)
    create: int = key(500, "Creations: more people than this, the first load included.", ge=0)


class People(Section):
    """How a prospect's Person is found or made."""

    when_missing: Literal["create", "skip"] = key("create", "What to do when no Person is found.")
    match: Annotated[
        tuple[Literal["link", "outreach_id", "reference", "external_id", "email"], ...], AtLeastOne, EachOnce
    ] = key(
        ["link", "outreach_id", "reference", "external_id", "email"],
        "The rules that find the Person, in order; the first that finds exactly one wins.",
    )
    create_fields: Filled[Mapping[FieldName, AttributeName]] = key(
        {},
        "More fields to fill when a Person is created, Workbooks field to prospect attribute, such as "
        '{person_job_title: title, "main_location[town]": addressCity}.',
    )
    only_where: Annotated[Filled[Mapping[FieldName, Value]], BeforeValidator(as_yaml)] = key(
        {},
        "Only people who have these values in Workbooks are touched, and nobody is created: for a pilot, "
        "such as {cf_person_pilot: true}.",
    )


class Tasks(Section):
    """What becomes of a skipped sequence task."""

    status: Text = key("Cancelled", "The status of the Workbooks Task.")
    name: Template = key("Skipped: {action}, {sequence}", "The name of the Workbooks Task.")
    description: NoteTemplate = key(
        "Skipped in Outreach: {task_type}, sequence {sequence}, task {id}. {note}",
        "The description of the Workbooks Task; the note is the task's own.",
    )
    type: Annotated[Filled[Mapping[AttributeName, Text]], AfterValidator(lambda given: {**_DEFAULT_TYPES, **given})] = (
        key(
            _DEFAULT_TYPES,
            "Outreach task type or action to the type of the Workbooks Task; the task type is looked up first.",
        )
    )
    skip_events: Annotated[tuple[OutreachWord, ...], EachOnce] = key(
        ["skip_task"], "Events that say that a task was skipped, whatever it looks like afterwards; [] for none."
    )
    skipped_when: tuple[SkipRule, ...] = key(
        [{"state": "skipped"}, {"state": "complete", "completed": False}, {"state": "complete", "completedAt": None}],
        "What counts as skipped as well: any of these conditions. A condition maps attributes (or to-one "
        "relationships) of a task to what they must be: a value; null for null or absent; a list for any of these; "
        "{not_after: OTHER} for a time that is set and not after the time in OTHER. "
        "`outreach-sync probe-skips` shows what your tasks look like.",
    )
    vanished_is_skipped: bool = key(
        False, "Also take an open task that is gone although its sequence state moved on to another step."
    )


class Sync(Section):
    """What is read, how it is judged, and how hard the sync tries."""

    streams: Annotated[tuple[Literal["sequence_states", "tasks", "prospects", "events"], ...], AtLeastOne, EachOnce] = (
        key(["sequence_states", "tasks", "prospects", "events"], "What is read from Outreach.")
    )
    start: Start = key("90d", "How far back the first run reads: a duration, a date such as 2026-01-31, or all.")
    overlap_ms: Span = key("10m", "How far each run reads back again.", alias="overlap")
    late_sweep_ms: LongerThanNothing = key(
        "24h", "How often, and how far, a run reads back for records that became visible late.", alias="late_sweep"
    )
    multiple_sequences: Literal["latest", "precedence"] = key(
        "latest",
        "Which state is shown of a person in several sequences: the one that changed last, or the first "
        "that is found in `precedence`. An opt-out beats everything in both.",
    )
    precedence: Annotated[tuple[OutreachWord, ...], AtLeastOne, EachOnce] = key(
        ["active", "paused", "pending", "bounced", "failed", "disabled", "finished"],
        "The order of states for `multiple_sequences: precedence`.",
    )
    labels: Annotated[
        Filled[Mapping[OutreachWord, Text]], AfterValidator(lambda given: {**DEFAULT_LABELS, **given})
    ] = key(
        DEFAULT_LABELS,
        "What is written for each sequence state; not_active is for people in no sequence at all. What is "
        "left out keeps its default. A state that Outreach invents is written from the next run on once it is here.",
    )
    max_attempts: int = key(
        10, "After so many refusals a record is parked; see `outreach-sync failures`.", ge=1, le=1000
    )
    patience_ms: Annotated[Milliseconds, Field(ge=0, le=_DAY_MS), says(f"{SPANS}, at most 24h")] = key(
        "2m", "How long one run waits in all for a service that is down or refuses.", alias="patience"
    )
    when_deleted: Literal["recreate", "leave"] = key(
        "recreate", "What to do about a record that was deleted in Workbooks."
    )
    guard: Filled[Guard] = key({})
    people: Filled[People] = key({})
    tasks: Filled[Tasks] = key({})


class Schedule(Section):
    """When `schedule` runs cycles. Times are UTC; days of the week count from Sunday, as in a cron table."""

    every_ms: Maybe[Annotated[Milliseconds, Field(ge=1000, le=LONGEST_MS), says(f"{SPANS}, 1s or more")]] = key(
        "10m", "The pause between the starts of two cycles; does not count when cron is set.", alias="every"
    )
    cron: Maybe[Cron] = key(None, 'When cycles start, instead of every, such as "*/15 6-20 * * mon-fri".')
    jitter_ms: Span = key("10s", "Each start is put off by up to so much.", alias="jitter")
    reconcile: Maybe[Cron] = key("0 3 * * sun", "When everything is compared; null: never by itself.")


def _default_state_path() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/outreach-sync/state.db")
    named = os.environ.get("XDG_STATE_HOME", "")  # a relative path does not count, says that specification
    return Path(named if Path(named).is_absolute() else "~/.local/state", "outreach-sync/state.db")


class State(Section):
    """The local database."""

    path: Annotated[FilePath, AfterValidator(resolved)] = Field(
        default_factory=_default_state_path,
        description="The SQLite database; made with mode 0600 in a directory that is created. "
        "For root the default is /var/lib/outreach-sync/state.db.",
        json_schema_extra={"default": "~/.local/state/outreach-sync/state.db"},
    )
    keep_runs_ms: LongerThanNothing = key(
        "90d", "How long the record of a run, and of what it wrote, is kept.", alias="keep_runs"
    )


class Logging(Section):
    """What is logged to stderr."""

    level: Literal["debug", "info", "warning", "error"] = key("info", "The least that is logged.")
    format: Literal["auto", "json", "console"] = key("auto", "auto is console on a terminal, json elsewhere.")


class Monitoring(Section):
    """Who is told how runs went. None of these can ever fail a run."""

    ping_url: Maybe[SecretAddress] = key(
        None, "An address that is called at the start and the end of each cycle, as healthchecks.io wants it."
    )
    metrics_file: Maybe[FilePath] = key(None, "A file for Prometheus' textfile collector.")
    on_failure: Maybe[Command] = key(
        None, 'A command that is started when a run needs somebody, such as [notify, "the sync needs you"].'
    )
    on_success: Maybe[Command] = key(None, "A command that is started when a run went well.")


class Config(Section):
    """The whole config."""

    outreach: Filled[Outreach] = key({})
    workbooks: Filled[Workbooks] = key({})
    sync: Filled[Sync] = key({})
    schedule: Filled[Schedule] = key({})
    state: Filled[State] = key({})
    logging: Filled[Logging] = key({})
    monitoring: Filled[Monitoring] = key({})


def revealed(value: SecretStr | str | None, name: str) -> str:
    """Take the text of a credential that is needed now; ConfigError: there is none."""
    if value is None:
        advice = "Set it in the config, or the environment variable that the config names."
        raise ConfigError(f"{name} is not set.", advice=advice)
    return value if isinstance(value, str) else value.get_secret_value()


def fingerprints(config: Config) -> dict[str, str]:
    """Mark what decides, by the name under which the store keeps it."""
    # `decision_fingerprint`: everybody's fields are decided anew (a moved host says the same); `field_fingerprint`:
    # People were read from other fields; `task_fingerprint`: other tasks count as skipped (not by the order alone).
    sync, fields, only_where = config.sync, config.workbooks.fields.model_dump(), dict(config.sync.people.only_where)
    pilot = {"only_where": only_where} if only_where else {}
    decided_by = {
        "labels": sync.labels,
        "multiple_sequences": sync.multiple_sequences,
        "precedence": list(sync.precedence) if sync.multiple_sequences == "precedence" else None,
        "fields": fields,
        **pilot,
    }
    conditions = sorted(json.dumps(one, sort_keys=True) for one in sync.tasks.skipped_when)
    content = {
        "decision_fingerprint": decided_by,
        "field_fingerprint": {**fields, **pilot},
        "task_fingerprint": {"skipped_when": conditions},
    }
    return {name: hashlib.sha256(json.dumps(one, sort_keys=True).encode()).hexdigest() for name, one in content.items()}


def _secret_keys(model: type[BaseModel], where: tuple[str, ...] = ()) -> Iterator[Where]:
    for name, field in model.model_fields.items():
        for form in (field.annotation, *get_args(field.annotation)):
            kind = getattr(form, "__origin__", form)  # what is annotated
            if kind is SecretStr:
                yield (*where, name)
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _secret_keys(kind, (*where, name))


# Values that are never shown, and that may come from a file: ``<key>_file: PATH``.
SECRETS = frozenset(_secret_keys(Config))
# Values that commands without a service to talk to can do without.
CREDENTIALS = SECRETS | {("outreach", "client_id"), ("outreach", "s2s", "install_id"), ("outreach", "s2s", "app_guid")}
