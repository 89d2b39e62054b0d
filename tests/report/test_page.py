import json
import re
import shutil
import subprocess
import time
from base64 import b64encode
from hashlib import sha256
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from outreach_sync.instants import Instant
from outreach_sync.report import Report, render
from tests.report.conftest import NOW

HOSTILE = (
    '<script>document.title="pwned"</script>',
    "</style><img src=x onerror=alert(1)>",
    "\"' autofocus onfocus=alert(1) x='\"",
    "\u202egnp.exe\u202c",
    "name\x00\x1b]0;title\x07",
    "</bdi></td></table><!-- ",
    "&lt;b&gt;",
    "x" * 3000,
)
SHOWN = {"\u202e": "\\x202e", "\u202c": "\\x202c", "\x00": "\\x00", "\x1b": "\\x1b", "\x07": "\\x07"}
STYLE = resources.files("outreach_sync.report").joinpath("style.css").read_text(encoding="utf-8")
TEXT, GRAPHICS = 4.5, 3.0  # WCAG 2.2, level AA: 1.4.3 and 1.4.11
KEEPS_OUT = {"script", "img", "iframe", "object", "embed", "form", "input", "base", "video", "audio"}


@pytest.mark.parametrize("days", [1, 30, 400])
def test_every_element_is_closed_in_place_and_every_id_is_its_own(lived: Any, page_of: Any, days: int) -> None:
    page = page_of(lived.state, days=days)
    assert (page.problems, page.open) == ([], [])
    ids = [tag.attributes["id"] for tag in page.tags if "id" in tag.attributes]
    assert len(ids) == len(set(ids))


@pytest.fixture
def page(lived: Any, page_of: Any) -> Any:
    return page_of(lived.state)


def test_every_link_and_label_points_to_something_and_landmarks_and_headings_are_in_order(page: Any) -> None:
    ids = {tag.attributes.get("id") for tag in page.tags}
    links = [tag.attributes["href"] for tag in page.named("a")]
    inner = {link.removeprefix("#") for link in links if link.startswith("#")}
    outer = {link for link in links if not link.startswith("#")}
    labels = {name for tag in page.tags for name in (tag.attributes.get("aria-labelledby") or "").split()}
    assert inner
    assert labels
    assert inner | labels <= ids
    assert "https://web.outreach.io/prospects/7/overview" in outer
    assert "https://acme-live.workbooks.com/crm/people/1007" in outer
    assert all(tag.attributes.get("rel") == "noreferrer" for tag in page.named("a") if tag.attributes["href"] in outer)
    assert page.named("html")[0].attributes["lang"] == "en"
    for landmark in ("header", "nav", "main", "footer", "h1", "title"):
        assert [tag.within[:1] for tag in page.named(landmark) if "svg" not in tag.within] == [("html",)], landmark
    levels = [int(tag.name[1]) for tag in page.named("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert {one.section for one in page.named("section")} <= {tag.section for tag in page.named("h2")}


def test_every_chart_has_a_title_and_a_table_beside_it_and_every_table_a_caption_and_heads(page: Any) -> None:
    charts = [tag for tag in page.named("svg") if tag.attributes.get("role") == "img"]
    assert len(charts) >= 9
    assert {chart.section for chart in charts} <= {tag.section for tag in page.named("table")}
    titles = {tag.attributes.get("id") for tag in page.named("title")}
    for chart in charts:
        names = (chart.attributes["aria-labelledby"] or "").split()
        assert names
        assert set(names) <= titles
    others = [tag.attributes.get("aria-hidden") for tag in page.named("svg") if tag not in charts]
    assert set(others) == {"true"}
    assert len(page.named("table")) == len(page.named("caption")) >= 8
    assert {tag.attributes.get("scope") for tag in page.named("th")} <= {"col", "row"}
    regions = [tag.attributes for tag in page.tags if tag.attributes.get("class") == "scroll"]
    assert regions
    assert all(one["tabindex"] == "0" and one["aria-label"] for one in regions)


def test_it_asks_nobody_for_anything_and_runs_nothing(page: Any) -> None:
    metas = [tag.attributes for tag in page.named("meta")]
    (policy,) = (one["content"] for one in metas if one.get("http-equiv") == "Content-Security-Policy")
    (style,) = page.said("style")
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "unsafe" not in policy
    assert not KEEPS_OUT & {tag.name for tag in page.tags}
    assert not re.search(r"https?:|//|@import", style.replace("/*", "")), "the style sheet fetches something"
    assert [tag.attributes["href"] for tag in page.named("link")] == ["data:,"]
    assert not [tag for tag in page.tags if {"src", "srcset"} & tag.attributes.keys()]
    assert not any(name.startswith("on") or name == "style" for tag in page.tags for name in tag.attributes)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_is_shown_and_does_nothing(text: str, filled: Any, page_of: Any) -> None:
    tame = page_of(_with(filled, "a name", 1))
    page = page_of(_with(filled, text, 2))
    assert page.problems == []
    assert not KEEPS_OUT & {tag.name for tag in page.tags}
    assert not any(name.startswith("on") or name == "autofocus" for tag in page.tags for name in tag.attributes)
    assert "<!--" not in page.source.removeprefix("<!doctype")
    assert all(one.isprintable() or one == "\n" for one in page.source)
    assert {tag.name for tag in page.tags} == {tag.name for tag in tame.tags}
    seen = text[:300].strip().translate(str.maketrans(SHOWN))
    assert sum(seen in shown for shown in page.said("bdi")) == 6


def _with(filled: Any, text: str, number: int) -> Any:
    filled.person(number, text)
    filled.sequence(number, text, skipped=1)
    filled.refusal(number, text)
    filled.run(f"run-{number}", Instant(NOW - 60_000 * number), "failed", error=text)
    return filled.state


def test_it_says_what_to_do_first_and_later_its_verdict_before_anything_else(filled: Any, page_of: Any) -> None:
    page = page_of(filled.state)
    assert "no run was made yet" in page.text
    assert "outreach-sync check" in page.said("code")
    assert page.problems == []
    filled.run("a", Instant(NOW - 300_000))
    page = page_of(filled.state)
    assert page.said("title")[0] == "outreach-sync: api.outreach.io → acme-live.workbooks.com"
    assert page.named("h1")[0].within == ("html", "body", "header")
    assert "All is well." in page.said("strong")
    assert "Next run 2026-09-30 12:05" in " ".join(page.text.split())
    assert page.text.index("All is well.") < page.text.index("At a glance")


def test_what_needs_somebody_is_listed_in_the_verdict_and_only_what_is_new_is_marked(filled: Any, page_of: Any) -> None:
    filled.run("r", Instant(NOW - 40 * 86_400_000))
    filled.refusal(1, "no", parked=True)
    page = page_of(filled.state)
    assert "All is well" not in page.text
    assert "2 things need somebody." in page.said("strong")
    assert [tag for tag in page.tags if tag.attributes.get("class") == "new"] == []


def test_ninety_days_of_a_run_every_ten_minutes_make_a_page_fast_and_small(filled: Any) -> None:
    summary = '{"people": {"updated": 3}, "tasks": {}, "requests": {"outreach": 3, "workbooks": 1}}'
    runs = ((str(one), NOW - one * 600_000, NOW - one * 600_000 + 4000, summary) for one in reversed(range(12_888)))
    statement = "INSERT INTO run (id, command, started_at, finished_at, exit_status, outcome, summary)"
    with filled.state.transaction():
        filled.state.connection.executemany(f"{statement} VALUES (?, 'run', ?, ?, 0, 'ok', ?)", runs)
    began = time.process_time()
    page = render(Report(filled.state, filled.config, NOW, days=90))
    assert time.process_time() - began < 3
    assert "12,888 runs" in page
    assert len(page) < 300_000


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(one * 2 for one in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_text_and_graphics_stand_out_from_what_is_behind_them_in_light_in_dark_and_on_paper() -> None:
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    assert len(blocks) == 3
    assert "@media (prefers-color-scheme: dark)" in STYLE
    assert "@media print" in STYLE
    for palette in (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+)", block)) for block in blocks):
        for ground in ("ground", "card"):
            for ink in ("ink", "soft", "calm", "warn", "good"):
                assert _contrast(palette[ink], palette[ground]) >= TEXT, (ink, ground)
        for ink, ground in (("bad", "ground"), ("bad", "card"), ("warn", "warn-soft"), ("bad", "bad-soft")):
            assert _contrast(palette[ink], palette[ground]) >= GRAPHICS, (ink, ground)


# -- in a real browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-background-networking"),
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
FETCHING = "<img src='http://example.invalid/x.png' onerror='console.error(1)'><script>console.error(2)</script>\u202e"
NAMES = ("Renewals-" + "x" * 120, FETCHING, "\u0639\u0631\u0648\u0636")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the page is not tried in a browser")
def test_nothing_sticks_out_on_a_phone_or_a_desk_unfolded(lived: Any, page_of: Any, tmp_path: Path) -> None:
    for place, name in enumerate(NAMES):
        lived.person(8000 + place, name)
        lived.sequence(100 + place, name, skipped=2)
        lived.refusal(100 + place, name)
    page = tmp_path / "report.html"
    page.write_text(page_of(lived.state).source, encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(
        f"""<!doctype html><title>frames</title><iframe src="{page.name}" width="320" height="900"></iframe>
        <iframe src="{page.name}" width="1200" height="900"></iframe><pre></pre>
        <script>addEventListener("load", () => {{
          const found = [];
          for (const one of document.querySelectorAll("iframe")) {{
            const inner = one.contentDocument;
            inner.querySelectorAll("details").forEach((each) => {{ each.open = true; }});
            const wide = [...inner.querySelectorAll("body *:not(.scroll *, .unseen *, .skip *, .patterns *)")]
              .filter((each) => each.getBoundingClientRect().right > inner.documentElement.clientWidth + 1)
              .map((each) => each.tagName + " " + each.textContent.slice(0, 30));
            found.push([one.width, inner.querySelectorAll("section").length, ...wide]);
          }}
          document.querySelector("pre").textContent = JSON.stringify(found);
        }});</script>""",
        encoding="utf-8",
    )
    profile, window = f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1600,1000"
    words = [str(CHROMIUM), *QUIET, profile, "--dump-dom", "--allow-file-access-from-files", window, frame.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    found = done.stdout.split("<pre>")[1].split("</pre>")[0]
    assert json.loads(found) == [["320", 11], ["1200", 11]]
