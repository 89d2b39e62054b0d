"""The choke point of everything that is logged or printed."""

import io
import json
import sys
from typing import Any

import pytest
from hypothesis import given, strategies as st

from outreach_sync import log as log_module
from outreach_sync.log import keep_secret, scrubbed, start_logging

SECRET = "planted-secret-4711"


@pytest.fixture(autouse=True)
def _secret() -> None:
    keep_secret(SECRET)


@given(st.text(), st.text(min_size=6))
def test_only_printable_text_and_line_ends_leave_and_no_secret(text: str, secret: str) -> None:
    if secret in "***" * 10:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_module, "_kept", set())
        keep_secret(secret)
        shown = scrubbed(text + secret + text)
    assert secret not in shown
    assert all(one.isprintable() or one == "\n" for one in shown)


def test_what_is_not_printable_is_shown_and_a_text_too_short_to_be_a_secret_is_not_masked() -> None:
    keep_secret("abc")
    assert scrubbed("abcd \x1b[2J\u202e\n") == "abcd \\x1b[2J\\x202e\n"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Start a log whose lines can be read; `sys.stderr` is only ours while the test runs."""

    def start(level: str, form: str) -> tuple[Any, io.StringIO]:
        out = io.StringIO()
        monkeypatch.setattr(sys, "stderr", out)
        return start_logging(level, form), out

    return start


def test_off_a_terminal_an_event_from_the_level_on_is_a_line_of_json_with_its_values_level_and_time(log: Any) -> None:
    started, out = log("info", "auto")
    started.debug("detail")
    started.info("stream_read", stream="tasks", name="Łucja")
    started.warning("stream_read")
    event, level = map(json.loads, out.getvalue().splitlines())
    assert event.pop("timestamp").endswith("Z")
    assert event == {"stream": "tasks", "name": "Łucja", "event": "stream_read", "level": "info"}
    assert ("Łucja" in out.getvalue(), level["level"]) == (True, "warning")


def test_a_secret_is_taken_out_wherever_it_stands(log: Any) -> None:
    started, out = log("info", "auto")
    values = {"text": f"x{SECRET}y", "deep": [{SECRET: (SECRET,)}], "error": ValueError(f"about {SECRET}")}
    started.info("x", value=values, **values, share=0.5, ok=True, none=None)
    assert SECRET not in out.getvalue()
    assert '"share": 0.5, "ok": true, "none": null' in out.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_neither_secrets_nor_local_variables(log: Any, form: str) -> None:
    started, out = log("debug", form)
    try:
        hidden = SECRET[::-1]
        int(f"{SECRET}\nforged line", base=len(hidden))
    except ValueError as bug:
        started.debug("bug", exc_info=bug)
    assert "ValueError: invalid literal" in out.getvalue()
    assert SECRET not in out.getvalue()
    assert SECRET[::-1] not in out.getvalue()


@pytest.mark.parametrize(
    ("terminal", "environment", "coloured"),
    [
        *((True, {"TERM": "xterm"}, True), (False, {"TERM": "xterm"}, False)),
        *((True, {"TERM": "xterm", "NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False), (True, {}, False)),
    ],
)
def test_colours_are_for_terminals_that_show_them_to_someone_who_wants_them(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, environment: dict[str, str], coloured: bool
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", out)
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    start_logging("info", "console").warning("stream_read", read=3)
    assert ("\x1b[" in out.getvalue(), "stream_read" in out.getvalue()) == (coloured, True)
