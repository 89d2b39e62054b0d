"""The config as values: what each key means, its default and its unit.

Durations are whole milliseconds (`…_ms`), secrets are `SecretStr`, and every model is frozen. Mistakes that concern several keys
at once are found in `consistency`, so that they are reported together with all others.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # pydantic reads annotations at run time
from pathlib import Path  # noqa: TC003
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from outreach_sync.config.conditions import DEFAULT_SKIPPED_WHEN, Condition, plain_condition
from outreach_sync.config.cron import DEFAULT_RECONCILE
from outreach_sync.config.forms import (
    Choice,
    ConditionForm,
    Cron,
    Duration,
    FilePath,
    Flag,
    Maybe,
    Secret,
    SecretUrl,
    ServiceUrl,
    Share,
    StartForm,
    Template,
    Text,
    Whole,
    attribute_name,
    field_name,
    state_name,
)
from outreach_sync.config.locate import default_state_path
from outreach_sync.config.start import Back, Start
from outreach_sync.errors import ConfigError
from outreach_sync.instants import parse_duration
from outreach_sync.records import Stream

DEFAULT_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "active": "Active – Running",  # noqa: RUF001  # the en dash is what Workbooks' own page uses
        "paused": "Active – Paused",  # noqa: RUF001
        "opted_out": "Opted Out",
        "finished": "Finished",
        "pending": "Pending",
        "disabled": "Disabled",
        "failed": "Failed",
        "bounced": "Bounced",
        "not_active": "Not Active",
    }
)
"""Sequence state to label; `not_active` is for a prospect without any."""

DEFAULT_TASK_TYPES: Mapping[str, str] = MappingProxyType({"call": "Phone call", "email": "Email", "default": "To-do"})
"""Outreach action or task type to Workbooks activity type."""

DEFAULT_PRECEDENCE = ("active", "paused", "pending", "bounced", "failed", "disabled", "finished")
MATCH_RULES = ("link", "outreach_id", "reference", "external_id", "email")
STREAMS = tuple(stream.value for stream in Stream)
NAME_PLACES = ("action", "sequence", "step", "task_type", "id", "prospect")
DESCRIPTION_PLACES = (*NAME_PLACES, "note")


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("names something twice; allowed: each once")
    if not values:
        raise ValueError("is an empty list; allowed: at least one")
    return values


def _nothing_as_empty(raw: object) -> object:
    """Take a section whose keys are all commented out for an empty one."""
    return {} if raw is None else raw


def _with_default_labels(given: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType({**DEFAULT_LABELS, **given})


def _with_default_types(given: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType({**DEFAULT_TASK_TYPES, **given})


def _frozen(given: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(given))


def _duration(text: str, description: str, alias: str | None = None) -> Any:
    return Field(
        default=parse_duration(text), alias=alias, description=description, json_schema_extra={"default": text}
    )


def _section(model: type[BaseModel], description: str) -> Any:
    return Field(default_factory=model, description=description)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)


_Orderly = Annotated[tuple[Annotated[str, state_name()], ...], AfterValidator(_unique)]


class S2S(_Section):
    """Server-to-server access to Outreach (pip extra `s2s`), instead of the OAuth client."""

    install_id: Annotated[str | None, Maybe(Text())] = Field(
        default=None, description="The id of the installation that an org admin of Outreach made."
    )
    app_guid: Annotated[str | None, Maybe(Text())] = Field(
        default=None, description="The app's S2S GUID, the issuer of its tokens."
    )
    private_key: Annotated[SecretStr | None, Maybe(Secret())] = Field(
        default=None, description="The RSA private key (PEM) that signs tokens; best as private_key_file."
    )


class Outreach(_Section):
    """Where and how Outreach is read. Either the OAuth client (four keys) or `s2s`."""

    base_url: Annotated[str, ServiceUrl()] = Field(
        default="https://api.outreach.io", description="Outreach's address; /api/v2 and /oauth/token are below it."
    )
    client_id: Annotated[str | None, Maybe(Text())] = Field(
        default=None, description="The OAuth application's id. Required without s2s."
    )
    client_secret: Annotated[SecretStr | None, Maybe(Secret())] = Field(
        default=None, description="The OAuth application's secret. Required without s2s."
    )
    redirect_uri: Annotated[str, ServiceUrl(keep_path_end=True)] = Field(
        default="https://localhost:8484/callback",
        description="The redirect URI registered for the application; `auth login` takes the code from it.",
    )
    refresh_token: Annotated[SecretStr | None, Maybe(Secret())] = Field(
        default=None, description="The first refresh token only; the ones that follow are kept with the state."
    )
    s2s: S2S | None = Field(default=None, description="Server-to-server access, instead of the four keys above.")
    page_size: Annotated[int, Whole(1, 1000)] = Field(default=1000, description="Records in one page.")
    timeout_ms: Annotated[int, Duration(1, "1ms")] = _duration("60s", "How long one request may take.", "timeout")
    reserve: Annotated[int, Whole(0)] = Field(
        default=1000, description="Requests of the hourly quota to leave for everyone else."
    )


class Fields(_Section):
    """Which fields of a Workbooks Person are written. Only these ever are; null means none."""

    sequence_state: Annotated[str, field_name()] = Field(
        default="cf_person_sequence_state", description="Picklist or text: the label of the state that is shown."
    )
    state_updated_at: Annotated[str, field_name()] = Field(
        default="cf_person_state_updated_at", description="Date or date-time: since when."
    )
    no_email: Annotated[str, field_name()] = Field(
        default="no_email_soliciting", description="Boolean: set to true by an opt-out, never cleared."
    )
    outreach_id: Annotated[str | None, Maybe(field_name())] = Field(
        default=None, description="Text or integer: the prospect's id, also used to find the Person."
    )
    sequences: Annotated[str | None, Maybe(field_name())] = Field(
        default=None, description="Text: one line for each sequence the person is in, newest first."
    )


class Workbooks(_Section):
    """Where and how Workbooks is written."""

    base_url: Annotated[str, ServiceUrl()] = Field(
        default="https://secure.workbooks.com", description="Workbooks' address; some customers have their own host."
    )
    api_key: Annotated[SecretStr | None, Maybe(Secret())] = Field(
        default=None, description="The API key; it acts with the permissions of its user. Required."
    )
    application_name: Annotated[
        str, Text("letters, digits, blanks, '.', '_' and '-', at most 100", r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")
    ] = Field(default="outreach-sync", description="How Workbooks names the creator of new records.")
    batch_size: Annotated[int, Whole(1, 100)] = Field(default=100, description="Objects in one write.")
    concurrency: Annotated[int, Whole(1, 5)] = Field(default=2, description="Requests at the same time.")
    timeout_ms: Annotated[int, Duration(1, "1ms")] = _duration("120s", "How long one request may take.", "timeout")
    fields: Annotated[Fields, BeforeValidator(_nothing_as_empty)] = _section(
        Fields, "The fields of a Person that are written."
    )


class Guard(_Section):
    """When a cycle stops before its first write: it would change more than both."""

    share: Annotated[float, Share()] = Field(default=0.5, description="Share of all linked people.")
    count: Annotated[int, Whole(0)] = Field(default=500, description="Number of people.")


class People(_Section):
    """How a prospect's Person is found or made."""

    when_missing: Annotated[str, Choice(("create", "skip"))] = Field(
        default="create", description="What to do when no Person is found."
    )
    match: Annotated[tuple[Annotated[str, Choice(MATCH_RULES)], ...], AfterValidator(_unique)] = Field(
        default=MATCH_RULES,
        description="The rules that find the Person, in order; the first that finds exactly one wins.",
    )
    create_fields: Annotated[
        Mapping[Annotated[str, field_name()], Annotated[str, attribute_name()]],
        BeforeValidator(_nothing_as_empty),
        AfterValidator(_frozen),
    ] = Field(
        default_factory=lambda: MappingProxyType({}),
        description="More fields of a Person to fill when it is created: Workbooks field to prospect attribute.",
        json_schema_extra={"default": {}},
    )


class Tasks(_Section):
    """What becomes of a skipped sequence task."""

    status: Annotated[str, Text()] = Field(default="Cancelled", description="The status of the Workbooks Task.")
    name: Annotated[str, Template(NAME_PLACES)] = Field(
        default="Skipped: {action}, {sequence}", description="The name of the Workbooks Task."
    )
    description: Annotated[str, Template(DESCRIPTION_PLACES)] = Field(
        default="Skipped in Outreach: {task_type}, sequence {sequence}, task {id}. {note}",
        description="The description of the Workbooks Task; the note is the task's own.",
    )
    type: Annotated[
        Mapping[Annotated[str, attribute_name()], Annotated[str, Text()]],
        BeforeValidator(_nothing_as_empty),
        AfterValidator(_with_default_types),
    ] = Field(
        default_factory=lambda: DEFAULT_TASK_TYPES,
        description="Outreach action or task type to the type of the Workbooks Task; the task type is looked up first.",
        json_schema_extra={"default": dict(DEFAULT_TASK_TYPES)},
    )
    skipped_when: tuple[Annotated[Condition, ConditionForm()], ...] = Field(
        default=DEFAULT_SKIPPED_WHEN,
        description="What counts as skipped: any of these conditions.",
        json_schema_extra={"default": [plain_condition(condition) for condition in DEFAULT_SKIPPED_WHEN]},
    )
    vanished_is_skipped: Annotated[bool, Flag()] = Field(
        default=False,
        description="Also take an open task that `reconcile` no longer finds although its sequence state moved on.",
    )


class Sync(_Section):
    """What is read, how it is judged, and how hard the sync tries."""

    streams: Annotated[tuple[Annotated[str, Choice(STREAMS)], ...], AfterValidator(_unique)] = Field(
        default=STREAMS, description="What is read from Outreach."
    )
    start: Annotated[Start, StartForm()] = Field(
        default=Back(parse_duration("90d")),
        description="How far back the first run reads.",
        json_schema_extra={"default": "90d"},
    )
    overlap_ms: Annotated[int, Duration()] = _duration("10m", "How far each run reads back again.", "overlap")
    late_sweep_ms: Annotated[int, Duration(1, "1ms")] = _duration(
        "24h", "How often, and how far, a run reads back for records that became visible late.", "late_sweep"
    )
    multiple_sequences: Annotated[str, Choice(("latest", "precedence"))] = Field(
        default="latest", description="Which state is shown of a person in several sequences."
    )
    precedence: _Orderly = Field(
        default=DEFAULT_PRECEDENCE, description="The order of states for `multiple_sequences: precedence`."
    )
    labels: Annotated[
        Mapping[Annotated[str, state_name()], Annotated[str, Text()]],
        BeforeValidator(_nothing_as_empty),
        AfterValidator(_with_default_labels),
    ] = Field(
        default_factory=lambda: DEFAULT_LABELS,
        description="What is written for each sequence state; what is not given keeps its default.",
        json_schema_extra={"default": dict(DEFAULT_LABELS)},
    )
    max_attempts: Annotated[int, Whole(1, 1000)] = Field(
        default=10, description="After so many refusals a record is parked."
    )
    patience_ms: Annotated[int, Duration()] = _duration(
        "2m", "How long one run waits in all for a service that is down or refuses.", "patience"
    )
    when_deleted: Annotated[str, Choice(("recreate", "leave"))] = Field(
        default="recreate", description="What to do about a record that was deleted in Workbooks."
    )
    guard: Annotated[Guard, BeforeValidator(_nothing_as_empty)] = _section(Guard, "When a mass change is stopped.")
    people: Annotated[People, BeforeValidator(_nothing_as_empty)] = _section(People, "How people are found or made.")
    tasks: Annotated[Tasks, BeforeValidator(_nothing_as_empty)] = _section(Tasks, "What becomes of skipped tasks.")


class Schedule(_Section):
    """When `schedule` runs cycles. Times are UTC."""

    every_ms: Annotated[int | None, Maybe(Duration(1000, "1s"))] = _duration(
        "10m", "The pause between the starts of two cycles; does not count when cron is set.", "every"
    )
    cron: Annotated[str | None, Maybe(Cron())] = Field(default=None, description="When cycles start, instead of every.")
    jitter_ms: Annotated[int, Duration()] = _duration("10s", "Each start is put off by up to so much.", "jitter")
    reconcile: Annotated[str | None, Maybe(Cron())] = Field(
        default=DEFAULT_RECONCILE, description="When everything is compared; null: never by itself."
    )


class State(_Section):
    """The local database."""

    path: Annotated[Path, FilePath()] = Field(
        default_factory=default_state_path,
        description="The SQLite database; made with mode 0600 in a directory that is created.",
        json_schema_extra={"default": "~/.local/state/outreach-sync/state.db"},
    )
    keep_runs_ms: Annotated[int, Duration(1, "1ms")] = _duration(
        "90d", "How long the record of a run is kept.", "keep_runs"
    )


class Logging(_Section):
    """What is logged to stderr."""

    level: Annotated[str, Choice(("debug", "info", "warning", "error"))] = Field(
        default="info", description="The least that is logged."
    )
    format: Annotated[str, Choice(("auto", "json", "console"))] = Field(
        default="auto", description="auto is console on a terminal, json elsewhere."
    )


class Monitoring(_Section):
    """Who is told how runs went. Neither can ever fail a run."""

    ping_url: Annotated[SecretStr | None, Maybe(SecretUrl())] = Field(
        default=None, description="An address that is called at the start and the end of each cycle."
    )
    metrics_file: Annotated[Path | None, Maybe(FilePath())] = Field(
        default=None, description="A file for Prometheus' textfile collector."
    )


class Config(_Section):
    """The whole config."""

    outreach: Annotated[Outreach, BeforeValidator(_nothing_as_empty)] = _section(Outreach, "The source.")
    workbooks: Annotated[Workbooks, BeforeValidator(_nothing_as_empty)] = _section(Workbooks, "The target.")
    sync: Annotated[Sync, BeforeValidator(_nothing_as_empty)] = _section(Sync, "What is synced, and how.")
    schedule: Annotated[Schedule, BeforeValidator(_nothing_as_empty)] = _section(Schedule, "When cycles run.")
    state: Annotated[State, BeforeValidator(_nothing_as_empty)] = _section(State, "Where the state is kept.")
    logging: Annotated[Logging, BeforeValidator(_nothing_as_empty)] = _section(Logging, "What is logged.")
    monitoring: Annotated[Monitoring, BeforeValidator(_nothing_as_empty)] = _section(Monitoring, "Who is told.")


def revealed(value: SecretStr | str | None, name: str) -> str:
    """Take the text of a credential that is needed now.

    Args:
        value: the credential; None where the config was loaded without its secrets.
        name: its key, for the complaint.

    Raises:
        ConfigError: there is none.
    """
    if value is None:
        raise ConfigError(
            f"{name} is not set.", advice="Set it in the config; `outreach-sync check` shows what is missing."
        )
    return value.get_secret_value() if isinstance(value, SecretStr) else value
