from __future__ import annotations

from outreach_sync.sandbox.clock import SandboxClock
from outreach_sync.sandbox.outreach.oauth import LIVE_TOKENS, TokenRegistry


def test_access_tokens_live_two_hours_and_refresh_tokens_fourteen_days() -> None:
    clock = SandboxClock()
    tokens = TokenRegistry(clock)
    refresh = tokens.new_refresh()
    pair = tokens.refresh(refresh, kill_old=False)
    assert pair is not None
    access = pair[0].token
    clock.advance(7_190_000)
    assert tokens.authenticate(access) is not None
    clock.advance(11_000)
    assert tokens.authenticate(access) is None
    clock.advance(14 * 86_400_000 - 7_300_000)
    assert tokens.refresh(refresh, kill_old=False) is not None
    clock.advance(200_000)
    assert tokens.refresh(refresh, kill_old=False) is None


def test_the_oldest_of_more_than_a_hundred_tokens_falls_off() -> None:
    tokens = TokenRegistry(SandboxClock())
    refresh = [tokens.new_refresh() for _ in range(LIVE_TOKENS + 1)]
    assert tokens.refresh(refresh[0], kill_old=False) is None
    assert tokens.refresh(refresh[-1], kill_old=False) is not None


def test_a_withdrawn_consent_kills_every_token() -> None:
    tokens = TokenRegistry(SandboxClock())
    pair = tokens.refresh(tokens.new_refresh(), kill_old=False)
    assert pair is not None
    tokens.revoke_all()
    assert tokens.authenticate(pair[0].token) is None
    assert tokens.refresh(pair[1].token, kill_old=False) is None


def test_a_code_is_dead_after_ten_minutes() -> None:
    clock = SandboxClock()
    tokens = TokenRegistry(clock)
    code = tokens.new_code("https://localhost/callback", ("tasks.read",))
    clock.advance(600_001)
    assert tokens.redeem_code(code, "https://localhost/callback") is None
