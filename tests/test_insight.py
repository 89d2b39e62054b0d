import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outreach_sync import errors
from outreach_sync.config.model import Tasks
from outreach_sync.deliver import FIRST_LOAD_DONE
from outreach_sync.files import beside
from outreach_sync.insight.check import TASK_FIELDS, Check, exit_status, looking
from outreach_sync.insight.explain import by_kind, failure_document, kind_of
from outreach_sync.insight.status import firings_a_year, overdue_runs, status_document, token_age, yearly_cost
from outreach_sync.instants import Instant, parse_iso
from outreach_sync.outreach.auth import TOKENS, StoredTokens, TokenFile
from outreach_sync.outreach.rows import Wanted, fields_of
from outreach_sync.records import Stream
from outreach_sync.rules.person import Ambiguous
from outreach_sync.rules.skipped import named_attributes
from outreach_sync.sandbox.outreach.schema import RESOURCES
from outreach_sync.store import Store, holder, run_lock
from outreach_sync.store.outbox import Entry
from tests.harness import DAY

NOON = parse_iso("2026-09-02T12:00:00Z")  # a Wednesday


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Store]:
    with Store.open_scratch(tmp_path / "state.db") as opened:
        yield opened


def _ran(state: Store, began: int, status: int | None = 0, *, command: str = "run", **summary: Any) -> None:
    with state.transaction():
        run_id = f"run {len(state.history.runs(10_000))}"
        state.history.begin(run_id, command, Instant(began))
        if status is not None:
            outcome = {0: "ok", 1: "partial"}.get(status, "failed")
            state.history.finish(run_id, began + 1000, status, outcome, summary, heard_at=summary.pop("heard", None))


def _asked(state: Store, requests: int, count: int = 1, *, status: int = 0, command: str = "run") -> None:
    for _ in range(count):
        _ran(state, NOON, status, command=command, requests={"outreach": requests, "workbooks": 0})


def test_a_sync_that_runs_in_time_without_refusals_needs_nobody(state: Store, config_of: Any) -> None:
    _ran(state, NOON - 40_000)
    now, late = (status_document(state, config_of(), Instant(NOON + by)) for by in (0, 3_600_000))
    assert (now["ok"], now["needs"], now["next_run"]) == (True, [], "2026-09-02T12:09:20Z")
    assert (late["ok"], late["next_run"]) == (False, "2026-09-02T13:00:00Z"), "what is overdue is due now"


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        *(([6], "the last run ended with 6: Why it ended."), ([70], "the last run ended with 70")),
        *(([None], "the last run was killed or broke down"), ([4, 4, 4], "the last 3 runs ended with 4")),
        *(([4], "the only run so far ended with 4: Why"), ([0, 4, 4], None), ([143], None), ([-6, -4, 0], None)),
        ([-6, 0, 0], "the last reconcile ended with 6: Why it ended."),
    ],
)
def test_a_run_that_the_next_does_not_mend_is_said(statuses: Any, said: Any, state: Store, config_of: Any) -> None:
    for place, status in enumerate(statuses):
        command = "reconcile" if status is not None and status < 0 else "run"
        _ran(state, NOON - 60_000 + place, status and abs(status), command=command, error="Why it ended.")
    needs = status_document(state, config_of(), NOON)["needs"]
    assert [need[: len(said or "")] for need in needs] == ([said] if said else [])


def test_a_warning_of_the_last_run_is_what_somebody_should_read(state: Store, config_of: Any) -> None:
    _ran(state, NOON, warnings=["the token may not read events: add the scope events.read"])
    assert "events.read" in status_document(state, config_of(), NOON)["needs"][0]


def test_what_goes_on_now_is_told_by_the_lock_without_taking_it(state: Store, config_of: Any) -> None:
    config = config_of()
    _ran(state, NOON - 7_200_000)
    _ran(state, NOON - 10_000, None)
    with run_lock(config.state.path, "reconcile"):
        document = status_document(state, config, NOON, holder(config.state.path))
    assert (document["running"]["command"], document["running"]["pid"]) == ("reconcile", os.getpid())
    assert (document["ok"], document["overdue"], document["next_run"]) == (True, [], None)
    assert holder(config.state.path) is None


AFTERNOONS, SUNDAYS = {"cron": "0 14-18 * * *"}, {"reconcile": "0 3 * * sun"}
AUGUST = {"run": "2026-09-02T11:55:00Z", "reconcile": "2026-08-23T03:00:01Z"}


@pytest.mark.parametrize(
    ("schedule", "last", "due"),
    [
        *(({}, {}, {}), ({}, {"run": "2026-09-02T11:46:00Z"}, {}), ({}, AUGUST, {})),
        ({}, {"run": "2026-09-02T11:44:00Z"}, {"run": "2026-09-02T11:54:00Z"}),  # its pause and five minutes
        (AFTERNOONS, {"run": "2026-09-01T18:00:05Z"}, {}),  # it does not fire at night
        (AFTERNOONS, {"run": "2026-09-01T17:00:05Z"}, {"run": "2026-09-01T18:00:00Z"}),
        (SUNDAYS, AUGUST, {"reconcile": "2026-08-30T03:00:00Z"}),
    ],
)
def test_what_was_due_over_five_minutes_ago_is_overdue(schedule: Any, last: Any, due: Any, config_of: Any) -> None:
    found = overdue_runs(config_of(schedule=schedule), {name: parse_iso(at) for name, at in last.items()}, NOON)
    assert found == {command: parse_iso(at) for command, at in due.items()}


def test_runs_in_the_wrong_year_do_not_hide_that_nothing_runs(state: Store, config_of: Any) -> None:
    for began in (NOON - 20 * DAY, *(NOON + 10 * 365 * DAY,) * 11):
        _ran(state, began, command="reconcile")
        _ran(state, began)
    assert len(status_document(state, config_of(schedule=SUNDAYS), NOON)["overdue"]) == 2


def test_a_reconcile_before_the_latest_runs_counts_though_the_clock_was_wrong(state: Store, config_of: Any) -> None:
    _ran(state, NOON - 9_000 * DAY, command="reconcile", heard=NOON - DAY, requests={"outreach": 77, "workbooks": 0})
    for number in range(400):
        _ran(state, NOON - (400 - number) * 60_000)
    document = status_document(state, config_of(schedule=SUNDAYS), NOON)
    assert (document["overdue"], len(document["runs"]), document["yearly"]["per_reconcile"]) == ([], 10, 77)


def test_a_refresh_token_is_warned_of_at_a_week_by_outreachs_clock_and_if_others_can_read_it(tmp_path: Path) -> None:
    file = TokenFile(beside(tmp_path / "state.db", TOKENS))
    young = StoredTokens("access", None, "refresh", Instant(NOON - 6 * DAY), clock_offset_ms=0)
    old = young._replace(clock_offset_ms=2 * DAY)
    warnings = []
    for stored in (young, old, old._replace(refresh_token="")):  # server to server there is none that could die
        file.write(stored)
        warnings.append((token_age(tmp_path / "state.db", NOON) or {})["warning"])
    assert ("8 days" in warnings.pop(1), warnings) == (True, [None, None])
    file.path.chmod(0o644)
    assert "read by others" in (token_age(tmp_path / "state.db", NOON) or {})["warning"]


def test_a_cycle_costs_a_request_a_stream_until_whole_runs_are_measured(state: Store, config_of: Any) -> None:
    cost = yearly_cost(config_of(), state)
    sweeps, tokens = 4 * 365, 12 * 365
    assert (cost["cycles"], cost["measured"], cost["requests"]) == (52_560, False, 52_560 * 4 + sweeps + tokens)
    _asked(state, 100_000)
    with state.transaction():
        state.facts.put(FIRST_LOAD_DONE, "run 0")
    _asked(state, 3, 9)
    _asked(state, 13)
    _asked(state, 0, 50, status=4)
    cost = yearly_cost(config_of(), state)
    assert (cost["per_cycle"], cost["measured"], cost["requests"]) == (4.0, True, 210_240)
    assert yearly_cost(config_of(schedule={"cron": "*/15 6-20 * * mon-fri"}), state)["cycles"] == 261 * 15 * 4
    assert firings_a_year("0 3 * * sun") == 52
    assert firings_a_year("0,30 6-20 1 * *") == 12 * 30
    assert firings_a_year("0 0 1 * mon") == 52 + 12 - 3  # either is enough; three firsts of a month are Mondays


def test_each_error_becomes_a_check_warnings_end_with_0_and_the_nearest_cause_wins() -> None:
    for error, expected in (
        (errors.ConfigError("wrong", problems=("line 3",)), 2), (errors.StateError("damaged"), 2),
        (errors.NotAllowedError("no"), 3), (errors.UnavailableError("down"), 4), (errors.LockHeldError("busy"), 0),
    ):  # fmt: skip
        with looking("it") as found:
            raise error
        assert exit_status(found) == expected, error
    with pytest.raises(errors.InterruptedByError), looking("it"):
        raise errors.InterruptedByError(15)
    fine, warning, failure = (Check("it", status, "") for status in ("ok", "warn", "fail"))
    assert exit_status([warning, fine]) == 0
    assert exit_status([failure._replace(exit_status=4), failure, warning]) == 3


def test_the_known_attributes_are_those_of_the_published_reference_and_hold_what_is_asked_for() -> None:
    task = next(resource for resource in RESOURCES.values() if resource.type == "task")
    to_one = {name for name, one in task.relationships.items() if one.shape == "one"}
    assert task.attributes.keys() | to_one == TASK_FIELDS
    assert set(fields_of(Stream.TASKS, Wanted())) | named_attributes(Tasks().skipped_when) <= TASK_FIELDS


def _entry(**changes: Any) -> Entry:
    plain = Entry(
        7, "person", 18, None, 1001, "update", {}, (), "queued", held=False, in_doubt=False, admitted=True, attempts=2,
        next_attempt_at=Instant(60_000), reason="name: is too long",
    )  # fmt: skip
    return plain._replace(**changes)


def test_an_entry_that_was_being_sent_when_the_process_died_is_still_queued() -> None:
    shown = failure_document(_entry(state="sending"))
    assert (shown["state"], shown["next_attempt_at"]) == ("queued", "1970-01-01T00:01:00Z")
    assert failure_document(_entry(state="parked"))["state"] == "parked"


def test_each_reason_the_rules_give_has_advice_of_its_own_and_the_largest_group_comes_first() -> None:
    label = _entry(reason="sequence state 3 has the state 'asleep', which has no label: add it to sync.labels")
    source = _entry(record="source", reason="sequence state 3: stateChangedAt 'soon' is no time")
    entries = [_entry(id=1, reason=Ambiguous((1, 2), "email").reason), _entry(id=2), _entry(id=3), label, source]
    groups = list(by_kind(entries).values())
    assert ([entry.id for entry in groups[0]], len(groups)) == ([2, 3], 4)
    assert "sync.labels" in kind_of(label).advice
