"""The config file: found, read, checked and described."""

from outreach_sync.config.describe import json_schema, reference_markdown
from outreach_sync.config.load import find_config, load_config, permissions_warning, read_config
from outreach_sync.config.model import Config, decision_fingerprint, revealed, task_rule_fingerprint
from outreach_sync.config.starter import starter_config

__all__ = [
    "Config",
    "decision_fingerprint",
    "find_config",
    "json_schema",
    "load_config",
    "permissions_warning",
    "read_config",
    "reference_markdown",
    "revealed",
    "starter_config",
    "task_rule_fingerprint",
]
