import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from outreach_sync.cli import COMMANDS
from outreach_sync.config import load_config
from outreach_sync.config.model import checked_cron

CONFIG = Path(__file__).parents[2] / "config"


def programs(directory: Path, **scripts: str) -> None:
    """Put programs of these names where they are found first."""
    for name, script in scripts.items():
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)


# -- containers

PLACE = CONFIG / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((PLACE / "compose.yaml").read_text(encoding="utf-8"))
INSTRUCTIONS = [one.split(maxsplit=1) for one in (PLACE / "Dockerfile").read_text().split("\n") if one[:1].isalpha()]


def test_the_image_copies_what_exists_its_user_may_write_the_state_alone_and_it_has_time_to_stop() -> None:
    copied = [words.split() for name, words in INSTRUCTIONS if name == "COPY" and "--from" not in words]
    sources = [source for words in copied for source in words[:-1]]
    allowed = (PLACE / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert sources
    assert all((PLACE.parents[1] / source).exists() and f"!{source}" in allowed for source in sources)
    assert ["USER", "10001"] in INSTRUCTIONS
    health = next(words for name, words in INSTRUCTIONS if name == "HEALTHCHECK")
    assert '"status", "--check"' in health
    service = COMPOSE["services"]["outreach-sync"]
    limits = {"read_only": True, "cap_drop": ["ALL"], "volumes": ["state:/state"], "stop_grace_period": "45s"}
    assert limits.items() <= service.items()
    assert set(service["secrets"]) == set(COMPOSE["secrets"])


SCHEMA = Path(__file__).parent / "kubernetes-1.33.schema.json"
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all((CONFIG / "kubernetes" / "cronjob.yaml").read_bytes()))
JOBS = [one for one in DOCUMENTS if one["kind"] == "CronJob"]


def pod(job: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return spec


def name(document: dict[str, Any]) -> str:
    return f"{document['kind']} {document['metadata']['name']}"


@pytest.mark.parametrize("job", JOBS, ids=name)
def test_no_two_runs_are_started_at_once_and_each_has_an_end(job: dict[str, Any]) -> None:
    assert (job["spec"]["concurrencyPolicy"], job["spec"]["timeZone"]) == ("Forbid", "Etc/UTC")
    assert checked_cron(job["spec"]["schedule"])
    spec = job["spec"]["jobTemplate"]["spec"]
    ignored = {str(rule.get("onExitCodes", rule.get("onPodConditions"))) for rule in spec["podFailurePolicy"]["rules"]}
    assert any("[5, 143]" in one for one in ignored), "a held lock and a run that was stopped have not failed"
    assert any("DisruptionTarget" in one for one in ignored)
    assert spec["activeDeadlineSeconds"] > 0
    assert (pod(job)["restartPolicy"], pod(job)["terminationGracePeriodSeconds"] > 30) == ("Never", True)


def test_the_pods_share_the_state_and_the_config_and_may_do_nothing_but_their_work() -> None:
    first, second = ({**pod(job), "containers": None} for job in JOBS)
    assert first == second
    assert [pod(job)["containers"][0]["args"] for job in JOBS] == [["run"], ["reconcile"]]
    assert first["securityContext"]["runAsNonRoot"] is True
    assert first["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert first["automountServiceAccountToken"] is False
    volumes = {volume["name"]: volume for volume in first["volumes"]}
    for job in JOBS:
        (container,) = pod(job)["containers"]
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "env" not in container  # secrets are files, which no `kubectl describe` shows
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    objects = {name(one) for one in DOCUMENTS}
    assert f"ConfigMap {volumes['config']['configMap']['name']}" in objects
    assert f"PersistentVolumeClaim {volumes['state']['persistentVolumeClaim']['claimName']}" in objects
    assert volumes["secrets"]["secret"]["defaultMode"] == 0o440


def test_the_configs_of_containers_are_ones_that_the_program_takes_with_the_state_on_its_volume(tmp_path: Path) -> None:
    for secret in COMPOSE["secrets"]:
        (tmp_path / secret).write_text("a-secret")
    (mount,) = (one for one in pod(JOBS[0])["containers"][0]["volumeMounts"] if one["name"] == "state")
    (config_map,) = (one["data"] for one in DOCUMENTS if one["kind"] == "ConfigMap")
    for text, secrets, state in (
        (COMPOSE["configs"]["outreach-sync"]["content"], "/run/secrets", "/state"),
        (config_map["config.yaml"], "/run/secrets/outreach-sync", mount["mountPath"]),
    ):
        path = tmp_path / "config.yaml"
        path.write_text(text.replace(secrets, str(tmp_path)))
        assert load_config(path).state.path.parent == Path(state)


def test_each_object_is_one_that_kubernetes_knows_with_no_unknown_key() -> None:
    """By the published schema of Kubernetes 1.33, strict: what these kinds need of it, without its descriptions."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    for document in DOCUMENTS:
        group = "batch" if document["apiVersion"] == "batch/v1" else "core"
        jsonschema.validate(document, {**schema, "$ref": f"#/$defs/io.k8s.api.{group}.v1.{document['kind']}"})


# -- cron


CRONTAB = CONFIG.parent / "cron.example"
VARIABLE = re.compile(r"([A-Z_]+)=(.*)")


def parsed() -> tuple[dict[str, str], list[str]]:
    """Read the table as cron does: comments, settings, five times and a command in which ``%`` ends it."""
    settings, jobs = {}, []
    lines = CRONTAB.read_text(encoding="utf-8").splitlines()
    for line in (one for one in lines if one.strip() and not one.startswith("#")):
        if setting := VARIABLE.fullmatch(line):
            settings[setting[1]] = setting[2]
            continue
        *times, command = line.split(maxsplit=5)
        assert not re.search(r"(?<!\\)%", command), "cron would take this for the end of the command"
        assert checked_cron(" ".join(times))
        jobs.append(command.replace("\\%", "%"))
    return settings, jobs


def run_of(job: str, directory: Path, status: int) -> str:
    """Run a job as cron would, with a program that ends as told; return what would be mailed."""
    programs(directory, **{"outreach-sync": f'echo "$@" >> {directory}/calls\nexit {status}', "sleep": ""})
    environment = {"PATH": f"{directory}:{os.environ['PATH']}", "LOG": str(directory / "log")}
    done = subprocess.run(["bash", "-c", job], env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_there_is_a_cycle_and_a_reconcile_every_word_is_a_command_and_the_log_is_rotated() -> None:
    settings, jobs = parsed()
    assert {"MAILTO", "SHELL", "PATH", "OUTREACH_SYNC_CONFIG", "LOG"} <= set(settings), "which cron does not give a job"
    assert settings["SHELL"] == "/bin/bash"
    words = [re.findall(r"outreach-sync --log-format json (\w+)", job) for job in jobs]
    assert words == [["run"], ["reconcile"]]
    assert {"run", "reconcile", "failures"} <= set(COMMANDS)
    rules = (CONFIG / "logrotate.conf").read_text(encoding="utf-8")
    assert str(Path(settings["LOG"]).parent) in rules
    first, *lines, last = [line.strip() for line in rules.splitlines() if not line.startswith("#")]
    assert (first[-1], last) == ("{", "}")
    assert all(len(line.split()) <= 3 and "{" not in line for line in lines)


@pytest.mark.parametrize(
    ("status", "mail"),
    [(0, ""), (5, ""), (143, ""), (1, "some records are refused"), (3, "ended with 3"), (2, "ended with 2")],
)
def test_a_mail_says_what_is_needed_and_none_is_sent_where_nothing_is(tmp_path: Path, status: int, mail: str) -> None:
    mailed = run_of(parsed()[1][0], tmp_path, status)
    assert mail in mailed
    assert bool(mailed) is bool(mail)


def test_a_log_that_cannot_be_written_is_mailed_and_nothing_runs(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    for job in parsed()[1]:
        mail = run_of(job, tmp_path, 0)
        assert ("log" in mail, "refused" in mail or "ended with" in mail) == (True, False)
    assert not (tmp_path / "calls").exists()


def test_a_reconcile_waits_for_a_cycle_and_complains_only_at_last(tmp_path: Path) -> None:
    reconcile = parsed()[1][1]
    assert not run_of(reconcile, tmp_path, 0)
    assert len((tmp_path / "calls").read_text().splitlines()) == 1
    assert "ended with 5" in run_of(reconcile, tmp_path, 5)
    assert len((tmp_path / "calls").read_text().splitlines()) == 1 + 10


# -- systemd


UNITS = CONFIG / "systemd"
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


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    """Verified with a program that exists, and with the template as one of its instances."""
    for unit in (*SERVICES, *TIMERS):
        text = unit.read_text(encoding="utf-8").replace("/usr/local/bin/outreach-sync", sys.executable)
        (tmp_path / unit.name.replace("@.", "@acme.")).write_text(text, encoding="utf-8")
    units = sorted(map(str, tmp_path.iterdir()))
    words = ["systemd-analyze", "verify", "--man=no", *units]
    found = subprocess.run(words, capture_output=True, text=True, check=False).stderr.splitlines()
    assert [line for line in found if "outreach-sync" in line or str(tmp_path) in line] == []


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_each_service_runs_a_command_that_exists_hardened_and_may_write_its_state_only(unit: Path) -> None:
    service, place = read(unit)["Service"], "outreach-sync/%i" if "@" in unit.name else "outreach-sync"
    limits = {"ProtectSystem": "strict", "CapabilityBoundingSet": "", "User": "outreach-sync", "StateDirectory": place}
    limits["TimeoutStopSec"] = "45s"  # more than the thirty seconds a run may take
    ends = {"SuccessExitStatus": "5 143", "TimeoutStartSec": "6h"}  # a stop is no failure, nor is a lock that is held
    if "reconcile" in unit.name:  # it waits for the lock, and is not started again for anything else
        ends = {"SuccessExitStatus": "143", "TimeoutStartSec": "12h", "RestartPreventExitStatus": "1 2 3 4 6 70"}
        ends["Restart"] = "on-failure"
    wanted = {**dict.fromkeys(HARDENING, "yes"), **limits, **({} if "schedule" in unit.name else ends)}
    assert {key: service[key] for key in wanted} == {key: [value] for key, value in wanted.items()}
    words = service["ExecStart"][0].split()
    assert (words[2], words[-1] in COMMANDS) == (f"/etc/{place}/config.yaml", True)


def test_each_timer_has_its_service_and_makes_up_for_what_was_missed_and_the_scheduler_reports_to_systemd() -> None:
    assert len(TIMERS) > 1
    for unit in TIMERS:
        timer = read(unit)["Timer"]
        assert (unit.with_suffix(".service") in SERVICES, timer["Persistent"]) == (True, ["yes"])
        assert timer["RandomizedDelaySec"]
    service = read(UNITS / "outreach-sync-schedule.service")["Service"]
    assert (service["Type"], service["WatchdogSec"]) == (["notify"], ["2min"])
    first, second = service["ExecReload"]
    assert first.split()[:3] == service["ExecStart"][0].split()[:3]
    assert "-HUP" in second


@pytest.mark.parametrize(("tenant", "place"), [((), "outreach-sync"), (("--tenant", "acme"), "outreach-sync/acme")])
def test_a_command_by_hand_gets_what_the_unit_has(tmp_path: Path, tenant: tuple[str, ...], place: str) -> None:
    programs(tmp_path, **{"systemd-run": 'printf "%s\\n" "$@"', "id": "echo 0"})
    wrapper = [str(UNITS / "outreach-sync-as-service"), *tenant, "failures", "list"]
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    words = subprocess.run(wrapper, env=path, capture_output=True, text=True, check=True).stdout.split()
    unit = read(UNITS / ("outreach-sync@.service" if tenant else "outreach-sync.service"))["Service"]
    assert f"--uid={unit['User'][0]}" in words
    given = {key: unit[key] for key in ("LoadCredential", "StateDirectory", "StateDirectoryMode", "UMask")}
    wanted = {f"--property={key}={one.replace('%i', 'acme')}" for key, values in given.items() for one in values}
    assert wanted <= set(words)
    assert words[-5:] == ["/usr/local/bin/outreach-sync", "--config", f"/etc/{place}/config.yaml", "failures", "list"]


MADE = {  # by what a page says to do as root, apart from what it could not do without
    "docs/how-to.md": "etc/sysusers.d etc/outreach-sync/credentials etc/outreach-sync/acme/credentials",
    "config/systemd/outreach-sync.service": "etc/outreach-sync/credentials etc/sysusers.d/outreach-sync.conf",
    "cron.example": "user var/lib/outreach-sync var/log/outreach-sync etc/logrotate.d/outreach-sync",
}


@pytest.mark.parametrize("page", MADE)
def test_the_steps_of_an_installation_work_on_a_bare_machine(tmp_path: Path, page: str) -> None:
    for directory in ("etc/systemd/system", "usr/local/sbin"):
        (tmp_path / directory).mkdir(parents=True)
    programs(tmp_path, **{"useradd": f"touch {tmp_path}/user", "systemctl": "", "systemd-sysusers": ""})
    text = (CONFIG.parent / page).read_text(encoding="utf-8").replace("-o outreach-sync -g outreach-sync ", "")
    steps = "\n".join(re.findall(r"^# +((?:install|cp|useradd) .*)", text, re.MULTILINE))
    script = re.sub(r"(?<= )/(?=etc|usr|var)", f"{tmp_path}/", steps)
    place = UNITS if page.startswith("config") else CONFIG.parent
    subprocess.run(["bash", "-euc", script], cwd=place, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True)
    assert [one for one in MADE[page].split() if not (tmp_path / one).exists()] == []


def test_the_config_takes_the_credentials_of_the_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = [value.partition(":")[0] for value in read(SERVICES[0])["Service"]["LoadCredential"]]
    for credential in credentials:
        (tmp_path / credential).write_text(f"secret-of-{credential}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    config = load_config(UNITS / "outreach-sync.yaml")
    assert config.workbooks.api_key.get_secret_value() == "secret-of-workbooks_api_key"
    assert config.state.path == tmp_path / "state" / "state.db"
