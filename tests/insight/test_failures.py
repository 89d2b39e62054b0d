from __future__ import annotations

from typing import Any

from outreach_sync.insight.explain import by_kind, failure_document, kind_of
from outreach_sync.instants import Instant
from outreach_sync.rules.person import Ambiguous
from outreach_sync.store.outbox import Entry


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


def test_each_reason_the_rules_give_has_advice_of_its_own() -> None:
    ambiguous = kind_of(_entry(reason=Ambiguous((1, 2), "email").reason))
    refused = kind_of(_entry())
    label = kind_of(_entry(reason="sequence state 3 has the state 'asleep', which has no label: add it to sync.labels"))
    source = kind_of(_entry(record="source", reason="sequence state 3: stateChangedAt 'soon' is no time"))
    assert len({ambiguous, refused, label, source}) == 4
    assert "sync.labels" in label.advice


def test_the_largest_group_comes_first_and_keeps_the_order_of_ids() -> None:
    entries = [_entry(id=1, reason="ambiguous: two"), _entry(id=2), _entry(id=3)]
    assert [[entry.id for entry in group] for group in by_kind(entries).values()] == [[2, 3], [1]]
