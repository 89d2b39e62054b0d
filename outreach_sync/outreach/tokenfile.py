"""The tokens on disk: one small JSON file, readable by its owner only, replaced atomically.

A refresh token that was rotated away may be dead at once, so the new one must survive a power cut before anything
relies on it: write beside, fsync, rename, fsync the directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

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
from outreach_sync.log import keep_secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from outreach_sync.instants import Instant


_LARGEST = 65_536


class StoredTokens(NamedTuple):
    """What is known of our tokens. Times are by Outreach's clock.

    `clock_offset_ms` is Outreach's clock minus this machine's when the tokens came, for an estimate before the first
    answer. `seed` names the app and the first refresh token of the config that this chain grew from.
    """

    access_token: str = ""
    expires_at: Instant | None = None
    refresh_token: str = ""
    issued_at: Instant | None = None
    scope: str = ""
    seed: str = ""
    clock_offset_ms: int | None = None


class TokenFile:
    """Reads and replaces the token file at `path`."""

    def __init__(self, path: Path) -> None:
        """Touch nothing yet."""
        self.path = path

    @classmethod
    def beside(cls, state_path: Path) -> TokenFile:
        """Name the token file that belongs to a state: beside it, in a file of its own that only its owner reads."""
        return cls(beside(state_path, ".tokens"))

    def read(self) -> StoredTokens | None:
        """Return what is stored, None where there is no file.

        Raises:
            StateError: it cannot be read, is no token file, or others may read it.
        """
        try:
            content = read_limited(self.path, _LARGEST)
            self._refuse_others(self.path.stat().st_mode)
            return _kept_secret(_stored(json.loads(content)))
        except FileNotFoundError:
            return None
        except PermissionError as failure:
            raise StateError(
                f"the token file {self.path} cannot be read ({refusal(self.path, failure)}).",
                advice="Run this as that user, or give it the file (`chown`); no new consent is needed.",
            ) from None
        except OSError as failure:
            raise StateError(
                f"the token file {self.path} cannot be read ({refusal(self.path, failure)}).",
                advice="Put that right; the tokens may be good.",
            ) from None
        except (ValueError, TypeError, RecursionError):
            raise StateError(
                f"the token file {self.path} holds no tokens that make sense.",
                advice="Restore it, or move it away and run `outreach-sync auth login`.",
            ) from None

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

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold other processes off while tokens are rotated.

        Raises:
            StateError: the lock file beside the token file cannot be made.
        """
        try:
            make_directory(self.path.parent)
            descriptor = open_private(beside(self.path, ".lock"))
        except OSError as failure:
            raise self._unwritable(failure) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _refuse_others(self, mode: int) -> None:
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise StateError(
                f"the token file {self.path} may be read by others than its owner.",
                advice=f"Run `chmod 600 {self.path}`; if anyone may have read it, revoke the tokens too.",
            )

    def _unwritable(self, failure: OSError) -> StateError:
        return StateError(
            f"the token file {self.path} cannot be written ({refusal(self.path, failure)}).",
            advice="Give the user that runs this the right to write there; until then no token is refreshed.",
        )


def _kept_secret(tokens: StoredTokens) -> StoredTokens:
    """Have nothing that is logged or printed from now on show these."""
    keep_secret(tokens.access_token, tokens.refresh_token)
    return tokens


def _stored(content: Any) -> StoredTokens:
    """Take the known fields; a newer version may have added some."""
    if not isinstance(content, dict):
        raise TypeError("a token file holds an object")
    return StoredTokens(**{name: content[name] for name in StoredTokens._fields if name in content})
