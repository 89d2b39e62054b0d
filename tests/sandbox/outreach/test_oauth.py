from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from conftest import Client

    from outreach_sync.sandbox.outreach import OutreachSandbox

BACK = "https://localhost:8484/callback"
ASKED = {"redirect_uri": BACK, "response_type": "code", "scope": "tasks.read prospects.read", "state": "a b&c"}


def consent(service: OutreachSandbox, **more: str) -> requests.Response:
    asked = {"client_id": service.client_id, **ASKED, **more}
    return requests.get(f"{service.url}/oauth/authorize", params=asked, allow_redirects=False, timeout=5)


def returned(answer: requests.Response) -> dict[str, list[str]]:
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(BACK)
    return parse_qs(urlsplit(answer.headers["Location"]).query)


def test_consent_returns_a_code_and_the_state_unless_that_is_lost(client: Client) -> None:
    query = returned(consent(client.service, auto_approve="1"))
    form = {"grant_type": "authorization_code", "code": query["code"][0], "redirect_uri": BACK}
    assert (query["state"], client.refresh(**form).json()["scope"]) == (["a b&c"], "tasks.read prospects.read")
    link = re.search(r'id="approve" href="([^"]+)"', consent(client.service).text)
    assert link is not None, "what a person in a browser clicks"
    client.faults.on("consent_state_lost")
    followed = requests.get(client.service.url + html.unescape(link[1]), allow_redirects=False, timeout=5)
    assert returned(followed).keys() == {"code"}


def test_a_wrong_token_request_is_refused_and_no_secret_of_one_is_in_the_journal(client: Client) -> None:
    for name, value, status, error in (
        ("client_secret", "wrong", 401, "invalid_client"),
        ("client_id", "wrong", 401, "invalid_client"),
        ("refresh_token", "wrong", 400, "invalid_grant"),
        ("grant_type", "password", 400, "unsupported_grant_type"),
    ):
        answer = client.refresh(**{name: value})
        assert (answer.status_code, answer.json()["error"]) == (status, error)
    text = str(client.service.journal.entries())
    assert "refresh_token" in text
    assert client.service.client_secret not in text
    assert client.service.refresh_token not in text


@pytest.fixture
def key(service: OutreachSandbox) -> rsa.RSAPrivateKey:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    service.app.s2s_public_key = private.public_key().public_bytes(*pem).decode()
    return private


def s2s(
    service: OutreachSandbox, key: rsa.RSAPrivateKey, *, life: int = 3600, scheme: str = "Bearer", **changes: object
) -> requests.Response:
    issued = service.clock.now() // 1000
    claims = {"iss": service.app.s2s_guid, "iat": issued, "exp": issued + life, **changes}
    token = jwt.encode(claims, key, algorithm="RS256")
    url = f"{service.url}/api/app/installs/{service.app.install_id}/actions/accessToken"
    return requests.post(url, headers={"Authorization": f"{scheme} {token}"}, timeout=5)


def test_a_signed_jwt_gives_a_token_for_all_but_sequence_steps(client: Client, key: rsa.RSAPrivateKey) -> None:
    token = s2s(client.service, key).json()["data"]["meta"]["accessToken"]
    client.session.headers["Authorization"] = f"Bearer {token}"
    assert [client.get(path).status_code for path in ("tasks", "users", "sequenceSteps")] == [200, 200, 403]
    client.service.clock.advance(3_600_000)
    assert client.get("tasks").status_code == 401


def test_a_jwt_that_is_too_long_expired_foreign_or_forged_is_refused(client: Client, key: rsa.RSAPrivateKey) -> None:
    assert s2s(client.service, rsa.generate_private_key(public_exponent=65537, key_size=2048)).status_code == 401
    odd = [{name: time} for name in ("iat", "exp") for time in ("soon", None, True, float("inf"))]
    for wrong in ({"life": 3601}, {"life": -1}, {"iss": "another app"}, {"scheme": "Basic"}, *odd):
        assert s2s(client.service, key, **wrong).status_code == 401, wrong  # type: ignore[arg-type]
    client.service.app.install_id = "install-2"
    assert s2s(client.service, key).status_code == 200
