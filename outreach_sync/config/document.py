"""The config file as YAML says it: a tree of text, the line of every value, and every mistake that YAML alone shows.

Numbers and truth values stay text here (`Plain` knows what YAML makes of them), so that a client id of digits keeps
its leading zeros; what a value has to be is for the model to say. Every value goes through one clean-up, whichever way
it came: written out, by ``${NAME}`` or ``${NAME:-default}`` (``$${`` is a literal ``${``), or by ``<key>_file: PATH``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import yaml

from outreach_sync.errors import ConfigError
from outreach_sync.files import read_limited, refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from outreach_sync.records import Scalar

Where = tuple[str | int, ...]
"""The way to a value: keys, and indexes of lists from 0."""

_LARGEST = 262_144
_LARGEST_SECRET = 65_536
_MOST_VALUES = 20_000  # aliases of aliases can make a small file huge
_DEEPEST = 40
_LONGEST_FOR_C = 20_000  # the parser in C is quick, but deep nesting in a long text overflows its stack
_NAME = re.compile(r"\w[\w\[\]-]{0,60}", re.ASCII)
_VARIABLE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\})?", re.ASCII)
_AROUND = "".join(map(chr, range(0x21))) + "\x7f\x85\xa0\u200b\u200c\u200d\u2028\u2029\u2060\ufeff"
_TAG = "tag:yaml.org,2002:"
_TYPED = frozenset({_TAG + kind for kind in ("bool", "int", "float")})
_KNOWN_TAGS = _TYPED | {_TAG + kind for kind in ("str", "null", "timestamp", "value", "map", "seq", "merge")}
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
        return f"{path}:{self.line}: " + ": ".join(filter(None, (shown_way(self.where), self.text)))


class Document(NamedTuple):
    """A config file that was read.

    `tree` holds dicts, lists, text and None. `lines` knows every key and list item. `literals` are the secrets that
    stand in the file itself.
    """

    tree: dict[str, object]
    lines: Mapping[Where, int]
    problems: tuple[Problem, ...]
    literals: frozenset[Where]

    def problem(self, where: Where, text: str) -> Problem:
        """Say what is wrong with a value, at its line or that of the nearest thing around it that is in the file."""
        here = where
        while here and here not in self.lines:
            here = here[:-1]
        return Problem(self.lines.get(here, 1), where, text)


def shown_way(where: Where) -> str:
    """Write the way to a value as ``sync.tasks.skipped_when[0].state``.

    A key that is not a name is not shown: ``{api_key:hush}``, for want of a blank, is a key.
    """
    steps = (f"[{one}]" if isinstance(one, int) else f".{one if _NAME.fullmatch(one) else '…'}" for one in where)
    return "".join(steps).removeprefix(".")


def as_yaml(tree: object) -> Any:
    """Return a part of the tree as YAML reads it, numbers and truth values included."""
    match tree:
        case Plain():
            return tree.value
        case list():
            return [as_yaml(one) for one in tree]
        case dict():
            return {key: as_yaml(one) for key, one in tree.items()}
    return tree


def read_document(
    path: Path,
    environment: Mapping[str, str],
    *,
    secrets: Collection[Where],
    credentials: Collection[Where],
    require_secrets: bool = True,
) -> Document:
    """Read a config file, put in what the environment and the secret files hold, and collect the mistakes.

    Args:
        path: the config file.
        environment: the variables that may be named.
        secrets: the ways to values that may come from a file.
        credentials: the ways to values that may be missing where `require_secrets` is False; they are None then.
        require_secrets: whether a credential whose variable or file is missing is a mistake.

    Raises:
        ConfigError: the file cannot be read, is too large, or is not a YAML mapping at all.
    """
    root = _compose(path, _text_of(path))
    reader = _Reader(environment, secrets, credentials, lenient=not require_secrets)
    tree = reader.mapping(root, ())
    reader.take_secret_files(tree, path.parent)
    return Document(tree, reader.lines, tuple(reader.problems), frozenset(reader.literals))


def mentions_variable(text: str) -> bool:
    """Say whether a value takes anything from the environment."""
    return any(match["name"] for match in _VARIABLE.finditer(text))


def _interpolated(text: str, environment: Mapping[str, str]) -> str:
    """Put the environment's values in; what they hold is not looked at again.

    As in a shell, ``:-`` also replaces a variable that is set to nothing.

    Raises:
        KeyError: a variable without a default is not set.
        ValueError: a ``${`` that is not a variable.
    """

    def value_of(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if match[0] == "$${":
            return "${"
        if name is None:
            raise ValueError(
                "'${' starts no variable; allowed: ${NAME}, ${NAME:-default}, or $${ for the characters ${"
            )
        return environment[name] if default is None else environment.get(name) or default

    return _VARIABLE.sub(value_of, text)


def _text_of(path: Path) -> str:
    try:
        content = read_limited(path, _LARGEST)
    except OSError as error:
        raise _unusable(path, 1, f"the config cannot be read: {refusal(path, error)}") from None
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
        said = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
        harmless = re.sub(r"(['\"]).{2,}\1", "…", str(said))  # a quoted word may be part of a secret
        raise _unusable(path, mark.line + 1 if mark else 1, f"this is not YAML: {harmless}") from None
    except RecursionError:
        raise _unusable(path, 1, "this is not a config: values are nested too deep") from None
    finally:
        loader.dispose()
    if node is None:
        raise _unusable(path, 1, "the config is empty; `outreach-sync init` writes one to start from")
    if not isinstance(node, yaml.MappingNode):
        raise _unusable(path, node.start_mark.line + 1, "this is not a mapping; allowed: sections like `outreach:`")
    return node


def _unusable(path: Path, line: int, text: str) -> ConfigError:
    return ConfigError(f"{path} cannot be used:", problems=(Problem(line, (), text).shown(path),))


class _Reader:
    """Turns YAML's nodes into the tree, and remembers lines and mistakes on the way."""

    def __init__(
        self,
        environment: Mapping[str, str],
        secrets: Collection[Where],
        credentials: Collection[Where],
        *,
        lenient: bool,
    ) -> None:
        self.environment = environment
        self.secrets, self.credentials = secrets, credentials
        self.optional = credentials if lenient else ()
        self.lines: dict[Where, int] = {}
        self.problems: list[Problem] = []
        self.literals: set[Where] = set()
        self._open: set[int] = set()
        self._count = 0

    def mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, object]:
        """Read a mapping; a key that is given twice or is not text is a mistake, and left out."""
        found: dict[str, object] = {}
        for key_node, value_node in node.value:
            line, key = key_node.start_mark.line + 1, key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                self._complain(line, where, "a key must be a word; allowed: one of the keys of this section")
            elif key in found:
                first = self.lines[(*where, key)]
                self._complain(line, (*where, key), f"given twice, first on line {first}; remove one of them")
            else:
                self.lines[(*where, key)] = line
                found[key] = self._value(value_node, (*where, key))
        return found

    def take_secret_files(self, tree: dict[str, object], base: Path) -> None:
        """Replace every ``<key>_file`` by ``<key>`` with what the file holds."""
        for *way, key in sorted(self.secrets, key=str):
            section: object = tree
            for step in way:
                section = section.get(str(step)) if isinstance(section, dict) else None
            if not isinstance(section, dict) or section.get(f"{key}_file") is None:
                continue
            at = (*way, f"{key}_file")
            named = section.pop(f"{key}_file")
            if section.get(str(key)):
                self._complain(self.lines[at], at, f"{key} is given as well; give one of the two")
                continue
            section[str(key)] = self._secret_in(named, at, base)
            self.lines[*way, key] = self.lines[at]

    def _secret_in(self, named: object, at: Where, base: Path) -> str | None:
        if not isinstance(named, str) or not named or "\0" in named:
            self._complain(self.lines[at], at, "is not a path; allowed: the path of a file that holds the secret")
            return None
        secret, why = "", "is empty"
        file = Path(named)
        try:
            file = base / file.expanduser()
            secret = _cleaned(read_limited(file, _LARGEST_SECRET).decode("utf-8-sig"))
        except OSError as error:
            why = f"cannot be read: {refusal(file, error)}"
        except UnicodeDecodeError:
            why = "cannot be read: it is not UTF-8 text"
        except RuntimeError:
            why = "is in a home directory that does not exist"
        if not secret and _base(at) not in self.optional:
            self._complain(self.lines[at], at, f"the file {file} {why}; allowed: a file that holds the secret")
        return secret or None

    def _value(self, node: yaml.Node, where: Where) -> object:
        self._count += 1
        if self._count > _MOST_VALUES + 1:
            return None  # was said
        if id(node) in self._open or self._count > _MOST_VALUES or len(where) > _DEEPEST:
            self._complain(node.start_mark.line + 1, where, "holds itself, or far too much; write out what is meant")
            return None
        if node.tag not in _KNOWN_TAGS:
            self._complain(node.start_mark.line + 1, where, "a YAML tag is not allowed here; allowed: plain values")
            return None
        self._open.add(id(node))
        found: object
        if isinstance(node, yaml.MappingNode):
            found = self.mapping(node, where)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.lines[*where, index] = item.start_mark.line + 1
            found = [self._value(item, (*where, index)) for index, item in enumerate(node.value)]
        else:
            found = self._scalar(node, where)
        self._open.discard(id(node))
        return found

    def _scalar(self, node: yaml.Node, where: Where) -> str | None:
        source, line = str(node.value), node.start_mark.line + 1
        if node.tag == _TAG + "null":
            return None
        named = mentions_variable(source)
        if where in self.secrets and source and not named:
            self.literals.add(where)
        try:
            text = _interpolated(source, self.environment)
        except KeyError as unset:
            name = unset.args[0]
            if _base(where) not in self.optional:
                hint = f"set it, or give a default: ${{{name}:-something}}"
                self._complain(line, where, f"the environment variable {name} is not set; {hint}")
            return None
        except ValueError as malformed:
            self._complain(line, where, str(malformed))
            return None
        if named or where in self.credentials:
            text = _cleaned(text)
        tag = node.tag
        if text != source and not node.style:  # type: ignore[attr-defined]  # scalars have a style; the stubs forget
            tag = _QuickLoader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        return _typed(text) if tag in _TYPED else text

    def _complain(self, line: int, where: Where, text: str) -> None:
        self.problems.append(Problem(line, where, text))


def _base(where: Where) -> Where:
    return (*where[:-1], str(where[-1]).removesuffix("_file"))


def _cleaned(text: str) -> str:
    """Take away what surrounds a value by accident: blanks, line ends, a byte order mark, invisible characters."""
    return text.strip(_AROUND)


def _typed(text: str) -> str:
    try:
        return Plain(text, yaml.safe_load(text))
    except ValueError:  # such as 0b_, which YAML 1.1 takes for a number until it reads it
        return text
