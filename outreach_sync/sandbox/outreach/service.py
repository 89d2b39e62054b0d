"""The simulated Outreach as a whole: who may ask for what, and where each request goes. It can only be read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from outreach_sync.sandbox.faults import FaultBoard
from outreach_sync.sandbox.outreach import query as queries
from outreach_sync.sandbox.outreach.listing import Reader
from outreach_sync.sandbox.outreach.oauth import App, Grant, OAuth, TokenRegistry, bearer_token, read_form
from outreach_sync.sandbox.outreach.schema import PLURALS, RESOURCES, Resource
from outreach_sync.sandbox.outreach.store import OutreachStore
from outreach_sync.sandbox.outreach.trouble import FAULTS, JSON_API, Quota, RateLimit, Refusal, Trouble
from outreach_sync.sandbox.server import Request, Response, SandboxClock, gzipped, takes_gzip
from outreach_sync.sandbox.service import SimulatedService

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOST = re.compile(r"(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::\d+)?", re.ASCII)
_WORTH_GZIP = 1024
_READS = frozenset({"GET", "HEAD"})
_ROUTES = Map(
    [
        Rule("/oauth/token", methods=["POST"], endpoint="token"),
        Rule("/oauth/authorize", methods=["GET"], endpoint="authorize"),
        Rule("/api/app/installs/<install_id>/actions/accessToken", methods=["POST"], endpoint="s2s"),
        Rule("/api/v2/<plural>", endpoint="list"),
        Rule("/api/v2/<plural>/<int:id_>", endpoint="get"),
        Rule("/api/v2/<plural>/<int:id_>/actions/<action>", methods=["POST"], endpoint="act"),
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
        self.client_id, self.client_secret = self.app.client_id, self.app.client_secret
        self.tokens = TokenRegistry(clock)
        self.limit = RateLimit(clock)
        self.refresh_token = self.tokens.new_refresh()
        self._oauth = OAuth(self.app, self.tokens, clock, faults)
        self._trouble = Trouble(faults, clock)
        self._reader = Reader(self.store, clock, faults)

    def answer(self, request: Request) -> Response:
        """Answer a request and write it to the journal, as of a kind such as ``token`` or ``list tasks``."""
        try:
            endpoint, given = _ROUTES.bind("localhost").match(request.path, request.method)
        except HTTPException:
            endpoint, given = "other", {}
        kind = f"{endpoint} {given['plural']}" if "plural" in given else endpoint
        form = read_form(request) if kind == "token" else {}
        self.faults.begin(kind)
        response = self._trouble.instead(request, kind)
        if response is None:
            response = self._trouble.on_the_way(self._answer(request, endpoint, given, form), kind)
        fired = self.faults.collect_fired()
        self.journal.record(request, kind=kind, status=response.status, faults=fired, form=form.items())
        worth = len(response.body) > _WORTH_GZIP and "Content-Encoding" not in response.headers
        return gzipped(response) if worth and takes_gzip(request.headers.get("Accept-Encoding", "")) else response

    def _answer(self, request: Request, endpoint: str, given: Mapping[str, Any], form: dict[str, str]) -> Response:
        try:
            if endpoint == "token":
                return self._oauth.token(form)
            if endpoint == "authorize":
                return self._oauth.authorize(request)
            if endpoint == "s2s":
                return self._oauth.s2s(given["install_id"], request)
            return self._api(request, given)
        except Refusal as refusal:
            return refusal.response()

    def _api(self, request: Request, given: Mapping[str, Any]) -> Response:
        grant = self._authenticated(request)
        left = self.faults.setting("quota_nearly_spent", "remaining", 3)
        if left is not None:
            self.faults.off("quota_nearly_spent")
        quota = self.limit.use(left=left)
        if quota.remaining < 0:
            return quota.refusal("epoch", self.clock.now())
        try:
            response = self._resource(request, grant, given)
        except Refusal as refusal:
            response = refusal.response()
        response.headers.update(self._told(quota))
        return response

    def _told(self, quota: Quota) -> dict[str, str]:
        """Write the headers about the quota, as the faults will have them."""
        if self.faults.fires("rate_headers_missing"):
            return {}
        told = quota.headers(self.faults.setting("reset_in_form", "form", "seconds") or "epoch", self.clock.now())
        swapped = self.faults.setting("remaining_two_numbers", "swapped", default=False)
        if swapped is not None:
            numbers = [str(max(0, quota.remaining)), str(max(0, quota.remaining) + quota.limit)]
            told["X-RateLimit-Remaining"] = ", ".join(reversed(numbers) if swapped else numbers)
        return told

    def _authenticated(self, request: Request) -> Grant:
        token = bearer_token(request)
        if self.faults.fires("token_expired_mid_walk"):
            self.tokens.revoke_access(token)
        grant = self.tokens.alive("access", token)
        if grant is None:
            raise Refusal("unauthorized", "The access token expired." if token else "There is no access token.")
        late = grant.refreshed >= (self.faults.peek("second_access_token_refused") or {}).get("nth", 2)
        if late and self.faults.fires("second_access_token_refused"):
            raise Refusal("unauthorized", "The access token is not valid.")
        return grant

    def _resource(self, request: Request, grant: Grant, given: Mapping[str, Any]) -> Response:
        content_type = request.headers.get("Content-Type")
        if content_type and content_type.partition(";")[0].strip().lower() != JSON_API:
            raise Refusal("unsupportedMediaType", f"The Content-Type must be {JSON_API}.")
        resource = PLURALS.get(given.get("plural", ""))
        if resource is None:
            raise Refusal("routeNotFound", f"There is no route {request.method} {request.path}.")
        if request.method not in _READS:
            raise Refusal("unauthorizedOauthScope", f"{request.method} needs more than {resource.plural}.read.")
        self._permit(resource, grant)
        parameters = queries.without_repeats(request.query)
        query = self._reader.parse(resource, parameters)
        for name in query.include:
            for type_ in resource.relationships[name].types:
                if type_ in RESOURCES and type_ != resource.type:
                    self._permit(RESOURCES[type_], grant)
        base_url = self._address(request)
        if "id_" in given:
            return self._reader.single(resource, given["id_"], query, base_url)
        return self._reader.page(resource, query, parameters, base_url)

    def _permit(self, resource: Resource, grant: Grant) -> None:
        """Check the scope for a resource, and what the user's profile and the kind of token allow.

        Rights do not imply one another, except that `all` is all of them.
        """
        scope = f"{resource.plural}.read"
        if self.faults.fires("scope_missing", scope=scope) or not {scope, f"{resource.plural}.all"} & set(grant.scopes):
            raise Refusal("unauthorizedOauthScope", f"Your access token needs the scope {scope}.")
        if grant.kind == "s2s" and resource.type == "sequenceStep":
            raise Refusal("unauthorizedRequest", "Server-to-server tokens cannot read sequenceSteps.")
        if self.faults.fires("governance_refuses"):
            raise Refusal("unauthorizedRequest", f"Your profile does not allow reading {resource.plural}.")

    def _address(self, request: Request) -> str:
        """Say under which address the client knows this service, or where it listens if the client does not say."""
        host = request.headers.get("Host", "")
        return f"http://{host}" if _HOST.fullmatch(host) else self.url
