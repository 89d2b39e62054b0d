"""One request, understood: what it is for, by which method, with which parameters."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

from outreach_sync.sandbox.workbooks.form import Form, sort_out

if TYPE_CHECKING:
    from outreach_sync.sandbox.server import Request

METADATA = "metadata/types"
PAGES = ("/", "/login")
"""Addresses of the web application, to which redirects lead: pages for people, whatever the method."""
DELAY = "/delay/"
"""Where a delaying redirect leads, with a word that stands for the request that was sent there."""
PICKLIST_DATA = "picklist_data/Private_PicklistEntry/id/value"
_FORM = "application/x-www-form-urlencoded"
_SUFFIX = ".api"
_SHOWN_CONTROLS = 60


class NotUnderstoodError(Exception):
    """The request is no API call; it is answered with `status` and a sentence."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        """Take the answer's status and its text."""
        super().__init__(text)
        self.status = status
        self.text = text


class Call(NamedTuple):
    """A request, understood.

    `kind` is what the journal calls it: ``read crm/people``, ``write activity/tasks``, ``login``, ``logout``, ``page``,
    ``delay``.
    `record_id` is set where a single record is asked for by its address.
    """

    request: Request
    kind: str
    method: str
    controller: str
    record_id: int | None
    pairs: list[tuple[str, str]]
    form: Form

    @property
    def writes(self) -> bool:
        """Tell whether it changes records."""
        return self.kind.startswith("write")

    def summary(self) -> list[tuple[str, str]]:
        """Give its parameters for the journal; the objects of a write only as their number and their fields."""
        if not self.writes:
            return self.pairs
        arrays = self.form.arrays
        control = [pair for pair in self.pairs if not pair[0].endswith("[]")][:_SHOWN_CONTROLS]
        ids = arrays.get("id", [])
        names = [name for name in arrays if name not in ("__method", "id", "lock_version")]
        return [*control, ("objects", str(len(ids))), ("ids", ",".join(ids)), ("fields", ",".join(names))]


def understand(request: Request, *, json_too: bool) -> Call:
    """Read a request.

    Raises:
        NotUnderstoodError: the body is no form (nor, if `json_too`, JSON).
    """
    pairs = [*request.query, *_body_pairs(request, json_too=json_too)]
    form = sort_out(pairs)
    method = form.controls.get("_method", request.method).upper()
    controller, record_id = _address(request.path)
    kind = _kind(request.path, controller, method)
    return Call(request, kind, method, controller, record_id, pairs, form)


def _kind(path: str, controller: str, method: str) -> str:
    if path in PAGES:
        return "page"
    if path.startswith(DELAY):
        return "delay"
    if controller in ("login", "logout"):
        return controller
    return f"{'read' if method == 'GET' else 'write'} {controller}"


def _address(path: str) -> tuple[str, int | None]:
    """Split ``/crm/people/1001.api`` into the controller and the id."""
    name = path.strip("/").removesuffix(_SUFFIX)
    head, _, last = name.rpartition("/")
    return (head, int(last)) if head and last.isdecimal() else (name, None)


def has_api_suffix(path: str) -> bool:
    """Tell whether an address ends as those of the API do; logging out alone does without."""
    return path.endswith(_SUFFIX) or path.strip("/") == "logout"


def _body_pairs(request: Request, *, json_too: bool) -> list[tuple[str, str]]:
    if not request.body:
        return []
    content_type = (request.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    if content_type == _FORM:
        return parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
    if content_type == "application/json" and json_too:
        return _json_pairs(_json_object(request.body))
    raise NotUnderstoodError(HTTPStatus.NOT_ACCEPTABLE, f"the body must be {_FORM}")


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise NotUnderstoodError(HTTPStatus.NOT_ACCEPTABLE, "the body is no JSON object")
    return document


def _json_pairs(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Flatten a JSON object; a list stands for a parameter that comes several times."""
    return [
        (name, str(one)) for name, value in document.items() for one in (value if isinstance(value, list) else [value])
    ]
