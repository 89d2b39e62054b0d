"""Changing single values in a config file while everything else, comments too, stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from outreach_sync.config.interpolation import mentions_variable
from outreach_sync.errors import ConfigError
from outreach_sync.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def rewritten(text: str, section: tuple[str, ...], values: Mapping[str, str]) -> str | None:
    """Return the text of a config with plain words put in as values of a section's keys.

    None where that cannot be done without touching something else: the section is not there or not in block style, or
    a value comes from the environment.
    """
    mapping = _mapping_at(yaml.compose(text), section)
    if mapping is None or mapping.flow_style or not mapping.value:
        return None
    edits = [_edit(mapping, key, value) for key, value in values.items()]
    done = text
    for edit in sorted((one for one in edits if one is not None), reverse=True):
        begin, end, new = edit
        done = done[:begin] + new + done[end:]
    return None if None in edits or not _holds(done, section, values) else done


def replace_file(path: Path, text: str) -> None:
    """Replace a config file atomically; mode and, through a symbolic link, place stay the same.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        write_whole(path, text)
    except OSError as problem:
        raise ConfigError(f"{path} cannot be written ({problem.strerror}).") from problem


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


def _holds(text: str, section: tuple[str, ...], values: Mapping[str, str]) -> bool:
    mapping = _mapping_at(yaml.compose(text), section)
    held = {} if mapping is None else {name.value: value.value for name, value in mapping.value}
    return all(held.get(key) == value for key, value in values.items())
