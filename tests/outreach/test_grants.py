from __future__ import annotations

import json
from typing import Any

import pytest

from outreach_sync.errors import NotAuthenticatedError
from outreach_sync.http import Answer, BusyError, GarbledError, ThrottledError
from outreach_sync.instants import Instant, parse_iso
from outreach_sync.outreach.auth import GrantRefusedError, grant_of, raise_if_not_now
from outreach_sync.outreach.rows import parsed_object

AT = parse_iso("2026-09-01T10:00:00Z")
GIVEN = {
    "access_token": "access",
    "token_type": "Bearer",
    "expires_in": 7200,
    "refresh_token": "new",
    "scope": "tasks.read",
    "created_at": AT // 1000 + 5,
}


def answer(content: Any, status: int = 200, at: Instant | None = AT, headers: dict[str, str] | None = None) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer(status, headers or {}, body, at, 1)


def without(name: str) -> dict[str, object]:
    return {key: value for key, value in GIVEN.items() if key != name}


def test_a_grant_is_read_as_it_stands() -> None:
    grant = grant_of(answer(GIVEN))
    assert grant == ("access", "new", AT + 7_200_000, AT, "tasks.read")


def test_a_grant_without_a_date_is_dated_by_its_own_word() -> None:
    assert grant_of(answer(GIVEN, at=None)).expires_at == AT + 5_000 + 7_200_000
    assert grant_of(answer(without("created_at"), at=None)).expires_at is None


@pytest.mark.parametrize("life", [None, "7200", -1, 0])
def test_a_life_that_makes_no_sense_is_not_believed(life: object) -> None:
    assert grant_of(answer({**GIVEN, "expires_in": life})).expires_at == AT + 7_200_000


def test_an_answer_may_hold_no_new_refresh_token() -> None:
    assert grant_of(answer(without("refresh_token"))).refresh_token == ""
    assert grant_of(answer({**GIVEN, "refresh_token": None, "scope": None})).refresh_token == ""


@pytest.mark.parametrize("status", [400, 401])
def test_a_dead_grant_is_told_from_an_unknown_app(status: int) -> None:
    with pytest.raises(GrantRefusedError):
        grant_of(answer({"error": "invalid_grant", "error_description": "dead"}, status))
    with pytest.raises(NotAuthenticatedError, match="client_secret"):
        grant_of(answer({"error": "invalid_client"}, status))


@pytest.mark.parametrize(
    "content", [{"error": "unauthorized_client"}, {"errors": [{"id": "unauthorized"}]}, {"errors": [{}]}]
)
def test_another_refusal_is_final(content: object) -> None:
    with pytest.raises(NotAuthenticatedError, match="auth login"):
        grant_of(answer(content, 401))


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"<html>", 200),
        (b"<html>", 401),
        (b"[]", 400),
        (without("access_token"), 200),
        ({**GIVEN, "access_token": ""}, 200),
        ({}, 404),
        ({"error": {}}, 401),
        ({"errors": []}, 401),
        ({"message": "Forbidden"}, 403),
        (b"Retry later", 400),
    ],
)
def test_a_page_of_a_gateway_is_no_refusal(content: Any, status: int) -> None:
    with pytest.raises(GarbledError):
        grant_of(answer(content, status))


def test_later_is_told_from_never() -> None:
    with pytest.raises(ThrottledError) as throttled:
        raise_if_not_now(answer(b"", 429, headers={"Retry-After": "60"}))
    assert throttled.value.asked_seconds == 60
    with pytest.raises(BusyError) as busy:
        raise_if_not_now(answer(b"", 502))
    assert (busy.value.status, busy.value.asked_seconds) == (502, None)
    raise_if_not_now(answer(b"", 499))


@pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00", b"[1]", b"null", b'{"a":'])
def test_a_body_that_is_no_object_is_none(body: bytes) -> None:
    assert parsed_object(body) is None
