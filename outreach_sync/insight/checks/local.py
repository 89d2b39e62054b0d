"""What can be checked without asking anybody: permissions, the state, the skip rule, what the schedule costs."""

from __future__ import annotations

import difflib
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

from outreach_sync import instants
from outreach_sync.config.load import permissions_warning
from outreach_sync.insight.checks.check import CONFIG, fail, guarded, ok, warn
from outreach_sync.insight.cost import LARGE_PLAN, SMALL_PLAN, yearly_cost
from outreach_sync.insight.status import token_age
from outreach_sync.rules.conditions import named_attributes
from outreach_sync.state import State
from outreach_sync.state.database import is_there

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from outreach_sync.config.model import Config
    from outreach_sync.insight.checks.check import Check

TASK_ATTRIBUTES = frozenset(
    [
        "action",
        "autoskipAt",
        "compiledSequenceTemplateHtml",
        "completed",
        "completedAt",
        "createdAt",
        "dueAt",
        "note",
        "opportunityAssociation",
        "scheduledAt",
        "state",
        "stateChangedAt",
        "taskType",
        "updatedAt",
    ]
)
"""The attributes of a task in Outreach's published OpenAPI."""

TASK_RELATIONSHIPS = frozenset(
    [
        "account",
        "call",
        "completer",
        "creator",
        "defaultPluginMapping",
        "mailing",
        "opportunity",
        "owner",
        "prospect",
        "prospectAccount",
        "prospectOwner",
        "prospectStage",
        "sequence",
        "sequenceState",
        "sequenceStateSequenceStep",
        "sequenceStateStartingTemplate",
        "sequenceStep",
        "sequenceTemplate",
        "sequenceTemplateTemplate",
        "subject",
        "taskDisposition",
        "taskPriority",
        "taskPurpose",
        "taskTheme",
        "team",
        "template",
    ]
)
"""The to-one relationships of a task in Outreach's published OpenAPI."""


def local_checks(path: Path, config: Config) -> Iterator[Check]:
    """Check what is on this machine."""
    yield from guarded("config permissions", lambda: [_permissions(path)])
    yield from guarded("state", lambda: [_state(config.state.path)])
    yield from guarded("requests a year", lambda: [_cost(config)])
    yield from guarded("refresh token age", lambda: [_token(config)])
    yield _skip_rule(config)


def _permissions(path: Path) -> Check:
    warning = permissions_warning(path)
    name = "config permissions"
    return ok(name, "only its owner can read what is secret in it") if warning is None else warn(name, warning)


def _state(path: Path) -> Check:
    """Open the state for reading, and see whether it could be written, without making it."""
    state = State.open_to_read(path)
    if state is not None:
        state.close()
    exists = is_there(path)
    place = path if exists else next(place for place in path.absolute().parents if place.exists())
    directory = path.absolute().parent if exists else place
    if not (os.access(place, os.W_OK) and os.access(directory, os.W_OK | os.X_OK)):
        hint = "Give the user that runs this the right to write there, or set state.path."
        return fail("state", f"{place} is not writable", hint, exit_status=CONFIG)
    return ok("state", f"{path}" if exists else f"{path}, which the first run makes")


def _cost(config: Config) -> Check:
    state = State.open_to_read(config.state.path)
    with nullcontext() if state is None else state:
        cost = yearly_cost(config, state)
    detail = f"about {cost.requests:,} Outreach requests a year, {'measured' if cost.measured else 'estimated'}"
    hint = "Lengthen schedule.every, or ask Outreach how many your plan allows (250,000 to 1,000,000)."
    if cost.requests > LARGE_PLAN:
        return fail("requests a year", f"{detail}: more than any plan allows", hint, exit_status=CONFIG)
    if cost.requests > SMALL_PLAN:
        return warn("requests a year", f"{detail}: more than the smallest plan allows", hint)
    return ok("requests a year", detail)


def _token(config: Config) -> Check:
    name = "refresh token age"
    age = token_age(config.state.path, instants.now())
    if age is None:
        return ok(name, "no token is stored yet")
    if age["warning"]:
        return warn(name, age["warning"], "Let runs go on at least weekly; `outreach-sync auth login` gives a new one.")
    return ok(name, f"renewed {age['issued_at']}, {age['age_days']:g} days ago")


def _skip_rule(config: Config) -> Check:
    named = named_attributes(config.sync.tasks.skipped_when)
    unknown = sorted(named - TASK_ATTRIBUTES - TASK_RELATIONSHIPS)
    if not unknown:
        return ok("skip rule", f"looks at {', '.join(sorted(named)) or 'nothing'}")
    hint = "An attribute that does not exist is always null, so a condition on null takes every task."
    return warn("skip rule", f"Outreach's published reference of tasks lacks {_with_nearest(unknown)}", hint)


def _with_nearest(unknown: Iterable[str]) -> str:
    shown = []
    for name in unknown:
        near = difflib.get_close_matches(name, TASK_ATTRIBUTES | TASK_RELATIONSHIPS, 1)
        shown.append(f"{name} (did you mean {near[0]}?)" if near else name)
    return ", ".join(shown)
