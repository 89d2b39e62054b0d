"""No secret is written anywhere but where it belongs."""

from __future__ import annotations

import stat
from typing import Any

import pytest

from outreach_sync import cycle
from outreach_sync.cli import run_command

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


def _seen(installation: Any, text: str | bytes) -> list[str]:
    content = text if isinstance(text, bytes) else text.encode()
    return [secret for secret in installation.secrets() if secret.encode() in content]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_command_says_or_stores_a_secret(installation: Any, log_format: str) -> None:
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
def test_no_failure_says_a_secret(installation: Any, service: str, fault: str, options: dict[str, Any]) -> None:
    getattr(installation.sandbox, service).faults.on(fault, **options)
    said = installation.says("run")
    assert said.status
    assert not _seen(installation, said.everything)
    assert "Traceback" not in said.out


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_the_traceback_of_a_bug_shows_no_secret(
    installation: Any, log_format: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
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


def test_a_secret_in_an_answer_is_not_repeated(installation: Any) -> None:
    text = f"bad key {installation.sandbox.workbooks.api_key} and {installation.sandbox.outreach.client_secret}"
    installation.sandbox.workbooks.faults.on("refuse_all", text=text)
    assert installation.says("run").status == 1
    for command in (("failures", "list"), ("failures", "list", "--json"), ("status", "--json")):
        assert not _seen(installation, installation.says(*command).everything), command


def test_only_the_owner_can_read_what_is_kept(installation: Any) -> None:
    installation.says("run")
    kept = [path for path in installation.state_path.parent.rglob("*") if path.is_file()]
    assert any(path.name.endswith(".tokens") for path in kept)
    open_to_others = [path.name for path in kept if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert not open_to_others


def test_a_literal_secret_that_everybody_can_read_is_warned_about(installation: Any) -> None:
    installation.settings["workbooks"]["api_key"] = installation.sandbox.workbooks.api_key
    installation.write()
    installation.config_path.chmod(0o644)
    said = installation.says("run")
    assert "chmod 600" in said.err
    assert not _seen(installation, said.everything)


def test_a_mistake_in_the_config_does_not_show_the_secret_beside_it(installation: Any) -> None:
    installation.settings["workbooks"]["api_keyy"] = installation.sandbox.workbooks.api_key
    installation.settings["outreach"]["refresh_token"] = [installation.sandbox.outreach.refresh_token]
    said = installation.says("check")
    assert (said.status, "api_keyy: unknown key" in said.out) == (2, True)
    assert not _seen(installation, said.everything)
