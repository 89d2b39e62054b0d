"""SIGTERM, SIGINT, SIGHUP: finish the batch in flight, then end; at the latest after 25 seconds: 30 are promised."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from outreach_sync.http import StopSignal

if TYPE_CHECKING:
    from collections.abc import Iterator

_GRACE_SECONDS = 25.0
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def stop_on_signals(*, forced_status: int | None = None) -> Iterator[StopSignal]:
    """Turn the signals into a request to stop, for the block. A SIGHUP that is ignored (nohup) stays so.

    Args:
        forced_status: the exit status where the grace is over; None: 128 and the signal.
    """
    stop = StopSignal()

    def ask(number: int, _frame: object) -> None:
        if not stop.is_set():
            _end_after_grace(number if forced_status is None else forced_status - 128)
        stop.set(number)

    before = {number: signal.signal(number, ask) for number in _HANDLED if not _is_ignored_hangup(number)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ignored_hangup(number: signal.Signals) -> bool:
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


def _end_after_grace(number: int) -> None:
    """End the process where an exchange hangs: the state says what was being sent, and the next run looks."""
    timer = threading.Timer(_GRACE_SECONDS, os._exit, (128 + number,))
    timer.daemon = True
    timer.start()
