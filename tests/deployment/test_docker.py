from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from outreach_sync.cli import COMMANDS
from outreach_sync.config import load_config

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
