"""The simulated Outreach as a whole: who may ask for what, and where each request goes.

Of the writes, those that matter to a reader are served: DELETE on tasks, sequenceStates and prospects gives 204; the
state of a sequence state changes by the actions finish, pause and resume only; markComplete completes a task (published
OpenAPI).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from outreach_sync.instants import Instant
from outreach_sync.sandbox.clock import SandboxClock
from outreach_sync.sandbox.faults import FaultBoard
from outreach_sync.sandbox.outreach import query as queries
from outreach_sync.sandbox.outreach.faults import FAULTS
from outreach_sync.sandbox.outreach.listing import Reader
from outreach_sync.sandbox.outreach.oauth import App, Grant, OAuth, TokenRegistry, bearer_token, read_form
from outreach_sync.sandbox.outreach.schema import PLURALS, RESOURCES, Resource
from outreach_sync.sandbox.outreach.store import OutreachStore
from outreach_sync.sandbox.outreach.trouble import (
    JSON_API,
    Forbidden,
    MissingScope,
    NoRoute,
    NotFound,
    Quota,
    RateLimit,
    Refusal,
    Trouble,
    Unauthorized,
    UnsupportedMediaType,
)
from outreach_sync.sandbox.server import Request, Response, gzipped, takes_gzip
from outreach_sync.sandbox.service import SimulatedService

if TYPE_CHECKING:
    from outreach_sync.sandbox.outreach.query import Query

_HOST = re.compile(r"(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::\d+)?", re.ASCII)
_WORTH_GZIP = 1024
_STATES = {"finish": "finished", "pause": "paused", "resume": "active"}
_DELETED = "<any(tasks, sequenceStates, prospects):plural>"
_ROUTES = Map(
    [
        Rule("/oauth/token", methods=["POST"], endpoint="token"),
        Rule("/oauth/authorize", methods=["GET"], endpoint="authorize"),
        Rule("/api/app/installs/<install_id>/actions/accessToken", methods=["POST"], endpoint="s2s"),
        Rule(f"/api/v2/{_DELETED}/<int:id_>", methods=["DELETE"], endpoint="delete"),
        Rule("/api/v2/<any(tasks):plural>/<int:id_>/actions/<any(markComplete):action>", methods=["POST"]),
        Rule(
            "/api/v2/<any(sequenceStates):plural>/<int:id_>/actions/<any(finish, pause, resume):action>",
            methods=["POST"],
        ),
        Rule("/api/v2/<plural>", methods=["GET"], endpoint="list"),
        Rule("/api/v2/<plural>/<int:id_>", methods=["GET"], endpoint="get"),
        Rule("/api/v2/<plural>", methods=["POST", "PATCH", "DELETE"], endpoint="other"),
        Rule("/api/v2/<plural>/<int:id_>", methods=["POST", "PATCH", "DELETE"], endpoint="other"),
    ]
)


class OutreachSandbox(SimulatedService):
    """A simulated Outreach on a port of its own. Usable as a context manager.

    Attributes:
        store: its records.
        faults: its faults, all off; see `faults.FAULTS`.
        app, tokens: the registered app and the tokens given out.
        limit: the hourly quota.
        refresh_token: one that works from the start, as if somebody had consented.
    """

    name = "outreach"

    def __init__(self, *, clock: SandboxClock | None = None, port: int = 0, latency_ms: float = 0) -> None:
        """Bind to a port (0: any free one); answers begin with `start`."""
        clock, faults = clock or SandboxClock(), FaultBoard(FAULTS)
        self.store = OutreachStore(clock, faults)
        super().__init__(faults, self.store, clock=clock, port=port, latency_ms=latency_ms)
        self.app = App()
        self.tokens = TokenRegistry(clock)
        self.limit = RateLimit(clock)
        self.refresh_token = self.tokens.new_refresh()
        self._oauth = OAuth(self.app, self.tokens, clock=clock, faults=faults)
        self._trouble = Trouble(faults, clock)
        self._reader = Reader(self.store, clock=clock, faults=faults)

    @property
    def client_id(self) -> str:
        """The app's client id."""
        return self.app.client_id

    @property
    def client_secret(self) -> str:
        """The app's client secret."""
        return self.app.client_secret

    def answer(self, request: Request) -> Response:
        """Answer a request and write it to the journal, as of a kind such as ``token`` or ``list tasks``."""
        endpoint, given = _routed(request)
        kind = f"{endpoint} {given['plural']}" if "plural" in given and endpoint != "other" else endpoint
        form = read_form(request) if kind == "token" else {}
        self.faults.begin(kind)
        response = self._trouble.instead(request, kind)
        if response is None:
            response = self._trouble.on_the_way(self._answer(request, endpoint, given, form), kind)
        fired = self.faults.collect_fired()
        self.journal.record(request, kind=kind, status=response.status, faults=fired, form=form)
        worth = len(response.body) > _WORTH_GZIP and "Content-Encoding" not in response.headers
        return gzipped(response) if worth and takes_gzip(request.headers.get("Accept-Encoding", "")) else response

    def _answer(self, request: Request, endpoint: str, given: dict[str, Any], form: dict[str, str]) -> Response:
        try:
            if endpoint == "token":
                return self._oauth.token(form)
            if endpoint == "authorize":
                return self._oauth.authorize(request)
            if endpoint == "s2s":
                return self._oauth.s2s(given["install_id"], request)
            return self._api(request, endpoint, given)
        except Refusal as refusal:
            return refusal.response()

    def _api(self, request: Request, endpoint: str, given: dict[str, Any]) -> Response:
        grant = self._authenticated(request)
        spent = self.faults.take("quota_nearly_spent")
        if spent is not None:
            self.limit.leave(spent.get("remaining", 3))
            self.faults.off("quota_nearly_spent")
        quota = self.limit.use()
        if quota.remaining < 0:
            return quota.refusal(quota.reset_at, "epoch", self.clock.now())
        try:
            response = self._resource(request, grant, endpoint, given)
        except Refusal as refusal:
            response = refusal.response()
        response.headers.update(self._told(quota))
        return response

    def _told(self, quota: Quota) -> dict[str, str]:
        """Write the headers about the quota, as the faults will have them."""
        if self.faults.take("rate_headers_missing") is not None:
            return {}
        other = self.faults.take("reset_in_form")
        told = quota.headers("epoch" if other is None else other.get("form", "seconds"), self.clock.now())
        two = self.faults.take("remaining_two_numbers")
        if two is not None:
            numbers = [str(max(0, quota.remaining)), str(max(0, quota.remaining) + quota.limit)]
            told["X-RateLimit-Remaining"] = ", ".join(reversed(numbers) if two.get("swapped") else numbers)
        return told

    def _authenticated(self, request: Request) -> Grant:
        token = bearer_token(request)
        if self.faults.take("token_expired_mid_walk") is not None:
            self.tokens.revoke_access(token)
        grant = self.tokens.authenticate(token)
        if grant is None:
            raise Unauthorized("The access token expired." if token else "There is no access token.")
        nth = self.faults.option("second_access_token_refused", "nth")
        late = grant.refreshed >= int(str(2 if nth is None else nth))
        if late and self.faults.take("second_access_token_refused") is not None:
            raise Unauthorized("The access token is not valid.")
        return grant

    def _resource(self, request: Request, grant: Grant, endpoint: str, given: dict[str, Any]) -> Response:
        content_type = request.headers.get("Content-Type")
        if content_type and content_type.partition(";")[0].strip().lower() != JSON_API:
            raise UnsupportedMediaType(f"The Content-Type must be {JSON_API}.")
        resource = PLURALS.get(given.get("plural", ""))
        if resource is None:
            raise NoRoute(f"There is no route {request.method} {request.path}.")
        if endpoint == "other":
            raise MissingScope(f"{request.method} needs a scope other than {resource.plural}.read.")
        right = {"get": "read", "list": "read", "delete": "delete"}.get(endpoint, "write")
        self._permit(resource, grant, right)
        parameters = queries.without_repeats(request.query)
        query = self._reader.parse(resource, parameters)
        self._permit_included(resource, query, grant)
        if right != "read":
            self._change(resource, given["id_"], endpoint)
        if right == "delete":
            return Response(204, {}, b"")
        base_url = self._address(request)
        if "id_" in given:
            return self._reader.single(resource, given["id_"], query, base_url)
        return self._reader.list(resource, query, parameters, base_url)

    def _permit(self, resource: Resource, grant: Grant, right: str) -> None:
        """Check the scope for a resource, and what the user's profile and the kind of token allow.

        Rights do not imply one another, except that `all` is all of them.
        """
        scope = f"{resource.plural}.{right}"
        withheld = self.faults.option("scope_missing", "scope")
        missing = withheld in {None, scope} and self.faults.take("scope_missing") is not None
        if missing or not {scope, f"{resource.plural}.all"} & set(grant.scopes):
            raise MissingScope(f"Your access token needs the scope {scope}.")
        if grant.s2s and resource.type == "sequenceStep":
            raise Forbidden("Server-to-server tokens cannot read sequenceSteps.")
        if self.faults.take("governance_refuses") is not None:
            raise Forbidden(f"Your profile does not allow reading {resource.plural}.")

    def _permit_included(self, resource: Resource, query: Query, grant: Grant) -> None:
        for name in query.include:
            for type_ in resource.relationships[name].types:
                if type_ in RESOURCES and type_ != resource.type:
                    self._permit(RESOURCES[type_], grant, "read")

    def _change(self, resource: Resource, id_: int, action: str) -> None:
        """Delete a record, or carry an action on it out.

        Raises:
            NotFound: there is no such record.
        """
        with self.store.lock:
            if self.store.visible(resource.type, id_) is None:
                raise NotFound(f"Could not find '{resource.type}' with ID '{id_}'.")
            at = Instant(self.clock.now() // 1000 * 1000)
            changes: dict[str, Any] = {"state": _STATES.get(action, "complete"), "stateChangedAt": at}
            if action == "delete":
                self.store.delete(resource.type, id_)
                return
            if action == "markComplete":
                completer = next((user.id for user in self.store.all("user")), None)
                changes |= {"completed": True, "completedAt": at, "completer": completer}
            self.store.update(resource.type, id_, **changes)

    def _address(self, request: Request) -> str:
        """Say under which address the client knows this service, or where it listens if the client does not say."""
        host = request.headers.get("Host", "")
        return f"http://{host}" if _HOST.fullmatch(host) else self.url


def _routed(request: Request) -> tuple[str, dict[str, Any]]:
    """Say where a request goes: the endpoint, which for an action is its name, and what its path gives."""
    try:
        endpoint, given = _ROUTES.bind("localhost").match(request.path, request.method)
    except HTTPException:
        return "other", {}
    return endpoint or given["action"], dict(given)
