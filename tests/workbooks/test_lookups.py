from __future__ import annotations

import pytest

from outreach_sync.errors import UntrustedAnswerError
from outreach_sync.workbooks.lookups import record_id


@pytest.mark.parametrize("row", [{}, {"id": None}, {"id": "PERS-1"}, {"id": True}])
def test_a_record_without_an_id_is_not_trusted(row: dict[str, object]) -> None:
    with pytest.raises(UntrustedAnswerError):
        record_id(row)


def test_an_id_may_come_as_text() -> None:
    assert record_id({"id": "7"}) == 7
