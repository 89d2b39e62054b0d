import math
from typing import Any

import pytest

from outreach_sync import errors
from outreach_sync.connections import Answer
from outreach_sync.outreach import client as clients
from outreach_sync.outreach.client import CursorRefusedError, NotUnderstoodError

ONE = [("page[size]", "1")]
API = "/api/v2/"
HOUR = 3_600_000


def statuses(sandbox: Any) -> list[int]:
    return [entry.status for entry in sandbox.journal.entries() if entry.path.startswith(API)]


def test_a_request_is_what_the_reference_asks_for(sandbox: Any, connect: Any) -> None:
    side, sent = connect(timeout="20s"), list[Any]()
    side.intercept(lambda send, *args, **named: sent.append((*args, named)) or send(*args, **named))
    token = side.tokens.current()
    side.get()
    method, url, named = sent[-1]
    assert (method, url) == ("GET", f"{sandbox.url}/api/v2/prospects?page%5Bsize%5D=1")
    json_api = dict.fromkeys(("Content-Type", "Accept"), "application/vnd.api+json")
    assert named["headers"] == {"Authorization": f"Bearer {token}", **json_api}
    assert [named["timeout_seconds"] for *_, named in sent] == [20, 20], "outreach.timeout, for a token too"
    assert "grace_seconds" not in named, "a request to stop cuts it at once"


def test_a_refused_token_is_replaced_once_and_a_second_refusal_ends_with_3(sandbox: Any, side: Any) -> None:
    side.get()
    sandbox.faults.on("token_expired_mid_walk", times=1)
    side.get()
    assert statuses(sandbox) == [200, 401, 200]
    sandbox.faults.on("token_expired_mid_walk")
    with pytest.raises(errors.NotAuthenticatedError, match="auth login"):
        side.get()
    assert statuses(sandbox)[3:] == [401, 401]
    assert sandbox.journal.counts()["token"] == 3


def test_each_refused_token_is_worth_one_refresh_whatever_the_refusal_looks_like(sandbox: Any, side: Any) -> None:
    sandbox.faults.on("second_access_token_refused", times=1)
    side.get()
    sandbox.tokens.revoke_access(side.tokens.current())
    with pytest.raises(errors.NotAuthenticatedError):
        side.get()
    for form in ("empty", "html") * 2:
        sandbox.faults.on("unauthorized_without_body", form=form)
        sandbox.tokens.revoke_access(side.tokens.current())
        assert side.get()["data"] == []


NO_ANSWER, NOT_ITS = errors.UnavailableError, errors.UntrustedAnswerError
PAGES = [b"<html><h1>Forbidden</h1>", b"no healthy upstream", b"", b'{"message": "Forbidden"}', b'{"errors": []}']


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 415, 422, 429, 503])
def test_the_page_of_a_gateway_may_pass(side: Any, status: int, page: bytes) -> None:
    side.tokens.current()
    asked = side.first_answers(Answer(status, {"Content-Type": "text/html"}, page, None), 2, API)
    with pytest.raises(CursorRefusedError):  # that is what Outreach itself says of this page token
        side.source.get("/api/v2/prospects", [("page[after]", "x"), *ONE])
    assert len(asked) == 3


@pytest.mark.parametrize("page", PAGES[::2])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_the_page_of_a_gateway_that_stays_ends_with_4_and_blames_nobody(
    sandbox: Any, side: Any, status: int, page: bytes
) -> None:
    side.tokens.current()
    side.first_answers(Answer(status, {}, page, None), math.inf, API)
    with pytest.raises(NOT_ITS, match="gateway") as raised:
        side.get()
    assert raised.value.exit_status == 4
    assert "profile" not in str(raised.value)
    assert sandbox.journal.counts()["token"] == (2 if status == 401 else 1)


INCLUDING = [("include", "sequence")]
MIXED = [("newFilterSyntax", "true"), ("filter[updatedAt]", "2026-09-01T10:00:00Z..inf")]


@pytest.mark.parametrize(
    ("fault", "path", "query", "error", "says"),
    [
        ("scope_missing", "tasks", ONE, errors.NotAllowedError, r"the scope tasks\.read\."),
        ("scope_missing", "tasks", INCLUDING, errors.NotAllowedError, r"tasks\.read or sequences\.read"),
        ("governance_refuses", "prospects", ONE, errors.NotAllowedError, "governance profile"),
        ("", "prospects/4711", [], errors.ServiceError, "no such record"),
        ("", "tasks", MIXED, NotUnderstoodError, r"filterParameter\.invalidDatetimeFormat"),
    ],
)
def test_a_refusal_is_explained_not_repeated_and_costs_no_refresh(
    sandbox: Any, side: Any, *, fault: str, path: str, query: Any, error: type[Exception], says: str
) -> None:
    if fault:
        sandbox.faults.on(fault)
    with pytest.raises(error, match=says):
        side.source.get(f"{API}{path}", query)
    assert (len(statuses(sandbox)), sandbox.journal.counts()["token"]) == (1, 1)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("server_error_500", NO_ANSWER), ("gateway_timeout_504", NO_ANSWER), ("html_with_200", NOT_ITS),
        ("broken_json", NOT_ITS), ("body_cut_short", NO_ANSWER), ("reset_before_answer", NO_ANSWER),
        ("reset_during_answer", NO_ANSWER), ("redirect_elsewhere", NOT_ITS),
    ],
)  # fmt: skip
def test_a_broken_answer_may_pass_and_one_that_stays_ends_with_4(
    sandbox: Any, side: Any, fault: str, error: type[Exception]
) -> None:
    sandbox.store.add_prospect(firstName="Ada" * 100)
    sandbox.faults.on(fault, times=2)
    assert len(side.get()["data"]) == 1
    assert len(side.retries) == 2
    sandbox.faults.on(fault)
    with pytest.raises(error, match="reading prospects") as raised:
        side.get()
    assert raised.value.exit_status == 4


@pytest.mark.parametrize("document", [b"[]", b"{}", b'{"data": null}', b"7", b"null", b'{"errors": []}'])
def test_json_that_is_no_document_is_no_answer(side: Any, document: bytes) -> None:
    side.tokens.current()
    side.first_answers(Answer(200, {}, document, None), math.inf)
    with pytest.raises(errors.UntrustedAnswerError):
        side.get()


@pytest.mark.parametrize("form", ["seconds", "epoch", "iso", "iso_naive", "http_date"])
@pytest.mark.parametrize(
    ("fault", "error"), [("rate_limited", errors.QuotaSpentError), ("maintenance_503", errors.UnavailableError)]
)
def test_a_short_limit_is_waited_for_and_a_long_one_ends_the_run_at_once(
    sandbox: Any, side: Any, form: str, fault: str, error: type[Exception]
) -> None:
    side.tokens.current()
    sandbox.clock.advance(-24 * HOUR)  # the clock of this machine must not count
    sandbox.faults.on(fault, times=1, form=form, wait=5)
    side.get()
    waited = side.stop.clock()
    sandbox.faults.on(fault, form=form, wait=3600)
    with pytest.raises(error, match=r"asks to wait 3[56]"):
        side.get()
    assert (waited > 3, side.stop.clock(), len(statuses(sandbox))) == (True, waited, 3)


def test_the_reserve_is_left_to_others(sandbox: Any, connect: Any) -> None:
    side = connect(reserve=1000)
    sandbox.faults.on("quota_nearly_spent", remaining=1002)
    side.get()
    side.get()
    with pytest.raises(errors.QuotaSpentError, match="1000 are reserved") as raised:
        side.get()
    assert raised.value.exit_status == 4
    assert (len(statuses(sandbox)), side.source.quota.remaining) == (2, 1000)


def test_a_spent_quota_starts_anew_at_its_reset_and_where_that_is_not_told_after_an_hour(
    sandbox: Any, side: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.faults.on("quota_nearly_spent", remaining=1)
    side.get()
    with pytest.raises(errors.QuotaSpentError):
        side.get()
    side.transport.server_time = side.source.quota.resets_at  # as a token answer would tell
    sandbox.clock.set(side.source.quota.resets_at)
    side.get()
    side.source.quota = side.source.quota._replace(remaining=0, resets_at=None)
    with pytest.raises(errors.QuotaSpentError):
        side.get()
    monkeypatch.setattr(clients, "_QUOTA_HOUR_SECONDS", 0)
    side.get()


def test_the_time_is_that_of_the_service_and_costs_no_request_where_it_is_known(sandbox: Any, connect: Any) -> None:
    sandbox.clock.advance(-5 * HOUR)
    side = connect()
    side.tokens.current()
    assert abs(side.source.server_time() - sandbox.clock.now()) < 3000
    assert statuses(sandbox) == []
    sandbox.clock.advance(5 * HOUR)
    assert abs(connect().source.server_time() - sandbox.clock.now()) < 3000
    assert (statuses(sandbox), sandbox.journal.counts()["token"]) == ([401, 200], 2)
