"""Times at the edges."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, strategies as st

from outreach_sync import instants
from outreach_sync.instants import Instant


def test_every_form_of_a_time_is_the_same_instant_and_nonsense_is_none() -> None:
    for text in ("2026-09-01T10:00:00.000Z", "2026-09-01T12:00:00+02:00", "20260901T100000"):
        assert instants.parse_iso(text) == 1_788_256_800_000
    for text in ("", "soon", "2026-13-01", "Tue, 41 Sep 2026 10:00:00 GMT"):
        for parse in (instants.parse_iso, instants.parse_http_date):
            with pytest.raises(ValueError):  # noqa: PT011 - the class is the promise
                parse(text)


@given(st.integers(0, 4_102_444_800_000), st.integers(-14 * 60, 14 * 60))
def test_an_instant_survives_every_zone(milliseconds: int, minutes: int) -> None:
    moment = datetime.fromtimestamp(milliseconds / 1000, tz=UTC).astimezone(timezone(timedelta(minutes=minutes)))
    assert instants.from_datetime(moment) == milliseconds
    assert instants.parse_iso(instants.to_iso(Instant(milliseconds))) == milliseconds


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "Europe/London"])
def test_the_zone_of_the_machine_changes_nothing(zone: str) -> None:
    code = (
        "from outreach_sync import instants as i; t = i.parse_iso('2026-03-29T01:30:00');"
        "print(t, i.to_iso(t), i.to_date(t), i.parse_http_date('Sun, 29 Mar 2026 01:30:00 GMT') == t)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"TZ": zone}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1774747800000", "2026-03-29T01:30:00Z", "2026-03-29", "True"]


def test_a_duration_is_numbers_with_units_and_nothing_else() -> None:
    for text, seconds in (("90d", 7_776_000), ("1h30m", 5_400), ("250ms", 0.25), ("1.5h", 5_400)):
        assert instants.parse_duration(text) == seconds * 1000
    for text in ("", "10", "m", "10 parsecs", "-5m", "1h 30"):
        with pytest.raises(ValueError, match="is not a duration"):
            instants.parse_duration(text)
