from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from outreach_sync.config.address_forms import FilePath, Secret, SecretUrl, ServiceUrl, is_loopback


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com:8443/base/", "https://api.example.com:8443/base"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.9:1/", "http://127.0.0.9:1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_https_anywhere_and_http_on_loopback_is_taken(written: str, address: str) -> None:
    assert ServiceUrl().parse(written) == address


@pytest.mark.parametrize(
    "written",
    [
        "http://api.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "http://127.0.0.1@example.com",
        "https://user:pw@example.com",
        "https://example.com?x=1",
        "https://example.com#x",
        "ftp://localhost",
        "example.com",
        "https://",
        "https://[::1",
        "https://a b",
        "https://example.com:99999",
        "",
    ],
)
def test_anything_that_could_send_a_token_elsewhere_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has) "):
        ServiceUrl().parse(written)


def test_a_name_that_only_looks_like_this_machine_is_another() -> None:
    assert is_loopback("::1")
    assert not is_loopback("localhost.")
    assert not is_loopback("0.0.0.0")  # noqa: S104  # it is asked about, not bound


def test_secrets_are_hidden_and_kept() -> None:
    assert Secret().parse("planted").get_secret_value() == "planted"
    assert SecretUrl().parse("http://ping.example.com/planted").get_secret_value() == "http://ping.example.com/planted"
    assert "planted" not in repr(Secret().parse("planted"))
    assert Secret().parse(SecretStr("planted")) == SecretUrl().parse(SecretStr("planted")) == SecretStr("planted")


def test_a_path_starts_at_home_where_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert FilePath().parse("~/state.db") == Path("/home/somebody/state.db")
    for wrong in ("a\0b", "~nobody-by-this-name/x"):
        with pytest.raises(ValueError, match=r"is not a path|home directory"):
            FilePath().parse(wrong)
