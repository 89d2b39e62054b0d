from __future__ import annotations

import io
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from outreach_sync import instants
from outreach_sync.assembly import token_file
from outreach_sync.cli import auth as module
from outreach_sync.instants import Instant
from outreach_sync.outreach.tokenfile import StoredTokens
from outreach_sync.outreach.tokens import OAuthTokens
from outreach_sync.state.lock import run_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Command, Setup

DAY = 86_400_000


def consent(url: str, decision: str = "approve") -> str:
    """Do what a user in a browser does; return the address that it ends at."""
    answer = requests.get(f"{url}&decision={decision}", allow_redirects=False, timeout=5)
    return answer.headers["Location"]


class Stdin:
    """Somebody at the terminal, who reads the printed address and pastes what `answer` makes of it."""

    def __init__(self, capsys: pytest.CaptureFixture[str], answer: Callable[[str], str]) -> None:
        self.capsys, self.answer = capsys, answer

    def readline(self, *_: Any) -> str:
        said = "".join(self.capsys.readouterr())
        return self.answer(next(line for line in said.splitlines() if "/oauth/authorize" in line)) + "\n"


@pytest.fixture
def paste(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    return lambda answer: monkeypatch.setattr("sys.stdin", Stdin(capsys, answer))


@pytest.fixture
def newcomer(empty: Setup) -> Setup:
    del empty.config["outreach"]["refresh_token"]
    empty.write()
    return empty


def stored(setup: Setup) -> StoredTokens:
    tokens = token_file(setup.state_path).read()
    assert tokens is not None
    return tokens


def test_a_pasted_address_brings_tokens_that_a_run_can_use(
    newcomer: Setup, command: Command, paste: Callable[..., None]
) -> None:
    assert command("run").status == 3
    paste(consent)
    ran = command("auth", "login", "--json")
    assert (ran.status, ran.document["stored"], ran.document["missing_scopes"]) == (0, True, [])
    assert stored(newcomer).refresh_token not in ran.out + ran.err
    assert command("run").status == 0


def test_a_pasted_code_alone_is_enough(newcomer: Setup, command: Command, paste: Callable[..., None]) -> None:
    paste(lambda url: parse_qs(urlsplit(consent(url)).query)["code"][0])
    assert command("auth", "login").status == 0


def test_an_address_of_another_request_is_refused(
    newcomer: Setup, command: Command, paste: Callable[..., None]
) -> None:
    paste(lambda url: consent(url).replace("state=", "state=forged"))
    assert command("auth", "login").status == 2
    assert token_file(newcomer.state_path).read() is None


def test_consent_that_is_refused_ends_with_3(newcomer: Setup, command: Command, paste: Callable[..., None]) -> None:
    paste(lambda url: consent(url, "deny"))
    ran = command("auth", "login")
    assert ran.status == 3
    assert "access_denied" in ran.err


def test_nothing_pasted_is_an_error_not_a_hang(
    newcomer: Setup, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert command("auth", "login").status == 2


def test_a_code_that_was_used_before_ends_with_3(newcomer: Setup, command: Command, paste: Callable[..., None]) -> None:
    paste(lambda _url: "no-such-code")
    assert command("auth", "login").status == 3


def land_here(newcomer: Setup) -> int:
    """Have consent land on a port of this machine that is free, and return it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    newcomer.change("outreach", redirect_uri=f"http://localhost:{port}/callback")
    return port


def test_a_browser_on_this_machine_brings_the_code_itself(
    newcomer: Setup, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_here(newcomer)
    urls: list[str] = []
    authorize = OAuthTokens.authorize_url

    def noted(tokens: OAuthTokens, state: str) -> str:
        urls.append(authorize(tokens, state))
        return urls[-1]

    monkeypatch.setattr(OAuthTokens, "authorize_url", noted)
    statuses: list[int] = []
    browser = threading.Thread(target=browse, args=(urls, statuses))
    browser.start()
    ran = command("auth", "login")
    browser.join(10)
    assert ran.status == 0
    assert statuses == [400, 400, 200]
    assert stored(newcomer).access_token


def browse(urls: list[str], statuses: list[int]) -> None:
    """Come with a forged state, to another path, and then as one should."""
    while not urls:
        time.sleep(0.02)
    back = consent(urls[0])
    for address in (back + "x", back.replace("/callback", "/favicon.ico"), back):
        for _ in range(100):
            try:
                statuses.append(requests.get(address, timeout=5).status_code)
                break
            except requests.ConnectionError:
                time.sleep(0.05)


def test_a_port_that_is_taken_leaves_pasting(newcomer: Setup, command: Command, paste: Callable[..., None]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        newcomer.change("outreach", redirect_uri=f"http://127.0.0.1:{taken.getsockname()[1]}/callback")
        paste(consent)
        assert command("auth", "login").status == 0


def test_scopes_that_were_not_granted_are_named(newcomer: Setup, command: Command, paste: Callable[..., None]) -> None:
    paste(lambda url: consent(url.replace("+tasks.read", "")))
    ran = command("auth", "login")
    assert ran.status == 3
    assert "tasks.read" in ran.err
    assert command("auth", "status", "--json").document["missing_scopes"] == ["tasks.read"]


def test_tokens_are_not_replaced_under_a_run_that_goes_on(
    newcomer: Setup, command: Command, paste: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOCK_PAUSES", 2)
    paste(consent)
    with run_lock(newcomer.state_path, "run"):
        assert command("auth", "login").status == 5
    assert token_file(newcomer.state_path).read() is None


def test_server_to_server_access_needs_no_login_and_says_what_it_is(empty: Setup, command: Command) -> None:
    empty.config["outreach"] = {
        "base_url": empty.sandbox.outreach.url,
        "s2s": {"install_id": "1", "app_guid": "g", "private_key": "KEY"},
    }
    empty.write()
    assert command("auth", "login").status == 2
    ran = command("auth", "status")
    assert ran.status == 0
    assert "Server-to-server" in ran.out


@pytest.mark.parametrize(
    ("age_days", "status", "text"),
    [(1, 0, None), (8, 0, "8 days old"), (15, 3, "dead")],
    ids=["young", "warn", "dead"],
)
def test_the_age_of_the_refresh_token_is_judged(
    newcomer: Setup, command: Command, age_days: int, status: int, text: str | None
) -> None:
    issued = Instant(instants.now() - age_days * DAY)
    token_file(newcomer.state_path).write(
        StoredTokens("access-secret", Instant(issued + 7_200_000), "refresh-secret", issued, "tasks.all", "", 0)
    )
    ran = command("auth", "status")
    assert ran.status == status
    assert (text or "") in ran.out + ran.err
    document = json.loads(command("auth", "status", "--json").out)
    assert document["refresh_token"]["age_days"] == pytest.approx(age_days, abs=0.01)
    assert document["refresh_token"]["days_left"] == pytest.approx(max(14 - age_days, 0), abs=0.01)
    assert "secret" not in ran.out + ran.err + json.dumps(document)


def test_before_any_login_status_says_what_to_do(newcomer: Setup, command: Command) -> None:
    ran = command("auth", "status")
    assert ran.status == 3
    assert "auth login" in ran.err


def test_nobody_is_sent_to_a_page_before_somebody_listens_there(
    newcomer: Setup, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = land_here(newcomer)
    authorize = OAuthTokens.authorize_url

    def in_a_hurry(tokens: OAuthTokens, state: str) -> str:
        """Return the address once somebody has come back from it."""
        url = authorize(tokens, state)
        there = socket.create_connection(("127.0.0.1", port), timeout=5)
        there.sendall(f"GET {consent(url).partition(str(port))[2]} HTTP/1.0\r\n\r\n".encode())
        open_till_the_end.append(there)
        return url

    open_till_the_end: list[socket.socket] = []
    monkeypatch.setattr(OAuthTokens, "authorize_url", in_a_hurry)
    assert command("auth", "login").status == 0
    open_till_the_end[0].close()


def test_consent_is_not_asked_for_where_its_tokens_cannot_be_kept(
    newcomer: Setup, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "a-file").touch()
    newcomer.change("state", path=str(tmp_path / "a-file" / "state.db"))
    ran = command("auth", "login")
    assert ran.status == 2
    assert "cannot be written" in ran.err
    assert "Open this address" not in ran.out
