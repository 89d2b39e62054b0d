"""The config to start from: every key, commented, with its default."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING

import yaml

from outreach_sync.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

Answer = str | int | float | bool | None


def starter_config(answers: Mapping[str, Answer] | None = None) -> str:
    """Write the starter config.

    Args:
        answers: values to put in place of those of the starter, by path: ``{"workbooks.base_url": "https://…"}``.

    Raises:
        UsageError: an answer is for a key that the starter does not give a single value.
    """
    text = files("outreach_sync.config").joinpath("starter.yaml").read_text(encoding="utf-8")
    scalars = dict(_scalars(yaml.compose(text, Loader=yaml.SafeLoader), ""))
    wanted = answers or {}
    for path in sorted(wanted.keys() - scalars.keys()):
        raise UsageError(f"{path} is no key of the starter config that takes one value.")
    for path in sorted(wanted, key=lambda path: scalars[path].start_mark.index, reverse=True):
        node = scalars[path]
        text = text[: node.start_mark.index] + _written(wanted[path]) + text[node.end_mark.index :]
    return text


def _scalars(node: yaml.Node | None, path: str) -> list[tuple[str, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        inner = [_scalars(value, f"{path}.{key.value}" if path else str(key.value)) for key, value in node.value]
        return [found for part in inner for found in part]
    return [(path, node)] if isinstance(node, yaml.ScalarNode) else []


def _written(answer: Answer) -> str:
    """Write a value so that YAML reads it back as it is: JSON is YAML, and simple words need no quotes."""
    if isinstance(answer, str) and answer and set(answer) <= _SAFE and answer[0].isalpha() and not _looks_typed(answer):
        return answer
    return json.dumps(answer, ensure_ascii=False)


_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./")


def _looks_typed(text: str) -> bool:
    return not isinstance(yaml.safe_load(text), str)
