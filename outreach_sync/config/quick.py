"""The few settings that `status` needs, read without the models, whose import takes longer than the command itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.config.cron import DEFAULT_RECONCILE, normal_cron
from outreach_sync.config.document import read_document
from outreach_sync.config.locate import default_state_path
from outreach_sync.instants import parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.config.models import Config

_SERVICE = ("base_url", "timeout")
_SECTIONS: Mapping[tuple[str, ...], frozenset[str]] = {
    (): frozenset({"outreach", "workbooks", "sync", "schedule", "state", "logging", "monitoring"}),
    ("outreach",): frozenset(
        {*_SERVICE, "client_id", "client_secret", "redirect_uri", "refresh_token", "s2s", "page_size", "reserve"}
    ),
    ("outreach", "s2s"): frozenset({"install_id", "app_guid", "private_key"}),
    ("workbooks",): frozenset({*_SERVICE, "api_key", "application_name", "batch_size", "concurrency", "fields"}),
    ("workbooks", "fields"): frozenset({"sequence_state", "state_updated_at", "no_email", "outreach_id", "sequences"}),
    ("sync",): frozenset({"streams", "start", "overlap", "late_sweep", "multiple_sequences", "precedence", "labels"})
    | {"max_attempts", "patience", "when_deleted", "guard", "people", "tasks"},
    ("sync", "guard"): frozenset({"share", "count"}),
    ("sync", "people"): frozenset({"when_missing", "match", "create_fields"}),
    ("sync", "tasks"): frozenset({"status", "name", "description", "type", "skipped_when", "vanished_is_skipped"}),
    ("schedule",): frozenset({"every", "cron", "jitter", "reconcile"}),
    ("state",): frozenset({"path", "keep_runs"}),
    ("logging",): frozenset({"level", "format"}),
    ("monitoring",): frozenset({"ping_url", "metrics_file"}),
}
_STREAMS = ("sequence_states", "tasks", "prospects")
_LEVELS = ("debug", "info", "warning", "error")
_FORMATS = ("auto", "json", "console")


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
    """Read them; anything out of the ordinary is left to `load_config`, which knows what to say about it.

    Credentials need not be there.

    Raises:
        ConfigError: the config has mistakes.
    """
    document = read_document(path, require_secrets=False)
    if not document.problems and _has_only_known_keys(document.tree, ()):
        try:
            return _plainly(document.tree, path.absolute().parent)
        except ValueError:
            pass  # the models will say it better
    from outreach_sync.config.loading import load_config  # noqa: PLC0415  # heavy

    return settings_of(load_config(path, require_secrets=False))


def settings_of(config: Config) -> QuickSettings:
    """Take the same settings from a config that was loaded."""
    return QuickSettings(
        state_path=config.state.path,
        keep_runs_ms=config.state.keep_runs_ms,
        streams=config.sync.streams,
        late_sweep_ms=config.sync.late_sweep_ms,
        every_ms=config.schedule.every_ms,
        cron=config.schedule.cron,
        reconcile=config.schedule.reconcile,
        log_level=config.logging.level,
        log_format=config.logging.format,
    )


def _has_only_known_keys(section: Mapping[str, object], where: tuple[str, ...]) -> bool:
    return all(key in _SECTIONS[where] and _is_known(value, (*where, key)) for key, value in section.items())


def _is_known(value: object, where: tuple[str, ...]) -> bool:
    if where not in _SECTIONS or value is None:
        return True
    return isinstance(value, dict) and _has_only_known_keys(value, where)


def _plainly(tree: Mapping[str, object], base: Path) -> QuickSettings:
    """Read the settings where they have their plain form.

    Raises:
        ValueError: something has not.
    """
    sync, schedule, state, logging = (_section(tree, name) for name in ("sync", "schedule", "state", "logging"))
    cron = _cron(schedule, "cron", None)
    named = _text(state, "path", "")
    return QuickSettings(
        state_path=base / Path(named).expanduser() if named else base / default_state_path(),
        keep_runs_ms=_span(state, "keep_runs", "90d"),
        streams=_streams(sync.get("streams", list(_STREAMS))),
        late_sweep_ms=_span(sync, "late_sweep", "24h"),
        every_ms=None if cron else _span(schedule, "every", "10m"),
        cron=cron,
        reconcile=_cron(schedule, "reconcile", DEFAULT_RECONCILE),
        log_level=_word(logging, "level", _LEVELS, "info"),
        log_format=_word(logging, "format", _FORMATS, "auto"),
    )


def _section(tree: Mapping[str, object], name: str) -> Mapping[str, object]:
    section = tree.get(name)
    return section if isinstance(section, dict) else {}


def _text(section: Mapping[str, object], key: str, default: str) -> str:
    value = section.get(key, default)
    if not isinstance(value, str) or (key in section and not value.strip()):
        raise ValueError(key)
    return value


def _span(section: Mapping[str, object], key: str, default: str) -> int:
    span = parse_duration(_text(section, key, default))
    if span < 1000:  # noqa: PLR2004  # a second; less is unusual for any of them, if it is allowed at all
        raise ValueError(key)
    return span


def _cron(section: Mapping[str, object], key: str, default: str | None) -> str | None:
    value = section.get(key, default)
    if value is None or value == "":
        return None
    return normal_cron(_text(section, key, default or ""))


def _word(section: Mapping[str, object], key: str, words: tuple[str, ...], default: str) -> str:
    word = _text(section, key, default)
    if word not in words:
        raise ValueError(key)
    return word


def _streams(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or len(set(map(str, value))) < len(value):
        raise ValueError("streams")
    if any(stream not in _STREAMS for stream in value):
        raise ValueError("streams")
    return tuple(value)
