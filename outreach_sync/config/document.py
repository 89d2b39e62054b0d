"""The config file as YAML says it: a tree of text, the line of every value, and every mistake that YAML alone shows.

Numbers and truth values stay text here (`Plain` knows what YAML makes of them), so that a client id of digits keeps
its leading zeros; what a value has to be is for the models to say. This module does without pydantic: `status` is in a
hurry.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import yaml

from outreach_sync.config.interpolation import MalformedError, UnsetVariableError, interpolate, mentions_variable
from outreach_sync.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.records import Scalar

Where = tuple[str | int, ...]
"""The way to a value: keys, and indexes of lists from 0."""

SECRETS: frozenset[Where] = frozenset(
    {
        ("outreach", "client_secret"),
        ("outreach", "refresh_token"),
        ("outreach", "s2s", "private_key"),
        ("workbooks", "api_key"),
        ("monitoring", "ping_url"),
    }
)
"""Values that are never shown, and that may come from a file: ``<key>_file: PATH``."""

CREDENTIALS: frozenset[Where] = SECRETS | {
    ("outreach", "client_id"),
    ("outreach", "s2s", "install_id"),
    ("outreach", "s2s", "app_guid"),
}
"""Values that commands without a service to talk to can do without."""

_MOST_VALUES = 20_000  # aliases of aliases can make a small file huge
_NAME = re.compile(r"\w[\w\[\]-]{0,60}", re.ASCII)
_YAML_TAG = "tag:yaml.org,2002:"
_TYPED = frozenset({_YAML_TAG + kind for kind in ("bool", "int", "float")})
_KNOWN_TAGS = _TYPED | {_YAML_TAG + kind for kind in ("str", "null", "timestamp", "value", "map", "seq", "merge")}
_DEEPEST = 40
_LONGEST_FOR_C = 20_000  # the parser in C is quick, but deep nesting in a long text overflows its stack
_Loader = type[yaml.SafeLoader] | type[yaml.CSafeLoader]
_QuickLoader: _Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Plain(str):
    """Unquoted text that YAML reads as a number or a truth value, which is `value`."""

    __slots__ = ("value",)
    value: Scalar

    def __new__(cls, text: str, value: Scalar) -> Self:
        """Keep both readings."""
        plain = super().__new__(cls, text)
        plain.value = value
        return plain


class Problem(NamedTuple):
    """One mistake: its line (from 1), the way to it, and what is wrong; then, after a semicolon, what is allowed."""

    line: int
    where: Where
    text: str

    def shown(self, path: Path) -> str:
        """Write ``file:line: path: what is wrong; what is allowed``."""
        way = shown_way(self.where)
        return f"{path}:{self.line}: {way}: {self.text}" if way else f"{path}:{self.line}: {self.text}"


class Document(NamedTuple):
    """A config file that was read.

    `tree` holds dicts, lists, text and None. `lines` knows every key and list item. `literals` are the secrets that
    stand in the file itself.
    """

    path: Path
    tree: dict[str, object]
    lines: Mapping[Where, int]
    problems: tuple[Problem, ...]
    literals: frozenset[Where]

    def line_of(self, where: Where) -> int:
        """Find the line of a value, or of the nearest thing around it that is in the file."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)

    def problem(self, where: Where, text: str) -> Problem:
        """Say what is wrong with a value, at its line."""
        return Problem(self.line_of(where), where, text)


def shown_way(where: Where) -> str:
    """Write the way to a value as ``sync.tasks.skipped_when[0].state``.

    A key that is no name is not shown: ``{api_key:hush}``, for want of a blank, is a key.
    """
    return "".join(f"[{step}]" if isinstance(step, int) else f".{_shown_key(step)}" for step in where).removeprefix(".")


def _shown_key(key: str) -> str:
    return key if _NAME.fullmatch(key) else "…"


def read_document(path: Path, *, require_secrets: bool = True) -> Document:
    """Read a config file, put in what the environment and the secret files hold, and collect the mistakes.

    Args:
        path: the config file.
        require_secrets: whether a credential whose variable or file is missing is a mistake; else it is None.

    Raises:
        ConfigError: the file cannot be read, or is no YAML mapping at all.
    """
    root = _compose(path, _text_of(path))
    reader = _Reader(require_secrets=require_secrets)
    tree = reader.mapping(root, ())
    reader.take_secret_files(tree, path.parent)
    return Document(path, tree, reader.lines, tuple(reader.problems), frozenset(reader.literals))


def _text_of(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unusable(path, 1, f"the config cannot be read: {error.strerror}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unusable(path, line, "the text is not UTF-8; save the file as UTF-8") from None


def _compose(path: Path, text: str) -> yaml.MappingNode:
    loader = (_QuickLoader if len(text) < _LONGEST_FOR_C else yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise _unusable(path, mark.line + 1 if mark else 1, f"this is not YAML: {_complaint(error)}") from None
    except RecursionError:
        raise _unusable(path, 1, "this is not a config: values are nested too deep") from None
    finally:
        loader.dispose()
    if node is None:
        raise _unusable(path, 1, "the config is empty; `outreach-sync init` writes one to start from")
    if not isinstance(node, yaml.MappingNode):
        raise _unusable(path, node.start_mark.line + 1, "this is not a mapping; allowed: sections like `outreach:`")
    return node


def _complaint(error: yaml.YAMLError) -> str:
    """Take what the parser says without anything it quotes: a quoted word may be part of a secret."""
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
    return re.sub(r"(['\"]).{2,}\1", "…", str(said))


def _unusable(path: Path, line: int, text: str) -> ConfigError:
    return ConfigError(f"{path} cannot be used:", problems=(Problem(line, (), text).shown(path),))


class _Reader:
    """Turns YAML's nodes into the tree, and remembers lines and mistakes on the way."""

    def __init__(self, *, require_secrets: bool) -> None:
        self.require_secrets = require_secrets
        self.lines: dict[Where, int] = {}
        self.problems: list[Problem] = []
        self.literals: set[Where] = set()
        self._open: set[int] = set()
        self._count = 0

    def mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, object]:
        """Read a mapping; a key that is given twice or is no text is a mistake, and left out."""
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                self._complain(line, where, "a key must be a word; allowed: one of the keys of this section")
            elif key in values:
                first = self.lines[(*where, key)]
                self._complain(line, (*where, key), f"given twice, first on line {first}; remove one of them")
            else:
                self.lines[(*where, key)] = line
                values[key] = self._value(value_node, (*where, key))
        return values

    def take_secret_files(self, tree: dict[str, object], base: Path) -> None:
        """Replace every ``<key>_file`` by ``<key>`` with what the file holds."""
        for where in sorted(SECRETS, key=str):
            section = _section_at(tree, where[:-1])
            key = str(where[-1])
            if section is None or section.get(f"{key}_file") is None:
                continue
            named = section.pop(f"{key}_file")
            at = (*where[:-1], f"{key}_file")
            if section.get(key):
                self._complain(self.lines[at], at, f"{key} is given as well; give one of the two")
                continue
            section[key] = self._secret_in(named, at, base)
            self.lines[where] = self.lines[at]

    def _secret_in(self, named: object, at: Where, base: Path) -> str | None:
        if not isinstance(named, str) or not named:
            self._complain(self.lines[at], at, "is not a path; allowed: the path of a file that holds the secret")
            return None
        file = base / Path(named).expanduser()
        try:
            secret = file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            self._no_secret(at, f"the file {file} cannot be read: {why}; allowed: a file that holds the secret")
            return None
        if not secret:
            self._no_secret(at, f"the file {file} is empty; allowed: a file that holds the secret")
        return secret or None

    def _no_secret(self, at: Where, text: str) -> None:
        if self.require_secrets:
            self._complain(self.lines[at], at, text)

    def _value(self, node: yaml.Node, where: Where) -> object:
        self._count += 1
        if id(node) in self._open or self._count > _MOST_VALUES or len(where) > _DEEPEST:
            self._complain(node.start_mark.line + 1, where, "holds itself, or far too much; write out what is meant")
            return None
        if node.tag not in _KNOWN_TAGS:
            self._complain(node.start_mark.line + 1, where, "a YAML tag is not allowed here; allowed: plain values")
            return None
        self._open.add(id(node))
        value = self._content(node, where)
        self._open.discard(id(node))
        return value

    def _content(self, node: yaml.Node, where: Where) -> object:
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, where)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*where, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, where)

    def _item(self, node: yaml.Node, where: Where) -> object:
        self.lines[where] = node.start_mark.line + 1
        return self._value(node, where)

    def _scalar(self, node: yaml.Node, where: Where) -> str | None:
        source = str(node.value)
        if node.tag == _YAML_TAG + "null":
            return None
        if where in SECRETS and source and not mentions_variable(source):
            self.literals.add(where)
        try:
            text = interpolate(source, os.environ)
        except (UnsetVariableError, MalformedError) as error:
            self._no_value(error, where, node.start_mark.line + 1)
            return None
        tag = node.tag
        if text != source and not node.style:  # type: ignore[attr-defined]  # scalars have a style; the stubs forget
            tag = _QuickLoader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        return _typed(text) if tag in _TYPED else text

    def _no_value(self, error: ValueError, where: Where, line: int) -> None:
        base = (*where[:-1], str(where[-1]).removesuffix("_file"))
        if isinstance(error, MalformedError) or self.require_secrets or base not in CREDENTIALS:
            self._complain(line, where, str(error))

    def _complain(self, line: int, where: Where, text: str) -> None:
        self.problems.append(Problem(line, where, text))


def _typed(text: str) -> str:
    try:
        return Plain(text, yaml.safe_load(text))
    except ValueError:  # such as 0b_, which YAML 1.1 takes for a number until it reads it
        return text


def _section_at(tree: dict[str, object], where: Where) -> dict[str, object] | None:
    here: object = tree
    for key in where:
        here = here.get(str(key)) if isinstance(here, dict) else None
    return here if isinstance(here, dict) else None
