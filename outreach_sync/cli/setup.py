"""`init`, `check`, `provision`, `auth`: from nothing to a config that works."""

from __future__ import annotations

import secrets
import signal
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from outreach_sync import instants
from outreach_sync.cli import Commands, ui
from outreach_sync.config import find_config, usual_places
from outreach_sync.config.__main__ import rewritten, starter_config
from outreach_sync.config.model import address
from outreach_sync.consent import Listener, code_from, landing_of, missing_scopes
from outreach_sync.errors import ConfigError, NotAllowedError, NotAuthenticatedError, UsageError
from outreach_sync.files import make_directory, write_whole
from outreach_sync.identity import refuse_another_workbooks
from outreach_sync.insight.check import check_everything, exit_status
from outreach_sync.insight.status import tokens_document
from outreach_sync.instants import parse_duration, parse_since
from outreach_sync.log import scrubbed
from outreach_sync.outreach.auth import SCOPES
from outreach_sync.outreach.client import Outreach
from outreach_sync.provision import TITLES, Wish, planned, provide
from outreach_sync.store import run_lock
from outreach_sync.workbooks.client import Workbooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from outreach_sync.config.model import Config
    from outreach_sync.provision import Step
    from outreach_sync.workbooks.metadata import Finding


_PLACE = usual_places()[0]


@click.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), default=None, required=False)
@click.option("--defaults", is_flag=True, help="Ask nothing, also on a terminal.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(*, path: Path | None, defaults: bool, force: bool) -> None:
    """Write a commented config that has every key with its default, readable by its owner only.

    PATH is config/outreach-sync.yaml unless given; - is stdout. Secrets are never asked for: the config takes them
    from the environment, or from files. Exit status: 0; 2 there is a file already.
    """
    target = path or _PLACE
    if target == Path("-"):
        click.echo(starter_config({}), nl=False)
        return
    taken = UsageError(f"{target} exists already; it was left as it is.", advice="Name another path, or use --force.")
    try:
        if not force and target.exists():
            raise taken
        asks = not defaults and sys.stdin.isatty() and sys.stdout.isatty()
        if asks:
            click.echo("Press Enter to keep what is in brackets; everything can be changed in the file later.\n")
        asked = _QUESTIONS.items() if asks else ()
        text = starter_config({key: click.prompt(text, default, type=kind) for key, (text, default, kind) in asked})
        make_directory(target.parent)
        write_whole(target, text, private=True, new=not force)
    except FileExistsError as error:
        raise taken from error
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}.") from error
    is_usual = target.absolute() in {place.absolute() for place in usual_places()}
    click.echo(_NEXT.format(target=target, program="outreach-sync" if is_usual else f"outreach-sync -c {target}"))


_NEXT = """\
Wrote {target}. Next:
  1. Set OUTREACH_CLIENT_ID, OUTREACH_CLIENT_SECRET and WORKBOOKS_API_KEY in the environment.
  2. {program} auth login
  3. {program} provision     creates the picklist and the fields in Workbooks, where they are missing
  4. {program} check
  5. {program} run --dry-run
  6. {program} run --limit 5  a pilot: look at these people in Workbooks, then run without --limit
     (or name the people of a pilot by sync.people.only_where)"""


def _accepted_by(parse: Callable[[str], object]) -> Callable[[str], str]:
    def check(text: str) -> str:
        try:
            parse(text)
        except ValueError as error:
            raise click.BadParameter(f"'{text}' {error}") from error
        return text

    return check


_ADDRESS = _accepted_by(address)
_START = _accepted_by(lambda text: text == "all" or parse_since(text))
_MISSING = click.Choice(["create", "skip"])
# The few things that matter and have no default that is right for everyone: question, default and type by key.
_QUESTIONS: Mapping[str, tuple[str, str, Any]] = {
    "workbooks.base_url": ("Your Workbooks address", "https://secure.workbooks.com", _ADDRESS),
    "outreach.redirect_uri": ("Redirect URI of your Outreach app", "https://localhost:8484/callback", _ADDRESS),
    "sync.start": ("How far back the first run reads (90d, a date, or all)", "90d", _START),
    "sync.people.when_missing": ("When Workbooks has no Person for a prospect", "create", _MISSING),
    "schedule.every": ("Pause between cycles", "10m", _accepted_by(parse_duration)),
}
_SHOWN = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "bold red")}


@click.command()
@ui.as_json
@ui.invocation
def check(context: ui.Invocation) -> int:
    """Try config, credentials, scopes, fields, picklists and permissions, each by itself.

    Writes nothing but a rotated token. Exit status: 0 all well, or warnings only; 2 config or state; 3 a login, scope,
    field or permission is wrong; 4 a service is down.
    """
    checks = []
    with ui.stop_on_signals() as stop:
        for one in check_everything(lambda: find_config(context.given_config), stop):
            checks.append(one)
            if not context.as_json:
                word, style = _SHOWN[one.status]
                what, *more = f"{one.name}: {one.detail}".split("\n")
                hints = [f"      → {one.hint}"] if one.hint and one.status != "ok" else []
                ui.show([(Text(word, style=style), f"  {what}"), *(f"      {line}" for line in more), *hints])
    status, counts = exit_status(checks), Counter(one.status for one in checks)
    shown = ("name", "status", "detail", "hint")
    found = [{name: scrubbed(getattr(one, name)) for name in shown} for one in checks]
    last = f"{counts['ok']} ok, {ui.counted(counts['warn'], 'warning')}, {counts['fail']} failed."
    context.answer({"ok": status == 0, "checks": found}, ["", last])
    return status


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what would be made, and make nothing.")
@click.option("--datetime-type", default="datetime", show_default=True, help="Workbooks' word for a date with a time.")
@click.option("--write", is_flag=True, help="Write columns that differ into the config without asking.")
@ui.as_json
@ui.invocation
def provision(context: ui.Invocation, /, *, dry_run: bool, datetime_type: str, write: bool) -> None:
    """Make the picklist, its entries and the custom fields of a Person that the config names, where they are missing.

    Needs an administrator's API key. What exists is left as it is, so it can be run again at any time. Exit status: 3
    this key may not; 4 Workbooks is not done yet, run it again.
    """
    config = context.config()
    named = config.workbooks.fields.model_dump()
    fields = {role: named[role] for role in TITLES if named[role] is not None}
    wish = Wish(fields, tuple(dict.fromkeys(config.sync.labels.values())), datetime_type)
    with ui.stop_on_signals() as stop:
        target = Workbooks(config, stop)
        refuse_another_workbooks(config, target)
        steps = planned(target, wish)
        if not context.as_json:
            rows = [(one.action, one.kind, one.name, one.column) for one in steps]
            ui.show([ui.table(rows, ("action", "what", "name", "column"))])
        made: dict[str, str] = {}
        findings: tuple[Finding, ...] = ()
        if not dry_run:
            patience_seconds = config.sync.patience_ms / 1000
            made, findings = provide(target, steps, wish, stop, patience_seconds=patience_seconds)
    columns = {step.role: step.column for step in steps if step.role is not None and step.column is not None}
    changes = {role: column for role, column in {**columns, **made}.items() if fields.get(role) != column}
    written = bool(changes) and not dry_run and _write_fields(context, changes, sure=write)
    document = {
        "dry_run": dry_run,
        "steps": [{"action": one.action, "kind": one.kind, "name": one.name, "role": one.role} for one in steps],
        "columns": made,
        "findings": [f"{one.subject}: {one.problem}. {one.hint}" for one in findings],
        "config_changes": {f"workbooks.fields.{role}": column for role, column in changes.items()},
        "config_written": written,
    }
    context.answer(document, _provisioned(steps, document, changes))


def _write_fields(context: ui.Invocation, changes: Mapping[str, str], *, sure: bool) -> bool:
    path = find_config(context.given_config)
    text = rewritten(path.read_text(encoding="utf-8"), ("workbooks", "fields"), changes)
    if text is None:
        return False
    asks = not context.as_json and sys.stdin.isatty()
    if not sure and not (asks and click.confirm(f"Write {', '.join(changes.values())} into {path}?", err=True)):
        return False
    try:
        write_whole(path, text)
    except OSError as problem:
        raise ConfigError(f"{path} cannot be written ({problem.strerror}).") from problem
    return True


def _provisioned(steps: Sequence[Step], document: Mapping[str, Any], changes: Mapping[str, str]) -> Iterator[ui.Line]:
    for step in steps:
        if step.action == "keep":
            kept = f"The picklist spells '{step.name}' differently (dash, blank or case): nothing was added."
            yield f"{kept} Set that spelling under sync.labels."
        elif step.action == "propose":
            there = f"Person has '{step.name}' ({step.column}), as the vendor's own integration makes it"
            yield f"{there}: people whom that one linked are found by it if workbooks.fields.{step.role} names it."
    yield from (f"Warning: {finding}" for finding in document["findings"])
    if document["dry_run"]:
        yield "Nothing was made."
    elif not changes:
        yield "Workbooks has everything that the config names."
    if document["config_written"]:
        yield f"The config now names {', '.join(changes.values())}."
    elif changes:
        yield "The columns are not named so in the config. Change these lines of it, under workbooks.fields:"
        yield from (f"    {role}: {column}" for role, column in changes.items())


_CONSENT_SECONDS, _LONGEST_PASTE = 600.0, 65_536


@click.group(cls=Commands)
def auth() -> None:
    """Give consent for Outreach, and see what is known of the tokens."""


@auth.command()
@click.option("--paste", is_flag=True, help="Do not listen: take the address, or the code, from stdin.")
@ui.as_json
@ui.invocation
def login(context: ui.Invocation, /, *, paste: bool) -> None:
    """Open the printed address in a browser and allow access; the tokens are then stored beside the state.

    Where outreach.redirect_uri is an http address on this machine, the code is taken from there. Otherwise the browser
    ends at an address that it may not be able to open: paste that address here.
    """
    config = context.config()
    if config.outreach.s2s is not None:
        said = "the config uses server-to-server access (outreach.s2s), which needs no consent."
        raise UsageError(said, advice="`outreach-sync check` tries whether it works.")
    with ui.stop_on_signals() as stop:
        tokens = Outreach(config, stop).tokens
        tokens.prove_replaceable()  # a consent for nothing would be asked for again
        with run_lock(config.state.path, "auth login"):
            pass  # no run is under way now; one that begins meanwhile takes the new tokens as soon as it needs them
        state = secrets.token_urlsafe(24)
        with ExitStack() as until_it_came:
            listener = None if paste else _listener(config, state, until_it_came)
            asking = f"Open this address and allow access:\n\n{tokens.authorize_url(state)}\n"
            click.echo(asking, err=context.as_json)
            code = _pasted(state) if listener is None else listener.code(stop, seconds=_CONSENT_SECONDS)
        stored = tokens.exchange_code(code)
    missing = missing_scopes(stored.scope, SCOPES)
    document = {"stored": True, "scopes": sorted(stored.scope.split()), "missing_scopes": list(missing)}
    context.answer(document, ["Stored. Runs renew the tokens by themselves, as long as one is made every 14 days."])
    if missing:
        advice = "Add them to the app in Outreach, then run `outreach-sync auth login` again."
        raise NotAllowedError(f"the tokens work, but lack scopes: {', '.join(missing)}.", advice=advice)


def _listener(config: Config, state: str, until: ExitStack) -> Listener | None:
    """Listen where the browser will bring the code, before anybody can send it there; None where we cannot."""
    landing = landing_of(config.outreach.redirect_uri)
    if landing is None:
        return None
    try:
        listener = until.enter_context(Listener(landing, state))
    except OSError as problem:
        click.echo(f"Port {landing[0]} cannot be listened on ({problem.strerror}).", err=True)
        return None
    click.echo(f"Waiting for the browser on port {landing[0]}...", err=True)
    return listener


def _pasted(state: str) -> str:
    """Read a line; signals end it as usual, since a read does not see a request to stop."""
    click.echo("Paste the address that the browser ended at (it begins with the redirect URI), or the code:", err=True)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return code_from(sys.stdin.readline(_LONGEST_PASTE), state)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@auth.command()
@ui.as_json
@ui.invocation
def status(context: ui.Invocation) -> None:
    """Show how long the tokens live and what they allow; never the tokens. Asks nobody.

    Exit status: 0; 3 where consent has to be given before the next run.
    """
    document = tokens_document(context.config(require_secrets=False), instants.now())
    context.answer(document, _lines_of_tokens(document))
    if not document["authenticated"]:
        raise NotAuthenticatedError(document["warning"])


def _lines_of_tokens(document: Mapping[str, Any]) -> Iterator[str]:
    s2s = "Server-to-server access: tokens of an hour are made from the private key; no consent, no refresh token."
    yield s2s if document["variant"] == "s2s" else "OAuth, by a user's consent."
    access, refresh = document["access_token"], document["refresh_token"]
    if access is None:
        yield f"Access token: none{' stored; the next run asks for one' if document['authenticated'] else ''}."
    elif access["expires_at"] is not None:
        yield f"Access token: until {access['expires_at']} ({access['seconds_left'] // 60} minutes left)."
    if refresh is not None and refresh["issued_at"] is not None:
        dies = f"dies after 14 idle days ({refresh['expires_at']}); each run that needs a token renews it"
        yield f"Refresh token: {refresh['age_days']:g} days old, {dies}."
    if document["scopes"]:
        yield f"Scopes: {', '.join(document['scopes'])}."
    if document["warning"] and document["authenticated"]:
        yield f"Warning: {document['warning']}."
