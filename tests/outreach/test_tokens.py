import fcntl
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from outreach_sync import files
from outreach_sync.connections import Answer
from outreach_sync.errors import NotAuthenticatedError, QuotaSpentError, StateError
from outreach_sync.instants import Instant, parse_iso
from outreach_sync.outreach.auth import SCOPES, StoredTokens, TokenFile

HOUR = 3_600_000
DAY = 24 * HOUR


def asked(sandbox: Any) -> int:
    """Count the requests for a token."""
    return sum(entry.path == "/oauth/token" for entry in sandbox.journal.entries())


def test_a_token_about_to_expire_is_replaced_and_a_refresh_token_after_a_week(sandbox: Any, side: Any) -> None:
    first = side.tokens.current()
    sandbox.clock.advance(2 * HOUR - 10 * 60_000)
    side.get()  # tells the time
    assert side.tokens.current() == first
    sandbox.clock.advance(6 * 60_000)
    side.get()
    assert side.tokens.current() != first
    stored = side.file.read()  # it may also live a few minutes only
    for issued, expires, fresh in ((0, 200_000 - 2 * HOUR, True), (-8 * DAY, DAY, False)):
        side.file.write(stored._replace(issued_at=stored.issued_at + issued, expires_at=stored.expires_at + expires))
        side.tokens._stored = None
        assert (side.tokens.current() == stored.access_token) is fresh


@pytest.mark.parametrize("skew", [-5 * HOUR, 5 * HOUR])
def test_the_clock_of_this_machine_does_not_matter(sandbox: Any, connect: Any, skew: int) -> None:
    sandbox.clock.advance(skew)
    first = connect().tokens.current()
    assert connect().tokens.current() == first
    sandbox.clock.advance(2 * HOUR)
    assert connect().get()["data"] == []
    assert asked(sandbox) == 2


@pytest.mark.parametrize(("what", "requests"), [("prove_replaceable", 0), ("write_whole", 1)])
def test_no_token_is_rotated_or_used_that_cannot_be_kept(
    sandbox: Any, side: Any, monkeypatch: pytest.MonkeyPatch, what: str, requests: int
) -> None:
    monkeypatch.setattr(files, what, Mock(side_effect=OSError(28, "No space left on device")))
    for tried in (1, 2):
        with pytest.raises(StateError, match="No space left"):
            side.tokens.current()
        assert (asked(sandbox), side.file.path.exists()) == (tried * requests, False)


def test_threads_and_processes_refresh_a_refused_token_once_and_pass_it_on(sandbox: Any, connect: Any) -> None:
    sandbox.faults.on("refresh_rotates_hard")
    one, other = connect(), connect()
    token = one.tokens.current()
    assert other.tokens.current() == token
    with ThreadPoolExecutor(6) as threads:
        (replacement,) = set(threads.map(one.tokens.current, [token] * 6))
    assert other.tokens.current(token) == replacement != token
    assert asked(sandbox) == 2
    assert len({side.tokens.current(side.tokens.current()) for side in (connect(), connect(), connect())}) == 3


@pytest.mark.parametrize("status", [400, 401])
def test_a_revoked_token_says_what_to_do_and_a_hiccup_is_none(sandbox: Any, side: Any, status: int) -> None:
    sandbox.faults.on("refresh_revoked", status=status)
    with pytest.raises(NotAuthenticatedError, match="auth login"):
        side.tokens.current()
    assert asked(sandbox) == 1
    sandbox.faults.off("refresh_revoked")
    sandbox.faults.on("refresh_refused_once")
    assert side.tokens.current()
    assert asked(sandbox) == 3


def test_the_rule_of_one_token_a_minute_is_waited_for_and_is_no_refusal(sandbox: Any, side: Any) -> None:
    side.tokens.current()
    sandbox.faults.on("token_minute_rule", times=2)
    assert side.tokens.current(side.tokens.current())
    assert [note.why for note in side.retries] == ["the service answered 429, too many requests"] * 2
    sandbox.faults.on("token_minute_rule")
    with pytest.raises(QuotaSpentError):
        side.tokens.current(side.tokens.current())


def test_a_new_token_in_the_config_is_taken_and_a_live_one_replaces_a_dead_chain(sandbox: Any, connect: Any) -> None:
    old = connect().tokens.current()
    side = connect(refresh_token=sandbox.tokens.new_refresh())
    assert side.tokens.current() == side.file.read().access_token != old
    side.file.write(side.file.read()._replace(refresh_token="dead"))
    side.tokens.current(side.tokens.current())
    assert side.file.read().refresh_token not in {"dead", ""}
    assert asked(sandbox) == 4


def test_what_is_missing_or_wrong_is_named(connect: Any) -> None:
    for change, says in (({"refresh_token": None}, "auth login"), ({"client_secret": "wrong"}, "client_secret")):
        with pytest.raises(NotAuthenticatedError, match=says):
            connect(**change).tokens.current()


def test_a_login_outlives_the_token_in_the_config_its_code_works_once_and_it_mends_a_damaged_file(
    sandbox: Any, connect: Any
) -> None:
    side = connect()
    code = sandbox.tokens.new_code(side.config.outreach.redirect_uri, SCOPES)
    assert side.tokens.exchange_code(code).access_token == side.tokens.current() == connect().tokens.current()
    assert asked(sandbox) == 1
    with pytest.raises(NotAuthenticatedError, match="refused the code"):
        side.tokens.exchange_code(code)
    side.file.path.write_text("{")
    code = sandbox.tokens.new_code(side.config.outreach.redirect_uri, SCOPES)
    assert side.tokens.exchange_code(code) == side.file.read()


TOKENS = StoredTokens("access", Instant(2), "refresh", Instant(1), "tasks.read", "seed", -5)


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    file = TokenFile(tmp_path / "made" / "tokens.json")
    file.write(TOKENS)
    return file


def test_a_place_that_cannot_be_written_is_noticed_in_time(file: TokenFile) -> None:
    below = TokenFile(file.path / "tokens.json")  # where there is no directory
    for attempt in (lambda: below.write(TOKENS), below.alone().__enter__):
        with pytest.raises(StateError, match="cannot be written"):
            attempt()


def test_a_file_that_is_damaged_or_that_others_may_read_is_refused_one_of_a_newer_version_is_read(
    file: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mode in (0o640, 0o604):
        file.path.chmod(mode)
        with pytest.raises(StateError, match="chmod 600"):
            file.read()
    file.path.chmod(0o600)
    for content in ("{", "[]", "null", '{"refresh_token": 5}', '{"expires_at": "soon"}'):
        file.path.write_text(content)
        with pytest.raises(StateError, match="auth login"):
            file.read()
    file.path.unlink()
    os.mkfifo(file.path, 0o600)
    with pytest.raises(StateError, match="auth login"):
        file.read()  # nobody waits for what comes through a pipe
    file.path.unlink()
    file.write(StoredTokens())
    file.path.write_text(json.dumps({"access_token": "a", "invented": 1}))
    assert file.read() == StoredTokens(access_token="a")
    monkeypatch.setattr(files, "read_limited", Mock(side_effect=PermissionError(13, "Permission denied")))
    monkeypatch.setattr(os, "geteuid", lambda: 987_654)
    with pytest.raises(StateError, match=r"it belongs to .+, and this is user 987654.* Run this as its owner"):
        file.read()


def test_one_process_rotates_at_a_time_also_where_it_waited_for_a_file_that_was_replaced(
    file: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, lock = threading.Event(), fcntl.flock

    def rotate() -> None:
        with file.alone(), file.path.open() as beside, pytest.raises(BlockingIOError):
            lock(beside, fcntl.LOCK_SH | fcntl.LOCK_NB)

    with ThreadPoolExecutor(1) as threads:
        with file.alone():
            monkeypatch.setattr(fcntl, "flock", lambda *how: waiting.set() or lock(*how))
            other = threads.submit(rotate)
            assert waiting.wait(60)
            file.write(TOKENS)
        other.result()


AT = parse_iso("2026-09-01T10:00:00Z")
GIVEN = {"access_token": "access", "token_type": "Bearer", "expires_in": 7200, "created_at": AT // 1000 + 5}
EMPTY = json.dumps({**GIVEN, "access_token": ""}).encode()


@pytest.mark.parametrize("life", [7200, None, "7200", -1, 0])
@pytest.mark.parametrize(("rotated", "scope"), [("new", "tasks.read"), (None, None)])
def test_a_life_that_makes_no_sense_is_not_believed_and_there_may_be_no_new_refresh_token(
    sandbox: Any, side: Any, life: object, rotated: str | None, scope: str | None
) -> None:
    content = {**GIVEN, "expires_in": life, "refresh_token": rotated, "scope": scope}
    side.first_answers(Answer(200, {}, json.dumps(content).encode(), AT), 1)
    assert side.tokens.current() == "access"
    assert side.file.read()[:5] == ("access", AT + 7_200_000, rotated or sandbox.refresh_token, AT, scope or "")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((401, body) for body in (b'{"error": "unauthorized_client"}', b'{"errors": [{"id": "unauthorized"}]}')),
        *[(401, b'{"errors": [{}]}'), (200, b"<html>"), (401, b"<html>"), (400, b"[]"), (200, EMPTY), (404, b"{}")],
        *[(401, b'{"error": {}}'), (401, b'{"errors": []}'), (403, b'{"message": "Forbidden"}'), (502, b"")],
        *[(400, b"Retry later"), (200, b'{"expires_in": 7200}'), (429, b"")],
    ],
)
def test_a_refusal_of_the_app_is_final_and_the_page_of_a_gateway_is_none(side: Any, status: int, body: bytes) -> None:
    side.first_answers(Answer(status, {}, body, AT), 1)
    final = b"unauthorized" in body or b"[{}]" in body
    with pytest.raises(NotAuthenticatedError, match="auth login") if final else nullcontext():
        assert side.tokens.current()
