"""Who asks: a key with each request, or a session that a login began (API developers guide: Authentication)."""

from __future__ import annotations

import re
import secrets
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from outreach_sync.sandbox.workbooks.calls import NotUnderstoodError
from outreach_sync.sandbox.workbooks.formats import OutputForms
from outreach_sync.sandbox.workbooks.zones import zone_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.instants import Instant
    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.workbooks.form import Form
    from outreach_sync.sandbox.workbooks.store import WorkbooksStore

COOKIE = "Workbooks-Session"
IDLE_MS = 8 * 3_600_000
"""A session ends after more than eight hours without a request (guide)."""
_FIRST_WORD = re.compile(r"\w*", re.ASCII)
_COOKIE_VALUE = re.compile(COOKIE + r"=([^;\s]+)")

_UNAUTHORIZED = (
    "password_expired",
    "login_disabled",
    "unrecognised_name_or_password",
    "session_expired",
    "no_session",
    "no_session_found",
    "client_not_licensed",
    "licence_expired",
    "no_licensed_edition",
    "client_not_activated",
)
_FORBIDDEN = (
    "no_permission_for_api",
    "requested_database_not_available",
    "no_available_database",
    "database_being_migrated",
    "database_archived",
    "invalid_application_name",
    "no_database_selection_made",
    "user_agent_required",
)
REASONS = {
    **dict.fromkeys(_UNAUTHORIZED, HTTPStatus.UNAUTHORIZED),
    **dict.fromkeys(_FORBIDDEN, HTTPStatus.FORBIDDEN),
}
"""Every documented `failure_reason` and its status."""
RESERVED_APPLICATIONS = ("workbooks", "workbooks_desktop")


class RefusedError(Exception):
    """The request is not let in; `reason` is the `failure_reason` of the answer."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        """Take the reason; the status goes with it unless another is given."""
        super().__init__(reason)
        self.reason = reason
        self.status = int(REASONS.get(reason, HTTPStatus.FORBIDDEN) if status is None else status)


class UnknownSessionError(Exception):
    """The cookie stands for no session: never given, or of one that was logged out. Answered by a redirect (guide)."""


class Manner(NamedTuple):
    """How a request wants to be treated, by its own parameters or else by its session's."""

    strict: bool = False
    per_object: bool = False
    zone: str = "Europe/London"
    forms: OutputForms = OutputForms()
    application: str = ""


@dataclass
class Session:
    """One login: its cookie changes, its token stays; `over` once maintenance or idleness ended it."""

    cookie: str
    manner: Manner
    last_used: Instant
    over: bool = False
    token: str = field(default_factory=lambda: secrets.token_hex(20))


class Sessions:
    """Lets requests in. Thread-safe."""

    def __init__(self, store: WorkbooksStore, faults: FaultBoard) -> None:
        """Take the store, whose account has the one key there is, and its user's zone."""
        self._store = store
        self._faults = faults
        self._zone = store.zone
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def log_in(self, form: Form, headers: Mapping[str, str], at: Instant) -> Session:
        """Begin a session.

        Raises:
            RefusedError: the key is wrong, or the application's name is reserved.
            NotUnderstoodError: there is no such time zone.
        """
        if form.controls.get("api_key") != self._store.account.api_key:
            raise RefusedError("unrecognised_name_or_password")
        zone = _zone(form.controls.get("_time_zone", self._zone))
        manner = _manner(form, Manner(zone=zone, application=_application(form, headers)))
        session = Session(secrets.token_hex(16), manner, at)
        with self._lock:
            self._sessions[session.cookie] = session
        return session

    def log_out(self, headers: Mapping[str, str]) -> None:
        """End the session of a request, if it has one."""
        with self._lock:
            self._sessions.pop(_cookie(headers), None)

    def admit(self, form: Form, headers: Mapping[str, str], at: Instant, *, writing: bool) -> Manner:
        """Let a request in by its key or its session, and say how it wants to be treated.

        Raises:
            RefusedError: there is neither, or it is not good (any more).
            UnknownSessionError: there is a cookie that stands for no session.
        """
        if "api_key" in form.controls:
            if form.controls["api_key"] != self._store.account.api_key:
                raise RefusedError("unrecognised_name_or_password")
            application = _application(
                form, headers, heeded=self._faults.throughout("application_name_ignored") is None
            )
            return _manner(form, Manner(zone=self._zone, application=application))
        session = self._find(headers, at)
        if writing and form.controls.get("_authenticity_token") != session.token:
            raise RefusedError("no_session")
        return _manner(form, session.manner)

    def expire(self, headers: Mapping[str, str]) -> bool:
        """End the session of a request as maintenance does; False where it has none."""
        with self._lock:
            session = self._sessions.get(_cookie(headers))
            if session is None:
                return False
            session.over = True
            return True

    def new_cookie(self, headers: Mapping[str, str]) -> str | None:
        """Give the session of a request another cookie; None where it has no session."""
        with self._lock:
            session = self._sessions.pop(_cookie(headers), None)
            if session is None:
                return None
            session.cookie = secrets.token_hex(16)
            self._sessions[session.cookie] = session
            return session.cookie

    def _find(self, headers: Mapping[str, str], at: Instant) -> Session:
        cookie = _cookie(headers)
        if not cookie:
            raise RefusedError("no_session")
        with self._lock:
            session = self._sessions.get(cookie)
            if session is None:
                raise UnknownSessionError
            session.over = session.over or at - session.last_used > IDLE_MS
            if session.over:
                raise RefusedError("session_expired")
            session.last_used = at
            return session


def has_cookie(headers: Mapping[str, str]) -> bool:
    """Tell whether a request comes with the cookie of a session, good or not."""
    return bool(_cookie(headers))


def _zone(name: str) -> str:
    try:
        return zone_of(name)
    except ValueError as error:
        raise NotUnderstoodError(HTTPStatus.NOT_ACCEPTABLE, str(error)) from None


def _cookie(headers: Mapping[str, str]) -> str:
    match = _COOKIE_VALUE.search(headers.get("Cookie") or "")
    return match[1] if match else ""


def _application(form: Form, headers: Mapping[str, str], *, heeded: bool = True) -> str:
    """Name who creates: ``_application_name``, else the first word of the User-Agent, which a hyphen ends."""
    name = form.controls.get("_application_name") if heeded else None
    if name is None:
        return _FIRST_WORD.match(headers.get("User-Agent") or "")[0]  # type: ignore[index]  # it matches anything
    if name.lower() in RESERVED_APPLICATIONS:
        raise RefusedError("invalid_application_name")
    return name


def _manner(form: Form, base: Manner) -> Manner:
    strict = form.flag("_strict_attribute_checking")
    per_object = form.flag("_per_object_transactions")
    forms = OutputForms(
        form.controls.get("_json_output_date_format", base.forms.date),
        form.controls.get("_json_output_datetime_format", base.forms.datetime),
    )
    return base._replace(
        strict=base.strict if strict is None else strict,
        per_object=base.per_object if per_object is None else per_object,
        forms=forms,
    )
