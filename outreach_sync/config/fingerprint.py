"""Short marks of those parts of the config that decide what is written: when one changes, everything is judged anew."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from outreach_sync.rules.conditions import plain_condition

if TYPE_CHECKING:
    from outreach_sync.config.models import Config


def decision_fingerprint(config: Config) -> str:
    """Mark what decides the fields of a Person: labels, the rule for several sequences, the fields themselves.

    Where the services are does not count: a moved host says the same.
    """
    sync = config.sync
    return _mark(
        {
            "labels": dict(sync.labels),
            "multiple_sequences": sync.multiple_sequences,
            "precedence": list(sync.precedence) if sync.multiple_sequences == "precedence" else None,
            "fields": config.workbooks.fields.model_dump(),
            **({"only_where": dict(sync.people.only_where)} if sync.people.only_where else {}),
        }
    )


def field_fingerprint(config: Config) -> str:
    """Mark which fields of a Person are read: where they change, what is known of People was read from others."""
    fields, only_where = config.workbooks.fields.model_dump(), dict(config.sync.people.only_where)
    return _mark({**fields, "only_where": only_where} if only_where else fields)


def task_rule_fingerprint(config: Config) -> str:
    """Mark what decides whether a task was skipped. The order of the conditions does not count."""
    conditions = [
        json.dumps(plain_condition(condition), sort_keys=True) for condition in config.sync.tasks.skipped_when
    ]
    return _mark({"skipped_when": sorted(conditions)})


def _mark(content: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
