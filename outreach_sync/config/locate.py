"""Where the config and the state are kept when nobody says so."""

from __future__ import annotations

import os
from pathlib import Path

from outreach_sync.errors import ConfigError

_SYSTEM = Path("/etc/outreach-sync/config.yaml")


def find_config(explicit: Path | None = None) -> Path:
    """Find the config: the given path, `$OUTREACH_SYNC_CONFIG`, or the first of three usual places that exists.

    Raises:
        ConfigError: what was named does not exist, or there is none anywhere; the message says where was looked.
    """
    variable = os.environ.get("OUTREACH_SYNC_CONFIG")
    for named, by in ((explicit, "--config"), (Path(variable) if variable else None, "$OUTREACH_SYNC_CONFIG")):
        if named is not None:
            return _existing(named.expanduser(), by)
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
    looked = ", ".join(str(place) for place in usual)
    raise ConfigError(
        f"no config was found: $OUTREACH_SYNC_CONFIG is not set, and none of these exists: {looked}.",
        advice="Write one with `outreach-sync init`, or name one with --config.",
    )


def usual_places() -> tuple[Path, Path, Path]:
    """List where a config is looked for: below the current directory, the user's, the system's."""
    return Path("config/outreach-sync.yaml"), _user_directory("XDG_CONFIG_HOME", ".config") / "config.yaml", _SYSTEM


def default_state_path() -> Path:
    """Say where the database is unless the config does: the system's directory for root, else the user's."""
    if os.geteuid() == 0:
        return Path("/var/lib/outreach-sync/state.db")
    return _user_directory("XDG_STATE_HOME", ".local/state") / "state.db"


def _existing(path: Path, by: str) -> Path:
    try:
        exists = path.exists()
    except OSError as error:
        raise _unusable(path, error) from error
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


def _user_directory(variable: str, below_home: str) -> Path:
    """Find one of the XDG base directories; a relative path in the variable does not count, says that specification."""
    named = Path(os.environ.get(variable, ""))
    try:
        return (named if named.is_absolute() else Path.home() / below_home) / "outreach-sync"
    except RuntimeError:  # a service account without a home
        return Path("/nonexistent") / "outreach-sync"
