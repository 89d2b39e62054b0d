"""The two kinds of app that Outreach knows, and how each gets an access token.

Facts (developers.outreach.io, and public clients where it is silent): an access token lives two hours, and there is one
for each user and app in 60 s, otherwise 429. Each refresh returns a new refresh token, and whether the old one still
works is disputed. A server-to-server app has no refresh token: it signs who it is (RS256, `iss` its S2S GUID, `exp` at
most an hour later) and gets an access token for an hour, in `data.meta.accessToken`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from outreach_sync import instants
from outreach_sync.config.model import revealed
from outreach_sync.errors import ConfigError, NotAuthenticatedError, OutreachSyncError
from outreach_sync.http import BusyError, GarbledError, ThrottledError, retry_after
from outreach_sync.instants import Instant
from outreach_sync.outreach.odd import parsed_object

if TYPE_CHECKING:
    from outreach_sync.config.model import S2S, Config
    from outreach_sync.http import Answer, Patience, Transport

LOG_IN = "Run `outreach-sync auth login`, or put a fresh refresh token into outreach.refresh_token."
"""What to do when consent is needed anew."""

SCOPES = ("sequenceStates.read", "tasks.read", "prospects.read", "sequences.read", "events.read")
"""What consent is asked for."""

_DEFAULT_LIFE_S = 7200
_S2S_LIFE_S = 3600
_STATEMENT_LIFE_S = 3000  # an hour is the most; less leaves room for clocks that differ
_SHORTEST_KEY_BITS = 2048  # RFC 7518, 3.3
_LONGEST_WORD = 80
_JSON_API = "application/vnd.api+json"
_KEYS = {
    "PUBLIC KEY": "is a public key",
    "CERTIFICATE": "is a certificate",
    "ssh-rsa": "is a public key",
    "ENCRYPTED": "is encrypted with a passphrase",
    "EC PRIVATE KEY": "is an EC key",
    "OPENSSH PRIVATE KEY": "is a key in OpenSSH's own form",
}
"""What other keys say of themselves."""


# What Outreach answers


class GrantRefusedError(OutreachSyncError):
    """Outreach no longer accepts this refresh token or code."""

    exit_status = 3


class Grant(NamedTuple):
    """What Outreach gave. `refresh_token` is '' where it gave none."""

    access_token: str
    refresh_token: str
    expires_at: Instant | None
    issued_at: Instant | None
    scope: str


def raise_if_not_now(answer: Answer) -> None:
    """Let an answer that means "later" end the attempt.

    Raises:
        ThrottledError: 429, which at the token endpoint also means a second token within 60 s.
        BusyError: any 5xx.
    """
    asked = retry_after(answer.headers, answer.status, answer.server_time)
    if answer.status == 429:  # noqa: PLR2004 - the status says more than a name
        raise ThrottledError("the service answered 429, too many requests", asked_seconds=asked)
    if answer.status >= 500:  # noqa: PLR2004
        raise BusyError(f"the service answered {answer.status}", status=answer.status, asked_seconds=asked)


def refusal_of(answer: Answer) -> str:
    """Return the word with which Outreach itself refuses a request.

    Its API says `{"errors": [{"id": ...}]}`, its token endpoint `{"error": ...}`. A gateway or a challenge page in
    front of it answers 401, 403, 404 and 422 as well, with HTML or text: that refuses nothing, and may pass.

    Raises:
        GarbledError: it is not Outreach that answers.
    """
    content = parsed_object(answer.body) or {}
    errors = content.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return _word(errors[0].get("id")) or f"status {answer.status}"
    error = _word(content.get("error"))
    if not error:
        raise GarbledError(f"the answer ({answer.status}) is not Outreach's: a gateway in front of it may have made it")
    return error


def grant_of(answer: Answer) -> Grant:
    """Read what the token endpoint gave.

    Raises:
        GrantRefusedError: the refresh token or code is dead.
        NotAuthenticatedError: it refuses the app, or for another reason.
        ThrottledError, BusyError, GarbledError: it may pass.
    """
    raise_if_not_now(answer)
    if answer.status >= 300:  # noqa: PLR2004 - the status says more than a name
        raise _refused(refusal_of(answer))
    content = parsed_object(answer.body) or {}
    token, created, life = (content.get(name) for name in ("access_token", "created_at", "expires_in"))
    if not isinstance(token, str) or not token:
        raise GarbledError(f"the token endpoint answered {answer.status} without a token")
    at = answer.server_time
    issued = at if at is not None or not isinstance(created, int) else Instant(created * 1000)
    life_ms = (life if isinstance(life, int) and life > 0 else _DEFAULT_LIFE_S) * 1000
    return Grant(
        access_token=token,
        refresh_token=_text(content.get("refresh_token")),
        expires_at=None if issued is None else Instant(issued + life_ms),
        issued_at=issued,
        scope=_text(content.get("scope")),
    )


def _refused(error: str) -> OutreachSyncError:
    """Tell a dead refresh token, which consent mends, from an app that is not known."""
    if error == "invalid_grant":
        return GrantRefusedError("the grant is refused")
    if error == "invalid_client":
        return NotAuthenticatedError(
            "Outreach does not know this client_id with this client_secret.",
            advice="Compare outreach.client_id and outreach.client_secret with the app's page in Outreach.",
        )
    return NotAuthenticatedError(f"Outreach refused to give a token ({error}).", advice=LOG_IN)


def _word(value: object) -> str:
    """Return a word that a service gave, bounded, since it goes into a message."""
    return value[:_LONGEST_WORD] if isinstance(value, str) and value.isprintable() else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


# The two kinds of app


class OAuthApp:
    """An app that a user gives consent to: a refresh token, rotated with each use, leads to access tokens."""

    def __init__(self, config: Config, transport: Transport, patience: Patience) -> None:
        """Ask for nothing yet.

        Raises:
            ConfigError: a credential is missing.
        """
        outreach = config.outreach
        self.first_token = outreach.refresh_token.get_secret_value() if outreach.refresh_token else ""
        self._client_id = revealed(outreach.client_id, "outreach.client_id")
        self._secret = revealed(outreach.client_secret, "outreach.client_secret")
        self.name, self.seed = app_of(config)
        self._redirect_uri = outreach.redirect_uri
        self._base_url = outreach.base_url
        self._timeout = outreach.timeout_ms / 1000
        self._transport = transport
        self._patience = patience

    def obtain(self, refresh_token: str) -> Grant:
        """Refresh with the stored token; if that is refused and the config has another, once with that.

        Raises:
            NotAuthenticatedError: there is none, or none is accepted any more.
        """
        candidates = tuple(dict.fromkeys(filter(None, (refresh_token, self.first_token))))
        if not candidates:
            raise NotAuthenticatedError("there is no refresh token for Outreach.", advice=LOG_IN)
        for candidate in candidates:
            try:
                grant = self._ask("refreshing the token", grant_type="refresh_token", refresh_token=candidate)
            except GrantRefusedError:
                continue
            return grant._replace(refresh_token=grant.refresh_token or candidate)
        raise NotAuthenticatedError("Outreach no longer accepts the refresh token.", advice=LOG_IN)

    def exchange(self, code: str) -> Grant:
        """Exchange the code of a consent.

        Raises:
            NotAuthenticatedError: it is refused.
        """
        try:
            return self._ask("exchanging the code", grant_type="authorization_code", code=code)
        except GrantRefusedError:
            raise NotAuthenticatedError(
                "Outreach refused the code.",
                advice="Codes work once and briefly: run `outreach-sync auth login` again.",
            ) from None

    def authorize_url(self, state: str) -> str:
        """Say where a user gives consent; `state` comes back with the code."""
        query = {
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "response_type": "code",
            "scope": " ".join(SCOPES),
            "state": state,
        }
        return f"{self._base_url}/oauth/authorize?{urlencode(query)}"

    def _ask(self, what: str, **parameters: str) -> Grant:
        form = {"client_id": self._client_id, "client_secret": self._secret, **parameters}
        if self._redirect_uri:
            form["redirect_uri"] = self._redirect_uri

        def attempt(left: float) -> Grant:
            answer = self._transport.send(
                "POST",
                f"{self._base_url}/oauth/token",
                body=urlencode(form),
                headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
                timeout_seconds=min(self._timeout, left),
            )
            return grant_of(answer)

        return self._patience.ask(f"Outreach, {what}", attempt)


class InstalledApp:
    """A server-to-server app that an administrator installed: it signs who it is."""

    first_token = ""

    def __init__(self, config: Config, s2s: S2S, transport: Transport, patience: Patience) -> None:
        """Ask for nothing yet.

        Raises:
            ConfigError: a credential is missing.
        """
        install = revealed(s2s.install_id, "outreach.s2s.install_id")
        self._guid = revealed(s2s.app_guid, "outreach.s2s.app_guid")
        self._key = revealed(s2s.private_key, "outreach.s2s.private_key")
        self.name, self.seed = app_of(config)
        self._url = f"{config.outreach.base_url}/api/app/installs/{install}/actions/accessToken"
        self._timeout = config.outreach.timeout_ms / 1000
        self._transport = transport
        self._patience = patience

    def obtain(self, _refresh_token: str) -> Grant:
        """Sign who we are.

        Raises:
            NotAuthenticatedError: Outreach refuses our statement.
            ConfigError: the extra `s2s` is not installed, or the key is not one that can sign.
        """
        return self._patience.ask("Outreach, asking for a server-to-server token", self._attempt)

    def _attempt(self, left: float) -> Grant:
        by_our_own_clock = self._transport.server_time is None
        answer = self._send(left)
        if 400 <= answer.status < 500 and by_our_own_clock:  # noqa: PLR2004 - the refusal told the time
            answer = self._send(left)  # and a wrong clock of ours may have been its reason
        raise_if_not_now(answer)
        if answer.status >= 300:  # noqa: PLR2004
            raise NotAuthenticatedError(
                f"Outreach refused the server-to-server app ({answer.status}, {refusal_of(answer)}).",
                advice="Compare install_id, app_guid and the key; ask an administrator whether the app is installed.",
            )
        content: Any = parsed_object(answer.body)
        for name in ("data", "meta", "accessToken"):
            content = content.get(name) if isinstance(content, dict) else None
        if not isinstance(content, str) or not content:
            raise GarbledError(f"the answer ({answer.status}) holds no server-to-server token")
        at = answer.server_time
        return Grant(content, "", None if at is None else Instant(at + _S2S_LIFE_S * 1000), at, "")

    def _send(self, left: float) -> Answer:
        issued = (self._transport.server_now() or instants.now()) // 1000
        statement = signed({"iat": issued, "exp": issued + _STATEMENT_LIFE_S, "iss": self._guid}, self._key)
        headers = {"Authorization": f"Bearer {statement}", "Content-Type": _JSON_API, "Accept": _JSON_API}
        return self._transport.send("POST", self._url, headers=headers, timeout_seconds=min(self._timeout, left))


def signed(claims: dict[str, Any], key: str) -> str:
    """Sign a statement with an RSA private key in PEM form (RS256).

    Raises:
        ConfigError: the extra `s2s` is not installed, or the key is not such a key.
    """
    try:
        import jwt  # noqa: PLC0415 - an extra, and only for this kind of app
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415
    except ImportError:
        raise ConfigError(
            "outreach.s2s needs the extra `s2s`.", advice="Install it: pip install 'outreach-sync[s2s]'."
        ) from None
    what = next((says for mark, says in _KEYS.items() if mark in key), "is not an RSA private key in PEM form")
    try:
        private = load_pem_private_key(key.encode(), None)
    except TypeError:
        what = _KEYS["ENCRYPTED"]
    except (ValueError, UnsupportedAlgorithm):
        pass
    else:
        if isinstance(private, RSAPrivateKey) and private.key_size >= _SHORTEST_KEY_BITS:
            return jwt.encode(claims, private, algorithm="RS256")
        kind = type(private).__name__.removeprefix("_").removesuffix("PrivateKey")
        what = f"has only {private.key_size} bits" if isinstance(private, RSAPrivateKey) else f"is of the kind {kind}"
    raise ConfigError(
        f"outreach.s2s.private_key {what}; an RSA private key in PEM form, of {_SHORTEST_KEY_BITS} bits or more and "
        "without a passphrase, is needed.",
        advice="Use the key file that was downloaded when the app was made.",
    )


def app_of(config: Config) -> tuple[str, str]:
    """Name the app that the config means, and its first token that the config holds: `app` and `seed` of tokens."""
    outreach, s2s = config.outreach, config.outreach.s2s
    if s2s is not None:
        return _digest("s2s", s2s.install_id), _digest("s2s", s2s.install_id, s2s.app_guid)
    first = outreach.refresh_token.get_secret_value() if outreach.refresh_token else ""
    return _digest("oauth", outreach.client_id), _digest(outreach.client_id, first)


def _digest(*parts: str | None) -> str:
    return hashlib.sha256("\0".join(part or "" for part in parts).encode()).hexdigest()
