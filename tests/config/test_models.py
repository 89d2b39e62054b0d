from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from outreach_sync.config import load_config, revealed
from outreach_sync.config.models import Config
from outreach_sync.config.start import Back
from outreach_sync.errors import ConfigError
from outreach_sync.rules.conditions import DEFAULT_SKIPPED_WHEN

Write = Callable[..., Path]
MINUTE, DAY = 60_000, 86_400_000


def test_the_defaults_are_the_documented_ones(minimal: Write) -> None:
    config = load_config(minimal())
    outreach, workbooks, sync, schedule = config.outreach, config.workbooks, config.sync, config.schedule
    assert (outreach.base_url, outreach.redirect_uri) == ("https://api.outreach.io", "https://localhost:8484/callback")
    assert (outreach.page_size, outreach.timeout_ms, outreach.reserve) == (1000, MINUTE, 1000)
    assert (workbooks.base_url, workbooks.application_name) == ("https://secure.workbooks.com", "outreach-sync")
    assert (workbooks.batch_size, workbooks.concurrency, workbooks.timeout_ms) == (100, 2, 2 * MINUTE)
    assert tuple(workbooks.fields.model_dump().values()) == (
        "cf_person_sequence_state", "cf_person_state_updated_at", "no_email_soliciting", None, None,
    )  # fmt: skip
    assert (sync.start, sync.overlap_ms, sync.late_sweep_ms) == (Back(90 * DAY), 10 * MINUTE, DAY)
    assert (sync.max_attempts, sync.patience_ms, sync.when_deleted) == (10, 2 * MINUTE, "recreate")
    assert (sync.guard.share, sync.guard.count) == (0.5, 500)
    assert (schedule.every_ms, schedule.cron, schedule.jitter_ms) == (10 * MINUTE, None, 10_000)
    assert (schedule.reconcile, config.state.keep_runs_ms) == ("0 3 * * sun", 90 * DAY)
    assert (config.logging.level, config.logging.format) == ("info", "auto")
    assert (config.monitoring.ping_url, config.monitoring.metrics_file) == (None, None)


def test_the_defaults_of_the_rules_are_the_documented_ones(minimal: Write) -> None:
    sync = load_config(minimal()).sync
    assert sync.streams == ("sequence_states", "tasks", "prospects", "events")
    assert sync.multiple_sequences == "latest"
    assert sync.precedence == ("active", "paused", "pending", "bounced", "failed", "disabled", "finished")
    assert sync.labels["active"] == "Active \u2013 Running"
    assert sync.labels["paused"] == "Active \u2013 Paused"
    assert sync.labels["not_active"] == "Not Active"
    assert len(sync.labels) == 9
    assert sync.people.match == ("link", "outreach_id", "reference", "external_id", "email")
    assert (sync.people.when_missing, dict(sync.people.create_fields)) == ("create", {})
    assert (sync.tasks.status, sync.tasks.vanished_is_skipped) == ("Cancelled", False)
    assert sync.tasks.type == {"call": "Phone call", "email": "Email", "default": "To-do"}
    assert sync.tasks.skipped_when == DEFAULT_SKIPPED_WHEN


def test_maps_are_added_to_their_defaults(minimal: Write) -> None:
    sync = load_config(minimal("sync: {labels: {active: Running, snoozed: Zzz}, tasks: {type: {call: Ring}}}\n")).sync
    assert (sync.labels["active"], sync.labels["snoozed"], sync.labels["bounced"]) == ("Running", "Zzz", "Bounced")
    assert sync.tasks.type == {"call": "Ring", "email": "Email", "default": "To-do"}


def test_nothing_in_a_config_can_be_changed(minimal: Write) -> None:
    config = load_config(minimal())
    with pytest.raises(ValidationError):
        config.sync.max_attempts = 1
    with pytest.raises(TypeError):
        config.sync.labels["active"] = "x"  # type: ignore[index]


def test_one_config_cannot_change_the_defaults_of_the_next() -> None:
    assert Config().sync.labels == Config().sync.labels
    assert Config().workbooks.fields is not Config().workbooks.fields


def test_a_credential_is_revealed_or_asked_for_by_its_name() -> None:
    assert revealed(SecretStr("planted"), "workbooks.api_key") == "planted"
    with pytest.raises(ConfigError, match=r"workbooks\.api_key is not set"):
        revealed(None, "workbooks.api_key")


def test_the_keys_of_events_guard_and_pilots_are_read(minimal: Callable[..., Path]) -> None:
    sync = load_config(
        minimal(
            "sync:\n  guard: {lost_share: 0.2, lost_count: 3, create: 0}\n  tasks: {skip_events: []}\n"
            "  people: {only_where: {cf_pilot: true, 'main_location[town]': Bath, level: 3, left: null}}\n"
            'monitoring: {on_failure: [notify, "the sync"], on_success: \'touch "a file"\'}\n'
        )
    )
    assert (sync.sync.guard.lost_share, sync.sync.guard.lost_count, sync.sync.guard.create) == (0.2, 3, 0)
    assert sync.sync.tasks.skip_events == ()
    assert dict(sync.sync.people.only_where) == {
        "cf_pilot": True,
        "main_location[town]": "Bath",
        "level": 3,
        "left": None,
    }
    assert sync.monitoring.on_failure == ("notify", "the sync")
    assert sync.monitoring.on_success == ("touch", "a file")


def test_events_are_a_stream_and_their_names_are_checked(minimal: Callable[..., Path]) -> None:
    assert load_config(minimal()).sync.streams == ("sequence_states", "tasks", "prospects", "events")
    assert load_config(minimal()).sync.tasks.skip_events == ("skip_task",)
    with pytest.raises(ConfigError, match="name of an event"):
        load_config(minimal("sync: {tasks: {skip_events: ['skip task']}}"))
    with pytest.raises(ConfigError, match="quote that is not closed"):
        load_config(minimal("monitoring: {on_failure: 'say \"oh'}"))
