from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def test_before_the_first_run_the_page_says_so_and_no_state_is_made(setup: Any, tmp_path: Path) -> None:
    ran = setup("report", "--out", str(tmp_path / "page.html"))
    assert ran.status == 0
    assert "no run was made yet" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not setup.state_path.exists()


def test_after_a_run_it_shows_the_labels_the_refusals_and_no_personal_datum(setup: Any, tmp_path: Path) -> None:
    setup("run")
    target = tmp_path / "page.html"
    ran = setup("report", "--out", str(target), "--days", "7")
    assert ran.status == 0
    assert "1 run in the last 7 days" in ran.out
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    page = target.read_text(encoding="utf-8")
    assert "Opted Out" in page
    assert "What to do:" in page
    prospects = setup.sandbox.outreach.store.all("prospect")
    names = {one.values[name] for one in prospects for name in ("lastName",) if one.values.get(name)}
    addresses = {address for one in prospects for address in one.values.get("emails") or ()}
    assert names
    assert addresses
    assert not [one for one in addresses if one in page]
    assert not [one for one in names if len(one) > 3 and f">{one}<" in page]


def test_the_page_can_be_piped(setup: Any) -> None:
    ran = setup("report", "--out", "-")
    assert ran.status == 0
    assert ran.out.startswith("<!doctype html>")
    assert ran.out.endswith("</html>\n")


def test_a_file_that_cannot_be_written_ends_with_2_and_says_where(setup: Any, tmp_path: Path) -> None:
    ran = setup("report", "--out", str(tmp_path / "no" / "page.html"))
    assert ran.status == 2
    assert "no/page.html cannot be written" in ran.err


def test_days_that_make_no_sense_end_with_2(setup: Any, tmp_path: Path) -> None:
    assert setup("report", "--out", "-", "--days", "0").status == 2
    assert setup("report").status == 2
