"""What the service makes of a value that is sent, where the documentation leaves that open."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from outreach_sync.instants import Instant
from outreach_sync.sandbox.workbooks.faults import number_option
from outreach_sync.sandbox.workbooks.formats import TEXT_TYPES, read_value, var_moment

if TYPE_CHECKING:
    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.schema import Field

_ISO = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_BEYOND_16_BITS = re.compile("[\U00010000-\U0010ffff]")
_MINUTE_MS = 60_000


class Intake:
    """Reads values for fields, as the faults that settle open questions have it."""

    def __init__(self, faults: FaultBoard) -> None:
        """Take the faults."""
        self._faults = faults

    def read(self, field: Field, text: str, zone: str) -> Any:
        """Read a value that was sent for a field.

        Raises:
            ValueError: it does not fit; the message says why, in the service's words.
        """
        if field.datatype in TEXT_TYPES:
            text = self._kept_text(field, text)
        if is_custom_moment(field):
            return self._read_custom_moment(text, zone)
        if field.datatype == "boolean" and self._faults.throughout("booleans_without_case") is not None:
            text = text.lower()
        return read_value(field.datatype, text, zone)

    def _kept_text(self, field: Field, text: str) -> str:
        """Make of a text what is kept of it."""
        if self._faults.throughout("blanks_trimmed") is not None:
            text = text.strip()
        if self._faults.throughout("emoji_lost") is not None:
            text = _BEYOND_16_BITS.sub("?", text)
        if self._faults.throughout("ampersand_escaped") is not None:
            text = text.replace("&", "&amp;")
        if self._faults.option("text_cut", "field") in (None, field.name):
            cut = self._faults.throughout("text_cut")
            text = text if cut is None else text[: int(number_option(cut, "length", 30))]
        return text

    def _read_custom_moment(self, text: str, zone: str) -> Instant | None:
        if self._faults.throughout("custom_datetime_is_var") is not None:
            kept = read_value("var_date_time", text, zone)
            at = None if kept is None else var_moment(kept).at
        else:
            if _ISO.match(text.strip()) and self._faults.throughout("custom_datetime_refuses_iso") is not None:
                raise ValueError("is not a valid date")
            at = read_value("datetime", text, zone)
        options = self._faults.throughout("datetime_without_seconds")
        return at if at is None or options is None else _whole_minute(at, rounds=options.get("how") == "round")


def is_custom_moment(field: Field) -> bool:
    """Tell whether a field is a customer's own and holds times."""
    return field.datatype == "datetime" and field.name.startswith("cf_")


def _whole_minute(at: Instant, *, rounds: bool) -> Instant:
    return Instant((at + (_MINUTE_MS // 2 if rounds else 0)) // _MINUTE_MS * _MINUTE_MS)
