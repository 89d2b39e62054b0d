"""What Outreach's API knows about each resource: attributes, what may be filtered and sorted, and relationships.

Source: Outreach's published OpenAPI (api.outreach.io/api/v2/schema/openapi.json), its badges and filter notes written
as ``name:kind[:F][S]`` for attributes (F filterable, S sortable) and ``name:shape:types[:attributes to filter by]`` for
relationships (shape: ``one`` or ``many`` come with data, ``links`` without; ``*``: whatever is filterable there).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["text", "flag", "number", "list", "map", "time"]
Shape = Literal["one", "many", "links"]

_SPEC = """
[sequenceState]
activeAt:time bounceCount:number callCompletedAt:time:FS clickCount:number:FS createdAt:time:FS
deliverCount:number:FS errorReason:text failureCount:number negativeReplyCount:number neutralReplyCount:number
openCount:number:FS optOutCount:number pauseReason:text:FS positiveReplyCount:number repliedAt:time:FS
replyCount:number:FS scheduleCount:number state:text:FS stateChangedAt:time:FS updatedAt:time:FS
account:one:account:id activeStepMailings:many:mailing activeStepTasks:many:task batchItemCreator:one:batchItem
calls:links:call:id creator:one:user mailbox:one:mailbox:id,email mailings:links:mailing
opportunity:one:opportunity:id prospect:one:prospect:id,emails sequence:one:sequence:*
sequenceStateRecipients:many:sequenceStateRecipient sequenceStep:one:sequenceStep:* tasks:links:task:id,dueAt
user:one:user
[task]
action:text autoskipAt:time:FS compiledSequenceTemplateHtml:text completed:flag completedAt:time
createdAt:time:FS dueAt:time:FS note:text opportunityAssociation:text scheduledAt:time:FS state:text:FS
stateChangedAt:time:FS taskType:text:FS updatedAt:time:FS
account:one:account:id call:one:call:id calls:links:call:id completer:one:user:id
creator:one:sequenceStep|stage|user defaultPluginMapping:one:pluginMapping mailing:one:mailing:id
mailings:links:mailing:id opportunity:one:opportunity:id owner:one:user:id,email,firstName
prospect:one:prospect:id,byPersonaId,byStageId,createdAt,firstName,tags,title,updatedAt
prospectAccount:one:account prospectContacts:many:emailAddress prospectOwner:one:user
prospectPhoneNumbers:many:phoneNumber prospectStage:one:stage sequence:one:sequence:id,tags
sequenceSequenceSteps:many:sequenceStep:id sequenceState:one:sequenceState:id
sequenceStateSequenceStep:one:sequenceStep sequenceStateSequenceStepOverrides:many:sequenceStepOverride
sequenceStateStartingTemplate:one:template sequenceStep:one:sequenceStep:id,stepType
sequenceStepOverrideTemplates:many:template sequenceTemplate:one:sequenceTemplate:id
sequenceTemplateTemplate:one:template subject:one:account|opportunity|prospect
taskDisposition:one:taskDisposition taskPriority:one:taskPriority:id,name taskPurpose:one:taskPurpose
taskTheme:one:taskTheme team:one:team template:one:template:id
[prospect]
addedAt:time addressCity:text addressCountry:text addressState:text addressStreet:text addressStreet2:text
addressZip:text angelListUrl:text availableAt:time callOptedOut:flag callsOptStatus:text callsOptedAt:time
campaignName:text clickCount:number company:text contactHistogram:list createdAt:time:FS dateOfBirth:text
degree:text emailOptedOut:flag emails:list:F emailsOptStatus:text emailsOptedAt:time engagedAt:time:FS
engagedScore:number:FS eventName:text externalId:text externalOwner:text externalSource:text:FS facebookUrl:text
firstName:text:FS gender:text githubUrl:text githubUsername:text:FS googlePlusUrl:text graduationDate:text
homePhones:list jobStartDate:text lastName:text:FS linkedInConnections:number linkedInId:text:FS
linkedInSlug:text:FS linkedInUrl:text middleName:text mobilePhones:list name:text nickname:text occupation:text
openCount:number optedOut:flag optedOutAt:time otherPhones:list personalNote1:text personalNote2:text
preferredContact:text quoraUrl:text region:text replyCount:number school:text score:number sharingTeamId:text:F
source:text specialties:text stackOverflowId:text:FS stackOverflowUrl:text tags:list timeZone:text:F
timeZoneIana:text timeZoneInferred:text title:text:FS touchedAt:time:FS trashedAt:time twitterUrl:text
twitterUsername:text:FS updatedAt:time:FS voipPhones:list websiteUrl1:text websiteUrl2:text websiteUrl3:text
workPhones:list
account:one:account:id,customId,name,named,updatedAt activeSequenceStates:many:sequenceState:id,state
assignedTeams:many:team assignedUsers:many:user batches:links:batch calls:links:call creator:one:user
defaultPluginMapping:one:pluginMapping emailAddresses:many:emailAddress favorites:many:favorite
mailings:links:mailing opportunities:many:opportunity:id opportunityProspectRoles:many:opportunityProspectRole
owner:one:user:id persona:one:persona:id phoneNumbers:many:phoneNumber
sequenceStates:links:sequenceState:id,state stage:one:stage:id,name tasks:links:task
trashedByAccount:one:account updater:one:user
[sequence]
automationPercentage:number bounceCount:number clickCount:number:FS createdAt:time:FS deliverCount:number:FS
description:text durationInDays:number enabled:flag enabledAt:time:FS failureCount:number finishOnReply:flag
lastUsedAt:time:FS locked:flag lockedAt:time:FS maxActivations:number name:text:FS negativeReplyCount:number
neutralReplyCount:number numContactedProspects:number numRepliedProspects:number openCount:number:FS
optOutCount:number positiveReplyCount:number primaryReplyAction:text primaryReplyPauseDuration:number
replyCount:number:FS salesMotion:text:F scheduleCount:number scheduleIntervalType:text secondaryReplyAction:text
secondaryReplyPauseDuration:number sequenceStepCount:number sequenceType:text shareType:text:FS tags:list
throttleCapacity:number:FS throttleMaxAddsPerDay:number:FS throttlePaused:flag throttlePausedAt:time
transactional:flag updatedAt:time:FS
calls:links:call:id contentCategoryMemberships:many:contentCategoryMembership:id creator:one:user:id
mailings:links:mailing owner:one:user:id,email,firstName,lastName ruleset:one:ruleset:id schedule:one:schedule
sequenceStates:links:sequenceState:id sequenceSteps:many:sequenceStep:id tasks:links:task:id updater:one:user:id
[sequenceStep]
bounceCount:number clickCount:number createdAt:time:FS date:text:FS deliverCount:number displayName:text
failureCount:number interval:number negativeReplyCount:number neutralReplyCount:number openCount:number
optOutCount:number order:number:FS positiveReplyCount:number replyCount:number scheduleCount:number
stepType:text:FS taskAutoskipDelay:number taskNote:text updatedAt:time:FS
callPurpose:one:callPurpose:id calls:links:call:id creator:one:user:id mailings:links:mailing
schedule:one:schedule sequence:one:sequence:id,enabledAt,name sequenceTemplates:many:sequenceTemplate:*
taskPriority:one:taskPriority:id tasks:links:task:id updater:one:user:id
# of a user, what clients read: the spec has sixty more attributes, all of them settings of the user interface
[user]
createdAt:time:FS currentSignInAt:time:FS email:text:FS firstName:text:FS lastName:text:FS lastSignInAt:time
locked:flag:FS name:text phoneNumber:text phoneType:text title:text updatedAt:time:FS userGuid:text
username:text:FS
creator:one:user mailbox:one:mailbox mailboxes:many:mailbox phone:one:phone phones:many:phone profile:one:profile:id
role:one:role:id teams:many:team:id updater:one:user
# not in the copy of the spec at hand: as clients read it (tap-outreach asks for stages to test its token)
[stage]
color:text createdAt:time:FS name:text:FS order:number:FS updatedAt:time:FS
creator:one:user updater:one:user
[event]
body:text createdAt:time:FS eventAt:time:FS externalUrl:text name:text:F payload:map requestCity:text
requestDevice:text requestHost:text requestProxied:flag requestRegion:text
account:one:account:id call:one:call:id mailing:one:mailing:id note:one:note opportunity:one:opportunity:id
plugin:one:plugin prospect:one:prospect:id sequence:one:sequence sequenceStep:one:sequenceStep task:one:task:id
user:one:user:id
"""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a resource."""

    name: str
    kind: Kind
    filterable: bool
    sortable: bool


@dataclass(frozen=True, slots=True)
class Relationship:
    """One relationship. `types` are the resource types it may point to; `filters` what may be filtered through it."""

    name: str
    shape: Shape
    types: tuple[str, ...]
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource type, such as ``sequenceState``, listed under `plural`."""

    type: str
    plural: str
    attributes: Mapping[str, Attribute]
    relationships: Mapping[str, Relationship]

    def attribute(self, name: str) -> Attribute | None:
        """Look up an attribute; custom1 to custom150 of prospects included."""
        known = self.attributes.get(name)
        if known is None and self.type == "prospect" and _CUSTOM.fullmatch(name):
            return Attribute(name, "text", filterable=False, sortable=False)
        return known

    @property
    def stamp(self) -> str:
        """Name the attribute by which the resource is walked: events are never changed, and have no updatedAt."""
        return "createdAt" if self.type == "event" else "updatedAt"

    def knows(self, name: str) -> bool:
        """Tell whether `fields` may name this: an attribute or a relationship."""
        return name in self.relationships or self.attribute(name) is not None


_CUSTOM = re.compile(r"custom(?:[1-9]|[1-9]\d|1[0-4]\d|150)", re.ASCII)


def _resource(type_: str, words: str) -> Resource:
    attributes: dict[str, Attribute] = {}
    relationships: dict[str, Relationship] = {}
    for word in words.split():
        name, kind, *rest = word.split(":")
        if kind in ("one", "many", "links"):
            by = tuple(rest[1].split(",")) if rest[1:] else ()
            relationships[name] = Relationship(name, cast("Shape", kind), tuple(rest[0].split("|")), by)
        else:
            marks = "".join(rest)
            attributes[name] = Attribute(name, cast("Kind", kind), filterable="F" in marks, sortable="S" in marks)
    return Resource(type_, type_ + "s", attributes, relationships)


RESOURCES: Mapping[str, Resource] = {
    type_: _resource(type_, words)
    for type_, words in re.findall(r"^\[(\w+)\]\n((?:[^\[#\n].*\n)+)", _SPEC, re.MULTILINE)
}
"""Every resource that is served, by its type."""

PLURALS: Mapping[str, Resource] = {resource.plural: resource for resource in RESOURCES.values()}
"""The same, by the word in the path."""

NAMED_TYPES = frozenset(
    type_ for resource in RESOURCES.values() for relation in resource.relationships.values() for type_ in relation.types
)
"""Every type that the published schema names here, served or not."""

BACK_REFERENCES: Mapping[tuple[str, str], str] = {
    ("prospect", "activeSequenceStates"): "sequenceState.prospect",
    ("prospect", "sequenceStates"): "sequenceState.prospect",
    ("prospect", "tasks"): "task.prospect",
    ("sequence", "sequenceSteps"): "sequenceStep.sequence",
    ("sequence", "sequenceStates"): "sequenceState.sequence",
    ("sequence", "tasks"): "task.sequence",
    ("sequenceState", "tasks"): "task.sequenceState",
    ("sequenceStep", "tasks"): "task.sequenceStep",
}
"""To-many relationships that follow from a to-one relationship on the other side."""

ACTIVE_STATES = frozenset({"active", "paused", "failed", "bounced", "pending", "disabled"})
"""The states with which a sequence state is among its prospect's `activeSequenceStates`, by the spec."""

# What the stream of events says of a change: one or more names, and whom the event concerns. A commercial connector met
# the names in production (hull-outreach, `events.json`, 2019-2020). Which of them a change leaves is this simulator's
# guess, except for `skip_task` and `complete_task`, which say it themselves.

_WORDS = {"sequenceState": "sequence_state", "task": "task", "prospect": "prospect"}
_STATES = {"finished": "sequence_state_finished", "paused": "sequence_state_paused", "bounced": "bounced_message"}
_OPT_OUTS = {
    "optedOut": "opt_out",
    "emailOptedOut": "emails_opt_out",
    "callOptedOut": "calls_opt_out",
    "smsOptedOut": "sms_opt_out",
}
_OTHERS = {
    "task": {"owner": "task_owner_changed"},
    "sequenceState": {"sequenceStep": "sequence_state_advanced", "mailbox": "sequence_state_mailbox_changed"},
    "prospect": {"stage": "prospect_stage_changed", "owner": "prospect_owner_changed"},
}
_RELATIONS = ("prospect", "task", "sequence", "sequenceStep", "user")


def events_of(type_: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[str]:
    """Name the events that a change of a record leaves; None `before` it was made, or `after` it was deleted."""
    if type_ not in _WORDS:
        return []
    if after is None:
        return [f"{_WORDS[type_]}_destroyed"]
    was, now = (before or {}).get("state"), after.get("state")
    named = ["skip_task"] if type_ == "task" and now == "skipped" != was else []
    if before is None:
        return [f"{_WORDS[type_]}_created", *named]
    if type_ == "task" and after.get("completed") and not before.get("completed"):
        named.append("complete_task")
    if type_ == "sequenceState" and now == "active" != was:
        named.append("sequence_state_resumed" if was == "paused" else "sequence_state_continued")
    elif type_ == "sequenceState" and now != was:
        named += [_STATES[now]] if now in _STATES else []
    for attribute, name in _OPT_OUTS.items() if type_ == "prospect" else ():
        if bool(after.get(attribute)) != bool(before.get(attribute)):
            named.append(name if after.get(attribute) else f"{name}_revert")
    named += [name for attribute, name in _OTHERS[type_].items() if after.get(attribute) != before.get(attribute)]
    return named or ([] if type_ == "sequenceState" else [f"{_WORDS[type_]}_updated"])


def concerned(type_: str, id_: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """Say whom an event on a record concerns, as the relationships of the event."""
    related = {name: values[name] for name in _RELATIONS if values.get(name) is not None}
    return {**related, type_: id_} if type_ in _RELATIONS else related
