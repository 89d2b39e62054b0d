"""Each fault, in the first load and later: nothing lost, nothing twice, and nothing to do once it is over."""

from __future__ import annotations

import pytest

from outreach_sync.sandbox.outreach.trouble import FAULTS as OUTREACH_FAULTS
from outreach_sync.sandbox.workbooks.trouble import FAULTS as WORKBOOKS_FAULTS
from tests.torture.scenarios import SCENARIOS, Scenario, happens
from tests.torture.world import CROWDED

_OFTEN = ({"times": 1}, {"times": 2, "after": 1}, {"times": 1, "after": 3}, {"times": 3, "after": 2})


@pytest.mark.parametrize("service", ["outreach", "workbooks"])
def test_no_fault_switch_is_left_without_a_scenario(service: str) -> None:
    names = OUTREACH_FAULTS if service == "outreach" else WORKBOOKS_FAULTS
    assert set(names) == {scenario.fault for scenario in SCENARIOS if scenario.service == service}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_fault_that_lasts_loses_and_doubles_nothing(scenario: Scenario) -> None:
    assert not happens(scenario, at_first=False).violations


@pytest.mark.parametrize(
    "scenario", [one for one in SCENARIOS if one.service == "workbooks"], ids=lambda scenario: scenario.name
)
def test_a_fault_while_many_requests_are_under_way_loses_and_doubles_nothing(scenario: Scenario) -> None:
    assert not happens(scenario, at_first=False, lanes=CROWDED).violations


@pytest.mark.torture
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_fault_from_the_start_loses_and_doubles_nothing(scenario: Scenario) -> None:
    assert not happens(scenario, at_first=True).violations


@pytest.mark.torture
@pytest.mark.parametrize("often", _OFTEN, ids=str)
@pytest.mark.parametrize("at_first", [True, False], ids=["first load", "later"])
@pytest.mark.parametrize(
    "scenario", [one for one in SCENARIOS if one.service != "local"], ids=lambda scenario: scenario.name
)
def test_a_fault_that_passes_loses_and_doubles_nothing(
    scenario: Scenario,
    at_first: bool,
    often: dict[str, int],
) -> None:
    assert not happens(scenario, at_first=at_first, **often).violations
