"""Reading Outreach beside runs: a token is only ever refreshed under the run lock, so that there is one writer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outreach_sync import assembly, instants
from outreach_sync.outreach.client import OutreachClient
from outreach_sync.outreach.tokens import EXPIRY_MARGIN_MS
from outreach_sync.state.lock import run_lock

if TYPE_CHECKING:
    from outreach_sync.config.model import Config
    from outreach_sync.http import StopSignal
    from outreach_sync.outreach.tokens import Tokens


def outreach_client(config: Config, stop: StopSignal) -> OutreachClient:
    """Return a client of Outreach that asks for nothing yet. Its reads may also raise LockHeldError.

    Raises:
        ConfigError: a credential is missing.
    """
    transport = assembly.outreach_transport(config, stop)
    tokens = LockedTokens(assembly.outreach_tokens(config, transport, stop), config)
    return OutreachClient(assembly.outreach_settings(config), tokens, transport, stop)


class LockedTokens:
    """Tokens that are only ever refreshed under the run lock: one writer at a time."""

    def __init__(self, tokens: Tokens, config: Config) -> None:
        """Ask for nothing yet."""
        self._tokens = tokens
        self._path = config.state.path

    def current(self) -> str:
        """Return a token, under the lock if it may have to be refreshed. Raises as `Tokens`, and LockHeldError."""
        stored = assembly.token_file(self._path).read()
        if stored is not None and stored.access_token and stored.expires_at is not None:
            at = instants.now() + (stored.clock_offset_ms or 0)
            if at < stored.expires_at - 2 * EXPIRY_MARGIN_MS:
                return self._tokens.current()
        with run_lock(self._path, "check"):
            return self._tokens.current()

    def refused(self, token: str) -> str:
        """Return another token, under the lock. Raises as `current`."""
        with run_lock(self._path, "check"):
            return self._tokens.refused(token)
