from __future__ import annotations

import socket
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from outreach_sync import instants
from outreach_sync.instants import Instant
from outreach_sync.outreach.auth import StoredTokens, TokenFile, Tokens
from outreach_sync.store import run_lock
from tests.harness import DAY, Consenting, consent

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Setup


@pytest.fixture
def paste(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    return lambda answer: monkeypatch.setattr("sys.stdin", Consenting(capsys, answer))


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
    assert stored(newcomer).refresh_token not in ran.everything
    assert newcomer("run").status == 0


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (lambda url: consent(url, "deny"), 3, "access_denied"),
        (lambda _url: "", 2, "paste"),
        (lambda url: consent(url.replace("+tasks.read", "")), 3, "tasks.read"),
    ],
)
def test_what_is_no_consent_or_too_little_is_said(
    newcomer: Setup, paste: Callable[..., None], answer: Callable[[str], str], status: int, said: str
) -> None:
    paste(answer)
    ran = newcomer("auth", "login")
    assert (ran.status, said in ran.err) == (status, True)
    if said == "tasks.read":
        assert newcomer("auth", "status", "--json").document["missing_scopes"] == ["tasks.read"]


@pytest.mark.parametrize("leaves", [False, True])
def test_a_browser_on_this_machine_brings_the_code_as_soon_as_it_can_be_sent_there(
    newcomer: Setup, monkeypatch: pytest.MonkeyPatch, *, leaves: bool
) -> None:
    """It comes with a forged state, to another path, and then as one should; it may leave before the answer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    newcomer.change("outreach", redirect_uri=f"http://localhost:{port}/callback")
    authorize, visits = Tokens.authorize_url, []

    def in_a_hurry(tokens: Tokens, state: str) -> str:
        url = authorize(tokens, state)
        back = consent(url).partition(str(port))[2]
        for path in (back + "x", back.replace("/callback", "/favicon.ico"), back):
            visits.append(socket.create_connection(("127.0.0.1", port), timeout=5))
            visits[-1].sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        if leaves:
            visits[-1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            visits.pop().close()
        return url

    monkeypatch.setattr(Tokens, "authorize_url", in_a_hurry)
    ran = newcomer("auth", "login")
    assert (ran.status, "Traceback" in ran.everything) == (0, False)
    assert [visit.recv(12)[-3:] for visit in visits] == [b"400", b"400", b"200"][: len(visits)]
    for visit in visits:
        visit.close()
    assert stored(newcomer).access_token


def test_a_port_that_is_taken_leaves_pasting(newcomer: Setup, paste: Callable[..., None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        newcomer.change("outreach", redirect_uri=f"http://127.0.0.1:{taken.getsockname()[1]}/callback")
        paste(consent)
        assert newcomer("auth", "login").status == 0


def test_consent_is_not_asked_for_beside_a_run_or_where_its_tokens_cannot_be_kept(newcomer: Setup) -> None:
    with run_lock(newcomer.state_path, "run"):
        beside = newcomer("auth", "login")
    assert TokenFile.beside(newcomer.state_path).read() is None
    newcomer.change("state", path=str(newcomer.config_path / "state.db"))
    in_vain = newcomer("auth", "login")
    assert (beside.status, in_vain.status, "cannot be written" in in_vain.err) == (5, 2, True)
    assert "Open this address" not in beside.out + in_vain.out


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
        assert (ran.status, "another app" in ran.err) == (2, True)
    ran = newcomer("auth", "status", "--json")
    assert (ran.status, ran.document["authenticated"]) == (3, False)
    assert "another app" in ran.document["warning"]
    assert stored(newcomer) == kept


def test_server_to_server_access_needs_no_login_and_says_what_it_is(empty: Setup) -> None:
    s2s = {"install_id": "1", "app_guid": "g", "private_key": "KEY"}
    empty.settings["outreach"] = {"base_url": empty.sandbox.outreach.url, "s2s": s2s}
    empty.write()
    assert empty("auth", "login").status == 2
    ran = empty("auth", "status")
    assert ran.status == 3, "the key cannot sign, so no token is promised"
    assert "Server-to-server" in ran.out
    assert "not an RSA private key" in ran.err


@pytest.mark.parametrize(("age_days", "status", "said"), [(1, 0, ""), (8, 0, "8 days old"), (15, 3, "dead")])
def test_the_age_of_the_refresh_token_is_judged(newcomer: Setup, age_days: int, status: int, said: str) -> None:
    issued = Instant(instants.now() - age_days * DAY)
    TokenFile.beside(newcomer.state_path).write(
        StoredTokens("access-secret", Instant(issued + 7_200_000), "refresh-secret", issued, "tasks.all", "", 0)
    )
    ran, in_json = newcomer("auth", "status"), newcomer("auth", "status", "--json")
    assert (ran.status, said in ran.everything) == (status, True)
    refresh = in_json.document["refresh_token"]
    assert refresh["age_days"] == pytest.approx(age_days, abs=0.01)
    assert refresh["days_left"] == pytest.approx(max(14 - age_days, 0), abs=0.01)
    assert "secret" not in ran.everything + in_json.everything


def test_no_token_is_promised_that_cannot_be_got(newcomer: Setup) -> None:
    ran = newcomer("auth", "status")
    assert (ran.status, "the next run" in ran.out) == (3, False)
    newcomer.change("outreach", refresh_token="not-tried-yet")
    assert "the next run asks for one" in newcomer("auth", "status").out


def test_a_first_token_is_dead_with_the_chain_that_grew_from_it(
    newcomer: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    newcomer.change("outreach", refresh_token=newcomer.sandbox.outreach.refresh_token)
    assert newcomer("run").status == 0
    monkeypatch.setattr(instants, "now", lambda now=instants.now: Instant(now() + 15 * DAY))
    ran = newcomer("auth", "status")
    assert (ran.status, "dead" in ran.err) == (3, True)
