"""From the file to the `Config`, or to all of its mistakes at once."""

from __future__ import annotations

import os
import stat
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from outreach_sync.config.describe import allowed_at, keys_at
from outreach_sync.config.document import Document, Problem, Where, read_document, shown_way
from outreach_sync.config.model import CREDENTIALS, DEFAULT_LABELS, SECRETS, Config, Fields
from outreach_sync.config.values import NAMES
from outreach_sync.errors import ConfigError
from outreach_sync.files import resolved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SYSTEM = Path("/etc/outreach-sync/config.yaml")
_SYSTEM_STATE = Path("/var/lib/outreach-sync")
_OAUTH = ("client_id", "client_secret", "redirect_uri", "refresh_token")
_OURS = ("id", "lock_version", "name", "person_first_name", "person_last_name", "main_location[email]")


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
        if named is not None:
            return _existing(named, by)
    usual = usual_places()
    closed: list[ConfigError] = []
    for place in usual:
        try:
            if place.is_file():
                return place
        except OSError as error:  # the home of another user, say: the system's config is still to be found
            closed.append(_unusable(place, error))
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
    """Read, complete and check a config file.

    Args:
        path: the file; relative paths in it start at its directory.
        require_secrets: False for commands that talk to no service: a credential that is missing is then None.

    Raises:
        ConfigError: the file cannot be used; `problems` has a line for each mistake.
    """
    document = read_document(
        path,
        {**_unit_directories(path), **os.environ},
        secrets=SECRETS,
        credentials=CREDENTIALS,
        require_secrets=require_secrets,
    )
    config, problems = _judge(document, path.absolute().parent, require_secrets=require_secrets)
    if config is None or problems:
        count = "one mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        raise ConfigError(f"{path} has {count}:", problems=tuple(problem.shown(path) for problem in problems))
    return Loaded(_settled(config), _warning(path, document))


def load_config(path: Path, *, require_secrets: bool = True) -> Config:
    """Do as `read_config` and return the config alone.

    Raises:
        ConfigError: the file cannot be used.
    """
    return read_config(path, require_secrets=require_secrets).config


def permissions_warning(path: Path) -> str | None:
    """Say so when a config that itself holds a secret can be read by others than its owner; else None.

    Raises:
        ConfigError: the file cannot be used at all.
    """
    return read_config(path, require_secrets=False).warning


def _existing(path: Path, by: str) -> Path:
    try:
        path = path.expanduser()
        exists = path.exists()
    except OSError as error:
        raise _unusable(path, error) from error
    except RuntimeError:
        raise ConfigError(
            f"the config {path}, named by {by}, is in a home directory that does not exist.", advice="Name another."
        ) from None
    if not exists:
        raise ConfigError(
            f"the config {path}, named by {by}, does not exist.",
            advice="Name another, or write one with `outreach-sync init`.",
        )
    return path


def _unusable(path: Path, error: OSError) -> ConfigError:
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


def _inconsistencies(tree: Mapping[str, object], *, require_secrets: bool) -> Iterator[tuple[Where, str]]:
    """Find what does not go together, in the tree itself so that other mistakes do not hide it."""
    outreach, s2s = _section(tree, "outreach"), _section(tree, "outreach", "s2s")
    sync, schedule = _section(tree, "sync"), _section(tree, "schedule")
    if require_secrets:
        if outreach.get("s2s") is None:
            yield from _missing(outreach, ("outreach",), "client_id", "client_secret")
        elif isinstance(outreach["s2s"], dict):
            yield from _missing(s2s, ("outreach", "s2s"), "install_id", "app_guid", "private_key")
        yield from _missing(_section(tree, "workbooks"), ("workbooks",), "api_key")
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


def _missing(section: Mapping[str, object], way: Where, *keys: str) -> Iterator[tuple[Where, str]]:
    for key in keys:
        if not section.get(key):
            file = f", or {key}_file: PATH" if (*way, key) in SECRETS else ""
            yield (*way, key), f"is required and is not given; allowed: text such as ${{NAME}}{file}"


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


def _settled(config: Config) -> Config:
    """Give the state its one name, and let a cron expression replace `every`."""
    state = config.state.model_copy(update={"path": resolved(config.state.path)})
    every = None if config.schedule.cron else config.schedule.every_ms
    return config.model_copy(
        update={"state": state, "schedule": config.schedule.model_copy(update={"every_ms": every})}
    )


def _warning(path: Path, document: Document) -> str | None:
    mode = path.stat().st_mode
    if not document.literals or not mode & (stat.S_IRGRP | stat.S_IROTH):
        return None
    who = "everyone" if mode & stat.S_IROTH else "its group"
    held = ", ".join(sorted(map(shown_way, document.literals)))
    return f"{path} holds {held} and can be read by {who}; chmod 600 it, or move the secret out of it"
