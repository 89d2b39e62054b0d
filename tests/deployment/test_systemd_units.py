from __future__ import annotations

import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from outreach_sync.cli import COMMANDS
from outreach_sync.config import load_config
from outreach_sync.errors import ConfigError

UNITS = Path(__file__).parents[2] / "config" / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
TIMERS = sorted(UNITS.glob("*.timer"))
HARDENING = ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictNamespaces", "LockPersonality")


def read(unit: Path) -> dict[str, dict[str, list[str]]]:
    """Read a unit file: section -> key -> values, in order."""
    sections: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    section = ""
    for line in unit.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line.strip() and not line.startswith("#"):
            key, _, value = line.partition("=")
            sections[section][key].append(value)
    return sections


def named(path: Path) -> str:
    return path.name


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    """Verified with a program that exists, and with the template as one of its instances."""
    for unit in (*SERVICES, *TIMERS):
        text = unit.read_text(encoding="utf-8").replace("/usr/local/bin/outreach-sync", sys.executable)
        (tmp_path / unit.name.replace("@.", "@acme.")).write_text(text, encoding="utf-8")
    units = sorted(map(str, tmp_path.iterdir()))
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    ours = [line for line in found.stderr.splitlines() if "outreach-sync" in line or str(tmp_path) in line]
    assert ours == []


@pytest.mark.parametrize("unit", SERVICES, ids=named)
def test_each_service_runs_a_command_that_exists_hardened_and_may_write_its_state_only(unit: Path) -> None:
    service = read(unit)["Service"]
    assert all(service[key] == ["yes"] for key in HARDENING)
    assert service["ProtectSystem"] == ["strict"]
    assert service["CapabilityBoundingSet"] == [""]
    assert service["User"] == ["outreach-sync"]
    place = "outreach-sync/%i" if "@" in unit.name else "outreach-sync"
    assert service["StateDirectory"] == [place]
    words = service["ExecStart"][0].split()
    assert (words[2], words[-1] in COMMANDS) == (f"/etc/{place}/config.yaml", True)
    assert service["TimeoutStopSec"] == ["45s"], "more than the thirty seconds a run may take"
    assert "schedule" in unit.name or "143" in service["SuccessExitStatus"][0].split(), "a stop is no failure"


@pytest.mark.parametrize("unit", TIMERS, ids=named)
def test_each_timer_has_its_service_and_makes_up_for_what_was_missed(unit: Path) -> None:
    assert unit.with_suffix(".service") in SERVICES
    timer = read(unit)["Timer"]
    assert timer["Persistent"] == ["yes"]
    assert timer["RandomizedDelaySec"]


def test_the_scheduler_reports_to_systemd_and_a_reload_reads_the_config_before_it_asks() -> None:
    service = read(UNITS / "outreach-sync-schedule.service")["Service"]
    assert (service["Type"], service["WatchdogSec"]) == (["notify"], ["2min"])
    first, second = service["ExecReload"]
    assert first.split()[:3] == service["ExecStart"][0].split()[:3]
    assert "-HUP" in second


@pytest.mark.parametrize(("tenant", "place"), [((), "outreach-sync"), (("--tenant", "acme"), "outreach-sync/acme")])
def test_a_command_by_hand_gets_the_user_state_and_credentials_of_the_unit(
    tmp_path: Path, tenant: tuple[str, ...], place: str
) -> None:
    (tmp_path / "systemd-run").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "id").write_text("#!/bin/sh\necho 0\n")
    for program in ("systemd-run", "id"):
        (tmp_path / program).chmod(0o755)
    wrapper = [str(UNITS / "outreach-sync-as-service"), *tenant, "failures", "list"]
    words = subprocess.run(
        wrapper, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    ).stdout.split()
    unit = read(UNITS / ("outreach-sync@.service" if tenant else "outreach-sync.service"))["Service"]
    assert f"--property=StateDirectory={place}" in words
    assert f"--uid={unit['User'][0]}" in words
    wanted = {f"--property=LoadCredential={one.replace('%i', 'acme')}" for one in unit["LoadCredential"]}
    assert wanted <= set(words)
    assert words[-5:] == ["/usr/local/bin/outreach-sync", "--config", f"/etc/{place}/config.yaml", "failures", "list"]


def test_the_config_of_a_tenant_never_falls_back_to_the_state_or_credentials_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("CREDENTIALS_DIRECTORY", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="STATE_DIRECTORY"):
        load_config(UNITS / "outreach-sync.yaml")


def test_the_config_takes_its_secrets_from_the_credentials_that_the_units_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = [value.partition(":")[0] for value in read(SERVICES[0])["Service"]["LoadCredential"]]
    for name in credentials:
        (tmp_path / name).write_text(f"secret-of-{name}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    config = load_config(UNITS / "outreach-sync.yaml")
    assert config.workbooks.api_key is not None
    assert config.workbooks.api_key.get_secret_value() == "secret-of-workbooks_api_key"
    assert config.state.path == tmp_path / "state" / "state.db"
