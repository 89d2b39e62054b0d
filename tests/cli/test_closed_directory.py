"""A directory that this user may not enter. The tests may run as root, whom nothing keeps out: so `stat` says it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from outreach_sync.config import find_config
from outreach_sync.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def close(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Have nobody see what is in a directory."""
    stat = Path.stat

    def close(directory: Path) -> None:
        def refuse(path: Path, **options: Any) -> os.stat_result:
            if directory in path.absolute().parents:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return stat(path, **options)

        monkeypatch.setattr(Path, "stat", refuse)

    return close


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",), ("failures", "list"), ("failures", "retry"), ("run", "--dry-run"), ("state", "verify"),
        ("state", "backup"), ("explain", "--prospect", "1"), ("report", "--out", "-"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_state_whose_directory_cannot_be_entered_is_no_bug(
    arguments: tuple[str, ...], empty: Any, close: Callable[[Path], None]
) -> None:
    empty.state_path.parent.mkdir()
    close(empty.state_path.parent)
    ran = empty(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert "cannot be used: Permission denied" in ran.err


def test_check_goes_on_where_the_state_cannot_be_looked_at(empty: Any, close: Callable[[Path], None]) -> None:
    empty.state_path.parent.mkdir()
    close(empty.state_path.parent)
    ran = empty("check")
    assert (ran.status, "FAIL  state: " in ran.out, "a bug" in ran.err) == (2, True, False)
    assert "cannot be used: Permission denied" in ran.out


@pytest.mark.parametrize("words", [("state", "backup"), ("init", "--defaults")], ids=" ".join)
def test_nothing_is_written_where_nobody_can_say_whether_it_is_there(
    words: tuple[str, ...], empty: Any, tmp_path: Path, close: Callable[[Path], None]
) -> None:
    empty("run")
    (tmp_path / "vault").mkdir()
    close(tmp_path / "vault")
    ran = empty(*words, str(tmp_path / "vault" / "new"))
    assert (ran.status, "new cannot be written: Permission denied" in ran.err) == (2, True)


def test_a_named_config_that_cannot_be_looked_at_is_said(tmp_path: Path, close: Callable[[Path], None]) -> None:
    close(tmp_path)
    with pytest.raises(ConfigError, match="cannot be used: Permission denied"):
        find_config(tmp_path / "config.yaml")


def test_a_home_that_cannot_be_entered_does_not_hide_the_config_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, close: Callable[[Path], None]
) -> None:
    """Cron jobs often keep the HOME of root."""
    (tmp_path / "home").mkdir()
    system = tmp_path / "system.yaml"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("outreach_sync.config._SYSTEM", system)
    close(tmp_path / "home")
    with pytest.raises(ConfigError, match="cannot be used: Permission denied"):
        find_config()
    system.touch()
    assert find_config() == system
