import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from outreach_sync.cli import COMMANDS, run_command
from outreach_sync.sandbox import Sandbox
from tests.docs.generated import ROOT
from tests.harness import CommandLine, Consenting, Setup, Time

PAGES = tuple(sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]))
_CONSOLE = re.compile(r"^ *```console\n(?P<lines>.*?)^ *```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(?:outreach-sync )?(?P<line>[a-z-]+(?: [^`]+)?)`")
_NEXT_COMMAND = frozenset({";", "&", "&&", "|", "||", "(", ")"})
_PLACEHOLDERS = frozenset({"ID", "BACKUP", "PATH"})


def _commands_of(page: Path) -> list[tuple[str, ...]]:
    """Return what a page tells its reader to type, in order, without the shell around it."""
    blocks = (block["lines"] for block in _CONSOLE.finditer(page.read_text(encoding="utf-8")))
    lines = (line.strip() for block in blocks for line in block.splitlines())
    typed = (line[2:] for line in lines if line.startswith(("$ ", "# ")))
    return [words for line in typed for words in _simple_commands(line) if words[0] in {"outreach-sync", "make"}]


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


SHOWN = {page: _commands_of(page) for page in PAGES}


def test_commands_are_found_where_a_reader_sees_them() -> None:
    found = {page.name for page, commands in SHOWN.items() if commands}
    assert found >= {"README.md", "CONTRIBUTING.md", "how-to.md", "credentials.md"}
    apart = list(_simple_commands("umask 077; sudo -u me outreach-sync run > x.json # once"))
    assert apart == [("umask", "077"), ("outreach-sync", "run")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_that_a_page_shows_or_names_exists(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prose = _CONSOLE.sub("", page.read_text(encoding="utf-8"))
    named = [_given(match["line"].split()) for match in _INLINE.finditer(prose)]
    lines = [words for words in named if words[0] in COMMANDS]
    lines += [list(words[1:]) for words in SHOWN[page] if words[0] == "outreach-sync"]
    assert [words for words in lines if run_command([*words, "--help"]) != 0] == [], capsys.readouterr().err


def _given(words: list[str]) -> list[str]:
    """Give an option that is only named the value it needs, and take a list of subcommands by its first."""
    return [*(word.partition("|")[0] for word in words), *(["x"] if words[-1] == "--out" else [])]


def test_every_make_target_that_is_shown_exists() -> None:
    for words in {words for commands in SHOWN.values() for words in commands if words[0] == "make"}:
        subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


# -- doing what the pages say


@pytest.fixture
def reader(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    """The program as a reader of a page runs it: a directory of their own, and both simulated services."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", Consenting(capsys))
    with Sandbox() as sandbox, Time().running(everywhere=True):
        sandbox.load_example()
        yield Setup(tmp_path, sandbox, CommandLine(tmp_path / "config.yaml", capsys))


@pytest.mark.parametrize(
    "page", [one for one in PAGES if one.name != "README.md" and SHOWN[one]], ids=lambda page: page.name
)
def test_a_reader_of_a_page_can_do_what_it_says(page: Path, reader: Setup) -> None:
    reader("run")
    ended = [(words, *_done_by(reader, list(words[1:]))) for words in SHOWN[page] if words[0] == "outreach-sync"]
    assert [one for one in ended if one[1] not in {0, 1}] == []


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
        events = (json.loads(line)["event"] for line in process.stderr if line.startswith("{"))
        assert "run_finished" in events
        process.send_signal(signal.SIGTERM)
        return process.wait(30)


# -- the README's way from nothing to a scheduled sync


def test_the_way_of_the_readme_leads_from_nothing_to_a_scheduled_sync(tmp_path: Path) -> None:
    """Somebody has nothing but the program and the README, in a directory and a home of their own."""
    config = tmp_path / "config" / "outreach-sync.yaml"
    config.parent.mkdir()
    secrets = {"OUTREACH_CLIENT_ID": "id", "OUTREACH_CLIENT_SECRET": "secret", "WORKBOOKS_API_KEY": "key"}
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **secrets}

    def start(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "outreach_sync", *words]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=-1, stderr=-1, text=True)

    def do(*words: str) -> tuple[int, str]:
        if words == ("schedule",):
            return _until_stopped(tmp_path / "sandbox.yaml"), ""
        process = start(*words)
        _, err = process.communicate(timeout=60)
        return process.returncode, err

    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## From nothing")[2].partition("\n## ")[0]
    lines = [line.strip()[2:] for line in section.splitlines() if line.strip().startswith("$ ")]
    every = [words[1:] for line in lines for words in _simple_commands(line) if words[0] == "outreach-sync"]
    sandbox, init, login, *way = every
    assert (init[0], login) == ("init", ("auth", "login"))
    assert (do(*init)[0], config.exists()) == (0, True)
    assert do("status") == (0, ""), "nothing is needed but the secrets of the README"
    with start(*sandbox) as served:
        assert "Stop with Ctrl-C" in served.stderr.readline()
        environment["OUTREACH_SYNC_CONFIG"] = str(tmp_path / "sandbox.yaml")
        with start(*login) as process:  # the browser brings the code to the program
            address = next(line.strip() for line in process.stdout if "/oauth/authorize" in line)
            requests.get(f"{address}&decision=approve", timeout=5)
            assert process.wait(30) == 0
        ends = [(words, *do(*words)) for words in way]
        served.send_signal(signal.SIGINT)
    assert ends[0][:2] == (("check",), 3), "a Workbooks without the fields has to be noticed"
    well = ["check", "provision --dry-run", "provision", "history", "status", "schedule"]  # the check after provision
    refused = ["run --dry-run", "run --limit 10", "run"]  # the example holds records that are refused
    assert {" ".join(words): status for words, status, _ in ends} == {
        **dict.fromkeys(well, 0),
        **dict.fromkeys(refused, 1),
    }, ends
