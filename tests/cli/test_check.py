from typing import Any

import pytest

from outreach_sync.store import run_lock
from tests.harness import FIELDS, PERSON, STATE, TASK

PICKLIST_ENTRY = "Private::PicklistEntry"


def _found(ran: Any) -> dict[str, dict[str, str]]:
    return {one["name"]: one for one in ran.document["checks"]}


def _bad(ran: Any) -> dict[str, str]:
    return {name: one["status"] for name, one in _found(ran).items() if one["status"] != "ok"}


def test_where_everything_is_in_place_all_is_ok_also_beside_a_run_and_nothing_but_a_token_is_kept(setup: Any) -> None:
    with run_lock(setup.state_path, "run"):
        ran = setup("check", "--json")
    assert (ran.status, ran.document["ok"], _bad(ran)) == (0, True, {})
    assert "0 failed" in setup("check").out
    assert (setup.state_path.exists(), setup.workbooks.writes) == (False, [])
    setup("run")
    assert setup.sandbox.outreach.journal.counts()["token"] == 1, "the run uses that one"


_NO_EVENTS = ("outreach scope_missing", {"scope": "events.read"})
_NO_TASKS = ("workbooks no_permission_to_create", {"class": TASK})
_NO_READING = ("workbooks no_permission_to_read", {"class": TASK})
_NO_UPDATES = ("workbooks no_permission_to_update", {"class": PERSON})
_FIXED = ("workbooks field_not_updateable", {"field": "cf_person_sequence_state"})
_JOB_TITLE = ("workbooks field_required", {"field": "person_job_title"})
_WORDS = {"sync": {"tasks": {"status": "Canceled", "type": {"call": "Telephone"}}}}
_NO_PHONE = {"workbooks": {"fields": {**FIELDS, "no_email": "no_phone_soliciting"}}}
_SHOE_SIZE = {"create_fields": {"person_shoe_size": "title"}}


@pytest.mark.parametrize(
    ("fault", "config", "status", "bad", "said"),
    [
        # what a service does otherwise
        (("outreach scope_missing", {"scope": "tasks.read"}), {}, 3, {"outreach scope tasks.read": "fail"}, "tasks.r"),
        (_NO_EVENTS, {}, 0, {"outreach scope events.read": "warn"}, "events.r"),
        (_NO_TASKS, {}, 3, {"workbooks permission activity/tasks create": "fail"}, ""),
        (_NO_UPDATES, {}, 3, {"workbooks permission crm/people update": "fail"}, ""),
        (_NO_READING, {}, 3, {"workbooks permission activity/tasks read": "fail"}, "permission to read"),
        (_FIXED, {}, 3, {"workbooks field sequence_state": "fail"}, ""),
        (_JOB_TITLE, {}, 3, {"workbooks required crm/people": "fail"}, "person_job_title"),
        (("workbooks field_not_createable", {"field": STATE}), {}, 3, {"workbooks new crm/people": "fail"}, STATE),
        (("workbooks eq_case_sensitive", {}), {}, 0, {"workbooks eq ignores case": "warn"}, ""),
        # what the config names and Workbooks lacks, with the nearest
        (None, _WORDS, 3, {"workbooks task status": "fail", "workbooks task types": "fail"}, "it has 'Cancelled'"),
        (
            None, {"workbooks": {"fields": {"sequence_state": "cf_person_sequence_sate"}}},
            3, {"workbooks field sequence_state": "fail", "workbooks field outreach_id": "warn"},
            "cf_person_sequence_state",
        ),
        (None, _NO_PHONE, 0, {"workbooks field no_email is No Email": "warn"}, ""),
        (None, {"sync": {"people": _SHOE_SIZE}}, 3, {"workbooks new crm/people": "fail"}, "person_shoe_size"),
        # what the config has no need of
        (None, {"sync": {"people": {**_SHOE_SIZE, "when_missing": "skip"}}}, 0, {}, ""),
        (None, {"sync": {"people": {**_SHOE_SIZE, "only_where": {"person_job_title": "Buyer"}}}}, 0, {}, ""),
        (None, {"sync": {"people": {"create_fields": {"main_location[county]": "addressState"}}}}, 0, {}, ""),
        (_NO_EVENTS, {"sync": {"streams": ["sequence_states", "tasks"]}}, 0, {}, ""),
        (_JOB_TITLE, {"sync": {"people": {"create_fields": {"person_job_title": "title"}}}}, 0, {}, ""),
        (_JOB_TITLE, {"sync": {"people": {"when_missing": "skip"}}}, 0, {}, ""),
    ],
)  # fmt: skip
def test_what_a_run_needs_and_lacks_is_found_alone(
    setup: Any, *, fault: Any, config: dict[str, Any], status: int, bad: dict[str, str], said: str
) -> None:
    if fault is not None:
        service, _, name = fault[0].partition(" ")
        getattr(setup.sandbox, service).faults.on(name, **fault[1])
    for section, values in config.items():
        setup.change(section, **values)
    ran = setup("check", "--json")
    assert (ran.status, ran.document["ok"], _bad(ran)) == (status, status == 0, bad)
    assert said in str([_found(ran)[name] for name in bad])
    if {"workbooks permission crm/people update", "workbooks field sequence_state"} & bad.keys():
        assert setup("run").status == 3


def test_a_field_of_the_vendors_integration_is_proposed_instead_of_a_second_one(setup: Any) -> None:
    setup.change("workbooks", fields={"sequence_state": "cf_person_another", "outreach_id": "cf_person_nothing"})
    hints = {name: one["hint"] for name, one in _found(setup("check", "--json")).items()}
    assert "cf_person_sequence_state" in hints["workbooks field sequence_state"]
    assert "set workbooks.fields.outreach_id to it" in hints["workbooks field outreach_id"]
    setup.change("workbooks", fields={})
    ran = setup("check", "--json")
    assert _bad(ran) == {"workbooks field outreach_id": "warn"}
    hint = _found(ran)["workbooks field outreach_id"]["hint"]
    assert "Set workbooks.fields.outreach_id to cf_person_outreach_id, " in hint


@pytest.mark.parametrize(
    ("service", "fault", "status", "hint"),
    [
        ("outreach", "refresh_revoked", 3, "auth login"), ("workbooks", "key_refused", 3, "workbooks.api_key"),
        *((one, None, 4, "Try again later; the status page of the service") for one in ("outreach", "workbooks")),
    ],
)  # fmt: skip
def test_what_keeps_one_service_from_being_tried_or_stops_it_keeps_no_other(
    setup: Any, service: str, fault: str | None, status: int, hint: str
) -> None:
    one = getattr(setup.sandbox, service)
    if fault is None:
        one.stop()
    else:
        one.faults.on(fault)
    ran = setup("check", "--json")
    assert (ran.status, {name.partition(" ")[0] for name in _bad(ran)}) == (status, {service})
    assert hint in _found(ran)[f"{service} login"]["hint"]


def test_a_key_that_is_wrong_is_not_said_and_one_that_is_missing_keeps_outreach_from_nothing(setup: Any) -> None:
    setup.change("workbooks", api_key="planted-wrong-key")
    assert "planted-wrong-key" not in setup("check", "--json").everything
    del setup.settings["workbooks"]["api_key"]
    setup.write()
    ran = setup("check", "--json")
    assert (ran.status, _found(ran)["outreach scope tasks.read"]["status"]) == (2, "ok")
    assert "workbooks.api_key" in _found(ran)["config"]["detail"]
    assert not [one["hint"] for one in ran.document["checks"] if "outreach-sync check" in one["hint"]]


def test_a_mistake_in_the_config_or_none_ends_with_2_and_still_prints_one_document(setup: Any) -> None:
    setup.change("sync", overlap="often", max_attempts=0)
    ran = setup("check", "--json")
    detail = _found(ran)["config"]["detail"]
    assert (ran.status, "sync.overlap" in detail, "sync.max_attempts" in detail) == (2, True, True)
    setup.config_path.unlink()
    assert setup("check", "--json").document["ok"] is False
    assert setup("check").status == 2


def test_an_account_whose_records_are_hidden_is_a_warning(empty: Any) -> None:
    ran = empty("check", "--json")
    assert (ran.status, _bad(ran)["outreach scope tasks.read"]) == (0, "warn")
    assert "profile" in _found(ran)["outreach scope tasks.read"]["hint"]


def test_local_findings_are_warnings_or_end_with_2(setup: Any) -> None:
    setup.change("sync", tasks={"skipped_when": [{"completdAt": None}]})
    setup.change("schedule", every="20s")
    setup.config_path.chmod(0o644)
    ran = setup("check", "--json")
    bad = {"config permissions": "warn", "requests a year": "fail", "skip rule": "warn"}
    assert (ran.status, _bad(ran)) == (2, bad)
    assert "did you mean completedAt?" in _found(ran)["skip rule"]["detail"]
    setup.change("schedule", every="5m")
    assert _bad(setup("check", "--json"))["requests a year"] == "warn"
    setup.state_path.with_name("state.db.tokens").write_text("damaged")
    assert _found(setup("check", "--json"))["refresh token age"]["hint"] == ""  # what to do is in what is said


def test_the_text_names_what_to_do_wherever_a_refusal_says_it_and_scrubs_what_services_say(setup: Any) -> None:
    setup.sandbox.outreach.faults.on("governance_refuses", kind="tasks")
    setup.sandbox.workbooks.faults.on("failure_message")
    setup.sandbox.workbooks.faults.on("key_refused", reason="user_agent_required", status=403)
    said = setup("check").out
    for part in ("FAIL  outreach scope tasks.read", "→ Let the integration run as a user", "user_agent_required"):
        assert part in said
    assert ("application_name" in said, setup.settings["workbooks"]["api_key"] in said) == (True, False)


def test_a_hyphen_in_the_picklist_and_a_clock_that_is_an_hour_off_are_named(setup: Any) -> None:
    entry = next(one for one in setup.workbooks.all(PICKLIST_ENTRY) if one["value"].endswith("Running"))
    setup.workbooks.remove_picklist_entry(entry["value"])
    setup.workbooks.add(PICKLIST_ENTRY, picklist_id=entry["picklist_id"], value="Active - Running")
    setup.sandbox.clock.header_skew = -3_600_000
    ran = setup("check", "--json")
    bad = {"workbooks labels": "fail", "outreach clock": "warn", "workbooks clock": "warn"}
    assert (ran.status, _bad(ran)) == (3, bad)
    assert "it has 'Active - Running'" in _found(ran)["workbooks labels"]["detail"]
    assert "ahead of" in _found(ran)["outreach clock"]["detail"]
