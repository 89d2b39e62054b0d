"""The simulated Workbooks as something that runs: which request is let in, and by what it is answered."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from outreach_sync.sandbox.faults import FaultBoard
from outreach_sync.sandbox.server import Request, Response, SandboxClock, gzipped
from outreach_sync.sandbox.service import SimulatedService
from outreach_sync.sandbox.workbooks.calls import FORM, METADATA, Call, is_form, understand
from outreach_sync.sandbox.workbooks.reading import MalformedError
from outreach_sync.sandbox.workbooks.schema import CUSTOM_FIELD, PICKLIST_ENTRY, Values
from outreach_sync.sandbox.workbooks.store import WorkbooksStore
from outreach_sync.sandbox.workbooks.trouble import (
    FAULTS,
    RefusedError,
    Trouble,
    json_response,
    login_page,
    page,
    redirect,
)
from outreach_sync.sandbox.workbooks.writing import Manner, Writer, document

if TYPE_CHECKING:
    from collections.abc import Mapping

_COOKIE = "Workbooks-Session"
_COOKIE_VALUE = re.compile(_COOKIE + r"=([^;\s]+)")
_FIRST_WORD = re.compile(r"\w*", re.ASCII)
_RESERVED_APPLICATIONS = ("workbooks", "workbooks_desktop")
_EN_DASH = "\u2013"


class _Session(NamedTuple):
    """One login: its token goes with each write, and how its requests are treated."""

    token: str
    manner: Manner


class WorkbooksSandbox(SimulatedService):
    """A running simulated Workbooks. Usable as a context manager.

    Attributes:
        store: its records, and the account they are in.
        faults: its faults, all off; see `faults.FAULTS`.
    """

    name = "workbooks"

    def __init__(
        self, *, port: int = 0, latency_ms: float = 0, clock: SandboxClock | None = None, bare: bool = False
    ) -> None:
        """Prepare it, on a free port unless one is given; a `bare` account lacks the custom fields of the sync."""
        clock = clock or SandboxClock()
        self.store = WorkbooksStore(clock, bare=bare)
        super().__init__(FaultBoard(FAULTS), self.store, clock=clock, port=port, latency_ms=latency_ms)
        self._records = Writer(self.store, self.faults, Values(self.faults, self.store.zone))
        self._trouble = Trouble(self.faults)
        self._sessions: dict[str, _Session] = {}

    @property
    def api_key(self) -> str:
        """Give the key that is let in."""
        return self.store.account.api_key

    def answer(self, request: Request) -> Response:
        """Answer one request and write it to the journal."""
        call = understand(request)
        self.faults.begin(call.kind)
        self._change_the_account()
        response = self._trouble.around(call, lambda: self._carry_out(call))
        packed = "Content-Encoding" in response.headers
        if "gzip" in (request.headers.get("User-Agent") or "") and response.body and not packed:
            response = gzipped(response)
        fired = self.faults.collect_fired()
        self.journal.record(request, kind=call.kind, status=response.status, faults=fired, form=call.summary())
        return response

    def _change_the_account(self) -> None:
        """Let faults change the account before the request is looked at."""
        missing, removed = (self.faults.take(fault) for fault in ("picklist_entry_missing", "custom_field_removed"))
        if missing is not None:
            with suppress(KeyError):  # it is gone already, here and below
                self.store.remove_picklist_entry(missing["value"])
        if self.faults.fires("labels_with_hyphen"):
            for entry in self.store.all(PICKLIST_ENTRY):
                if _EN_DASH in entry["value"]:
                    self.store.update(PICKLIST_ENTRY, entry["id"], value=entry["value"].replace(_EN_DASH, "-"))
        if removed is not None:
            with suppress(KeyError):
                self.store.remove_custom_field(removed["field"])

    def _carry_out(self, call: Call) -> Response:
        try:
            return self._answer(call)
        except RefusedError as error:
            return self._trouble.refusal(error)
        except MalformedError as error:
            return json_response(error.status, {"success": False, "failures": [str(error)]})

    def _answer(self, call: Call) -> Response:
        if not call.request.headers.get("User-Agent"):
            raise RefusedError("user_agent_required")
        if call.kind == "page":
            return page()
        self._check_manners(call)
        if call.kind == "logout":
            self._sessions.pop(_cookie(call.request.headers), None)
            return redirect(f"http://{call.request.headers.get('Host')}/")
        if call.kind == "login":
            return self._log_in(call)
        manner = self._admit(call)
        if manner is None:
            return redirect(login_page(call))
        if call.method not in ("GET", "PUT") or (call.writes and call.controller == METADATA):
            raise MalformedError(f"{call.method} is not allowed here", HTTPStatus.METHOD_NOT_ALLOWED)
        return json_response(HTTPStatus.OK, self._document(call, manner))

    def _document(self, call: Call, manner: Manner) -> dict[str, Any]:
        if call.controller == METADATA:
            return self._records.types(call.form)
        try:
            table = self.store.table(call.controller)
        except KeyError:
            raise MalformedError(f"there is no {call.controller}", HTTPStatus.NOT_FOUND) from None
        with self.store.lock:
            if call.writes:
                return document(self._records.write(call, table, manner), table, self._records)
            if table.record_class.name == CUSTOM_FIELD:
                self._records.look_at_fields(call.request.at)
            return self._records.page(call, table)

    @staticmethod
    def _check_manners(call: Call) -> None:
        """Insist on the ``.api`` suffix, on ``client=api`` except in a session, and with a key on an API version."""
        controls = call.form.controls
        if call.request.body and not is_form(call.request):
            raise MalformedError(f"the body must be {FORM}", HTTPStatus.NOT_ACCEPTABLE)
        if not call.request.path.endswith(".api") and call.kind != "logout":
            raise MalformedError(f"there is no {call.request.path}", HTTPStatus.NOT_FOUND)
        if call.kind == "logout" or "_delayed" in controls:
            return
        by_session = _cookie(call.request.headers) and "api_key" not in controls
        if not by_session and controls.get("client") != "api":
            raise MalformedError("client=api is mandatory", HTTPStatus.NOT_ACCEPTABLE)
        versions = ("api_version", "_api_version")  # some of the vendor's bindings send the latter
        if "api_key" in controls and not any(name in controls for name in versions):
            raise MalformedError("api_version is mandatory", HTTPStatus.NOT_ACCEPTABLE)

    def _log_in(self, call: Call) -> Response:
        """Begin a session, and say who is behind the key."""
        if call.form.controls.get("api_key") != self.api_key:
            raise RefusedError("unrecognised_name_or_password")
        manner = _manner(call, Manner(application=_application(call)))
        cookie, session = secrets.token_hex(16), _Session(secrets.token_hex(20), manner)
        self._sessions[cookie] = session
        account = self.store.account
        database = account.logical_database_id
        welcome = {
            "session_id": cookie,
            "authenticity_token": session.token,
            "api_version": 1,
            "version": "1",
            "user_id": account.user_id,
            "person_name": account.person_name,
            "login_name": account.login_name,
            "timezone": "London",
            "logical_database_id": database,
            "default_database_id": database,
            "database_name": account.database_name,
            "databases": [{"id": database, "name": account.database_name, "created_at": account.created_at}],
            "database_instance_id": account.database_instance_id,
            "my_queues": {"Private::Crm::PersonQueue": 3, "Private::Activity::ActivityQueue": 5},
        }
        response = json_response(HTTPStatus.OK, welcome)
        response.headers["Set-Cookie"] = f"{_COOKIE}={cookie}; path=/; HttpOnly"
        return response

    def _admit(self, call: Call) -> Manner | None:
        """Let a request in by its key or its session; None where its cookie stands for no session."""
        controls = call.form.controls
        if "api_key" in controls:
            if controls["api_key"] != self.api_key:
                raise RefusedError("unrecognised_name_or_password")
            return _manner(call, Manner(application=_application(call)))
        if self._trouble.knows_delay(call):
            return Manner()
        cookie = _cookie(call.request.headers)
        if not cookie:
            raise RefusedError("no_session")
        session = self._sessions.get(cookie)
        if session is None:
            return None
        if call.writes and controls.get("_authenticity_token") != session.token:
            raise RefusedError("no_session")
        return _manner(call, session.manner)


def _cookie(headers: Mapping[str, str]) -> str:
    match = _COOKIE_VALUE.search(headers.get("Cookie") or "")
    return match[1] if match else ""


def _application(call: Call) -> str:
    """Name who creates: ``_application_name``, else the first word of the User-Agent, which a hyphen ends."""
    name = call.form.controls.get("_application_name")
    if name is None:
        first = _FIRST_WORD.match(call.request.headers.get("User-Agent") or "")
        return first[0] if first else ""
    if name.lower() in _RESERVED_APPLICATIONS:
        raise RefusedError("invalid_application_name")
    return name


def _manner(call: Call, base: Manner) -> Manner:
    strict, per_object = (
        call.form.flag(f"_{name}") for name in ("strict_attribute_checking", "per_object_transactions")
    )
    return base._replace(
        strict=base.strict if strict is None else strict,
        per_object=base.per_object if per_object is None else per_object,
    )
