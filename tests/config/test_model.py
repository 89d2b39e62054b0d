import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import SecretStr, ValidationError

from outreach_sync.config import load_config
from outreach_sync.config.__main__ import rewritten, schema_text, starter_config
from outreach_sync.config.model import CREDENTIALS, SECRETS, checked_cron, fingerprints, revealed
from outreach_sync.errors import ConfigError, UsageError
from outreach_sync.instants import Back, Instant

ROOT = Path(__file__).parents[2]
FIELDS = "workbooks:\n  fields:\n"


def test_maps_are_added_to_their_defaults_and_nothing_can_be_changed(minimal: Any) -> None:
    sync = load_config(minimal("sync: {labels: {active: Running, snoozed: Zzz}, tasks: {type: {call: Ring}}}\n")).sync
    assert (sync.labels["active"], sync.labels["snoozed"], sync.labels["bounced"]) == ("Running", "Zzz", "Bounced")
    assert sync.tasks.type == {"call": "Ring", "email": "Email", "default": "To-do"}
    with pytest.raises(ValidationError):
        sync.max_attempts = 1


def test_the_secrets_are_the_values_that_hide_themselves_and_are_asked_for_by_name() -> None:
    assert {".".join(map(str, way)) for way in SECRETS} == {
        "outreach.client_secret", "outreach.refresh_token", "outreach.s2s.private_key", "workbooks.api_key",
        "monitoring.ping_url",
    }  # fmt: skip
    assert len(CREDENTIALS) == 8
    assert revealed(SecretStr("planted"), "workbooks.api_key") == "planted"
    with pytest.raises(ConfigError, match=r"workbooks\.api_key is not set"):
        revealed(None, "workbooks.api_key")


def test_the_values_of_a_pilot_are_typed_as_yaml_and_a_command_may_be_one_line(minimal: Any) -> None:
    pilot = "sync: {people: {only_where: {cf_pilot: true, 'main_location[town]': Bath, level: 3, left: null}}}\n"
    told = 'monitoring: {on_failure: [notify, "the sync"], on_success: \'touch "a file"\'}\n'
    config = load_config(minimal(pilot + told))
    where = {"cf_pilot": True, "main_location[town]": "Bath", "level": 3, "left": None}
    assert config.sync.people.only_where == where
    assert (config.monitoring.on_failure, config.monitoring.on_success) == (("notify", "the sync"), ("touch", "a file"))


@pytest.mark.parametrize(
    ("more", "changed"),
    [
        ("  fields: {sequences: cf_x}\n", {"decision", "field"}),
        ("sync: {people: {only_where: {cf_pilot: true}}}\n", {"decision", "field"}),
        ("sync: {labels: {active: Running}}\n", {"decision"}),
        ("sync: {multiple_sequences: precedence}\n", {"decision"}),
        ("sync: {tasks: {skipped_when: [{state: skipped}]}}\n", {"task"}),
        ("  base_url: https://other.example.com\n  batch_size: 5\nschedule: {every: 1h}\n", set()),
        ("sync: {precedence: [active], labels: {active: Active \u2013 Running}, tasks: {status: Done}}\n", set()),
    ],
)
def test_a_mark_changes_with_what_it_stands_for_and_with_nothing_else(
    minimal: Any, more: str, changed: set[str]
) -> None:
    before, now = fingerprints(load_config(minimal())), fingerprints(load_config(minimal(more)))
    assert {name.removesuffix("_fingerprint") for name in before if before[name] != now[name]} == changed


def test_the_order_of_states_counts_where_it_decides_and_that_of_conditions_never(minimal: Any) -> None:
    def marks(more: str) -> dict[str, str]:
        return fingerprints(load_config(minimal(f"sync: {{{more}}}\n")))

    by = "multiple_sequences: precedence, precedence: "
    assert (
        marks(f"{by}[active, paused]")["decision_fingerprint"] != marks(f"{by}[paused, active]")["decision_fingerprint"]
    )
    one = marks("tasks: {skipped_when: [{a: 1, b: 2}, {c: 3}]}")
    assert one == marks("tasks: {skipped_when: [{c: 3}, {b: 2, a: 1}]}")
    assert one != marks("tasks: {skipped_when: [{a: '1', b: 2}, {c: 3}]}")


@pytest.mark.parametrize(
    ("written", "start"),
    [
        ("90d", Back(7_776_000_000)), ("all", None), ("1970-01-02", Instant(86_400_000)),
        ("1970-01-01T00:00:01Z", Instant(1000)), ("1970-01-01T01:00:00+01:00", Instant(0)),
    ],
)  # fmt: skip
def test_a_start_is_a_duration_a_date_or_all(minimal: Any, written: str, start: object) -> None:
    read = load_config(minimal(f"sync: {{start: {written}}}\n")).sync.start
    assert (read, type(read)) == (start, type(start))


TEMPLATES = ["{}", "{0}", "{secret}", "{id.__class__}", "{id[0]}", "{id!r}", "{id:>9}", "{id", "id}", "{note}"]
CONDITIONS = ["{}", "[]", "5", "{a b: 1}", "{a: {}}", "{a: {not_after: 5}}", "{a: {not_after: b, x: y}}"]
CONDITIONS += ["{a: {before: b}}", "{a: []}", "{a: [[1]]}", "{a: [{b: c}]}"]
ADDRESSES = ["http://api.example.com", "http://localhost.example.com", "http://127.0.0.1.example.com"]
ADDRESSES += ["https://a.io/api/v2", "https://a.io/oauth/token/", "https://b.workbooks.com/crm", "https://a/login.api"]
ADDRESSES += ["http://127.0.0.1@example.com", "https://user:pw@example.com", "https://example.com?x=1"]
ADDRESSES += ["https://example.com#x", "ftp://localhost", "example.com", "https://", "https://[::1", "https://a b"]
ADDRESSES += ["https://example.com:99999", "", "http://10.0.0.1", "https://.a.com", f"https://{'a' * 64}.com"]


@pytest.mark.parametrize(
    ("line", "values", "said"),
    [
        ("sync: {tasks: {name: '%s'}}", TEMPLATES, r"sync\.tasks\.name: has a "),
        ("sync: {tasks: {skipped_when: [%s]}}", CONDITIONS, r"sync\.tasks\.skipped_when\[0\]: (is|has|names) "),
        ("  base_url: '%s'", ADDRESSES, r"workbooks\.base_url: (is|has|ends) "),
        (
            "  batch_size: %s", ["0", "101", "1.5", "ten", "null", "''", "[1]", "{a: 1}", "9" * 30],
            r"workbooks\.batch_size: is .*; allowed: a whole number from 1 to 100",
        ),
    ],
    ids=["a template", "a condition", "an address", "a number"],
)  # fmt: skip
def test_a_value_that_could_never_mean_what_it_says_or_send_a_token_elsewhere_is_refused(
    minimal: Any, line: str, values: list[str], said: str
) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=said):
            load_config(minimal(f"{line % value}\n"))


def test_a_template_takes_braces_and_a_condition_values_null_lists_and_times(minimal: Any) -> None:
    raw = "{state: complete, completed: false, completer: null, n: [1, x, null], a: {not_after: b}}"
    tasks = load_config(minimal(f"sync: {{tasks: {{name: '{{{{x}}}} {{id}}', skipped_when: [{raw}]}}}}\n")).sync.tasks
    assert tasks.name == "{{x}} {id}"
    assert tasks.skipped_when == (
        {"state": "complete", "completed": False, "completer": None, "n": [1, "x", None], "a": {"not_after": "b"}},
    )


def test_https_anywhere_and_http_on_loopback_is_taken(minimal: Any) -> None:
    loopback = ("http://localhost:8080", "http://127.0.0.9:1/", "http://[::1]:8080")
    for written in ("https://api.example.com", "https://api.example.com:8443/base/", *loopback):
        assert load_config(minimal(f"  base_url: '{written}'\n")).workbooks.base_url == written.rstrip("/")


@pytest.mark.parametrize(
    "text",
    [
        *("", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8"),
        *("5-1 * * * *", "*/0 * * * *", "a * * * *", "1- * * * *", "1,,2 * * * *", "* * * * hush", "@daily"),
    ],
)
def test_what_is_not_a_cron_expression_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="is not a cron expression") as caught:
        checked_cron(text)
    assert "hush" not in str(caught.value)


def test_a_day_that_comes_seldom_is_taken_and_one_that_never_comes_is_refused() -> None:
    for text in ("0  3 * * SUN", "0 3 * * 7", "0 0 29 2 *", "0 0 31 2 mon", "0 0 31 1,2 *"):
        assert checked_cron(text) == " ".join(text.lower().split())
    for text in ("0 0 31 2 *", "0 0 30,31 feb *", "0 0 31 4,6,9,11 */2"):
        with pytest.raises(ValueError, match="day-of-month"):
            checked_cron(text)


# -- the files that are made of it, and a config that a person begins with


@pytest.mark.parametrize(
    ("what", "place"),
    [
        ("schema", "config/outreach-sync.schema.json"), ("reference", "docs/config.md"),
        ("example", "config/outreach-sync.example.yaml"),
    ],
)  # fmt: skip
def test_the_generated_files_are_those_of_the_model(what: str, place: str) -> None:
    command = [sys.executable, "-X", "utf8", "-m", "outreach_sync.config", what]
    written = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
    assert (ROOT / place).read_text(encoding="utf-8") == written


def test_an_editor_takes_what_the_loader_takes_and_underlines_what_it_refuses() -> None:
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for right in (
        starter_config(),
        "outreach: {client_secret_file: x, s2s: {install_id: a, app_guid: b, private_key_file: c}}",
        "sync:\nschedule: {every: null, cron: '0 * * * *'}",
        "workbooks: {batch_size: '${N}', fields: {no_email: '${F:-x}'}}\nlogging: {level: '${L}'}",
        "sync: {tasks: {skipped_when: [{a: [1, null], b: {not_after: c}}], type: {call: Ring}}}",
    ):
        assert [error.message for error in validator.iter_errors(yaml.safe_load(right))] == []
    for wrong in (
        *("outrech: {}", "outreach: {page_size: 5000}", "workbooks: {fields: {no_email: null}}"),
        *("logging: {level: loud}", "sync: {streams: tasks}", "sync: {guard: {share: 2}}"),
        "sync: {tasks: {skipped_when: [{a: {before: b}}]}}",
    ):
        assert not validator.is_valid(yaml.safe_load(wrong)), wrong


def test_the_starter_says_the_defaults_and_takes_answers_to_its_own_questions_only(
    write: Any, minimal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OUTREACH_CLIENT_ID", "OUTREACH_CLIENT_SECRET", "WORKBOOKS_API_KEY"):
        monkeypatch.setenv(name, "planted-api-key")
    started, bare = load_config(write(starter_config())), load_config(minimal())
    assert started.outreach.refresh_token is None
    credentials = {"client_id": bare.outreach.client_id, "client_secret": bare.outreach.client_secret}
    assert started.model_copy(update={"outreach": started.outreach.model_copy(update=credentials)}) == bare
    with pytest.raises(UsageError, match=r"workbooks\.nope"):
        starter_config({"workbooks.nope": "x"})


@pytest.mark.parametrize("value", ["yes", "with: colon # and hash", "é\u2013\n\"'", "", "007", 7, 0.5, True, None])
def test_an_answer_is_read_back_as_it_was_given_and_keeps_the_comments(value: str | float | None) -> None:
    text = starter_config({"workbooks.fields.sequences": value, "state.keep_runs": value})
    answered = yaml.safe_load(text)
    assert (answered["workbooks"]["fields"]["sequences"], answered["state"]["keep_runs"]) == (value, value)
    assert answered["logging"] == {"level": "info", "format": "auto"}
    assert text.count("#") - str(value).count("#") * 2 == starter_config().count("#")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"{FIELDS}    a: old  # why\n", f"{FIELDS}    a: new  # why\n"),
        (f"{FIELDS}    a: null\n    b: 1\n", f"{FIELDS}    a: new\n    b: 1\n"),
        (f"{FIELDS}    # b\n    b: 1\n", f"{FIELDS}    # b\n    a: new\n    b: 1\n"),
        (f"é: 'ü'\n{FIELDS}    a: 'o'\n", f"é: 'ü'\n{FIELDS}    a: new\n"),
        *(("", None), ("workbooks:\n  api_key: k\n", None), ("workbooks:\n  fields: {a: old}\n", None)),
        (f"{FIELDS}    a: ${{A}}\n", None),
    ],
)
def test_only_values_change_and_what_cannot_be_changed_alone_is_left_to_people(before: str, after: str | None) -> None:
    assert rewritten(before, ("workbooks", "fields"), {"a": "new"}) == after


def test_several_values_of_any_length_change_at_once() -> None:
    wanted, after = {"b": "y", "a": "longer", "c": "z"}, f"{FIELDS}    c: z\n    a: longer\n    b: y\n"
    assert rewritten(f"{FIELDS}    a: 1\n    b: 2\n", ("workbooks", "fields"), wanted) == after
