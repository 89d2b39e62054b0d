"""All checks, in the order in which people would look: what is here, then Outreach, then Workbooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync.config.load import load_config
from outreach_sync.errors import ConfigError
from outreach_sync.insight.checks.check import failed_by, guarded, ok
from outreach_sync.insight.checks.local import local_checks
from outreach_sync.insight.checks.outreach import outreach_checks
from outreach_sync.insight.checks.workbooks import workbooks_checks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from outreach_sync.config.model import Config
    from outreach_sync.http import StopSignal
    from outreach_sync.insight.checks.check import Check

_PATIENCE_MS = 20_000
"""How long one check waits for a service: a person is waiting for the answer."""


def check_everything(find: Callable[[], Path], stop: StopSignal, *, learn: Callable[[Config], None]) -> Iterator[Check]:
    """Check everything, one thing at a time; only a config that cannot be read ends it.

    Args:
        find: returns where the config is, or raises ConfigError.
        stop: the request to stop.
        learn: told the config before anything is said of it, so that its secrets can be kept out.

    Raises:
        InterruptedByError: asked to stop.
    """
    try:
        path = find()
        config = load_config(path, require_secrets=False)
    except ConfigError as error:
        yield failed_by("config", error)
        return
    learn(config)
    yield from guarded("config", lambda: [_complete(path)])
    yield from local_checks(path, config)
    hurried = _in_a_hurry(config)
    yield from outreach_checks(hurried, stop)
    yield from workbooks_checks(hurried, stop)


def _complete(path: Path) -> Check:
    """Load it once more, now with all its secrets; without some of them the rest can still be tried."""
    load_config(path)
    return ok("config", str(path))


def _in_a_hurry(config: Config) -> Config:
    patience = min(config.sync.patience_ms, _PATIENCE_MS)
    return config.model_copy(update={"sync": config.sync.model_copy(update={"patience_ms": patience})})
