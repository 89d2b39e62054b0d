from __future__ import annotations

import time
from typing import Any

import pytest

from outreach_sync.connections import Answer
from outreach_sync.errors import (
    NotAllowedError,
    NotAuthenticatedError,
    OutreachSyncError,
    QuotaSpentError,
    ServiceError,
    UnavailableError,
    UntrustedAnswerError,
)
from outreach_sync.outreach import client as clients
from outreach_sync.outreach.client import CursorRefusedError, NotUnderstoodError

ONE = [("page[size]", "1")]
HOUR = 3_600_000


def statuses(sandbox: Any) -> list[int]:
    return [entry.status for entry in sandbox.journal.entries() if entry.path.startswith("/api/v2")]


def test_a_request_is_what_the_reference_asks_for(sandbox: Any, connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    side = connect(timeout="2s")
    real = side.transport.send

    def send(*args: Any, **named: Any) -> Any:
        sent.append((args, named))
        return real(*args, **named)

    monkeypatch.setattr(side.transport, "send", send)
    token = side.tokens.current()
    side.source.get("/api/v2/prospects", ONE)
    args, named = sent[-1]
    assert args == ("GET", f"{sandbox.url}/api/v2/prospects?page%5Bsize%5D=1")
    assert named["headers"] == {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/vnd.api+json",
        "Accept": "application/vnd.api+json",
    }
    assert [named["timeout_seconds"] for _, named in sent] == [2, 2], "outreach.timeout, for a token too"


def test_a_token_that_died_is_replaced(sandbox: Any, side: Any) -> None:
    side.source.get("/api/v2/prospects", ONE)
    sandbox.faults.on("token_expired_mid_walk", times=1)
    side.source.get("/api/v2/prospects", ONE)
    assert statuses(sandbox) == [200, 401, 200]


def test_a_token_refused_again_ends_with_3(sandbox: Any, side: Any) -> None:
    sandbox.faults.on("token_expired_mid_walk")
    with pytest.raises(NotAuthenticatedError, match="auth login"):
        side.source.get("/api/v2/prospects", ONE)
    assert statuses(sandbox) == [401, 401]
    assert sandbox.journal.counts()["token"] == 2


def test_each_refused_token_is_worth_one_refresh(sandbox: Any, side: Any) -> None:
    sandbox.faults.on("second_access_token_refused", times=1)
    side.source.get("/api/v2/prospects", ONE)
    sandbox.tokens.revoke_access(side.tokens.current())
    with pytest.raises(NotAuthenticatedError):
        side.source.get("/api/v2/prospects", ONE)
    side.source.get("/api/v2/prospects", ONE)


def gateway(side: Any, monkeypatch: pytest.MonkeyPatch, status: int, page: bytes, times: int) -> list[int]:
    """Have something before the service answer so many requests with a page of its own; count them all."""
    asked, real = list[int](), side.transport.send

    def send(method: str, url: str, **named: Any) -> Answer:
        if "/api/v2/" not in url:
            return real(method, url, **named)
        asked.append(1)
        if len(asked) > times:
            return real(method, url, **named)
        return Answer(status, {"Content-Type": "text/html"}, page, None)

    monkeypatch.setattr(side.transport, "send", send)
    return asked


PAGES = [b"<html><h1>Forbidden</h1>", b"no healthy upstream", b"", b'{"message": "Forbidden"}', b'{"errors": []}']


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 415, 422, 429, 503])
def test_the_page_of_a_gateway_may_pass(side: Any, monkeypatch: pytest.MonkeyPatch, status: int, page: bytes) -> None:
    side.tokens.current()
    asked = gateway(side, monkeypatch, status, page, 2)
    with pytest.raises(CursorRefusedError):  # that is what Outreach itself says of this page token
        side.source.get("/api/v2/prospects", [("page[after]", "x"), *ONE])
    assert len(asked) == 3


@pytest.mark.parametrize("page", PAGES[::2])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_the_page_of_a_gateway_that_stays_ends_with_4_and_blames_nobody(
    sandbox: Any, side: Any, monkeypatch: pytest.MonkeyPatch, status: int, page: bytes
) -> None:
    side.tokens.current()
    gateway(side, monkeypatch, status, page, 10**9)
    with pytest.raises(UntrustedAnswerError, match="gateway") as raised:
        side.source.get("/api/v2/prospects", ONE)
    assert raised.value.exit_status == 4
    assert "profile" not in str(raised.value)
    assert sandbox.journal.counts()["token"] == (2 if status == 401 else 1)


@pytest.mark.parametrize("form", ["empty", "html"])
def test_a_refused_token_is_refreshed_whatever_the_refusal_looks_like(sandbox: Any, side: Any, form: str) -> None:
    sandbox.faults.on("unauthorized_without_body", form=form)
    for _ in range(2):
        sandbox.tokens.revoke_access(side.tokens.current())
        assert side.source.get("/api/v2/prospects", ONE)["data"] == []


MIXED = [("newFilterSyntax", "true"), ("filter[updatedAt]", "2026-09-01T10:00:00Z..inf")]


@pytest.mark.parametrize(
    ("fault", "path", "query", "error", "says"),
    [
        ("scope_missing", "tasks", ONE, NotAllowedError, r"tasks\.read"),
        ("governance_refuses", "prospects", ONE, NotAllowedError, "governance profile"),
        ("", "prospects/4711", [], ServiceError, "no such record"),
        ("", "tasks", MIXED, NotUnderstoodError, r"filterParameter\.invalidDatetimeFormat"),
    ],
)
def test_a_refusal_is_explained_not_repeated_and_costs_no_refresh(
    sandbox: Any, side: Any, *, fault: str, path: str, query: Any, error: type[Exception], says: str
) -> None:
    if fault:
        sandbox.faults.on(fault)
    with pytest.raises(error, match=says):
        side.source.get(f"/api/v2/{path}", query)
    assert (len(statuses(sandbox)), sandbox.journal.counts()["token"]) == (1, 1)


@pytest.mark.parametrize(
    "fault",
    [
        "server_error_500", "gateway_timeout_504", "html_with_200", "broken_json", "body_cut_short",
        "reset_before_answer", "reset_during_answer", "redirect_elsewhere",
    ],
)  # fmt: skip
def test_a_broken_answer_may_pass(sandbox: Any, side: Any, fault: str) -> None:
    sandbox.store.add_prospect(firstName="Ada" * 100)
    sandbox.faults.on(fault, times=2)
    assert len(side.source.get("/api/v2/prospects", ONE)["data"]) == 1
    assert len(side.retries) == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("server_error_500", UnavailableError),
        ("html_with_200", UntrustedAnswerError),
        ("broken_json", UntrustedAnswerError),
    ],
)
def test_a_service_that_stays_broken_ends_with_4(
    sandbox: Any, side: Any, fault: str, error: type[OutreachSyncError]
) -> None:
    side.tokens.current()
    sandbox.faults.on(fault)
    with pytest.raises(error, match="reading prospects") as raised:
        side.source.get("/api/v2/prospects", ONE)
    assert raised.value.exit_status == 4


@pytest.mark.parametrize("document", [b"[]", b"{}", b'{"data": null}', b"7", b"null", b'{"errors": []}'])
def test_json_that_is_no_document_is_no_answer(connect: Any, monkeypatch: pytest.MonkeyPatch, document: bytes) -> None:
    side = connect(patience="100ms")
    side.tokens.current()
    monkeypatch.setattr(side.transport, "send", lambda *_, **__: Answer(200, {}, document, None))
    with pytest.raises(UntrustedAnswerError):
        side.source.get("/api/v2/prospects", ONE)


@pytest.mark.parametrize("form", ["seconds", "epoch"])
def test_a_short_limit_is_waited_for(sandbox: Any, side: Any, form: str) -> None:
    side.tokens.current()
    sandbox.faults.on("rate_limited", times=1, form=form, wait=1)
    side.source.get("/api/v2/prospects", ONE)
    assert statuses(sandbox) == [429, 200]


@pytest.mark.parametrize("form", ["seconds", "epoch", "iso", "iso_naive", "http_date"])
@pytest.mark.parametrize(("fault", "error"), [("rate_limited", QuotaSpentError), ("maintenance_503", UnavailableError)])
def test_a_long_wait_ends_the_run_at_once(
    sandbox: Any, side: Any, form: str, fault: str, error: type[OutreachSyncError]
) -> None:
    side.tokens.current()
    sandbox.clock.advance(-24 * HOUR)  # the clock of this machine must not count
    sandbox.faults.on(fault, form=form, wait=3600)
    started = time.monotonic()
    with pytest.raises(error, match=r"asks to wait 3[56]"):
        side.source.get("/api/v2/prospects", ONE)
    assert time.monotonic() - started < 2
    assert len(statuses(sandbox)) == 1


def test_the_reserve_is_left_to_others(sandbox: Any, connect: Any) -> None:
    side = connect(reserve=1000)
    sandbox.faults.on("quota_nearly_spent", remaining=1002)
    side.source.get("/api/v2/prospects", ONE)
    side.source.get("/api/v2/prospects", ONE)
    with pytest.raises(QuotaSpentError, match="1000 are reserved") as raised:
        side.source.get("/api/v2/prospects", ONE)
    assert raised.value.exit_status == 4
    assert len(statuses(sandbox)) == 2
    assert side.source.quota.remaining == 1000


def test_a_spent_quota_starts_anew_at_its_reset(sandbox: Any, side: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.faults.on("quota_nearly_spent", remaining=1)
    side.source.get("/api/v2/prospects", ONE)
    with pytest.raises(QuotaSpentError):
        side.source.get("/api/v2/prospects", ONE)
    side.transport.server_time = side.source.quota.resets_at  # as a token answer would tell
    sandbox.clock.set(side.source.quota.resets_at)
    side.source.get("/api/v2/prospects", ONE)


def test_a_quota_without_a_reset_starts_anew_after_an_hour(
    sandbox: Any, side: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    side.source.get("/api/v2/prospects", ONE)
    side.source.quota = side.source.quota._replace(remaining=0, resets_at=None)
    with pytest.raises(QuotaSpentError):
        side.source.get("/api/v2/prospects", ONE)
    monkeypatch.setattr(clients, "_QUOTA_HOUR_SECONDS", 0)
    side.source.get("/api/v2/prospects", ONE)


def test_the_time_is_that_of_the_service_and_costs_no_request_where_it_is_known(sandbox: Any, connect: Any) -> None:
    sandbox.clock.advance(-5 * HOUR)
    side = connect()
    side.tokens.current()
    assert abs(side.source.server_time() - sandbox.clock.now()) < 3000
    assert statuses(sandbox) == []
    sandbox.clock.advance(5 * HOUR)
    assert abs(connect().source.server_time() - sandbox.clock.now()) < 3000
    assert (statuses(sandbox), sandbox.journal.counts()["token"]) == ([401, 200], 2)
