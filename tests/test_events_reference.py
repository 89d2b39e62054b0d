import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_reference_lists_every_event_that_is_logged_with_its_level_and_no_other() -> None:
    listed = re.findall(r"(?m)^\| `(\w+)` \| (\w+) \|", (ROOT / "docs" / "events.md").read_text(encoding="utf-8"))
    logged = set()
    for path in (ROOT / "outreach_sync").rglob("*.py"):  # the simulated services log none
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr=level), args=[ast.Constant(value=str(event)), *_]):
                    if level in {"debug", "info", "warning", "error"} and event.isidentifier():  # `zlib.error("…")`
                        logged.add((event, level))
    assert sorted(logged) == sorted(listed)
