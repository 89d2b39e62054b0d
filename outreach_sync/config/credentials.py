"""Taking a credential out of its wrapping, where it is needed and not before. Without pydantic: `run` is in a hurry."""

from __future__ import annotations

from typing import Protocol

from outreach_sync.errors import ConfigError


class Hidden(Protocol):
    """A secret that shows itself only when asked to, such as pydantic's `SecretStr`."""

    def get_secret_value(self) -> str:
        """Return it."""


def revealed(value: Hidden | str | None, name: str) -> str:
    """Take the text of a credential that is needed now.

    Args:
        value: the credential; None where the config was loaded without its secrets.
        name: its key, for the complaint.

    Raises:
        ConfigError: there is none.
    """
    if value is None:
        raise ConfigError(
            f"{name} is not set.", advice="Set it in the config, or the environment variable that the config names."
        )
    return value if isinstance(value, str) else value.get_secret_value()
