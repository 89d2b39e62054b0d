"""Tokens: got in time, kept on disk, and never lost.

Whether a refresh token still works after it was used is disputed. So there is one refresh at a time, over all threads
and processes, and the new refresh token is on disk before the new access token is used.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync import instants
from outreach_sync.errors import StateError
from outreach_sync.files import (
    beside,
    make_directory,
    open_private,
    prove_replaceable,
    read_limited,
    refusal,
    write_whole,
)
from outreach_sync.instants import Instant
from outreach_sync.log import keep_secret
from outreach_sync.outreach.auth import Grant, InstalledApp, OAuthApp, app_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from outreach_sync.config.model import Config
    from outreach_sync.http import Patience, Transport

_EXPIRY_MARGIN_MS = 5 * 60_000
_REFRESH_TOKEN_MAX_AGE_MS = 7 * 86_400_000
_LARGEST_FILE = 65_536


class StoredTokens(NamedTuple):
    """What is known of our tokens. Times are by Outreach's clock.

    Attributes:
        clock_offset_ms: Outreach's clock minus this machine's when the tokens came, for an estimate before the first
            answer.
        seed: names the app and the first refresh token of the config that this chain grew from.
        app: names the app (its client_id, or its installation) that these tokens belong to; '' where an older version
            wrote them.
        consent: names the consent that this chain grew from; '' where it grew from a token of the config.
    """

    access_token: str = ""
    expires_at: Instant | None = None
    refresh_token: str = ""
    issued_at: Instant | None = None
    scope: str = ""
    seed: str = ""
    clock_offset_ms: int | None = None
    app: str = ""
    consent: str = ""


class DamagedTokensError(StateError):
    """The token file holds nothing that makes sense."""


class TokenFile:
    """The tokens on disk: one small JSON file, readable by its owner only, replaced whole."""

    def __init__(self, path: Path) -> None:
        """Touch nothing yet."""
        self.path = path

    @classmethod
    def beside(cls, state_path: Path) -> TokenFile:
        """Name the token file that belongs to a state: beside the file itself, whatever links lead to it."""
        return cls(beside(state_path, ".tokens"))

    def read(self) -> StoredTokens | None:
        """Return what is stored, None where there is nothing.

        Raises:
            StateError: it cannot be read, is not a token file, or others may read it.
        """
        try:
            content = read_limited(self.path, _LARGEST_FILE)
            mode = self.path.stat().st_mode
            stored = StoredTokens(**_known_fields(json.loads(content))) if content else None
        except FileNotFoundError:
            return None
        except OSError as failure:
            raise StateError(
                f"the token file {self.path} cannot be read ({refusal(self.path, failure)}).",
                advice="Run this as its owner, or put that right: the tokens may be good, and need no new consent.",
            ) from None
        except (ValueError, TypeError, RecursionError):
            raise DamagedTokensError(
                f"the token file {self.path} holds no tokens that make sense.",
                advice="Restore it, or move it away and run `outreach-sync auth login`.",
            ) from None
        if stored is not None and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise StateError(
                f"the token file {self.path} may be read by others than its owner.",
                advice=f"Run `chmod 600 {self.path}`; if anyone may have read it, revoke the tokens too.",
            )
        return stored and _kept_secret(stored)

    def write(self, tokens: StoredTokens) -> None:
        """Replace the file; when this returns, the tokens are on disk.

        Raises:
            StateError: they could not be written.
        """
        try:
            make_directory(self.path.parent)
            write_whole(self.path, json.dumps(_kept_secret(tokens)._asdict()), private=True)
        except OSError as failure:
            raise self._unwritable(failure) from None

    def prove_writable(self) -> None:
        """Make sure that `write` would work now; a token must not be rotated when its successor cannot be kept.

        Raises:
            StateError: it would not.
        """
        try:
            make_directory(self.path.parent)
            prove_replaceable(self.path)
        except OSError as failure:
            raise self._unwritable(failure) from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold other processes off while tokens are rotated, by a lock on the file itself: nothing is left beside it.

        Raises:
            StateError: the file cannot be opened or made.
        """
        try:
            make_directory(self.path.parent)
            descriptor = self._locked()
        except OSError as failure:
            raise self._unwritable(failure) from None
        try:
            yield
        finally:
            if os.fstat(descriptor).st_size == 0:  # it was made for the lock, and unless it was replaced, nothing came
                with suppress(OSError):
                    if self.path.stat().st_size == 0:
                        self.path.unlink()
            os.close(descriptor)

    def _locked(self) -> int:
        """Lock the file that is there now: while we waited, another process may have replaced it."""
        while True:
            descriptor = open_private(self.path)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), self.path.stat()):
                    return descriptor
            os.close(descriptor)

    def _unwritable(self, failure: OSError) -> StateError:
        return StateError(
            f"the token file {self.path} cannot be written ({refusal(self.path, failure)}).",
            advice="Give the user that runs this the right to write there; until then no token is refreshed.",
        )


def _kept_secret(tokens: StoredTokens) -> StoredTokens:
    """Have nothing that is logged or printed from now on show these."""
    keep_secret(tokens.access_token, tokens.refresh_token)
    return tokens


def _known_fields(content: Any) -> dict[str, Any]:
    """Take the known fields; a newer version may have added some."""
    if not isinstance(content, dict):
        raise TypeError("a token file holds an object")
    return {name: content[name] for name in StoredTokens._fields if name in content}


def refuse_another_app(config: Config, stored: StoredTokens | None, path: Path) -> None:
    """Make sure that what is stored, if anything, belongs to the app that the config names.

    Raises:
        StateError: it belongs to another one.
    """
    if stored is not None and stored.app not in {"", app_of(config)[0]}:
        raise StateError(
            f"the tokens in {path} belong to another app than the one that the config names.",
            advice="Give this config a state.path of its own; if the app was replaced, move that file away first.",
        )


class Tokens:
    """Keeps the tokens of one app; safe to be used by several threads, and beside other processes.

    Attributes:
        file: where they are kept.
        app: what asks for them.
    """

    def __init__(self, config: Config, transport: Transport, patience: Patience) -> None:
        """Read nothing yet.

        Raises:
            ConfigError: a credential is missing.
        """
        s2s = config.outreach.s2s
        self._config = config
        self.file = TokenFile.beside(config.state.path)
        self.app: OAuthApp | InstalledApp = (
            OAuthApp(config, transport, patience) if s2s is None else InstalledApp(config, s2s, transport, patience)
        )
        self._transport = transport
        self._lock = threading.Lock()
        self._stored: StoredTokens | None = None

    def current(self) -> str:
        """Return an access token, a new one if it is about to expire by Outreach's clock.

        Raises:
            NotAuthenticatedError: there is no refresh token, or Outreach refuses it, or our signature.
            ConfigError: the key of a server-to-server app cannot sign.
            StateError: the token file cannot be read or written, or belongs to another app.
            ServiceError: Outreach cannot be used now.
        """
        with self._lock:
            stored = self._known()
            return stored.access_token if self._is_fresh(stored) else self._renew(stored.access_token)

    def refused(self, token: str) -> str:
        """Return another access token than `token`, with which a request was refused.

        Asks once for each refused token, whichever thread reports it first. Raises as `current`.
        """
        with self._lock:
            stored = self._known()
            return self._renew(token) if stored.access_token == token else stored.access_token

    def refresh(self) -> None:
        """Get a new one now, whatever the age of the one that there is. Raises as `current`."""
        with self._lock:
            self._renew(self._known().access_token)

    def exchange_code(self, code: str) -> StoredTokens:
        """Exchange the code of a consent for tokens and store them; they replace whatever this app had.

        Raises:
            NotAuthenticatedError: the code is refused. Otherwise as `current`.
        """
        if not isinstance(self.app, OAuthApp):
            raise TypeError("a server-to-server app needs no code")
        with self._lock, self.file.alone():
            self.prove_replaceable()
            return self._keep(self.app.exchange(code), secrets.token_hex(8))

    def prove_replaceable(self) -> None:
        """Make sure that a consent could be kept: what is stored, if anything, is this app's or nothing of worth.

        Raises:
            StateError: it belongs to another app, or the file cannot be written.
        """
        self.file.prove_writable()
        with suppress(DamagedTokensError):
            refuse_another_app(self._config, self.file.read(), self.file.path)

    def _known(self) -> StoredTokens:
        if self._stored is None:
            self._stored = self._load()
        return self._stored

    def _load(self) -> StoredTokens:
        """Prefer the stored chain, unless the config holds another first token than the one it grew from."""
        stored = self.file.read()
        refuse_another_app(self._config, stored, self.file.path)
        consented = isinstance(self.app, OAuthApp) and not self.app.first_token
        if stored is not None and (stored.seed == self.app.seed or consented):
            return stored
        return StoredTokens(refresh_token=self.app.first_token)

    def _is_fresh(self, stored: StoredTokens) -> bool:
        """Say whether to use it; in doubt yes: a refusal costs one request, a needless refresh rotates a token."""
        if not stored.access_token:
            return False
        at = self._transport.server_now()
        if at is None:
            if stored.clock_offset_ms is None:
                return True
            at = Instant(instants.now() + stored.clock_offset_ms)
        expires = stored.expires_at is not None and at > stored.expires_at - _EXPIRY_MARGIN_MS
        ages = stored.issued_at is not None and at > stored.issued_at + _REFRESH_TOKEN_MAX_AGE_MS
        return not (expires or ages)

    def _renew(self, replaced: str) -> str:
        """Get a new token, unless another process did so since we read the file."""
        with self.file.alone():
            stored = self._load()
            if stored.access_token == replaced or not self._is_fresh(stored):
                self.file.prove_writable()
                stored = self._keep(self.app.obtain(stored.refresh_token), stored.consent)
            self._stored = stored
            return stored.access_token

    def _keep(self, grant: Grant, consent: str) -> StoredTokens:
        now = self._transport.server_now()
        self._stored = StoredTokens(
            access_token=grant.access_token,
            expires_at=grant.expires_at,
            refresh_token=grant.refresh_token,
            issued_at=grant.issued_at,
            scope=grant.scope,
            seed=self.app.seed,
            clock_offset_ms=None if now is None else now - instants.now(),
            app=self.app.name,
            consent=consent,
        )
        self.file.write(self._stored)
        return self._stored
