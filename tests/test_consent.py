from __future__ import annotations

import socket
import threading

import pytest
import requests

from outreach_sync.consent import Listener, code_from, landing_of, missing_scopes
from outreach_sync.errors import InterruptedByError, NotAuthenticatedError, UnavailableError, UsageError
from outreach_sync.http import StopSignal

NEEDED = ("tasks.read", "prospects.read")


@pytest.mark.parametrize(
    ("uri", "landing"),
    [
        ("http://localhost:8484/callback", (8484, "/callback")),
        ("http://127.0.0.1/", (80, "/")),
        ("https://localhost:8484/callback", None),
        ("http://example.com/callback", None),
    ],
)
def test_only_plain_http_on_this_machine_is_listened_on(uri: str, landing: tuple[int, str] | None) -> None:
    assert landing_of(uri) == landing


@pytest.mark.parametrize(
    "pasted",
    [
        *("C0DE", " 'C0DE'\n", "?state=s3&code=C0DE", "code=C0DE&state=s3"),
        "<https://localhost:8484/callback?code=C0DE&amp;state=s3>",
        " 'https://localhost:8484/callback?code=C0\n  DE&state=s3' \r\n",
        "localhost:8484/callback?code=C0DE&state=s3#top",
    ],
)
def test_a_code_is_found_in_whatever_a_user_pastes(pasted: str) -> None:
    assert code_from(pasted, "s3") == "C0DE"


@pytest.mark.parametrize(
    ("pasted", "error"),
    [
        ("", UsageError),
        ("https://localhost/callback", UsageError),
        ("https://localhost/callback?code=C0DE", UsageError),
        ("https://localhost/callback?code=C0DE&state=s\udce9", UsageError),
        ("https://localhost/callback?state=s3", UsageError),
        ("https://localhost/callback?error=access_denied&state=s3", NotAuthenticatedError),
    ],
)
def test_what_is_no_answer_to_this_request_is_refused(pasted: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        code_from(pasted, "s3")


@pytest.mark.parametrize("code", ["4/0AX=", "a/b", "x=="])
def test_a_code_may_hold_signs_of_an_address(code: str) -> None:
    assert code_from(code, "s3") == code


def test_a_denied_consent_is_not_called_done() -> None:
    port = free_port()
    with Listener((port, "/"), "s3") as listener:
        said: list[str] = []
        url = f"http://127.0.0.1:{port}/?error=access_denied&state=s3"
        browser = threading.Thread(target=lambda: said.append(requests.get(url, timeout=5).text))
        browser.start()
        with pytest.raises(NotAuthenticatedError, match="access_denied"):
            listener.code(StopSignal(), seconds=5)
        browser.join(5)
    assert "not allowed" in said[0]
    assert "Done" not in said[0]


@pytest.mark.parametrize(
    ("granted", "missing"),
    [
        ("tasks.read prospects.read", ()),
        ("tasks.all prospects.read users.read", ()),
        ("tasks.write prospects.read", ("tasks.read",)),
        ("", ()),  # Outreach did not say
    ],
)
def test_a_scope_is_missing_only_if_others_were_granted_without_it(granted: str, missing: tuple[str, ...]) -> None:
    assert missing_scopes(granted, NEEDED) == missing


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_waiting_for_a_browser_ends_when_nobody_comes_or_when_asked_to_stop() -> None:
    stop = StopSignal()
    with Listener((free_port(), "/"), "s3") as listener:
        with pytest.raises(UnavailableError, match="--paste"):
            listener.code(stop, seconds=0.1)
        stop.set(15)
        with pytest.raises(InterruptedByError):
            listener.code(stop, seconds=60)
