from __future__ import annotations

import os
from pathlib import Path

import pytest

from outreach_sync.config import find_config
from outreach_sync.config.locate import default_state_path
from outreach_sync.errors import ConfigError


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """All places but the system's, in their order, each with a config."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("OUTREACH_SYNC_CONFIG", str(tmp_path / "variable.yaml"))
    found = {
        "explicit": tmp_path / "explicit.yaml",
        "variable": tmp_path / "variable.yaml",
        "here": Path("config/outreach-sync.yaml"),
        "user": tmp_path / "xdg/outreach-sync/config.yaml",
    }
    for path in found.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return found


def test_each_place_goes_before_the_next(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_config(places["explicit"]) == places["explicit"]
    assert find_config() == places["variable"]
    monkeypatch.delenv("OUTREACH_SYNC_CONFIG")
    assert find_config() == places["here"]
    places["here"].unlink()
    assert find_config() == places["user"]


def test_a_config_that_is_named_but_missing_is_never_replaced_by_another(
    places: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="--config"):
        find_config(tmp_path / "typo.yaml")
    places["variable"].unlink()
    with pytest.raises(ConfigError, match="OUTREACH_SYNC_CONFIG"):
        find_config()


def test_without_any_the_error_says_where_was_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("outreach_sync.config.locate._SYSTEM", tmp_path / "etc/config.yaml")
    with pytest.raises(ConfigError) as caught:
        find_config()
    for place in ("config/outreach-sync.yaml", f"{tmp_path}/.config/outreach-sync/config.yaml", f"{tmp_path}/etc"):
        assert place in str(caught.value)


def test_the_state_of_root_is_the_systems_and_that_of_others_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_state_path() == Path("/var/lib/outreach-sync/state.db")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_state_path() == tmp_path / ".local/state/outreach-sync/state.db"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert default_state_path() == tmp_path / "xdg/outreach-sync/state.db"
