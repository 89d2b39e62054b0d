from __future__ import annotations

import io
import json
import socket
import struct
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import requests

from outreach_sync import instants
from outreach_sync.instants import Instant
from outreach_sync.outreach.auth import StoredTokens, TokenFile, Tokens
from outreach_sync.store import run_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Setup


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
    del empty.settings["outreach"]["refresh_token"]
    empty.write()
    return empty


def stored(setup: Setup) -> StoredTokens:
    tokens = TokenFile.beside(setup.state_path).read()
    assert tokens is not None
    return tokens


def test_a_pasted_address_brings_tokens_that_a_run_can_use(newcomer: Setup, paste: Callable[..., None]) -> None:
    assert newcomer("run").status == 3
    paste(consent)
    ran = newcomer("auth", "login", "--json")
    assert (ran.status, ran.document["stored"], ran.document["missing_scopes"]) == (0, True, [])
    assert stored(newcomer).refresh_token not in ran.out + ran.err
    assert newcomer("run").status == 0


def test_nothing_pasted_is_an_error_not_a_hang(newcomer: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert newcomer("auth", "login").status == 2


def land_here(newcomer: Setup) -> int:
    """Have consent land on a port of this machine that is free, and return it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    newcomer.change("outreach", redirect_uri=f"http://localhost:{port}/callback")
    return port


def test_a_browser_on_this_machine_brings_the_code_itself(newcomer: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    land_here(newcomer)
    urls: list[str] = []
    authorize = Tokens.authorize_url

    def noted(tokens: Tokens, state: str) -> str:
        urls.append(authorize(tokens, state))
        return urls[-1]

    monkeypatch.setattr(Tokens, "authorize_url", noted)
    statuses: list[int] = []
    browser = threading.Thread(target=browse, args=(urls, statuses))
    browser.start()
    ran = newcomer("auth", "login")
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


def test_a_port_that_is_taken_leaves_pasting(newcomer: Setup, paste: Callable[..., None]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        newcomer.change("outreach", redirect_uri=f"http://127.0.0.1:{taken.getsockname()[1]}/callback")
        paste(consent)
        assert newcomer("auth", "login").status == 0


def test_scopes_that_were_not_granted_are_named(newcomer: Setup, paste: Callable[..., None]) -> None:
    paste(lambda url: consent(url.replace("+tasks.read", "")))
    ran = newcomer("auth", "login")
    assert ran.status == 3
    assert "tasks.read" in ran.err
    assert newcomer("auth", "status", "--json").document["missing_scopes"] == ["tasks.read"]


def test_consent_is_not_asked_for_while_a_run_goes_on(newcomer: Setup) -> None:
    with run_lock(newcomer.state_path, "run"):
        ran = newcomer("auth", "login")
    assert ran.status == 5
    assert "Open this address" not in ran.out
    assert TokenFile.beside(newcomer.state_path).read() is None


def test_a_run_that_begins_during_the_consent_loses_nothing(newcomer: Setup, paste: Callable[..., None]) -> None:
    with ExitStack() as running:

        def slowly(url: str) -> str:
            running.enter_context(run_lock(newcomer.state_path, "run"))
            return consent(url)

        paste(slowly)
        assert newcomer("auth", "login").status == 0
    assert stored(newcomer).access_token


def test_tokens_of_another_app_are_neither_used_nor_replaced(newcomer: Setup, paste: Callable[..., None]) -> None:
    paste(consent)
    assert newcomer("auth", "login").status == 0
    kept = stored(newcomer)
    newcomer.change("outreach", client_id="another")
    for args in (("run",), ("auth", "login"), ("reconcile",)):
        ran = newcomer(*args)
        assert ran.status == 2
        assert "another app" in ran.err
    ran = newcomer("auth", "status", "--json")
    assert (ran.status, ran.document["authenticated"]) == (3, False)
    assert "another app" in ran.document["warning"]
    assert stored(newcomer) == kept


def test_server_to_server_access_needs_no_login_and_says_what_it_is(empty: Setup) -> None:
    empty.settings["outreach"] = {
        "base_url": empty.sandbox.outreach.url,
        "s2s": {"install_id": "1", "app_guid": "g", "private_key": "KEY"},
    }
    empty.write()
    assert empty("auth", "login").status == 2
    ran = empty("auth", "status")
    assert ran.status == 3, "the key cannot sign, so no token is promised"
    assert "Server-to-server" in ran.out
    assert "not an RSA private key" in ran.err


@pytest.mark.parametrize(
    ("age_days", "status", "text"),
    [(1, 0, None), (8, 0, "8 days old"), (15, 3, "dead")],
    ids=["young", "warn", "dead"],
)
def test_the_age_of_the_refresh_token_is_judged(newcomer: Setup, age_days: int, status: int, text: str | None) -> None:
    issued = Instant(instants.now() - age_days * DAY)
    TokenFile.beside(newcomer.state_path).write(
        StoredTokens("access-secret", Instant(issued + 7_200_000), "refresh-secret", issued, "tasks.all", "", 0)
    )
    ran = newcomer("auth", "status")
    assert ran.status == status
    assert (text or "") in ran.out + ran.err
    document = json.loads(newcomer("auth", "status", "--json").out)
    assert document["refresh_token"]["age_days"] == pytest.approx(age_days, abs=0.01)
    assert document["refresh_token"]["days_left"] == pytest.approx(max(14 - age_days, 0), abs=0.01)
    assert "secret" not in ran.out + ran.err + json.dumps(document)


def test_nobody_is_sent_to_a_page_before_somebody_listens_there(
    newcomer: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = land_here(newcomer)
    authorize = Tokens.authorize_url

    def in_a_hurry(tokens: Tokens, state: str) -> str:
        """Return the address once somebody has come back from it."""
        url = authorize(tokens, state)
        there = socket.create_connection(("127.0.0.1", port), timeout=5)
        there.sendall(f"GET {consent(url).partition(str(port))[2]} HTTP/1.0\r\n\r\n".encode())
        open_till_the_end.append(there)
        return url

    open_till_the_end: list[socket.socket] = []
    monkeypatch.setattr(Tokens, "authorize_url", in_a_hurry)
    assert newcomer("auth", "login").status == 0
    open_till_the_end[0].close()


def test_a_browser_that_leaves_before_the_answer_loses_nothing(
    newcomer: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = land_here(newcomer)
    authorize = Tokens.authorize_url

    def leave(app: Tokens, state: str) -> str:
        url = authorize(app, state)
        there = socket.create_connection(("127.0.0.1", port), timeout=5)
        there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        there.sendall(f"GET {consent(url).partition(str(port))[2]} HTTP/1.0\r\n\r\n".encode())
        there.close()
        return url

    monkeypatch.setattr(Tokens, "authorize_url", leave)
    ran = newcomer("auth", "login")
    assert ran.status == 0
    assert "Traceback" not in ran.out + ran.err


def test_no_token_is_promised_that_cannot_be_got(newcomer: Setup) -> None:
    ran = newcomer("auth", "status")
    assert ran.status == 3
    assert "the next run" not in ran.out
    newcomer.change("outreach", refresh_token="not-tried-yet")
    assert "the next run asks for one" in newcomer("auth", "status").out


def test_a_first_token_is_dead_with_the_chain_that_grew_from_it(
    newcomer: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    newcomer.change("outreach", refresh_token=newcomer.sandbox.outreach.refresh_token)
    assert newcomer("run").status == 0
    monkeypatch.setattr(instants, "now", lambda now=instants.now: Instant(now() + 15 * DAY))
    ran = newcomer("auth", "status")
    assert ran.status == 3
    assert "dead" in ran.err


def test_consent_is_not_asked_for_where_its_tokens_cannot_be_kept(newcomer: Setup, tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    newcomer.change("state", path=str(tmp_path / "a-file" / "state.db"))
    ran = newcomer("auth", "login")
    assert ran.status == 2
    assert "cannot be written" in ran.err
    assert "Open this address" not in ran.out
