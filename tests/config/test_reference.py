from __future__ import annotations

from pathlib import Path

from outreach_sync.config import reference_markdown
from outreach_sync.config.keys import keys_at, model_at

REFERENCE = Path(__file__).parents[2] / "docs/config.md"


def test_the_page_in_the_repository_is_that_of_the_models() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == reference_markdown()


def test_every_key_is_on_the_page_in_its_section() -> None:
    page = reference_markdown()
    parts = {part.split("`")[0]: part for part in page.split("\n## `")[1:]}
    pending: list[tuple[str, ...]] = [(key,) for key in keys_at(())]
    while pending:
        where = pending.pop()
        for key in keys_at(where):
            inner = (*where, key)
            if model_at(inner):
                pending.append(inner)
            else:
                assert f"`{key}`" in parts[".".join(where)], inner


def test_a_row_says_what_is_allowed_the_default_and_the_meaning() -> None:
    row = "| `concurrency` | a whole number from 1 to 5 | `2` | Requests at the same time. |"
    assert row in reference_markdown().splitlines()
