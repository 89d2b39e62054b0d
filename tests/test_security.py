"""What must not leak, reach anybody else, or be taken for more than text, shown by the program as its users run it."""

import http.server
import json
import sqlite3
import ssl
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from werkzeug.serving import make_ssl_devcert

from outreach_sync import cycle
from outreach_sync.cli import run_command
from outreach_sync.connections import Transport
from outreach_sync.http import NotSentError, StopSignal
from outreach_sync.sandbox import Sandbox
from outreach_sync.sandbox.server import HttpServer, Request, Response
from tests.harness import PERSON, Installation, Ran


class Victim(Installation):
    """A config whose secrets come from the environment, from files and from the file itself."""

    def __init__(self, directory: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
        super().__init__(directory, sandbox, start="all", patience="1s")
        self._capfd = capfd
        monkeypatch.setenv("PLANTED_KEY", self.settings["workbooks"]["api_key"])
        self.settings["workbooks"]["api_key"] = "${PLANTED_KEY}"
        secret_file = directory / "client-secret"
        secret_file.write_text(str(self.settings["outreach"].pop("client_secret")), encoding="utf-8")
        secret_file.chmod(0o600)
        self.settings["outreach"]["client_secret_file"] = str(secret_file)
        issued, new = set(), sandbox.outreach.tokens._new

        def remember(*arguments: Any, **more: Any) -> Any:
            grant = new(*arguments, **more)
            issued.add(grant.token)
            return grant

        monkeypatch.setattr(sandbox.outreach.tokens, "_new", remember)
        self._issued = issued

    def says(self, *arguments: str, log_format: str = "json") -> Ran:
        if not self.config_path.exists():
            self.write()
        self._capfd.readouterr()
        asked = ["--config", str(self.config_path), "--log-level", "debug", "--log-format", log_format, *arguments]
        return Ran(run_command(asked), *self._capfd.readouterr())

    def secrets(self) -> set[str]:
        """Return everything that must not be seen: what the config holds, and every token that was ever issued."""
        outreach = self.sandbox.outreach
        return {outreach.client_secret, outreach.refresh_token, self.sandbox.workbooks.api_key, *self._issued}

    def written(self) -> dict[str, bytes]:
        """Return what the program wrote to disk, the token file aside, whose purpose it is to hold tokens."""
        files = {path.name: path for path in self.directory.rglob("*") if path.is_file()}
        theirs = {"config.yaml", "client-secret", "state.db.tokens"}
        return {name: path.read_bytes() for name, path in files.items() if name not in theirs}

    def seen(self, text: str | bytes) -> list[str]:
        """Return the secrets that a text holds."""
        content = text if isinstance(text, bytes) else text.encode()
        return [secret for secret in self.secrets() if secret.encode() in content]

    def struck(self, service: str, fault: str) -> bool:
        return any(fault in entry.faults for entry in getattr(self.sandbox, service).journal.entries())


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Iterator[Victim]:
    with Sandbox() as sandbox:
        sandbox.load_example()
        yield Victim(tmp_path, sandbox, monkeypatch, capfd)


@pytest.fixture
def elsewhere() -> Iterator[tuple[list[Request], str]]:
    """A server of somebody else's: what reaches it, and its address."""
    heard: list[Request] = []

    def respond(request: Request) -> Response:
        heard.append(request)
        return Response(200, {"Content-Type": "application/json"}, b'{"success":true,"data":[]}')

    with HttpServer(respond) as server:
        yield heard, server.url


# -- no secret is written anywhere but where it belongs


COMMANDS = (
    ("run", "--dry-run"), ("run", "--json"), ("run",), ("reconcile",), ("check", "--json"), ("check",),
    ("status",), ("failures", "list"), ("auth", "status"), ("probe-skips",),
)  # fmt: skip
FAULTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("outreach", "token_expired_mid_walk", {}), ("outreach", "refresh_revoked", {}),
    ("outreach", "html_with_200", {}), ("outreach", "redirect_elsewhere", {}),
    ("outreach", "next_link_other_host", {}), ("outreach", "scope_missing", {}),
    ("workbooks", "key_refused", {}), ("workbooks", "redirect_302", {}), ("workbooks", "refuse_all", {}),
    ("workbooks", "reset_before_answer", {}),
)  # fmt: skip


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_command_says_or_stores_a_secret(installation: Victim, log_format: str) -> None:
    installation.sandbox.outreach.faults.on("token_expired_mid_walk", times=1, after=2)
    for command in COMMANDS:
        said = installation.says(*command, log_format=log_format)
        assert not installation.seen(said.everything), command
    report = installation.directory / "report.html"
    assert installation.says("report", "--out", str(report)).status == 0
    assert report.name in installation.written()
    found = {name: installation.seen(content) for name, content in installation.written().items()}
    assert not any(found.values()), found
    assert len(installation.secrets()) > 4, "no token was ever issued: this test shows nothing"


@pytest.mark.parametrize(("service", "fault", "options"), FAULTS, ids=[f"{one[0]} {one[1]}" for one in FAULTS])
def test_no_failure_says_a_secret(installation: Victim, service: str, fault: str, options: dict[str, Any]) -> None:
    installation.settings["outreach"]["page_size"] = 50
    getattr(installation.sandbox, service).faults.on(fault, **options)
    said = installation.says("run")
    assert installation.struck(service, fault)
    assert not installation.seen(said.everything)
    assert "Traceback" not in said.out


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_the_traceback_of_a_bug_shows_no_secret(installation: Victim, log_format: str, monkeypatch: Any) -> None:
    def buggy(run: Any) -> None:
        url = f"https://example.com/?api_key={installation.sandbox.workbooks.api_key}"
        raise RuntimeError(f"unexpected answer of {url} to bearer {run.source.tokens.current()}")

    monkeypatch.setattr(cycle, "pull_streams", buggy)
    said = installation.says("run", log_format=log_format)
    assert (said.status, "RuntimeError" in said.everything, installation.seen(said.everything)) == (70, True, [])


def test_a_secret_in_an_answer_is_not_repeated(installation: Victim) -> None:
    text = f"bad key {installation.sandbox.workbooks.api_key} and {installation.sandbox.outreach.client_secret}"
    installation.sandbox.workbooks.faults.on("refuse_all", text=text)
    assert installation.says("run").status == 1
    for command in (("failures", "list"), ("failures", "list", "--json"), ("status", "--json")):
        said = installation.says(*command)
        assert not installation.seen(said.everything), command
        assert ("bad key" in said.out) is (command[0] == "failures")


def test_only_the_owner_can_read_what_is_kept_and_a_readable_config_is_warned_about(installation: Victim) -> None:
    installation.settings["workbooks"]["api_key"] = installation.sandbox.workbooks.api_key
    installation.write()
    installation.config_path.chmod(0o644)
    with mock.patch("outreach_sync.cli.ui.root_among_others", return_value="and this is root"):
        said = installation.says("run")
    warned = [part in said.err for part in ("chmod 600", "and this is root")]
    assert (warned, installation.seen(said.everything)) == ([True, True], [])
    kept = [path for path in installation.state_path.parent.rglob("*") if path.is_file()]
    assert any(path.name.endswith(".tokens") for path in kept)
    assert not [path.name for path in kept if stat.S_IMODE(path.stat().st_mode) & 0o077]


# -- tokens and keys go to the configured hosts only, over verified TLS


@pytest.mark.parametrize(
    ("service", "fault", "option", "more"),
    [
        *(("outreach", "next_link_other_host", "host", {}), ("outreach", "redirect_elsewhere", "host", {})),
        ("workbooks", "redirect_302", "location", {}),
        ("workbooks", "redirect_302", "location", {"committed": True, "kind": "write"}),
    ],
)
def test_nobody_else_is_sent_anything(
    installation: Victim, elsewhere: Any, service: str, fault: str, option: str, *, more: Any
) -> None:
    heard, url = elsewhere
    installation.settings["outreach"]["page_size"] = 5
    getattr(installation.sandbox, service).faults.on(fault, **{option: url}, **more)
    installation.says("run")
    assert (installation.struck(service, fault), heard) == (True, [])


def test_neither_the_config_nor_the_environment_switches_the_verification_off(
    installation: Victim, monkeypatch: pytest.MonkeyPatch, self_signed: str
) -> None:
    transport = Transport(self_signed, user_agent="test", stop=StopSignal())
    for variable, value in (("REQUESTS_CA_BUNDLE", ""), ("CURL_CA_BUNDLE", ""), ("PYTHONHTTPSVERIFY", "0")):
        monkeypatch.setenv(variable, value)
        with pytest.raises(NotSentError, match="certificate is not trusted"):
            transport.send("GET", f"{self_signed}/", timeout_seconds=5)
    installation.settings["outreach"]["verify"] = False
    said = installation.says("run")
    assert (said.status, "outreach.verify: unknown key" in said.err) == (2, True)


class Refused(http.server.HTTPServer):
    """A server whose visitors leave during the handshake, as they should."""

    def handle_error(self, *_: Any) -> None: ...


@pytest.fixture
def self_signed(tmp_path: Path) -> Iterator[str]:
    """Serve HTTPS with a certificate that nobody vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_ssl_devcert(str(tmp_path / "server"), host="localhost"))
    server = Refused(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


# -- what people and services write stays text: in logs, terminals and SQL


FORGED = '\n{"event": "forged", "level": "critical"}'
SEQUENCES = "\x1b[2J\x1b]0;owned\x07\r\u202e"
HOSTILE = (
    "Robert'); DROP TABLE person;--", f"Eve{FORGED}", f"Mal{SEQUENCES}lory", "%s {0} ${HOME} {secret}",
    "a\\,b,c:null_value:", "<script>alert(1)</script>",
)  # fmt: skip


@pytest.fixture
def hostile(installation: Victim) -> Any:
    out = installation.sandbox.outreach.store
    for number, text in enumerate(HOSTILE, 1):
        prospect = out.add_prospect(firstName=text, lastName=text, emails=[f"hostile{number}@example.com", text])
        out.add_state(prospect, out.add_sequence(f"{text} {number}"), "active")
        out.add_task(prospect, taskType="sequence_step_email", state="skipped", note=text, action=text)
    out.add_state(out.add_prospect(firstName="Odd", emails=["odd@example.com"]), 1, f"odd{SEQUENCES}{FORGED}")
    installation.sandbox.workbooks.faults.on(
        "refuse_value", field="name", value=f"{HOSTILE[3]} {HOSTILE[3]}", text=f"no{SEQUENCES}{FORGED}"
    )
    installation.settings["workbooks"]["fields"] = {"sequences": "cf_person_sequences"}
    return installation


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_text_forges_a_line_or_steers_a_terminal(hostile: Any, log_format: str) -> None:
    for command in ("run --dry-run", "run", "failures list", "failures list --json", "status"):
        said = hostile.says(*command.split(), log_format=log_format)
        text = said.everything.replace("\x1b[0m", "") if log_format == "console" else said.everything
        assert not [one for one in ("\x1b[2J", "\x1b]", "\x07", "\r", "\u202e") if one in text]
        assert not any(line.startswith('{"event": "forged"') for line in text.splitlines())
        if log_format == "json":
            lines = [line for line in said.err.splitlines() if not line.startswith("outreach-sync:")]
            assert all("event" in json.loads(line) for line in lines)


def test_hostile_text_changes_no_statement(hostile: Any) -> None:
    assert hostile.says("run", "--json").status == 1
    with closing(sqlite3.connect(hostile.state_path)) as state:
        stored = {name for (name,) in state.execute("SELECT first_name FROM prospect")}
        assert state.execute("SELECT count(*) FROM person").fetchone()[0] > 0
    assert set(HOSTILE) <= stored
    assert {HOSTILE[0], HOSTILE[5]} <= {row["person_first_name"] for row in hostile.sandbox.workbooks.store.all(PERSON)}
