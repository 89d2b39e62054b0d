"""The page in a real browser: whether it fits."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
HOSTILE = "<img src='http://example.invalid/x.png' onerror='console.error(1)'><script>console.error(2)</script>\u202e"
NAMES = ("Renewals-" + "x" * 120, HOSTILE, "\u0639\u0631\u0648\u0636")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium on this machine: the page is not tried in a browser",
)


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
    done = subprocess.run(
        [
            str(CHROMIUM), *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
            "--allow-file-access-from-files", "--window-size=1600,1000", frame.as_uri(),
        ],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    found = done.stdout.split("<pre>")[1].split("</pre>")[0]
    assert json.loads(found) == ["320 looked at 11", "1200 looked at 11"]
