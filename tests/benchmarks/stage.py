"""Accounts of any size, and the simulated services in processes of their own, the same at the start of every trial.

An account is filled once; each trial forks the two services from it, so that what one trial wrote is gone in the next
and no trial pays for filling. Client and services share nothing but sockets.
"""

import gc
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import NamedTuple

from outreach_sync.config.model import DEFAULT_LABELS
from outreach_sync.instants import Instant
from outreach_sync.sandbox import Sandbox
from outreach_sync.sandbox.server import Request, Response
from outreach_sync.sandbox.service import SimulatedService

_fork = multiprocessing.get_context("fork")
_STATES = ("finished", "active", "paused", "bounced", "pending")
_SEQUENCES = 50
_DAY_MS = 86_400_000
_SPAN_MS = 60 * _DAY_MS
_FIRST_NAMES = ("Ada", "Grace", "Edsger", "Barbara", "Alan", "Mary", "Niklaus", "Frances")


class Size(NamedTuple):
    """How large an account is."""

    people: int
    states_each: int = 2

    @property
    def states(self) -> int:
        """Count the sequence states."""
        return self.people * self.states_each


def fill(sandbox: Sandbox, size: Size, *, in_step: bool = False, in_workbooks: bool = True) -> None:
    """Fill both services, which are empty; everybody is known in Workbooks by e-mail, or it stays empty for reading.

    `in_step`: Workbooks already says what Outreach says, so that a first load finds nothing to write.
    """
    began = Instant(sandbox.now() // 1000 * 1000 - _SPAN_MS - _DAY_MS)
    outreach, workbooks = sandbox.outreach.store, sandbox.workbooks.store
    workbooks.keep_writes = outreach.keep_events = False
    for number in range(_SEQUENCES):
        outreach.add_sequence(f"Trial follow-up {number}")
    for number in range(1, size.people + 1):
        first, last, address = _FIRST_NAMES[number % len(_FIRST_NAMES)], f"Example {number}", _address(number)
        stamp = Instant(began + _SPAN_MS * number // (size.people + 1) // 1000 * 1000)
        outreach.add_prospect(firstName=first, lastName=last, emails=[address], updatedAt=stamp)
        for turn in range(size.states_each):
            state = _STATES[(number + turn) % len(_STATES)]
            at = Instant(stamp + turn * 1000)
            outreach.add_state(number, 1 + (number + turn) % _SEQUENCES, state, stateChangedAt=at, updatedAt=at)
        if in_workbooks:
            held = (
                {"cf_person_sequence_state": DEFAULT_LABELS[state], "cf_person_state_updated_at": at} if in_step else {}
            )
            workbooks.add_person(name=f"{first} {last}", email=address, **held)


def change_states(sandbox: Sandbox, ids: Iterable[int]) -> None:
    """Let sequence states move on, all of them to the same one."""
    at = Instant(sandbox.now() // 1000 * 1000)
    for state_id in ids:
        sandbox.outreach.store.update("sequenceState", state_id, state="disabled", stateChangedAt=at, updatedAt=at)


def _address(number: int) -> str:
    return f"person.{number}@customer-{number % 997}.example"


class Recorded(NamedTuple):
    """One request as it arrived, to be sent again."""

    service: str
    method: str
    path: str
    query: list[tuple[str, str]]
    body: bytes


class Stage:
    """A filled account, and the two services forked from it for each trial; fill and change it between trials."""

    def __init__(self, *, latency_ms: float = 0) -> None:
        """Bind both ports; nothing answers yet."""
        self.sandbox = Sandbox(latency_ms=latency_ms)

    @contextmanager
    def serving(self) -> Iterator[Callable[[], list[Recorded]]]:
        """Serve from forks of the account for the block.

        What is yielded returns every request since its last call, each service's in its order.
        """
        gc.collect()
        gc.freeze()
        pipes = []
        for service in (self.sandbox.outreach, self.sandbox.workbooks):
            ours, theirs = _fork.Pipe()
            process = _fork.Process(target=_serve, args=(service, theirs), daemon=True)
            process.start()
            pipes.append((ours, process))

        def recorded() -> list[Recorded]:
            for pipe, _ in pipes:
                pipe.send("recorded")
            return [one for pipe, _ in pipes for one in pipe.recv()]

        try:
            yield recorded
        finally:
            for pipe, process in pipes:
                pipe.send("end")
                process.join()


def _serve(server: SimulatedService, connection: Connection) -> None:
    gc.disable()
    answer, requests = server.respond, list[Recorded]()

    def respond(request: Request) -> Response:
        requests.append(Recorded(server.name, request.method, request.path, request.query, request.body))
        return answer(request)

    server.respond = respond
    server.start()
    while connection.recv() == "recorded":
        connection.send(requests)
        requests.clear()
