from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outreach_sync.instants import Instant, parse_iso
from outreach_sync.records import Stream
from outreach_sync.report.figures import gather
from outreach_sync.scrubbing import Scrubber
from outreach_sync.state.history import DAY_MS

if TYPE_CHECKING:
    from outreach_sync.config.quick import QuickSettings
    from outreach_sync.report.figures import Report

NOW = parse_iso("2026-09-30T12:00:00Z")
TODAY = parse_iso("2026-09-30T00:00:00Z")


def _gather(filled: Any, *, days: int = 30, secrets: tuple[str, ...] = ()) -> Report:
    return gather(filled.state, filled.settings, NOW, days=days, scrubber=Scrubber(secrets))


def test_before_the_first_run_everything_is_empty_but_the_streams_are_named(settings: QuickSettings) -> None:
    report = gather(None, settings, NOW, days=30, scrubber=Scrubber())
    assert (report.run_count, report.trends, report.refusals, report.waiting, report.people) == (0, (), (), (), 0)
    assert [mark.stream for mark in report.marks] == ["sequence_states", "tasks", "prospects"]
    assert len(report.periods) == 30


def test_a_trend_ends_with_what_people_say_now_and_knows_labels_that_are_gone(filled: Any) -> None:
    filled.label_counts(3)  # one more Person each day: Pending, Opted Out, Finished
    filled.person(3, "Finished")
    trends = {trend.label: trend for trend in _gather(filled).trends}
    assert trends["Finished"].now == 2
    assert [count for _, count in trends["Finished"].days] == [0, 0, 1, 2]
    assert trends["Pending"].now == 0
    assert [count for _, count in trends["Pending"].days] == [1, 1, 1, 0]
    assert trends["Finished"].days[-1][0] == TODAY


def test_runs_before_the_period_are_not_counted_and_the_newest_are_listed_first(filled: Any) -> None:
    filled.run("old", Instant(NOW - 8 * DAY_MS))
    for hour in reversed(range(25)):
        filled.run(f"run-{hour}", Instant(NOW - hour * 3_600_000))
    report = _gather(filled, days=7)
    assert report.run_count == 25
    assert len(report.last_runs) == 20
    assert [run.started_at for run in report.last_runs[:2]] == [NOW, NOW - 3_600_000]


def test_opt_outs_are_counted_by_week_where_days_would_be_too_many(filled: Any) -> None:
    for back in range(10):
        filled.opt_out(back + 1, Instant(NOW - back * DAY_MS))
    assert [count for _, count in _gather(filled, days=200).opt_outs][-2:] == [3, 7]
    assert sum(count for _, count in _gather(filled, days=4).opt_outs) == 4


def test_refusals_with_one_reason_are_one_line_with_a_few_examples(filled: Any) -> None:
    for prospect_id in range(1, 6):
        filled.refusal(prospect_id, "no entry of the picklist", parked=prospect_id > 3)
    filled.refusal(9, "ambiguous: the rule 'email' finds 2 people (1, 2)")
    largest, other = _gather(filled).refusals
    assert (largest.records, largest.parked, len(largest.reasons), largest.unlisted) == (5, 2, 1, 0)
    assert largest.reasons[0].examples[0] == "failure 1: prospect 1, Person 1001"
    assert len(largest.reasons[0].examples) == 3
    assert "failures retry" in largest.advice
    assert other.title.startswith("Ambiguous")


def test_thousands_of_different_reasons_do_not_make_a_page_of_megabytes(filled: Any) -> None:
    with filled.state.transaction():
        filled.state.connection.executemany(
            "INSERT INTO outbox (record, key, action, fields, state, reason) VALUES ('person', ?, 'update', '{}',"
            " 'queued', ?)",
            ((one, f"reason {one} " + "x" * 5000) for one in range(3000)),
        )
    (kind,) = _gather(filled).refusals
    assert (kind.records, len(kind.reasons), kind.unlisted) == (3000, 20, 2980)
    assert max(len(reason.text) for reason in kind.reasons) <= 400


def test_secrets_and_addresses_in_what_a_service_said_do_not_reach_the_report(filled: Any) -> None:
    secret, address = "s3cr3t-token-value", "ada@example.com"
    said = f"{secret} for {address}"
    filled.refusal(1, said)
    filled.person(1, said)
    filled.sequence(1, said, skipped=1)
    filled.run("a", NOW, "failed", error=said)
    report = _gather(filled, secrets=(secret,))
    assert secret not in repr(report)
    assert "ada@" not in repr(report)
    assert repr(report).count("*** for (address)") == 4


def test_a_sequence_is_named_by_its_id_where_it_has_no_name(filled: Any) -> None:
    filled.sequence(7, "  ", skipped=2)
    (sequence,) = _gather(filled).skipped
    assert (sequence.name, sequence.recent, sequence.kept, sequence.sent) == ("sequence 7", 2, 2, 0)


def test_what_waits_counts_what_is_being_sent_as_queued(filled: Any) -> None:
    for prospect_id in (1, 2):
        filled.refusal(prospect_id, "no")
    filled.refusal(3, "no", parked=True)
    with filled.state.transaction():
        filled.state.outbox.mark_sending([1])
    report = _gather(filled)
    assert [(one.record, one.queued, one.parked) for one in report.waiting] == [("person", 2, 1)]
    assert (report.refused, report.queued, report.parked) == (3, 2, 1)


def test_watermarks_are_those_of_the_streams_in_the_config_and_of_any_other(filled: Any) -> None:
    filled.watermark(Stream.TASKS, NOW)
    marks = {mark.stream: mark.watermark for mark in _gather(filled).marks}
    assert marks == {"sequence_states": None, "tasks": NOW, "prospects": None}
