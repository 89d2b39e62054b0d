"""The few settings that local commands need."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.config.loading import load_config
from outreach_sync.records import Stream

if TYPE_CHECKING:
    from pathlib import Path

    from outreach_sync.config.models import Config

READ = frozenset(stream.value for stream in Stream if stream is not Stream.EVENTS)
"""The streams that a cycle reads."""


class QuickSettings(NamedTuple):
    """What the local commands need: names and units as in `Config`; `every_ms` is None where `cron` is set."""

    state_path: Path
    keep_runs_ms: int
    streams: tuple[str, ...]
    late_sweep_ms: int
    every_ms: int | None
    cron: str | None
    reconcile: str | None
    log_level: str
    log_format: str


def quick_settings(path: Path) -> QuickSettings:
    """Read them from a config; credentials need not be there.

    Raises:
        ConfigError: the config has mistakes.
    """
    return settings_of(load_config(path, require_secrets=False))


def settings_of(config: Config) -> QuickSettings:
    """Take the same settings from a config that was loaded."""
    return QuickSettings(
        state_path=config.state.path,
        keep_runs_ms=config.state.keep_runs_ms,
        streams=tuple(stream for stream in config.sync.streams if stream in READ),
        late_sweep_ms=config.sync.late_sweep_ms,
        every_ms=config.schedule.every_ms,
        cron=config.schedule.cron,
        reconcile=config.schedule.reconcile,
        log_level=config.logging.level,
        log_format=config.logging.format,
    )
