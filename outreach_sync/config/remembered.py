"""A config that was judged before, taken as it was judged, without the models: importing those takes 120 ms.

A cycle starts every few minutes and its config hardly ever changes. What the models made of it is kept beside the
state, as JSON under a salted digest of everything they saw: the file with its variables and secret files put in, the
program's own modules for it, and the places that defaults depend on. If anything is different, all is judged anew. No
secret is kept: where one stood there is only the way to it, and it is taken from the config file each time.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from outreach_sync import __version__
from outreach_sync.config.document import SECRETS, Document, read_document
from outreach_sync.config.locate import default_state_path
from outreach_sync.config.start import Back, Everything, From
from outreach_sync.rules.conditions import AnyOf, Clause, Equals, NotAfter
from outreach_sync.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.config.document import Where
    from outreach_sync.config.models import Config

_VALUES = {kind.__name__: kind for kind in (Back, Everything, From, AnyOf, Clause, Equals, NotAfter)}
_TOO_OPEN = stat.S_IWGRP | stat.S_IWOTH


class RememberedSection(SimpleNamespace):
    """A section of a config as the models had it: the same names, the same values."""

    def model_dump(self) -> dict[str, Any]:
        """Return its values by name."""
        return dict(vars(self))


class Secret:
    """A secret that shows itself only when asked to."""

    def __init__(self, text: str) -> None:
        """Keep it."""
        self._text = text

    def get_secret_value(self) -> str:
        """Return it."""
        return self._text

    def __repr__(self) -> str:
        """Return what may be seen by anyone."""
        return "Secret('**********')"


def settled_config(path: Path, *, remember: bool) -> Config:
    """Load a config as `loading.load_config` does, without the models where they have judged the same before.

    Args:
        path: the file.
        remember: whether what the models say may be kept for the next time.

    Raises:
        ConfigError: the file cannot be used.
    """
    document = read_document(path)
    place = _place(document)
    if place is not None and not document.problems:
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # whatever is wrong with what was kept
            return _recall(place, document)
    from outreach_sync.config.loading import load_config  # noqa: PLC0415 - pydantic is slow to import

    config = load_config(path)
    if remember and place is not None:
        with suppress(OSError, ValueError):
            _keep(place, document, config)
    return config


def _place(document: Document) -> Path | None:
    """Return where the judgement is kept: beside the state, once there is one."""
    section = document.tree.get("state")
    named = section.get("path") if isinstance(section, dict) else None
    state = Path(named).expanduser() if isinstance(named, str) and named.strip() else default_state_path()
    state = document.path.absolute().parent / state
    try:
        return state.with_name(state.name + ".config") if state.exists() else None
    except OSError:  # a directory that cannot be entered: whoever opens the state says so
        return None


def _recall(place: Path, document: Document) -> Config:
    """Return the config as it was judged.

    Raises:
        OSError, ValueError, KeyError, TypeError, AttributeError: it cannot be taken from there.
    """
    with place.open(encoding="utf-8") as file:
        mode = os.fstat(file.fileno())
        if mode.st_uid != os.geteuid() or mode.st_mode & _TOO_OPEN:
            raise ValueError("others may have written it")
        kept = json.load(file)
    if kept["digest"] != _digest(document, kept["salt"]):
        raise ValueError("something changed")
    return cast("Config", _plain(kept["config"], document))


def _keep(place: Path, document: Document, config: Config) -> None:
    """Write what was judged, for the owner only.

    Raises:
        OSError: it cannot be written.
        ValueError: it holds something that this module does not know.
    """
    salt = os.urandom(16).hex()
    content = {"salt": salt, "digest": _digest(document, salt), "config": _shown(config, (), document)}
    write_whole(place, json.dumps(content, ensure_ascii=False))


def _digest(document: Document, salt: str) -> str:
    """Mark everything that the judgement depends on."""
    with os.scandir(Path(__file__).parent) as modules:
        code = sorted((one.name, one.stat().st_mtime_ns) for one in modules if one.name.endswith(".py"))
    surroundings = (str(document.path.absolute()), str(default_state_path()), os.environ.get("HOME"), __version__)
    seen = json.dumps([salt, surroundings, code, _tree(document.tree)], ensure_ascii=False)
    return hashlib.sha256(seen.encode(errors="surrogatepass")).hexdigest()


def _tree(value: object) -> object:
    """Spell out the tree so that what YAML reads as a number differs from the same text in quotes."""
    if isinstance(value, dict):
        return [[str(key), _tree(one)] for key, one in value.items()]
    if isinstance(value, list):
        return [None, *map(_tree, value)]
    return [type(value).__name__, None if value is None else str(value)]


def _shown(value: Any, where: Where, document: Document) -> Any:
    """Spell out what the models made, as JSON."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if hasattr(value, "get_secret_value"):
        return _way_to(value.get_secret_value(), where, document)
    if hasattr(value, "model_dump"):
        fields = type(value).model_fields
        return {"section": {name: _shown(getattr(value, name), (*where, name), document) for name in fields}}
    return _shown_value(value, document)


def _shown_value(value: Any, document: Document) -> dict[str, Any]:
    if isinstance(value, Path):
        return {"path": str(value)}
    if type(value).__name__ in _VALUES:
        return {"value": type(value).__name__, "of": [_shown(one, (), document) for one in value]}
    if isinstance(value, tuple):
        return {"all": [_shown(one, (), document) for one in value]}
    if isinstance(value, (dict, MappingProxyType)):
        return {"map": {name: _shown(one, (), document) for name, one in value.items()}}
    raise ValueError(f"{type(value).__name__} is not known here")


def _way_to(secret: str, where: Where, document: Document) -> Any:
    if where not in SECRETS or _at(document.tree, where) != secret:
        raise ValueError("a secret that does not stand where it should")
    return {"secret": list(where)}


def _plain(shown: Any, document: Document) -> Any:
    """Make of the JSON what `_shown` was given."""
    result = shown
    match shown:
        case {"secret": where}:
            result = Secret(str(_at(document.tree, tuple(where))))
        case {"section": section}:
            result = RememberedSection(**{name: _plain(one, document) for name, one in section.items()})
        case {"path": path}:
            result = Path(path)
        case {"value": name, "of": parts}:
            result = _VALUES[name](*(_plain(one, document) for one in parts))
        case {"all": parts}:
            result = tuple(_plain(one, document) for one in parts)
        case {"map": named}:
            result = MappingProxyType({name: _plain(one, document) for name, one in named.items()})
    return result


def _at(tree: Mapping[str, object], where: Where) -> object:
    found: Any = tree
    for step in where:
        found = found[step]
    return found
