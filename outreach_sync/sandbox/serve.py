"""The simulated services as a program of their own: serve until stopped, with a config that uses them."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

import yaml

from outreach_sync import files
from outreach_sync.errors import UsageError
from outreach_sync.instants import Instant
from outreach_sync.sandbox import example
from outreach_sync.sandbox.outreach import OutreachSandbox
from outreach_sync.sandbox.server import Running, SandboxClock
from outreach_sync.sandbox.workbooks import WorkbooksSandbox

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG_FILE = Path("sandbox.yaml")
_MARK = "# Made by `outreach-sync sandbox`: a config for its simulated services, written anew at each start.\n"
_STOPS = (signal.SIGINT, signal.SIGTERM)
_TICK_SECONDS = 0.1
_KEY_BITS = 2048
_LANDING = "https://localhost:8484/callback"


class Sandbox(Running):
    """A simulated Outreach and a simulated Workbooks, each on a port of its own.

    Attributes:
        outreach, workbooks: the services.
        clock: the time both live in.
    """

    def __init__(
        self,
        *,
        outreach_port: int = 0,
        workbooks_port: int = 0,
        latency_ms: float = 0,
        clock: SandboxClock | None = None,
        bare: bool = False,
    ) -> None:
        """Bind to the ports (0: any free one); `latency_ms` is added to every answer.

        A `bare` Workbooks lacks the custom fields of the sync.
        """
        self.clock = clock or SandboxClock()
        self.outreach = OutreachSandbox(clock=self.clock, port=outreach_port, latency_ms=latency_ms)
        self.workbooks = WorkbooksSandbox(clock=self.clock, port=workbooks_port, latency_ms=latency_ms, bare=bare)

    def now(self) -> Instant:
        """Say what time it is for both services."""
        return self.clock.now()

    def load_example(self, seed: int = 1) -> None:
        """Fill both with the realistic data set of `example`; they must be empty."""
        example.load_example(self.outreach.store, self.workbooks.store, self.now(), seed)

    def evolve(self, step: int) -> list[example.Happening]:
        """Let something happen to the loaded example and say what: a working day (1), hands in Workbooks (2)."""
        to_the_second = Instant(self.now() // 1000 * 1000)
        return example.STEPS[step](self.outreach.store, self.workbooks.store, to_the_second)

    def config(
        self, state_path: str | Path, *, s2s_key: Path | None = None, redirect_uri: str = _LANDING
    ) -> dict[str, Any]:
        """Build the config, as the config file has it, of a tool that syncs these two and keeps its state there.

        With `s2s_key`, the file of the private key to the app's `s2s_public_key`, it reads Outreach server to server.
        """
        app = self.outreach.app
        access: dict[str, Any] = {
            "client_id": app.client_id,
            "client_secret": app.client_secret,
            "redirect_uri": redirect_uri,
            "refresh_token": self.outreach.refresh_token,
        }
        if s2s_key is not None:
            s2s = {"install_id": app.install_id, "app_guid": app.s2s_guid, "private_key_file": str(s2s_key)}
            access = {"s2s": s2s}
        return {
            "outreach": {"base_url": self.outreach.url, **access},
            "workbooks": {"base_url": self.workbooks.url, "api_key": self.workbooks.api_key},
            "state": {"path": str(state_path)},
        }

    def start(self) -> None:
        """Let both begin to answer."""
        self.outreach.start()
        self.workbooks.start()

    def stop(self) -> None:
        """Stop both."""
        self.outreach.stop()
        self.workbooks.stop()


def serve(
    out: IO[str] | None = None,
    *,
    on_ready: Callable[[Sandbox], None] = lambda _sandbox: None,
    config_file: Path = CONFIG_FILE,
    empty: bool = False,
    seed: int = 1,
    s2s: bool = False,
    **services: Any,
) -> int:
    """Serve until SIGINT or SIGTERM. Writes one complete YAML config to `out` (stdout) and to `config_file`.

    The state that the config names is in a directory of this start alone, which goes when it ends: the records of
    another start are other people. Must run in the main thread: only there can signals be waited for.

    `on_ready` is told once both services answer and the config is out; `services` say how to make the `Sandbox`.
    Returns 128 + n, for the signal n that ended it.

    Raises:
        OSError: a port is taken.
        UsageError: the config would replace a file that is not ours, or the extra `s2s` is not installed.
    """
    out = out or sys.stdout
    _prove_ours(config_file, out)
    caught: list[int] = []

    def stop(number: int, _frame: object) -> None:
        caught.append(number)  # no lock here, as an Event has: the main thread may hold it as it is interrupted

    previous = {number: signal.signal(number, stop) for number in _STOPS}
    try:
        with (
            TemporaryDirectory(prefix="outreach-sync-sandbox-", ignore_cleanup_errors=True) as directory,
            Sandbox(**services) as sandbox,
        ):
            if not empty:
                sandbox.load_example(seed)
            with socket.create_server(
                ("127.0.0.1", 0)
            ) as free:  # where `auth login` will take the code from the browser
                redirect_uri = f"http://127.0.0.1:{free.getsockname()[1]}/callback"
            key = _new_key(sandbox, Path(directory)) if s2s else None
            config = sandbox.config(Path(directory) / "state.db", s2s_key=key, redirect_uri=redirect_uri)
            text = _MARK + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
            if not _is_same(config_file, out):
                files.write_whole(config_file.absolute(), text)
            out.write(text)
            out.flush()
            on_ready(sandbox)
            while not caught:
                time.sleep(_TICK_SECONDS)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 128 + caught[0]


def _prove_ours(path: Path, out: IO[str]) -> None:
    """Refuse to write over a file that is not from an earlier start."""
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
    """Make a key pair for the server-to-server app; return the file of the private half."""
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
