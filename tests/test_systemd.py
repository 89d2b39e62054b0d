from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from outreach_sync.systemd import ServiceManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def line(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.settimeout(2)
        yield address, receiver


def test_each_message_is_one_datagram_of_the_protocol(line: tuple[str, socket.socket]) -> None:
    address, receiver = line
    manager = ServiceManager({"NOTIFY_SOCKET": address})
    for say in (manager.ready, manager.reloading, manager.alive, manager.stopping):
        say()
    manager.status("two\nlines STOPPING=1")
    messages = [receiver.recv(500).decode() for _ in range(5)]
    assert messages[0] == "READY=1"
    assert messages[1].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert messages[2:] == ["WATCHDOG=1", "STOPPING=1", "STATUS=two lines STOPPING=1"]


def test_an_abstract_socket_is_reached_too() -> None:
    name = f"outreach-sync-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name)
        receiver.settimeout(2)
        ServiceManager({"NOTIFY_SOCKET": "@" + name}).ready()
        assert receiver.recv(500) == b"READY=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}], ids=["none", "gone"])
def test_a_manager_that_is_not_there_harms_nothing(environment: dict[str, str]) -> None:
    ServiceManager(environment).ready()


@pytest.mark.parametrize(
    ("more", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_at_half_its_time_and_only_if_it_means_us(
    more: dict[str, str], seconds: float | None
) -> None:
    assert ServiceManager({"NOTIFY_SOCKET": "/x", **more}).watchdog_seconds == seconds
