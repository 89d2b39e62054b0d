"""`auth`: the consent of a user of Outreach, and what is known of the tokens."""

from __future__ import annotations

import secrets
import signal
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from outreach_sync import instants
from outreach_sync.cli.context import FullHelp, Invocation, as_json, invocation
from outreach_sync.cli.output import print_json, say
from outreach_sync.cli.signals import stop_on_signals
from outreach_sync.consent import Listener, code_from, landing_of, missing_scopes, tokens_document
from outreach_sync.errors import NotAllowedError, NotAuthenticatedError, UsageError
from outreach_sync.outreach.auth import SCOPES, OAuthApp
from outreach_sync.outreach.client import Outreach
from outreach_sync.store.lock import run_lock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from outreach_sync.config.model import Config
    from outreach_sync.outreach.auth import StoredTokens

_CONSENT_SECONDS = 600.0


@click.group(cls=FullHelp)
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
    with stop_on_signals() as stop:
        tokens = Outreach(config, stop).tokens
        app = tokens.app
        assert isinstance(app, OAuthApp)  # noqa: S101 - there is no s2s section
        tokens.prove_replaceable()  # a consent for nothing would be asked for again
        with run_lock(config.state.path, "auth login"):
            pass  # no run is under way now; one that begins meanwhile takes the new tokens as soon as it needs them
        state = secrets.token_urlsafe(24)
        with ExitStack() as until_it_came:
            listener = None if paste else _listener(config, state, until_it_came)
            click.echo(f"Open this address and allow access:\n\n{app.authorize_url(state)}\n", err=as_json)
            code = _pasted(state) if listener is None else listener.code(stop, seconds=_CONSENT_SECONDS)
        stored = tokens.exchange_code(code)
    _tell(stored, as_json=as_json)


def _listener(config: Config, state: str, until: ExitStack) -> Listener | None:
    """Listen where the browser will bring the code, before anybody can send it there; None where we cannot."""
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


def _tell(stored: StoredTokens, *, as_json: bool) -> None:
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
    document = tokens_document(config, instants.now())
    if as_json:
        print_json(document)
    else:
        for line in _lines(document):
            say(line)
    if not document["authenticated"]:
        raise NotAuthenticatedError(document["warning"])


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    if document["variant"] == "s2s":
        yield "Server-to-server access: tokens of an hour are made from the private key; no consent, no refresh token."
    else:
        yield "OAuth, by a user's consent."
    access, refresh = document["access_token"], document["refresh_token"]
    if access is None:
        yield (
            "Access token: none stored; the next run asks for one."
            if document["authenticated"]
            else "Access token: none."
        )
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
