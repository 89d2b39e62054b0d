from __future__ import annotations

import builtins
import sys
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from outreach_sync.connections import Answer
from outreach_sync.errors import ConfigError, NotAuthenticatedError, StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outreach_sync.outreach.auth import Tokens
    from outreach_sync.outreach.client import Outreach


@pytest.fixture(scope="module")
def keys() -> tuple[str, str]:
    """Make a private and a public key, as PEM."""
    private = rsa.generate_private_key(65537, 2048)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem(private), public.decode()


@pytest.fixture
def connect_s2s(sandbox: Any, connect: Any, keys: tuple[str, str]) -> Any:
    sandbox.app.s2s_public_key = keys[1]

    def _connect(*, patience: str = "5s", **changes: str) -> tuple[Tokens, Outreach]:
        given = {"install_id": sandbox.app.install_id, "app_guid": sandbox.app.s2s_guid, "private_key": keys[0]}
        side = connect(patience=patience, s2s={**given, **changes})
        return side.tokens, side.source

    return _connect


def test_a_token_is_used_by_the_next_process(connect_s2s: Any) -> None:
    token = connect_s2s()[0].current()
    tokens, client = connect_s2s()
    assert tokens.current() == token
    client.get("/api/v2/prospects", [("page[size]", "1")])
    assert client.transport.requests == 1


@pytest.mark.parametrize("skew", [-86_400_000, 86_400_000])
def test_a_clock_that_is_off_does_not_keep_it_out(sandbox: Any, connect_s2s: Any, skew: int) -> None:
    sandbox.clock.advance(skew)
    tokens, client = connect_s2s()
    assert tokens.current()
    assert client.get("/api/v2/prospects", [("page[size]", "1")])["data"] == []


def test_a_dead_token_is_replaced(sandbox: Any, connect_s2s: Any) -> None:
    tokens, client = connect_s2s()
    first = tokens.current()
    sandbox.tokens.revoke_all()
    assert client.get("/api/v2/prospects", [("page[size]", "1")])["data"] == []
    assert tokens.current() != first
    assert tokens.current(first) == tokens.current()


@pytest.mark.parametrize("change", [{"install_id": "other"}, {"app_guid": "other"}])
def test_a_refused_app_says_what_to_do(connect_s2s: Any, change: dict[str, str]) -> None:
    with pytest.raises(NotAuthenticatedError, match="install_id, app_guid and the key"):
        connect_s2s(**change)[0].current()


def pem(key: Any, encryption: Any = None, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


def wrong_keys() -> Iterator[tuple[str, str]]:
    private, elliptic = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
    locked, public = BestAvailableEncryption(b"pass"), private.public_key()
    yield "planted", "not an RSA private key"
    yield public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), "is a public key"
    yield public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(), "is a public key"
    yield pem(private, locked), "is encrypted"
    yield pem(private, locked, PrivateFormat.TraditionalOpenSSL), "is encrypted"
    yield pem(elliptic), "EC"
    yield pem(elliptic, form=PrivateFormat.TraditionalOpenSSL), "kind EC"
    yield pem(ed25519.Ed25519PrivateKey.generate()), "Ed25519"
    yield pem(rsa.generate_private_key(65537, 1024)), "only 1024 bits"  # noqa: S505 - that is what is tested


def test_a_key_that_cannot_sign_is_named_as_what_it_is(connect_s2s: Any, recwarn: pytest.WarningsRecorder) -> None:
    for key, what in wrong_keys():
        tokens, _ = connect_s2s(private_key=key)
        with pytest.raises(ConfigError, match=what) as raised:
            tokens.current()
        assert raised.value.exit_status == 2
        assert "\n" not in str(raised.value)
        assert key[40:60] not in str(raised.value) or key == "planted"
        assert "planted" not in str(raised.value)
    assert not recwarn.list


def test_a_missing_extra_is_named(connect_s2s: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_jwt(name: str, *args: Any) -> Any:
        if name == "jwt":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.delitem(sys.modules, "jwt", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_jwt)
    with pytest.raises(ConfigError, match=r"outreach-sync\[s2s\]"):
        connect_s2s()[0].current()


def test_tokens_of_another_app_are_refused_and_kept(sandbox: Any, connect_s2s: Any, connect: Any) -> None:
    other = connect()
    other.tokens.current()
    kept = other.file.read()
    for tokens in (connect_s2s()[0], connect(client_id="another").tokens):
        asked = len(sandbox.journal.entries())
        with pytest.raises(StateError, match="another app") as raised:
            tokens.current()
        assert raised.value.exit_status == 2
        assert len(sandbox.journal.entries()) == asked
    assert other.file.read() == kept


@pytest.mark.parametrize("page", [b"<html>Forbidden", b"", b'{"message": "Forbidden"}'])
@pytest.mark.parametrize("status", [401, 403, 404])
def test_the_page_of_a_gateway_may_pass(
    connect_s2s: Any, monkeypatch: pytest.MonkeyPatch, status: int, page: bytes
) -> None:
    tokens, source = connect_s2s()
    real, left = source.transport.send, [Answer(status, {}, page, None)] * 4
    monkeypatch.setattr(source.transport, "send", lambda *args, **how: left.pop() if left else real(*args, **how))
    assert tokens.current()
