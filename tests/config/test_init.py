from __future__ import annotations

import subprocess
import sys

import pytest

import outreach_sync.config as package
from outreach_sync.config.schema import schema_text


def test_every_public_name_is_there() -> None:
    for name in package.__all__:
        assert getattr(package, name).__name__ == name


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        package.no_such_name  # noqa: B018  # asking is the test


@pytest.mark.parametrize(
    ("module", "text"),
    [("schema", schema_text()), ("reference", package.reference_markdown())],
    ids=["schema", "reference"],
)
def test_the_generated_files_can_be_written_again(module: str, text: str) -> None:
    command = [sys.executable, "-X", "utf8", "-m", f"outreach_sync.config.{module}"]
    assert subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout == text
