"""`schedule`: stay, and run cycles in time."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from outreach_sync.cli.context import Invocation, command_log, invocation
from outreach_sync.cli.signals import stop_on_signals
from outreach_sync.errors import StateError
from outreach_sync.insight.status import last_begun, overdue_runs
from outreach_sync.instants import now
from outreach_sync.reconcile import reconcile
from outreach_sync.run import Ended, Options, perform
from outreach_sync.schedule import RECONCILE, Reload, Scheduler, ServiceManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outreach_sync.config.model import Config
    from outreach_sync.http import StopSignal
    from outreach_sync.log import Log


@click.command()
@invocation
def schedule(context: Invocation) -> int:
    """Run on a schedule until stopped.

    The first cycle starts at once; the rest follow `schedule` in the config, in UTC. SIGTERM and SIGINT finish the
    batch in flight and end with 0, within 30 s. SIGHUP reads the config again; if it is wrong, the old one stays in
    force. No error of a cycle ends it. Reports to systemd when systemd started it.
    """
    config = context.config()
    log = command_log(context, config)

    def read_config() -> Config:
        renewed = context.config()
        command_log(context, renewed)
        return renewed

    with stop_on_signals(forced_status=0) as stop, reload_on_hangup() as reload:
        scheduler = Scheduler(config, _begin(stop, log), stop=stop, log=log, manager=ServiceManager())
        scheduler.serve(reload, read_config, reconcile_first=_reconcile_is_overdue(context))
    return 0


@contextmanager
def reload_on_hangup() -> Iterator[Reload]:
    """Turn SIGHUP into a request to read the config again, for the block."""
    reload = Reload()
    before = signal.signal(signal.SIGHUP, lambda _number, _frame: reload.ask())
    try:
        yield reload
    finally:
        signal.signal(signal.SIGHUP, before)


def _begin(stop: StopSignal, log: Log) -> Callable[[Config, str], Ended]:
    def begin(config: Config, command: str) -> Ended:
        work = reconcile if command == RECONCILE else None
        return perform(config, Options(command), stop, log, work=work)

    return begin


def _reconcile_is_overdue(context: Invocation) -> bool:
    """Say whether a reconcile fell due while no scheduler ran."""
    try:
        state = context.state_to_read()
    except StateError:
        return False  # the first run says what is wrong with it, or brings it up to date
    if state is None:
        return False
    try:
        overdue = overdue_runs(context.config(require_secrets=False), last_begun(state, now()), now())
    finally:
        state.close()
    return any(one.command == RECONCILE for one in overdue)
