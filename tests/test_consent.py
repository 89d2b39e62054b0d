import threading

import pytest
import requests

from outreach_sync.consent import Listener, code_from, landing_of, missing_scopes
from outreach_sync.errors import InterruptedByError, NotAuthenticatedError, UnavailableError, UsageError
from outreach_sync.http import StopSignal


def test_only_plain_http_on_this_machine_is_listened_on() -> None:
    assert list(map(landing_of, ("http://localhost:8484/a", "http://127.0.0.1/"))) == [(8484, "/a"), (80, "/")]
    assert landing_of("https://localhost:8484/callback") is landing_of("http://example.com/callback") is None


@pytest.mark.parametrize(
    ("pasted", "code"),
    [
        *(
            (f" '{code}'\n", code) for code in ("C0DE", "4/0AX=", "a/b", "x==")
        ),  # one alone may have signs of an address
        *((text, "C0DE") for text in ("?state=s3&code=C0DE", "code=C0DE&state=s3")),
        ("localhost:8484/callback?code=C0DE&state=s3#top", "C0DE"),
        ("\ufeff<https://localhost:8484/callback?code=C0DE&amp;state=s3>\udcff\u201d", "C0DE"),
        (" 'https://localhost:8484/callback?code=C0\n  DE&state=s3' \r\n", "C0DE"),
    ],
)
def test_a_code_is_found_in_whatever_a_user_pastes(pasted: str, code: str) -> None:
    assert code_from(pasted, "s3") == code


def test_what_is_no_answer_to_this_request_is_refused() -> None:
    address = "https://localhost/callback"
    for pasted in ("", address, *(f"{address}?{one}" for one in ("code=C0DE", "code=C0DE&state=s\udce9", "state=s3"))):
        with pytest.raises(UsageError):
            code_from(pasted, "s3")


def test_a_denied_consent_is_not_called_done() -> None:
    with pytest.raises(NotAuthenticatedError):
        code_from("https://localhost/callback?error=access_denied&state=s3", "s3")
    said: list[str] = []
    with Listener((0, "/"), "s3") as listener:
        url = f"http://127.0.0.1:{listener.server_port}/?error=access_denied&state=s3"
        browser = threading.Thread(target=lambda: said.append(requests.get(url, timeout=5).text))
        browser.start()
        with pytest.raises(NotAuthenticatedError, match="access_denied"):
            listener.code(StopSignal(), seconds=5)
        browser.join(5)
    assert "not allowed" in said[0]
    assert "Done" not in said[0]


def test_a_scope_is_missing_only_if_others_were_granted_without_it() -> None:
    said = ("tasks.read prospects.read", "tasks.all prospects.read users.read", "tasks.write prospects.read", "")
    missing = [missing_scopes(granted, ("tasks.read", "prospects.read")) for granted in said]
    assert missing == [(), (), ("tasks.read",), ()], "an empty answer does not say what was granted"


def test_waiting_for_a_browser_ends_when_nobody_comes_or_when_asked_to_stop() -> None:
    stop = StopSignal()
    with Listener((0, "/"), "s3") as listener:
        with pytest.raises(UnavailableError, match="--paste"):
            listener.code(stop, seconds=0.1)
        stop.set(15)
        with pytest.raises(InterruptedByError):
            listener.code(stop, seconds=60)
