"""The config written from its model: `python -m outreach_sync.config schema|reference|example`, and edits."""

from __future__ import annotations

import json
import sys
import textwrap
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment

from outreach_sync.config import Schema, allowed, described, inner, json_schema, keys_at, node_at
from outreach_sync.config.model import SECRETS
from outreach_sync.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from outreach_sync.config.model import Where

Answer = str | int | float | bool | None
_VARIABLE: Schema = {"type": "string", "pattern": r"\$\{[A-Za-z_]"}
_VERBATIM = frozenset({"default", "examples", "propertyNames"})
_SAID = frozenset({"default", "description", "errorMessage", "examples", "title"})
_WIDTH = 118
_COLUMN = 40
_HEAD = """\
# outreach-sync: the config. Every key is here with its default; what is right for you already can be left out.
#
# ${NAME} takes an environment variable, ${NAME:-default} a default where it is unset or empty, and $${ is a literal ${.
# A secret may also come from a file: instead of `api_key: …` write `api_key_file: /run/credentials/api_key`
# (likewise client_secret_file, refresh_token_file, private_key_file, ping_url_file). A relative path starts at the
# directory of this file. Durations are written 30s, 10m, 24h, 90d or 1h30m. Try a change with `outreach-sync check`.
"""
_LEFT_OUT = {  # Keys that stand there as a comment: most configs do without them.
    ("outreach", "s2s"): 's2s:\n  install_id: "…"\n  app_guid: "…"\n  private_key_file: /etc/outreach-sync/s2s.pem\n',
    ("state", "path"): "path: /var/lib/outreach-sync/state.db\n",
}


def schema_text() -> str:
    """Write the schema as it stands in the repository: a variable fits wherever a single value does."""
    return json.dumps(_with_variables(json_schema()), indent=2, ensure_ascii=False) + "\n"


def _with_variables(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_variables(one) for one in node]
    if not isinstance(node, dict):
        return node
    parts = {key: one if key in _VERBATIM else _with_variables(one) for key, one in node.items()}
    kind = parts.get("type")
    if kind in ("integer", "number", "boolean") or (kind == "string" and parts.keys() & {"enum", "pattern"}):
        said = {key: one for key, one in parts.items() if key in _SAID}
        form = {key: one for key, one in parts.items() if key not in _SAID}
        return {**said, "anyOf": [form, _VARIABLE]}
    return parts


def _own_keys(where: Where) -> list[str]:
    secrets = {f"{way[-1]}_file" for way in SECRETS if way[:-1] == where}
    return [key for key in keys_at(where) if key not in secrets]


def reference_markdown() -> str:
    """Write the reference: a table for each section with key, what is allowed, default and meaning."""
    text = resources.files(__package__).joinpath("reference.md.j2").read_text(encoding="utf-8")
    page = Environment(trim_blocks=True, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - Markdown
    return page.from_string(text).render(sections=_sections(()))


def _sections(where: Where) -> Iterator[Schema]:
    rows = []
    for way in ((*where, key) for key in _own_keys(where)):
        if keys_at(way):
            continue
        said = described(way)
        default = said.get("default")
        shown = default if isinstance(default, str) else json.dumps(default, ensure_ascii=False).replace('"', "")
        key = f"`{way[-1]}`" + (f" or `{way[-1]}_file`" if way in SECRETS else "")
        rows.append((key, allowed(said), f"`{shown}`", said["description"]))
    if rows:
        yield {"name": ".".join(map(str, where)), "says": inner(described(where))["description"], "rows": rows}
    for key in _own_keys(where):
        yield from _sections((*where, key))


def starter_config(answers: Mapping[str, Answer] | None = None) -> str:
    """Write the starter config, with answers in place of defaults, by path: ``{"workbooks.base_url": "https://…"}``."""
    wanted: dict[Where, Answer] = {tuple(path.split(".")): answer for path, answer in (answers or {}).items()}
    text = _HEAD + "\n".join(_lines((), wanted)) + "\n"
    if wanted:
        raise UsageError(f"{'.'.join(map(str, next(iter(wanted))))} is not a key of the starter config.")
    return text


def _lines(where: Where, answers: dict[Where, Answer]) -> Iterator[str]:
    for key in _own_keys(where):
        way = (*where, key)
        said = described(way)
        if not where:
            yield ""
        if way in _LEFT_OUT:
            yield from _comment(said["description"])
            yield from (f"# {line}" for line in _LEFT_OUT[way].splitlines())
        elif keys_at(way):
            yield from _comment(inner(said)["description"])
            yield f"{key}:"
            yield from (f"  {line}".rstrip() for line in _lines(way, answers))
        else:
            yield from _entry(key, answers.pop(way, said.get("examples", [said["default"]])[0]), said["description"])


def _entry(key: str, value: Any, said: str) -> Iterator[str]:
    flow = None if isinstance(value, list) else False
    text = yaml.safe_dump({key: value}, allow_unicode=True, default_flow_style=flow, width=_WIDTH, sort_keys=False)
    comment = f"{text.removesuffix(chr(10)).ljust(_COLUMN)} # {said}"
    if text.count("\n") > 1 or len(comment) >= _WIDTH - 4:
        yield from (*_comment(said), *text.splitlines())
    else:
        yield comment


def _comment(said: str) -> Iterator[str]:
    yield from (f"# {line}" for line in textwrap.wrap(said, _WIDTH - 6, break_on_hyphens=False, break_long_words=False))


def rewritten(text: str, section: tuple[str, ...], wanted: Mapping[str, str]) -> str | None:
    """Put plain words into a section of a config's text; None: it is not there, or not in plain block style."""
    mapping = node_at(yaml.compose(text), section)
    if not isinstance(mapping, yaml.MappingNode) or mapping.flow_style or not mapping.value:
        return None
    first, edits = mapping.value[0][0].start_mark, []  # (begin, end, new text)
    for key, value in wanted.items():
        old = next((node for name, node in mapping.value if name.value == key), None)
        if old is None:  # a new line before the section's first key
            edits.append((first.index, first.index, f"{key}: {value}\n{' ' * first.column}"))
        elif isinstance(old, yaml.ScalarNode) and "${" not in old.value:
            edits.append((old.start_mark.index, old.end_mark.index, value))
        else:
            return None
    done = text
    for begin, end, new in sorted(edits, reverse=True):
        done = done[:begin] + new + done[end:]
    again = yaml.compose(done)
    held = {key: node_at(again, (*section, key)) for key in wanted}
    return done if all(node is not None and node.value == wanted[key] for key, node in held.items()) else None


if __name__ == "__main__":
    sys.stdout.write({"schema": schema_text, "reference": reference_markdown, "example": starter_config}[sys.argv[1]]())
