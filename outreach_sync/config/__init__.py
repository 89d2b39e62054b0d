"""The config file: found, read as YAML, and made into the `Config`, or into all of its mistakes at once.

YAML becomes a tree of text with lines. Numbers and truth values stay text (`Plain`), so that a client id of digits
keeps its zeros. Every value goes through one clean-up: written out, by ``${NAME}`` or ``${NAME:-default}`` (``$${``
is a literal ``${``), or by ``<key>_file: PATH``.
"""

from __future__ import annotations

import os
import re
import stat
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from outreach_sync.config.model import CREDENTIALS, DEFAULT_LABELS, NAMES, SECRETS, Config, Fields, Plain, Where
from outreach_sync.errors import ConfigError
from outreach_sync.files import read_limited, refusal
from outreach_sync.log import keep_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


Schema = dict[str, Any]
_SYSTEM = Path("/etc/outreach-sync/config.yaml")
_SYSTEM_STATE = Path("/var/lib/outreach-sync")
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_OAUTH = ("client_id", "client_secret", "redirect_uri", "refresh_token")
_OURS = ("id", "lock_version", "name", "person_first_name", "person_last_name", "main_location[email]")
_KINDS = {"int": "a whole number", "float": "a number", "bool": "a truth value", "string": "text", "tuple": "a list"}
_WRONG = {
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "literal_error": "is not one of the words",
    "too_short": "is an empty list",
    "string_pattern_mismatch": "has characters that do not belong there",
    **dict.fromkeys(("model_type", "mapping_type", "dict_type"), "is not a mapping"),
}
_LARGEST = 262_144
_LARGEST_SECRET = 65_536
_MOST_VALUES = 20_000  # aliases of aliases can make a small file huge
_DEEPEST = 40
_LONGEST_FOR_C = 20_000  # the parser in C is quick, but deep nesting in a long text overflows its stack
_NAME = re.compile(r"<<|\w[\w\[\]-]{0,60}", re.ASCII)
_VARIABLE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\})?", re.ASCII)
# What surrounds a value by accident: blanks, line ends, a byte order mark, invisible characters.
_AROUND = "".join(map(chr, range(0x21))) + "\x7f\x85\xa0\u200b\u200c\u200d\u2028\u2029\u2060\ufeff"
_TAG = "tag:yaml.org,2002:"
_TYPED = frozenset({_TAG + kind for kind in ("bool", "int", "float")})
_KNOWN_TAGS = _TYPED | {_TAG + kind for kind in ("str", "null", "timestamp", "value", "map", "seq", "merge")}
_Loader = type[yaml.SafeLoader] | type[yaml.CSafeLoader]
_QuickLoader: _Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def find_config(explicit: Path | None = None) -> Path:
    """Find the config: the given path, `$OUTREACH_SYNC_CONFIG`, or the first of three usual places that exists."""
    if explicit == Path():
        raise ConfigError("--config is empty.", advice="Name a file, or leave it out.")
    by = "$OUTREACH_SYNC_CONFIG" if explicit is None else "--config"
    named = explicit or os.environ.get("OUTREACH_SYNC_CONFIG")
    problem, path = "", Path()
    advice = "Write one with `outreach-sync init`, or name one with --config."
    for place in [named] if named else usual_places():
        try:
            path = Path(place).expanduser()
            if path.exists() if named else path.is_file():
                return path
        except OSError as error:  # the home of another user, say: the system's config is still to be found
            problem = problem or f"the config {place} cannot be used: {error.strerror}."
            advice = "Give this user the right to enter its directory."
        except RuntimeError:
            problem = f"the config {named}, named by {by}, is in a home directory that does not exist."
            advice = "Name another."
    if named and not problem:
        problem = f"the config {path}, named by {by}, does not exist."
        advice = "Name another, or write one with `outreach-sync init`."
    looked = ", ".join(map(str, usual_places()))
    none = f"no config was found: $OUTREACH_SYNC_CONFIG is not set, and none of these exists: {looked}."
    raise ConfigError(problem or none, advice=advice)


def usual_places() -> list[Path]:
    """List where a config is looked for: below the current directory, the user's, the system's."""
    named = Path(os.environ.get("XDG_CONFIG_HOME", ""))  # a relative path does not count, says that specification
    try:
        user = [(named if named.is_absolute() else Path.home() / ".config") / "outreach-sync" / "config.yaml"]
    except RuntimeError:  # a service account without a home
        user = []
    return [Path("config/outreach-sync.yaml"), *user, _SYSTEM]


def load_config(path: Path, *, require_secrets: bool = True) -> Config:
    """Read a config file, and keep its secrets from all output; ConfigError: `problems` has a line for each mistake."""
    # Relative paths start at its directory. Without `require_secrets` a credential that is missing is None.
    document = Document(path, require_secrets=require_secrets)
    keep_secret(*(value for way in SECRETS if isinstance(value := document.given.get(way), str)))
    config = None
    try:
        config = Config.model_validate(document.tree, context={"base": path.absolute().parent})
    except ValidationError as error:
        for found in error.errors(include_url=False):
            where: Where = tuple(step for step in found["loc"] if step != "[key]")
            document.complain(where, _complaint(found["type"], found.get("ctx", {}), where, found["input"]))
    for where, text in _combinations(document.given, require_secrets=require_secrets):
        if (*where[:-1], f"{where[-1]}_file") not in document.problems:
            document.complain(where, text)
    if config is None or document.problems:
        problems = document.mistakes()
        count = "one mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        raise ConfigError(f"{path} has {count}:", problems=problems)
    schedule = config.schedule.model_copy(update={"every_ms": None}) if config.schedule.cron else config.schedule
    return config.model_copy(update={"schedule": schedule})


def exposed_secrets(path: Path) -> str | None:
    """Warn of secrets that stand in a config which others can read; None where there is nothing to warn of."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) or not mode & (stat.S_IRGRP | stat.S_IROTH):  # a pipe can be read only once
        return None
    root = _compose(path)  # the files of secrets are left alone: one may be a pipe as well
    given = {way: node for way in SECRETS if (node := node_at(root, way)) and node.value and node.tag != _TAG + "null"}
    literal = [
        way for way, node in given.items() if not any(one["name"] for one in _VARIABLE.finditer(str(node.value)))
    ]
    who = "everyone" if mode & stat.S_IROTH else "its group"
    held = ", ".join(sorted(".".join(map(str, way)) for way in literal))
    return f"{path} holds {held} and can be read by {who}; chmod 600 it, or move the secret out of it" if held else None


def _combinations(given: Mapping[Where, object], *, require_secrets: bool) -> Iterator[tuple[Where, str]]:
    s2s, every = given.get(("outreach", "s2s")), ("schedule", "every")
    needed: list[Where] = [("workbooks", "api_key")]
    if s2s is None:
        needed += [("outreach", key) for key in ("client_id", "client_secret")]
    elif isinstance(s2s, dict):
        needed += [("outreach", "s2s", key) for key in ("install_id", "app_guid", "private_key")]
    for way in needed if require_secrets else ():
        if not given.get(way):
            file = f", or {way[-1]}_file: PATH" if way in SECRETS else ""
            yield way, f"is required and is not given; allowed: text such as ${{NAME}}{file}"
    for key in _OAUTH:
        if s2s is not None and given.get(("outreach", key)):
            yield ("outreach", key), "does not go with s2s; allowed: either s2s, or " + ", ".join(_OAUTH)
    if every in given and not given[every] and not given.get(("schedule", "cron")):
        yield every, "is null, and so is cron; allowed: a duration here, or a cron expression there"
    yield from _names_that_clash(given)


def _names_that_clash(given: Mapping[Where, object]) -> Iterator[tuple[Where, str]]:
    seen = dict.fromkeys((*_OURS, "created_through_reference"), "the program itself")
    for key, default in Fields().model_dump().items():
        name = given.get(("workbooks", "fields", key), default)
        if isinstance(name, str) and name in seen:
            yield ("workbooks", "fields", key), f"names a field that {seen[name]} writes; allowed: a field of its own"
        elif isinstance(name, str) and name:
            seen[name] = f"workbooks.fields.{key}"
    for way in given:
        if way[:-1] == ("sync", "people", "create_fields") and way[-1] in seen:
            yield way, f"is a field that {seen[str(way[-1])]} writes; allowed: other fields"
    listed = given.get(("sync", "precedence"))
    labels = [str(way[-1]) for way in given if way[:-1] == ("sync", "labels")]
    known = [state for state in (*DEFAULT_LABELS, *labels) if state != "not_active"]
    for index, state in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(state, str) and state not in known:
            said = f"is not a state that has a label; {_guess(state, known)}allowed: those that have one: "
            yield ("sync", "precedence", index), said + ", ".join(known)


class Document:
    """A config file that was read, with what the environment and the files of secrets hold put in."""

    def __init__(self, path: Path, *, require_secrets: bool = True) -> None:
        """Read it. With `require_secrets`, a credential whose variable or file is missing is a mistake, else None."""
        self.problems: dict[Where, tuple[int, str]] = {}  # the first of each value: its line, what is wrong and allowed
        self._path = path
        # What systemd's unit for a config of the system sets is also known to commands that are run by hand.
        # /etc/outreach-sync/acme/config.yaml belongs to the tenant acme. Its state is in /var/lib/outreach-sync/acme,
        # its credentials are beside the config: no tenant falls back on what belongs to another, nor acme.yaml at all.
        directory, unit = Path(os.path.abspath(path)).parent, {}  # noqa: PTH100 - as it is named, links not followed
        if path.name == _SYSTEM.name and directory.is_relative_to(_SYSTEM.parent):
            state = _SYSTEM_STATE / directory.relative_to(_SYSTEM.parent)
            unit = {"STATE_DIRECTORY": str(state), "CREDENTIALS_DIRECTORY": str(directory / "credentials")}
        self._environment = {**unit, **os.environ}
        self._optional = frozenset() if require_secrets else CREDENTIALS
        self._lines: dict[Where, int] = {}  # of every key and list item
        self._open: set[int] = set()
        self.given: dict[Where, object] = {}  # every key of a mapping to what the tree holds there
        self.tree = self._mapping(_compose(path), ())  # dicts, lists, text and None

    def complain(self, where: Where, text: str, *, line: int = 0) -> None:
        """Say what is wrong with a value, at its line or that of the nearest thing around it that is in the file."""
        here = where
        while here and here not in self._lines:
            here = here[:-1]
        self.problems.setdefault(where, (line or self._lines.get(here, 1), text))

    def mistakes(self) -> tuple[str, ...]:
        """Write all mistakes, by line: ``file:line: path: what is wrong; what is allowed``."""
        found = sorted(self.problems.items(), key=lambda one: (one[1][0], one[0] != (), str(one[0])))
        return tuple(_mistake(self._path, line, where, text) for where, (line, text) in found)

    def _mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, object]:
        found: dict[str, object] = {}
        for key_node, value_node in node.value:
            line, key = key_node.start_mark.line + 1, key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                self.complain(where, "a key must be a word; allowed: one of the keys of this section", line=line)
            elif key in found:
                first = self._lines[(*where, key)]
                self.complain((*where, key), f"given twice, first on line {first}; remove one of them", line=line)
            else:
                self._lines[(*where, key)] = line
                found[key] = self._value(value_node, (*where, key))
        for name in [name for name in found if name.endswith("_file")]:
            key = name.removesuffix("_file")
            if (*where, key) in SECRETS:
                self._take_secret_file(found, key, where)
        self.given.update({(*where, key): value for key, value in found.items()})
        return found

    def _value(self, node: yaml.Node, where: Where) -> object:
        line = node.start_mark.line + 1
        endless = len(self._lines) > _MOST_VALUES
        if endless or id(node) in self._open or len(where) > _DEEPEST:
            text = "holds itself, or far too much; write out what is meant"
            self.complain(() if endless else where, text, line=line)  # of what is endless, once
            return None
        if node.tag not in _KNOWN_TAGS:
            self.complain(where, "a YAML tag is not allowed here; allowed: plain values", line=line)
            return None
        if isinstance(node, yaml.ScalarNode):
            return None if node.tag == _TAG + "null" else self._text(node, where)
        self._open.add(id(node))
        found: object
        if isinstance(node, yaml.MappingNode):
            found = self._mapping(node, where)
        else:
            self._lines.update(((*where, index), item.start_mark.line + 1) for index, item in enumerate(node.value))
            found = [self._value(item, (*where, index)) for index, item in enumerate(node.value)]
        self._open.discard(id(node))
        return found

    def _text(self, node: yaml.ScalarNode, where: Where) -> str | None:
        """Put the environment's values in, which are not looked at again; ``:-`` also replaces one that is empty."""
        source, environment, line = str(node.value), self._environment, node.start_mark.line + 1
        matches = [match for match in _VARIABLE.finditer(source) if match[0] != "$${"]
        for match in matches:
            name, default = match["name"], match["default"]
            if name is None:
                said = "'${' starts no variable; allowed: ${NAME}, ${NAME:-default}, or $${ for the characters ${"
                self.complain(where, said, line=line)
                return None
            if default is None and name not in environment:
                if (*where[:-1], str(where[-1]).removesuffix("_file")) not in self._optional:
                    hint = f"set it, or give a default: ${{{name}:-something}}"
                    self.complain(where, f"the environment variable {name} is not set; {hint}", line=line)
                return None
        text = _VARIABLE.sub(
            lambda one: environment.get(one["name"]) or one["default"] or "" if one["name"] else "${", source
        )
        if matches or where in CREDENTIALS:
            text = text.strip(_AROUND)
        tag = node.tag
        if text != source and not node.style:
            tag = _QuickLoader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        return Plain(text) if tag in _TYPED else text

    def _take_secret_file(self, section: dict[str, object], key: str, where: Where) -> None:
        at = (*where, f"{key}_file")
        named = section.pop(f"{key}_file")
        if named is None:
            return
        if section.get(key):
            self.complain(at, f"{key} is given as well; give one of the two")
            return
        self._lines[*where, key] = self._lines[at]
        section[key] = None
        if not isinstance(named, str) or not named or "\0" in named:
            self.complain(at, "is not a path; allowed: the path of a file that holds the secret")
            return
        why, file = "is empty", Path(named)
        try:
            file = self._path.parent / file.expanduser()
            section[key] = read_limited(file, _LARGEST_SECRET).decode("utf-8-sig").strip(_AROUND) or None
        except OSError as error:
            why = f"cannot be read: {refusal(file, error)}"
        except UnicodeDecodeError:
            why = "cannot be read: it is not UTF-8 text"
        except RuntimeError:
            why = "is in a home directory that does not exist"
        if section[key] is None and (*where, key) not in self._optional:
            self.complain(at, f"the file {file} {why}; allowed: a file that holds the secret")


def _mistake(path: Path, line: int, where: Where, text: str) -> str:
    """Write one; a key that is not a name is not shown: ``{api_key:hush}``, for want of a blank, is a key."""
    steps = (f"[{one}]" if isinstance(one, int) else f".{one if _NAME.fullmatch(one) else '…'}" for one in where)
    return f"{path}:{line}: " + ": ".join(filter(None, ("".join(steps).removeprefix("."), text)))


def node_at(node: yaml.Node | None, way: Where) -> yaml.Node | None:
    """Return a part of YAML by the names of mappings; None where it is not there."""
    for name in way:
        if not isinstance(node, yaml.MappingNode):
            return None
        node = next((value for key, value in node.value if key.value == name), None)
    return node


def _compose(path: Path) -> yaml.MappingNode:
    def unusable(line: int, text: str) -> ConfigError:
        return ConfigError(f"{path} cannot be used:", problems=(_mistake(path, line, (), text),))

    try:
        content = read_limited(path, _LARGEST)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise unusable(1, f"the config cannot be read: {refusal(path, error)}") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise unusable(line, "the text is not UTF-8; save the file as UTF-8") from None
    loader = (_QuickLoader if len(text) < _LONGEST_FOR_C else yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
        if mark and text[mark.index : mark.index + 1] == "\t":
            said = "a tab stands where only blanks may stand; indent with blanks"
        harmless = re.sub(r"(['\"]).{2,}\1", "…", str(said))  # a quoted word may be part of a secret
        raise unusable(mark.line + 1 if mark else 1, f"this is not YAML: {harmless}") from None
    except RecursionError:
        raise unusable(1, "this is not a config: values are nested too deep") from None
    finally:
        loader.dispose()
    if node is None:
        raise unusable(1, "the config is empty; `outreach-sync init` writes one to start from")
    if not isinstance(node, yaml.MappingNode):
        raise unusable(node.start_mark.line + 1, "this is not a mapping; allowed: sections like `outreach:`")
    return node


def _complaint(kind: str, context: Mapping[str, Any], where: Where, given: object) -> str:
    """Say in our words what pydantic found; its own may quote the value."""
    wrong, guess = _WRONG.get(kind, "is not " + _KINDS.get(kind.partition("_")[0], "as it should be")), ""
    match kind:
        case "extra_forbidden":
            known = keys_at(where[:-1])
            return f"unknown key; {_guess(where[-1], known)}allowed: {', '.join(known)}"
        case "literal_error":
            guess = _guess(given, inner(described(where))["enum"])
        case "value_error":
            wrong = str(context["error"])
    return f"{wrong}; {guess}allowed: {NAMES.get(str(context.get('pattern'))) or allowed(described(where))}"


def _guess(given: object, known: Sequence[str]) -> str:
    return "".join(f"did you mean {one}? " for one in get_close_matches(str(given).lower(), known, 1, cutoff=0.5))


@cache
def json_schema() -> Schema:
    """Make the schema (draft 2020-12) from the model, with the `_file` variant of every secret."""
    schema = Config.model_json_schema(by_alias=True)
    for section in (schema, *schema["$defs"].values()):
        keys = section["properties"]
        for key in sorted({str(way[-1]) for way in SECRETS} & keys.keys()):
            keys[f"{key}_file"] = {"type": "string", "description": f"A file that holds {key}, which is then left out."}
        for key, described in keys.items():
            described["title"] = key
            if "patternProperties" in described:
                described["additionalProperties"] = False
            if "$ref" in described:  # all keys of a section may be commented out
                described["anyOf"] = [{"$ref": described.pop("$ref")}, {"type": "null"}]
    return {"$schema": _DIALECT, **schema, "title": "outreach-sync", "description": "The config of outreach-sync."}


def described(where: Where) -> Schema:
    """Return the schema of a value; {} where anything goes."""
    here = json_schema()
    for step in where:
        inside = inner(here)
        named = inside.get("properties", {}).get(step) or next(iter(inside.get("patternProperties", {}).values()), None)
        found = named or inside.get("items" if isinstance(step, int) else "additionalProperties")
        here = found if isinstance(found, dict) else {}
    return here


def inner(schema: Schema) -> Schema:
    """Look through what may be null, and follow a reference."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        return inner(kinds[0])
    return json_schema()["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def keys_at(where: Where) -> list[str]:
    """List the keys of a section in their order; none where keys are free, or nothing can stand."""
    return list(inner(described(where)).get("properties", ()))


def allowed(schema: Schema) -> str:
    """Say in a few words what is allowed as a value."""
    match schema:
        case {"errorMessage": str(words)}:
            pass
        case {"anyOf": [*forms]}:
            words = ", or ".join(map(allowed, forms))
        case {"$ref": _} | {"properties": _}:
            words = ", ".join(inner(schema)["properties"])
        case {"enum": [*choices]}:
            words = ", ".join(map(str, choices))
        case {"type": "integer" | "number" as number}:
            least, most = schema.get("minimum"), schema.get("maximum")
            words = "a whole number" if number == "integer" else "a number"
            words += f", {least} or more" if most is None else f" from {least} to {most}"
        case {"type": "array", "items": items}:
            words = f"a list; each: {allowed(items)}"
        case {"patternProperties": _}:
            ((pattern, value),) = schema["patternProperties"].items()
            words = f"a map; each key: {NAMES[pattern]}; each value: {allowed(value)}"
        case {"type": str(kind)}:
            words = {"boolean": "true or false", "null": "null"}.get(kind, "text")
        case _:
            words = "text, a number, true, false or null"
    return words
