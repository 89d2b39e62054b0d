from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from outreach_sync.cli import COMMANDS
from outreach_sync.config import load_config
from outreach_sync.config.model import checked_cron

PLACE = Path(__file__).parents[2] / "config" / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((PLACE / "compose.yaml").read_text(encoding="utf-8"))
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in (PLACE / "Dockerfile").read_text(encoding="utf-8").splitlines()
    if line[:1].isalpha()
]


def test_the_image_copies_what_exists_and_runs_as_an_unprivileged_user() -> None:
    copied = [words.split() for name, words in INSTRUCTIONS if name == "COPY" and "--from" not in words]
    sources = [source for words in copied for source in words[:-1]]
    allowed = (PLACE / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert all((PLACE.parents[1] / source).exists() and f"!{source}" in allowed for source in sources)
    assert ["USER", "10001"] in INSTRUCTIONS
    health = next(words for name, words in INSTRUCTIONS if name == "HEALTHCHECK")
    assert '"status", "--check"' in health
    assert "status" in COMMANDS


def test_the_service_may_write_its_state_alone_and_is_given_time_to_stop() -> None:
    service = COMPOSE["services"]["outreach-sync"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["volumes"] == ["state:/state"]
    assert service["stop_grace_period"] == "45s"
    assert set(service["secrets"]) == set(COMPOSE["secrets"])


def test_the_config_is_one_that_the_program_takes(tmp_path: Path) -> None:
    for secret in COMPOSE["secrets"]:
        (tmp_path / secret).write_text("a-secret")
    path = tmp_path / "config.yaml"
    path.write_text(COMPOSE["configs"]["outreach-sync"]["content"].replace("/run/secrets", str(tmp_path)))
    assert load_config(path).state.path == Path("/state/state.db")


MANIFEST = Path(__file__).parents[2] / "config" / "kubernetes" / "cronjob.yaml"
SCHEMA = Path(__file__).parent / "kubernetes-1.33.schema.json"
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8")))
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


@pytest.mark.parametrize("job", JOBS, ids=name)
def test_the_pod_may_do_nothing_but_its_work(job: dict[str, Any]) -> None:
    assert pod(job)["securityContext"]["runAsNonRoot"] is True
    assert pod(job)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(job)["automountServiceAccountToken"] is False
    (container,) = pod(job)["containers"]
    context = container["securityContext"]
    assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert container["args"][0] in COMMANDS
    assert "env" not in container  # secrets are files, which no `kubectl describe` shows
    volumes = {volume["name"]: volume for volume in pod(job)["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    objects = {(one["kind"], one["metadata"]["name"]) for one in DOCUMENTS}
    assert ("ConfigMap", volumes["config"]["configMap"]["name"]) in objects
    assert ("PersistentVolumeClaim", volumes["state"]["persistentVolumeClaim"]["claimName"]) in objects
    assert volumes["secrets"]["secret"]["defaultMode"] == 0o440


def test_both_jobs_share_the_state_and_the_config() -> None:
    assert [pod(job)["containers"][0]["args"] for job in JOBS] == [["run"], ["reconcile"]]
    first, second = ({**pod(job), "containers": None} for job in JOBS)
    assert first == second


def test_the_config_map_is_a_config_that_the_program_takes(tmp_path: Path) -> None:
    text = next(one for one in DOCUMENTS if one["kind"] == "ConfigMap")["data"]["config.yaml"]
    for secret in ("outreach_client_secret", "workbooks_api_key"):
        (tmp_path / secret).write_text("a-secret")
    path = tmp_path / "config.yaml"
    path.write_text(text.replace("/run/secrets/outreach-sync", str(tmp_path)))
    config = load_config(path)
    mounts = pod(JOBS[0])["containers"][0]["volumeMounts"]
    state = next(mount["mountPath"] for mount in mounts if mount["name"] == "state")
    assert config.state.path.parent == Path(state)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_each_object_is_one_that_kubernetes_knows_with_no_unknown_key(document: dict[str, Any]) -> None:
    """By the published schema of Kubernetes 1.33, strict: what these kinds need of it, without its descriptions."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    group = "batch" if document["apiVersion"] == "batch/v1" else "core"
    kind = f"io.k8s.api.{group}.v1.{document['kind']}"
    jsonschema.validate(document, {**schema, "$ref": f"#/$defs/{kind}"})
