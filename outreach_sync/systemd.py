"""Telling systemd how a long-running service fares: datagrams to the socket that `$NOTIFY_SOCKET` names.

The protocol is that of sd_notify(3). Without systemd nothing is sent, and nothing here can ever fail the service.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class ServiceManager:
    """The service manager that started this process, if one did.

    Attributes:
        watchdog_seconds: how often to call `alive`: half of what the manager allows; None where it does not watch.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Read where to send to; `$WATCHDOG_PID` says whether the watchdog means this process."""
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = bool(self._address) and meant and microseconds.isdigit() and int(microseconds) > 0
        self.watchdog_seconds = int(microseconds) / 2_000_000 if watched else None

    def ready(self) -> None:
        """Say that the service runs; also that a reload is done."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that the config is read again."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the service ends."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Keep the watchdog quiet."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Show a line in `systemctl status`."""
        self._send("STATUS=" + " ".join(text.split()))

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.settimeout(1.0)  # a manager that does not read must not hold the service
            line.sendto(message.encode(), self._address)
