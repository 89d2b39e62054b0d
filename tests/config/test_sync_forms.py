from __future__ import annotations

import pytest
import yaml

from outreach_sync.config.start import Back, Everything, From, Start
from outreach_sync.config.sync_forms import (
    ConditionForm,
    StartForm,
    Template,
    attribute_name,
    field_name,
    state_name,
)
from outreach_sync.instants import Instant
from outreach_sync.rules.conditions import AnyOf, Clause, Equals, NotAfter


@pytest.mark.parametrize(
    ("written", "start"),
    [
        ("90d", Back(7_776_000_000)),
        ("all", Everything()),
        ("1970-01-02", From(Instant(86_400_000))),
        ("1970-01-01T00:00:01Z", From(Instant(1000))),
        ("1970-01-01T01:00:00+01:00", From(Instant(0))),
    ],
)
def test_a_start_is_a_duration_a_date_or_all(written: str, start: Start) -> None:
    assert StartForm().parse(written) == start
    assert type(StartForm().parse(written)) is type(start)


@pytest.mark.parametrize("written", ["90", "everything", "2026-13-01", ""])
def test_any_other_start_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is "):
        StartForm().parse(written)


@pytest.mark.parametrize("text", ["plain", "{action}: {sequence}", "{{literal}} {id}"])
def test_known_places_are_taken(text: str) -> None:
    assert Template(("action", "sequence", "id")).parse(text) == text


@pytest.mark.parametrize(
    "text", ["{}", "{0}", "{secret}", "{id.__class__}", "{id[0]}", "{id!r}", "{id:>9}", "{id", "id}"]
)
def test_a_template_can_reach_nothing_but_its_places(text: str) -> None:
    with pytest.raises(ValueError, match="has a "):
        Template(("id",)).parse(text)


def test_a_condition_takes_values_null_lists_and_times() -> None:
    raw = yaml.safe_load("{state: complete, completed: false, completer: null, n: [1, x, null], a: {not_after: b}}")
    assert ConditionForm().parse(raw) == (
        Clause("state", Equals("complete")),
        Clause("completed", Equals(value=False)),
        Clause("completer", Equals(None)),
        Clause("n", AnyOf((1, "x", None))),
        Clause("a", NotAfter("b")),
    )


@pytest.mark.parametrize(
    "raw",
    [
        "{}",
        "[]",
        "5",
        "{a b: 1}",
        "{a: {}}",
        "{a: {not_after: 5}}",
        "{a: {not_after: b, x: y}}",
        "{a: {before: b}}",
        "{a: []}",
        "{a: [[1]]}",
        "{a: [{b: c}]}",
    ],
)
def test_what_could_never_match_as_meant_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has|names) "):
        ConditionForm().parse(yaml.safe_load(raw))


def test_names_have_the_form_their_service_gives_them() -> None:
    assert field_name().parse("main_location[town]") == "main_location[town]"
    assert attribute_name().parse("custom12") == "custom12"
    assert state_name().parse("opted_out") == "opted_out"
    for form, wrong in ((field_name(), "a[b"), (attribute_name(), "1a"), (state_name(), "Active")):
        with pytest.raises(ValueError, match="characters"):
            form.parse(wrong)
