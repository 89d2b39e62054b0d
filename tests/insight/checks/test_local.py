from __future__ import annotations

from outreach_sync.insight.checks.local import TASK_ATTRIBUTES, TASK_RELATIONSHIPS
from outreach_sync.outreach.rows import Wanted, fields_of
from outreach_sync.records import Stream
from outreach_sync.rules.conditions import DEFAULT_SKIPPED_WHEN, named_attributes
from outreach_sync.sandbox.outreach.schema import RESOURCES


def test_the_known_attributes_are_those_of_the_published_reference() -> None:
    task = next(resource for resource in RESOURCES.values() if resource.type == "task")
    assert set(task.attributes) == TASK_ATTRIBUTES
    assert {name for name, one in task.relationships.items() if one.shape == "one"} == TASK_RELATIONSHIPS


def test_nothing_that_is_asked_for_or_in_the_default_rule_is_unknown() -> None:
    assert set(fields_of(Stream.TASKS, Wanted())) <= TASK_ATTRIBUTES | TASK_RELATIONSHIPS
    assert named_attributes(DEFAULT_SKIPPED_WHEN) <= TASK_ATTRIBUTES
