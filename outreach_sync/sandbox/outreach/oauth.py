"""The OAuth side: consent page, token endpoint and server-to-server tokens."""

from __future__ import annotations

import html
import importlib
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from outreach_sync.sandbox.outreach.refusals import NotFound, Unauthorized, json_response
from outreach_sync.sandbox.outreach.schema import PLURALS
from outreach_sync.sandbox.server import Request, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.sandbox.clock import SandboxClock
    from outreach_sync.sandbox.faults import FaultBoard
    from outreach_sync.sandbox.outreach.tokens import Grant, TokenRegistry

_SCOPES = frozenset(f"{plural}.{right}" for plural in PLURALS for right in ("read", "write", "delete", "all"))
TOKEN_PATH = "/oauth/token"  # noqa: S105 - an address
AUTHORIZE_PATH = "/oauth/authorize"
_JSON = "application/json; charset=utf-8"
_GRANT_TYPES = frozenset({"authorization_code", "refresh_token"})
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


class OAuth:
    """Answers the three endpoints that give tokens."""

    def __init__(self, app: App, tokens: TokenRegistry, *, clock: SandboxClock, faults: FaultBoard) -> None:
        """Take the app, the tokens, and the parts shared with the rest of the service."""
        self._app = app
        self._tokens = tokens
        self._clock = clock
        self._faults = faults

    def authorize(self, request: Request) -> Response:
        """Show the consent page, or go straight back to the app's redirect_uri with a code and the state as it came."""
        asked = dict(request.query)
        problem = self._consent_problem(asked)
        if problem:
            return Response(
                400, {"Content-Type": "text/html; charset=utf-8"}, f"<p>{html.escape(problem)}</p>".encode()
            )
        decision = asked.pop("decision", "approve" if self._app.auto_approve or "auto_approve" in asked else "")
        if not decision:
            return _consent_page(asked)
        back = {"error": "access_denied"}
        if decision == "approve":
            scopes = tuple(asked["scope"].split())
            back = {"code": self._tokens.new_code(asked["redirect_uri"], scopes)}
        if "state" in asked and self._faults.take("consent_state_lost", "authorize") is None:
            back["state"] = asked["state"]
        joint = "&" if "?" in asked["redirect_uri"] else "?"
        return Response(302, {"Location": f"{asked['redirect_uri']}{joint}{urlencode(back)}"}, b"")

    def token(self, form: dict[str, str]) -> Response:
        """Give an access token and a new refresh token for a code or a refresh token."""
        early = self._refused_early(form) or _refused_grant_type(form)
        if early is not None:
            return early
        pair = self._redeemed(form)
        if pair is None:
            return _oauth_error(
                "invalid_grant", "The provided authorization grant is invalid, expired or revoked.", 400
            )
        return json_response(200, _token_document(*pair, at_s=self._clock.now() // 1000), _JSON)

    def s2s(self, install_id: str, request: Request) -> Response:
        """Give a server-to-server access token for an RS256-signed JWT with iss, iat and exp <= iat + 3600 s.

        Raises:
            Unauthorized: the JWT is not right.
            NotFound: no such installation.
        """
        if install_id != self._app.install_id:
            raise NotFound("Could not find install with that id.")
        claims = self._claims(bearer_token(request))
        if claims.get("iss") != self._app.s2s_guid:
            raise Unauthorized("The issuer of the token is not this app.")
        now, issued, expires = self._clock.now() / 1000, _time_claim(claims, "iat"), _time_claim(claims, "exp")
        if issued > now + _S2S_CLOCKS_DIFFER_S:
            raise Unauthorized("The token is not valid yet.")
        if expires <= now or not 0 < expires - issued <= _S2S_LONGEST_S:
            raise Unauthorized("The token is expired, or valid for more than an hour.")
        grant = self._tokens.new_s2s()
        return json_response(200, {"data": {"meta": {"accessToken": grant.token}}})

    def _consent_problem(self, asked: dict[str, str]) -> str:
        if asked.get("client_id") != self._app.client_id:
            return "Unknown client_id."
        if asked.get("response_type") != "code" or not asked.get("redirect_uri"):
            return "response_type must be code, and redirect_uri given."
        unknown = set(asked.get("scope", "").split()) - _SCOPES
        return f"Unknown or no scope: {' '.join(sorted(unknown))}." if unknown or not asked.get("scope") else ""

    def _refused_early(self, form: dict[str, str]) -> Response | None:
        if self._faults.take("refresh_refused_once", "token") is not None:
            self._faults.off("refresh_refused_once")
            return Response(503, {"Content-Type": "text/plain"}, b"upstream connect error")
        credentials = (form.get("client_id", ""), form.get("client_secret", ""))
        if credentials != (self._app.client_id, self._app.client_secret):
            return _oauth_error("invalid_client", "Client authentication failed.", 401)
        revoked = self._faults.take("refresh_revoked", "token")
        if revoked is not None:
            return _revoked(revoked)
        too_soon = self._faults.take("token_minute_rule", "token") if self._tokens.within_minute() else None
        return None if too_soon is None else _too_many_tokens(too_soon)

    def _redeemed(self, form: dict[str, str]) -> tuple[Grant, Grant] | None:
        if form["grant_type"] == "authorization_code":
            return self._tokens.redeem_code(form.get("code", ""), form.get("redirect_uri", ""))
        hard = self._faults.take("refresh_rotates_hard", "token") is not None
        return self._tokens.refresh(form.get("refresh_token", ""), kill_old=hard)

    def _claims(self, token: str) -> dict[str, Any]:
        """Verify and read a JWT. Without PyJWT (the extra `s2s`) or a public key nothing can be verified: refuse."""
        try:
            jwt: Any = importlib.import_module("jwt")
        except ImportError:
            raise Unauthorized("This sandbox verifies tokens with PyJWT, which is not installed.") from None
        if self._app.s2s_public_key is None:
            raise Unauthorized("The app has no public key.")
        options = {"verify_exp": False, "verify_iat": False}  # the sandbox's clock decides, not this machine's
        try:
            claims: dict[str, Any] = jwt.decode(token, self._app.s2s_public_key, algorithms=["RS256"], options=options)
        except jwt.PyJWTError:
            raise Unauthorized("The signature is not valid.") from None
        return claims


def bearer_token(request: Request) -> str:
    """Read the bearer token of a request, '' without one; the scheme may be written in any case."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _time_claim(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unauthorized(f"The token's {name} is no time.")
    return value


def read_form(request: Request) -> dict[str, str]:
    """Read the body of a token request, form or JSON."""
    if "json" in request.headers.get("Content-Type", ""):
        try:
            document = json.loads(request.body)
        except ValueError:
            return {}
        return {str(name): str(value) for name, value in document.items()} if isinstance(document, dict) else {}
    return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))


def _token_document(access: Grant, refresh: Grant, *, at_s: int) -> dict[str, object]:
    return {
        "access_token": access.token,
        "token_type": "Bearer",
        "expires_in": 7200,
        "refresh_token": refresh.token,
        "scope": " ".join(access.scopes),
        "created_at": at_s,
    }


def _refused_grant_type(form: dict[str, str]) -> Response | None:
    """Refuse what is no way to a token here, in the words of OAuth (RFC 6749, section 5.2)."""
    asked = form.get("grant_type")
    if asked is None:
        return _oauth_error("invalid_request", "The grant_type is missing.", 400)
    if asked not in _GRANT_TYPES:
        return _oauth_error("unsupported_grant_type", "The authorization grant type is not supported.", 400)
    return None


def _oauth_error(error: str, description: str, status: int) -> Response:
    return json_response(status, {"error": error, "error_description": description}, _JSON)


def _revoked(options: Mapping[str, object]) -> Response:
    status, form = int(str(options.get("status", 400))), options.get("form", "json")
    if form != "json":
        body = b"<html><body>Unauthorized</body></html>" if form == "html" else b""
        return Response(status, {"Content-Type": "text/html; charset=utf-8"}, body)
    return _oauth_error(str(options.get("error", "invalid_grant")), "The refresh token was revoked.", status)


def _too_many_tokens(options: Mapping[str, object]) -> Response:
    detail = "Only one access token may be created per user and application within 60 seconds."
    document = {"errors": [{"id": "rateLimitExceeded", "title": "Rate Limit Exceeded", "detail": detail}]}
    response = json_response(429, document, _JSON)
    if "retry_after" in options:
        response.headers["Retry-After"] = str(options["retry_after"])
    return response


def _consent_page(asked: dict[str, str]) -> Response:
    approve = html.escape(f"{AUTHORIZE_PATH}?{urlencode({**asked, 'decision': 'approve'})}")
    deny = html.escape(f"{AUTHORIZE_PATH}?{urlencode({**asked, 'decision': 'deny'})}")
    scopes = "".join(f"<li>{html.escape(scope)}</li>" for scope in asked["scope"].split())
    page = (
        "<!doctype html><title>Sandbox: consent</title><h1>Allow this app to read?</h1>"
        f'<ul>{scopes}</ul><p><a id="approve" href="{approve}">Allow</a> <a id="deny" href="{deny}">Deny</a></p>'
    )
    return Response(200, {"Content-Type": "text/html; charset=utf-8"}, page.encode())
