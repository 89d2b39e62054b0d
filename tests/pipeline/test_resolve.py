from __future__ import annotations

from typing import Any

import pytest

from outreach_sync.deliver import deliver


def decide(bench: Any, **options: Any) -> Any:
    run = bench.run(**options)
    deliver(run, complete=True, allow_bulk=False)
    return run.summary


def forget_that_all_states_were_read(bench: Any) -> None:
    with bench.state.transaction():
        bench.state.connection.execute("DELETE FROM fact")


def test_old_states_are_read_before_the_first_decision_unless_everything_was_read(bench: Any) -> None:
    forget_that_all_states_were_read(bench)
    bench.source.states = bench.states(1, "opted_out")
    bench.target.add(1001, email="ada@example.com")
    bench.keep(bench.prospect(1, email="ada@example.com"))
    decide(bench)
    assert bench.source.history_asked == [1]
    assert (bench.field(1001, "f_state"), bench.field(1001, "f_no_email")) == ("Opted Out", True)
    bench.keep(bench.prospect(1, email="ada@example.com", opted_out=True, updated_at=bench.now))
    decide(bench)
    assert bench.source.history_asked == [1], "once is enough"


def test_a_prospect_that_only_a_state_named_is_read_before_it_is_created(bench: Any) -> None:
    bench.source.prospects = [bench.prospect(1, email="ada@example.com")]
    bench.keep(states=bench.states(1, "active"))
    decide(bench)
    assert bench.source.prospects_asked == [1]
    assert bench.target.people[5000].email == "ada@example.com"


@pytest.mark.parametrize(
    ("rule", "prospect", "person"),
    [
        ("reference", {}, {"reference": "outreach-prospect-1"}),
        ("external_id", {"external_id": " pers-1001 "}, {}),
        ("email", {"email": "Ada@Example.com"}, {"email": "ada@example.COM"}),
    ],
)
def test_each_rule_finds_the_person(bench: Any, rule: str, prospect: dict[str, Any], person: dict[str, Any]) -> None:
    bench.target.add(1001, **person)
    bench.keep(bench.prospect(1, **prospect), states=bench.states(1, "active"))
    decide(bench)
    assert bench.field(1001, "f_state") == "Running"
    assert bench.state.people.by_id([1001])[1001].rule == rule


def test_the_reference_is_looked_for_whatever_the_config_says_since_the_state_may_have_been_lost(bench: Any) -> None:
    bench.target.add(1001, reference="outreach-prospect-1")
    bench.keep(bench.prospect(1), states=bench.states(1, "active"))
    assert decide(bench, config={"sync.people.match": ("link", "email")}).people.created == 0
    assert bench.field(1001, "f_state") == "Running"


def test_a_deleted_person_is_no_match(bench: Any) -> None:
    bench.target.add(1001, email="ada@example.com")
    bench.target.change(1001, deleted=True)
    bench.keep(bench.prospect(1, email="ada@example.com"), states=bench.states(1, "active"))
    assert decide(bench).people.created == 1


def test_no_more_is_asked_for_those_a_rule_has_found(bench: Any) -> None:
    bench.target.add(1001, reference="outreach-prospect-1")
    bench.keep(bench.prospect(1, email="ada@example.com"), states=bench.states(1, "active"))
    decide(bench)
    assert "email" not in {what for what, _ in bench.target.looked_up}


def test_a_person_in_doubt_is_read_before_it_is_written(bench: Any) -> None:
    bench.linked(1, 1001, "active")
    bench.target.change(1001, f_state="Running")
    with bench.state.transaction():
        bench.state.people.doubt([1001])
    decide(bench)
    (batch,) = bench.target.person_batches
    assert set(batch[0].fields) == {"f_at"}, "what is there already is not written again"
