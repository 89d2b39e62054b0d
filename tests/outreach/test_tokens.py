from __future__ import annotations

import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from outreach_sync import instants
from outreach_sync.errors import (
    NotAuthenticatedError,
    OutreachSyncError,
    QuotaSpentError,
    StateError,
    UnavailableError,
    UntrustedAnswerError,
)
from outreach_sync.outreach.auth import SCOPES, TokenFile

HOUR = 3_600_000
DAY = 24 * HOUR


def asked(sandbox: Any) -> int:
    """Count the requests for a token."""
    return sum(entry.path == "/oauth/token" for entry in sandbox.journal.entries())


def test_a_token_that_still_works_is_used(sandbox: Any, connect: Any) -> None:
    first = connect().tokens.current()
    side = connect()
    assert side.tokens.current() == side.tokens.current() == first
    assert asked(sandbox) == 1


def test_a_token_about_to_expire_is_replaced(sandbox: Any, side: Any) -> None:
    first = side.tokens.current()
    sandbox.clock.advance(2 * HOUR - 10 * 60_000)
    side.source.get("/api/v2/prospects", [("page[size]", "1")])  # tells the time
    assert side.tokens.current() == first
    sandbox.clock.advance(6 * 60_000)
    side.source.get("/api/v2/prospects", [("page[size]", "1")])
    assert side.tokens.current() != first


@pytest.mark.parametrize("skew", [-5 * HOUR, 5 * HOUR])
def test_the_clock_of_this_machine_does_not_matter(sandbox: Any, connect: Any, skew: int) -> None:
    sandbox.clock.advance(skew)
    first = connect().tokens.current()
    assert connect().tokens.current() == first
    sandbox.clock.advance(2 * HOUR)
    assert connect().source.get("/api/v2/prospects", [("page[size]", "1")])["data"] == []
    assert asked(sandbox) == 2


def test_a_dead_token_is_replaced_though_the_clock_was_set(
    sandbox: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect().tokens.current()
    sandbox.clock.advance(3 * HOUR)
    monkeypatch.setattr(instants, "now", lambda: instants.Instant(1_000))
    assert connect().source.get("/api/v2/prospects", [("page[size]", "1")])["data"] == []


def test_the_new_refresh_token_is_on_disk_before_the_access_token_is_used(sandbox: Any, side: Any) -> None:
    sandbox.faults.on("refresh_rotates_hard")
    access = side.tokens.current()
    stored = side.file.read()
    assert stored.access_token == access
    assert stored.refresh_token not in {"", sandbox.refresh_token}
    assert stored.scope


def test_a_rotated_token_passes_from_process_to_process(sandbox: Any, connect: Any) -> None:
    sandbox.faults.on("refresh_rotates_hard")
    seen = set()
    for _ in range(4):
        side = connect()
        side.tokens.refresh()
        seen.add(side.tokens.current())
    assert len(seen) == 4


def test_no_token_is_rotated_whose_successor_cannot_be_kept(
    sandbox: Any, side: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: TokenFile) -> None:
        raise StateError("no space")

    monkeypatch.setattr(TokenFile, "prove_writable", full)
    with pytest.raises(StateError):
        side.tokens.current()
    assert asked(sandbox) == 0


def test_no_access_token_is_used_that_could_not_be_stored(
    sandbox: Any, side: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: TokenFile, _tokens: object) -> None:
        raise StateError("no space")

    monkeypatch.setattr(TokenFile, "write", full)
    with pytest.raises(StateError):
        side.tokens.current()


def test_many_threads_refresh_one_refused_token_once(sandbox: Any, side: Any) -> None:
    token = side.tokens.current()
    replacements: list[str] = []
    threads = [threading.Thread(target=lambda: replacements.append(side.tokens.refused(token))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(set(replacements)) == 1
    assert replacements[0] != token
    assert asked(sandbox) == 2


def test_two_processes_refresh_one_refused_token_once(sandbox: Any, connect: Any) -> None:
    one, other = connect(), connect()
    token = one.tokens.current()
    assert other.tokens.current() == token
    assert other.tokens.refused(token) == one.tokens.refused(token)
    assert asked(sandbox) == 2


@pytest.mark.parametrize("status", [400, 401])
def test_a_revoked_token_says_what_to_do(sandbox: Any, side: Any, status: int) -> None:
    sandbox.faults.on("refresh_revoked", status=status)
    with pytest.raises(NotAuthenticatedError, match="auth login"):
        side.tokens.current()
    assert asked(sandbox) == 1


def test_a_hiccup_is_not_taken_for_a_refusal(sandbox: Any, side: Any) -> None:
    sandbox.faults.on("refresh_refused_once")
    assert side.tokens.current()
    assert asked(sandbox) == 2


@pytest.mark.parametrize(
    "fault", ["server_error_500", "html_with_200", "broken_json", "body_cut_short", "reset_before_answer"]
)
def test_a_broken_answer_is_not_taken_for_a_refusal(sandbox: Any, side: Any, fault: str) -> None:
    sandbox.faults.on(fault, times=1, kind="token")
    assert side.tokens.current()


@pytest.mark.parametrize(
    ("fault", "error"), [("server_error_500", UnavailableError), ("html_with_200", UntrustedAnswerError)]
)
def test_an_endpoint_that_stays_broken_ends_with_4(
    sandbox: Any, side: Any, fault: str, error: type[OutreachSyncError]
) -> None:
    sandbox.faults.on(fault, kind="token")
    with pytest.raises(error) as raised:
        side.tokens.current()
    assert raised.value.exit_status == 4


def test_the_rule_of_one_token_a_minute_is_waited_for(sandbox: Any, side: Any) -> None:
    side.tokens.current()
    sandbox.faults.on("token_minute_rule", times=2)
    assert side.tokens.refused(side.tokens.current())
    assert [note.why for note in side.retries] == ["the service answered 429, too many requests"] * 2


def test_a_minute_that_outlasts_patience_is_no_refusal(sandbox: Any, side: Any) -> None:
    side.tokens.current()
    sandbox.faults.on("token_minute_rule")
    with pytest.raises(QuotaSpentError):
        side.tokens.refresh()


def test_a_new_token_in_the_config_is_taken(sandbox: Any, connect: Any) -> None:
    old = connect().tokens.current()
    side = connect(refresh_token=sandbox.tokens.new_refresh())
    assert side.tokens.current() != old
    assert side.file.read().access_token == side.tokens.current()


def test_the_rotated_token_outlives_that_of_the_config(sandbox: Any, connect: Any) -> None:
    connect().tokens.current()
    rotated = connect().file.read().refresh_token
    connect().tokens.refresh()
    forms = [entry for entry in sandbox.journal.entries() if entry.path == "/oauth/token"]
    assert len(forms) == 2
    assert rotated not in {"", sandbox.refresh_token}
    assert connect().file.read().refresh_token not in {"", rotated, sandbox.refresh_token}


def test_a_live_token_in_the_config_replaces_a_dead_chain(sandbox: Any, side: Any) -> None:
    side.tokens.current()
    stored = side.file.read()
    side.file.write(stored._replace(refresh_token="dead"))
    side.tokens.refresh()
    assert side.file.read().refresh_token not in {"dead", ""}
    assert asked(sandbox) == 3


def test_a_config_without_a_token_uses_the_stored_one(sandbox: Any, connect: Any) -> None:
    token = connect().tokens.current()
    assert connect(refresh_token=None).tokens.current() == token


def test_no_token_at_all_says_what_to_do(connect: Any) -> None:
    with pytest.raises(NotAuthenticatedError, match="auth login"):
        connect(refresh_token=None).tokens.current()


def test_a_wrong_secret_is_not_blamed_on_the_token(connect: Any) -> None:
    with pytest.raises(NotAuthenticatedError, match="client_secret"):
        connect(client_secret="wrong").tokens.current()


def test_no_error_shows_a_secret(sandbox: Any, connect: Any) -> None:
    sandbox.faults.on("server_error_500", kind="token")
    with pytest.raises(OutreachSyncError) as raised:
        connect(patience="100ms").tokens.current()
    assert sandbox.client_secret not in str(raised.value)
    assert sandbox.refresh_token not in str(raised.value)


def test_a_refresh_token_is_renewed_after_a_week(sandbox: Any, side: Any) -> None:
    side.tokens.current()
    stored = side.file.read()
    side.file.write(stored._replace(issued_at=stored.issued_at - 8 * DAY, expires_at=stored.expires_at + DAY))
    side.tokens._stored = None
    assert side.tokens.current() != stored.access_token


def test_consent_asks_for_every_scope(side: Any) -> None:
    url = urlsplit(side.tokens.app.authorize_url("some state"))
    query = parse_qs(url.query)
    assert url.path == "/oauth/authorize"
    assert query["scope"] == [" ".join(SCOPES)]
    assert query["state"] == ["some state"]
    assert query["response_type"] == ["code"]


def test_a_login_outlives_the_token_in_the_config(sandbox: Any, connect: Any) -> None:
    side = connect()
    code = sandbox.tokens.new_code(side.config.outreach.redirect_uri, SCOPES)
    stored = side.tokens.exchange_code(code)
    assert stored.access_token == side.tokens.current() == connect().tokens.current()
    assert asked(sandbox) == 1


def test_a_login_mends_a_damaged_file(sandbox: Any, side: Any) -> None:
    side.tokens.current()
    side.file.path.write_text("{")
    code = sandbox.tokens.new_code(side.config.outreach.redirect_uri, SCOPES)
    assert side.tokens.exchange_code(code) == side.file.read()


def test_a_code_works_once(sandbox: Any, side: Any) -> None:
    code = sandbox.tokens.new_code(side.config.outreach.redirect_uri, SCOPES)
    side.tokens.exchange_code(code)
    with pytest.raises(NotAuthenticatedError, match="refused the code"):
        side.tokens.exchange_code(code)
