"""The config as values: what each key means, its default and its unit.

Durations are whole milliseconds (`…_ms`), secrets are `SecretStr`, and every model is frozen. Mistakes that concern
several keys at once are found in `consistency`, so that they are reported together with all others.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # pydantic reads annotations at run time
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr

from outreach_sync.config.address_forms import FilePath, SecretUrl
from outreach_sync.config.cron import DEFAULT_RECONCILE
from outreach_sync.config.forms import Choice, Duration, Maybe
from outreach_sync.config.locate import default_state_path
from outreach_sync.config.section import Section, duration, nothing_as_empty, section
from outreach_sync.config.services import Outreach, Workbooks
from outreach_sync.config.sync_forms import CommandForm, Cron
from outreach_sync.config.syncing import Sync


class Schedule(Section):
    """When `schedule` runs cycles. Times are UTC."""

    every_ms: Annotated[int | None, Maybe(Duration(1000, "1s or more"))] = duration(
        "10m", "The pause between the starts of two cycles; does not count when cron is set.", "every"
    )
    cron: Annotated[str | None, Maybe(Cron())] = Field(default=None, description="When cycles start, instead of every.")
    jitter_ms: Annotated[int, Duration()] = duration("10s", "Each start is put off by up to so much.", "jitter")
    reconcile: Annotated[str | None, Maybe(Cron())] = Field(
        default=DEFAULT_RECONCILE, description="When everything is compared; null: never by itself."
    )


class State(Section):
    """The local database."""

    path: Annotated[Path, FilePath()] = Field(
        default_factory=default_state_path,
        description="The SQLite database; made with mode 0600 in a directory that is created. "
        "For root the default is /var/lib/outreach-sync/state.db.",
        json_schema_extra={"default": "~/.local/state/outreach-sync/state.db"},
    )
    keep_runs_ms: Annotated[int, Duration(1, "longer than 0")] = duration(
        "90d", "How long the record of a run is kept.", "keep_runs"
    )


class Logging(Section):
    """What is logged to stderr."""

    level: Annotated[str, Choice(("debug", "info", "warning", "error"))] = Field(
        default="info", description="The least that is logged."
    )
    format: Annotated[str, Choice(("auto", "json", "console"))] = Field(
        default="auto", description="auto is console on a terminal, json elsewhere."
    )


class Monitoring(Section):
    """Who is told how runs went. Neither can ever fail a run."""

    ping_url: Annotated[SecretStr | None, Maybe(SecretUrl())] = Field(
        default=None, description="An address that is called at the start and the end of each cycle."
    )
    metrics_file: Annotated[Path | None, Maybe(FilePath())] = Field(
        default=None, description="A file for Prometheus' textfile collector."
    )
    on_failure: Annotated[tuple[str, ...] | None, Maybe(CommandForm())] = Field(
        default=None, description="A command that is started when a run needs somebody."
    )
    on_success: Annotated[tuple[str, ...] | None, Maybe(CommandForm())] = Field(
        default=None, description="A command that is started when a run went well."
    )


class Config(Section):
    """The whole config."""

    outreach: Annotated[Outreach, BeforeValidator(nothing_as_empty)] = section(Outreach, "The source.")
    workbooks: Annotated[Workbooks, BeforeValidator(nothing_as_empty)] = section(Workbooks, "The target.")
    sync: Annotated[Sync, BeforeValidator(nothing_as_empty)] = section(Sync, "What is synced, and how.")
    schedule: Annotated[Schedule, BeforeValidator(nothing_as_empty)] = section(Schedule, "When cycles run.")
    state: Annotated[State, BeforeValidator(nothing_as_empty)] = section(State, "Where the state is kept.")
    logging: Annotated[Logging, BeforeValidator(nothing_as_empty)] = section(Logging, "What is logged.")
    monitoring: Annotated[Monitoring, BeforeValidator(nothing_as_empty)] = section(Monitoring, "Who is told.")
