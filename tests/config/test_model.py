from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr, ValidationError

from outreach_sync.config import load_config
from outreach_sync.config.model import CREDENTIALS, SECRETS, fingerprints, revealed
from outreach_sync.errors import ConfigError
from outreach_sync.instants import Back, Instant

Write = Callable[..., Path]
MINUTE, DAY = 60_000, 86_400_000


def test_maps_are_added_to_their_defaults(minimal: Write) -> None:
    sync = load_config(minimal("sync: {labels: {active: Running, snoozed: Zzz}, tasks: {type: {call: Ring}}}\n")).sync
    assert (sync.labels["active"], sync.labels["snoozed"], sync.labels["bounced"]) == ("Running", "Zzz", "Bounced")
    assert sync.tasks.type == {"call": "Ring", "email": "Email", "default": "To-do"}


def test_nothing_in_a_config_can_be_changed(minimal: Write) -> None:
    with pytest.raises(ValidationError):
        load_config(minimal()).sync.max_attempts = 1


def test_the_secrets_are_the_values_that_hide_themselves() -> None:
    assert {".".join(map(str, way)) for way in SECRETS} == {
        "outreach.client_secret", "outreach.refresh_token", "outreach.s2s.private_key", "workbooks.api_key",
        "monitoring.ping_url",
    }  # fmt: skip
    assert len(CREDENTIALS) == 8


def test_a_credential_is_revealed_or_asked_for_by_its_name() -> None:
    assert revealed(SecretStr("planted"), "workbooks.api_key") == "planted"
    with pytest.raises(ConfigError, match=r"workbooks\.api_key is not set"):
        revealed(None, "workbooks.api_key")


def test_the_keys_of_events_guard_and_pilots_are_read(minimal: Callable[..., Path]) -> None:
    sync = load_config(
        minimal(
            "sync:\n  guard: {lost_share: 0.2, lost_count: 3, create: 0}\n  tasks: {skip_events: []}\n"
            "  people: {only_where: {cf_pilot: true, 'main_location[town]': Bath, level: 3, left: null}}\n"
            'monitoring: {on_failure: [notify, "the sync"], on_success: \'touch "a file"\'}\n'
        )
    )
    assert (sync.sync.guard.lost_share, sync.sync.guard.lost_count, sync.sync.guard.create) == (0.2, 3, 0)
    assert sync.sync.tasks.skip_events == ()
    assert dict(sync.sync.people.only_where) == {
        "cf_pilot": True,
        "main_location[town]": "Bath",
        "level": 3,
        "left": None,
    }
    assert sync.monitoring.on_failure == ("notify", "the sync")
    assert sync.monitoring.on_success == ("touch", "a file")


@pytest.mark.parametrize(
    "more",
    [
        "  fields: {sequences: cf_x}\n",
        "sync: {labels: {active: Running}}\n",
        "sync: {multiple_sequences: precedence}\n",
    ],
)
def test_whatever_changes_what_a_person_says_changes_the_mark(minimal: Write, more: str) -> None:
    before = fingerprints(load_config(minimal()))["decision_fingerprint"]
    assert fingerprints(load_config(minimal(more)))["decision_fingerprint"] != before


def test_the_order_of_states_counts_where_it_decides(minimal: Write) -> None:
    one = "sync: {multiple_sequences: precedence, precedence: [active, paused]}\n"
    other = "sync: {multiple_sequences: precedence, precedence: [paused, active]}\n"
    assert (
        fingerprints(load_config(minimal(one)))["decision_fingerprint"]
        != fingerprints(load_config(minimal(other)))["decision_fingerprint"]
    )


@pytest.mark.parametrize(
    "more",
    [
        "  base_url: https://other.example.com\n",
        "  batch_size: 5\n",
        "sync: {precedence: [active]}\n",
        "sync: {labels: {active: Active \u2013 Running}}\n",
        "schedule: {every: 1h}\n",
    ],
)
def test_what_changes_nothing_that_is_written_leaves_the_mark(minimal: Write, more: str) -> None:
    before = fingerprints(load_config(minimal()))["decision_fingerprint"]
    assert fingerprints(load_config(minimal(more)))["decision_fingerprint"] == before


def test_the_mark_of_the_task_rule_follows_the_rule_alone(minimal: Write) -> None:
    def mark(more: str) -> str:
        return fingerprints(load_config(minimal(more)))["task_fingerprint"]

    assert mark("sync: {tasks: {skipped_when: [{state: skipped}]}}\n") != mark("")
    assert mark("sync: {tasks: {status: Done}}\n") == mark("")
    one = mark("sync: {tasks: {skipped_when: [{a: 1, b: 2}, {c: 3}]}}\n")
    assert one == mark("sync: {tasks: {skipped_when: [{c: 3}, {b: 2, a: 1}]}}\n")
    assert one != mark("sync: {tasks: {skipped_when: [{a: '1', b: 2}, {c: 3}]}}\n")


def _value(minimal: Write, section: str, key: str, text: str) -> Any:
    return getattr(getattr(load_config(minimal(f"{section}: {{{key}: {text}}}\n")), section), key)


@pytest.mark.parametrize(
    ("written", "start"),
    [
        ("90d", Back(7_776_000_000)),
        ("all", None),
        ("1970-01-02", Instant(86_400_000)),
        ("1970-01-01T00:00:01Z", Instant(1000)),
        ("1970-01-01T01:00:00+01:00", Instant(0)),
    ],
)
def test_a_start_is_a_duration_a_date_or_all(minimal: Write, written: str, start: object) -> None:
    read = _value(minimal, "sync", "start", written)
    assert (read, type(read)) == (start, type(start))


@pytest.mark.parametrize(
    "text", ["{}", "{0}", "{secret}", "{id.__class__}", "{id[0]}", "{id!r}", "{id:>9}", "{id", "id}", "{note}"]
)
def test_a_template_can_reach_nothing_but_its_places(minimal: Write, text: str) -> None:
    assert load_config(minimal("sync: {tasks: {name: '{{x}} {id}'}}\n")).sync.tasks.name == "{{x}} {id}"
    with pytest.raises(ConfigError, match=r"sync\.tasks\.name: has a "):
        load_config(minimal(f"sync: {{tasks: {{name: '{text}'}}}}\n"))


def test_a_condition_takes_values_null_lists_and_times(minimal: Write) -> None:
    raw = "{state: complete, completed: false, completer: null, n: [1, x, null], a: {not_after: b}}"
    assert load_config(minimal(f"sync: {{tasks: {{skipped_when: [{raw}]}}}}\n")).sync.tasks.skipped_when == (
        {"state": "complete", "completed": False, "completer": None, "n": [1, "x", None], "a": {"not_after": "b"}},
    )


@pytest.mark.parametrize(
    "raw",
    [
        "{}", "[]", "5", "{a b: 1}", "{a: {}}", "{a: {not_after: 5}}", "{a: {not_after: b, x: y}}", "{a: {before: b}}",
        "{a: []}", "{a: [[1]]}", "{a: [{b: c}]}",
    ],
)  # fmt: skip
def test_what_could_never_match_as_meant_is_refused(minimal: Write, raw: str) -> None:
    with pytest.raises(ConfigError, match=r"sync\.tasks\.skipped_when\[0\]: (is|has|names) "):
        load_config(minimal(f"sync: {{tasks: {{skipped_when: [{raw}]}}}}\n"))


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com:8443/base/", "https://api.example.com:8443/base"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.9:1/", "http://127.0.0.9:1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_https_anywhere_and_http_on_loopback_is_taken(minimal: Write, written: str, address: str) -> None:
    assert load_config(minimal(f"  base_url: '{written}'\n")).workbooks.base_url == address


@pytest.mark.parametrize(
    "written",
    [
        "http://api.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "http://127.0.0.1@example.com",
        "https://user:pw@example.com",
        "https://example.com?x=1",
        "https://example.com#x",
        "ftp://localhost",
        "example.com",
        "https://",
        "https://[::1",
        "https://a b",
        "https://example.com:99999",
        "",
    ],
)
def test_anything_that_could_send_a_token_elsewhere_is_refused(minimal: Write, written: str) -> None:
    with pytest.raises(ConfigError, match=r"workbooks\.base_url: (is|has) "):
        load_config(minimal(f"  base_url: '{written}'\n"))


@pytest.mark.parametrize("text", ["true", "yes", "'on'"])
def test_truth_comes_in_yamls_words(minimal: Write, text: str) -> None:
    assert load_config(minimal(f"sync: {{tasks: {{vanished_is_skipped: {text}}}}}\n")).sync.tasks.vanished_is_skipped


@pytest.mark.parametrize("raw", ["0", "101", "1.5", "ten", "null", "''", "[1]", "{a: 1}", "9" * 30])
def test_only_a_whole_number_within_its_bounds_is_taken(minimal: Write, raw: str) -> None:
    with pytest.raises(ConfigError, match=r"workbooks\.batch_size: is .*; allowed: a whole number from 1 to 100"):
        load_config(minimal(f"  batch_size: {raw}\n"))
    assert yaml.safe_load(raw) != 100
