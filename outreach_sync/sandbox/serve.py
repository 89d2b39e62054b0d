"""The simulated services as a program of their own: serve until stopped, with a config that uses them."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING

import yaml

from outreach_sync import files
from outreach_sync.errors import UsageError
from outreach_sync.sandbox.pair import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG_FILE = Path("sandbox.yaml")
_MARK = "# Made by `outreach-sync sandbox`: a config for its simulated services, written anew at each start.\n"
_STOPS = (signal.SIGINT, signal.SIGTERM)
_TICK_SECONDS = 0.1
_KEY_BITS = 2048


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to serve: ports (0: any free one), milliseconds added to each answer, and what to start with.

    The config goes to `config_file` too. `seed` chooses the example data, which `empty` leaves out. `bare` begins with
    a Workbooks that lacks the custom fields of the sync. `s2s`: the config reads Outreach server to server.
    """

    outreach_port: int = 0
    workbooks_port: int = 0
    latency_ms: float = 0
    empty: bool = False
    bare: bool = False
    seed: int = 1
    s2s: bool = False
    config_file: Path = CONFIG_FILE


def serve(
    options: ServeOptions, out: IO[str] | None = None, *, on_ready: Callable[[Sandbox], None] = lambda _sandbox: None
) -> int:
    """Serve until SIGINT or SIGTERM. Writes one complete YAML config to `out` (stdout) and to a file of its own.

    The state that the config names is in a directory of this start alone, which goes when it ends: the records of
    another start are other people. `on_ready` is told once both services answer and the config is out.
    Must run in the main thread: only there can signals be waited for.

    Returns:
        128 + n, for the signal n that ended it.

    Raises:
        OSError: a port is taken.
        UsageError: the config would replace a file that is not ours, or the extra `s2s` is not installed.
    """
    out = out or sys.stdout
    _prove_ours(options.config_file, out)
    caught: list[int] = []

    def stop(number: int, _frame: object) -> None:
        caught.append(number)  # no lock here, as an Event has: the main thread may hold it as it is interrupted

    previous = {number: signal.signal(number, stop) for number in _STOPS}
    try:
        with (
            TemporaryDirectory(prefix="outreach-sync-sandbox-", ignore_cleanup_errors=True) as directory,
            _prepared(options) as sandbox,
        ):
            text = _MARK + _config(sandbox, Path(directory), s2s=options.s2s)
            if not _is_same(options.config_file, out):
                files.write_whole(options.config_file.absolute(), text)
            out.write(text)
            out.flush()
            on_ready(sandbox)
            while not caught:
                time.sleep(_TICK_SECONDS)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 128 + caught[0]


def _prepared(options: ServeOptions) -> Sandbox:
    sandbox = Sandbox(
        outreach_port=options.outreach_port,
        workbooks_port=options.workbooks_port,
        latency_ms=options.latency_ms,
        bare=options.bare,
    )
    if not options.empty:
        sandbox.load_example(options.seed)
    return sandbox


def _config(sandbox: Sandbox, directory: Path, *, s2s: bool) -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:  # where `auth login` will take the code from the browser
        redirect_uri = f"http://127.0.0.1:{free.getsockname()[1]}/callback"
    key = _new_key(sandbox, directory) if s2s else None
    config = sandbox.config(directory / "state.db", s2s_key=key, redirect_uri=redirect_uri)
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def _prove_ours(path: Path, out: IO[str]) -> None:
    """Refuse to write over a file that is not from an earlier start.

    Raises:
        UsageError: it is not.
    """
    if not path.exists() or _is_same(path, out):
        return
    try:
        is_ours = path.read_bytes().startswith(_MARK.encode())
    except OSError:
        is_ours = False
    if not is_ours:
        raise UsageError(
            f"{path} was not made by `sandbox`, so it is not written over.",
            advice="Start it in another directory, or name another file with --write.",
        )


def _is_same(path: Path, out: IO[str]) -> bool:
    """Tell whether `out` goes into the file already, as with ``> sandbox.yaml``."""
    try:
        return os.path.samestat(path.stat(), os.fstat(out.fileno()))
    except OSError:  # there is no such file, or `out` is none (io.UnsupportedOperation)
        return False


def _new_key(sandbox: Sandbox, directory: Path) -> Path:
    """Make a key pair for the server-to-server app; return the file of the private half.

    Raises:
        UsageError: the extra `s2s` is not installed.
    """
    try:
        import jwt  # noqa: F401, PLC0415 - the service verifies with it; both come with an extra
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415
    except ImportError:
        raise UsageError(
            "server-to-server access needs the extra `s2s`.", advice="Install it: pip install 'outreach-sync[s2s]'."
        ) from None
    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    pem, path = serialization.Encoding.PEM, directory / "s2s.pem"
    plain = serialization.NoEncryption()
    files.write_whole(path, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain).decode())
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    sandbox.outreach.app.s2s_public_key = public.decode()
    return path
