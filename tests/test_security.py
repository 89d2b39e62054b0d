"""What must not leak, reach anybody else, or be taken for more than text, shown by the program as its users run it."""

from __future__ import annotations

import http.server
import json
import sqlite3
import ssl
import stat
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.serving import make_ssl_devcert

from outreach_sync import cycle
from outreach_sync.cli import run_command
from outreach_sync.connections import Transport
from outreach_sync.http import NotSentError, StopSignal
from outreach_sync.sandbox import Sandbox
from outreach_sync.sandbox.server import HttpServer, Request, Response
from tests.harness import PERSON, Installation, Ran

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Victim(Installation):
    """A config whose secrets come from the environment, from files and from the file itself."""

    def __init__(
        self, directory: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        super().__init__(directory, sandbox, start="all", patience="1s")
        self._capfd = capfd
        monkeypatch.setenv("PLANTED_KEY", self.settings["workbooks"]["api_key"])
        self.settings["workbooks"]["api_key"] = "${PLANTED_KEY}"
        secret_file = directory / "client-secret"
        secret_file.write_text(str(self.settings["outreach"].pop("client_secret")), encoding="utf-8")
        secret_file.chmod(0o600)
        self.settings["outreach"]["client_secret_file"] = str(secret_file)
        self._issued: set[str] = set()
        monkeypatch.setattr(sandbox.outreach.tokens, "_new", self._remembering(sandbox.outreach.tokens._new))

    def _remembering(self, new: Callable[..., Any]) -> Callable[..., Any]:
        def remember(*arguments: Any, **more: Any) -> Any:
            grant = new(*arguments, **more)
            self._issued.add(grant.token)
            return grant

        return remember

    def command(self, *arguments: str) -> list[str]:
        return ["--config", str(self.config_path), "--log-level", "debug", *arguments]

    def says(self, *arguments: str, log_format: str = "json") -> Ran:
        if not self.config_path.exists():
            self.write()
        self._capfd.readouterr()
        status = run_command(self.command("--log-format", log_format, *arguments))
        return Ran(status, *self._capfd.readouterr())

    def secrets(self) -> set[str]:
        """Return everything that must not be seen: what the config holds, and every token that was ever issued."""
        outreach = self.sandbox.outreach
        return {outreach.client_secret, outreach.refresh_token, self.sandbox.workbooks.api_key, *self._issued}

    def written(self) -> dict[str, bytes]:
        """Return what the program wrote to disk, the token file aside, whose purpose it is to hold tokens."""
        files = [path for path in self.directory.rglob("*") if path.is_file()]
        ours = [path for path in files if path.name not in {"config.yaml", "client-secret", "state.db.tokens"}]
        return {path.name: path.read_bytes() for path in ours}


@pytest.fixture
def installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Victim]:
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


def _seen(installation: Victim, text: str | bytes) -> list[str]:
    content = text if isinstance(text, bytes) else text.encode()
    return [secret for secret in installation.secrets() if secret.encode() in content]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_command_says_or_stores_a_secret(installation: Victim, log_format: str) -> None:
    installation.sandbox.outreach.faults.on("token_expired_mid_walk", times=1, after=2)
    for command in COMMANDS:
        said = installation.says(*command, log_format=log_format)
        assert not _seen(installation, said.everything), command
    report = installation.directory / "report.html"
    assert installation.says("report", "--out", str(report)).status == 0
    assert report.name in installation.written()
    found = {name: _seen(installation, content) for name, content in installation.written().items()}
    assert not any(found.values()), found
    assert len(installation.secrets()) > 4, "no token was ever issued: this test shows nothing"


@pytest.mark.parametrize(("service", "fault", "options"), FAULTS, ids=[f"{one[0]} {one[1]}" for one in FAULTS])
def test_no_failure_says_a_secret(installation: Victim, service: str, fault: str, options: dict[str, Any]) -> None:
    installation.settings["outreach"]["page_size"] = 50
    asked = getattr(installation.sandbox, service)
    asked.faults.on(fault, **options)
    said = installation.says("run")
    assert any(fault in entry.faults for entry in asked.journal.entries()), "the fault never struck"
    assert not _seen(installation, said.everything)
    assert "Traceback" not in said.out


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_the_traceback_of_a_bug_shows_no_secret(
    installation: Victim, log_format: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def buggy(run: Any) -> None:
        token = run.source.tokens.current()
        url = f"https://example.com/?api_key={installation.sandbox.workbooks.api_key}"
        raise RuntimeError(f"unexpected answer of {url} to bearer {token}")

    installation.write()
    monkeypatch.setattr(cycle, "pull_streams", buggy)
    status = run_command(installation.command("--log-format", log_format, "run"))
    said = "".join(capfd.readouterr())
    assert status == 70
    assert "RuntimeError" in said
    assert not _seen(installation, said)


def test_a_secret_in_an_answer_is_not_repeated(installation: Victim) -> None:
    text = f"bad key {installation.sandbox.workbooks.api_key} and {installation.sandbox.outreach.client_secret}"
    installation.sandbox.workbooks.faults.on("refuse_all", text=text)
    assert installation.says("run").status == 1
    for command in (("failures", "list"), ("failures", "list", "--json"), ("status", "--json")):
        said = installation.says(*command)
        assert not _seen(installation, said.everything), command
        assert ("bad key" in said.out) is (command[0] == "failures")


def test_only_the_owner_can_read_what_is_kept(installation: Victim) -> None:
    installation.says("run")
    kept = [path for path in installation.state_path.parent.rglob("*") if path.is_file()]
    assert any(path.name.endswith(".tokens") for path in kept)
    open_to_others = [path.name for path in kept if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert not open_to_others


def test_a_literal_secret_that_everybody_can_read_is_warned_about(installation: Victim) -> None:
    installation.settings["workbooks"]["api_key"] = installation.sandbox.workbooks.api_key
    installation.write()
    installation.config_path.chmod(0o644)
    said = installation.says("run")
    assert "chmod 600" in said.err
    assert not _seen(installation, said.everything)


# -- tokens and keys go to the configured hosts only, over verified TLS


@pytest.mark.parametrize(
    ("service", "fault", "option", "more"),
    [
        ("outreach", "next_link_other_host", "host", {}),
        ("outreach", "redirect_elsewhere", "host", {}),
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
    fired = getattr(installation.sandbox, service).journal.entries()
    assert any(fault in entry.faults for entry in fired), "the fault never struck"
    assert not heard


def test_a_config_cannot_switch_the_verification_off(installation: Victim) -> None:
    installation.settings["outreach"]["verify"] = False
    said = installation.says("run")
    assert said.status == 2
    assert "outreach.verify: unknown key" in said.err


@pytest.mark.parametrize(
    ("variable", "value"), [("REQUESTS_CA_BUNDLE", ""), ("CURL_CA_BUNDLE", ""), ("PYTHONHTTPSVERIFY", "0")]
)
def test_no_environment_switches_the_verification_off(
    monkeypatch: pytest.MonkeyPatch, self_signed: str, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    transport = Transport(self_signed, user_agent="test", stop=StopSignal())
    with pytest.raises(NotSentError, match="certificate is not trusted"):
        transport.send("GET", f"{self_signed}/", timeout_seconds=5)


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
    commands = (("run", "--dry-run"), ("run",), ("failures", "list"), ("failures", "list", "--json"), ("status",))
    for command in commands:
        said = hostile.says(*command, log_format=log_format)
        _assert_harmless(said.everything.replace("\x1b[0m", "") if log_format == "console" else said.everything)
        if log_format == "json":
            events = [json.loads(line) for line in said.err.splitlines() if not line.startswith("outreach-sync:")]
            assert all("event" in event for event in events)


def _assert_harmless(text: str) -> None:
    assert "\x1b[2J" not in text
    assert "\x1b]" not in text
    assert not set("\x07\r\u202e") & set(text)
    assert '"event": "forged"' not in [line[:17] for line in text.splitlines()]
    assert not any(line.startswith('{"event": "forged"') for line in text.splitlines())


def test_hostile_text_changes_no_statement(hostile: Any) -> None:
    assert hostile.says("run", "--json").status == 1
    with closing(sqlite3.connect(hostile.state_path)) as state:
        stored = {name for (name,) in state.execute("SELECT first_name FROM prospect")}
        assert state.execute("SELECT count(*) FROM person").fetchone()[0] > 0
    assert set(HOSTILE) <= stored
    people = hostile.sandbox.workbooks.store.all(PERSON)
    names = {row["person_first_name"] for row in people}
    assert {HOSTILE[0], HOSTILE[5]} <= names
