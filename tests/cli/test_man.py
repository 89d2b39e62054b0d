from __future__ import annotations

import re
from pathlib import Path

from outreach_sync.cli import COMMANDS, cli, run_command
from outreach_sync.cli.man import manual_page

PAGE = Path(__file__).parents[2] / "docs" / "outreach-sync.1"


def test_the_page_in_the_docs_is_what_the_commands_say_now() -> None:
    assert PAGE.read_text(encoding="utf-8") == manual_page(cli), "run `make docs`"


def test_every_command_is_described_and_needs_no_config() -> None:
    page = manual_page(cli)
    described = {
        line.removeprefix(".SS ").split()[0].replace("\\-", "-") for line in page.splitlines() if ".SS" in line
    }
    assert described == set(COMMANDS)
    assert run_command(["man"]) == 0


def test_no_text_can_be_taken_for_a_request_of_roff() -> None:
    requests = {line.split()[0] for line in manual_page(cli).splitlines() if line.startswith((".", "'"))}
    assert requests == {".TH", ".SH", ".SS", ".TP", ".B", ".PP"}
    assert re.findall(r"\\(?![e&-])", manual_page(cli)) == []
