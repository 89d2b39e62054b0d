from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from outreach_sync.config import load_config, quick_settings, starter_config
from outreach_sync.config.quick import settings_of
from outreach_sync.errors import ConfigError

Write = Callable[..., Path]

ALIKE = [
    "",
    "schedule: {every: 1h, reconcile: null}\nstate: {path: here.db, keep_runs: 7d}\n",
    "schedule: {cron: '*/5 * * * 1-5'}\nlogging: {level: debug, format: json}\n",
    "sync: {streams: [tasks], late_sweep: 6h}\nstate: {path: ~/x.db}\n",
    "schedule: {every: '${PAUSE:-7m}'}\nsync:\nlogging:\n",
    "state: {keep_runs: 5ms}\n",
]


@pytest.mark.parametrize("more", ALIKE)
def test_the_quick_way_says_what_the_models_say(minimal: Write, more: str) -> None:
    path = minimal(more)
    assert quick_settings(path) == settings_of(load_config(path))


def test_the_quick_way_says_what_the_models_say_of_the_starter(write: Write) -> None:
    path = write(starter_config())
    assert quick_settings(path) == settings_of(load_config(path, require_secrets=False))


@pytest.mark.parametrize(
    "more",
    [
        "sync: {overlpa: 1m}",
        "stat: {}",
        "logging: {level: loud}",
        "schedule: {every: soon}",
        "schedule: {cron: x}",
        "state: {path: ''}",
        "sync: {streams: [task]}",
        "sync: {streams: [tasks, tasks]}",
        "sync: 5",
        "state: {path: []}",
        "state: {}\nstate: {}",
        "workbooks: {fields: {x: y}}",
    ],
)
def test_the_quick_way_lets_no_mistake_pass_that_concerns_it(minimal: Write, more: str) -> None:
    path = minimal(more)
    with pytest.raises(ConfigError):
        quick_settings(path)
