"""A very small CRM that answers look-ups and writes over real HTTP, and the client for it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from outreach_sync.http import StopSignal, Transport
from outreach_sync.sandbox.clock import SandboxClock
from outreach_sync.sandbox.server import HttpServer, Request, Response
from outreach_sync.workbooks.client import WorkbooksClient
from outreach_sync.workbooks.settings import WorkbooksSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELDS = {
    "sequence_state": "cf_person_sequence_state",
    "state_updated_at": "cf_person_state_updated_at",
    "no_email": "no_email_soliciting",
    "outreach_id": "cf_person_outreach_id",
}

Form = dict[str, list[str]]
Records = dict[str, list[dict[str, Any]]]


class SmallCrm:
    """Looks rows up by one list of values, to the letter or ignoring case, and accepts every write."""

    name = "small-crm"

    def __init__(self, records: Records, forms: list[Form]) -> None:
        self.clock = SandboxClock()
        self.records = records
        self.forms = forms

    def respond(self, request: Request) -> Response:
        form = parse_qs(request.body.decode("ascii"), keep_blank_values=True)
        self.forms.append(form)
        rows = self.records.setdefault(request.path.removesuffix(".api").strip("/"), [])
        answer = _listed(rows, form) if form["_method"] == ["GET"] else _saved(rows, form)
        return Response(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())


def _listed(rows: list[dict[str, Any]], form: Form) -> dict[str, Any]:
    if "_start" not in form:
        return {"success": True, "data": rows}
    after = int(form["_fc[]"][-1]) if form["_ft[]"][-1] == "gt" else 0
    values = [re.sub(r"\\(.)", r"\1", text).lower() for text in re.split(r"(?<!\\),", form["_fc[]"][0])]
    found = [
        row
        for row in sorted(rows, key=lambda row: int(row["id"]))
        if row["id"] > after
        and str(row.get(form["_ff[]"][0], "")).lower() in values
        and ("is_deleted" in form["_ff[]"] or not row.get("is_deleted"))
    ]
    return {"success": True, "data": found[:100], "total": len(found[:100])}


def _saved(rows: list[dict[str, Any]], form: Form) -> dict[str, Any]:
    done = []
    for place, text in enumerate(form["id[]"]):
        record: dict[str, Any] = {
            name[:-2]: values[place] for name, values in form.items() if len(values) == len(form["id[]"])
        }
        record |= {"id": int(text) or 500 + len(rows), "lock_version": 0}
        rows.append(record)
        done.append(record)
    return {"success": True, "affected_objects": done, "affected_object_information": [{"success": True}] * len(done)}


@pytest.fixture
def records() -> Records:
    return {}


@pytest.fixture
def forms() -> list[Form]:
    return []


@pytest.fixture
def settings(records: Records, forms: list[Form]) -> Iterator[WorkbooksSettings]:
    with HttpServer(SmallCrm(records, forms)) as server:
        yield WorkbooksSettings(server.url, "KEY", "outreach-sync", 100, 5000, 1000, FIELDS)


@pytest.fixture
def transport(settings: WorkbooksSettings) -> Iterator[Transport]:
    made = Transport(settings.base_url, user_agent="test", stop=StopSignal())
    yield made
    made.close()


@pytest.fixture
def client(settings: WorkbooksSettings, transport: Transport) -> WorkbooksClient:
    return WorkbooksClient(settings, transport, StopSignal())
