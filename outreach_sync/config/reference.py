"""The reference of the config, made from the models: docs/config.md."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

from outreach_sync.config.document import SECRETS, Where, shown_way
from outreach_sync.config.forms import Form
from outreach_sync.config.keys import section_of
from outreach_sync.config.models import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

_INTRODUCTION = """# The config file

The config is a YAML file. It is looked for in this order: `--config`, `$OUTREACH_SYNC_CONFIG`,
`config/outreach-sync.yaml`, `~/.config/outreach-sync/config.yaml` (`$XDG_CONFIG_HOME` counts),
`/etc/outreach-sync/config.yaml`. `outreach-sync init` writes one to start from, and `outreach-sync check` tries it.

- Only the credentials of Outreach and `workbooks.api_key` are required.
- `${NAME}` takes an environment variable, `${NAME:-default}` a default where it is unset or empty; `$${` is a literal
  `${`. Inside `{…}` or `[…]` such a value needs quotes.
- A secret may instead be read from a file: `<key>_file: PATH`. Newlines at its end are dropped.
- A relative path starts at the directory of the config file.
- Durations are written `250ms`, `30s`, `10m`, `24h`, `90d`, `2w` or `1h30m`, and last at most a hundred years.
- Where a cron expression restricts both the day of the month and the day of the week, either is enough, as cron has it.
- Every mistake is reported at once, as `file:line: key: what is wrong; what is allowed`.
- `config/outreach-sync.schema.json` describes the file to editors: put
  `# yaml-language-server: $schema=PATH` on its first line.

This page is generated from the program; `python -m outreach_sync.config.reference` writes it.
"""


def reference_markdown() -> str:
    """Write the reference: a table for each section with key, what is allowed, default and meaning."""
    return "\n".join((_INTRODUCTION, *_sections(Config, ())))


def _sections(model: type[BaseModel], where: Where) -> Iterator[str]:
    values = [(key, field) for key, field in _keys(model) if section_of(field) is None]
    if values:
        yield f"## `{shown_way(where)}`\n\n{model.__doc__}\n"
        yield "| key | allowed | default | meaning |\n|---|---|---|---|"
        yield from (_row((*where, key), field) for key, field in values)
        yield ""
    for key, field in _keys(model):
        inner = section_of(field)
        if inner is not None:
            yield from _sections(inner, (*where, key))


def _keys(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    return [(field.alias or name, field) for name, field in model.model_fields.items()]


def _row(where: Where, field: FieldInfo) -> str:
    key = f"`{where[-1]}`" + (f" or `{where[-1]}_file`" if where in SECRETS else "")
    cells = (key, _allowed(field), f"`{_default(field)}`", field.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _allowed(field: FieldInfo) -> str:
    own = next((form for form in field.metadata if isinstance(form, Form)), None)
    if own is not None:
        return own.allowed
    inner = [_form_in(part) for part in get_args(field.annotation)]
    forms = [form.allowed for form in inner if form is not None]
    return f"a map; each key: {forms[0]}; each value: {forms[1]}" if len(forms) > 1 else f"a list; each: {forms[0]}"


def _form_in(annotation: Any) -> Form | None:
    return next((part for part in get_args(annotation) if isinstance(part, Form)), None)


def _default(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    default = extra.get("default") if isinstance(extra, dict) else field.default
    if isinstance(default, str):
        return default
    return json.dumps(default, ensure_ascii=False).replace('"', "")


if __name__ == "__main__":
    import sys

    sys.stdout.write(reference_markdown())
