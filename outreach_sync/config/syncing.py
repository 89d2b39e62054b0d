"""The section `sync`: what is read, how it is judged, what is written."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # pydantic reads annotations at run time
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from outreach_sync.config.forms import Choice, Duration, Flag, Share, Text, Whole
from outreach_sync.config.section import Section, duration, nothing_as_empty, section
from outreach_sync.config.start import Back, Start
from outreach_sync.config.sync_forms import (
    ConditionForm,
    StartForm,
    Template,
    Value,
    attribute_name,
    event_name,
    field_name,
    state_name,
)
from outreach_sync.instants import parse_duration
from outreach_sync.records import Scalar  # noqa: TC001  # pydantic reads annotations at run time
from outreach_sync.rules.conditions import DEFAULT_SKIPPED_WHEN, Condition, plain_condition

DEFAULT_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "active": "Active – Running",  # noqa: RUF001  # the en dash is what Workbooks' own page uses
        "paused": "Active – Paused",  # noqa: RUF001
        "opted_out": "Opted Out",
        "finished": "Finished",
        "pending": "Pending",
        "disabled": "Disabled",
        "failed": "Failed",
        "bounced": "Bounced",
        "not_active": "Not Active",
    }
)
"""Sequence state to label; `not_active` is for a prospect without any."""

DEFAULT_TASK_TYPES: Mapping[str, str] = MappingProxyType({"call": "Phone call", "email": "Email", "default": "To-do"})
"""Outreach action or task type to Workbooks activity type."""

DEFAULT_PRECEDENCE = ("active", "paused", "pending", "bounced", "failed", "disabled", "finished")
MATCH_RULES = ("link", "outreach_id", "reference", "external_id", "email")
STREAMS = ("sequence_states", "tasks", "prospects", "events")
NAME_PLACES = ("action", "sequence", "step", "task_type", "id", "prospect")
DESCRIPTION_PLACES = (*NAME_PLACES, "note")


def _without_duplicates(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("contains a duplicate; allowed: each once")
    return values


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise ValueError("is an empty list; allowed: at least one")
    return _without_duplicates(values)


def _with_default_labels(given: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType({**DEFAULT_LABELS, **given})


def _with_default_types(given: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType({**DEFAULT_TASK_TYPES, **given})


def _frozen(given: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
    return MappingProxyType(dict(given))


_Orderly = Annotated[tuple[Annotated[str, state_name()], ...], AfterValidator(_unique)]


class Guard(Section):
    """When a cycle stops before its first write. Updates and losses stop it above both of their limits."""

    share: Annotated[float, Share()] = Field(default=0.5, description="Updates: share of all linked people.")
    count: Annotated[int, Whole(0)] = Field(default=500, description="Updates: number of people.")
    lost_share: Annotated[float, Share()] = Field(
        default=0.1, description="Losses (people who would become Not Active, records not to be seen): share."
    )
    lost_count: Annotated[int, Whole(0)] = Field(default=10, description="Losses: number of people.")
    create: Annotated[int, Whole(0)] = Field(
        default=500, description="People to create in one cycle, the first load included."
    )


class People(Section):
    """How a prospect's Person is found or made."""

    when_missing: Annotated[str, Choice(("create", "skip"))] = Field(
        default="create", description="What to do when no Person is found."
    )
    match: Annotated[tuple[Annotated[str, Choice(MATCH_RULES)], ...], AfterValidator(_unique)] = Field(
        default=MATCH_RULES,
        description="The rules that find the Person, in order; the first that finds exactly one wins.",
    )
    create_fields: Annotated[
        Mapping[Annotated[str, field_name()], Annotated[str, attribute_name()]],
        BeforeValidator(nothing_as_empty),
        AfterValidator(_frozen),
        PlainSerializer(dict),
    ] = Field(
        default_factory=lambda: MappingProxyType({}),
        description="More fields of a Person to fill when it is created: Workbooks field to prospect attribute.",
        json_schema_extra={"default": {}},
    )
    only_where: Annotated[
        Mapping[Annotated[str, field_name()], Annotated[Scalar, Value()]],
        BeforeValidator(nothing_as_empty),
        AfterValidator(_frozen),
        PlainSerializer(dict),
    ] = Field(
        default_factory=lambda: MappingProxyType({}),
        description="Values that a Person must have to be touched, by Workbooks field; nobody is created then.",
        json_schema_extra={"default": {}},
    )


class Tasks(Section):
    """What becomes of a skipped sequence task."""

    status: Annotated[str, Text()] = Field(default="Cancelled", description="The status of the Workbooks Task.")
    name: Annotated[str, Template(NAME_PLACES)] = Field(
        default="Skipped: {action}, {sequence}", description="The name of the Workbooks Task."
    )
    description: Annotated[str, Template(DESCRIPTION_PLACES)] = Field(
        default="Skipped in Outreach: {task_type}, sequence {sequence}, task {id}. {note}",
        description="The description of the Workbooks Task; the note is the task's own.",
    )
    type: Annotated[
        Mapping[Annotated[str, attribute_name()], Annotated[str, Text()]],
        BeforeValidator(nothing_as_empty),
        AfterValidator(_with_default_types),
        PlainSerializer(dict),
    ] = Field(
        default_factory=lambda: DEFAULT_TASK_TYPES,
        description="Outreach action or task type to the type of the Workbooks Task; the task type is looked up first.",
        json_schema_extra={"default": dict(DEFAULT_TASK_TYPES)},
    )
    skip_events: Annotated[tuple[Annotated[str, event_name()], ...], AfterValidator(_without_duplicates)] = Field(
        default=("skip_task",), description="Events of Outreach that say that a task was skipped; [] for none."
    )
    skipped_when: tuple[Annotated[Condition, ConditionForm()], ...] = Field(
        default=DEFAULT_SKIPPED_WHEN,
        description="What counts as skipped: any of these conditions.",
        json_schema_extra={"default": [plain_condition(condition) for condition in DEFAULT_SKIPPED_WHEN]},
    )
    vanished_is_skipped: Annotated[bool, Flag()] = Field(
        default=False,
        description="Also take an open task that `reconcile` no longer finds although its sequence state moved on.",
    )


class Sync(Section):
    """What is read, how it is judged, and how hard the sync tries."""

    streams: Annotated[tuple[Annotated[str, Choice(STREAMS)], ...], AfterValidator(_unique)] = Field(
        default=STREAMS, description="What is read from Outreach."
    )
    start: Annotated[Start, StartForm()] = Field(
        default=Back(parse_duration("90d")),
        description="How far back the first run reads.",
        json_schema_extra={"default": "90d"},
    )
    overlap_ms: Annotated[int, Duration()] = duration("10m", "How far each run reads back again.", "overlap")
    late_sweep_ms: Annotated[int, Duration(1, "longer than 0")] = duration(
        "24h", "How often, and how far, a run reads back for records that became visible late.", "late_sweep"
    )
    multiple_sequences: Annotated[str, Choice(("latest", "precedence"))] = Field(
        default="latest", description="Which state is shown of a person in several sequences."
    )
    precedence: _Orderly = Field(
        default=DEFAULT_PRECEDENCE, description="The order of states for `multiple_sequences: precedence`."
    )
    labels: Annotated[
        Mapping[Annotated[str, state_name()], Annotated[str, Text()]],
        BeforeValidator(nothing_as_empty),
        AfterValidator(_with_default_labels),
        PlainSerializer(dict),
    ] = Field(
        default_factory=lambda: DEFAULT_LABELS,
        description="What is written for each sequence state; what is not given keeps its default.",
        json_schema_extra={"default": dict(DEFAULT_LABELS)},
    )
    max_attempts: Annotated[int, Whole(1, 1000)] = Field(
        default=10, description="After so many refusals a record is parked."
    )
    patience_ms: Annotated[int, Duration(0, "at most 24h", 86_400_000)] = duration(
        "2m", "How long one run waits in all for a service that is down or refuses.", "patience"
    )
    when_deleted: Annotated[str, Choice(("recreate", "leave"))] = Field(
        default="recreate", description="What to do about a record that was deleted in Workbooks."
    )
    guard: Annotated[Guard, BeforeValidator(nothing_as_empty)] = section(Guard, "When a mass change is stopped.")
    people: Annotated[People, BeforeValidator(nothing_as_empty)] = section(People, "How people are found or made.")
    tasks: Annotated[Tasks, BeforeValidator(nothing_as_empty)] = section(Tasks, "What becomes of skipped tasks.")
