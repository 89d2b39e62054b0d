"""The simulated Workbooks: which request is answered by what."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from outreach_sync.sandbox.server import Request, Response, gzipped
from outreach_sync.sandbox.service import BackDoor, Journal
from outreach_sync.sandbox.workbooks.answers import Answerer, refusal
from outreach_sync.sandbox.workbooks.breakage import Breakage, json_response, page, redirect, to_login
from outreach_sync.sandbox.workbooks.calls import (
    METADATA,
    PICKLIST_DATA,
    Call,
    NotUnderstoodError,
    has_api_suffix,
    understand,
)
from outreach_sync.sandbox.workbooks.conditions import MalformedError
from outreach_sync.sandbox.workbooks.custom_fields import CustomFields
from outreach_sync.sandbox.workbooks.dumping import StoreDoor
from outreach_sync.sandbox.workbooks.faults import fault_board
from outreach_sync.sandbox.workbooks.metadata import describe_types
from outreach_sync.sandbox.workbooks.reading import Reader
from outreach_sync.sandbox.workbooks.schema import CUSTOM_FIELD, PICKLIST_ENTRY
from outreach_sync.sandbox.workbooks.sessions import (
    COOKIE,
    Manner,
    RefusedError,
    Sessions,
    UnknownSessionError,
    has_cookie,
)
from outreach_sync.sandbox.workbooks.writing import UnknownObjectError, Writer
from outreach_sync.sandbox.workbooks.zones import shown_name

if TYPE_CHECKING:
    from outreach_sync.sandbox.clock import SandboxClock
    from outreach_sync.sandbox.workbooks.sessions import Session
    from outreach_sync.sandbox.workbooks.store import Account, WorkbooksStore
    from outreach_sync.sandbox.workbooks.table import Table

_METHODS = ("GET", "PUT")
_EN_DASH = "\u2013"


class WorkbooksService:
    """Answers every request to the simulated Workbooks, from many threads at once."""

    name = "workbooks"

    def __init__(self, store: WorkbooksStore, clock: SandboxClock) -> None:
        """Take the records and the time they live in."""
        self.clock = clock
        self.store = store
        self.faults = fault_board()
        self.journal = Journal()
        self._sessions = Sessions(store, self.faults)
        self._custom_fields = CustomFields(store, self.faults)
        self._reader = Reader(store, self.faults)
        self._writer = Writer(store, self.faults, self._reader, self._custom_fields)
        self._answerer = Answerer(self._reader, self.faults)
        self._breakage = Breakage(self.faults)
        self._control = BackDoor(
            self.name, clock=clock, faults=self.faults, journal=self.journal, store=StoreDoor(store)
        )

    def respond(self, request: Request) -> Response:
        """Answer one request."""
        if BackDoor.concerns(request):
            return self._control.respond(request)
        self.faults.begin()
        if not request.headers.get("User-Agent"):
            return self._recorded(
                request, "without a User-Agent", self._breakage.refused(RefusedError("user_agent_required")), []
            )
        json_too = _is_json(request) and self.faults.throughout("json_bodies_ok") is not None
        try:
            call = understand(request, json_too=json_too)
        except NotUnderstoodError as error:
            return self._recorded(request, "not understood", _complaint(error), [])
        self.faults.understood(call.kind)
        self._prepare(call)
        response = self._breakage.around(call, lambda: self._carry_out(call))
        response = self._with_new_cookie(call, response)
        packed = "Content-Encoding" in response.headers
        if "gzip" in (request.headers.get("User-Agent") or "") and response.body and not packed:
            response = gzipped(response)
        return self._recorded(request, call.kind, response, call.summary())

    def _recorded(self, request: Request, kind: str, response: Response, form: list[tuple[str, str]]) -> Response:
        fired = self.faults.collect_fired()
        self.journal.record(request, kind=kind, status=response.status, faults=fired, form=form)
        return response

    def _prepare(self, call: Call) -> None:
        """Let faults change the account before the request is looked at."""
        options = self.faults.take("picklist_entry_missing", call.kind)
        if options is not None and self._has_entry(str(options["value"])):
            self.store.remove_picklist_entry(str(options["value"]))
        if self.faults.take("labels_with_hyphen", call.kind) is not None:
            self.store.spell_entries(_EN_DASH, "-")
        options = self.faults.take("custom_field_removed", call.kind)
        if options is not None and self._has_custom_field(str(options["field"])):
            self.store.remove_custom_field(str(options["field"]))
        if self.faults.take("session_expires", call.kind) is not None:
            self._sessions.expire(call.request.headers)

    def _has_entry(self, value: str) -> bool:
        with self.store.lock:
            return bool(self.store.tables[PICKLIST_ENTRY].with_value("value", [value]))

    def _has_custom_field(self, name: str) -> bool:
        with self.store.lock:
            return bool(self.store.tables[CUSTOM_FIELD].with_value("value_column_name", [name]))

    def _carry_out(self, call: Call) -> Response:
        try:
            return self._answer(call)
        except RefusedError as error:
            return self._breakage.refused(error)
        except UnknownSessionError:
            return to_login(call)
        except NotUnderstoodError as error:
            return _complaint(error)
        except MalformedError as error:
            return json_response(HTTPStatus.OK, refusal(str(error)))
        except UnknownObjectError:
            return _complaint(NotUnderstoodError(HTTPStatus.NOT_FOUND, "an object could not be found"))

    def _answer(self, call: Call) -> Response:
        headers, at = call.request.headers, call.request.at
        if call.kind == "page":
            return page()
        _check_manners(call)
        if call.controller == "logout":
            self._sessions.log_out(headers)
            return redirect(f"http://{headers.get('Host')}/")
        if call.controller == "login":
            return _welcome(self.store.account, self._sessions.log_in(call.form, headers, at))
        return self._answer_member(call, self._admit(call))

    def _admit(self, call: Call) -> Manner:
        if self._breakage.knows_delay(call) and "api_key" not in call.form.controls:
            return Manner(zone=self.store.zone)
        return self._sessions.admit(call.form, call.request.headers, call.request.at, writing=call.writes)

    def _answer_member(self, call: Call, manner: Manner) -> Response:
        if call.method not in _METHODS:
            raise NotUnderstoodError(HTTPStatus.METHOD_NOT_ALLOWED, f"{call.method} is not allowed here")
        if call.writes and call.controller in (METADATA, PICKLIST_DATA):
            raise NotUnderstoodError(HTTPStatus.METHOD_NOT_ALLOWED, f"{call.controller} can only be read")
        if call.controller == METADATA:
            types = describe_types(self.store, self.faults, call.form)
            return json_response(HTTPStatus.OK, {"success": True, "data": types, "total": len(types)})
        if call.controller == PICKLIST_DATA:
            return self._picklist_data(call, manner)
        table = self._table(call)
        if call.writes:
            plans = self._writer.write(call.form, table, manner, call.request.at, kind=call.kind)
            with self.store.lock:
                document = self._answerer.document(plans, table, manner, kind=call.kind)
            return json_response(HTTPStatus.OK, document)
        return self._read(call, table, manner)

    def _read(self, call: Call, table: Table, manner: Manner) -> Response:
        if table.record_class.name == CUSTOM_FIELD:
            with self.store.lock:
                self._custom_fields.look(call.request.at)
        if call.record_id is not None:
            return self._show(call, table, manner)
        page = self._reader.page(call.form, table, manner, call.request.at, kind=call.kind)
        return json_response(HTTPStatus.OK, {"success": True, "data": page.rows, "total": page.total})

    def _show(self, call: Call, table: Table, manner: Manner) -> Response:
        with self.store.lock:
            record = table.records.get(self.store.merged_into(table, call.record_id or 0))
            if record is None or record.is_deleted or not self._reader.sees(table, record, call.request.at):
                raise NotUnderstoodError(HTTPStatus.NOT_FOUND, "the record could not be found")
            shown = self._reader.show(table, record, call.form.lists.get("_select_columns[]"), manner.forms)
        return json_response(HTTPStatus.OK, {"success": True, "data": shown, "total": 1})

    def _picklist_data(self, call: Call, manner: Manner) -> Response:
        table = self.store.tables[PICKLIST_ENTRY]
        with self.store.lock:
            ids = sorted(table.with_value("picklist_id", [call.form.controls.get("picklist_id", "")]))
            records = [table.records[id_] for id_ in ids if not table.records[id_].is_deleted]
            rows = [self._reader.show(table, record, ("id", "value"), manner.forms) for record in records]
        return json_response(HTTPStatus.OK, {"success": True, "data": rows, "total": len(rows)})

    def _table(self, call: Call) -> Table:
        try:
            return self.store.table(call.controller)
        except KeyError:
            raise NotUnderstoodError(HTTPStatus.NOT_FOUND, f"there is no {call.controller}") from None

    def _with_new_cookie(self, call: Call, response: Response) -> Response:
        if self.faults.take("cookie_changes", call.kind) is None:
            return response
        cookie = self._sessions.new_cookie(call.request.headers)
        return response if cookie is None else _with_cookie(response, cookie)


def _check_manners(call: Call) -> None:
    """Insist on the ``.api`` suffix, on ``client=api`` except in a session, and with a key on an API version."""
    if not has_api_suffix(call.request.path):
        raise NotUnderstoodError(HTTPStatus.NOT_FOUND, f"there is no {call.request.path}")
    if call.controller == "logout" or "_delayed" in call.form.controls:
        return
    by_session = has_cookie(call.request.headers) and "api_key" not in call.form.controls
    if not by_session and call.form.controls.get("client") != "api":
        raise NotUnderstoodError(HTTPStatus.NOT_ACCEPTABLE, "client=api is mandatory")
    versions = ("api_version", "_api_version")  # some of the vendor's bindings send the latter
    if "api_key" in call.form.controls and not any(name in call.form.controls for name in versions):
        raise NotUnderstoodError(HTTPStatus.NOT_ACCEPTABLE, "api_version is mandatory")


def _is_json(request: Request) -> bool:
    return "json" in (request.headers.get("Content-Type") or "")


def _complaint(error: NotUnderstoodError) -> Response:
    return json_response(error.status, {"success": False, "failures": [error.text]})


def _welcome(account: Account, session: Session) -> Response:
    database = {
        "id": account.logical_database_id,
        "name": account.database_name,
        "created_at": account.created_at,
    }
    document: dict[str, Any] = {
        "session_id": session.cookie,
        "authenticity_token": session.token,
        "api_version": 1,
        "version": "1",
        "user_id": account.user_id,
        "person_name": account.person_name,
        "login_name": account.login_name,
        "timezone": shown_name(session.manner.zone),
        "logical_database_id": account.logical_database_id,
        "default_database_id": account.logical_database_id,
        "database_name": account.database_name,
        "databases": [database],
        "database_instance_id": account.database_instance_id,
        "my_queues": {"Private::Crm::PersonQueue": 3, "Private::Activity::ActivityQueue": 5},
    }
    return _with_cookie(json_response(HTTPStatus.OK, document), session.cookie)


def _with_cookie(response: Response, cookie: str) -> Response:
    response.headers["Set-Cookie"] = f"{COOKIE}={cookie}; path=/; HttpOnly"
    return response
