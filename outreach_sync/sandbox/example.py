"""A realistic, always equal data set for both simulated services, with everything that makes a sync hard in it.

Ids and values depend on the seed alone; times count back from the services' clock, so that nothing is ever too old.
"""

from __future__ import annotations

import random
import unicodedata
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.instants import Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outreach_sync.sandbox.outreach import OutreachStore
    from outreach_sync.sandbox.workbooks.store import WorkbooksStore

SEQUENCES = (
    "Trial follow-up",
    "New leads – UK",  # noqa: RUF001 - people type such dashes
    "Événement: Salon de Paris",
    "Renewal, Q3",
    'Webinar "Data day"',
    "Win-back",
    "Partner introduction",
    "Terms update",
)
STATES = ("active", "paused", "opted_out", "finished", "pending", "disabled", "failed", "bounced")
_CHANCES = (30, 12, 0, 34, 8, 3, 3, 4)  # opt-outs are placed, not drawn: they decide so much
_STEPS = ("auto_email", "manual_email", "call", "task", "linkedin_send_message")
_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000
_PERSON = "Private::Crm::Person"
# fmt: off
FIRST_NAMES = (
    "Ada", "Bo", "Çağla", "Dörte", "Émile", "Fiona", "Gwen", "Håkon", "Inés", "José", "Kaja", "Łucja", "Mika", "Nuno",
    "Óscar", "Petra", "Quinn", "Rui", "Søren", "Tomáš", "Ümit", "Vera", "Wanda", "Xenia", "Yara", "Zoë", "李", "Ольга",
    "Siobhán", "D'Arcy",
)
# fmt: on
LAST_NAMES = ("Example", "Muster", "Przykład", "O'Sample", "Ejemplo", "Van den Voorbeeld")
TITLES = ("Head of Sales", "IT Director", "Buyer", "Operations", None, "CFO & co-founder")
_PLAIN_LETTERS = {"ł": "l", "ø": "o", "ğ": "g", "李": "li", "Ольга": "olga"}
PROSPECTS = 60


class Special(NamedTuple):
    """What is special about a prospect.

    `emails` replaces the ordinary address. `person` says how the Person in Workbooks relates to the prospect: ``email``
    (has its address), ``none`` (there is none), ``other_case``, ``second_email``, ``external_id``, ``reference``,
    ``twice`` (two People have the address), ``same_as_before`` (the Person of the prospect before), ``deleted``,
    ``no_email`` (with No Email set already). `states` fixes its sequence states; None leaves them to chance.
    """

    what: str
    emails: tuple[str, ...] | None = None
    person: str = "email"
    states: tuple[str, ...] | None = None
    opt_out: str = ""
    external_id: str | None = None


SPECIALS: dict[int, Special] = {
    2: Special("opted out of everything", opt_out="all", states=("active", "finished")),
    3: Special("opted out of e-mail, it is known when", opt_out="email", states=("paused",)),
    4: Special("opted out of e-mail, nobody knows when", opt_out="email_undated", states=("active",)),
    5: Special("opted out in one of two sequences", states=("opted_out", "active")),
    6: Special("had opted out, was resumed: No Email stays", person="no_email", states=("active",)),
    7: Special("an address with a comma", emails=('"muster, dörte"@example.com',), states=("active",)),
    8: Special("an address with a plus sign", emails=("bo+outreach@example.org",), states=("pending",)),
    9: Special("an address in mixed case", emails=("Ines.Mixed@Example.COM",), person="other_case", states=("active",)),
    10: Special("an address with an apostrophe", emails=("jose.o'sample@example.com",), states=("bounced",)),
    11: Special("shares an address that Workbooks lacks", emails=("shared@example.net",), person="none"),
    12: Special("shares an address that Workbooks lacks", emails=("Shared@example.net",), person="none"),
    13: Special("one Person with the next", emails=("nuno@example.com",), states=("finished",)),
    14: Special("one Person with the one before", emails=("nuno@example.com",), person="same_as_before"),
    15: Special("externalId names the Person", person="external_id", states=("active",)),
    16: Special("two People have the address", person="twice", states=("paused",)),
    17: Special("has no address", emails=(), person="none", states=("active",)),
    18: Special("in the bin", states=("finished",), opt_out="trashed"),
    19: Special("in no sequence, known to Workbooks", states=()),
    20: Special("in no sequence, unknown to Workbooks", person="none", states=()),
    21: Special("the Person was deleted", person="deleted", states=("active",)),
    22: Special(
        "the second address is the known one",
        emails=("vera.private@example.org", "vera@example.com"),
        person="second_email",
        states=("finished", "paused"),
    ),
    23: Special("created by an earlier integration", person="reference", states=("failed",)),
    24: Special("externalId names nobody", external_id="PERS-999999", states=("disabled",)),
    25: Special("externalId is another system's", external_id="0031x00000ABCDE", states=("active", "active")),
    26: Special("opted out, and nobody in Workbooks", opt_out="all", person="none", states=()),
}
"""What is special, by the id of the prospect; the others are ordinary."""


class Someone(NamedTuple):
    """One prospect of the example."""

    id: int
    first: str
    last: str
    emails: tuple[str, ...]
    title: str | None
    special: Special


def people() -> list[Someone]:
    """List all prospects in the order of their ids, always the same."""
    return [_someone(id_) for id_ in range(1, PROSPECTS + 1)]


def _someone(id_: int) -> Someone:
    first = FIRST_NAMES[(id_ - 1) % len(FIRST_NAMES)]
    last = LAST_NAMES[(id_ - 1) // 2 % len(LAST_NAMES)]
    person = "none" if id_ % 7 == 0 and id_ not in SPECIALS else "email"
    special = SPECIALS.get(id_, Special("", person=person))
    ordinary = (f"{_letters(first)}.{_letters(last)}{id_}@example.com",)
    emails = ordinary if special.emails is None else special.emails
    return Someone(id_, first, last, emails, TITLES[id_ % len(TITLES)], special)


def _letters(name: str) -> str:
    """Write a name with the letters a to z, as people do in their addresses."""
    lowered = name.lower()
    for letter, plain in _PLAIN_LETTERS.items():
        lowered = lowered.replace(letter.lower(), plain)
    decomposed = unicodedata.normalize("NFKD", lowered)
    return "".join(letter for letter in decomposed if letter.isascii() and letter.isalnum())


# -- filling both services


def load_example(outreach: OutreachStore, workbooks: WorkbooksStore, now: Instant, seed: int = 1) -> None:
    """Fill two empty stores: 60 prospects, 8 sequences, about 150 states, 80 tasks, and the People to go with them."""
    builder = _Builder(outreach, workbooks, now, random.Random(seed))  # noqa: S311 - chance without secrets
    builder.sequences()
    for someone in people():
        builder.prospect(someone)
    builder.orphans()
    builder.tasks()
    builder.strangers()


class _TaskCase(NamedTuple):
    """One way a task can look; `special` is what else is odd about it."""

    attributes: dict[str, Any]
    in_sequence: bool = True
    with_prospect: bool = True
    shape: str = "null"


_DONE = {"state": "complete", "completed": True, "completedAt": -_HOUR, "completer": 1, "stateChangedAt": -_HOUR}
_TASK_CASES = (
    _TaskCase({"taskType": "sequence_step_email", "action": "email"}),
    _TaskCase({**_DONE, "taskType": "sequence_step_call", "action": "call"}),
    # skipped, by three hypotheses: complete but not completed, completed but never, and a word of its own
    _TaskCase({"state": "complete", "stateChangedAt": -_HOUR, "taskType": "sequence_step_email"}),
    _TaskCase({"state": "complete", "completed": True, "taskType": "sequence_step_call", "action": "call"}),
    _TaskCase({"state": "skipped", "stateChangedAt": -2 * _HOUR, "taskType": "sequence_step_task"}),
    # like a done one, but by nobody, after its time to be skipped: only a rule that says so takes it
    _TaskCase({**_DONE, "completer": None, "autoskipAt": -2 * _HOUR, "taskType": "sequence_step_call"}),
    _TaskCase({"state": "pending", "autoskipAt": _DAY, "taskType": "sequence_step_email", "scheduledAt": _DAY}),
    _TaskCase({"state": "incomplete", "taskType": "manual", "action": "action_item"}, in_sequence=False),
    _TaskCase({"state": "skipped", "taskType": "follow_up", "action": "in_person"}, in_sequence=False),
    # words that no list has
    _TaskCase(
        {"state": "skipped", "taskType": "sequence_step_linkedin_view_profile", "action": "linkedin_view_profile"}
    ),
    _TaskCase({"state": "incomplete", "taskType": "sequence_step_whatsapp", "action": "whatsapp"}),
    # tasks of nobody, in every way that can be said
    _TaskCase({"state": "incomplete", "taskType": "manual"}, in_sequence=False, with_prospect=False),
    _TaskCase({**_DONE, "taskType": "touch"}, in_sequence=False, with_prospect=False, shape="links"),
    _TaskCase({"state": "skipped", "taskType": "sequence_step_email"}, with_prospect=False, shape="empty"),
)
_NOTES = (None, "Send the deck", "Rückruf <b>dringend</b> & höflich", 'He said: "maybe, in Q3"', "")
_TASKS = 80


class _Builder:
    def __init__(self, outreach: OutreachStore, workbooks: WorkbooksStore, now: Instant, chance: random.Random) -> None:
        self._outreach = outreach
        self._workbooks = workbooks
        self._has_custom_fields = "cf_person_sequence_state" in workbooks.table(_PERSON).fields  # no: a bare account
        self._now = now - now % 1000
        self._chance = chance
        self._states: list[tuple[int, int, int, int]] = []  # state, prospect, sequence, step
        self._person = 0

    def sequences(self) -> None:
        created = self._ago(400 * _DAY)
        for first, last in (("Sam", "Seller"), ("Robin", "Rep")):
            email = f"{first.lower()}@vendor.example"
            self._outreach.add_user(
                firstName=first, lastName=last, email=email, name=f"{first} {last}", updatedAt=created
            )
        for name in SEQUENCES:
            id_ = self._outreach.add_sequence(name, owner=1, transactional=name == "Terms update", updatedAt=created)
            for order, kind in enumerate(_STEPS, start=1):
                self._outreach.add_step(id_, stepType=kind, order=order, displayName=f"Step {order}", updatedAt=created)

    def prospect(self, someone: Someone) -> None:
        updated = self._recently()
        attributes = {
            "id": someone.id,
            "firstName": someone.first,
            "lastName": someone.last,
            "name": f"{someone.first} {someone.last}",
            "emails": list(someone.emails),
            "title": someone.title,
            "company": "Example plc",
            "externalId": someone.special.external_id,
            "owner": 1 + someone.id % 2,
            "createdAt": self._ago(300 * _DAY),
            "updatedAt": updated,
            **_opt_out(someone.special.opt_out, updated),
        }
        self._person = self._person_of(someone) or self._person
        if someone.special.person == "external_id":
            attributes["externalId"] = self._workbooks.get(_PERSON, self._person)["object_ref"]
        self._outreach.add_prospect(**attributes)
        drawn = someone.special.states
        words = self._chance.choices(STATES, _CHANCES, k=self._chance.choice((2, 3, 3, 4))) if drawn is None else drawn
        for word in words:
            self._state(someone.id, word)

    def orphans(self) -> None:
        """Add sequence states whose prospect is null, is only linked to, is left out, or does not exist."""
        for shape in ("null", "links", "empty"):
            self._outreach.add(
                "sequenceState",
                {"sequence": 1, "state": "finished", "updatedAt": self._recently()},
                shapes={"prospect": shape},
            )
        self._outreach.add_state(99_999, 2, "finished", updatedAt=self._recently())

    def tasks(self) -> None:
        for number in range(_TASKS):
            case = _TASK_CASES[number % len(_TASK_CASES)]
            state, prospect, sequence, step = self._states[number * 7 % len(self._states)]
            updated = self._recently()
            attributes: dict[str, Any] = {
                "note": _NOTES[number % len(_NOTES)],
                "dueAt": None if number % 9 == 0 else Instant(updated - _DAY),
                "owner": 1,
                "createdAt": Instant(updated - 2 * _DAY),
                "updatedAt": updated,
                **{name: _moved(name, value, updated) for name, value in case.attributes.items()},
            }
            if case.with_prospect:
                attributes |= {"prospect": prospect, "subject": ("prospect", prospect)}
            if case.in_sequence:
                attributes |= {"sequence": sequence, "sequenceState": state, "sequenceStep": step}
                attributes["creator"] = ("sequenceStep", step)
            self._outreach.add("task", attributes, shapes={"prospect": case.shape})

    def strangers(self) -> None:
        """Add People that only Workbooks knows, one of whom wants no e-mail."""
        for number in range(1, 7):
            self._workbooks.add_person(
                name=f"Only Workbooks {number}", email=f"only{number}@example.org", no_email_soliciting=number == 1
            )
        self._workbooks.add_task(name="Ring back", primary_contact_id=self._person, primary_contact_type=_PERSON)

    def _state(self, prospect: int, word: str) -> None:
        updated = self._recently()
        sequence = self._chance.randint(1, len(SEQUENCES))
        step = (sequence - 1) * len(_STEPS) + self._chance.randint(1, len(_STEPS))
        never_changed = (len(self._states) + 1) % 17 == 0
        changed = None if never_changed else Instant(updated - self._chance.randint(0, 120) * _MINUTE)
        id_ = self._outreach.add_state(
            prospect,
            sequence,
            word,
            sequenceStep=step,
            user=1,
            stateChangedAt=changed,
            createdAt=Instant(updated - 5 * _DAY),
            updatedAt=updated,
        )
        self._states.append((id_, prospect, sequence, step))

    def _person_of(self, someone: Someone) -> int | None:
        """Add the Person, or People, of a prospect to Workbooks."""
        how = someone.special.person
        if how in {"none", "same_as_before"}:
            return None
        email = someone.emails[-1] if how == "second_email" else someone.emails[0]
        fields: dict[str, Any] = {
            "name": f"{someone.first} {someone.last}",
            "person_first_name": someone.first,
            "person_last_name": someone.last,
            "person_job_title": someone.title,
            "email": email,
        }
        changes: dict[str, dict[str, Any]] = {
            "other_case": {"email": email.lower()},
            "external_id": {"email": "somebody.else@example.com"},
            "reference": {"email": None, "created_through_reference": f"outreach-prospect-{someone.id}"},
            "no_email": {"no_email_soliciting": True, "cf_person_sequence_state": "Opted Out"},
        }
        fields |= changes.get(how, {})
        if not self._has_custom_fields:
            fields.pop("cf_person_sequence_state", None)
        id_ = self._workbooks.add_person(**fields)
        if how == "twice":
            self._workbooks.add_person(**fields)
        if how == "deleted":
            self._workbooks.delete(_PERSON, id_)
        return id_

    def _ago(self, milliseconds: int) -> Instant:
        return Instant(self._now - milliseconds)

    def _recently(self) -> Instant:
        """Draw a time in the last sixty days, to the second; one in five of them on the same full hour."""
        if self._chance.random() < 0.2:  # noqa: PLR2004 - a bulk action stamps many alike
            return self._ago(3 * _DAY)
        return self._ago(self._chance.randint(3600, 60 * 86_400) * 1000)


def _opt_out(kind: str, updated: Instant) -> dict[str, Any]:
    """Give the attributes of an opt-out of the kinds in `SPECIALS`."""
    since = Instant(updated - 10 * _MINUTE)
    kinds: dict[str, dict[str, Any]] = {
        "all": {"optedOut": True, "optedOutAt": since, "emailOptedOut": True, "emailsOptStatus": "opted_out"},
        "email": {"emailOptedOut": True, "emailsOptStatus": "opted_out", "emailsOptedAt": since},
        "email_undated": {"emailOptedOut": True},
        "trashed": {"trashedAt": since},
    }
    return kinds.get(kind, {})


def _moved(name: str, value: Any, updated: Instant) -> Any:
    """Turn an offset in a task case into a time; everything else is a value already."""
    return Instant(updated + value) if name.endswith("At") and isinstance(value, int) else value


# -- what happens next


class Happening(NamedTuple):
    """One thing that happens: the event by which Outreach tells of it ("": none), what it is, and what must come of it.

    `effect` is what the Person or Task must say, in a few words.
    """

    event: str
    what: str
    effect: str


def _a_working_day(outreach: OutreachStore, _workbooks: WorkbooksStore, now: Instant) -> list[Happening]:
    first, second = _states_of(outreach, 1)[0], _states_of(outreach, 3)[0]
    outreach.update("sequenceState", first, state="finished", stateChangedAt=now)
    outreach.update("sequenceState", second, state="active", stateChangedAt=now)
    outreach.opt_out(8)
    newcomer = outreach.add_prospect(firstName="Frédérique", lastName="Nouvelle", emails=["f.nouvelle@example.fr"])
    outreach.add_state(newcomer, 1, "active", stateChangedAt=now)
    skipped, as_if_done = [
        one.id
        for one in outreach.all("task")
        if one.values.get("state") in {"incomplete", "pending"}
        and one.values.get("sequence")
        and one.values.get("prospect")
    ][:2]
    outreach.skip_task(skipped)
    related = {name: outreach.get("task", as_if_done).values.get(name) for name in ("prospect", "sequence")}
    done: dict[str, Any] = {
        "state": "complete",
        "completed": True,
        "completedAt": now,
        "stateChangedAt": now,
        "completer": 1,
    }
    outreach.update("task", as_if_done, **done)
    outreach.add("event", {"name": "skip_task", "eventAt": now, "task": as_if_done, **related})
    return [
        Happening("sequence_state_finished", f"prospect 1 finished a sequence (state {first})", "Finished"),
        Happening("sequence_state_resumed", f"prospect 3 was resumed (state {second})", "No Email stays: Opted Out"),
        Happening("opt_out", "prospect 8 opted out of everything", "Opted Out, No Email"),
        Happening("prospect_created", f"prospect {newcomer} is new, and in a sequence", "a new Person"),
        Happening("skip_task", f"task {skipped} was skipped", "a Cancelled Task"),
        Happening("skip_task", f"task {as_if_done} was skipped, and looks as if it were done", "a Cancelled Task"),
    ]


def _hands_in_workbooks(outreach: OutreachStore, workbooks: WorkbooksStore, now: Instant) -> list[Happening]:
    alive = [person["id"] for person in workbooks.all(_PERSON)]
    edited, deleted = alive[0], alive[6]
    workbooks.update(_PERSON, edited, person_job_title="Board member")
    workbooks.delete(_PERSON, deleted)
    ended = _states_of(outreach, 7)[0]
    outreach.update("sequenceState", ended, state="finished", stateChangedAt=now)
    outreach.update("sequence", 1, name="Trial follow-up 2")
    gone = _states_of(outreach, 22)[0]
    outreach.delete("sequenceState", gone)
    outreach.update("prospect", 2, optedOut=False, optedOutAt=None, emailOptedOut=False)
    quiet = outreach.get("prospect", 27).values["updatedAt"]
    outreach.update("prospect", 27, optedOut=True, optedOutAt=now, updatedAt=quiet)
    outreach.add("sequenceState", {"prospect": 19, "sequence": 2, "state": "pending", "stateChangedAt": now})
    return [
        Happening("", f"somebody edited Person {edited} by hand", "what they wrote stays"),
        Happening(
            "", f"somebody deleted Person {deleted}, and prospect 7 finished a sequence", "a new Person, Finished"
        ),
        Happening("sequence_state_destroyed", f"state {gone} of prospect 22 was removed", "the state before it"),
        Happening("opt_out_revert", "prospect 2 opted in again", "the state, and No Email stays"),
        Happening("opt_out", "prospect 27 opted out, and kept its updatedAt", "Opted Out, No Email"),
        Happening("sequence_state_created", "prospect 19 was put into its first sequence", "Pending"),
    ]


STEPS: Mapping[int, Callable[[OutreachStore, WorkbooksStore, Instant], list[Happening]]] = {
    1: _a_working_day,
    2: _hands_in_workbooks,
}
"""What happens next, for the acts of a demo: believable changes on both sides."""


def _states_of(outreach: OutreachStore, prospect: int) -> list[int]:
    return sorted(outreach.pointing_to("sequenceState.prospect", prospect))
