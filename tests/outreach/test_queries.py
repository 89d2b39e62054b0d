from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from outreach_sync.config.model import Config
from outreach_sync.http import StopSignal
from outreach_sync.instants import parse_iso
from outreach_sync.outreach import client as walk
from outreach_sync.outreach.client import Outreach
from outreach_sync.records import Stream

SINCE = parse_iso("2026-09-01T10:00:00Z")


def source(**sync: Any) -> Outreach:
    document = {"outreach": {"client_id": "i", "client_secret": "s"}, "sync": sync}
    return Outreach(Config.model_validate(document), StopSignal())


def asked(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, strict_parsing=True))


def urls(monkeypatch: pytest.MonkeyPatch, call: str, *args: Any) -> list[str]:
    """Return where the walks of a call begin."""
    begun: list[str] = []
    monkeypatch.setattr(Outreach, "pages", lambda _self, _stream, *starts: iter(begun.extend(starts) or ()))
    list(getattr(source(), call)(*args))
    return begun


@pytest.mark.parametrize("stream", list(Stream))
def test_a_walk_asks_as_is_documented_and_one_of_everything_includes_rows_without_a_stamp(stream: Stream) -> None:
    url = source().first_url(stream, SINCE)
    query = asked(url)
    stamp = "createdAt" if stream is Stream.EVENTS else "updatedAt"
    assert (query["newFilterSyntax"], query[f"filter[{stamp}][gte]"]) == ("true", "2026-09-01T10:00:00Z")
    assert not any("[lte]" in name or ".." in value for name, value in query.items())
    assert (query["sort"], query["count"], query["page[size]"]) == (stamp, "false", "1000")
    assert "filter[state]" not in query
    assert len(url) < 4096
    filters = {name for name in asked(source().first_url(stream, None)) if name.startswith("filter")}
    assert filters == ({"filter[name][]"} if stream is Stream.EVENTS else set())


def test_what_the_skip_rule_and_new_people_need_is_asked_for_once() -> None:
    rule = [{"scheduledAt": None, "owner": None, "state": "x", "note": None}]
    needy = source(tasks={"skipped_when": rule}, people={"create_fields": {"cf_a": "title", "cf_b": "workPhones"}})
    fields = asked(needy.first_url(Stream.TASKS, None))["fields[task]"].split(",")
    assert {"scheduledAt", "owner", "note"} < set(fields)
    assert {"completed", "completedAt", "autoskipAt", "stateChangedAt", "completer", "sequenceStep"} < set(fields)
    assert len(fields) == len(set(fields))
    for stream in set(Stream) - {Stream.EVENTS}:
        fields = asked(needy.first_url(stream, None))["fields[prospect]"].split(",")
        assert {"title", "workPhones", "emailsOptedAt", "trashedAt"} < set(fields)
        assert "contactHistogram" not in fields


def test_steps_are_asked_for_only_where_a_task_that_vanished_may_be_skipped() -> None:
    fields = "state,stateChangedAt,updatedAt,prospect,sequence"
    assert asked(source().all_states_url())["fields[sequenceState]"] == fields
    steps = asked(source(tasks={"vanished_is_skipped": True}).all_states_url())["fields[sequenceState]"].split(",")
    assert set(steps) == {*fields.split(","), "repliedAt", "sequenceStep"}


def test_prospects_and_sequences_are_included_where_they_are_needed_and_two_filter_syntaxes_never_meet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert asked(source().first_url(Stream.TASKS, None))["include"] == "prospect,sequence"
    everything, of_prospects = source().all_states_url(), urls(monkeypatch, "states_of", [1, 2])
    for url in (everything, source().first_url(Stream.PROSPECTS, None), source().first_url(Stream.EVENTS, None)):
        assert "include" not in asked(url)
    assert asked(of_prospects[0])["include"] == "sequence"
    assert asked(of_prospects[0])["filter[prospect][id]"] == "1,2"
    for url in (*of_prospects, *urls(monkeypatch, "by_id", Stream.TASKS, [1, 2]), everything):
        assert not {"newFilterSyntax", "filter[updatedAt]"} & asked(url).keys()


@pytest.mark.parametrize("count", [0, 1, 100, 101, 300])
def test_every_id_is_asked_for_once_in_as_few_requests_as_can_be(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    ids = list(range(2**60 - count, 2**60))
    found = urls(monkeypatch, "by_id", Stream.TASKS, [*ids, *ids])
    assert [int(one) for url in found for one in asked(url)["filter[id]"].split(",")] == ids
    assert len(found) == -(-count // 100)
    assert all(len(url) < 4096 for url in found)


@pytest.mark.parametrize(
    "link", ["https://x/t?a=1&page%5Bsize%5D={}&page%5Bafter%5D=a%2Bb==", "https://x/t?page[size]={}&page[after]=size"]
)
def test_the_page_size_alone_is_changed_in_a_link(link: str) -> None:
    assert walk.page_size(link.format(1000)) == 1000
    assert walk.with_page_size(link.format(1000), 500) == link.format(500)
