from typing import Any

import pytest

from outreach_sync.instants import Instant, parse_iso, to_iso
from outreach_sync.log import keep_secret
from outreach_sync.report import Report, duration, render, share
from outreach_sync.store.progress import DAY_MS
from tests.report.conftest import NOW

TODAY = parse_iso("2026-09-30T00:00:00Z")
MINUTE_MS = 60_000


def _gather(filled: Any, *, days: int = 30) -> Report:
    return Report(filled.state, filled.config, NOW, days=days)


def test_what_a_run_did_is_added_up(filled: Any) -> None:
    summary = {
        "streams": {"tasks": {"read": 3}, "prospects": {"read": 4}},
        "people": {"created": 1, "updated": 2, "recreated": 4, "unchanged": 99, "rejected": 8},
        "tasks": {"created": 16, "rejected": 32},
        "requests": {"outreach": 5, "workbooks": 6},
    }
    filled.run("a", NOW, **summary)
    (run,) = _gather(filled).last_runs
    assert (run.read, run.written, run.refused, run.outreach, run.workbooks) == (7, 23, 40, 5, 6)


def test_a_period_tells_done_partial_and_failed_apart_and_counts_the_unfinished_as_failed(filled: Any) -> None:
    for place, outcome in enumerate(("ok", "partial", "failed", None)):
        filled.run(str(place), Instant(TODAY + place), outcome)
    *earlier, today = _gather(filled, days=3).periods
    assert [len(period.runs) for period in earlier] == [0, 0]
    assert (today.ok, today.partial, today.failed, today.longest_ms) == (1, 1, 2, 42_000)
    assert _gather(filled).success == pytest.approx(2 / 3)


def test_runs_outside_the_period_are_not_counted_and_the_newest_are_listed_first(filled: Any) -> None:
    filled.run("wrong", Instant(NOW + 3650 * DAY_MS), requests={"outreach": 900})
    filled.run("old", Instant(NOW - 8 * DAY_MS))
    for hour in reversed(range(25)):
        filled.run(f"run-{hour}", Instant(NOW - hour * 3_600_000), requests={"outreach": 3 + (hour == 1)})
    report = _gather(filled, days=7)
    assert (len(report.runs), len(report.last_runs)) == (25, 20)
    assert report.busiest_hour == (parse_iso("2026-09-30T11:00:00Z"), 4)
    assert [run.started_at for run in report.last_runs[:2]] == [NOW, NOW - 3_600_000]


def test_an_outage_lasts_from_the_first_run_that_failed_to_the_next_that_did_not(filled: Any) -> None:
    for place, outcome in enumerate(("ok", "failed", "failed", "ok", "failed")):
        error = "down" if outcome == "failed" else ""
        filled.run(str(place), Instant(NOW + (place - 10) * MINUTE_MS), outcome, error=error)
    open_one, over = _gather(filled).outages
    assert (over.began_at, over.ended_at) == (NOW - 9 * MINUTE_MS, NOW - 7 * MINUTE_MS)
    assert (over.runs, over.cause) == (2, "down")
    assert (open_one.ended_at, open_one.runs) == (None, 1)


def test_the_lag_is_from_the_change_in_outreach_to_the_write_and_a_first_load_does_not_count(filled: Any) -> None:
    field, before = "cf_person_state_updated_at", to_iso(Instant(NOW - DAY_MS))
    for minutes in (1, 2, 30):
        filled.wrote(1001, field, before, to_iso(Instant(NOW - minutes * MINUTE_MS)))
    filled.wrote(1001, field, None, before)
    filled.wrote(1001, field, None, before, action="create")
    filled.wrote(1001, "cf_person_sequence_state", "Pending", "Finished")
    assert _gather(filled).lag == (2 * MINUTE_MS, 30 * MINUTE_MS)


def test_the_last_changes_are_those_of_the_last_run_that_wrote_and_each_task_names_its_witness(filled: Any) -> None:
    filled.wrote(1001, "cf_person_sequence_state", "Pending", "Finished", run_id="before")
    filled.wrote(1002, "cf_person_sequence_state", None, "Pending", run_id="last")
    for field in ("activity_status", "name"):
        filled.wrote(1002, field, None, "Cancelled", run_id="last", task_id=77, because="event skip_task 4711")
    report = _gather(filled)
    assert (report.change_count, {one.run_id for one in report.changes}) == (3, {"last"})
    assert [(one.task_id, one.because) for one in report.cancelled] == [(77, "event skip_task 4711")]


def test_before_the_first_run_everything_is_empty_but_the_streams_are_named(filled: Any) -> None:
    report = _gather(filled)
    assert (len(report.runs), report.trends, report.refusals, report.waiting) == (0, [], [], [])
    assert report.marks == [(name, None, False) for name in ("sequence_states", "tasks", "prospects", "events")]
    assert len(report.periods) == 30


def test_a_trend_ends_with_what_people_say_now_and_knows_labels_that_are_gone(filled: Any) -> None:
    filled.label_counts(3)  # one more Person each day: Pending, Opted Out, Finished
    filled.person(3, "Finished")
    trends = {trend.label: trend for trend in _gather(filled).trends}
    assert [count for _, count in trends["Finished"].days] == [0, 0, 1, 2]
    assert [count for _, count in trends["Pending"].days] == [1, 1, 1, 0]
    assert (trends["Finished"].now, trends["Finished"].days[-1][0]) == (2, TODAY)


def test_opt_outs_are_counted_by_week_where_days_would_be_too_many(filled: Any) -> None:
    for back in range(10):
        filled.opt_out(back + 1, Instant(NOW - back * DAY_MS))
    assert [count for _, count in _gather(filled, days=200).opt_outs][-2:] == [3, 7]
    assert sum(count for _, count in _gather(filled, days=4).opt_outs) == 4


def test_a_sequence_is_named_by_its_id_where_it_has_no_name(filled: Any) -> None:
    filled.sequence(7, "  ", skipped=2)
    (sequence,) = _gather(filled).skipped
    assert (sequence["name"], sequence["recent"], sequence["kept"], sequence["sent"]) == ("sequence 7", 2, 2, 0)


def test_refusals_come_by_kind_with_both_records_and_only_those_of_the_last_day_are_new(filled: Any) -> None:
    filled.run("r", Instant(NOW - 2 * DAY_MS))
    filled.run("today", Instant(NOW - MINUTE_MS))
    for prospect_id in range(1, 6):
        filled.refusal(prospect_id, "no entry of the picklist", parked=prospect_id > 3)
    with filled.state.transaction():
        filled.state.connection.execute("UPDATE outbox SET run_id = 'today' WHERE prospect_id = 5")
    filled.refusal(9, "ambiguous: the rule 'email' finds 2 people (1, 2)")
    largest, other = _gather(filled).refusals
    assert (largest.records, largest.parked, largest.new) == (5, 2, 1)
    assert [one["workbooks_id"] for one in largest.shown if one["new"]] == [1005]
    assert other.kind.title.startswith("Ambiguous")


def test_thousands_of_refusals_do_not_make_a_page_of_megabytes(filled: Any) -> None:
    statement = "INSERT INTO outbox (record, key, action, fields, state, reason)"
    rows = ((one, f"reason {one} " + "x" * 5000) for one in range(3000))
    with filled.state.transaction():
        filled.state.connection.executemany(f"{statement} VALUES ('person', ?, 'update', '{{}}', 'queued', ?)", rows)
    (kind,) = _gather(filled).refusals
    assert (kind.records, len(kind.shown)) == (3000, 40)
    assert max(len(one["reason"]) for one in kind.shown) <= 400


def test_secrets_and_addresses_in_what_a_service_said_do_not_reach_the_report(filled: Any) -> None:
    said = "s3cr3t-token-value for ada@example.com"
    filled.refusal(1, said)
    filled.person(1, said)
    filled.sequence(1, said, skipped=1)
    filled.run("a", NOW, "failed", error=said)
    filled.wrote(1001, "name", said, said, because=said)
    keep_secret("s3cr3t-token-value")
    shown = render(_gather(filled))
    assert "for (address)" in shown
    assert "s3cr3t-token-value" not in shown
    assert "ada@" not in shown


def test_a_duration_is_worded_by_its_size_and_a_share_is_nothing_or_all_only_where_it_is() -> None:
    spans = (340, 4_200, 42_000, 200_000, 7_500_000)
    assert [duration(one) for one in spans] == ["340 ms", "4.2 s", "42 s", "3 min 20 s", "2 h 5 min"]
    assert [share(part) for part in (0, 0.001, 0.5, 0.9951, 1)] == ["0%", "<1%", "50%", "99.5%", "100%"]
