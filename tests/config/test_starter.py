from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from outreach_sync.config import load_config
from outreach_sync.config.__main__ import rewritten, starter_config
from outreach_sync.errors import UsageError

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OUTREACH_CLIENT_ID", "OUTREACH_CLIENT_SECRET", "WORKBOOKS_API_KEY"):
        monkeypatch.setenv(name, "planted")


def test_the_starter_says_the_defaults_and_nothing_else(write: Write, minimal: Write) -> None:
    started = load_config(write(starter_config()))
    bare = load_config(minimal())
    for section in ("sync", "schedule", "state", "logging", "monitoring"):
        assert getattr(started, section) == getattr(bare, section), section
    assert started.workbooks.fields == bare.workbooks.fields
    assert (started.outreach.base_url, started.workbooks.base_url) == (bare.outreach.base_url, bare.workbooks.base_url)
    assert started.outreach.refresh_token is None


@pytest.mark.parametrize(
    "value", ["plain", "yes", "with: colon # and hash", "é\u2013\n\"'", "", "007", 7, 0.5, True, None]
)
def test_an_answer_is_read_back_as_it_was_given(value: str | float | None) -> None:
    answered = yaml.safe_load(starter_config({"workbooks.fields.sequences": value, "state.keep_runs": value}))
    assert answered["workbooks"]["fields"]["sequences"] == value
    assert answered["state"]["keep_runs"] == value
    assert answered["logging"] == {"level": "info", "format": "auto"}


def test_an_answer_keeps_the_comments(write: Write) -> None:
    text = starter_config({"workbooks.base_url": "https://example-live.workbooks.com", "schedule.every": "5m"})
    assert text.count("#") == starter_config().count("#")
    assert load_config(write(text)).workbooks.base_url == "https://example-live.workbooks.com"


def test_an_answer_to_a_question_nobody_asked_is_a_bug_of_the_caller() -> None:
    with pytest.raises(UsageError, match=r"workbooks\.nope"):
        starter_config({"workbooks.nope": "x"})


WHERE = ("workbooks", "fields")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("workbooks:\n  fields:\n    a: old  # why\n", "workbooks:\n  fields:\n    a: new  # why\n"),
        ("workbooks:\n  fields:\n    a: null\n    b: 1\n", "workbooks:\n  fields:\n    a: new\n    b: 1\n"),
        ("workbooks:\n  fields:\n    # b\n    b: 1\n", "workbooks:\n  fields:\n    # b\n    a: new\n    b: 1\n"),
        ("é: 'ü'\nworkbooks:\n  fields:\n    a: 'o'\n", "é: 'ü'\nworkbooks:\n  fields:\n    a: new\n"),
    ],
    ids=["comment", "null", "missing key", "not ASCII"],
)
def test_only_the_value_changes(before: str, after: str) -> None:
    assert rewritten(before, WHERE, {"a": "new"}) == after


def test_several_values_change_at_once() -> None:
    text = "workbooks:\n  fields:\n    a: 1\n    b: 2\n"
    assert rewritten(text, WHERE, {"b": "y", "a": "longer", "c": "z"}) == (
        "workbooks:\n  fields:\n    c: z\n    a: longer\n    b: y\n"
    )


@pytest.mark.parametrize(
    "text",
    ["", "workbooks:\n  api_key: k\n", "workbooks:\n  fields: {a: old}\n", "workbooks:\n  fields:\n    a: ${A}\n"],
    ids=["empty", "no section", "flow style", "from the environment"],
)
def test_what_cannot_be_changed_alone_is_left_to_people(text: str) -> None:
    assert rewritten(text, WHERE, {"a": "new"}) is None
