from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import requests

from outreach_sync.cli import COMMANDS, run_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness import Setup

ROOT = Path(__file__).parents[2]
PAGES = tuple(sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]))
_CONSOLE = re.compile(r"^ *```console\n(?P<lines>.*?)^ *```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(?:outreach-sync )?(?P<line>[a-z-]+(?: [^`]+)?)`")
_NEXT_COMMAND = frozenset({";", "&", "&&", "|", "||", "(", ")"})
_PLACEHOLDERS = frozenset({"ID", "BACKUP", "PATH"})


class Shown(NamedTuple):
    """A command as a page shows it, without the shell around it."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def _commands_of(page: Path) -> list[Shown]:
    """Return what a page tells its reader to type, in order."""
    blocks = (block["lines"] for block in _CONSOLE.finditer(page.read_text(encoding="utf-8")))
    lines = (line.strip() for block in blocks for line in block.splitlines())
    typed = (line[2:] for line in lines if line.startswith(("$ ", "# ")))
    return [Shown(page.name, words) for line in typed for words in _simple_commands(line) if words[0] in _OURS]


_OURS = ("outreach-sync", "make")


def _simple_commands(line: str) -> Iterator[tuple[str, ...]]:
    """Take a line of shell apart: commands, without redirections, `sudo` and comments."""
    words: list[str] = []
    redirected = False
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.wordchars += "+"
    for token in (*lexer, ";"):
        if token in _NEXT_COMMAND:
            plain = words[3:] if words[:1] == ["sudo"] else words
            if plain:
                yield tuple(plain)
            words = []
        elif not redirected and not token.startswith(">"):
            words.append(token)
        redirected = token.startswith(">")


SHOWN = [shown for page in PAGES for shown in _commands_of(page)]


def test_commands_are_found_where_a_reader_sees_them() -> None:
    assert {shown.page for shown in SHOWN} >= {"README.md", "CONTRIBUTING.md", "how-to.md", "credentials.md"}
    assert list(_simple_commands("umask 077; sudo -u me outreach-sync run > x.json # once")) == [
        ("umask", "077"),
        ("outreach-sync", "run"),
    ]


@pytest.mark.parametrize("shown", [one for one in SHOWN if one.words[0] == "outreach-sync"], ids=str)
def test_every_option_of_a_command_that_is_shown_exists(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([*shown.words[1:], "--help"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_named_in_a_sentence_exists(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prose = _CONSOLE.sub("", page.read_text(encoding="utf-8"))
    lines = [match["line"].split() for match in _INLINE.finditer(prose)]
    named = [words for words in lines if words[0] in COMMANDS]
    assert not [words for words in named if run_command([*_given(words), "--help"]) != 0], capsys.readouterr().err


def _given(words: list[str]) -> list[str]:
    """Give an option that is only named the value it needs, and take a list of subcommands by its first."""
    return [*(word.partition("|")[0] for word in words), *(["x"] if words[-1] == "--out" else [])]


@pytest.mark.parametrize("shown", [one for one in SHOWN if one.words[0] == "make"], ids=str)
def test_every_make_target_that_is_shown_exists(shown: Shown) -> None:
    told = subprocess.run(
        ["make", "--dry-run", *shown.words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr


# -- doing what the pages say

_DONE = frozenset({0, 1})
TO_FOLLOW = [page for page in PAGES if page.name != "README.md" and _commands_of(page)]


@pytest.mark.parametrize("page", TO_FOLLOW, ids=lambda page: page.name)
def test_a_reader_of_a_page_can_do_what_it_says(page: Path, reader: Setup) -> None:
    reader("run")
    failed = []
    for shown in _commands_of(page):
        if shown.words[0] == "outreach-sync":
            status, said = _done_by(reader, list(shown.words[1:]))
            failed += [] if status in _DONE else [f"{shown} → {status}: {said}"]
    assert not failed


def _done_by(reader: Setup, words: list[str]) -> tuple[int, str]:
    """Do a command as a reader would: with their own config, paths and ids."""
    if words[0] == "-c":
        del words[:2]
    if words[0] == "schedule":
        return _until_stopped(reader.config_path), ""
    if words == ["sandbox"]:
        return 0, ""  # it runs already
    if words[0] == "init":
        words[1:] = [str(reader.directory / "new.yaml")]
    if "BACKUP" in words:
        words[words.index("BACKUP")] = str(max(reader.state_path.parent.glob("*.backup-*")))
    assert not _PLACEHOLDERS & set(words), "a placeholder belongs into a sentence"
    ran = reader(*words)
    return ran.status, ran.err


def _until_stopped(config: Path) -> int:
    """Start the schedule, wait for its first run, and ask it to stop."""
    command = [sys.executable, "-m", "outreach_sync", "-c", str(config), "schedule"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        events = (json.loads(line)["event"] for line in process.stderr if line.startswith("{"))
        assert "run_finished" in events
        process.send_signal(signal.SIGTERM)
        return process.wait(30)


# -- the README's way from nothing to a scheduled sync


class Newcomer:
    """Somebody with nothing but the program and the README, in a directory and a home of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "config" / "outreach-sync.yaml"
        self.config.parent.mkdir()
        secrets = {"OUTREACH_CLIENT_ID": "id", "OUTREACH_CLIENT_SECRET": "secret", "WORKBOOKS_API_KEY": "key"}
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(directory), **secrets}

    def start(self, *words: str) -> subprocess.Popen[str]:
        command, pipe = [sys.executable, "-m", "outreach_sync", *words], subprocess.PIPE
        return subprocess.Popen(command, cwd=self.directory, env=self.environment, stdout=pipe, stderr=pipe, text=True)

    def do(self, *words: str) -> tuple[int, str]:
        if words == ("schedule",):
            return _until_stopped(self.config), ""
        process = self.start(*words)
        _, err = process.communicate(timeout=60)
        return process.returncode, err


def test_the_way_of_the_readme_leads_from_nothing_to_a_scheduled_sync(tmp_path: Path) -> None:
    newcomer = Newcomer(tmp_path)
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## From nothing")[2].partition("\n## ")[0]
    lines = [line.strip()[2:] for line in section.splitlines() if line.strip().startswith("$ ")]
    every = [words[1:] for line in lines for words in _simple_commands(line) if words[0] == "outreach-sync"]
    sandbox, init, login, *way = every
    assert (init[0], login) == ("init", ("auth", "login"))
    assert newcomer.do(*init)[0] == 0
    assert newcomer.config.exists()
    assert newcomer.do("status") == (0, ""), "nothing is needed but the secrets of the README"
    with newcomer.start(*sandbox) as served:
        assert served.stderr is not None
        assert "Stop with Ctrl-C" in served.stderr.readline()
        newcomer.config = newcomer.directory / "sandbox.yaml"
        newcomer.environment["OUTREACH_SYNC_CONFIG"] = str(newcomer.config)
        with newcomer.start(*login) as process:  # the browser brings the code to the program
            assert process.stdout is not None
            address = next(line.strip() for line in process.stdout if "/oauth/authorize" in line)
            requests.get(f"{address}&decision=approve", timeout=5)
            assert process.wait(30) == 0
        ends = [(words, *newcomer.do(*words)) for words in way]
        served.send_signal(signal.SIGINT)
    told = {" ".join(words): status for words, status, _ in ends}
    assert ends[0][:2] == (("check",), 3), "a Workbooks without the fields has to be noticed"
    assert told == {
        "check": 0,  # the one after provision
        "provision --dry-run": 0,
        "provision": 0,
        "run --dry-run": 1,  # the example holds records that are refused
        "run --limit 10": 1,
        "history": 0,
        "run": 1,
        "status": 0,
        "schedule": 0,
    }, ends
