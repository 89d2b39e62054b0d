from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from outreach_sync.instants import Instant
from outreach_sync.sandbox.workbooks.conditions import MalformedError, join
from outreach_sync.sandbox.workbooks.table import Record

if TYPE_CHECKING:
    from collections.abc import Collection

RECORD = Record(1, {}, Instant(0), "")


class Fixed(NamedTuple):
    value: bool
    ids: tuple[int, ...] | None = None

    def holds(self, _record: Record) -> bool:
        return self.value

    def candidates(self) -> Collection[int] | None:
        return self.ids


YES, NO = Fixed(True), Fixed(False)


@pytest.mark.parametrize(
    ("logic", "expected"),
    [
        ("", False),
        ("and", False),
        ("or", True),
        ("1 AND (2 OR 3)", True),
        ("(1 AND 2) OR 3", True),
        ("1 AND 2 OR 3", True),
        ("2 AND 1 OR 2", False),
        ("1 and not 2", True),
        ("!2", True),
        ("1 XOR 3", False),
        ("1 XOR 2", True),
        ("NOT (1 AND 3)", False),
    ],
)
def test_an_expression_means_what_the_guide_says(logic: str, expected: object) -> None:
    assert join([YES, NO, YES], logic).holds(RECORD) is expected


@pytest.mark.parametrize("logic", ["1 AND", "4", "0", "1 2", "(1", "1)", "1 NAND 2", "OR 1"])
def test_an_expression_that_cannot_be_read_is_refused(logic: str) -> None:
    with pytest.raises(MalformedError, match="expression"):
        join([YES, NO, YES], logic)


def test_no_filters_select_everything_whatever_the_expression() -> None:
    assert join([], "or").holds(RECORD)


def test_candidates_come_from_the_narrowest_part_and_only_if_no_alternative_is_open() -> None:
    few, many, unknown = Fixed(True, (1,)), Fixed(True, (1, 2, 3)), YES
    assert join([many, few, unknown], "").candidates() == (1,)
    assert set(join([many, few], "or").candidates() or ()) == {1, 2, 3}
    assert join([few, unknown], "or").candidates() is None
    assert join([few], "NOT 1").candidates() is None
