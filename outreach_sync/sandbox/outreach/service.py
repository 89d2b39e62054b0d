"""The simulated Outreach as a whole: who may ask for what, and where each request goes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from outreach_sync.sandbox.clock import SandboxClock
from outreach_sync.sandbox.outreach import limits, query as queries
from outreach_sync.sandbox.outreach.faults import fault_board
from outreach_sync.sandbox.outreach.listing import Reader
from outreach_sync.sandbox.outreach.oauth import AUTHORIZE_PATH, TOKEN_PATH, App, OAuth, bearer_token, read_form
from outreach_sync.sandbox.outreach.refusals import (
    JSON_API,
    Forbidden,
    MissingScope,
    NoRoute,
    Refusal,
    Unauthorized,
    UnsupportedMediaType,
)
from outreach_sync.sandbox.outreach.rendering import Renderer
from outreach_sync.sandbox.outreach.schema import PLURALS, RESOURCES, Resource
from outreach_sync.sandbox.outreach.store import OutreachStore
from outreach_sync.sandbox.outreach.tokens import Grant, TokenRegistry
from outreach_sync.sandbox.outreach.trouble import Trouble, number
from outreach_sync.sandbox.outreach.writing import Write, Writer, write_of
from outreach_sync.sandbox.server import HttpServer, Request, Response, gzipped, takes_gzip
from outreach_sync.sandbox.service import BackDoor, Journal

if TYPE_CHECKING:
    from types import TracebackType

    from outreach_sync.sandbox.outreach.query import Query

_RESOURCE_PATH = re.compile(r"/api/v2/(\w+)(?:/(\d+))?", re.ASCII)
_S2S_PATH = re.compile(r"/api/app/installs/([^/]+)/actions/accessToken")
_HOST = re.compile(r"(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::\d+)?", re.ASCII)
_READS = frozenset({"GET", "HEAD"})
_WORTH_GZIP = 1024


class OutreachSandbox:
    """A simulated Outreach on a port of its own. Usable as a context manager.

    Attributes:
        url: where it listens, without a trailing slash.
        store, faults, journal, clock: its records, faults, recorded requests and time.
        app, tokens: the registered app and the tokens given out.
        limit: the hourly quota.
        refresh_token: one that works from the start, as if somebody had consented.
    """

    name = "outreach"

    def __init__(self, *, clock: SandboxClock | None = None, port: int = 0, latency_ms: float = 0) -> None:
        """Bind to a port (0: any free one); answers begin with `start`."""
        self.clock = clock or SandboxClock()
        self.faults = fault_board()
        self.journal = Journal()
        self.store = OutreachStore(self.clock, self.faults)
        self.app = App()
        self.tokens = TokenRegistry(self.clock)
        self.limit = limits.RateLimit(self.clock)
        self.refresh_token = self.tokens.new_refresh()
        self._server = HttpServer(self, port=port, latency_ms=latency_ms)
        self.url = self._server.url
        self._oauth = OAuth(self.app, self.tokens, clock=self.clock, faults=self.faults)
        self._writer = Writer(self.store, self.clock)
        self._trouble = Trouble(self.faults, self.clock)
        self._reader = Reader(self.store, Renderer(self.store, self.url), clock=self.clock, faults=self.faults)
        self._control = BackDoor(
            self.name, clock=self.clock, faults=self.faults, journal=self.journal, store=self.store
        )

    @property
    def client_id(self) -> str:
        """The app's client id."""
        return self.app.client_id

    @property
    def client_secret(self) -> str:
        """The app's client secret."""
        return self.app.client_secret

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def stop(self) -> None:
        """Stop answering."""
        self._server.stop()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def respond(self, request: Request) -> Response:
        """Answer a request, and write it to the journal unless it is for the back door."""
        if BackDoor.concerns(request):
            return self._control.respond(request)
        kind = _kind(request)
        form = read_form(request) if kind == "token" else {}
        self.faults.begin(kind)
        response = self._trouble.instead(request, kind)
        if response is None:
            response = self._trouble.on_the_way(self._answer(request, kind, form), kind)
        fired = self.faults.collect_fired()
        self.journal.record(request, kind=kind, status=response.status, faults=fired, form=form)
        worth = len(response.body) > _WORTH_GZIP
        return gzipped(response) if worth and takes_gzip(request.headers.get("Accept-Encoding", "")) else response

    def _answer(self, request: Request, kind: str, form: dict[str, str]) -> Response:
        try:
            if kind == "token":
                return self._oauth.token(form)
            if kind == "authorize":
                return self._oauth.authorize(request)
            if kind == "s2s":
                match = _S2S_PATH.fullmatch(request.path)
                return self._oauth.s2s(match[1] if match else "", request)
            return self._api(request, kind)
        except Refusal as refusal:
            return refusal.response()

    def _api(self, request: Request, kind: str) -> Response:
        grant = self._authenticated(request, kind)
        spent = self.faults.take("quota_nearly_spent", kind)
        if spent is not None:
            self.limit.leave(number(spent, "remaining", 3))
            self.faults.off("quota_nearly_spent")
        quota = self.limit.use()
        if quota.remaining < 0:
            now = self.clock.now()
            return limits.refused(quota, until=quota.reset_at, form="epoch", now=now)
        try:
            response = self._resource(request, grant, kind)
        except Refusal as refusal:
            response = refusal.response()
        response.headers.update(self._told(quota, kind))
        return response

    def _told(self, quota: limits.Quota, kind: str) -> dict[str, str]:
        """Write the headers about the quota, as the faults will have them."""
        if self.faults.take("rate_headers_missing", kind) is not None:
            return {}
        other = self.faults.take("reset_in_form", kind)
        form = "epoch" if other is None else str(other.get("form", "seconds"))
        told = limits.headers(quota, self.clock.now(), form=form)
        two = self.faults.take("remaining_two_numbers", kind)
        if two is not None:
            told["X-RateLimit-Remaining"] = limits.two_numbers(quota, swapped=bool(two.get("swapped")))
        return told

    def _authenticated(self, request: Request, kind: str) -> Grant:
        token = bearer_token(request)
        if self.faults.take("token_expired_mid_walk", kind) is not None:
            self.tokens.revoke_access(token)
        grant = self.tokens.authenticate(token)
        if grant is None:
            raise Unauthorized("The access token expired." if token else "There is no access token.")
        nth = self.faults.option("second_access_token_refused", "nth")
        late = grant.refreshed >= int(str(2 if nth is None else nth))
        if late and self.faults.take("second_access_token_refused", kind) is not None:
            raise Unauthorized("The access token is not valid.")
        return grant

    def _resource(self, request: Request, grant: Grant, kind: str) -> Response:
        content_type = request.headers.get("Content-Type")
        if content_type is not None and content_type.partition(";")[0].strip().lower() != JSON_API:
            raise UnsupportedMediaType(f"The Content-Type must be {JSON_API}.")
        write = write_of(request)
        if write is not None:
            return self._written(request, write, grant, kind)
        match = _RESOURCE_PATH.fullmatch(request.path)
        resource = PLURALS.get(match[1]) if match else None
        if match is None or resource is None:
            raise NoRoute(f"There is no route {request.method} {request.path}.")
        if request.method not in _READS:
            raise MissingScope(f"{request.method} needs a scope other than {resource.plural}.read.")
        self._permit(resource, grant, kind)
        parameters = queries.without_repeats(request.query)
        query = self._reader.parse(resource, parameters, kind)
        self._permit_included(resource, query, grant, kind)
        base_url = _address(request)
        if match[2]:
            return self._reader.single(resource, int(match[2]), query, kind, base_url=base_url)
        return self._reader.list(resource, query, parameters, kind, base_url=base_url)

    def _written(self, request: Request, write: Write, grant: Grant, kind: str) -> Response:
        self._permit(write.resource, grant, kind, write.scope)
        query = self._reader.parse(write.resource, queries.without_repeats(request.query), kind)
        done = self._writer.carry_out(write)
        return done or self._reader.single(write.resource, write.id, query, kind, base_url=_address(request))

    def _permit(self, resource: Resource, grant: Grant, kind: str, right: str = "read") -> None:
        """Check the scope for a resource, and what the user's profile and the kind of token allow.

        Rights do not imply one another, except that `all` is all of them.
        """
        scope = f"{resource.plural}.{right}"
        withheld = self.faults.option("scope_missing", "scope")
        if withheld in {None, scope} and self.faults.take("scope_missing", kind) is not None:
            raise MissingScope(f"Your access token needs the scope {scope}.")
        if not {scope, f"{resource.plural}.all"} & set(grant.scopes):
            raise MissingScope(f"Your access token needs the scope {scope}.")
        if grant.s2s and resource.type == "sequenceStep":
            raise Forbidden("Server-to-server tokens cannot read sequenceSteps.")
        if self.faults.take("governance_refuses", kind) is not None:
            raise Forbidden(f"Your profile does not allow reading {resource.plural}.")

    def _permit_included(self, resource: Resource, query: Query, grant: Grant, kind: str) -> None:
        for name in query.include:
            for type_ in resource.relationships[name].types:
                if type_ in RESOURCES and type_ != resource.type:
                    self._permit(RESOURCES[type_], grant, kind)


def _address(request: Request) -> str | None:
    """Say under which address the client knows this service, None where it does not say."""
    host = request.headers.get("Host", "")
    return f"http://{host}" if _HOST.fullmatch(host) else None


def _kind(request: Request) -> str:
    """Say what kind of request it is, for journal and faults: ``token``, ``list tasks``, ``get prospects``, ..."""
    if request.path == TOKEN_PATH and request.method == "POST":
        return "token"
    if request.path == AUTHORIZE_PATH and request.method == "GET":
        return "authorize"
    if _S2S_PATH.fullmatch(request.path) and request.method == "POST":
        return "s2s"
    write = write_of(request)
    if write is not None:
        return write.kind
    match = _RESOURCE_PATH.fullmatch(request.path)
    if match is None:
        return "other"
    return f"{'get' if match[2] else 'list'} {match[1]}"
