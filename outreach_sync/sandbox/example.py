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
_SINCE = 10 * _MINUTE
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
_OPT_OUTS: Mapping[str, dict[str, Any]] = {
    "all": {"optedOut": True, "optedOutAt": -_SINCE, "emailOptedOut": True, "emailsOptStatus": "opted_out"},
    "email": {"emailOptedOut": True, "emailsOptStatus": "opted_out", "emailsOptedAt": -_SINCE},
    "email_undated": {"emailOptedOut": True},
    "trashed": {"trashedAt": -_SINCE},
}
"""The attributes of each kind of opt-out; times count from the prospect's last change, here and in task cases."""


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
    """Fills both stores. Chance is asked in a fixed order, so that the same seed gives the same."""

    def __init__(self, outreach: OutreachStore, workbooks: WorkbooksStore, now: Instant, seed: int) -> None:
        self.outreach = outreach
        self.workbooks = workbooks
        self._is_bare = "cf_person_sequence_state" not in workbooks.table(_PERSON).fields
        self._now = now - now % 1000
        self._chance = random.Random(seed)  # noqa: S311 - chance without secrets
        self._states: list[tuple[int, int, int, int]] = []  # state, prospect, sequence, step
        self.person = 0

    def sequences(self) -> None:
        created = self._ago(400 * _DAY)
        for first, last in (("Sam", "Seller"), ("Robin", "Rep")):
            named = {"firstName": first, "lastName": last, "name": f"{first} {last}"}
            self.outreach.add_user(**named, email=f"{first.lower()}@vendor.example", updatedAt=created)
        for name in SEQUENCES:
            id_ = self.outreach.add_sequence(name, owner=1, transactional=name == "Terms update", updatedAt=created)
            for order, kind in enumerate(_STEPS, start=1):
                self.outreach.add_step(id_, stepType=kind, order=order, displayName=f"Step {order}", updatedAt=created)

    def prospect(self, id_: int) -> None:
        """Add a prospect, with the People and the sequence states that go with it."""
        first = FIRST_NAMES[(id_ - 1) % len(FIRST_NAMES)]
        last = LAST_NAMES[(id_ - 1) // 2 % len(LAST_NAMES)]
        special = SPECIALS.get(id_, Special("", person="none" if id_ % 7 == 0 else "email"))
        ordinary = (f"{_letters(first)}.{_letters(last)}{id_}@example.com",)
        updated = self.recently()
        attributes = {
            "id": id_,
            "firstName": first,
            "lastName": last,
            "name": f"{first} {last}",
            "emails": list(ordinary if special.emails is None else special.emails),
            "title": TITLES[id_ % len(TITLES)],
            "company": "Example plc",
            "externalId": special.external_id,
            "owner": 1 + id_ % 2,
            "createdAt": self._ago(300 * _DAY),
            "updatedAt": updated,
            **{name: _moved(name, value, updated) for name, value in _OPT_OUTS.get(special.opt_out, {}).items()},
        }
        if special.person not in {"none", "same_as_before"}:
            self._add_person(attributes, special.person)
        if special.person == "external_id":
            attributes["externalId"] = self.workbooks.get(_PERSON, self.person)["object_ref"]
        self.outreach.add_prospect(**attributes)
        words = special.states
        drawn = [] if words is not None else self._chance.choices(STATES, _CHANCES, k=self._chance.choice((2, 3, 3, 4)))
        for word in words or drawn:
            self._add_state(id_, word)

    def task(self, number: int) -> None:
        case = _TASK_CASES[number % len(_TASK_CASES)]
        state, prospect, sequence, step = self._states[number * 7 % len(self._states)]
        updated = self.recently()
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
        self.outreach.add("task", attributes, shapes={"prospect": case.shape})

    def _add_state(self, prospect: int, word: str) -> None:
        updated = self.recently()
        sequence = self._chance.randint(1, len(SEQUENCES))
        step = (sequence - 1) * len(_STEPS) + self._chance.randint(1, len(_STEPS))
        never_changed = (len(self._states) + 1) % 17 == 0
        changed = None if never_changed else Instant(updated - self._chance.randint(0, 120) * _MINUTE)
        times = {"stateChangedAt": changed, "createdAt": Instant(updated - 5 * _DAY), "updatedAt": updated}
        id_ = self.outreach.add_state(prospect, sequence, word, sequenceStep=step, user=1, **times)
        self._states.append((id_, prospect, sequence, step))

    def _add_person(self, prospect: dict[str, Any], how: str) -> None:
        email = prospect["emails"][-1 if how == "second_email" else 0]
        fields: dict[str, Any] = {
            "name": prospect["name"],
            "person_first_name": prospect["firstName"],
            "person_last_name": prospect["lastName"],
            "person_job_title": prospect["title"],
            "email": email,
        }
        changes: dict[str, dict[str, Any]] = {
            "other_case": {"email": email.lower()},
            "external_id": {"email": "somebody.else@example.com"},
            "reference": {"email": None, "created_through_reference": f"outreach-prospect-{prospect['id']}"},
            "no_email": {"no_email_soliciting": True, "cf_person_sequence_state": "Opted Out"},
        }
        fields |= changes.get(how, {})
        if self._is_bare:
            fields.pop("cf_person_sequence_state", None)
        self.person = self.workbooks.add_person(**fields)
        if how == "twice":
            self.workbooks.add_person(**fields)
        if how == "deleted":
            self.workbooks.delete(_PERSON, self.person)

    def _ago(self, milliseconds: int) -> Instant:
        return Instant(self._now - milliseconds)

    def recently(self) -> Instant:
        """Draw a time in the last sixty days, to the second; one in five of them on the same full hour."""
        if self._chance.random() < 0.2:  # noqa: PLR2004 - a bulk action stamps many alike
            return self._ago(3 * _DAY)
        return self._ago(self._chance.randint(3600, 60 * 86_400) * 1000)


def load_example(outreach: OutreachStore, workbooks: WorkbooksStore, now: Instant, seed: int = 1) -> None:
    """Fill two empty stores: 60 prospects, 8 sequences, about 150 states, 80 tasks, and the People to go with them."""
    builder = _Builder(outreach, workbooks, now, seed)
    builder.sequences()
    for id_ in range(1, PROSPECTS + 1):
        builder.prospect(id_)
    for shape in ("null", "links", "empty"):  # states whose prospect is null, only linked to, or left out
        values = {"sequence": 1, "state": "finished", "updatedAt": builder.recently()}
        outreach.add("sequenceState", values, shapes={"prospect": shape})
    outreach.add_state(99_999, 2, "finished", updatedAt=builder.recently())  # or does not exist
    for number in range(_TASKS):
        builder.task(number)
    for number in range(1, 7):  # only Workbooks knows them, one of whom wants no e-mail
        email = f"only{number}@example.org"
        workbooks.add_person(name=f"Only Workbooks {number}", email=email, no_email_soliciting=number == 1)
    workbooks.add_task(name="Ring back", primary_contact_id=builder.person, primary_contact_type=_PERSON)


def _letters(name: str) -> str:
    """Write a name with the letters a to z, as people do in their addresses."""
    lowered = name.lower()
    for letter, plain in _PLAIN_LETTERS.items():
        lowered = lowered.replace(letter.lower(), plain)
    decomposed = unicodedata.normalize("NFKD", lowered)
    return "".join(letter for letter in decomposed if letter.isascii() and letter.isalnum())


def _moved(name: str, value: Any, updated: Instant) -> Any:
    """Turn an offset into a time; everything else is a value already."""
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
    tasks = [one for one in outreach.all("task") if one.values.get("sequence") and one.values.get("prospect")]
    skipped, as_if_done = [one.id for one in tasks if one.values.get("state") in {"incomplete", "pending"}][:2]
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
