"""The picture in the README, of the real program: `python -m tests.docs.picture` draws it again."""

from __future__ import annotations

import re
import tempfile
from io import StringIO
from pathlib import Path

import yaml
from rich.console import Console
from rich.text import Text

from outreach_sync.sandbox import Sandbox
from tests.harness import on_a_terminal

PATH = Path(__file__).parents[2] / "docs" / "terminal.svg"
_COLUMNS = 112
_COMMANDS = {("run", "--dry-run"): 22, ("run", "-q"): 2, ("status",): 10}
"""What is run, and how many lines of it are shown. The progress of a run goes to stderr, which is left out."""


def main() -> None:
    """Run the commands on a terminal of its own and draw what they print."""
    console = Console(record=True, width=_COLUMNS, file=StringIO())
    with Sandbox() as sandbox, tempfile.TemporaryDirectory() as directory:
        sandbox.load_example()
        config = Path(directory, "outreach-sync.yaml")
        config.touch(mode=0o600)
        config.write_text(yaml.safe_dump(sandbox.config(Path(directory, "state.db")), allow_unicode=True), "utf-8")
        for words, most in _COMMANDS.items():
            said = on_a_terminal(config, *words, columns=_COLUMNS, errors="-q" in words).out
            printed = re.sub(r"\x1b\][^\x1b\x07]*(?:\x1b\\|\x07)|\x1b\[\?25[hl]", "", said).splitlines()
            console.print(Text(f"$ outreach-sync {' '.join(words)}", style="bold"))
            console.print(Text.from_ansi("\n".join([*printed[:most], *(["…"] if len(printed) > most else [])])))
            console.print()
    drawn = re.sub(r"@font-face \{.*?\}\n", "", console.export_svg(title="outreach-sync"), flags=re.DOTALL)
    PATH.write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
