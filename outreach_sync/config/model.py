"""The config: every key with what it may be, its default and its meaning.

A default is written as in the file and read like it. Durations are whole milliseconds once read (`…_ms`), secrets are
`SecretStr`, and every model is frozen. This is the one place where a key is typed: schema, reference, starter and
complaints are made from it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping  # noqa: TC003 - pydantic reads annotations at run time
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

from outreach_sync.config.values import (
    DAY_MS,
    NAMES,
    SPANS,
    Address,
    AtLeastOne,
    AtMostADay,
    AttributeName,
    BaseAddress,
    Command,
    Credential,
    Cron,
    EachOnce,
    FieldName,
    FilePath,
    Filled,
    LongerThanNothing,
    Maybe,
    Milliseconds,
    NoteTemplate,
    OutreachWord,
    Secret,
    SecretAddress,
    SkipRule,
    Span,
    Start,
    Template,
    Text,
    Value,
    Where,
    as_yaml,
    says,
)
from outreach_sync.errors import ConfigError
from outreach_sync.instants import LONGEST_MS

Schema = dict[str, Any]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

DEFAULT_LABELS = {
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
"""Sequence state to label; `not_active` is for a prospect without any."""

_DEFAULT_TYPES = {"call": "Phone call", "email": "Email", "default": "To-do"}


def key(default: Any, description: str | None = None, **more: Any) -> Any:
    """Describe a key: its default as it stands in the file, what it means, and what `Field` may say beside.

    A key without a description holds a section; left out, it has all its defaults.
    """
    return Field(default=default, description=description, **more)


class Section(BaseModel):
    """A frozen model that refuses keys it does not know and never shows what it was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _take_nothing_for_empty(cls, raw: object) -> object:
        """Take a section whose keys are all commented out for an empty one."""
        return {} if raw is None else raw


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
    fields: Fields = key({})


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
    create_fields: Annotated[Mapping[FieldName, AttributeName], Filled] = key(
        {},
        "More fields to fill when a Person is created, Workbooks field to prospect attribute, such as "
        '{person_job_title: title, "main_location[town]": addressCity}.',
    )
    only_where: Annotated[
        Mapping[FieldName, Value],
        Filled,
        BeforeValidator(as_yaml),
    ] = key(
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
    type: Annotated[
        Mapping[AttributeName, Text],
        Filled,
        AfterValidator(lambda given: {**_DEFAULT_TYPES, **given}),
    ] = key(
        _DEFAULT_TYPES,
        "Outreach task type or action to the type of the Workbooks Task; the task type is looked up first.",
    )
    skip_events: Annotated[tuple[OutreachWord, ...], EachOnce] = key(
        ["skip_task"], "Events that say that a task was skipped, whatever it looks like afterwards; [] for none."
    )
    skipped_when: tuple[SkipRule, ...] = key(
        [
            {"state": "skipped"},
            {"state": "complete", "completed": False},
            {"state": "complete", "completedAt": None},
        ],
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
        Mapping[OutreachWord, Text],
        Filled,
        AfterValidator(lambda given: {**DEFAULT_LABELS, **given}),
    ] = key(
        DEFAULT_LABELS,
        "What is written for each sequence state; not_active is for people in no sequence at all. What is "
        "left out keeps its default. A state that Outreach invents is written from the next run on once it is here.",
    )
    max_attempts: int = key(
        10, "After so many refusals a record is parked; see `outreach-sync failures`.", ge=1, le=1000
    )
    patience_ms: Annotated[Milliseconds, Field(ge=0, le=DAY_MS), says(f"{SPANS}, at most 24h")] = key(
        "2m", "How long one run waits in all for a service that is down or refuses.", alias="patience"
    )
    when_deleted: Literal["recreate", "leave"] = key(
        "recreate", "What to do about a record that was deleted in Workbooks."
    )
    guard: Guard = key({})
    people: People = key({})
    tasks: Tasks = key({})


class Schedule(Section):
    """When `schedule` runs cycles. Times are UTC; days of the week count from Sunday, as in a cron table."""

    every_ms: Maybe[Annotated[Milliseconds, Field(ge=1000, le=LONGEST_MS), says(f"{SPANS}, 1s or more")]] = key(
        "10m", "The pause between the starts of two cycles; does not count when cron is set.", alias="every"
    )
    cron: Maybe[Cron] = key(None, 'When cycles start, instead of every, such as "*/15 6-20 * * mon-fri".')
    jitter_ms: Span = key("10s", "Each start is put off by up to so much.", alias="jitter")
    reconcile: Maybe[Cron] = key("0 3 * * sun", "When everything is compared; null: never by itself.")


def _default_state_path() -> Path:
    """Say where the database is unless the config does: the system's directory for root, else the user's."""
    if os.geteuid() == 0:
        return Path("/var/lib/outreach-sync/state.db")
    named = os.environ.get("XDG_STATE_HOME", "")  # a relative path does not count, says that specification
    return Path(named if Path(named).is_absolute() else "~/.local/state", "outreach-sync/state.db")


class State(Section):
    """The local database."""

    path: FilePath = Field(
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

    outreach: Outreach = key({})
    workbooks: Workbooks = key({})
    sync: Sync = key({})
    schedule: Schedule = key({})
    state: State = key({})
    logging: Logging = key({})
    monitoring: Monitoring = key({})


def revealed(value: SecretStr | str | None, name: str) -> str:
    """Take the text of a credential that is needed now; None: the config was loaded without its secrets.

    Raises:
        ConfigError: there is none; the message names its key.
    """
    if value is None:
        raise ConfigError(
            f"{name} is not set.", advice="Set it in the config, or the environment variable that the config names."
        )
    return value if isinstance(value, str) else value.get_secret_value()


def fingerprints(config: Config) -> dict[str, str]:
    """Mark what decides, by the name under which the store keeps it.

    Where `decision_fingerprint` changes, the fields of everybody are decided anew (a moved host says the same); where
    `field_fingerprint` does, what is known of People was read from other fields; where `task_fingerprint` does, other
    tasks count as skipped (the order of the conditions does not count).
    """
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


SECRETS = frozenset(_secret_keys(Config))
"""Values that are never shown, and that may come from a file: ``<key>_file: PATH``."""

CREDENTIALS = SECRETS | {("outreach", "client_id"), ("outreach", "s2s", "install_id"), ("outreach", "s2s", "app_guid")}
"""Values that commands without a service to talk to can do without."""


@cache
def json_schema() -> Schema:
    """Make the schema (draft 2020-12) from the model, with the `_file` variant of every secret."""
    schema = Config.model_json_schema(by_alias=True)
    for section in (schema, *schema["$defs"].values()):
        keys = section["properties"]
        for key in sorted({str(way[-1]) for way in SECRETS} & keys.keys()):
            keys[f"{key}_file"] = {"type": "string", "description": f"A file that holds {key}, which is then left out."}
        for key, described in keys.items():
            described["title"] = key
            if "patternProperties" in described:
                described["additionalProperties"] = False
            if "$ref" in described:  # all keys of a section may be commented out
                described["anyOf"] = [{"$ref": described.pop("$ref")}, {"type": "null"}]
    return {"$schema": _DIALECT, **schema, "title": "outreach-sync", "description": "The config of outreach-sync."}


def described(where: Where) -> Schema:
    """Return the schema of a value; {} where anything goes."""
    here = json_schema()
    for step in where:
        inside = inner(here)
        named = inside.get("properties", {}).get(step) or next(iter(inside.get("patternProperties", {}).values()), None)
        found = named or inside.get("items" if isinstance(step, int) else "additionalProperties")
        here = found if isinstance(found, dict) else {}
    return here


def inner(schema: Schema) -> Schema:
    """Look through what may be null, and follow a reference."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        return inner(kinds[0])
    return json_schema()["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def keys_at(where: Where) -> list[str]:
    """List the keys of a section in their order; none where keys are free, or nothing can stand."""
    return list(inner(described(where)).get("properties", ()))


def allowed(schema: Schema) -> str:
    """Say in a few words what is allowed as a value."""
    match schema:
        case {"errorMessage": str(words)}:
            pass
        case {"anyOf": [*forms]}:
            words = ", or ".join(map(allowed, forms))
        case {"$ref": _} | {"properties": _}:
            words = ", ".join(inner(schema)["properties"])
        case {"enum": [*choices]}:
            words = ", ".join(map(str, choices))
        case {"type": "integer" | "number" as number}:
            least, most = schema.get("minimum"), schema.get("maximum")
            words = "a whole number" if number == "integer" else "a number"
            words += f", {least} or more" if most is None else f" from {least} to {most}"
        case {"type": "array", "items": items}:
            words = f"a list; each: {allowed(items)}"
        case {"patternProperties": _}:
            ((pattern, value),) = schema["patternProperties"].items()
            words = f"a map; each key: {NAMES[pattern]}; each value: {allowed(value)}"
        case {"type": str(kind)}:
            words = {"boolean": "true or false", "null": "null"}.get(kind, "text")
        case _:
            words = "text, a number, true, false or null"
    return words
