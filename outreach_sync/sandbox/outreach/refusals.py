"""The ways the API says no, in the JSON:API form it uses: ``{"errors":[{"id","title","detail"}]}``.

Ids and statuses come from the documentation where it gives them; titles and details are plausible inventions.
"""

from __future__ import annotations

import json
from typing import ClassVar

from outreach_sync.sandbox.server import Response

JSON_API = "application/vnd.api+json"
_CONTENT_TYPE = JSON_API + "; charset=utf-8"


class Refusal(Exception):  # noqa: N818 - an answer of the API, no failure of ours
    """A request that is answered with an error. `id`, `title` and `detail` go into the body."""

    status: ClassVar[int] = 422
    id: ClassVar[str] = "validationError"
    title: ClassVar[str] = "Validation Error"

    def __init__(self, detail: str, *, pointer: str | None = None) -> None:
        """Keep the detail and, where a parameter is to blame, its name."""
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer

    def error(self) -> dict[str, object]:
        """Build the error object."""
        source = {"source": {"pointer": self.pointer}} if self.pointer else {}
        return {"id": self.id, "title": self.title, "detail": self.detail, **source}

    def response(self) -> Response:
        """Build the answer."""
        body = json.dumps({"errors": [self.error()]}, ensure_ascii=False, separators=(",", ":")).encode()
        return Response(self.status, {"Content-Type": _CONTENT_TYPE}, body)


class InvalidParameter(Refusal):
    """A parameter the API does not have, or a value it does not take (422 validationError)."""


class InvalidFilter(Refusal):
    """A filter that is not possible."""

    id = "filterParameter.invalid"
    title = "Invalid Filter Parameter"


class InvalidDatetime(InvalidFilter):
    """A filter value that is no date and time; also what mixing the two filter syntaxes leads to."""

    id = "filterParameter.invalidDatetimeFormat"


class Unauthorized(Refusal):
    """No valid access token. The body of this answer is not documented."""

    status = 401
    id = "unauthorized"
    title = "Unauthorized"


class MissingScope(Refusal):
    """The token lacks the scope."""

    status = 403
    id = "unauthorizedOauthScope"
    title = "Unauthorized OAuth Scope"


class Forbidden(Refusal):
    """The user's governance profile, or the kind of token, does not allow this."""

    status = 403
    id = "unauthorizedRequest"
    title = "Unauthorized Request"


class NotFound(Refusal):
    """No such record: it never was, was deleted, or is hidden."""

    status = 404
    id = "resourceNotFound"
    title = "Resource Not Found"


class NoRoute(Refusal):
    """No such address."""

    status = 404
    id = "routeNotFound"
    title = "Route Not Found"


class UnsupportedMediaType(Refusal):
    """A Content-Type other than JSON:API. This one says ``details``, not ``detail``."""

    status = 415
    id = "unsupportedMediaType"
    title = "Unsupported Media Type"

    def error(self) -> dict[str, object]:
        """Build the error object with the key this answer really has."""
        return {"id": self.id, "title": self.title, "details": self.detail}


def json_response(status: int, document: object, content_type: str = _CONTENT_TYPE) -> Response:
    """Answer with a JSON body."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(status, {"Content-Type": content_type}, body)
