"""Whether others on the machine could read a secret in the config."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from outreach_sync.config.document import read_document, shown_way

if TYPE_CHECKING:
    from pathlib import Path


def permissions_warning(path: Path) -> str | None:
    """Say so when a config that itself holds a secret can be read by others than its owner; else None.

    Raises:
        ConfigError: the file cannot be used at all.
    """
    literals = sorted(shown_way(where) for where in read_document(path, require_secrets=False).literals)
    mode = path.stat().st_mode
    if not literals or not mode & (stat.S_IRGRP | stat.S_IROTH):
        return None
    who = "everyone" if mode & stat.S_IROTH else "its group"
    return f"{path} holds {', '.join(literals)} and can be read by {who}; chmod 600 it, or move the secret out of it"
