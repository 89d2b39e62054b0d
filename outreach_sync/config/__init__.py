"""The config file: found, read, checked and described."""

from outreach_sync.config.describe import json_schema, reference_markdown, starter_config
from outreach_sync.config.document import find_config, load_config, read_config
from outreach_sync.config.model import Config, decision_fingerprint, revealed, task_rule_fingerprint

__all__ = [
    "Config",
    "decision_fingerprint",
    "find_config",
    "json_schema",
    "load_config",
    "read_config",
    "reference_markdown",
    "revealed",
    "starter_config",
    "task_rule_fingerprint",
]
