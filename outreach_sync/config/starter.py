"""Config files that this program writes: the one to start from, and single values that are changed in another.

The starter is made from the model: every key with its default, and its description as a comment.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import yaml

from outreach_sync.config.document import Where, mentions_variable
from outreach_sync.config.model import Config, keys_of
from outreach_sync.errors import ConfigError, UsageError
from outreach_sync.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pydantic import BaseModel

Answer = str | int | float | bool | None

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


def starter_config(answers: Mapping[str, Answer] | None = None) -> str:
    """Write the starter config.

    Args:
        answers: values to put in place of the defaults, by path: ``{"workbooks.base_url": "https://…"}``.

    Raises:
        UsageError: an answer is for a key that the starter does not have.
    """
    wanted: dict[Where, Answer] = {tuple(path.split(".")): answer for path, answer in (answers or {}).items()}
    text = _HEAD + "\n".join(_section(Config, (), wanted)) + "\n"
    if wanted:
        raise UsageError(f"{'.'.join(map(str, next(iter(wanted))))} is not a key of the starter config.")
    return text


def rewritten(text: str, section: tuple[str, ...], wanted: Mapping[str, str]) -> str | None:
    """Return the text of a config with plain words put in as values of a section's keys.

    None where that cannot be done without touching something else: the section is not there or not in block style, or
    a value comes from the environment.
    """
    mapping = _mapping_at(yaml.compose(text), section)
    if mapping is None or mapping.flow_style or not mapping.value:
        return None
    edits = [_edit(mapping, key, value) for key, value in wanted.items()]
    done = text
    for begin, end, new in sorted((one for one in edits if one is not None), reverse=True):
        done = done[:begin] + new + done[end:]
    again = _mapping_at(yaml.compose(done), section)
    held = {} if again is None else {name.value: value.value for name, value in again.value}
    whole = None not in edits and all(held.get(key) == value for key, value in wanted.items())
    return done if whole else None


def replace_file(path: Path, text: str) -> None:
    """Replace a config file atomically; owner, mode and, through a symbolic link, place stay the same.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        write_whole(path, text)
    except OSError as problem:
        raise ConfigError(f"{path} cannot be written ({problem.strerror}).") from problem


def _section(model: type[BaseModel], where: Where, answers: dict[Where, Answer]) -> Iterator[str]:
    for way, inner, field in keys_of(model, where):
        if len(way) == 1:
            yield ""
        said = (inner.__doc__ if inner else field.description) or ""
        if way in _LEFT_OUT:
            yield from _comment(field.description or "")
            yield from (f"# {line}" for line in _LEFT_OUT[way].splitlines())
        elif inner is not None:
            yield from _comment(said)
            yield f"{way[-1]}:"
            yield from (f"  {line}".rstrip() for line in _section(inner, way, answers))
        else:
            default = field.examples[0] if field.examples else field.default
            yield from _entry(str(way[-1]), answers.pop(way, default), said)


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


def _mapping_at(node: yaml.Node | None, section: tuple[str, ...]) -> yaml.MappingNode | None:
    for name in section:
        if not isinstance(node, yaml.MappingNode):
            return None
        node = next((value for key, value in node.value if key.value == name), None)
    return node if isinstance(node, yaml.MappingNode) else None


def _edit(mapping: yaml.MappingNode, key: str, value: str) -> tuple[int, int, str] | None:
    """Return (begin, end, new text): the old value's place, or a new line before the section's first key."""
    for name, old in mapping.value:
        if name.value == key:
            plain = isinstance(old, yaml.ScalarNode) and not mentions_variable(old.value)
            return (old.start_mark.index, old.end_mark.index, value) if plain else None
    first = mapping.value[0][0].start_mark
    return first.index, first.index, f"{key}: {value}\n{' ' * first.column}"
