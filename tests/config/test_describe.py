from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml

from outreach_sync.config import load_config
from outreach_sync.config.__main__ import rewritten, schema_text, starter_config
from outreach_sync.errors import UsageError

Write = Callable[..., Path]
ROOT = Path(__file__).parents[2]
FIELDS = "workbooks:\n  fields:\n"


@pytest.mark.parametrize(
    ("what", "place"),
    [
        ("schema", "config/outreach-sync.schema.json"),
        ("reference", "docs/config.md"),
        ("example", "config/outreach-sync.example.yaml"),
    ],
)
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
        "outrech: {}",
        "outreach: {page_size: 5000}",
        "workbooks: {fields: {no_email: null}}",
        "logging: {level: loud}",
        "sync: {streams: tasks}",
        "sync: {tasks: {skipped_when: [{a: {before: b}}]}}",
        "sync: {guard: {share: 2}}",
    ):
        assert not validator.is_valid(yaml.safe_load(wrong)), wrong


@pytest.fixture
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OUTREACH_CLIENT_ID", "OUTREACH_CLIENT_SECRET", "WORKBOOKS_API_KEY"):
        monkeypatch.setenv(name, "planted")


@pytest.mark.usefixtures("_credentials")
def test_the_starter_says_the_defaults_and_nothing_else(write: Write, minimal: Write) -> None:
    started, bare = load_config(write(starter_config())), load_config(minimal())
    for section in ("sync", "schedule", "state", "logging", "monitoring"):
        assert getattr(started, section) == getattr(bare, section), section
    assert started.workbooks.fields == bare.workbooks.fields
    assert (started.outreach.base_url, started.workbooks.base_url) == (bare.outreach.base_url, bare.workbooks.base_url)
    assert started.outreach.refresh_token is None


@pytest.mark.parametrize("value", ["yes", "with: colon # and hash", "é\u2013\n\"'", "", "007", 7, 0.5, True, None])
def test_an_answer_is_read_back_as_it_was_given_and_keeps_the_comments(value: str | float | None) -> None:
    text = starter_config({"workbooks.fields.sequences": value, "state.keep_runs": value})
    answered = yaml.safe_load(text)
    assert (answered["workbooks"]["fields"]["sequences"], answered["state"]["keep_runs"]) == (value, value)
    assert answered["logging"] == {"level": "info", "format": "auto"}
    assert text.count("#") - str(value).count("#") * 2 == starter_config().count("#")


def test_an_answer_to_a_question_nobody_asked_is_a_bug_of_the_caller() -> None:
    with pytest.raises(UsageError, match=r"workbooks\.nope"):
        starter_config({"workbooks.nope": "x"})


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        (f"{FIELDS}    a: old  # why\n", {"a": "new"}, f"{FIELDS}    a: new  # why\n"),
        (f"{FIELDS}    a: null\n    b: 1\n", {"a": "new"}, f"{FIELDS}    a: new\n    b: 1\n"),
        (f"{FIELDS}    # b\n    b: 1\n", {"a": "new"}, f"{FIELDS}    # b\n    a: new\n    b: 1\n"),
        (f"é: 'ü'\n{FIELDS}    a: 'o'\n", {"a": "new"}, f"é: 'ü'\n{FIELDS}    a: new\n"),
        (
            f"{FIELDS}    a: 1\n    b: 2\n",
            {"b": "y", "a": "longer", "c": "z"},
            f"{FIELDS}    c: z\n    a: longer\n    b: y\n",
        ),
        ("", {"a": "new"}, None),
        ("workbooks:\n  api_key: k\n", {"a": "new"}, None),
        ("workbooks:\n  fields: {a: old}\n", {"a": "new"}, None),
        (f"{FIELDS}    a: ${{A}}\n", {"a": "new"}, None),
    ],
)
def test_only_values_change_and_what_cannot_be_changed_alone_is_left_to_people(
    before: str, wanted: dict[str, str], after: str | None
) -> None:
    assert rewritten(before, ("workbooks", "fields"), wanted) == after
