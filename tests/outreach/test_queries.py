from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, strategies as st

from outreach_sync.instants import parse_iso
from outreach_sync.outreach import queries
from outreach_sync.outreach.settings import OutreachSettings
from outreach_sync.records import Stream

SETTINGS = OutreachSettings(base_url="https://api.outreach.io")
SINCE = parse_iso("2026-09-01T10:00:00Z")


def asked(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, strict_parsing=True))


@pytest.mark.parametrize("stream", list(Stream))
def test_a_walk_asks_in_another_way_than_documented(stream: Stream) -> None:
    url = queries.start_url(SETTINGS, stream, SINCE)
    query = asked(url)
    assert query["newFilterSyntax"] == "true"
    stamp = "createdAt" if stream is Stream.EVENTS else "updatedAt"
    assert query[f"filter[{stamp}][gte]"] == "2026-09-01T10:00:00Z"
    assert not any("[lte]" in name or ".." in value for name, value in query.items())
    assert (query["sort"], query["count"], query["page[size]"]) == (stamp, "false", "1000")
    assert "filter[state]" not in query
    assert len(url) < 4096


@pytest.mark.parametrize("stream", list(Stream))
def test_rows_without_a_stamp_are_filtered_out_of_a_walk_of_everything(stream: Stream) -> None:
    filters = {name for name in asked(queries.start_url(SETTINGS, stream, None)) if name.startswith("filter")}
    assert filters == ({"filter[name][]"} if stream is Stream.EVENTS else set())


def test_what_the_skip_rule_names_is_not_asked_for() -> None:
    settings = OutreachSettings(base_url="https://x", task_attributes=("scheduledAt", "owner", "state"))
    fields = asked(queries.start_url(settings, Stream.TASKS, None))["fields[task]"].split(",")
    assert {"scheduledAt", "owner"} < set(fields)
    assert {"completed", "completedAt", "autoskipAt", "stateChangedAt", "completer", "sequenceStep"} < set(fields)
    assert len(fields) == len(set(fields))


def test_what_new_people_need_is_not_asked_for_where_prospects_are_included() -> None:
    settings = OutreachSettings(base_url="https://x", prospect_attributes=("title", "workPhones"))
    for stream in set(Stream) - {Stream.EVENTS}:
        fields = asked(queries.start_url(settings, stream, None))["fields[prospect]"].split(",")
        assert {"title", "workPhones", "emailsOptedAt", "trashedAt"} < set(fields)
        assert "contactHistogram" not in fields


def test_sequences_are_asked_for_though_nobody_needs_them() -> None:
    without = OutreachSettings(base_url="https://x", want_sequences=False)
    assert asked(queries.start_url(SETTINGS, Stream.TASKS, None))["include"] == "prospect,sequence"
    assert asked(queries.start_url(without, Stream.TASKS, None))["include"] == "prospect"
    assert "include" not in asked(queries.start_url(SETTINGS, Stream.PROSPECTS, None))
    assert "include" not in asked(next(queries.states_of_urls(without, [1])))


def test_both_filter_syntaxes_meet_in_one_request() -> None:
    for url in (
        *queries.states_of_urls(SETTINGS, [1, 2]),
        *queries.by_id_urls(SETTINGS, Stream.TASKS, [1, 2]),
        queries.all_states_url(SETTINGS),
    ):
        assert "newFilterSyntax" not in asked(url)
        assert "filter[updatedAt]" not in asked(url)
    assert asked(next(queries.states_of_urls(SETTINGS, [1, 2])))["filter[prospect][id]"] == "1,2"


def test_the_walk_of_all_states_carries_more_than_the_states() -> None:
    query = asked(queries.all_states_url(SETTINGS))
    assert query["fields[sequenceState]"] == "state,stateChangedAt,updatedAt,prospect,sequence"
    assert "include" not in query


@given(st.lists(st.integers(1, 2**63 - 1), max_size=400))
def test_an_id_is_lost_or_repeated(ids: list[int]) -> None:
    lists = list(queries.id_lists(ids))
    found = [int(text) for listed in lists for text in listed.split(",")]
    assert found == list(dict.fromkeys(ids))
    assert all(listed.count(",") < 100 for listed in lists)


def test_the_longest_ids_make_a_url_too_long() -> None:
    ids = range(2**63 - 100, 2**63)
    assert all(len(url) < 4096 for url in queries.by_id_urls(SETTINGS, Stream.TASKS, ids))


def test_more_requests_are_made_than_ids_need() -> None:
    assert len(list(queries.id_lists(range(1_000_000, 1_000_300)))) == 3


@pytest.mark.parametrize(
    ("url", "smaller"),
    [
        (
            "https://x/t?a=1&page%5Bsize%5D=1000&page%5Bafter%5D=a%2Bb==",
            "https://x/t?a=1&page%5Bsize%5D=500&page%5Bafter%5D=a%2Bb==",
        ),
        ("https://x/t?page[size]=1000&page[after]=size", "https://x/t?page[size]=500&page[after]=size"),
    ],
)
def test_more_than_the_page_size_is_changed_in_a_link(url: str, smaller: str) -> None:
    assert queries.page_size(url) == 1000
    assert queries.with_page_size(url, 500) == smaller
    assert queries.page_size(smaller) == 500


def test_a_link_without_a_page_size_gets_one() -> None:
    assert queries.page_size("https://x/t?a=1") is None
