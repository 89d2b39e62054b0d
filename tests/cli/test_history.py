from __future__ import annotations

import csv
import io
import re
from typing import Any

KEYS = [
    *("at", "run_id", "record", "action", "prospect_id", "task_id", "workbooks_id", "field", "old", "new", "because")
]


def test_it_lists_each_field_that_a_run_wrote_newest_first(setup: Any) -> None:
    run = setup("run", "--json").document
    written = setup("history", "--json").document
    assert all(list(one) == KEYS for one in written)
    assert {one["run_id"] for one in written} == {run["run_id"]}
    assert [one["at"] for one in written] == sorted((one["at"] for one in written), reverse=True)
    people = {one["workbooks_id"] for one in written if one["record"] == "person"}
    assert len(people) == run["people"]["created"] + run["people"]["updated"]
    assert len({one["task_id"] for one in written if one["record"] == "task"}) == run["tasks"]["created"]
    opted_out = [one for one in written if (one["workbooks_id"], one["field"]) == (1002, "no_email_soliciting")]
    assert [(one["old"], one["new"], one["action"]) for one in opted_out] == [(False, True, "update")]
    assert all(one["because"] for one in written)


def test_it_can_be_asked_for_one_record_one_run_or_a_time(setup: Any) -> None:
    first = setup("run", "--json").document["run_id"]
    everything = setup("history", "--json").document
    assert {one["workbooks_id"] for one in setup("history", "--person", "1002", "--json").document} == {1002}
    assert {one["task_id"] for one in setup("history", "--task", "3", "--json").document} == {3}
    of_prospect = setup("history", "--prospect", "11", "--json").document
    assert {one["prospect_id"] for one in of_prospect} == {11}
    assert setup("history", "--run", first, "--since", "1h", "--json").document == everything
    assert setup("history", "--since", "2999-01-01", "--json").document == []
    assert setup("history", "--run", "another").out == "Nothing was written.\n"


def test_it_holds_no_name_and_no_address_and_no_run_that_only_looked(setup: Any) -> None:
    setup("run", "--dry-run")
    assert setup("history", "--json").document == []
    setup("run")
    said = setup("history", "--json").out + setup("history", "--csv").out
    prospects = [one.values for one in setup.sandbox.outreach.store.all("prospect")]
    assert not [one for values in prospects for one in values.get("emails") or () if one in said]
    assert not [values["lastName"] for values in prospects if len(values.get("lastName") or "") > 5
                and f'"{values["lastName"]}"' in said]  # fmt: skip


def test_the_table_and_the_spreadsheet_say_the_same(setup: Any) -> None:
    setup("run")
    rows = list(csv.DictReader(io.StringIO(setup("history", "--csv", "--person", "1002").out)))
    assert list(rows[0]) == KEYS
    assert {row["field"]: row["new"] for row in rows}["no_email_soliciting"] == "true"
    said = setup("history", "--person", "1002").out
    assert "Person 1002 updated (prospect 2) by run " in said
    assert re.search(r"^    no_email_soliciting +false → true$", said, re.MULTILINE)
    assert setup("history", "--csv", "--json").status == 2
