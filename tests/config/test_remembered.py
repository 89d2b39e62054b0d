"""A config that was judged before must come back as it was judged, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from outreach_sync.config import decision_fingerprint, load_config, remembered, settled_config, task_rule_fingerprint
from outreach_sync.errors import ConfigError

Minimal = Callable[..., Path]
MORE = """
sync:
  start: 2026-01-01
  labels: {active: Running}
  tasks: {skipped_when: [{state: [skipped, null]}, {completedAt: {not_after: dueAt}}]}
state: {path: state.db}
"""


@pytest.fixture
def settled(minimal: Minimal, tmp_path: Path) -> Path:
    """A config whose judgement was kept."""
    path = minimal(MORE)
    (tmp_path / "state.db").touch()
    settled_config(path, remember=True)
    return path


def kept(path: Path) -> Path:
    return path.with_name("state.db.config")


def was_judged_anew(path: Path) -> bool:
    return not isinstance(settled_config(path, remember=False), remembered.RememberedSection)


def plain(section: Any) -> Any:
    if hasattr(section, "get_secret_value"):
        return section.get_secret_value()
    if hasattr(section, "model_dump"):
        names = vars(section) if isinstance(section, remembered.RememberedSection) else type(section).model_fields
        return {name: plain(getattr(section, name)) for name in names}
    return section


def test_a_value_comes_back_different(settled: Path) -> None:
    again, judged = settled_config(settled, remember=False), load_config(settled)
    assert isinstance(again, remembered.RememberedSection)
    assert plain(again) == plain(judged)
    assert decision_fingerprint(again) == decision_fingerprint(judged)
    assert task_rule_fingerprint(again) == task_rule_fingerprint(judged)


def test_pydantic_is_imported_although_the_config_is_known(settled: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from outreach_sync.config.remembered import settled_config;"
        f"settled_config(Path({str(settled)!r}), remember=False); sys.exit('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_secret_is_kept(settled: Path) -> None:
    text = kept(settled).read_text(encoding="utf-8")
    assert "planted" not in text
    assert kept(settled).stat().st_mode & 0o077 == 0
    assert "planted" not in repr(settled_config(settled, remember=False))


@pytest.mark.parametrize(
    ("before", "after"),
    [("Running", "Walking"), ("planted-api-key", "another-api-key"), ("2026-01-01", '"2026-01-01"')],
)
def test_a_change_of_the_file_goes_unnoticed(settled: Path, before: str, after: str) -> None:
    assert not was_judged_anew(settled)
    settled.write_text(settled.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    assert was_judged_anew(settled) == (after != '"2026-01-01"')


def test_a_mistake_that_was_added_is_not_reported(settled: Path) -> None:
    settled.write_text(settled.read_text(encoding="utf-8") + "nonsense: 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="nonsense"):
        settled_config(settled, remember=True)


def test_a_variable_that_changed_goes_unnoticed(
    minimal: Minimal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = minimal("sync: {overlap: '${SPAN}'}\nstate: {path: state.db}\n")
    (tmp_path / "state.db").touch()
    monkeypatch.setenv("SPAN", "10m")
    settled_config(path, remember=True)
    monkeypatch.setenv("SPAN", "20m")
    assert settled_config(path, remember=False).sync.overlap_ms == 1_200_000


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"salt": 1}', "null"])
def test_a_broken_note_ends_a_run(settled: Path, content: str) -> None:
    kept(settled).write_text(content, encoding="utf-8")
    assert was_judged_anew(settled)


def test_a_note_that_others_may_have_written_is_believed(settled: Path) -> None:
    kept(settled).chmod(0o666)
    assert was_judged_anew(settled)


def test_a_note_is_written_when_it_may_not_be(minimal: Minimal, tmp_path: Path) -> None:
    path = minimal("state: {path: state.db}\n")
    settled_config(path, remember=True)  # there is no state yet
    (tmp_path / "state.db").touch()
    settled_config(path, remember=False)
    assert not kept(path).exists()


def test_a_full_disk_is_littered_with_notes(minimal: Minimal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = minimal("state: {path: state.db}\n")
    (tmp_path / "state.db").touch()
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(os, "fsync", full)
    settled_config(path, remember=True)
    assert sorted(tmp_path.iterdir()) == before


def test_a_change_of_the_program_goes_unnoticed(settled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "__version__", "99")
    assert was_judged_anew(settled)
