"""The config file: found, read, checked and described.

Nothing heavy is imported before it is asked for: `status` has to be quick, and only `load_config` needs the models.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outreach_sync.config.loading import load_config
    from outreach_sync.config.locate import find_config
    from outreach_sync.config.models import Config, revealed

_HOMES = {
    "Config": "models",
    "find_config": "locate",
    "load_config": "loading",
    "revealed": "models",
}

__all__ = ["Config", "find_config", "load_config", "revealed"]


def __getattr__(name: str) -> Any:
    """Import what is asked for from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
