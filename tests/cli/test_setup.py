import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from outreach_sync import http, instants
from outreach_sync.cli import setup as commands
from outreach_sync.config import load_config
from outreach_sync.files import beside
from outreach_sync.instants import Instant
from outreach_sync.outreach.auth import TOKENS, StoredTokens, TokenFile, Tokens
from outreach_sync.sandbox import Sandbox
from outreach_sync.sandbox.workbooks.schema import CUSTOM_FIELD, PICKLIST, PICKLIST_ENTRY
from outreach_sync.store import run_lock
from tests.harness import DAY, Consenting, Setup, consent

# -- init


def test_it_writes_a_private_config_that_is_right_where_it_is_found_or_to_stdout_and_says_what_is_next(
    tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = command("init", "-")
    assert (ran.status, ran.err, list(tmp_path.iterdir())) == (0, "", [])
    assert yaml.safe_load(ran.out)["sync"]["max_attempts"] == 10
    path = tmp_path / "new" / "place.yaml"
    ran = command("init", str(path))
    assert (ran.status, path.stat().st_mode & 0o777) == (0, 0o600)
    assert load_config(path, require_secrets=False).sync.max_attempts == 10
    assert f"outreach-sync -c {path} auth login" in ran.out
    assert "  4. outreach-sync check" in command("init").out
    assert (tmp_path / "config" / "outreach-sync.yaml").exists()


def test_a_file_that_is_there_or_appears_while_it_asks_is_left_alone_unless_forced(
    tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.yaml"

    def asked(_answers: Any) -> str:
        path.write_text("precious")
        return "ours"

    with monkeypatch.context() as patched:
        patched.setattr(commands, "starter_config", asked)
        appeared = command("init", str(path))
    path.chmod(0o644)
    for ran in (appeared, command("init", str(path))):
        assert (ran.status, "exists already; it was left as it is" in ran.err, "--force" in ran.err) == (2, True, True)
        assert path.read_text() == "precious"
    assert command("init", str(path), "--force").status == 0
    assert (path.stat().st_mode & 0o777, list(tmp_path.iterdir())) == (0o600, [path])


def test_on_a_terminal_it_asks_until_answers_make_sense_and_writes_them_and_with_defaults_it_asks_nothing(
    tmp_path: Path, on_terminal: Any
) -> None:
    path = tmp_path / "asked.yaml"
    typed = "http://plain.example\nhttps://example-live.workbooks.com\n\nyesterday\nall\nskip\n\n"
    assert on_terminal("init", str(path), typed=typed).status == 0
    asked = load_config(path, require_secrets=False)
    assert asked.workbooks.base_url == "https://example-live.workbooks.com"
    assert asked.outreach.redirect_uri == "https://localhost:8484/callback"
    assert (asked.sync.start, asked.sync.people.when_missing, asked.schedule.every_ms) == (None, "skip", 600_000)
    assert on_terminal("init", str(tmp_path / "plain.yaml"), "--defaults").status == 0
    assert (tmp_path / "plain.yaml").exists()


@pytest.fixture
def paste(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    return lambda answer: monkeypatch.setattr("sys.stdin", Consenting(capsys, answer))


@pytest.fixture
def newcomer(empty: Setup) -> Setup:
    del empty.settings["outreach"]["refresh_token"]
    empty.write()
    return empty


def stored(setup: Setup) -> Any:
    return TokenFile(beside(setup.state_path, TOKENS)).read()


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
    with socket.create_server(("127.0.0.1", 0)) as probe:
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


def test_consent_is_not_asked_for_beside_a_run_or_where_its_tokens_cannot_be_kept(newcomer: Setup) -> None:
    with run_lock(newcomer.state_path, "run"):
        meanwhile = newcomer("auth", "login")
    assert stored(newcomer) is None
    newcomer.change("state", path=str(newcomer.config_path / "state.db"))
    in_vain = newcomer("auth", "login")
    assert (meanwhile.status, in_vain.status, "cannot be written" in in_vain.err) == (5, 2, True)
    assert "Open this address" not in meanwhile.out + in_vain.out


def test_neither_a_port_that_is_taken_nor_a_run_that_begins_during_the_consent_loses_anything(
    newcomer: Setup, paste: Callable[..., None]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, ExitStack() as running:
        newcomer.change("outreach", redirect_uri=f"http://127.0.0.1:{taken.getsockname()[1]}/callback")

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
    assert (ran.status, ran.document["authenticated"], "another app" in ran.document["warning"]) == (3, False, True)
    assert stored(newcomer) == kept


def test_server_to_server_access_needs_no_login_and_says_what_it_is(empty: Setup) -> None:
    s2s = {"install_id": "1", "app_guid": "g", "private_key": "KEY"}
    empty.settings["outreach"] = {"base_url": empty.sandbox.outreach.url, "s2s": s2s}
    empty.write()
    assert empty("auth", "login").status == 2
    ran = empty("auth", "status")
    assert (ran.status, "Server-to-server" in ran.out) == (3, True), "the key cannot sign, so no token is promised"
    assert "not an RSA private key" in ran.err


@pytest.mark.parametrize(("age_days", "status", "said"), [(1, 0, ""), (8, 0, "8 days old"), (15, 3, "dead")])
def test_the_age_of_the_refresh_token_is_judged(newcomer: Setup, age_days: int, status: int, said: str) -> None:
    issued = Instant(instants.now() - age_days * DAY)
    TokenFile(beside(newcomer.state_path, TOKENS)).write(
        StoredTokens("access-secret", Instant(issued + 7_200_000), "refresh-secret", issued, "tasks.all", "", 0)
    )
    ran, in_json = newcomer("auth", "status"), newcomer("auth", "status", "--json")
    assert (ran.status, said in ran.everything) == (status, True)
    refresh = in_json.document["refresh_token"]
    assert refresh["age_days"] == pytest.approx(age_days, abs=0.01)
    assert refresh["days_left"] == pytest.approx(max(14 - age_days, 0), abs=0.01)
    assert "secret" not in ran.everything + in_json.everything


def test_no_token_is_promised_that_cannot_be_got_and_a_first_one_dies_with_the_chain_that_grew_from_it(
    newcomer: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = newcomer("auth", "status")
    assert (ran.status, "the next run" in ran.out) == (3, False)
    newcomer.change("outreach", refresh_token=newcomer.sandbox.outreach.refresh_token)
    assert "the next run asks for one" in newcomer("auth", "status").out
    assert newcomer("run").status == 0
    monkeypatch.setattr(instants, "now", lambda now=instants.now: Instant(now() + 15 * DAY))
    ran = newcomer("auth", "status")
    assert (ran.status, "dead" in ran.err) == (3, True)


@pytest.fixture
def bare(empty: Setup, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    """An account that nobody prepared for the sync."""
    monkeypatch.setattr("outreach_sync.provision._FIRST_PAUSE", 0.01)
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.01)
    with Sandbox(bare=True) as sandbox:
        empty.sandbox = sandbox
        for section in ("outreach", "workbooks"):
            empty.change(section, **sandbox.config(empty.state_path)[section])
        yield empty


def records(setup: Setup, kind: str) -> list[dict[str, Any]]:
    return [record.values for record in setup.sandbox.workbooks.store.tables[kind].records.values()]


def added(setup: Setup) -> tuple[int, int]:
    return len(records(setup, CUSTOM_FIELD)), len(records(setup, PICKLIST_ENTRY))


def test_a_new_account_gets_what_a_run_needs_once_and_a_dry_run_only_shows_it(bare: Setup) -> None:
    before = added(bare)
    ran = bare("provision", "--dry-run", "--json")
    made = [(step["kind"], step["name"]) for step in ran.document["steps"] if step["action"] == "create"]
    assert (ran.status, len(made), ("entry", "Active \u2013 Running") in made) == (0, 1 + 9 + 4, True)
    assert ("Sequence State" in bare("provision", "--dry-run").out, added(bare)) == (True, before)
    ran = bare("provision", "--json")
    assert (ran.status, ran.document["findings"]) == (0, [])
    assert set(ran.document["columns"]) == {"sequence_state", "state_updated_at", "outreach_id", "sequences"}
    before = added(bare)
    assert {step["action"] for step in bare.document("provision")["steps"]} == {"exists"}
    assert added(bare) == before
    bare.sandbox.load_example()
    assert bare("run").status in {0, 1}


def test_only_missing_entries_are_added_and_none_beside_one_with_another_dash(empty: Setup) -> None:
    before = added(empty)
    empty.change("sync", labels={"active": "Active - Running"})
    assert "spells 'Active - Running' differently" in empty("provision").out
    assert added(empty) == before
    empty.change("sync", labels={"active": "Actively Running"})
    steps = empty.document("provision")["steps"]
    assert [step["name"] for step in steps if step["action"] == "create"] == ["Actively Running"]
    assert added(empty) == (before[0], before[1] + 1)


def test_slow_fields_are_waited_for_and_an_impatient_run_is_carried_on(bare: Setup) -> None:
    bare.sandbox.workbooks.faults.on("custom_field_slow", polls=12)
    bare.change("sync", patience="0s")
    ran = bare("provision")
    assert (ran.status, "again" in ran.err) == (4, True)
    made = added(bare)
    bare.sandbox.workbooks.faults.clear()
    bare.change("sync", patience="20s")
    assert bare("provision").status == 0
    assert added(bare) == made


def test_only_configured_fields_are_made_and_columns_that_differ_are_written_into_the_config_with_its_comments(
    bare: Setup,
) -> None:
    bare.change("workbooks", fields={"sequence_state": "cf_person_other"})
    text = bare.config_path.read_text().replace("workbooks:\n", "workbooks:  # the target\n")
    bare.config_path.write_text(text)
    assert "sequence_state: cf_person_sequence_state" in bare("provision").out
    bare("provision", "--dry-run", "--write")
    assert sorted(one["title"] for one in records(bare, CUSTOM_FIELD)) == ["Sequence State", "State Updated at"]
    assert bare.config_path.read_text() == text
    changed = bare.document("provision", "--write")
    assert changed["config_changes"] == {"workbooks.fields.sequence_state": "cf_person_sequence_state"}
    assert (changed["config_written"], bare.config_path.stat().st_mode & 0o777) == (True, 0o600)
    written = bare.config_path.read_text()
    assert "# the target" in written
    assert yaml.safe_load(written)["workbooks"]["fields"]["sequence_state"] == "cf_person_sequence_state"
    assert bare.document("provision")["config_changes"] == {}


def test_the_field_of_the_vendors_integration_is_proposed_and_none_is_made_beside_it(empty: Setup) -> None:
    empty.change("workbooks", fields={})
    before = added(empty)
    shown = empty.document("provision", "--dry-run")
    assert shown["config_changes"] == {"workbooks.fields.outreach_id": "cf_person_outreach_id"}
    assert "propose" in {step["action"] for step in shown["steps"]}
    assert empty.document("provision")["config_written"] is False
    assert "vendor's own integration" in empty("provision").out
    assert added(empty) == before


@pytest.mark.parametrize(
    ("fault", "options", "status", "said"),
    [
        *(
            ("no_permission_to_create", {"class": kind}, 3, "administrator")
            for kind in (PICKLIST, PICKLIST_ENTRY, CUSTOM_FIELD)
        ),
        ("datetime_word", {"word": "date_time"}, 2, "--datetime-type"),
        ("custom_datetime_is_date", {}, 0, "days"),
    ],
)
def test_what_workbooks_does_otherwise_is_told_and_another_word_for_the_type_is_then_taken(
    bare: Setup, fault: str, options: dict[str, Any], status: int, said: str
) -> None:
    bare.sandbox.workbooks.faults.on(fault, **options)
    ran = bare("provision")
    assert (ran.status, said in ran.everything) == (status, True)
    if fault == "datetime_word":
        assert bare("provision", "--datetime-type", "date_time").status == 0
        assert len(records(bare, CUSTOM_FIELD)) == 4


def test_several_picklists_of_the_name_are_not_guessed_between(bare: Setup) -> None:
    for _ in range(2):
        bare.sandbox.workbooks.store.add(PICKLIST, name="Sequence States")
    ran = bare("provision")
    assert (ran.status, "several picklists" in ran.err) == (2, True)


def test_a_lost_answer_is_no_duplicate_when_run_again(bare: Setup) -> None:
    bare.sandbox.workbooks.faults.on("answer_lost_after_commit", times=1)
    assert bare("provision").status in {0, 4}
    assert bare("provision").status == 0
    assert len([one for one in records(bare, PICKLIST) if one["name"] == "Sequence States"]) == 1
    assert len(records(bare, CUSTOM_FIELD)) == 4
