"""Every fault there is, each as a scenario: how it is switched on, and what has to be put right by hand afterwards."""

from __future__ import annotations

from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.consent import code_from
from outreach_sync.errors import UsageError
from outreach_sync.outreach.client import Outreach
from outreach_sync.provision import Wish, planned, provide
from outreach_sync.sandbox.workbooks.schema import SEQUENCE_STATES
from outreach_sync.workbooks.client import Workbooks
from outreach_sync.workbooks.wire import EMAIL, REFERENCE
from tests.harness import PERSON, TASK, NoWaiting, consent
from tests.torture.local_faults import LOCAL, status_of
from tests.torture.world import ALL_FIELDS, DAY, HOUR, USUAL, World, populate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TIME = ALL_FIELDS["state_updated_at"]
EXPECTED = frozenset({0, 1, 3, 4})
SHRUGGED_OFF = frozenset({1})
"""The small world has an ambiguous prospect, so a cycle that nothing disturbs ends with 1."""
WEEK_MS = 7 * DAY


@dataclass(frozen=True)
class Scenario:
    """One fault of a service (`outreach`, `workbooks`, or `local`): the name of its switch, with options."""

    service: str
    fault: str
    options: Mapping[str, Any] = field(default_factory=dict)
    variant: str = ""  # tells scenarios of one fault apart
    statuses: frozenset[int] = EXPECTED  # how cycles under the fault may end
    mend: Callable[[World], None] = lambda _world: None  # what an administrator has to do afterwards
    compare: bool = False  # something was changed that only `reconcile` can find
    wait_ms: int = 0  # until everything can be seen again
    config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # other settings, by section
    also: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # other switches of the same service
    life: Callable[[World], object] = lambda _world: None  # what else happens under the fault

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.service, self.fault, self.variant)))


class Outcome(NamedTuple):
    """What happened: exit statuses under the fault, and what the oracle found after it."""

    during: list[int]
    violations: list[str]
    struck: bool  # the fault fired, as far as it is a service's


def happens(
    scenario: Scenario, *, at_first: bool, times: int | None = None, after: int = 0, lanes: tuple[int, int] = USUAL
) -> Outcome:
    """Let a scenario happen, in the first load or later, and return what came of it."""
    with closing(World()) as world:
        world.send_in(lanes)
        for section, values in {"outreach": {"page_size": 4}, **scenario.config}.items():
            world.change(section, **values)
        populate(world)
        if not at_first:
            world.load()
            go_on(world, 1)
        during, struck = _suffer(world, scenario, times, after)
        world.heal()
        world.change("outreach", page_size=1000)
        scenario.mend(world)
        world.note()
        world.pass_time(scenario.wait_ms)
        odd = [f"ended with {status}" for status in during if status not in scenario.statuses]
        return Outcome(during, [*odd, *world.left_wrong(reconcile_first=scenario.compare)], struck)


def _suffer(world: World, scenario: Scenario, times: int | None, after: int) -> tuple[list[int], bool]:
    if scenario.service == "local":
        return LOCAL[scenario.fault](world), True
    service = world.sandbox.outreach if scenario.service == "outreach" else world.sandbox.workbooks
    struck, take = set[str](), service.faults.take

    def noted(name: str, kind: str | None = None, **about: object) -> Any:
        options = take(name, kind, **about)
        struck.update([name] if options is not None else [])
        return options

    service.faults.take = noted
    service.faults.on(scenario.fault, times=times, after=after, **scenario.options)
    for fault, options in scenario.also.items():
        service.faults.on(fault, **options)
    during = [status_of(world)]
    go_on(world, 2)
    scenario.life(world)
    world.note()
    during.append(status_of(world))
    return during, scenario.fault in struck


def go_on(world: World, wave: int) -> None:
    """Let life go on at both ends: updates, an opt-out, a new person, a skipped task, edits, a deletion."""
    out, crm, at = world.outreach, world.workbooks, world.now()
    for state in out.all("sequenceState")[wave::3]:
        out.update("sequenceState", state.id, state="paused" if wave % 2 else "finished", stateChangedAt=at)
    out.opt_out(4 + wave)
    for task in out.all("task"):
        if task.values["state"] == "incomplete":
            out.skip_task(task.id)
    new = out.add_prospect(firstName=f"New{wave}", lastName="Example", emails=[f"new{wave}@example.com"])
    here = {"sequence": 1, "sequenceStep": 1}
    state = out.add_state(new, **here, stateChangedAt=at)
    out.add_task(new, taskType="sequence_step_call", action="call", sequenceState=state, **here)
    out.add_task(2, taskType="sequence_step_email", state="complete", completed=False, sequence=2)
    world.edit_person(crm.all(PERSON)[wave]["id"], person_job_title=f"Chief {wave}")
    linked = sorted({*world.history.matched[3 + wave]})
    if linked and not any(one.values.get("prospect") == 3 + wave for one in out.all("task")):
        crm.delete(PERSON, linked[0])
        out.add_state(3 + wave, 2, "pending", stateChangedAt=at)
    world.note()


# -- what else may happen


def _merge_two(world: World) -> None:
    """Merge Bo into Ada, who has Bo's tasks from then on."""
    world.outreach.merge_prospects(1, 2)
    world.history.contacts[1] |= world.history.matched[2]


def _lose_the_consent(world: World) -> None:
    """Consent once more: the code of an answer that is not ours is not taken."""
    tokens = Outreach(world.config(), NoWaiting(world.time)).tokens
    brought = consent(tokens.authorize_url("s3"))
    with suppress(UsageError) if "state=" not in brought else nullcontext():
        tokens.exchange_code(code_from(brought, "s3"))
        assert "state=s3" in brought


def _provide_the_time(world: World) -> None:
    """Lose the field of a time, and have `provision` make it again."""
    stop = NoWaiting(world.time)
    client, wish = Workbooks(world.config(), stop), Wish({"state_updated_at": _TIME}, (), "datetime")
    world.workbooks.remove_custom_field(_TIME)
    with suppress(UsageError):
        provide(client, planned(client, wish), wish, stop, patience_seconds=20)


# -- what an administrator does


def _consent_again(world: World) -> None:
    world.change("outreach", refresh_token=world.sandbox.outreach.tokens.new_refresh())


def _give_back_the_label(world: World) -> None:
    if "Finished" not in world.workbooks.picklist_values(SEQUENCE_STATES):
        world.workbooks.add("admin/picklist_entries", picklist_id=SEQUENCE_STATES, value="Finished")


def _give_back_the_field(world: World) -> None:
    if ALL_FIELDS["sequence_state"] not in world.workbooks.table(PERSON).fields:
        world.workbooks.add_custom_field("Sequence State", "picklist", picklist_id=SEQUENCE_STATES)


def _give_back_the_time(world: World) -> None:
    with suppress(KeyError):
        world.workbooks.remove_custom_field(_TIME)
    world.workbooks.add_custom_field("State Updated at", "datetime")


def _give_back_the_dashes(world: World) -> None:
    for entry in world.workbooks.all("admin/picklist_entries"):
        if entry["picklist_id"] == SEQUENCE_STATES and entry["value"].startswith("Active - "):
            dashed = entry["value"].replace(" - ", " \u2013 ")
            world.workbooks.update("admin/picklist_entries", entry["id"], value=dashed)


def _allow_writing_again(world: World) -> None:
    for kind in (PERSON, TASK):
        for record in world.workbooks.table(kind).records.values():
            record.read_only = False


def _excuse_seconds(world: World) -> None:
    """The field keeps whole minutes, now as before."""
    world.history.keeps_minutes = True


def _excuse_cut(world: World) -> None:
    """What was cut stays so: it is what the field makes of the text."""
    world.history.keeps_characters = 30


def _all(service: str, names: str, **more: Any) -> list[Scenario]:
    return [Scenario(service, fault, **more) for fault in names.split()]


def _variants(service: str, fault: str, option: str, values: tuple[Any, ...], **more: Any) -> list[Scenario]:
    return [Scenario(service, fault, {option: value}, str(value), **more) for value in values]


_LABEL, _LISTED, _NO_EMAIL = (ALL_FIELDS[role] for role in ("sequence_state", "sequences", "no_email"))
_SHORT = {"seconds": 0.05}
_DONE = {"committed": True}
_EXPIRED = {"token_expired_mid_walk": {"times": 1, "after": 1}}
_LATELY = {"sync": {"start": "90d"}}
_REVOKED: Any = {"mend": _consent_again, "also": _EXPIRED}
_PROVIDED: Any = {"life": _provide_the_time, "mend": _give_back_the_time, "compare": True}
_FORMS = ("seconds", "epoch", "iso", "iso_naive", "http_date", "none")
_SEEN_LATE: Any = {"statuses": SHRUGGED_OFF, "wait_ms": DAY + HOUR}
_LATER = {**_SEEN_LATE, "compare": True}
"""What the faults that hide something for a day have in common."""
_WAITED_FOR: Any = {"statuses": SHRUGGED_OFF, "also": _EXPIRED, "config": {"sync": {"patience": "2m"}}}
_MINUTES: Any = {"statuses": SHRUGGED_OFF, "mend": _excuse_seconds, "compare": True}
_LARGE_PAGES = {"outreach": {"page_size": 100}}

OUTREACH = [
    *_all(
        "outreach",
        "server_error_500 gateway_timeout_504 html_with_200 broken_json body_cut_short reset_before_answer"
        " reset_during_answer redirect_elsewhere token_expired_mid_walk scope_missing governance_refuses"
        " changes_while_paged empty_page_with_next cursor_loops cursor_refused next_link_other_host"
        " next_link_missing_links",
    ),
    *_all(
        "outreach",
        "remaining_two_numbers rate_headers_missing date_missing out_of_order duplicate_across_pages short_pages"
        " next_link_null to_one_links_only to_one_empty unknown_attributes_added ids_as_strings",
        statuses=SHRUGGED_OFF,
    ),
    *_all(
        "outreach",
        "unknown_state stamps_ahead skip_is_not_completed skip_is_like_done skip_is_another_word skip_destroys_task"
        " skip_keeps_updated_at skip_keeps_step opt_out_keeps_updated_at event_names_refused event_missing"
        " event_repeated event_renamed event_stamped event_without event_relations_die",
        **_LATER,
    ),
    *_variants("outreach", "merge_names", "which", ("loser", "winner", "both"), life=_merge_two, **_LATER),
    Scenario("outreach", "trashed_listed", life=lambda one: one.outreach.update("prospect", 2, trashedAt=0), **_LATER),
    Scenario("outreach", "to_one_null", {"relationship": "sequence"}, **_LATER),
    # whole answers
    Scenario("outreach", "date_missing", {}, "of a first load that reads so far back", config=_LATELY),
    Scenario("outreach", "url_too_long", {"bytes": 600}),
    *_variants("outreach", "rate_limited", "form", (*_FORMS, "odd")),
    Scenario("outreach", "rate_limited", {"form": "seconds", "wait": 3600}, "an hour"),
    Scenario("outreach", "quota_nearly_spent", {}, config={"outreach": {"page_size": 4, "reserve": 2}}, wait_ms=HOUR),
    Scenario("outreach", "remaining_two_numbers", {"swapped": True}, "swapped", statuses=SHRUGGED_OFF),
    *_variants("outreach", "reset_in_form", "form", _FORMS, statuses=SHRUGGED_OFF),
    Scenario("outreach", "bad_gateway_large_pages", {"threshold": 50}, statuses=SHRUGGED_OFF, config=_LARGE_PAGES),
    *_variants("outreach", "maintenance_503", "form", _FORMS[:5]),
    Scenario("outreach", "hang", _SHORT),
    Scenario("outreach", "slow", {"seconds": 0.01}),
    *_variants("outreach", "clock_skew", "ms", (DAY + HOUR, -DAY - HOUR), **_SEEN_LATE),
    *_variants("outreach", "gateway_page", "status", (401, 403, 404, 405, 413, 422, 429, 501, 503)),
    Scenario("outreach", "gateway_page", {"status": 403, "text": True, "kind": "token"}, "403 token"),
    Scenario("outreach", "huge_answer", {"megabytes": 300}),
    # who we are
    *_all("outreach", "refresh_refused_once refresh_rotates_hard", statuses=SHRUGGED_OFF, also=_EXPIRED),
    Scenario("outreach", "refresh_revoked", **_REVOKED),
    *_variants("outreach", "refresh_revoked", "status", (401,), **_REVOKED),
    *_variants("outreach", "refresh_revoked", "error", ("token_revoked", "unauthorized"), **_REVOKED),
    *_variants("outreach", "refresh_revoked", "form", ("html", "empty"), **_REVOKED),
    Scenario("outreach", "refresh_revoked", {"status": 401, "form": "empty"}, "401 form=empty", **_REVOKED),
    *_all("outreach", "second_access_token_refused token_minute_rule", also=_EXPIRED),
    Scenario("outreach", "token_minute_rule", {"retry_after": 60}, "retry_after=60", **_WAITED_FOR),
    Scenario("outreach", "consent_state_lost", statuses=SHRUGGED_OFF, life=_lose_the_consent),
    *_variants("outreach", "unauthorized_without_body", "form", ("empty", "html"), also=_EXPIRED),
    Scenario("outreach", "scope_missing", {"scope": "prospects.read"}, "prospects"),
    Scenario("outreach", "governance_hides", wait_ms=DAY, compare=True),
    Scenario("outreach", "governance_hides", {"type": "sequence"}, "sequences", statuses=SHRUGGED_OFF, compare=True),
    # pages and records
    Scenario("outreach", "id_list_cut", {"ids": 2}, statuses=SHRUGGED_OFF, config=_LATELY),
    Scenario("outreach", "id_list_refused", {"ids": 2}, config=_LATELY),
    Scenario("outreach", "late_visibility", **_SEEN_LATE),
    Scenario(
        *("outreach", "late_visibility", {"ms": 20 * HOUR}, "20 hours"), statuses=frozenset({0, 1}), wait_ms=DAY + HOUR
    ),
    Scenario(
        *("outreach", "cursor_bound_to_size"),
        config={"outreach": {"page_size": 8}},
        also={"bad_gateway_large_pages": {"threshold": 5, "after": 3}},
    ),
    Scenario("outreach", "included_missing", statuses=SHRUGGED_OFF, compare=True),
]
WORKBOOKS = [
    *_all(
        "workbooks",
        "answer_lost_after_commit body_cut_short broken_json reset_before_answer html_with_200 invalid_utf8 error_500"
        " unavailable_503 redirect_302 key_refused database_being_migrated filter_ignored records_hidden not_taken"
        " created_rows_appear_late no_permission_to_read refuse_one refuse_all field_required emoji_lost"
        " blanks_trimmed ampersand_escaped top_level_success_true_on_partial"
        " top_level_success_false_on_success_info_missing results_longer results_shorter results_reordered stale_some"
        " stale_all stale_again_and_again stale_without_text deleted_id_fails_batch_404 deleted_id_shortens_results"
        " no_permission_to_create no_permission_to_update",
    ),
    *_all(
        "workbooks",
        "eq_case_sensitive eq_without_accents eq_without_blanks backslash_escapes skip_total_unknown"
        " text_line_ends_crlf errors_flat date_missing deleted_listed sort_ignored",
        statuses=SHRUGGED_OFF,
    ),
    # on the wire, and statuses
    *(
        Scenario("workbooks", fault, {**options, **_DONE}, "done")
        for fault, options in (("reset_before_answer", {}), ("hang", _SHORT), ("html_with_200", {}))
    ),
    Scenario("workbooks", "hang", _SHORT),
    Scenario("workbooks", "slow", {"seconds": 0.01}),
    Scenario("workbooks", "huge_answer", {"megabytes": 80}),
    *_variants("workbooks", "error_500", "status", (502, 504)),
    Scenario("workbooks", "error_500", {"kind": "write"}, "write"),
    Scenario("workbooks", "error_500", {**_DONE, "kind": "write"}, "done"),
    Scenario("workbooks", "error_500", {"status": 504, **_DONE, "kind": "write"}, "504, done"),
    Scenario("workbooks", "rate_limited_429", {"retry_after": "1"}),
    Scenario("workbooks", "rate_limited_429", {}, "without a word"),
    Scenario("workbooks", "redirect_302", {"location": "other"}, "to another host"),
    Scenario("workbooks", "redirect_302", {"location": "login"}, "to the login page"),
    Scenario("workbooks", "redirect_302", {**_DONE, "kind": "write"}, "done"),
    *(
        Scenario("workbooks", "delaying_redirect", {"follow": follow, "done": done}, f"{follow} done={done}")
        for follow, done in (("repeat", 0), ("repeat", 0.5), ("same", 0.5), ("get", 0.5), ("back", 1), ("elsewhere", 1))
    ),
    *_variants("workbooks", "gateway_page", "status", (401, 403, 404, 405, 413, 422, 501)),
    *_variants("workbooks", "not_taken", "status", (405, 406)),
    Scenario("workbooks", "gateway_page", {"status": 404, "text": True, **_DONE}, "404 text, done"),
    Scenario("workbooks", "key_refused", {"status": 403, "reason": "no_permission_for_api"}, "403"),
    Scenario("workbooks", "failure_message", also={"key_refused": {"reason": "no_session"}}),
    # look-ups
    Scenario("workbooks", "created_rows_appear_late", {"lookups": 3}, "three look-ups"),
    *_all("workbooks", "datetime_reads_back_as_date custom_datetime_is_var", statuses=SHRUGGED_OFF, compare=True),
    Scenario("workbooks", "skip_total_unknown", {"refused": True}, "refused", statuses=SHRUGGED_OFF),
    Scenario("workbooks", "no_permission_to_read", {"class": TASK, "status": 404}, "tasks, 404"),
    *_variants("workbooks", "column_missing", "field", ("id", "lock_version", EMAIL, REFERENCE, _NO_EMAIL)),
    # writes
    Scenario("workbooks", "text_cut", {"field": _LISTED}, mend=_excuse_cut, compare=True),
    *_variants("workbooks", "refuse_value", "field", (_LABEL, "name", _NO_EMAIL)),
    *_variants("workbooks", "information_missing", "form", ("empty", "message", "absent")),
    *_variants("workbooks", "stale_text_in", "place", ("failures", "errors", "affected_object_errors", "information")),
    *_all("workbooks", "delete_between_read_and_write merge_between_read_and_write", compare=True),
    Scenario("workbooks", "merge_between_read_and_write", {"alias": True}, "still answered", compare=True),
    Scenario("workbooks", "read_only_between_read_and_write", mend=_allow_writing_again),
    Scenario("workbooks", "no_permission_to_create", {"class": TASK}, "tasks"),
    Scenario("workbooks", "no_permission_to_update", {"class": PERSON}, "people"),
    *_variants("workbooks", "field_not_updateable", "field", (_LABEL, _NO_EMAIL, _LISTED)),
    *_variants("workbooks", "field_not_createable", "field", (_LABEL, _NO_EMAIL)),
    *_variants("workbooks", "datetime_without_seconds", "how", ("cut", "round"), **_MINUTES),
    # the account
    *_all("workbooks", "custom_field_slow datetime_word custom_datetime_is_date", **_PROVIDED),
    Scenario("workbooks", "picklist_entry_missing", {"value": "Finished"}, mend=_give_back_the_label),
    Scenario("workbooks", "custom_field_removed", {"field": _LABEL}, mend=_give_back_the_field, compare=True),
    Scenario("workbooks", "labels_with_hyphen", mend=_give_back_the_dashes),
]
SCENARIOS = OUTREACH + WORKBOOKS + _all("local", " ".join(LOCAL), statuses=frozenset({0, 1, 2, 3, 4, 5, 143}))
