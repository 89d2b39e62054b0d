"""Tokens: how long they live, what they allow, and the endpoints that give them; consent and server-to-server too.

Facts: access tokens live 2 hours (1 hour server-to-server), refresh tokens 14 days; at most 100 of each are alive for a
user and app, the oldest fall off. Whether an old refresh token dies when it is used is disputed, hence a switch.
"""

from __future__ import annotations

import html
import importlib
import json
import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from outreach_sync.instants import Instant
from outreach_sync.sandbox.outreach.schema import PLURALS
from outreach_sync.sandbox.outreach.trouble import Refusal, json_response
from outreach_sync.sandbox.server import HTML, Request, Response

if TYPE_CHECKING:
    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.server import SandboxClock

LIVE_TOKENS = 100
SCOPES = tuple(
    f"{plural}.read"
    for plural in ("sequenceStates", "tasks", "prospects", "sequences", "sequenceSteps", "users", "stages", "events")
)
"""What a reader asks for: the scopes of tokens that nobody named scopes for."""

_MINUTE_MS = 60_000
_LIFE_MS = {"code": 600_000, "access": 7_200_000, "s2s": 3_600_000, "refresh": 14 * 86_400_000}
_SCOPES = frozenset(f"{plural}.{right}" for plural in PLURALS for right in ("read", "write", "delete", "all"))
_JSON = "application/json; charset=utf-8"
_S2S_LONGEST_S = 3600
_S2S_CLOCKS_DIFFER_S = 60


@dataclass(slots=True)
class App:
    """The registered app: what its developer was given, and the public key of its server-to-server part (PEM)."""

    client_id: str = field(default_factory=lambda: "client-" + secrets.token_hex(8))
    client_secret: str = field(default_factory=lambda: "secret-" + secrets.token_hex(16))
    install_id: str = "install-1"
    s2s_guid: str = "7d2f2b1e-0000-4000-8000-000000000001"
    s2s_public_key: str | None = None
    auto_approve: bool = False


class Grant(NamedTuple):
    """What a token stands for. `refreshed` counts the refreshes that led to it; `kind`: code, access, s2s, refresh."""

    token: str
    kind: str
    scopes: tuple[str, ...]
    expires_at: Instant
    refreshed: int = 0
    redirect_uri: str = ""


class TokenRegistry:
    """All tokens of the one user and app there is. Thread-safe."""

    def __init__(self, clock: SandboxClock) -> None:
        """Start without any token."""
        self._clock = clock
        self._lock = threading.RLock()
        self._live: dict[str, dict[str, Grant]] = {"code": {}, "access": {}, "refresh": {}}
        self.issued_at: Instant | None = None

    def new_code(self, redirect_uri: str, scopes: tuple[str, ...]) -> str:
        """Make an authorization code for one use within ten minutes."""
        return self._new("code", scopes, redirect_uri=redirect_uri).token

    def redeem_code(self, code: str, redirect_uri: str) -> tuple[Grant, Grant] | None:
        """Turn a code into (access, refresh), or None if it is unknown, used, too old or for another address."""
        with self._lock:
            grant = self.alive("code", code)
            self._live["code"].pop(code, None)
            return None if grant is None or grant.redirect_uri != redirect_uri else self._pair(grant.scopes, 0)

    def new_refresh(self, scopes: tuple[str, ...] = SCOPES) -> str:
        """Make a refresh token as if somebody had consented."""
        return self._new("refresh", scopes).token

    def refresh(self, token: str, *, kill_old: bool) -> tuple[Grant, Grant] | None:
        """Turn a refresh token into new (access, refresh), None if it is not alive. `kill_old`: it dies with that."""
        with self._lock:
            grant = self.alive("refresh", token)
            if grant is not None and kill_old:
                del self._live["refresh"][token]
            return None if grant is None else self._pair(grant.scopes, grant.refreshed + 1)

    def new_s2s(self) -> str:
        """Make a server-to-server access token."""
        return self._new("s2s", SCOPES).token

    def revoke_access(self, token: str) -> None:
        """Let an access token die now."""
        with self._lock:
            self._live["access"].pop(token, None)

    def revoke_all(self) -> None:
        """Let every token die now, as when the user withdraws the consent."""
        with self._lock:
            for live in self._live.values():
                live.clear()

    def _pair(self, scopes: tuple[str, ...], refreshed: int) -> tuple[Grant, Grant]:
        self.issued_at = self._clock.now()
        return self._new("access", scopes, refreshed=refreshed), self._new("refresh", scopes, refreshed=refreshed)

    def _new(self, kind: str, scopes: tuple[str, ...], **more: Any) -> Grant:
        expires_at = Instant(self._clock.now() + _LIFE_MS[kind])
        grant = Grant(f"{kind}-{secrets.token_urlsafe(24)}", kind, scopes, expires_at, **more)
        with self._lock:
            live = self._live["access" if kind == "s2s" else kind]
            live[grant.token] = grant
            while len(live) > LIVE_TOKENS:
                del live[next(iter(live))]
        return grant

    def alive(self, kind: str, token: str) -> Grant | None:
        """Find the grant behind a code, an access or a refresh token, None if it is not alive."""
        grant = self._live[kind].get(token)
        return grant if grant is not None and grant.expires_at > self._clock.now() else None


@dataclass
class OAuth:
    """Answers the three endpoints that give tokens."""

    app: App
    tokens: TokenRegistry
    clock: SandboxClock
    faults: FaultBoard

    def authorize(self, request: Request) -> Response:
        """Show the consent page, or go straight back to the app's redirect_uri with a code and the state as it came."""
        asked = dict(request.query)
        problem = self._consent_problem(asked)
        if problem:
            return Response(400, dict(HTML), f"<p>{html.escape(problem)}</p>".encode())
        decision = asked.pop("decision", "approve" if self.app.auto_approve or "auto_approve" in asked else "")
        if not decision:
            return _consent_page(asked)
        back = {"error": "access_denied"}
        if decision == "approve":
            back = {"code": self.tokens.new_code(asked["redirect_uri"], tuple(asked["scope"].split()))}
        if "state" in asked and not self.faults.fires("consent_state_lost"):
            back["state"] = asked["state"]
        joint = "&" if "?" in asked["redirect_uri"] else "?"
        return Response(302, {"Location": f"{asked['redirect_uri']}{joint}{urlencode(back)}"}, b"")

    def token(self, form: dict[str, str]) -> Response:
        """Give an access token and a new refresh token for a code or a refresh token."""
        refused = self._refused(form)
        if refused is not None:
            return refused
        if form["grant_type"] == "authorization_code":
            pair = self.tokens.redeem_code(form.get("code", ""), form.get("redirect_uri", ""))
        else:
            hard = self.faults.fires("refresh_rotates_hard")
            pair = self.tokens.refresh(form.get("refresh_token", ""), kill_old=hard)
        if pair is None:
            return _error("invalid_grant", "The provided authorization grant is invalid, expired or revoked.", 400)
        access, refresh = pair
        document = {
            "access_token": access.token,
            "token_type": "Bearer",
            "expires_in": _LIFE_MS["access"] // 1000,
            "refresh_token": refresh.token,
            "scope": " ".join(access.scopes),
            "created_at": self.clock.now() // 1000,
        }
        return json_response(200, document, _JSON)

    def s2s(self, install_id: str, request: Request) -> Response:
        """Give a server-to-server access token for an RS256-signed JWT with iss, iat and exp <= iat + 3600 s."""
        if install_id != self.app.install_id:
            raise Refusal("resourceNotFound", "Could not find install with that id.")
        claims = self._claims(bearer_token(request))
        now, issued, expires = self.clock.now() / 1000, _time_claim(claims, "iat"), _time_claim(claims, "exp")
        if claims.get("iss") != self.app.s2s_guid:
            raise Refusal("unauthorized", "The issuer of the token is not this app.")
        if issued > now + _S2S_CLOCKS_DIFFER_S:
            raise Refusal("unauthorized", "The token is not valid yet.")
        if expires <= now or not 0 < expires - issued <= _S2S_LONGEST_S:
            raise Refusal("unauthorized", "The token is expired, or valid for more than an hour.")
        return json_response(200, {"data": {"meta": {"accessToken": self.tokens.new_s2s()}}})

    def _consent_problem(self, asked: dict[str, str]) -> str:
        if asked.get("client_id") != self.app.client_id:
            return "Unknown client_id."
        if asked.get("response_type") != "code" or not asked.get("redirect_uri"):
            return "response_type must be code, and redirect_uri given."
        unknown = set(asked.get("scope", "").split()) - _SCOPES
        return f"Unknown or no scope: {' '.join(sorted(unknown))}." if unknown or not asked.get("scope") else ""

    def _refused(self, form: dict[str, str]) -> Response | None:
        """Refuse a token request, in the words of OAuth (RFC 6749, section 5.2) or as a fault has it."""
        if self.faults.fires("refresh_refused_once"):
            self.faults.off("refresh_refused_once")
            return Response(503, {"Content-Type": "text/plain"}, b"upstream connect error")
        credentials = (form.get("client_id", ""), form.get("client_secret", ""))
        if credentials != (self.app.client_id, self.app.client_secret):
            return _error("invalid_client", "Client authentication failed.", 401)
        revoked = self.faults.take("refresh_revoked")
        if revoked is not None:
            status, shape = revoked.get("status", 400), revoked.get("form", "json")
            page = Response(status, dict(HTML), b"<html><body>Unauthorized</body></html>" if shape == "html" else b"")
            refusal = _error(revoked.get("error", "invalid_grant"), "The refresh token was revoked.", status)
            return refusal if shape == "json" else page
        issued_at = self.tokens.issued_at
        within_minute = issued_at is not None and self.clock.now() - issued_at < _MINUTE_MS
        too_soon = self.faults.take("token_minute_rule") if within_minute else None
        if too_soon is not None:
            refused = Refusal("rateLimitExceeded", "Only one access token may be created within 60 seconds.")
            response = refused.response()
            if "retry_after" in too_soon:
                response.headers["Retry-After"] = str(too_soon["retry_after"])
            return response
        if form.get("grant_type") not in {"authorization_code", "refresh_token"}:
            return _error("unsupported_grant_type", "The authorization grant type is not supported.", 400)
        return None

    def _claims(self, token: str) -> dict[str, Any]:
        """Verify and read a JWT. Without PyJWT (the extra `s2s`) or a public key nothing can be verified: refuse."""
        try:
            jwt: Any = importlib.import_module("jwt")
        except ImportError:
            raise Refusal("unauthorized", "This sandbox verifies tokens with PyJWT, which is not installed.") from None
        if self.app.s2s_public_key is None:
            raise Refusal("unauthorized", "The app has no public key.")
        options = {"verify_exp": False, "verify_iat": False}  # the sandbox's clock decides, not this machine's
        try:
            claims: dict[str, Any] = jwt.decode(token, self.app.s2s_public_key, algorithms=["RS256"], options=options)
        except jwt.PyJWTError:
            raise Refusal("unauthorized", "The signature is not valid.") from None
        return claims


def bearer_token(request: Request) -> str:
    """Read the bearer token of a request, '' without one; the scheme may be written in any case."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def read_form(request: Request) -> dict[str, str]:
    """Read the body of a token request, form or JSON."""
    if "json" in request.headers.get("Content-Type", ""):
        try:
            document = json.loads(request.body)
        except ValueError:
            return {}
        return {str(name): str(value) for name, value in document.items()} if isinstance(document, dict) else {}
    return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))


def _time_claim(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal("unauthorized", f"The token's {name} is no time.")
    return value


def _error(error: str, description: str, status: int) -> Response:
    return json_response(status, {"error": error, "error_description": description}, _JSON)


def _consent_page(asked: dict[str, str]) -> Response:
    approve, deny = (
        html.escape(f"/oauth/authorize?{urlencode({**asked, 'decision': word})}") for word in ("approve", "deny")
    )
    scopes = "".join(f"<li>{html.escape(scope)}</li>" for scope in asked["scope"].split())
    page = (
        "<!doctype html><title>Sandbox: consent</title><h1>Allow this app to read?</h1>"
        f'<ul>{scopes}</ul><p><a id="approve" href="{approve}">Allow</a> <a id="deny" href="{deny}">Deny</a></p>'
    )
    return Response(200, dict(HTML), page.encode())
