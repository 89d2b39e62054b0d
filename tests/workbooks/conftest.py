"""A service that answers by a script, over real HTTP, the client for it, and time that only pauses move."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Self
from urllib.parse import parse_qs

import pytest

from outreach_sync.config.model import Config
from outreach_sync.http import StopSignal
from outreach_sync.sandbox.server import HttpServer, Request, Response
from outreach_sync.workbooks.client import Workbooks
from tests.harness import STATE, Pauses

FIELDS = {
    "sequence_state": STATE, "state_updated_at": "cf_person_state_updated_at", "no_email": "no_email_soliciting",
    "outreach_id": "cf_person_outreach_id",
}  # fmt: skip

Form = dict[str, list[str]]
Step = Response | Callable[[Form], Response]


def configured(url: str, patience: str = "60s", **keys: Any) -> Config:
    """Return a config of Workbooks alone."""
    given = {"base_url": url, "api_key": "KEY-77", "application_name": "my-sync", "timeout": "60s", "fields": FIELDS}
    return Config.model_validate({"workbooks": {**given, **keys}, "sync": {"patience": patience}})


def form_of(request: Request) -> Form:
    return parse_qs(request.body.decode("ascii"), keep_blank_values=True)


def said(status: int = 200, headers: dict[str, str] | None = None, **body: object) -> Response:
    return Response(status, headers or {}, json.dumps(body).encode())


def ids_of(found: dict[str, list[Any]]) -> dict[str, list[int]]:
    return {key: [row.id for row in rows] for key, rows in found.items()}


class Scripted:
    """Answers with one step after the other, and with the last for ever."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.requests: list[Request] = []

    def respond(self, request: Request) -> Response:
        self.requests.append(request)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        return step if isinstance(step, Response) else step(form_of(request))


class Bench:
    """A client, the service it talks to, and what that got."""

    def __init__(self, url: str, service: Scripted, **keys: Any) -> None:
        self.url = url
        self.service = service
        self.stop = Pauses()
        self.client = Workbooks(configured(url, **keys), self.stop)

    def having(self, *steps: Step) -> Self:
        self.service.steps = list(steps)
        return self

    def with_(self, **keys: Any) -> "Bench":
        """Return another client for the same service."""
        return Bench(self.url, self.service, **keys)

    @property
    def forms(self) -> list[Form]:
        return [form_of(request) for request in self.service.requests]

    @property
    def count(self) -> int:
        return len(self.service.requests)


@pytest.fixture
def bench() -> Iterator[Bench]:
    service = Scripted()
    with HttpServer(service.respond) as server:
        made = Bench(server.url, service, batch_size=4)
        yield made
        made.client.transport.close()


class SmallCrm:
    """Looks rows up by one list of values, to the letter or as `key` makes them alike; metadata comes whole."""

    def __init__(self) -> None:
        self.records: dict[str, list[dict[str, Any]]] = {}
        self.forms: list[Form] = []
        self.key: Callable[[str], str] = str.lower
        self.shows_deleted = False

    def respond(self, request: Request) -> Response:
        form = form_of(request)
        self.forms.append(form)
        rows = self.records.get(request.path.removesuffix(".api").strip("/"), [])
        if "_start" in form:
            after = int(form["_fc[]"][-1]) if form["_ft[]"][-1] == "gt" else 0
            values = {self.key(re.sub(r"\\(.)", r"\1", text)) for text in re.split(r"(?<!\\),", form["_fc[]"][0])}
            rows = [
                row
                for row in rows
                if row["id"] > after
                and self.key(str(row.get(form["_ff[]"][0], ""))) in values
                and (self.shows_deleted or "is_deleted" in form["_ff[]"] or not row.get("is_deleted"))
            ]
        return said(success=True, data=[{"lock_version": 0, **row} for row in rows[:100]])


@pytest.fixture
def crm() -> SmallCrm:
    return SmallCrm()


@pytest.fixture
def workbooks(crm: SmallCrm) -> Iterator[Workbooks]:
    with HttpServer(crm.respond) as server:
        yield Workbooks(configured(server.url, "5s"), StopSignal())
