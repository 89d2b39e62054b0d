"""`auth`: the consent of a user of Outreach, and what is known of the tokens."""

from __future__ import annotations

import secrets
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from outreach_sync.cli.context import Invocation, as_json, invocation
from outreach_sync.cli.output import print_json
from outreach_sync.cli.signals import stop_on_signals
from outreach_sync.errors import LockHeldError, NotAllowedError, NotAuthenticatedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from outreach_sync.config.model import Config
    from outreach_sync.consent import Listener
    from outreach_sync.http import StopSignal
    from outreach_sync.outreach.tokenfile import StoredTokens
    from outreach_sync.outreach.tokens import OAuthTokens

_CONSENT_SECONDS = 600.0
_LOCK_PAUSES = 60
_LOCK_PAUSE_SECONDS = 0.5


@click.group()
def auth() -> None:
    """Give consent for Outreach, and see what is known of the tokens."""


@auth.command()
@click.option("--paste", is_flag=True, help="Do not listen: take the address, or the code, from stdin.")
@as_json
@invocation
def login(context: Invocation, paste: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes options so
    """Open the printed address in a browser and allow access; the tokens are then stored beside the state.

    Where outreach.redirect_uri is an http address on this machine, the code is taken from there. Otherwise the browser
    ends at an address that it may not be able to open: paste that address here.
    """
    config = context.config()
    if config.outreach.s2s is not None:
        raise UsageError(
            "the config uses server-to-server access (outreach.s2s), which needs no consent.",
            advice="`outreach-sync check` tries whether it works.",
        )
    from outreach_sync import assembly  # noqa: PLC0415 - after the config is known to be right
    from outreach_sync.outreach.tokens import OAuthTokens  # noqa: PLC0415

    with stop_on_signals() as stop:
        tokens = assembly.outreach_tokens(config, assembly.outreach_transport(config, stop), stop)
        assert isinstance(tokens, OAuthTokens)  # noqa: S101 - there is no s2s section
        assembly.token_file(config.state.path).prove_writable()  # a consent for nothing would be asked for again
        state = secrets.token_urlsafe(24)
        with ExitStack() as until_it_came:
            listener = None if paste else _listener(config, state, until_it_came)
            click.echo(f"Open this address and allow access:\n\n{tokens.authorize_url(state)}\n", err=as_json)
            code = _pasted(state) if listener is None else listener.code(stop, seconds=_CONSENT_SECONDS)
        stored = _exchanged(tokens, code, config, stop)
    _tell(stored, as_json=as_json)


def _listener(config: Config, state: str, until: ExitStack) -> Listener | None:
    """Listen where the browser will bring the code, before anybody can send it there; None where we cannot."""
    from outreach_sync.consent import Listener, landing_of  # noqa: PLC0415 - only for a login

    landing = landing_of(config.outreach.redirect_uri)
    if landing is None:
        return None
    try:
        listener = until.enter_context(Listener(landing, state))
    except OSError as problem:
        click.echo(f"Port {landing.port} cannot be listened on ({problem.strerror}).", err=True)
        return None
    click.echo(f"Waiting for the browser on port {landing.port}...", err=True)
    return listener


def _pasted(state: str) -> str:
    """Read a line; signals end it as usual, since a read does not see a request to stop."""
    import signal  # noqa: PLC0415

    from outreach_sync.consent import code_from  # noqa: PLC0415

    click.echo("Paste the address that the browser ended at (it begins with the redirect URI), or the code:", err=True)
    with ExitStack() as restore:
        usually = (
            (signal.SIGINT, signal.default_int_handler),
            (signal.SIGTERM, signal.SIG_DFL),
            (signal.SIGHUP, signal.SIG_DFL),
        )
        for number, usual in usually:
            restore.callback(signal.signal, number, signal.signal(number, usual))
        return code_from(sys.stdin.readline(), state)


def _exchanged(tokens: OAuthTokens, code: str, config: Config, stop: StopSignal) -> StoredTokens:
    """Exchange the code under the run lock; a cycle that goes on is given half a minute to end."""
    from outreach_sync.state.lock import run_lock  # noqa: PLC0415

    for pauses_left in reversed(range(_LOCK_PAUSES)):
        try:
            with run_lock(config.state.path, "auth login"):
                return tokens.exchange_code(code)
        except LockHeldError:
            if pauses_left == 0 or stop.wait(_LOCK_PAUSE_SECONDS):
                raise
    raise AssertionError  # the last pause either returned or raised


def _tell(stored: StoredTokens, *, as_json: bool) -> None:
    from outreach_sync.consent import missing_scopes  # noqa: PLC0415
    from outreach_sync.outreach.tokens import SCOPES  # noqa: PLC0415

    missing = missing_scopes(stored.scope, SCOPES)
    if as_json:
        print_json({"stored": True, "scopes": sorted(stored.scope.split()), "missing_scopes": list(missing)})
    else:
        click.echo("Stored. Runs renew the tokens by themselves, as long as one is made every 14 days.")
    if missing:
        raise NotAllowedError(
            f"the tokens work, but lack scopes: {', '.join(missing)}.",
            advice="Add them to the app in Outreach, then run `outreach-sync auth login` again.",
        )


@auth.command()
@as_json
@invocation
def status(context: Invocation, as_json: bool) -> None:  # noqa: FBT001 - click passes options so
    """Show how long the tokens live and what they allow; never the tokens. Asks nobody.

    Exit status: 0; 3 where consent has to be given before the next run.
    """
    config = context.config(require_secrets=False)
    from outreach_sync import assembly, instants  # noqa: PLC0415
    from outreach_sync.insight.tokens import OAUTH, S2S, tokens_document  # noqa: PLC0415

    variant = OAUTH if config.outreach.s2s is None else S2S
    stored = assembly.token_file(config.state.path).read()
    first_token = config.outreach.refresh_token is not None
    document = tokens_document(variant, stored, instants.now(), first_token=first_token)
    if as_json:
        print_json(document)
    else:
        for line in _lines(document):
            click.echo(line)
    if not document["authenticated"]:
        raise NotAuthenticatedError(document["warning"])


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    if document["variant"] == "s2s":
        yield "Server-to-server access: tokens of an hour are made from the private key; no consent, no refresh token."
    else:
        yield "OAuth, by a user's consent."
    access, refresh = document["access_token"], document["refresh_token"]
    if access is None:
        yield "Access token: none stored; the next run gets one."
    elif access["expires_at"] is not None:
        yield f"Access token: until {access['expires_at']} ({access['seconds_left'] // 60} minutes left)."
    if refresh is not None and refresh["issued_at"] is not None:
        yield (
            f"Refresh token: {refresh['age_days']:g} days old, dies after 14 idle days ({refresh['expires_at']}); "
            f"each run that needs a token renews it."
        )
    if document["scopes"]:
        yield f"Scopes: {', '.join(document['scopes'])}."
    if document["warning"] and document["authenticated"]:
        yield f"Warning: {document['warning']}."
