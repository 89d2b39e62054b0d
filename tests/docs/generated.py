"""The help, the faults, the picture and the manual pages: `python -m tests.docs.generated` writes them again."""

import re
import tempfile
import warnings
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import click
import yaml
from click.testing import CliRunner
from click_man.core import write_man_pages
from rich.console import Console
from rich.text import Text

from outreach_sync import __version__
from outreach_sync.cli import COMMANDS, cli
from outreach_sync.sandbox import Sandbox
from outreach_sync.sandbox.faults import Fault
from outreach_sync.sandbox.outreach.trouble import FAULTS as OUTREACH
from outreach_sync.sandbox.workbooks.trouble import FAULTS as WORKBOOKS
from tests.harness import on_a_terminal

ROOT = Path(__file__).parents[2]
_COLUMNS = 112
_DRAWN = {("run", "--dry-run"): 22, ("run", "-q"): 2, ("status",): 10}
"""What is run for the picture, and how many lines of it are shown; the progress of a run is left out."""


def with_current_help(readme: str) -> str:
    """Return the README with what `outreach-sync --help` prints between its two marks."""
    printed = CliRunner().invoke(cli, ["--help"], prog_name="outreach-sync", terminal_width=80).output
    return _between_marks(readme, "help", f"```text\n{printed}```\n")


def with_current_faults(page: str) -> str:
    """Return docs/sandbox.md with every fault of both services between its two marks."""
    tables = f"\n### Outreach\n\n{_table(OUTREACH)}\n### Workbooks\n\n{_table(WORKBOOKS)}\n"
    return _between_marks(page, "faults", tables)


def _between_marks(page: str, what: str, text: str) -> str:
    marks = rf"(?<=<!-- {what}: checked by tests/docs/test_pages.py -->\n).*?(?=<!-- /{what} -->)"
    renewed, places = re.subn(marks, lambda _: text, page, flags=re.DOTALL)
    assert places == 1, f"the page has {places} places for the {what}"
    return renewed


def _table(faults: Mapping[str, Fault]) -> str:
    rows = [f"| `{name}` | {_shown(one.doc)} | {_options(one)} |" for name, one in faults.items()]
    return "\n".join(["| fault | what it does | options |", "|---|---|---|", *rows, ""])


def _options(fault: Fault) -> str:
    says = {name: option.says for name, option in fault.options.items() if len(option.says) < 200}
    return "; ".join(f"`{name}`: {_shown(said)}" for name, said in says.items())


def _shown(text: str) -> str:
    return text.replace("|", "/").replace("<", "&lt;")


def write_manual(directory: Path) -> None:
    """Write a page for the program and one for each command; the lazy commands are loaded first."""
    loaded = {name: cli.get_command(click.Context(cli), name) for name in COMMANDS}
    for name, command in loaded.items():
        command.short_help = COMMANDS[name][-1]
    program = click.Group("outreach-sync", loaded, params=cli.params, help=cli.help)
    directory.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # click-man uses a name that click moves
        write_man_pages("outreach-sync", program, version=__version__, target_dir=directory, date="outreach-sync")


def picture() -> str:
    """Run the program on a terminal of its own and draw what it prints."""
    console = Console(record=True, width=_COLUMNS, file=StringIO())
    with Sandbox() as sandbox, tempfile.TemporaryDirectory() as directory:
        sandbox.load_example()
        config = Path(directory, "outreach-sync.yaml")
        config.touch(mode=0o600)
        config.write_text(yaml.safe_dump(sandbox.config(Path(directory, "state.db")), allow_unicode=True), "utf-8")
        for words, most in _DRAWN.items():
            said = on_a_terminal(config, *words, columns=_COLUMNS, errors="-q" in words).out
            printed = re.sub(r"\x1b\][^\x1b\x07]*(?:\x1b\\|\x07)|\x1b\[\?25[hl]", "", said).splitlines()
            console.print(Text(f"$ outreach-sync {' '.join(words)}", style="bold"))
            console.print(Text.from_ansi("\n".join([*printed[:most], *(["…"] if len(printed) > most else [])])))
            console.print()
    return re.sub(r"@font-face \{.*?\}\n", "", console.export_svg(title="outreach-sync"), flags=re.DOTALL)


if __name__ == "__main__":
    (ROOT / "docs" / "terminal.svg").write_text(picture(), "utf-8")
    for page, renew in (("README.md", with_current_help), ("docs/sandbox.md", with_current_faults)):
        (ROOT / page).write_text(renew((ROOT / page).read_text("utf-8")), "utf-8")
    for old in (ROOT / "docs" / "man").glob("*.1"):
        old.unlink()
    write_manual(ROOT / "docs" / "man")
