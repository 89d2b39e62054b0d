"""The faults in docs/sandbox.md: `python -m tests.docs.sandbox` writes them again, and a test compares them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from outreach_sync.sandbox.outreach.trouble import FAULTS as OUTREACH
from outreach_sync.sandbox.workbooks.trouble import FAULTS as WORKBOOKS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.sandbox.faults import Fault

PATH = Path(__file__).parents[2] / "docs" / "sandbox.md"
_TABLES = re.compile(r"(?<=<!-- faults: checked by tests/docs/test_pages.py -->\n).*?(?=<!-- /faults -->)", re.DOTALL)


def with_current_faults(page: str) -> str:
    """Return the page with every fault of both services between its two marks.

    Raises:
        ValueError: it has not exactly one such place.
    """
    tables = f"\n### Outreach\n\n{_table(OUTREACH)}\n### Workbooks\n\n{_table(WORKBOOKS)}\n"
    renewed, places = _TABLES.subn(lambda _: tables, page)
    if places != 1:
        raise ValueError(f"the page has {places} places for the faults")
    return renewed


def _table(faults: Mapping[str, Fault]) -> str:
    rows = [f"| `{name}` | {_shown(one.doc)} | {_options(one)} |" for name, one in faults.items()]
    return "\n".join(["| fault | what it does | options |", "|---|---|---|", *rows, ""])


def _options(fault: Fault) -> str:
    return "; ".join(
        f"`{name}`: {_shown(option.says)}" for name, option in fault.options.items() if len(option.says) < 200
    )


def _shown(text: str) -> str:
    return text.replace("|", "/").replace("<", "&lt;")


if __name__ == "__main__":
    PATH.write_text(with_current_faults(PATH.read_text(encoding="utf-8")), encoding="utf-8")
