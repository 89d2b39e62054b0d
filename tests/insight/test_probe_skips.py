from __future__ import annotations

from typing import Any

import pytest

from outreach_sync.insight.probe_skips import count_looks, hypotheses, looks_of, probe_document
from outreach_sync.records import SourceTask
from outreach_sync.rules.conditions import DEFAULT_SKIPPED_WHEN

DONE: dict[str, Any] = {
    "state": "complete",
    "completed": True,
    "completedAt": "2026-09-01T10:00:00.000Z",
    "completer": 1,
    "stateChangedAt": "2026-09-01T10:00:00.000Z",
}
BY_ITSELF = {"state": "complete", "completer": None, "autoskipAt": {"not_after": "stateChangedAt"}}


def _task(task_id: int = 1, *, sequence: int | None = 42, task_type: str = "manual", **attributes: Any) -> SourceTask:
    return SourceTask(task_id, 18, sequence, None, None, task_type, "email", None, None, None, attributes)


def _probed(*tasks: SourceTask) -> dict[str, Any]:
    return probe_document(count_looks(tasks, DEFAULT_SKIPPED_WHEN), DEFAULT_SKIPPED_WHEN)


def _tasks_of(document: dict[str, Any]) -> dict[str, int]:
    return {one["name"]: one["tasks"] for one in document["hypotheses"]}


def test_tasks_that_look_alike_are_counted_together_with_a_few_examples() -> None:
    counted = count_looks([_task(number, **DONE) for number in range(1, 9)], DEFAULT_SKIPPED_WHEN)
    assert [(one.count, one.taken, one.examples) for one in counted.values()] == [(8, 0, [1, 2, 3, 4, 5])]


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (None, "null"),
        ("2026-09-01T09:00:00.000Z", "due"),
        ("2026-09-01T10:00:00.000Z", "due"),
        ("2026-09-01T10:00:01.000Z", "later"),
        ("soon", "later"),
    ],
)
def test_a_task_was_due_to_be_skipped_by_itself_only_if_that_time_had_come(at: str | None, expected: str) -> None:
    assert looks_of(_task(**DONE, autoskipAt=at)).autoskip == expected


def test_todays_rule_takes_what_it_takes_in_a_run() -> None:
    document = _probed(
        _task(1, state="skipped"),
        _task(2, state="skipped", sequence=None),  # belongs to no sequence
        _task(3, state="skipped", sequence=None, task_type="sequence_step_email"),
        _task(4, **{**DONE, "completed": False}),
        _task(5, **DONE),
    )
    assert (document["read"], document["sequence_tasks"], document["taken"]) == (5, 4, 3)


def test_where_the_rule_takes_all_that_looks_skipped_it_is_kept() -> None:
    document = _probed(_task(1, state="skipped"), _task(2, **{**DONE, "completed": False}), _task(3, **DONE))
    assert document["recommended"] == document["rule"]
    assert document["recommendation"].startswith("Keep the rule: it takes 2")


def test_tasks_completed_by_nobody_once_due_add_a_condition_and_nothing_is_taken_away() -> None:
    document = _probed(_task(1, **{**DONE, "completer": None}, autoskipAt="2026-09-01T09:00:00Z"), _task(2, **DONE))
    assert _tasks_of(document) == {"H1": 0, "H2, by itself": 1, "H2, other": 0, "H3": 0, "H4": 0}
    assert document["recommended"] == [*document["rule"], BY_ITSELF]


def test_tasks_completed_by_nobody_for_no_visible_reason_are_shown_and_not_recommended() -> None:
    document = _probed(_task(7, **{**DONE, "completer": None}))
    assert _tasks_of(document)["H2, other"] == 1
    assert document["recommended"] == document["rule"]


def test_a_new_word_that_says_skipped_is_recommended_and_another_is_only_shown() -> None:
    document = _probed(_task(1, state="auto_skipped"), _task(2, state="asleep"))
    assert _tasks_of(document)["H3"] == 2
    assert document["recommended"] == [*document["rule"], {"state": "auto_skipped"}]
    assert "'asleep', 'auto_skipped'" in document["hypotheses"][3]["says"]


def test_an_account_that_is_not_shown_completed_at_is_not_told_that_everything_was_skipped() -> None:
    found = hypotheses(count_looks([_task(1, **{**DONE, "completedAt": None})], DEFAULT_SKIPPED_WHEN))
    assert "do not trust it" in found[0].says
    assert found[0].conditions == ()


def test_where_nothing_looks_skipped_vanishing_is_named() -> None:
    document = _probed(_task(1, **DONE), _task(2, state="incomplete"))
    assert "vanished_is_skipped" in document["hypotheses"][4]["says"]
    assert document["recommendation"].startswith("Nothing looks skipped")
