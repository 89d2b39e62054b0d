"""Environment variables in config values: ``${NAME}``, ``${NAME:-default}``, and ``$${`` for a literal ``${``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\})?", re.ASCII)


class UnsetVariableError(ValueError):
    """A variable without a default is not in the environment."""

    def __init__(self, name: str) -> None:
        """Keep the name of the variable."""
        super().__init__(
            f"the environment variable {name} is not set; set it, or give a default: ${{{name}:-something}}"
        )
        self.name = name


class MalformedError(ValueError):
    """A ``${`` is not the start of a variable. The text itself is never shown: it may hold a secret."""

    def __init__(self) -> None:
        """Say what is allowed."""
        super().__init__("'${' starts no variable; allowed: ${NAME}, ${NAME:-default}, or $${ for the characters ${")


def interpolate(text: str, environment: Mapping[str, str]) -> str:
    """Put the environment's values in; what they hold is not looked at again.

    As in a shell, ``:-`` also replaces a variable that is set to nothing.

    Raises:
        UnsetVariableError: a variable without a default is not set.
        MalformedError: a ``${`` that is no variable.
    """

    def value_of(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if match[0] == "$${":
            return "${"
        if name is None:
            raise MalformedError
        if default is not None:
            return environment.get(name) or default
        if name not in environment:
            raise UnsetVariableError(name)
        return environment[name]

    return _TOKEN.sub(value_of, text)


def mentions_variable(text: str) -> bool:
    """Say whether a value takes anything from the environment."""
    return any(match["name"] for match in _TOKEN.finditer(text))
