from __future__ import annotations

from outreach_sync.instants import Instant
from outreach_sync.sandbox.server import Request
from outreach_sync.sandbox.service import Journal


def request(*query: tuple[str, str]) -> Request:
    return Request("GET", "/api/v2/tasks", list(query), {}, b"", Instant(1_788_256_800_000))


def test_entries_are_numbered_and_counted_by_kind() -> None:
    journal = Journal()
    for kind in ("list tasks", "token", "list tasks"):
        journal.record(request(), kind=kind, status=200)
    assert [entry.number for entry in journal.entries()] == [1, 2, 3]
    assert [entry.number for entry in journal.entries("list tasks")] == [1, 3]
    assert journal.counts() == {"list tasks": 2, "token": 1}
    assert journal.total() == 3


def test_clear_forgets_but_numbers_go_on() -> None:
    journal = Journal()
    journal.record(request(), kind="token", status=200)
    journal.clear()
    assert journal.entries() == []
    assert journal.counts() == {}
    assert journal.record(request(), kind="token", status=200).number == 2


def test_secrets_are_replaced_in_query_and_form() -> None:
    form = [("api_key", "S1"), ("client_secret", "S2"), ("refresh_token", "S3"), ("name[]", "kept")]
    entry = Journal().record(request(("code", "S4"), ("state", "kept")), kind="token", status=200, form=form)
    assert "S" not in str((entry.form, entry.query)).replace("'", "")
    assert dict(entry.form)["name[]"] == "kept"
    assert dict(entry.query)["state"] == "kept"


def test_an_entry_is_json_with_its_time_as_text() -> None:
    entry = Journal().record(request(), kind="list tasks", status=503, faults=("maintenance_503",))
    shown = entry.as_json()
    assert (shown["at"], shown["status"], shown["faults"]) == ("2026-09-01T10:00:00Z", 503, ("maintenance_503",))
