from __future__ import annotations

import pytest

from outreach_sync.workbooks.settings import WorkbooksSettings


@pytest.mark.parametrize(("name", "word"), [("outreach-sync", "outreach_sync"), ("A b/c", "A_b_c"), ("plain", "plain")])
def test_the_first_word_of_the_user_agent_is_the_whole_name(name: str, word: str) -> None:
    settings = WorkbooksSettings("https://x.example", "KEY", name, 100, 1, 1, {})
    assert settings.user_agent.split("/")[0] == word
    assert settings.user_agent.endswith("(gzip)")


def test_the_key_is_not_shown() -> None:
    assert "SECRET" not in repr(WorkbooksSettings("https://x.example", "SECRET", "n", 100, 1, 1, {}))
