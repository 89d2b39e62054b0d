"""The config written, from its model: a schema for editors, docs/config.md for people, a file to start from, and edits.

``python -m outreach_sync.config schema``, ``reference`` or ``example`` prints what is generated.
"""

from __future__ import annotations

import json
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import yaml

from outreach_sync.config import Schema, allowed, described, inner, json_schema, keys_at, mentions_variable, node_at
from outreach_sync.config.model import SECRETS
from outreach_sync.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from outreach_sync.config.model import Where

Answer = str | int | float | bool | None

_VARIABLE: Schema = {"type": "string", "pattern": r"\$\{[A-Za-z_]"}
_VERBATIM = frozenset({"default", "examples", "propertyNames"})
_SAID = frozenset({"default", "description", "errorMessage", "examples", "title"})
_INTRODUCTION = """# The config file

The config is a YAML file. It is looked for in this order: `--config`, `$OUTREACH_SYNC_CONFIG`,
`config/outreach-sync.yaml`, `~/.config/outreach-sync/config.yaml` (`$XDG_CONFIG_HOME` counts),
`/etc/outreach-sync/config.yaml`. `outreach-sync init` writes one to start from, and `outreach-sync check` tries it.

- Only the credentials of Outreach and `workbooks.api_key` are required.
- `${NAME}` takes an environment variable, `${NAME:-default}` a default where it is unset or empty; `$${` is a literal
  `${`. Inside `{…}` or `[…]` such a value needs quotes.
- A secret may instead be read from a file: `<key>_file: PATH`.
- Blanks, line ends and byte order marks around a secret, or around what a variable holds, are dropped. A secret with
  one of them inside is a mistake.
- A relative path starts at the directory of the config file.
- For a config below `/etc/outreach-sync`, `${STATE_DIRECTORY}` and `${CREDENTIALS_DIRECTORY}` are also known outside of
  the systemd units: for `/etc/outreach-sync/acme/config.yaml` they are `/var/lib/outreach-sync/acme` and
  `/etc/outreach-sync/acme/credentials`.
- Durations are written `250ms`, `30s`, `10m`, `24h`, `90d`, `2w` or `1h30m`, and last at most a hundred years.
- Where a cron expression restricts both the day of the month and the day of the week, either is enough, as cron has it.
- Every mistake is reported at once, as `file:line: key: what is wrong; what is allowed`. The file may have 256 KiB.
- `config/outreach-sync.schema.json` describes the file to editors: put
  `# yaml-language-server: $schema=PATH` on its first line.

This page is generated from the program: `make docs`.
"""

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
_LEFT_OUT = {
    ("outreach", "s2s"): 's2s:\n  install_id: "…"\n  app_guid: "…"\n  private_key_file: /etc/outreach-sync/s2s.pem\n',
    ("state", "path"): "path: /var/lib/outreach-sync/state.db\n",
}
"""Keys that stand there as a comment: most configs do without them."""


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
    """List the keys of a section but the `_file` variants of its secrets."""
    return [
        key for key in keys_at(where) if (*where, key.removesuffix("_file")) not in SECRETS or (*where, key) in SECRETS
    ]


def reference_markdown() -> str:
    """Write the reference: a table for each section with key, what is allowed, default and meaning."""
    return "\n".join((_INTRODUCTION, *_tables(())))


def _tables(where: Where) -> Iterator[str]:
    ways = [(*where, key) for key in _own_keys(where)]
    rows = [_row(way) for way in ways if not keys_at(way)]
    if rows:
        yield f"## `{'.'.join(map(str, where))}`\n\n{inner(described(where))['description']}\n"
        yield "| key | allowed | default | meaning |\n|---|---|---|---|"
        yield from rows
        yield ""
    for way in ways:
        yield from _tables(way)


def _row(where: Where) -> str:
    said = described(where)
    default = said.get("default")
    shown = default if isinstance(default, str) else json.dumps(default, ensure_ascii=False).replace('"', "")
    key = f"`{where[-1]}`" + (f" or `{where[-1]}_file`" if where in SECRETS else "")
    cells = (key, allowed(said), f"`{shown}`", said["description"])
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def starter_config(answers: Mapping[str, Answer] | None = None) -> str:
    """Write the starter config.

    Args:
        answers: values to put in place of the defaults, by path: ``{"workbooks.base_url": "https://…"}``.

    Raises:
        UsageError: an answer is for a key that the starter does not have.
    """
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
    first, *more = text.splitlines()
    comment = f"{first.ljust(_COLUMN)} # {said}"
    if not more and len(comment) < _WIDTH - 4:
        yield comment
        return
    yield from _comment(said)
    yield from (first, *more)


def _comment(said: str) -> Iterator[str]:
    yield from (f"# {line}" for line in textwrap.wrap(said, _WIDTH - 6, break_on_hyphens=False, break_long_words=False))


def rewritten(text: str, section: tuple[str, ...], wanted: Mapping[str, str]) -> str | None:
    """Return the text of a config with plain words put in as values of a section's keys.

    None where that cannot be done without touching something else: the section is not there or not in block style, or
    a value comes from the environment.
    """
    mapping = node_at(yaml.compose(text), section)
    if not isinstance(mapping, yaml.MappingNode) or mapping.flow_style or not mapping.value:
        return None
    edits = [_edit(mapping, key, value) for key, value in wanted.items()]
    done = text
    for begin, end, new in sorted((one for one in edits if one is not None), reverse=True):
        done = done[:begin] + new + done[end:]
    again = yaml.compose(done)
    held = {key: node_at(again, (*section, key)) for key in wanted}
    whole = None not in edits and all(node is not None and node.value == wanted[key] for key, node in held.items())
    return done if whole else None


def _edit(mapping: yaml.MappingNode, key: str, value: str) -> tuple[int, int, str] | None:
    """Return (begin, end, new text): the old value's place, or a new line before the section's first key."""
    for name, old in mapping.value:
        if name.value == key:
            plain = isinstance(old, yaml.ScalarNode) and not mentions_variable(old.value)
            return (old.start_mark.index, old.end_mark.index, value) if plain else None
    first = mapping.value[0][0].start_mark
    return first.index, first.index, f"{key}: {value}\n{' ' * first.column}"


if __name__ == "__main__":
    sys.stdout.write({"schema": schema_text, "reference": reference_markdown, "example": starter_config}[sys.argv[1]]())
