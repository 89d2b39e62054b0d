"""The simulated services as a program of their own: serve until stopped, and print a config that uses them."""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import yaml

from outreach_sync.sandbox.pair import Sandbox
from outreach_sync.sandbox.s2s_key import public_key_of

if TYPE_CHECKING:
    from collections.abc import Callable

_STOPS = (signal.SIGINT, signal.SIGTERM)
_TICK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to serve: ports (0: any free one), milliseconds added to each answer, and what to start with.

    `state_path` goes into the printed config; `seed` chooses the example data, which `empty` leaves out. `bare` begins
    with a Workbooks that lacks the custom fields of the sync. `s2s`: the config reads Outreach server to server, with a
    key that is kept beside the state.
    """

    outreach_port: int = 0
    workbooks_port: int = 0
    latency_ms: float = 0
    empty: bool = False
    bare: bool = False
    seed: int = 1
    state_path: Path = Path("outreach-sync-sandbox.db")
    s2s: bool = False

    @property
    def s2s_key(self) -> Path | None:
        """Where the private key of the server-to-server app is kept, None without."""
        return self.state_path.absolute().with_suffix(".s2s.pem") if self.s2s else None


def serve(
    options: ServeOptions, out: IO[str] | None = None, *, on_ready: Callable[[Sandbox], None] = lambda _sandbox: None
) -> int:
    """Serve until SIGINT or SIGTERM. Writes to `out` (stdout) one complete YAML config and nothing else.

    `on_ready` is told once both services answer and the config is out.
    Must run in the main thread: only there can signals be waited for.

    Returns:
        128 + n, for the signal n that ended it.

    Raises:
        OSError: a port is taken.
        UsageError: the server-to-server key cannot be made or used.
    """
    caught: list[int] = []

    def stop(number: int, _frame: object) -> None:
        caught.append(number)  # no lock here, as an Event has: the main thread may hold it as it is interrupted

    previous = {number: signal.signal(number, stop) for number in _STOPS}
    try:
        with _prepared(options) as sandbox:
            _print_config(sandbox, options, out or sys.stdout)
            on_ready(sandbox)
            while not caught:
                time.sleep(_TICK_SECONDS)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 128 + caught[0]


def _prepared(options: ServeOptions) -> Sandbox:
    public_key = None if options.s2s_key is None else public_key_of(options.s2s_key)
    sandbox = Sandbox(
        outreach_port=options.outreach_port,
        workbooks_port=options.workbooks_port,
        latency_ms=options.latency_ms,
        bare=options.bare,
    )
    sandbox.outreach.app.s2s_public_key = public_key
    if not options.empty:
        sandbox.load_example(options.seed)
    return sandbox


def _print_config(sandbox: Sandbox, options: ServeOptions, out: IO[str]) -> None:
    config = sandbox.config(options.state_path.absolute(), s2s_key=options.s2s_key)
    yaml.safe_dump(config, out, sort_keys=False, allow_unicode=True)
    out.flush()
