from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from outreach_sync.config import decision_fingerprint, load_config, task_rule_fingerprint

Write = Callable[..., Path]


@pytest.mark.parametrize(
    "more",
    [
        "  fields: {sequences: cf_x}\n",
        "sync: {labels: {active: Running}}\n",
        "sync: {multiple_sequences: precedence}\n",
    ],
)
def test_whatever_changes_what_a_person_says_changes_the_mark(minimal: Write, more: str) -> None:
    before = decision_fingerprint(load_config(minimal()))
    assert decision_fingerprint(load_config(minimal(more))) != before


def test_the_order_of_states_counts_where_it_decides(minimal: Write) -> None:
    one = "sync: {multiple_sequences: precedence, precedence: [active, paused]}\n"
    other = "sync: {multiple_sequences: precedence, precedence: [paused, active]}\n"
    assert decision_fingerprint(load_config(minimal(one))) != decision_fingerprint(load_config(minimal(other)))


@pytest.mark.parametrize(
    "more",
    [
        "  base_url: https://other.example.com\n",
        "  batch_size: 5\n",
        "sync: {precedence: [active]}\n",
        "sync: {labels: {active: Active \u2013 Running}}\n",
        "schedule: {every: 1h}\n",
    ],
)
def test_what_changes_nothing_that_is_written_leaves_the_mark(minimal: Write, more: str) -> None:
    before = decision_fingerprint(load_config(minimal()))
    assert decision_fingerprint(load_config(minimal(more))) == before


def test_the_mark_of_the_task_rule_follows_the_rule_alone(minimal: Write) -> None:
    def mark(more: str) -> str:
        return task_rule_fingerprint(load_config(minimal(more)))

    assert mark("sync: {tasks: {skipped_when: [{state: skipped}]}}\n") != mark("")
    assert mark("sync: {tasks: {status: Done}}\n") == mark("")
    one = mark("sync: {tasks: {skipped_when: [{a: 1, b: 2}, {c: 3}]}}\n")
    assert one == mark("sync: {tasks: {skipped_when: [{c: 3}, {b: 2, a: 1}]}}\n")
    assert one != mark("sync: {tasks: {skipped_when: [{a: '1', b: 2}, {c: 3}]}}\n")
