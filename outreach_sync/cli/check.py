"""`check`: whether everything a run needs is in place, and what to do about what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.text import Text

from outreach_sync.cli.context import Invocation, as_json, invocation
from outreach_sync.cli.output import print_json, say
from outreach_sync.cli.signals import stop_on_signals
from outreach_sync.insight.check import check_everything, exit_status
from outreach_sync.log import keep_secret

if TYPE_CHECKING:
    from outreach_sync.insight.check import Check

_SHOWN = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "bold red")}


@click.command()
@as_json
@invocation
def check(context: Invocation, as_json: bool) -> int:  # noqa: FBT001 - click's form
    """Try config, credentials, scopes, fields, picklists and permissions, each by itself.

    Writes nothing but a rotated token. Exit status: 0 all well, or warnings only; 2 config or state; 3 a login, scope,
    field or permission is wrong; 4 a service is down.
    """
    checks = []
    with stop_on_signals() as stop:
        for one in check_everything(
            lambda: context.config_path, stop, learn=lambda config: keep_secret(*config.secrets)
        ):
            checks.append(one)
            if not as_json:
                _print(one)
    status = exit_status(checks)
    if as_json:
        print_json({"ok": status == 0, "checks": [_scrubbed(context, one) for one in checks]})
    else:
        counts = {word: sum(one.status == word for one in checks) for word in _SHOWN}
        say()
        say(f"{counts['ok']} ok, {counts['warn']} warnings, {counts['fail']} failed.")
    return status


def _print(one: Check) -> None:
    word, style = _SHOWN[one.status]
    first, *more = one.detail.split("\n")
    say(Text(word, style=style), f"  {one.name}: {first}")
    for line in more:
        say(f"      {line}")
    if one.hint and one.status != "ok":
        say(f"      → {one.hint}")


def _scrubbed(context: Invocation, one: Check) -> dict[str, str]:
    return {name: context.scrubber.text(value) for name, value in one.as_json().items()}
