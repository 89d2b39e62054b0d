from __future__ import annotations

import builtins
import sys
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from outreach_sync.errors import ConfigError, NotAuthenticatedError
from outreach_sync.outreach.client import OutreachClient
from outreach_sync.outreach.s2s import S2STokens
from outreach_sync.outreach.settings import S2SSettings


@pytest.fixture(scope="module")
def keys() -> tuple[str, str]:
    """Make a private and a public key, as PEM."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret.decode(), public.decode()


@pytest.fixture
def connect_s2s(sandbox: Any, connect: Any, keys: tuple[str, str]) -> Any:
    sandbox.app.s2s_public_key = keys[1]

    def _connect(**changes: str) -> tuple[S2STokens, OutreachClient]:
        given = {"install_id": sandbox.app.install_id, "app_guid": sandbox.app.s2s_guid, "private_key": keys[0]}
        side = connect(patience_ms=300)
        s2s = S2SSettings(**{**given, **changes})
        tokens = S2STokens(side.settings, s2s, side.file, side.transport, side.stop)
        return tokens, OutreachClient(side.settings, tokens, side.transport, side.stop)

    return _connect


def test_a_server_to_server_app_cannot_read(connect_s2s: Any) -> None:
    _, client = connect_s2s()
    assert client.get("/api/v2/prospects", [("page[size]", "1")])["data"] == []


def test_each_cycle_signs_anew(connect_s2s: Any) -> None:
    token = connect_s2s()[0].current()
    tokens, client = connect_s2s()
    assert tokens.current() == token
    client.get("/api/v2/prospects", [("page[size]", "1")])
    assert client.transport.requests == 1


@pytest.mark.parametrize("skew", [-86_400_000, 86_400_000])
def test_a_clock_that_is_off_keeps_it_out(sandbox: Any, connect_s2s: Any, skew: int) -> None:
    sandbox.clock.advance(skew)
    tokens, client = connect_s2s()
    assert tokens.current()
    assert client.get("/api/v2/prospects", [("page[size]", "1")])["data"] == []


def test_a_dead_token_is_not_replaced(sandbox: Any, connect_s2s: Any) -> None:
    tokens, client = connect_s2s()
    first = tokens.current()
    sandbox.tokens.revoke_all()
    assert client.get("/api/v2/prospects", [("page[size]", "1")])["data"] == []
    assert tokens.current() != first
    assert tokens.refused(first) == tokens.current()


def test_a_token_lives_too_long(sandbox: Any, connect_s2s: Any) -> None:
    tokens, client = connect_s2s()
    first = tokens.current()
    sandbox.clock.advance(3_600_000 - 240_000)
    client.get("/api/v2/prospects", [("page[size]", "1")])
    assert tokens.current() != first
    second = tokens.current()
    tokens.refresh()
    assert tokens.current() != second


@pytest.mark.parametrize("change", [{"install_id": "other"}, {"app_guid": "other"}])
def test_a_refused_app_does_not_say_what_to_do(connect_s2s: Any, change: dict[str, str]) -> None:
    with pytest.raises(NotAuthenticatedError, match="install_id, app_guid and the key"):
        connect_s2s(**change)[0].current()


def test_a_key_that_is_none_is_a_bug_or_shown(connect_s2s: Any) -> None:
    with pytest.raises(ConfigError, match="no RSA private key") as raised:
        connect_s2s(private_key="planted")[0].current()
    assert "planted" not in str(raised.value)


def test_a_missing_extra_is_a_bug(connect_s2s: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_jwt(name: str, *args: Any) -> Any:
        if name == "jwt":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.delitem(sys.modules, "jwt", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_jwt)
    with pytest.raises(ConfigError, match=r"outreach-sync\[s2s\]"):
        connect_s2s()[0].current()


def test_tokens_of_another_app_are_used(connect_s2s: Any, connect: Any) -> None:
    other = connect().tokens.current()
    assert connect_s2s()[0].current() != other
