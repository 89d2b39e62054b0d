"""What the stream of events says of a change: one or more names, and whom the event concerns.

The names were met in production by a commercial connector (hull-outreach, `events.json`, 2019-2020). Which of them
a change leaves is this simulator's guess, except for `skip_task` and `complete_task`, which say it themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Values = dict[str, Any]

_CREATED = {"sequenceState": "sequence_state_created", "task": "task_created", "prospect": "prospect_created"}
_DESTROYED = {"sequenceState": "sequence_state_destroyed", "task": "task_destroyed", "prospect": "prospect_destroyed"}
_OPT_OUTS = {
    "optedOut": "opt_out",
    "emailOptedOut": "emails_opt_out",
    "callOptedOut": "calls_opt_out",
    "smsOptedOut": "sms_opt_out",
}
_RELATIONS = ("prospect", "task", "sequence", "sequenceStep", "user")


def names_of_new(type_: str, values: Mapping[str, Any]) -> list[str]:
    """Name the events that a new record leaves; a task may be skipped from the start."""
    created = [_CREATED[type_]] if type_ in _CREATED else []
    return [*created, "skip_task"] if type_ == "task" and values.get("state") == "skipped" else created


def names_of_end(type_: str) -> list[str]:
    """Name the event that is left of a record that was deleted."""
    return [_DESTROYED[type_]] if type_ in _DESTROYED else []


def names_of_change(type_: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Name the events that the change of a record leaves."""
    named = list(_CHANGES[type_](before, after)) if type_ in _CHANGES else []
    return named or {"task": ["task_updated"], "prospect": ["prospect_updated"]}.get(type_, [])


def concerned(type_: str, id_: int, values: Mapping[str, Any]) -> Values:
    """Say whom an event on a record concerns, as the relationships of the event."""
    related = {name: values[name] for name in _RELATIONS if values.get(name) is not None}
    return {**related, type_: id_} if type_ in _RELATIONS else related


def _of_task(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    if after.get("state") == "skipped" != before.get("state"):
        yield "skip_task"
    if after.get("completed") and not before.get("completed"):
        yield "complete_task"
    if after.get("owner") != before.get("owner"):
        yield "task_owner_changed"


def _of_state(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    was, now = before.get("state"), after.get("state")
    if was != now:
        yield from {
            "finished": ("sequence_state_finished",),
            "paused": ("sequence_state_paused",),
            "active": ("sequence_state_resumed" if was == "paused" else "sequence_state_continued",),
            "bounced": ("bounced_message",),
        }.get(str(now), ())
    if after.get("sequenceStep") != before.get("sequenceStep"):
        yield "sequence_state_advanced"
    if after.get("mailbox") != before.get("mailbox"):
        yield "sequence_state_mailbox_changed"


def _of_prospect(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for attribute, name in _OPT_OUTS.items():
        was, now = bool(before.get(attribute)), bool(after.get(attribute))
        if was != now:
            yield name if now else f"{name}_revert"
    for attribute in ("stage", "owner"):
        if after.get(attribute) != before.get(attribute):
            yield f"prospect_{attribute}_changed"


_CHANGES = {"task": _of_task, "sequenceState": _of_state, "prospect": _of_prospect}
