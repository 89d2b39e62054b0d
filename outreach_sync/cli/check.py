"""`check`: whether everything a run needs is in place, and what to do about what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from outreach_sync.cli.context import Invocation, as_json, invocation
from outreach_sync.cli.output import print_json
from outreach_sync.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from outreach_sync.config.model import Config
    from outreach_sync.insight.checks import Check

_SHOWN = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


@click.command()
@as_json
@invocation
def check(context: Invocation, as_json: bool) -> int:  # noqa: FBT001 - click's form
    """Try config, credentials, scopes, fields, picklists and permissions, each by itself.

    Writes nothing but a rotated token. Exit status: 0 all well, or warnings only; 2 config or state; 3 a login, scope,
    field or permission is wrong; 4 a service is down.
    """
    from outreach_sync.insight.checks import check_everything, exit_status  # noqa: PLC0415 - slow to import

    def learn(config: Config) -> None:
        from outreach_sync.log import keep_secret  # noqa: PLC0415

        keep_secret(*config.secrets)

    checks = []
    with stop_on_signals() as stop:
        for one in check_everything(lambda: context.config_path, stop, learn=learn):
            checks.append(one)
            if not as_json:
                _print(context, one)
    status = exit_status(checks)
    if as_json:
        print_json({"ok": status == 0, "checks": [_scrubbed(context, one) for one in checks]})
    else:
        _print_summary(checks)
    return status


def _print(context: Invocation, one: Check) -> None:
    click.echo(context.scrubber.text(f"{_SHOWN[one.status]}  {one.name}: {one.detail}"))
    if one.hint and one.status != "ok":
        click.echo(context.scrubber.text(f"      → {one.hint}"))


def _scrubbed(context: Invocation, one: Check) -> dict[str, str]:
    return {name: context.scrubber.text(value) for name, value in one.as_json().items()}


def _print_summary(checks: list[Check]) -> None:
    counts = {status: sum(one.status == status for one in checks) for status in _SHOWN}
    click.echo(f"\n{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed.")
