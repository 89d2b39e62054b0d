"""The config file: found, read, checked and described.

Nothing heavy is imported before it is asked for: `status` has to be quick, and only `load_config` needs the models.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outreach_sync.config.credentials import revealed
    from outreach_sync.config.fingerprint import decision_fingerprint, task_rule_fingerprint
    from outreach_sync.config.loading import load_config
    from outreach_sync.config.locate import find_config
    from outreach_sync.config.models import Config
    from outreach_sync.config.permissions import permissions_warning
    from outreach_sync.config.quick import QuickSettings, quick_settings
    from outreach_sync.config.reference import reference_markdown
    from outreach_sync.config.schema import json_schema
    from outreach_sync.config.starter import starter_config

_HOMES = {
    "Config": "models",
    "QuickSettings": "quick",
    "decision_fingerprint": "fingerprint",
    "find_config": "locate",
    "json_schema": "schema",
    "load_config": "loading",
    "permissions_warning": "permissions",
    "quick_settings": "quick",
    "reference_markdown": "reference",
    "revealed": "credentials",
    "starter_config": "starter",
    "task_rule_fingerprint": "fingerprint",
}

__all__ = [
    "Config",
    "QuickSettings",
    "decision_fingerprint",
    "find_config",
    "json_schema",
    "load_config",
    "permissions_warning",
    "quick_settings",
    "reference_markdown",
    "revealed",
    "starter_config",
    "task_rule_fingerprint",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
