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
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.errors import StateError
from outreach_sync.scrubbing import keep_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outreach_sync.instants import Instant


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
        return cls(state_path.with_name(state_path.name + ".tokens"))

    def read(self) -> StoredTokens | None:
        """Return what is stored, None where there is no file.

        Raises:
            StateError: it cannot be read, is no token file, or others may read it.
        """
        try:
            with self.path.open(encoding="utf-8") as file:
                self._refuse_others(os.fstat(file.fileno()).st_mode)
                return _kept_secret(_stored(json.load(file)))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as failure:
            raise StateError(
                f"the token file {self.path} cannot be read ({type(failure).__name__}).",
                advice="Restore it, or move it away and run `outreach-sync auth login`.",
            ) from None

    def write(self, tokens: StoredTokens) -> None:
        """Replace the file; when this returns, the tokens are on disk.

        Raises:
            StateError: they could not be written.
        """
        try:
            self._replace(json.dumps(_kept_secret(tokens)._asdict()))
        except OSError as failure:
            raise self._unwritable(failure) from None

    def prove_writable(self) -> None:
        """Make sure that `write` would work now; a token must not be rotated when its successor cannot be kept.

        Raises:
            StateError: it would not.
        """
        try:
            self._make_directory()
            _sync_and_close(*self._beside("proof"), rename_to=None)
        except OSError as failure:
            raise self._unwritable(failure) from None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold other processes off while tokens are rotated.

        Raises:
            StateError: the lock file beside the token file cannot be made.
        """
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            self._make_directory()
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as failure:
            raise self._unwritable(failure) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _replace(self, text: str) -> None:
        self._make_directory()
        _sync_and_close(*self._beside(text), rename_to=self.path)
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _make_directory(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _beside(self, text: str) -> tuple[int, Path]:
        """Write a new file beside ours, which mkstemp makes readable by the owner only."""
        import tempfile  # noqa: PLC0415 - `status` only reads

        descriptor, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        rest = text.encode()
        try:
            while rest:  # a disk that is nearly full takes a part
                rest = rest[os.write(descriptor, rest) :]
        except OSError:
            os.close(descriptor)
            Path(name).unlink(missing_ok=True)
            raise
        return descriptor, Path(name)

    def _refuse_others(self, mode: int) -> None:
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise StateError(
                f"the token file {self.path} may be read by others than its owner.",
                advice=f"Run `chmod 600 {self.path}`; if anyone may have read it, revoke the tokens too.",
            )

    def _unwritable(self, failure: OSError) -> StateError:
        return StateError(
            f"the token file {self.path} cannot be written ({failure.strerror}).",
            advice="Give the user that runs this the right to write there; until then no token is refreshed.",
        )


def _sync_and_close(descriptor: int, name: Path, *, rename_to: Path | None) -> None:
    """Bring a new file to disk, then put it in its place, or remove it where it was only a proof."""
    try:
        os.fsync(descriptor)
        if rename_to is not None:
            name.replace(rename_to)
    finally:
        os.close(descriptor)
        name.unlink(missing_ok=True)


def _kept_secret(tokens: StoredTokens) -> StoredTokens:
    """Have nothing that is logged or printed from now on show these."""
    keep_secret(tokens.access_token, tokens.refresh_token)
    return tokens


def _stored(content: Any) -> StoredTokens:
    """Take the known fields; a newer version may have added some."""
    if not isinstance(content, dict):
        raise TypeError("a token file holds an object")
    return StoredTokens(**{name: content[name] for name in StoredTokens._fields if name in content})
