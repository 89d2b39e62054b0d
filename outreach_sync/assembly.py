"""Assembly: from the config to the pieces that a command needs. The only place that knows them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync import __version__
from outreach_sync.config.model import revealed
from outreach_sync.config.values import Back, From
from outreach_sync.http import Transport
from outreach_sync.outreach.client import OutreachClient
from outreach_sync.outreach.s2s import S2STokens
from outreach_sync.outreach.settings import OutreachSettings, S2SSettings
from outreach_sync.outreach.source import OutreachSource
from outreach_sync.outreach.tokenfile import TokenFile
from outreach_sync.outreach.tokens import OAuthTokens
from outreach_sync.rules.conditions import named_attributes
from outreach_sync.rules.watermark import Reading
from outreach_sync.workbooks.records import Workbooks

if TYPE_CHECKING:
    from pathlib import Path

    from outreach_sync.config.model import Config
    from outreach_sync.http import OnRetry, StopSignal
    from outreach_sync.instants import Instant
    from outreach_sync.outreach.tokens import Tokens


def reading_from(config: Config, *, full: bool, since: Instant | Back | None) -> Reading:
    """Return from where a run reads, as the config and the command line say."""
    start = config.sync.start
    return Reading(
        start=start.ms if isinstance(start, Back) else None,
        start_at=start.at if isinstance(start, From) else None,
        overlap=config.sync.overlap_ms,
        late_sweep=config.sync.late_sweep_ms,
        full=full,
        since=None if isinstance(since, Back) else since,
        ago=since.ms if isinstance(since, Back) else None,
    )


def token_file(state_path: Path) -> TokenFile:
    """Return where the tokens are kept."""
    return TokenFile.beside(state_path)


def outreach_settings(config: Config) -> OutreachSettings:
    """Return what the Outreach client needs to know.

    Raises:
        ConfigError: a credential is missing.
    """
    outreach, sync = config.outreach, config.sync
    s2s = outreach.s2s and S2SSettings(
        install_id=revealed(outreach.s2s.install_id, "outreach.s2s.install_id"),
        app_guid=revealed(outreach.s2s.app_guid, "outreach.s2s.app_guid"),
        private_key=revealed(outreach.s2s.private_key, "outreach.s2s.private_key"),
    )
    return OutreachSettings(
        base_url=outreach.base_url,
        client_id="" if s2s else revealed(outreach.client_id, "outreach.client_id"),
        client_secret="" if s2s else revealed(outreach.client_secret, "outreach.client_secret"),
        redirect_uri=outreach.redirect_uri,
        refresh_token=outreach.refresh_token.get_secret_value() if outreach.refresh_token else "",
        s2s=s2s or None,
        page_size=outreach.page_size,
        timeout_ms=outreach.timeout_ms,
        reserve=outreach.reserve,
        patience_ms=sync.patience_ms,
        want_steps=sync.tasks.vanished_is_skipped,
        prospect_attributes=tuple(sorted(set(sync.people.create_fields.values()))),
        skip_events=sync.tasks.skip_events,
        task_attributes=tuple(sorted(named_attributes(sync.tasks.skipped_when))),
    )


def outreach_tokens(
    config: Config, transport: Transport, stop: StopSignal, *, on_retry: OnRetry | None = None
) -> OAuthTokens | S2STokens:
    """Return where access tokens come from: the consent flow, or the server-to-server app."""
    settings, file = outreach_settings(config), token_file(config.state.path)
    if settings.s2s is not None:
        return S2STokens(settings, settings.s2s, file, transport, stop, on_retry=on_retry)
    return OAuthTokens(settings, file, transport, stop, on_retry=on_retry)


def outreach_transport(config: Config, stop: StopSignal) -> Transport:
    """Return the way to Outreach."""
    return Transport(config.outreach.base_url, user_agent=f"outreach-sync/{__version__}", stop=stop)


def outreach_from(config: Config, stop: StopSignal, *, on_retry: OnRetry | None = None) -> OutreachSource:
    """Return Outreach, ready to be read."""
    transport = outreach_transport(config, stop)
    tokens: Tokens = outreach_tokens(config, transport, stop, on_retry=on_retry)
    return OutreachSource(OutreachClient(outreach_settings(config), tokens, transport, stop, on_retry=on_retry))


def workbooks_from(config: Config, stop: StopSignal, *, on_retry: OnRetry | None = None) -> Workbooks:
    """Return Workbooks, ready to be read and written.

    Raises:
        ConfigError: the key is missing.
    """
    return Workbooks(
        config.workbooks,
        stop,
        patience_seconds=config.sync.patience_ms / 1000,
        only_where=config.sync.people.only_where,
        on_retry=on_retry,
    )
