"""Each fault, in the first load and later: nothing lost, nothing twice, and nothing to do once it is over.

One of each kind is tried by `make test`, all of them by `make torture`.
"""

from __future__ import annotations

import pytest

from outreach_sync.sandbox.outreach.trouble import FAULTS as OUTREACH_FAULTS
from outreach_sync.sandbox.workbooks.trouble import FAULTS as WORKBOOKS_FAULTS
from tests.torture.scenarios import SCENARIOS, Scenario, happens
from tests.torture.world import CROWDED

_ONE_OF_EACH_KIND = {
    "outreach": (
        *("rate_limited http_date", "rate_limited an hour", "quota_nearly_spent", "server_error_500"),
        *("bad_gateway_large_pages", "maintenance_503 iso", "html_with_200", "reset_during_answer", "hang"),
        *("token_expired_mid_walk", "refresh_revoked", "refresh_rotates_hard", "scope_missing", "governance_hides"),
        *("gateway_page 403", "changes_while_paged", "duplicate_across_pages", "late_visibility", "cursor_refused"),
        *("next_link_other_host", "ids_as_strings", "included_missing", "unknown_state", "stamps_ahead"),
        *("skip_destroys_task", "opt_out_keeps_updated_at", "event_missing"),
    ),
    "workbooks": (
        *("answer_lost_after_commit", "reset_before_answer done", "hang done", "error_500 done"),
        *("rate_limited_429", "redirect_302 done", "delaying_redirect get done=0.5", "gateway_page 404"),
        *("key_refused", "filter_ignored", "records_hidden", "created_rows_appear_late", "text_cut"),
        *("refuse_one", "refuse_value cf_person_sequence_state", "results_reordered", "results_shorter", "stale_some"),
        *("stale_again_and_again", "delete_between_read_and_write", "merge_between_read_and_write", "date_missing"),
        *("deleted_id_fails_batch_404", "no_permission_to_create", "picklist_entry_missing", "column_missing id"),
        *("information_missing absent", "column_missing lock_version"),
    ),
    "local": ("disk_full", "damaged_database", "two_runs_at_once", "sigterm_in_a_batch", "lost_state", "clock_ahead"),
}
_USUAL = {f"{service} {name}" for service, names in _ONE_OF_EACH_KIND.items() for name in names}
_FIRST_LOAD = {"outreach cursor_refused", "workbooks answer_lost_after_commit", "workbooks key_refused"}
_CROWDED = {"workbooks answer_lost_after_commit", "workbooks stale_some", "workbooks delaying_redirect get done=0.5"}


def _scenarios(usual: set[str], *services: str) -> pytest.MarkDecorator:
    """Try the scenarios of these services; those that are not among the usual ones only in `make torture`."""
    some = [one for one in SCENARIOS if one.service in services]
    assert usual <= {one.name for one in some}, usual
    marks = {one.name: () if one.name in usual else pytest.mark.torture for one in some}
    return pytest.mark.parametrize("scenario", [pytest.param(one, id=one.name, marks=marks[one.name]) for one in some])


@pytest.mark.parametrize("service", ["outreach", "workbooks"])
def test_no_fault_switch_is_left_without_a_scenario(service: str) -> None:
    names = OUTREACH_FAULTS if service == "outreach" else WORKBOOKS_FAULTS
    assert set(names) == {scenario.fault for scenario in SCENARIOS if scenario.service == service}


@_scenarios(_USUAL, "outreach", "workbooks", "local")
def test_a_fault_that_lasts_loses_and_doubles_nothing(scenario: Scenario) -> None:
    outcome = happens(scenario, at_first=False)
    assert (outcome.violations, outcome.struck or scenario.name not in _USUAL) == ([], True)


@_scenarios(_CROWDED, "workbooks")
def test_a_fault_while_many_requests_are_under_way_loses_and_doubles_nothing(scenario: Scenario) -> None:
    assert not happens(scenario, at_first=False, lanes=CROWDED).violations


@_scenarios(_FIRST_LOAD, "outreach", "workbooks", "local")
def test_a_fault_from_the_start_loses_and_doubles_nothing(scenario: Scenario) -> None:
    assert not happens(scenario, at_first=True).violations
