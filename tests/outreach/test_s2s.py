import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from outreach_sync.connections import Answer
from outreach_sync.errors import ConfigError, NotAuthenticatedError, StateError


def pem(key: Any, encryption: Any = None, form: forms.PrivateFormat = forms.PrivateFormat.PKCS8) -> str:
    return key.private_bytes(forms.Encoding.PEM, form, encryption or forms.NoEncryption()).decode()


def pem_of_public(key: Any) -> str:
    return key.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture(scope="module")
def key() -> Any:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def connect_s2s(sandbox: Any, connect: Any, key: Any) -> Callable[..., Any]:
    sandbox.app.s2s_public_key = pem_of_public(key)
    given = {"install_id": sandbox.app.install_id, "app_guid": sandbox.app.s2s_guid, "private_key": pem(key)}
    return lambda **changes: connect(s2s={**given, **changes})


@pytest.mark.parametrize("skew", [-86_400_000, 0, 86_400_000])
def test_a_token_is_used_by_the_next_process_whatever_the_clock_says_and_replaced_when_it_is_dead(
    sandbox: Any, connect_s2s: Any, skew: int
) -> None:
    sandbox.clock.advance(skew)
    token = connect_s2s().tokens.current()
    side = connect_s2s()
    assert side.tokens.current() == token
    assert side.get()["data"] == []
    assert side.transport.requests == 1
    sandbox.tokens.revoke_all()
    assert side.get()["data"] == []
    assert side.tokens.current(token) == side.tokens.current() != token


@pytest.mark.parametrize("change", [{"install_id": "other"}, {"app_guid": "other"}])
def test_a_refused_app_says_what_to_do(connect_s2s: Any, change: dict[str, str]) -> None:
    with pytest.raises(NotAuthenticatedError, match="install_id, app_guid and the key"):
        connect_s2s(**change).tokens.current()


def wrong_keys(private: Any) -> Iterator[tuple[str, str]]:
    elliptic, locked = ec.generate_private_key(ec.SECP256R1()), forms.BestAvailableEncryption(b"pass")
    yield "planted", "not an RSA private key"
    yield "PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\nComment: planted", "in PuTTY's own form"
    yield pem_of_public(private), "is a public key"
    in_a_line = private.public_key().public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH)
    yield in_a_line.decode(), "is a public key"
    yield pem(private, locked), "is encrypted"
    yield pem(private, locked, forms.PrivateFormat.TraditionalOpenSSL), "is encrypted"
    yield pem(elliptic), "EC"
    yield pem(elliptic, form=forms.PrivateFormat.TraditionalOpenSSL), "kind EC"
    yield pem(ed25519.Ed25519PrivateKey.generate()), "Ed25519"
    yield pem(rsa.generate_private_key(65537, 1024)), "only 1024 bits"  # noqa: S505 - that is what is tested


def test_a_key_that_cannot_sign_is_named_as_what_it_is(
    connect_s2s: Any, key: Any, recwarn: pytest.WarningsRecorder
) -> None:
    for wrong, what in wrong_keys(key):
        with pytest.raises(ConfigError, match=what) as raised:
            connect_s2s(private_key=wrong).tokens.current()
        assert (raised.value.exit_status, "\n" in str(raised.value)) == (2, False)
        assert (wrong[40:60] or "planted") not in str(raised.value)
    assert not recwarn.list


def test_a_missing_extra_is_named(connect_s2s: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ConfigError, match=r"outreach-sync\[s2s\]"):
        connect_s2s().tokens.current()


def test_tokens_of_another_app_are_refused_and_kept(sandbox: Any, connect_s2s: Any, connect: Any) -> None:
    other = connect()
    other.tokens.current()
    kept, asked = other.file.read(), len(sandbox.journal.entries())
    for side in (connect_s2s(), connect(client_id="another")):
        with pytest.raises(StateError, match="another app") as raised:
            side.tokens.current()
        assert raised.value.exit_status == 2
    assert (len(sandbox.journal.entries()), other.file.read()) == (asked, kept)


@pytest.mark.parametrize("page", [b"<html>Forbidden", b"", b'{"message": "Forbidden"}'])
@pytest.mark.parametrize("status", [401, 403, 404])
def test_the_page_of_a_gateway_may_pass(connect_s2s: Any, status: int, page: bytes) -> None:
    side = connect_s2s()
    side.first_answers(Answer(status, {}, page, None), 4)
    assert side.tokens.current()
