"""Outreach: the login, each scope by trying, and its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync import instants
from outreach_sync.errors import NotAllowedError, OutreachSyncError
from outreach_sync.insight.checks.check import failed_by, ok, warn
from outreach_sync.outreach.auth import SCOPES
from outreach_sync.outreach.client import OutreachClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outreach_sync.config.model import Config
    from outreach_sync.http import StopSignal
    from outreach_sync.insight.checks.check import Check
    from outreach_sync.instants import Instant

CLOCK_TOLERANCE_MS = 5 * 60_000
_ONE_ROW = (("page[size]", "1"), ("count", "false"))


def outreach_checks(config: Config, stop: StopSignal) -> Iterator[Check]:
    """Check Outreach; where it does not let us in, its other checks say that they were not tried."""
    try:
        client = OutreachClient(config, stop)
        client.get("/api/v2/prospects", _ONE_ROW)
        login = ok("outreach login", config.outreach.base_url)
    except NotAllowedError:
        login = ok("outreach login", config.outreach.base_url)  # who we are is accepted; the scopes say what is not
    except OutreachSyncError as error:
        login = failed_by("outreach login", error)
    yield login
    for scope in SCOPES:
        yield _scope(client, scope) if login.status == "ok" else not_tried(_scope_name(scope), login)
    if login.status == "ok":
        yield clock("outreach clock", client.transport.server_now())


def not_tried(name: str, because: Check) -> Check:
    """Report a check that its login kept from being tried; of a warning there is no more than a warning."""
    detail = f"not tried, since {because.name} {'failed' if because.status == 'fail' else 'was not tried'}"
    return because._replace(name=name, detail=detail, hint="")


def _scope_name(scope: str) -> str:
    return f"outreach scope {scope}"


def _scope(client: OutreachClient, scope: str) -> Check:
    name = _scope_name(scope)
    try:
        rows = client.get(f"/api/v2/{scope.partition('.')[0]}", _ONE_ROW)["data"]
    except OutreachSyncError as error:
        return failed_by(name, error)
    if rows:
        return ok(name, "granted")
    return warn(
        name,
        "granted, but not one record can be seen",
        "If Outreach has any, the governance profile of the user hides them: use a user that may see all records.",
    )


def clock(name: str, server: Instant | None) -> Check:
    """Compare a service's clock with this machine's."""
    if server is None:
        return warn(name, "its answers carry no Date", "Bounds come from the data alone.")
    seconds = (instants.now() - server) / 1000
    if abs(seconds) * 1000 <= CLOCK_TOLERANCE_MS:
        return ok(name, f"{abs(seconds):.0f} s from this machine's")
    direction = "ahead of" if seconds > 0 else "behind"
    hint = "Runs do not rely on this machine's clock, but logs and pauses do: set it, best by NTP."
    return warn(name, f"this machine is {abs(seconds):,.0f} s {direction} the service", hint)
