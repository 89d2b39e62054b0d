from __future__ import annotations

from typing import Any

import pytest

from outreach_sync.store import run_lock

KEYS = ["id", "record", "prospect_id", "task_id", "workbooks_id", "reason", "attempts", "state", "next_attempt_at"]
PERSON = "Private::Crm::Person"


@pytest.fixture
def listed(setup: Any) -> list[dict[str, Any]]:
    """What the example's first run leaves: an address that two People have, and a prospect that cannot be read."""
    assert setup("run").status == 1
    document: list[dict[str, Any]] = setup("failures", "list", "--json").document
    return document


def test_the_list_has_exactly_the_keys_that_scripts_rely_on(listed: Any) -> None:
    assert [list(one) for one in listed] == [KEYS, KEYS]
    assert [one["prospect_id"] for one in listed] == [16, 99_999]
    assert {one["record"] for one in listed} == {"person"}
    assert {one["state"] for one in listed} == {"queued"}
    assert [one["id"] for one in listed] == sorted(one["id"] for one in listed)


def test_the_table_says_what_to_do_for_each_kind(listed: Any, command: Any) -> None:
    out = command("failures", "list").out
    assert "Ambiguous: several People match: 1" in out
    assert "Merge them" in out
    assert "Prospects that cannot be read: 1" in out


def test_nothing_is_listed_before_the_first_run_and_no_state_is_made(setup: Any) -> None:
    assert setup("failures", "list", "--json").document == []
    assert setup("failures", "list").out == "Nothing is refused.\n"
    assert setup("failures", "retry").status == 0
    assert setup("failures", "retry", "1").status == 2
    assert not setup.state_path.exists()


@pytest.mark.parametrize("what", ["show", "retry", "discard"])
def test_an_unknown_id_ends_with_2_and_changes_nothing(listed: Any, command: Any, what: str) -> None:
    ids = [str(listed[0]["id"])] if what != "show" else []
    ran = command("failures", what, *ids, "987654")
    assert ran.status == 2
    assert "987654" in ran.err
    assert command("failures", "list", "--json").document == listed


@pytest.mark.parametrize("arguments", [("retry",), ("discard", "1")])
def test_changing_the_queue_beside_a_run_ends_with_5(setup: Any, listed: Any, arguments: tuple[str, ...]) -> None:
    with run_lock(setup.state_path, "run"):
        assert setup("failures", *arguments).status == 5
        assert setup("failures", "list").status == 0
    assert setup("failures", "list", "--json").document == listed


def test_a_refusal_whose_cause_was_mended_is_decided_anew_after_retry(setup: Any, listed: Any) -> None:
    twin = listed[0]["reason"].partition("(")[2].partition(")")[0].split(", ")[1]
    setup.sandbox.workbooks.store.delete(PERSON, int(twin))
    assert setup("run", "--json").document["people"]["updated"] == 0  # its pause is not over
    assert setup("failures", "retry", str(listed[0]["id"]), "--json").document == {"retried": [listed[0]["id"]]}
    assert setup("run", "--json").document["people"]["updated"] == 1
    assert [one["prospect_id"] for one in setup("failures", "list", "--json").document] == [99_999]


def test_retry_without_ids_also_frees_parked_records_and_resets_their_attempts(setup: Any) -> None:
    setup.change("sync", max_attempts=1)
    setup("run")
    parked = setup("failures", "list", "--json").document
    assert {(one["state"], one["next_attempt_at"]) for one in parked} == {("parked", None)}
    setup("failures", "retry")
    freed = setup("failures", "list", "--json").document
    assert {(one["state"], one["attempts"], one["next_attempt_at"]) for one in freed} == {("queued", 0, None)}
    assert [one["id"] for one in freed] == [one["id"] for one in parked]


def test_once_everything_is_discarded_runs_end_with_0(listed: Any, command: Any) -> None:
    assert command("failures", "discard", *(str(one["id"]) for one in listed)).status == 0
    assert command("run").status == 0


def test_a_refused_source_record_is_shown_as_the_person_or_task_it_stands_for(empty: Any) -> None:
    store = empty.sandbox.outreach.store
    prospect = store.add_prospect(firstName="Ada", emails=["ada@example.com"])
    state = store.add_state(prospect, None, "active")
    task = store.add_task(prospect, taskType="sequence_step_email", state="skipped")
    store.get("sequenceState", state).values["stateChangedAt"] = "soon"
    store.get("task", task).values["dueAt"] = "tomorrow"
    empty("run")
    shown = empty("failures", "list", "--json").document
    assert [(one["record"], one["prospect_id"], one["task_id"]) for one in shown] == [
        ("person", prospect, None),
        ("task", prospect, task),
    ]
    assert "Correct the record in Outreach" in empty("failures", "list").out


def test_show_says_what_was_to_be_written_and_what_to_do(listed: Any, command: Any) -> None:
    shown = command("failures", "show", str(listed[0]["id"]), "--json").document
    assert {name: shown[name] for name in KEYS} == listed[0]
    assert shown["action"] == "resolve"
    assert "Merge" in shown["advice"]
    assert "Merge" in command("failures", "show", str(listed[0]["id"])).out


def test_a_person_whom_workbooks_does_not_show_is_created_again_only_when_told(setup: Any) -> None:
    setup("run")
    store = setup.sandbox.workbooks.store
    store.update(PERSON, 1002, no_email_soliciting=True)
    store.purge(PERSON, 1002)
    assert setup("reconcile", "--allow-bulk").status == 1
    (hidden,) = [one for one in setup("failures", "list", "--json").document if one["workbooks_id"] == 1002]
    assert "does not come back from Workbooks" in hidden["reason"]
    assert setup("failures", "retry", "--recreate").status == 2
    others = [one["id"] for one in setup("failures", "list", "--json").document if one["id"] != hidden["id"]]
    refused = setup("failures", "retry", str(others[0]), "--recreate")
    assert (refused.status, "another kind" in refused.err) == (2, True)
    assert setup("failures", "retry", str(hidden["id"]), "--recreate").out.startswith("1 due now")
    assert setup("run", "--json").document["people"]["recreated"] == 1
