"""Who we are to Outreach: the two kinds of app, and their tokens, got in time, kept on disk, and never lost.

Facts (developers.outreach.io, and public clients where it is silent): an access token lives two hours, and there is one
for each user and app in 60 s, otherwise 429. Each refresh returns a new refresh token, and whether the old one still
works is disputed. So there is one refresh at a time, over all threads and processes, and the new refresh token is on
disk before the new access token is used. A server-to-server app has no refresh token: it signs who it is (RS256, `iss`
its S2S GUID, `exp` at most an hour later) and gets an access token for an hour, in `data.meta.accessToken`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import stat
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import msgspec

from outreach_sync import files, instants
from outreach_sync.config.model import Config, revealed
from outreach_sync.errors import ConfigError, NotAuthenticatedError, StateError
from outreach_sync.http import BusyError, GarbledError, Patience, ThrottledError, retry_after
from outreach_sync.instants import Instant
from outreach_sync.log import keep_secret
from outreach_sync.outreach.rows import parsed_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from outreach_sync.connections import Answer, Transport

LOG_IN = "Run `outreach-sync auth login`, or put a fresh refresh token into outreach.refresh_token."
SCOPES = ("sequenceStates.read", "tasks.read", "prospects.read", "sequences.read", "events.read")  # to consent to
TOKENS = ".tokens"  # the ending of the token file, which is beside the state
_DEFAULT_LIFE_S = 7200
_S2S_LIFE_S = 3600
_STATEMENT_LIFE_S = 3000  # an hour is the most; less leaves room for clocks that differ
_SHORTEST_KEY_BITS = 2048  # RFC 7518, 3.3
_LONGEST_WORD = 80
_EXPIRY_MARGIN_MS = 5 * 60_000
_REFRESH_TOKEN_MAX_AGE_MS = 7 * 86_400_000
_JSON_API = "application/vnd.api+json"
_KEYS = {  # What other keys say of themselves.
    "ENCRYPTED": "is encrypted with a passphrase",
    "PuTTY-User-Key-File": "is a key in PuTTY's own form",
    "PUBLIC KEY": "is a public key",
    "CERTIFICATE": "is a certificate",
    "ssh-rsa": "is a public key",
    "EC PRIVATE KEY": "is an EC key",
    "OPENSSH PRIVATE KEY": "is a key in OpenSSH's own form",
}


class StoredTokens(NamedTuple):
    """What is known of our tokens. Times are by Outreach's clock."""

    access_token: str = ""
    expires_at: Instant | None = None
    refresh_token: str = ""
    issued_at: Instant | None = None
    scope: str = ""
    seed: str = ""  # names the app and the first refresh token of the config that this chain grew from
    clock_offset_ms: int | None = None  # Outreach's clock minus this machine's when they came, until an answer tells
    app: str = ""  # names the app (its client_id, or its installation); '': an older version wrote them
    consent: str = ""  # names the consent that this chain grew from; '': it grew from a token of the config


def refusal_of(answer: Answer) -> str:
    """Return the word with which Outreach itself refuses a request; '' where it does not.

    Its API says `{"errors": [{"id": ...}]}`, its token endpoint `{"error": ...}`. A gateway or a challenge page in
    front of it answers 401, 403, 404 and 422 as well, with HTML or text: that refuses nothing, and may pass
    (GarbledError). Raises ThrottledError for 429, at the token endpoint also a second token within 60 s, and BusyError
    for any 5xx.
    """
    status = answer.status
    if 200 <= status < 300:  # noqa: PLR2004 - the status says more than a name, here and below
        return ""
    asked = retry_after(answer.headers, status, answer.server_time)
    if status == 429:  # noqa: PLR2004
        raise ThrottledError("the service answered 429, too many requests", asked_seconds=asked)
    if status >= 500:  # noqa: PLR2004
        raise BusyError(f"the service answered {status}", status=status, asked_seconds=asked)
    if 300 <= status < 400:  # noqa: PLR2004
        raise GarbledError("the answer is a redirect, which is not followed")
    content = parsed_object(answer.body) or {}
    errors, word, usual = content.get("errors"), content.get("error"), ""
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        word, usual = errors[0].get("id"), f"status {status}"
    word = word[:_LONGEST_WORD] if isinstance(word, str) and word.isprintable() else ""  # it goes into a message
    if not (word or usual):
        raise GarbledError(f"the answer ({status}) is not Outreach's: a gateway in front of it may have made it")
    return word or usual


class App(NamedTuple):
    """Who we are to Outreach, by the config."""

    name: str  # of the app: `app` of stored tokens
    seed: str  # names the app and the first token that the config holds: `seed` of stored tokens
    credentials: Mapping[str, Any]  # the keys without which there is no token, and what the config holds of them


def app_of(config: Config) -> App:
    """Return who we are by the config: the OAuth application, or the server-to-server app."""
    outreach, s2s = config.outreach, config.outreach.s2s
    if s2s is None:
        first = outreach.refresh_token.get_secret_value() if outreach.refresh_token else ""
        named: tuple[tuple[str | None, ...], ...] = ("oauth", outreach.client_id), (outreach.client_id, first)
        needed = {f"outreach.{name}": getattr(outreach, name) for name in ("client_id", "client_secret")}
    else:
        named = ("s2s", s2s.install_id), ("s2s", s2s.install_id, s2s.app_guid)
        needed = {f"outreach.s2s.{name}": getattr(s2s, name) for name in ("install_id", "app_guid", "private_key")}
    app, seed = (hashlib.sha256("\0".join(part or "" for part in parts).encode()).hexdigest() for parts in named)
    return App(app, seed, needed)


def signed(claims: dict[str, Any], key: str) -> str:
    """Sign a statement with an RSA key in PEM form (RS256); ConfigError: it is none, or the extra `s2s` is missing."""
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
    except (TypeError, ValueError, UnsupportedAlgorithm):
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


class DamagedTokensError(StateError):
    """The token file holds nothing that makes sense."""


class TokenFile(NamedTuple):
    """The tokens on disk: one small JSON file, readable by its owner only, replaced whole."""

    path: Path

    def read(self) -> StoredTokens | None:
        """Return what is stored, if anything; StateError: it is unreadable, no token file, or others may read it."""
        try:
            mode = self.path.stat().st_mode
            content = files.read_limited(self.path, 65_536) if stat.S_ISREG(mode) else b"?"  # a pipe may never end
            if not content:
                return None
            held = {**StoredTokens()._asdict(), **json.loads(content)}  # a newer version's file may hold more
            stored = msgspec.convert([held[name] for name in StoredTokens._fields], StoredTokens)
        except FileNotFoundError:
            return None
        except OSError as failure:
            raise StateError(
                f"the token file {self.path} cannot be read ({files.refusal(self.path, failure)}).",
                advice="Run this as its owner, or put that right: the tokens may be good, and need no new consent.",
            ) from None
        except (ValueError, TypeError, RecursionError, msgspec.ValidationError):
            raise DamagedTokensError(
                f"the token file {self.path} holds no tokens that make sense.",
                advice="Restore it, or move it away and run `outreach-sync auth login`.",
            ) from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise StateError(
                f"the token file {self.path} may be read by others than its owner.",
                advice=f"Run `chmod 600 {self.path}`; if anyone may have read it, revoke the tokens too.",
            )
        keep_secret(stored.access_token, stored.refresh_token)
        return stored

    def write(self, tokens: StoredTokens) -> None:
        """Replace the file; when this returns, the tokens are on disk. Raises StateError where they are not."""
        keep_secret(tokens.access_token, tokens.refresh_token)
        with self._writing():
            files.write_whole(self.path, json.dumps(tokens._asdict()), private=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold other processes off while tokens are rotated by locking the file; StateError: `write` would not work."""
        with self._writing():
            while True:  # while we waited for the lock, another process may have replaced the file
                descriptor = files.open_private(self.path)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(descriptor), self.path.stat()):
                        break
                os.close(descriptor)
        try:
            with self._writing():
                files.prove_replaceable(self.path)
            yield
        finally:
            if os.fstat(descriptor).st_size == 0:  # it was made for the lock, and unless it was replaced, nothing came
                with suppress(OSError):
                    if self.path.stat().st_size == 0:
                        self.path.unlink()
            os.close(descriptor)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            files.make_directory(self.path.parent)
            yield
        except OSError as failure:
            raise StateError(
                f"the token file {self.path} cannot be written ({files.refusal(self.path, failure)}).",
                advice="Let the user that runs this write there (rights, room); until then no token is refreshed.",
            ) from None


def another_app(path: Path) -> StateError:
    """Say that stored tokens belong to another app than the one that the config names."""
    return StateError(
        f"the tokens in {path} belong to another app than the one that the config names.",
        advice="Give this config a state.path of its own; if the app was replaced, `outreach-sync state rebind` "
        "puts those tokens aside.",
    )


class Tokens:
    """Keeps the tokens of one app in `file`, and gets new ones; safe to be used by several threads and processes."""

    def __init__(self, config: Config, transport: Transport, patience: Patience) -> None:
        """Read nothing yet. Raises ConfigError where a credential is missing."""
        self.file = TokenFile(files.beside(config.state.path, TOKENS))
        self._config, self._transport, self._patience = config, transport, patience
        self._app = app_of(config)
        self._credentials = [revealed(value, name) for name, value in self._app.credentials.items()]
        first = config.outreach.refresh_token if config.outreach.s2s is None else None
        self._first_token = first.get_secret_value() if first else ""
        self._lock = threading.Lock()
        self._stored: StoredTokens | None = None

    def current(self, refused: str = "") -> str:
        """Return an access token, a new one (asked for once, by any thread) if it expires soon or was `refused`."""
        with self._lock:
            stored = self._stored or self._load()
            if stored.access_token == refused or not self._is_fresh(stored):
                with self.file.alone():
                    before, stored = stored, self._load()  # another process may have renewed it since
                    if stored.access_token == before.access_token or not self._is_fresh(stored):
                        stored = self._keep(self._obtain(stored.refresh_token), stored.consent)
            self._stored = stored
            return stored.access_token

    def authorize_url(self, state: str) -> str:
        """Say where a user gives consent; `state` comes back with the code."""
        app = {"client_id": self._credentials[0], "redirect_uri": self._config.outreach.redirect_uri}
        query = app | {"response_type": "code", "scope": " ".join(SCOPES), "state": state}
        return f"{self._config.outreach.base_url}/oauth/authorize?{urlencode(query)}"

    def prove_replaceable(self) -> None:
        """Make sure that a consent could be kept; StateError: another app's tokens are there, or it is not writable."""
        with self.file.alone(), suppress(DamagedTokensError):
            self._load()

    def exchange_code(self, code: str) -> StoredTokens:
        """Exchange the code of a consent for tokens, which replace whatever this app had. Raises as `current`."""
        with self._lock, self.file.alone():
            with suppress(DamagedTokensError):
                self._load()
            granted = self._by_consent("exchanging the code", grant_type="authorization_code", code=code)
            if granted is None:
                raise NotAuthenticatedError(
                    "Outreach refused the code.",
                    advice="Codes work once and briefly: run `outreach-sync auth login` again.",
                )
            self._stored = self._keep(granted, secrets.token_hex(8))
            return self._stored

    def _load(self) -> StoredTokens:
        """Prefer the stored chain, unless the config holds another first token than the one it grew from."""
        stored = self.file.read()
        if stored is not None and stored.app not in {"", self._app.name}:  # '': an older version wrote them
            raise another_app(self.file.path)
        consented = self._config.outreach.s2s is None and not self._first_token
        if stored is not None and (stored.seed == self._app.seed or consented):
            return stored
        return StoredTokens(refresh_token=self._first_token)

    def _is_fresh(self, stored: StoredTokens) -> bool:
        """Say whether to use it; in doubt yes: a refusal costs one request, a needless refresh rotates a token."""
        if not stored.access_token:
            return False
        at = self._transport.server_now()
        if at is None:
            if stored.clock_offset_ms is None:
                return True
            at = Instant(instants.now() + stored.clock_offset_ms)
        life = (stored.expires_at or at) - (stored.issued_at or at)
        expires = stored.expires_at is not None and at > stored.expires_at - min(_EXPIRY_MARGIN_MS, life // 10)
        ages = stored.issued_at is not None and at > stored.issued_at + _REFRESH_TOKEN_MAX_AGE_MS
        return not (expires or ages)

    def _keep(self, granted: StoredTokens, consent: str) -> StoredTokens:
        now = self._transport.server_now()
        offset = None if now is None else now - instants.now()
        stored = granted._replace(seed=self._app.seed, clock_offset_ms=offset, app=self._app.name, consent=consent)
        self.file.write(stored)
        return stored

    def _obtain(self, refresh_token: str) -> StoredTokens:
        """Sign who we are, or refresh: with the stored token, and where that is refused with the one of the config."""
        if self._config.outreach.s2s is not None:
            return self._patience.ask("Outreach, asking for a server-to-server token", self._by_signature)
        candidates = tuple(dict.fromkeys(filter(None, (refresh_token, self._first_token))))
        if not candidates:
            raise NotAuthenticatedError("there is no refresh token for Outreach.", advice=LOG_IN)
        for candidate in candidates:
            granted = self._by_consent("refreshing the token", grant_type="refresh_token", refresh_token=candidate)
            if granted is not None:
                return granted._replace(refresh_token=granted.refresh_token or candidate)
        raise NotAuthenticatedError("Outreach no longer accepts the refresh token.", advice=LOG_IN)

    def _by_consent(self, what: str, **grant: str) -> StoredTokens | None:
        """Ask for the tokens of a user who gave consent (refresh token '': none came); None: the grant is dead."""
        client_id, secret = self._credentials
        form = {"client_id": client_id, "client_secret": secret, **grant}
        form["redirect_uri"] = self._config.outreach.redirect_uri
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}

        def attempt(left: float) -> StoredTokens | None:
            answer = self._post("/oauth/token", left, headers, urlencode(form))
            error = refusal_of(answer)
            if error == "invalid_grant":  # consent mends it, unlike an app that is not known
                return None
            if error == "invalid_client":
                raise NotAuthenticatedError(
                    "Outreach does not know this client_id with this client_secret.",
                    advice="Compare outreach.client_id and outreach.client_secret with the app's page in Outreach.",
                )
            if error:
                raise NotAuthenticatedError(f"Outreach refused to give a token ({error}).", advice=LOG_IN)
            content = parsed_object(answer.body) or {}
            created, life = content.get("created_at"), content.get("expires_in")
            issued = answer.server_time or (Instant(created * 1000) if isinstance(created, int) else None)
            life_ms = (life if isinstance(life, int) and life > 0 else _DEFAULT_LIFE_S) * 1000
            texts = (content.get(name) for name in ("access_token", "refresh_token", "scope"))
            token, rotated, scope = (text if isinstance(text, str) else "" for text in texts)
            if not token:
                raise GarbledError(f"the token endpoint answered {answer.status} without a token")
            return StoredTokens(token, None if issued is None else Instant(issued + life_ms), rotated, issued, scope)

        return self._patience.ask(f"Outreach, {what}", attempt)

    def _by_signature(self, left: float) -> StoredTokens:
        """Ask for the token of an app that an administrator installed, which signs who it is."""
        install, guid, key = self._credentials
        by_our_own_clock = self._transport.server_time is None
        while True:
            issued = (self._transport.server_now() or instants.now()) // 1000
            statement = signed({"iat": issued, "exp": issued + _STATEMENT_LIFE_S, "iss": guid}, key)
            headers = {"Authorization": f"Bearer {statement}", "Content-Type": _JSON_API, "Accept": _JSON_API}
            answer = self._post(f"/api/app/installs/{install}/actions/accessToken", left, headers)
            if not (by_our_own_clock and 400 <= answer.status < 500):  # noqa: PLR2004
                break
            by_our_own_clock = False  # the refusal told the time, and a wrong clock of ours may have been its reason
        if error := refusal_of(answer):
            raise NotAuthenticatedError(
                f"Outreach refused the server-to-server app ({answer.status}, {error}).",
                advice="Compare install_id, app_guid and the key; ask an administrator whether the app is installed.",
            )
        content: Any = parsed_object(answer.body)
        for name in ("data", "meta", "accessToken"):
            content = content.get(name) if isinstance(content, dict) else None
        if not isinstance(content, str) or not content:
            raise GarbledError(f"the answer ({answer.status}) holds no server-to-server token")
        at = answer.server_time
        return StoredTokens(content, None if at is None else Instant(at + _S2S_LIFE_S * 1000), issued_at=at)

    def _post(self, path: str, left: float, headers: dict[str, str], body: str | None = None) -> Answer:
        outreach = self._config.outreach
        url, seconds = f"{outreach.base_url}{path}", min(outreach.timeout_ms / 1000, left)
        return self._transport.send("POST", url, body=body, headers=headers, timeout_seconds=seconds)
