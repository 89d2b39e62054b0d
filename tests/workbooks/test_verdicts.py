from typing import Any

import pytest
from hypothesis import given, strategies as st

from outreach_sync.records import Accepted, Rejected, Stale, Unknown, Verdict, Write
from outreach_sync.workbooks.wire import clean_text, judge, reasons_in

STALE_SENTENCE = "This record cannot be saved since it has already been updated elsewhere."
DONE = {"success": True, "errors": {}, "warnings": {}}
UPDATE = Write(1001, 7, {"cf_x": "Finished"})
OTHER = Write(1009, 1, {"cf_x": "Finished"})
REFERENCE = "created_through_reference"
CREATE = Write(0, 0, {"name": "n", REFERENCE: "outreach-task-9001"})


def answer(*entries: tuple[dict[str, Any], dict[str, Any]], success: bool = True, **more: object) -> dict[str, Any]:
    return {
        "success": success,
        "affected_objects": [record for record, _ in entries],
        "affected_object_information": [information for _, information in entries],
        **more,
    }


def failed(**errors: object) -> dict[str, Any]:
    return {"success": False, "errors": errors, "warnings": {}}


def one(said: dict[str, Any], write: Write = UPDATE) -> Verdict:
    (verdict,) = judge(said, [write])
    return verdict


def test_the_documented_update_with_a_stale_second_and_creates_with_the_second_refused() -> None:
    stale = ({"id": 1009, "lock_version": 1}, failed(base=[STALE_SENTENCE]))
    said = answer(({"id": 1001, "lock_version": 8}, DONE), stale, success=False, failures=[STALE_SENTENCE])
    assert judge(said, [UPDATE, OTHER]) == (Accepted(1001, 8), Stale())
    made = ({"id": 4001, "lock_version": 0, REFERENCE: "outreach-task-9001"}, DONE)
    refused = ({"id": None, "lock_version": 0, REFERENCE: "x"}, failed(name=["is a required field"]))
    said = answer(made, refused, success=False, errors={"[]": {"name": "is a required field"}})
    verdicts = (Accepted(4001, 0), Rejected(("name: is a required field",)))
    assert judge(said, [CREATE, Write(0, 0, {"name": ""})]) == verdicts


@pytest.mark.parametrize(("information", "alone"), [({}, Unknown), ({"message": ["is required"]}, Rejected)])
def test_the_oldest_form_without_a_flag_counts_only_under_plain_success(information: Any, alone: type[Verdict]) -> None:
    assert one(answer(({"id": 1001, "lock_version": 8}, information))) == Accepted(1001, 8)
    assert isinstance(one(answer(({"id": 1001}, information), success=False)), alone)
    unclean = answer(({"id": 1001}, information), ({"id": 1009}, information), failures=["one failed"])
    assert all(isinstance(verdict, Unknown) for verdict in judge(unclean, [UPDATE, OTHER]))


def test_a_refusal_of_all_explains_the_only_object_that_was_sent() -> None:
    said = answer(({"id": 1001}, {}), success=False, failures=["cf_x is not in the list"])
    assert one(said) == Rejected(("cf_x is not in the list",))
    both = answer(({"id": 1001}, {}), ({"id": 1009}, {}), success=False, failures=["x"])
    assert isinstance(judge(both, [UPDATE, OTHER])[0], Unknown)
    assert isinstance(one(answer(({"id": 77}, {}), success=False, failures=["x"]), CREATE), Unknown)


@pytest.mark.parametrize(
    "said",
    [
        answer(({"id": 1001}, failed()), success=False, failures=[STALE_SENTENCE]),
        answer(({"id": 1001}, failed()), success=False, errors={"[]": {"base": STALE_SENTENCE}}),
        answer(({"id": 1001}, failed()), success=False, affected_object_errors=[STALE_SENTENCE]),
        answer(({"id": 1001}, failed(base=[STALE_SENTENCE]))),
        answer(({"id": 1001}, DONE), affected_object_errors=[{"base": [STALE_SENTENCE]}]),
        answer(({"id": 1001}, {}), success=False, failures=["HAS ALREADY BEEN UPDATED ELSEWHERE"]),
    ],
)
def test_the_stale_text_is_found_wherever_it_stands(said: dict[str, Any]) -> None:
    assert one(said) == Stale()


def test_another_objects_staleness_explains_no_refusal_with_its_own_reason_and_no_create() -> None:
    stale = ({"id": 1009}, failed())
    for first, write, verdict in (
        (({"id": 1001}, failed(cf_x=["no"])), UPDATE, Rejected(("cf_x: no",))),
        (({"id": None}, failed()), CREATE, Rejected((STALE_SENTENCE,))),
    ):
        said = answer(first, stale, success=False, failures=[STALE_SENTENCE])
        assert judge(said, [write, OTHER]) == (verdict, Stale())


def test_a_failure_without_a_reason_is_looked_at_for_an_update_and_refused_for_a_create_or_all() -> None:
    assert one(answer(({"id": 1001}, failed()), success=False)) == Unknown("refused without a reason")
    assert one(answer(({"id": None}, failed()), success=False), CREATE) == Rejected(("refused without a reason",))
    assert judge({"success": False}, [UPDATE]) == Rejected(("refused without a reason",)), "all of it, not an object"
    assert judge({"success": False, "failures": ["bad filter"]}, [UPDATE]) == Rejected(("bad filter",))


UNCLEAR = "the answer does not clearly say that this record was saved: cf_x: no"


@pytest.mark.parametrize(
    ("said", "write", "verdict"),
    [
        *((answer(({"id": named}, DONE)), UPDATE, Unknown) for named in (1002, None, "x")),
        *((answer((record, DONE)), CREATE, Unknown) for record in ({"id": 0}, {}, {"id": 5, REFERENCE: "other"})),
        *((answer(({"id": odd}, DONE)), CREATE, Unknown) for odd in (2**63 - 1, 10**300, -5, 1.5)),
        *((answer(({"id": 1002}, failed(x=[why])), success=False), UPDATE, Unknown) for why in ("no", STALE_SENTENCE)),
        (answer(({"id": 1001}, {"success": True, "errors": {"cf_x": ["no"]}})), UPDATE, Unknown(UNCLEAR)),
        (answer(({"id": 1001}, {"success": False, "message": ["no"]})), UPDATE, Rejected(("no",))),
        (answer(({"id": 1001}, DONE)) | {"affected_object_information": [DONE, DONE]}, UPDATE, Unknown),
        (answer(({"id": 1009, "lock_version": 2}, DONE), ({"id": 5}, DONE)), OTHER, Accepted(1009, 2)),
        (answer(({"id": 1009}, DONE), ({"id": 1009}, DONE)), OTHER, Unknown),
        *((said, UPDATE, Unknown) for said in ({}, {"affected_objects": "x"}, {"affected_objects": [None]})),
        (answer(({"id": 1001}, DONE)), UPDATE, Accepted(1001, -1)),
        (answer(({"id": 1001, "lock_version": 2**63}, DONE)), UPDATE, Accepted(1001, -1)),
        (answer(({"id": "1001", "lock_version": "8"}, DONE)), UPDATE, Accepted(1001, 8)),
    ],
)
def test_only_an_answer_that_names_the_record_in_its_place_is_believed(
    said: dict[str, Any], write: Write, verdict: object
) -> None:
    judged = one(said, write)
    assert isinstance(judged, Unknown) if verdict is Unknown else judged == verdict


def test_a_create_is_given_neither_the_id_of_another_record_nor_what_became_of_another_create() -> None:
    said = answer(({"id": 1001}, DONE), ({"id": 1001}, DONE))
    assert isinstance(judge(said, [UPDATE, CREATE])[1], Unknown)
    unnamed = answer(({"id": None}, failed(cf_x=["no"])), ({"id": 1001}, DONE), success=False)
    assert list(map(type, judge(unnamed, [UPDATE, CREATE]))) == [Rejected, Unknown]
    assert all(isinstance(verdict, Unknown) for verdict in judge(said, [CREATE, CREATE]))
    swapped = answer(
        ({"id": None, REFERENCE: "outreach-task-9003"}, failed(name=["is a required field"])),
        ({"id": 4001, "lock_version": 0, REFERENCE: "outreach-task-9001"}, DONE),
        success=False,
    )
    other = Write(0, 0, {"name": "", REFERENCE: "outreach-task-9003"})
    assert [type(verdict) for verdict in judge(swapped, [CREATE, other])] == [Unknown, Unknown]


def test_reasons_are_collected_from_all_four_places_each_once_without_control_characters_and_never_too_many() -> None:
    said = answer(
        ({"id": 1}, failed(a=["four"])),
        failures=["one", "one"],
        errors={"[]": {"b": "two"}, "base": "five"},
        affected_object_errors=[{"c": ["three"]}],
    )
    assert reasons_in(said) == ("one", "b: two", "five", "c: three", "a: four")
    assert clean_text("a\x1b[31m\r\nb\u2028c") == "a [31m b c"
    said = {"failures": [f"{number}" * 1000 for number in range(100, 200)]}
    assert len(reasons_in(said)) == 10
    assert max(map(len, reasons_in(said))) == 300


JSON = st.recursive(
    st.none() | st.booleans() | st.sampled_from([0, 1, 2, 3, 2**63, 1.5, "\ud83d"]) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "success", "errors"]), inner),
    max_leaves=8,
)
KEYS = ["success", "failures", "errors", "affected_objects", "affected_object_information", "affected_object_errors"]
ODD = st.dictionaries(st.sampled_from(KEYS), JSON)


def said_of(ids: list[int]) -> st.SearchStrategy[tuple[list[int], dict[str, Any]]]:
    """Return these ids with an answer: in the right form, with ids that are right, wrong or missing, or an odd one."""
    entries = [
        st.tuples(
            st.fixed_dictionaries({"id": st.sampled_from([one or 5, one % 3 + 1, 0, None])}),
            st.sampled_from([DONE, DONE, {}, failed(cf_x=["no"])]),
        )
        for one in ids
    ]
    formed = st.builds(answer, *entries, success=st.sampled_from([True, True, False]))
    return st.tuples(st.just(ids), st.one_of(formed, formed, ODD, st.builds(lambda a, b: {**a, **b}, formed, ODD)))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True).flatmap(said_of))
def test_no_answer_breaks_the_judging_and_none_is_accepted_without_its_own_id(
    asked: tuple[list[int], dict[str, Any]],
) -> None:
    ids, said = asked
    verdicts = judge(said, [Write(record_id, 0, {}) for record_id in ids])
    if isinstance(verdicts, Rejected):  # of all of them, without a word on any
        on_any = said.get("affected_objects") or said.get("affected_object_information")
        assert (said["success"], bool(on_any)) == (False, False)
        verdicts = (verdicts,) * len(ids)
    assert len(verdicts) == len(ids)
    accepted = [(own, one.id) for own, one in zip(ids, verdicts, strict=True) if isinstance(one, Accepted)]
    assert [own or named for own, named in accepted] == [named for _, named in accepted]
    assert len({named for _, named in accepted if named > 0}) == len(accepted)
    assert not [named for own, named in accepted if not own and named in ids], "no new record has the id of another"
