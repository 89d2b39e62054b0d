"""What is logged off a terminal: whole lines of JSON, nothing below the level, no secret."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import pytest

from outreach_sync.events import JsonLog
from outreach_sync.scrubbing import Scrubber


def said(level: str, say: Any) -> list[dict[str, Any]]:
    out = io.StringIO()
    say(JsonLog(level, Scrubber(["planted-secret"]), out))
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_an_event_lacks_its_values_level_or_time() -> None:
    (event,) = said("info", lambda log: log.info("stream_read", stream="tasks", read=3))
    assert event.pop("timestamp").endswith("Z")
    assert event == {"stream": "tasks", "read": 3, "event": "stream_read", "level": "info"}


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_a_level_lets_too_much_or_too_little_through(level: str, count: int) -> None:
    def say(log: JsonLog) -> None:
        log.debug("one")
        log.info("two")
        log.warning("three")
        log.error("four")

    assert len(said(level, say)) == count


def test_a_traceback_shows_a_secret_or_breaks_the_line() -> None:
    def say(log: JsonLog) -> None:
        try:
            int("planted-secret\nforged line")
        except ValueError:
            log.debug("bug", exc_info=True)

    (event,) = said("debug", say)
    assert "planted-secret" not in event["exception"]
    assert "ValueError: invalid literal" in event["exception"]


def test_json_lines_wait_for_the_import_of_structlog() -> None:
    code = (
        "import sys; from outreach_sync.events import start_logging; from outreach_sync.scrubbing import Scrubber;"
        "start_logging('info', 'json', Scrubber()).info('x'); sys.exit('structlog' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
