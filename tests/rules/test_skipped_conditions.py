from __future__ import annotations

from outreach_sync.rules.skipped import (
    DEFAULT_SKIPPED_WHEN,
    AnyOf,
    Clause,
    Equals,
    NotAfter,
    named_attributes,
    plain_condition,
)


def test_everything_a_rule_looks_at_is_named_so_that_it_is_asked_for() -> None:
    rule = ((Clause("autoskipAt", NotAfter("stateChangedAt")), Clause("completer", Equals(None))),)
    assert named_attributes(rule) == {"autoskipAt", "stateChangedAt", "completer"}


def test_the_default_rule_reads_as_documented() -> None:
    assert [plain_condition(condition) for condition in DEFAULT_SKIPPED_WHEN] == [
        {"state": "skipped"},
        {"state": "complete", "completed": False},
        {"state": "complete", "completedAt": None},
    ]


def test_a_condition_is_written_as_in_the_file() -> None:
    condition = (Clause("state", AnyOf(("a", None))), Clause("autoskipAt", NotAfter("dueAt")))
    assert plain_condition(condition) == {"state": ["a", None], "autoskipAt": {"not_after": "dueAt"}}
