"""The page in a real browser: what it asks for, what it complains about, and whether it fits."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0",
)  # fmt: skip
HOSTILE = "<img src='http://example.invalid/x.png' onerror='console.error(1)'><script>console.error(2)</script>\u202e"
NAMES = ("Renewals-" + "x" * 120, HOSTILE, "\u0639\u0631\u0648\u0636")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium on this machine: the page is not tried in a browser",
)


class Visited(NamedTuple):
    """What a page did: the addresses it asked for, its console, its document, and the picture of it."""

    asked_for: list[str]
    console: list[str]
    document: str
    picture: Path


def _visit(page: Path, directory: Path, *options: str) -> Visited:
    net_log, picture = directory / "net.json", directory / "page.png"
    done = subprocess.run(
        [
            str(CHROMIUM), *QUIET, f"--user-data-dir={directory / 'profile'}", f"--log-net-log={net_log}",
            f"--screenshot={picture}", "--dump-dom", *options, page.as_uri(),
        ],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Visited(_asked_for(net_log), console, done.stdout, picture)


def _asked_for(net_log: Path) -> list[str]:
    """Return the addresses that a page asked for; what the browser asks for by itself has no origin."""
    events = json.loads(net_log.read_text(encoding="utf-8"))["events"]
    started = [event["params"] for event in events if "initiator" in (event.get("params") or {})]
    return [params["url"] for params in started if params["initiator"] != "not an origin"]


@pytest.fixture
def page(lived: Any, page_of: Any, tmp_path: Path) -> Path:
    """A report that holds everything, hostile names included, as a file."""
    for place, name in enumerate(NAMES):
        lived.person(8000 + place, name)
        lived.sequence(100 + place, name, skipped=2)
        lived.refusal(100 + place, name)
    path = tmp_path / "report.html"
    path.write_text(page_of(lived.state).source, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "options",
    [("--window-size=1200,2400",), ("--window-size=1200,2400", "--blink-settings=preferredColorScheme=0")],
    ids=["light", "dark"],
)
def test_it_asks_nobody_for_anything_and_has_nothing_to_complain_about(
    options: tuple[str, ...], page: Path, tmp_path: Path
) -> None:
    visited = _visit(page, tmp_path, *options)
    assert visited.asked_for == []
    assert visited.console == []
    assert "<h1><bdi>outreach-sync</bdi>" in visited.document
    assert visited.picture.stat().st_size > 20_000


def test_a_page_that_did_fetch_and_fail_would_be_noticed(tmp_path: Path) -> None:
    path = tmp_path / "other.html"
    path.write_text(
        "<!doctype html><title>x</title><img src='http://example.invalid/x.png'><script>console.error('no')</script>",
        encoding="utf-8",
    )
    visited = _visit(path, tmp_path)
    assert "http://example.invalid/x.png" in visited.asked_for
    assert any("no" in line for line in visited.console)


def test_nothing_sticks_out_on_a_phone_on_a_desk_or_with_everything_unfolded(page: Path, tmp_path: Path) -> None:
    frame = tmp_path / "frame.html"
    frame.write_text(
        f"""<!doctype html><title>frames</title><iframe src="{page.name}" width="320" height="900"></iframe>
        <iframe src="{page.name}" width="1200" height="900"></iframe><pre></pre>
        <script>addEventListener("load", () => {{
          const found = [];
          for (const one of document.querySelectorAll("iframe")) {{
            const inner = one.contentDocument;
            inner.querySelectorAll("details").forEach((each) => {{ each.open = true; }});
            for (const each of inner.querySelectorAll("body *")) {{
              if (each.closest(".scroll, .unseen, .skip, .patterns")) continue;
              if (each.getBoundingClientRect().right > inner.documentElement.clientWidth + 1) {{
                found.push(one.width + ": " + each.tagName + " " + each.textContent.slice(0, 30));
              }}
            }}
            found.push(one.width + " looked at " + inner.querySelectorAll("section").length);
          }}
          document.querySelector("pre").textContent = JSON.stringify(found);
        }});</script>""",
        encoding="utf-8",
    )
    visited = _visit(frame, tmp_path, "--allow-file-access-from-files", "--window-size=1600,1000")
    found = visited.document.split("<pre>")[1].split("</pre>")[0]
    assert json.loads(found) == ["320 looked at 11", "1200 looked at 11"]
