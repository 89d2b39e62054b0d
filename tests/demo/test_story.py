from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from outreach_sync.demo import story
from outreach_sync.errors import InterruptedByError
from outreach_sync.http import StopSignal

if TYPE_CHECKING:
    from pathlib import Path

    from outreach_sync.config.model import Config
    from outreach_sync.sandbox import Sandbox


def _told(directory: Path, stop: StopSignal | None = None) -> tuple[bool, str]:
    out = io.StringIO()
    well = story.tell(Console(file=out, highlight=False, width=80), directory, stop or StopSignal())
    return well, out.getvalue()


def test_everything_comes_as_it_must_and_fits_80_columns(tmp_path: Path) -> None:
    well, said = _told(tmp_path)
    assert well
    assert "NOT SO" not in said
    assert "\x1b" not in said
    assert max(map(len, said.splitlines())) <= 80
    for word in ("8 has optedOut", "Cancelled", "Ambiguous", "stale", "recreated", "are one person"):
        assert word in said


def test_a_program_that_writes_something_else_is_not_called_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = story._config

    def relabelled(sandbox: Sandbox, directory: Path) -> Config:
        config = honest(sandbox, directory)
        labels = {**config.sync.labels, "finished": "Bounced"}
        return config.model_copy(update={"sync": config.sync.model_copy(update={"labels": labels})})

    monkeypatch.setattr(story, "_config", relabelled)
    well, said = _told(tmp_path)
    assert not well
    assert "NOT SO" in said
    assert "says ('Bounced', False), not ('Finished', False)" in " ".join(said.split())


def test_it_ends_when_somebody_asks(tmp_path: Path) -> None:
    stop = StopSignal()
    stop.set(15)
    with pytest.raises(InterruptedByError):
        _told(tmp_path, stop)


def test_the_table_shows_as_many_people_as_the_cycle_says_it_changed(tmp_path: Path) -> None:
    _, said = _told(tmp_path)
    acts = re.split(r"^\d\. ", said, flags=re.MULTILINE)[1:]
    for act in acts:
        counts = " ".join(act.split()).partition("people: ")[2].partition("; tasks")[0]
        changed = sum(int(count) for count in re.findall(r"(\d+) (?:created|updated|recreated)", counts))
        assert len(re.findall(r"^1\d{3} +\S", act, re.MULTILINE)) == changed
