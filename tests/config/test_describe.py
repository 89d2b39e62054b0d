from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from outreach_sync.config.__main__ import schema_text, starter_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


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


@pytest.mark.parametrize(
    "text",
    [
        starter_config(),
        "outreach: {client_secret_file: x, s2s: {install_id: a, app_guid: b, private_key_file: c}}",
        "sync:\nschedule: {every: null, cron: '0 * * * *'}",
        "workbooks: {batch_size: '${N}', fields: {no_email: '${F:-x}'}}\nlogging: {level: '${L}'}",
        "sync: {tasks: {skipped_when: [{a: [1, null], b: {not_after: c}}], type: {call: Ring}}}",
    ],
)
def test_what_the_loader_takes_the_schema_takes(validator: Any, text: str) -> None:
    assert [error.message for error in validator.iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "outrech: {}",
        "outreach: {page_size: 5000}",
        "workbooks: {fields: {no_email: null}}",
        "logging: {level: loud}",
        "sync: {streams: tasks}",
        "sync: {tasks: {skipped_when: [{a: {before: b}}]}}",
        "sync: {guard: {share: 2}}",
    ],
)
def test_what_the_loader_refuses_an_editor_underlines(validator: Any, text: str) -> None:
    assert not validator.is_valid(json.loads(json.dumps(yaml.safe_load(text))))
