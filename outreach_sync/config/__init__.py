"""The config file: found, read as YAML, and made into the `Config`, or into all of its mistakes at once.

YAML becomes a tree of text, with the line of every value. Numbers and truth values stay text there (`Plain` knows what
YAML makes of them), so that a client id of digits keeps its leading zeros; what a value has to be is for the model to
say. Every value goes through one clean-up, whichever way it came: written out, by ``${NAME}`` or ``${NAME:-default}``
(``$${`` is a literal ``${``), or by ``<key>_file: PATH``.
"""

from __future__ import annotations

import os
import re
import stat
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from pydantic import ValidationError

from outreach_sync.config.model import CREDENTIALS, DEFAULT_LABELS, SECRETS, Config, Fields, allowed_at, keys_at
from outreach_sync.config.values import NAMES, Plain, Where, shown_way
from outreach_sync.errors import ConfigError
from outreach_sync.files import read_limited, refusal, resolved
from outreach_sync.log import keep_secret

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_SYSTEM = Path("/etc/outreach-sync/config.yaml")
_SYSTEM_STATE = Path("/var/lib/outreach-sync")
_OAUTH = ("client_id", "client_secret", "redirect_uri", "refresh_token")
_OURS = ("id", "lock_version", "name", "person_first_name", "person_last_name", "main_location[email]")
_KINDS = {"int": "a whole number", "float": "a number", "bool": "a truth value", "string": "text", "tuple": "a list"}
_WRONG = {
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "literal_error": "is not one of the words",
    "string_pattern_mismatch": "has characters that do not belong there",
    "model_type": "is not a mapping",
    "mapping_type": "is not a mapping",
    "dict_type": "is not a mapping",
}
_LARGEST = 262_144
_LARGEST_SECRET = 65_536
_MOST_VALUES = 20_000  # aliases of aliases can make a small file huge
_DEEPEST = 40
_LONGEST_FOR_C = 20_000  # the parser in C is quick, but deep nesting in a long text overflows its stack
_VARIABLE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\})?", re.ASCII)
_AROUND = "".join(map(chr, range(0x21))) + "\x7f\x85\xa0\u200b\u200c\u200d\u2028\u2029\u2060\ufeff"
"""What surrounds a value by accident: blanks, line ends, a byte order mark, invisible characters."""
_TAG = "tag:yaml.org,2002:"
_TYPED = frozenset({_TAG + kind for kind in ("bool", "int", "float")})
_KNOWN_TAGS = _TYPED | {_TAG + kind for kind in ("str", "null", "timestamp", "value", "map", "seq", "merge")}
_Loader = type[yaml.SafeLoader] | type[yaml.CSafeLoader]
_QuickLoader: _Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


# The config


class Loaded(NamedTuple):
    """A config, and what should be said of its file: that others can read a secret in it."""

    config: Config
    warning: str | None


def find_config(explicit: Path | None = None) -> Path:
    """Find the config: the given path, `$OUTREACH_SYNC_CONFIG`, or the first of three usual places that exists.

    Raises:
        ConfigError: what was named does not exist, or there is none anywhere; the message says where was looked.
    """
    variable = os.environ.get("OUTREACH_SYNC_CONFIG")
    for named, by in ((explicit, "--config"), (Path(variable) if variable else None, "$OUTREACH_SYNC_CONFIG")):
        if named is None:
            continue
        try:
            path = named.expanduser()
            if path.exists():
                return path
        except OSError as error:
            raise _closed(named, error) from error
        except RuntimeError:
            raise ConfigError(
                f"the config {named}, named by {by}, is in a home directory that does not exist.",
                advice="Name another.",
            ) from None
        raise ConfigError(
            f"the config {path}, named by {by}, does not exist.",
            advice="Name another, or write one with `outreach-sync init`.",
        )
    usual = usual_places()
    closed: list[ConfigError] = []
    for place in usual:
        try:
            if place.is_file():
                return place
        except OSError as error:  # the home of another user, say: the system's config is still to be found
            closed.append(_closed(place, error))
    if closed:
        raise closed[0]
    looked = ", ".join(map(str, usual))
    raise ConfigError(
        f"no config was found: $OUTREACH_SYNC_CONFIG is not set, and none of these exists: {looked}.",
        advice="Write one with `outreach-sync init`, or name one with --config.",
    )


def usual_places() -> list[Path]:
    """List where a config is looked for: below the current directory, the user's, the system's."""
    named = Path(os.environ.get("XDG_CONFIG_HOME", ""))  # a relative path does not count, says that specification
    try:
        user = [(named if named.is_absolute() else Path.home() / ".config") / "outreach-sync" / "config.yaml"]
    except RuntimeError:  # a service account without a home
        user = []
    return [Path("config/outreach-sync.yaml"), *user, _SYSTEM]


def read_config(path: Path, *, require_secrets: bool = True) -> Loaded:
    """Read, complete and check a config file, and keep its secrets out of all that this process says.

    Relative paths in it start at its directory.

    Commands that talk to no service do not require secrets: a credential that is missing is then None.

    Raises:
        ConfigError: the file cannot be used; `problems` has a line for each mistake.
    """
    environment = {**_unit_directories(path), **os.environ}
    document = read_document(path, environment, require_secrets=require_secrets)
    config, problems = _judge(document, path.absolute().parent, require_secrets=require_secrets)
    if config is None or problems:
        count = "one mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        raise ConfigError(f"{path} has {count}:", problems=tuple(problem.shown(path) for problem in problems))
    state = config.state.model_copy(update={"path": resolved(config.state.path)})  # the state has one name
    keep_secret(*config.secrets)
    schedule = config.schedule.model_copy(update={"every_ms": None}) if config.schedule.cron else config.schedule
    return Loaded(config.model_copy(update={"state": state, "schedule": schedule}), _warning(path, document))


def load_config(path: Path, *, require_secrets: bool = True) -> Config:
    """Do as `read_config` and return the config alone.

    Raises:
        ConfigError: the file cannot be used.
    """
    return read_config(path, require_secrets=require_secrets).config


def _closed(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"the config {path} cannot be used: {error.strerror}.",
        advice="Give this user the right to enter its directory.",
    )


def _unit_directories(path: Path) -> dict[str, str]:
    """Return what systemd's unit for a config of the system sets, for commands that are run by hand.

    ``/etc/outreach-sync/acme/config.yaml`` belongs to the tenant acme. Its state is in ``/var/lib/outreach-sync/acme``
    and its credentials are beside the config: no tenant falls back on what belongs to another.
    """
    directory = Path(os.path.abspath(path)).parent  # noqa: PTH100 - as it is named, links not followed
    if not directory.is_relative_to(_SYSTEM.parent):
        return {}
    tenant = directory.relative_to(_SYSTEM.parent)
    return {"STATE_DIRECTORY": str(_SYSTEM_STATE / tenant), "CREDENTIALS_DIRECTORY": str(directory / "credentials")}


def _judge(document: Document, base: Path, *, require_secrets: bool) -> tuple[Config | None, list[Problem]]:
    """Collect what YAML, the model and the combination of keys have to say, in the order of the file."""
    problems = {problem.where: problem for problem in reversed(document.problems)}
    config = None
    try:
        config = Config.model_validate(document.tree, context={"base": base})
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            where: Where = tuple(step for step in found["loc"] if step != "[key]")
            problems.setdefault(where, document.problem(where, _complaint(found["type"], found.get("ctx", {}), where)))
    for where, text in _inconsistencies(document.tree, require_secrets=require_secrets):
        if (*where[:-1], f"{where[-1]}_file") not in problems:
            problems.setdefault(where, document.problem(where, text))
    return config, sorted(problems.values(), key=lambda one: (one.line, one.where != (), str(one.where)))


def _complaint(kind: str, context: Mapping[str, Any], where: Where) -> str:
    """Say in our words what pydantic found; its own may quote the value."""
    wrong = _WRONG.get(kind, "is not " + _KINDS.get(kind.partition("_")[0], "as it should be"))
    match kind:
        case "extra_forbidden":
            known = keys_at(where[:-1])
            nearest = get_close_matches(str(where[-1]), known, 1, cutoff=0.5)
            return f"unknown key; {f'did you mean {nearest[0]}? ' if nearest else ''}allowed: {', '.join(known)}"
        case "value_error":
            wrong = str(context["error"])
    return f"{wrong}; allowed: {NAMES.get(str(context.get('pattern'))) or allowed_at(where)}"


def _inconsistencies(tree: Mapping[str, object], *, require_secrets: bool) -> Iterator[tuple[Where, str]]:
    """Find what does not go together, in the tree itself so that other mistakes do not hide it."""
    outreach, sync, schedule = (_section(tree, name) for name in ("outreach", "sync", "schedule"))
    needed: list[tuple[str, ...]] = [("workbooks", "api_key")]
    if outreach.get("s2s") is None:
        needed += [("outreach", key) for key in ("client_id", "client_secret")]
    elif isinstance(outreach["s2s"], dict):
        needed += [("outreach", "s2s", key) for key in ("install_id", "app_guid", "private_key")]
    for *way, key in needed if require_secrets else ():
        if not _section(tree, *way).get(key):
            file = f", or {key}_file: PATH" if (*way, key) in SECRETS else ""
            yield (*way, key), f"is required and is not given; allowed: text such as ${{NAME}}{file}"
    for key in _OAUTH:
        if outreach.get("s2s") is not None and outreach.get(key):
            yield ("outreach", key), "does not go with s2s; allowed: either s2s, or " + ", ".join(_OAUTH)
    yield from _fields_named_twice(tree)
    yield from _precedence_without_label(sync)
    if "every" in schedule and not schedule["every"] and not schedule.get("cron"):
        yield ("schedule", "every"), "is null, and so is cron; allowed: a duration here, or a cron expression there"


def _section(tree: Mapping[str, object], *way: str) -> Mapping[str, object]:
    here: object = tree
    for key in way:
        here = here.get(key) if isinstance(here, dict) else None
    return here if isinstance(here, dict) else {}


def _fields_named_twice(tree: Mapping[str, object]) -> Iterator[tuple[Where, str]]:
    given = _section(tree, "workbooks", "fields")
    seen = dict.fromkeys((*_OURS, "created_through_reference"), "the program itself")
    for key, default in Fields().model_dump().items():
        name = given.get(key, default)
        if not isinstance(name, str) or not name:
            continue
        if name in seen:
            yield ("workbooks", "fields", key), f"names a field that {seen[name]} writes; allowed: a field of its own"
        seen.setdefault(name, f"workbooks.fields.{key}")
    for field in _section(tree, "sync", "people", "create_fields"):
        if field in seen:
            way = ("sync", "people", "create_fields", field)
            yield way, f"is a field that {seen[field]} writes; allowed: other fields"


def _precedence_without_label(sync: Mapping[str, object]) -> Iterator[tuple[Where, str]]:
    listed = sync.get("precedence")
    known = [state for state in (*DEFAULT_LABELS, *_section(sync, "labels")) if state != "not_active"]
    for index, state in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(state, str) and state not in known:
            nearest = get_close_matches(state, known, 1)
            hint = f"; nearest: {nearest[0]}" if nearest else ""
            said = f"is not a state that has a label; allowed: states that have one: {', '.join(known)}{hint}"
            yield ("sync", "precedence", index), said


def _warning(path: Path, document: Document) -> str | None:
    mode = path.stat().st_mode
    if not document.literals or not mode & (stat.S_IRGRP | stat.S_IROTH):
        return None
    who = "everyone" if mode & stat.S_IROTH else "its group"
    held = ", ".join(sorted(map(shown_way, document.literals)))
    return f"{path} holds {held} and can be read by {who}; chmod 600 it, or move the secret out of it"


# The file


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


def read_document(path: Path, environment: Mapping[str, str], *, require_secrets: bool = True) -> Document:
    """Read a config file, put in what the environment and the secret files hold, and collect the mistakes.

    With `require_secrets`, a credential whose variable or file is missing is a mistake; without, it is None.

    Raises:
        ConfigError: the file cannot be read, is too large, or is not a YAML mapping at all.
    """
    root = _compose(path)
    reader = _Reader(environment, () if require_secrets else CREDENTIALS)
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


def _compose(path: Path) -> yaml.MappingNode:
    try:
        content = read_limited(path, _LARGEST)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise _unusable(path, 1, f"the config cannot be read: {refusal(path, error)}") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unusable(path, line, "the text is not UTF-8; save the file as UTF-8") from None
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

    def __init__(self, environment: Mapping[str, str], optional: Collection[Where]) -> None:
        self.environment, self.optional = environment, optional
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
        for *way, key in sorted(SECRETS, key=str):
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
            secret = read_limited(file, _LARGEST_SECRET).decode("utf-8-sig").strip(_AROUND)
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
        if where in SECRETS and source and not named:
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
        if named or where in CREDENTIALS:
            text = text.strip(_AROUND)
        tag = node.tag
        if text != source and not node.style:  # type: ignore[attr-defined]  # scalars have a style; the stubs forget
            tag = _QuickLoader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        if tag not in _TYPED:
            return text
        try:
            return Plain(text, yaml.safe_load(text))
        except ValueError:  # such as 0b_, which YAML 1.1 takes for a number until it reads it
            return text

    def _complain(self, line: int, where: Where, text: str) -> None:
        self.problems.append(Problem(line, where, text))


def _base(where: Where) -> Where:
    return (*where[:-1], str(where[-1]).removesuffix("_file"))
