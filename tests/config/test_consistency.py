from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from outreach_sync.config import load_config
from outreach_sync.errors import ConfigError

Write = Callable[..., Path]

S2S = "install_id: 7, app_guid: g, private_key: planted"


def _places(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return [problem.split(": ")[1] for problem in caught.value.problems]


def test_every_missing_credential_is_named(write: Write) -> None:
    assert _places(write("sync:\n")) == ["outreach.client_id", "outreach.client_secret", "workbooks.api_key"]


def test_server_to_server_needs_no_oauth_client(write: Write) -> None:
    config = load_config(write(f"outreach: {{s2s: {{{S2S}}}}}\nworkbooks: {{api_key: planted}}\n"))
    assert config.outreach.s2s is not None
    assert config.outreach.s2s.install_id == "7"
    assert config.outreach.client_id is None


def test_server_to_server_needs_all_of_its_own(write: Write) -> None:
    assert _places(write("outreach: {s2s: {install_id: 7}}\nworkbooks: {api_key: planted}\n")) == [
        "outreach.s2s.app_guid",
        "outreach.s2s.private_key",
    ]


def test_two_kinds_of_credentials_are_one_too_many(write: Write) -> None:
    text = f"outreach: {{client_id: c, refresh_token: '${{X:-}}', s2s: {{{S2S}}}}}\nworkbooks: {{api_key: planted}}\n"
    assert _places(write(text)) == ["outreach.client_id"]


def test_a_missing_credential_is_said_once(write: Write) -> None:
    path = write("outreach: {client_id: '${NO}', client_secret_file: /nowhere/x}\nworkbooks: {api_key: planted}\n")
    assert sorted(_places(path)) == ["outreach.client_id", "outreach.client_secret_file"]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ("{sequence_state: cf_x, sequences: cf_x}", "workbooks.fields.sequences"),
        ("{outreach_id: no_email_soliciting}", "workbooks.fields.outreach_id"),
        ("{sequences: name}", "workbooks.fields.sequences"),
        ("{outreach_id: created_through_reference}", "workbooks.fields.outreach_id"),
    ],
)
def test_two_values_never_go_to_one_field(minimal: Write, fields: str, place: str) -> None:
    assert _places(minimal(f"  fields: {fields}\n")) == [place]


@pytest.mark.parametrize("field", ["cf_person_sequence_state", "main_location[email]", "lock_version"])
def test_a_created_person_never_gets_a_field_of_ours_from_elsewhere(minimal: Write, field: str) -> None:
    path = minimal(f"sync: {{people: {{create_fields: {{'{field}': title}}}}}}\n")
    assert _places(path) == [f"sync.people.create_fields.{field}"]


def test_a_state_without_label_has_no_precedence(minimal: Write) -> None:
    assert _places(minimal("sync: {precedence: [active, not_active, activ]}\n")) == [
        "sync.precedence[1]",
        "sync.precedence[2]",
    ]
    config = load_config(minimal("sync: {precedence: [snoozed, active], labels: {snoozed: Snoozed}}\n"))
    assert config.sync.precedence == ("snoozed", "active")


def test_a_schedule_that_never_starts_is_a_mistake(minimal: Write) -> None:
    assert _places(minimal("schedule: {every: null}\n")) == ["schedule.every"]
    assert load_config(minimal("schedule: {every: null, cron: '0 * * * *'}\n")).schedule.cron == "0 * * * *"
