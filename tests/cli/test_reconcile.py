from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from outreach_sync.cli import run_command

if TYPE_CHECKING:
    import pytest


def test_reconcile_prints_one_document_and_ends_as_a_run_does(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    world.prospect(email="ada@example.com")
    world.config()
    arguments = ["-c", str(world.directory / "config.yaml"), "reconcile"]
    assert run_command([*arguments, "--dry-run", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["changes"]) == 1
    assert world.people() == []
    assert run_command([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["people"]["created"] == 1
    assert run_command([*arguments, "--allow-bulk"]) == 0
    assert "people: " in capsys.readouterr().out
