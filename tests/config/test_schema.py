from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from outreach_sync.config import json_schema, starter_config
from outreach_sync.config.keys import keys_at, model_at
from outreach_sync.config.schema import schema_text

SCHEMA = Path(__file__).parents[2] / "config/outreach-sync.schema.json"


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_in_the_repository_is_that_of_the_models() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema_text()


def test_every_key_has_a_description_in_the_schema() -> None:
    for definition in (json_schema(), *json_schema()["$defs"].values()):
        for key, described in definition["properties"].items():
            assert described.get("description"), key


def test_the_schema_knows_the_keys_that_the_loader_knows() -> None:
    definitions = {definition.__name__: set(keys_at(where)) for where, definition in _models(())}
    for name, definition in json_schema()["$defs"].items():
        assert set(definition["properties"]) == definitions[name]


def _models(where: tuple[str, ...]) -> list[tuple[tuple[str, ...], type]]:
    model = model_at(where)
    inner = [_models((*where, key)) for key in keys_at(where)]
    return ([(where, model)] if model else []) + [found for part in inner for found in part]


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
