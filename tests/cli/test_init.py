from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from outreach_sync.cli import setup
from outreach_sync.config import load_config

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_it_writes_a_private_config_that_is_right_as_it_is_and_says_what_is_next(tmp_path: Path, command: Any) -> None:
    path = tmp_path / "new" / "place.yaml"
    ran = command("init", str(path))
    assert (ran.status, path.stat().st_mode & 0o777) == (0, 0o600)
    assert load_config(path, require_secrets=False).sync.max_attempts == 10
    assert f"outreach-sync -c {path} auth login" in ran.out


def test_the_default_place_is_one_where_it_is_found(
    tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "  4. outreach-sync check" in command("init").out
    assert (tmp_path / "config" / "outreach-sync.yaml").exists()


def test_a_file_that_is_there_is_left_alone_unless_forced(tmp_path: Path, command: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("precious")
    path.chmod(0o644)
    ran = command("init", str(path))
    assert (ran.status, path.read_text()) == (2, "precious")
    assert "--force" in ran.err
    assert command("init", str(path), "--force").status == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_file_that_appears_while_it_asks_is_left_alone(
    tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"

    def asked(_answers: Any) -> str:
        path.write_text("precious")
        return "ours"

    monkeypatch.setattr(setup, "starter_config", asked)
    ran = command("init", str(path))
    assert (ran.status, path.read_text()) == (2, "precious")
    assert "exists already; it was left as it is" in ran.err
    assert list(tmp_path.iterdir()) == [path]


def test_on_a_terminal_it_asks_again_until_answers_make_sense_and_writes_them(tmp_path: Path, on_terminal: Any) -> None:
    path = tmp_path / "asked.yaml"
    typed = "http://plain.example\nhttps://example-live.workbooks.com\n\nyesterday\nall\nskip\n\n"
    assert on_terminal("init", str(path), typed=typed).status == 0
    document = yaml.safe_load(path.read_text())
    assert document["workbooks"]["base_url"] == "https://example-live.workbooks.com"
    assert document["outreach"]["redirect_uri"] == "https://localhost:8484/callback"
    assert (document["sync"]["start"], document["sync"]["people"]["when_missing"]) == ("all", "skip")
    assert load_config(path, require_secrets=False).schedule.every_ms == 600_000


def test_with_defaults_it_asks_nothing_on_a_terminal_either(tmp_path: Path, on_terminal: Any) -> None:
    assert on_terminal("init", str(tmp_path / "plain.yaml"), "--defaults").status == 0
    assert (tmp_path / "plain.yaml").exists()


def test_a_dash_is_stdout_and_no_file_of_that_name(
    tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = command("init", "-")
    assert (ran.status, ran.err) == (0, "")
    assert yaml.safe_load(ran.out)["sync"]["max_attempts"] == 10
    assert list(tmp_path.iterdir()) == []
