"""`sandbox`, `demo`: both services, simulated."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import requests
import yaml

from outreach_sync.cli import Commands, ui
from outreach_sync.demo import tell
from outreach_sync.errors import ConfigError, UsageError
from outreach_sync.instants import parse_duration
from outreach_sync.sandbox.serve import CONFIG_FILE, serve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outreach_sync.sandbox import Sandbox


_SERVICES = ("outreach", "workbooks")
_PORT = click.IntRange(0, 65_535)
_KINDS = {  # Kind of record -> whose it is, its name there, and what is shown of it.
    "prospect": ("outreach", "prospect", ("name", "emails", "optedOut", "updatedAt")),
    "state": ("outreach", "sequenceState", ("prospect", "sequence", "state", "updatedAt")),
    "task": ("outreach", "task", ("prospect", "taskType", "state", "updatedAt")),
    "sequence": ("outreach", "sequence", ("name", "enabled", "updatedAt")),
    "step": ("outreach", "sequenceStep", ("sequence", "order", "stepType", "updatedAt")),
    "user": ("outreach", "user", ("name", "email")),
    "event": ("outreach", "event", ("name", "prospect", "task", "createdAt")),
    "person": (
        "workbooks", "Private::Crm::Person",
        ("name", "main_location[email]", "cf_person_sequence_state", "no_email_soliciting"),
    ),
    "crm-task": (
        "workbooks", "Private::Activity::Task",
        ("name", "activity_status", "primary_contact_id", "created_through_reference"),
    ),
}  # fmt: skip
_KIND = click.argument("kind", type=click.Choice(list(_KINDS)))
_RECORD = click.argument("id_", metavar="ID", type=int)


@click.group(cls=Commands, invoke_without_command=True)
@click.option("--outreach-port", type=_PORT, default=0, help="Port of the simulated Outreach; 0: any free one.")
@click.option("--workbooks-port", type=_PORT, default=0, help="Port of the simulated Workbooks; 0: any free one.")
@click.option("--latency", "latency_ms", type=click.FloatRange(0), default=0, help="Milliseconds added to each answer.")
@click.option("--empty", is_flag=True, help="Begin without the example data.")
@click.option("--bare", is_flag=True, help="Begin with a Workbooks that lacks the custom fields, for `provision`.")
@click.option("--s2s", is_flag=True, help="Make a config that reads Outreach server to server (extra `s2s`).")
@click.option("--seed", type=int, default=1, show_default=True, help="Which example data.")
@click.option(
    "--write", "config_file", type=click.Path(path_type=Path, dir_okay=False), default=CONFIG_FILE, show_default=True,
    help="Where the config goes; a file that is not from an earlier start is never written over.",
)  # fmt: skip
@click.pass_context
def sandbox(context: click.Context, /, **options: Any) -> int | None:
    """Serve a simulated Outreach and a simulated Workbooks on this machine until stopped.

    \b
    A config that uses them is printed, and written to sandbox.yaml. In another terminal:
      outreach-sync -c sandbox.yaml run
      outreach-sync sandbox do list
      outreach-sync sandbox do skip-task 1

    Each start has records and a state of its own.

    Exit status: 128 and the signal that ended it; 2 a port is taken, or the config cannot be written.
    """  # noqa: D301 - click's mark for lines that are not to be joined
    if context.invoked_subcommand is not None:
        return None
    try:
        return serve(on_ready=partial(_say_where, options["config_file"]), **options)
    except OSError as error:
        advice = "Choose other ports (0: any free one), or another file with --write."
        raise UsageError(f"the sandbox cannot be served so: {error.strerror}.", advice=advice) from error


def _say_where(config_file: Path, served: Sandbox) -> None:
    click.echo(f"Outreach on {served.outreach.url}, Workbooks on {served.workbooks.url}. Stop with Ctrl-C.", err=True)
    ours = f"outreach-sync -c {config_file}"
    do = "outreach-sync" if config_file == CONFIG_FILE else ours
    click.echo(f"In another terminal: `{ours} run`, `{do} sandbox do list`; docs/sandbox.md.", err=True)


def _ask(service: str, method: str, path: str, document: object = None) -> Any:
    config_file = click.get_current_context().ensure_object(ui.Invocation).given_config or CONFIG_FILE
    advice = "Name the sandbox's with --config."
    try:
        config = yaml.safe_load(config_file.read_text(encoding="utf-8"))
        addresses = {name: str(config[name]["base_url"]) for name in _SERVICES}
    except OSError as error:
        why = f"{config_file}: {error.strerror}."
        raise ConfigError(why, advice="Start `outreach-sync sandbox` here first.") from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        raise ConfigError(f"{config_file} names no services.", advice=advice) from None
    if not all(address.startswith("http://127.0.0.1:") for address in addresses.values()):
        raise UsageError(f"{config_file} is not the config of a sandbox.", advice=advice)
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands between two programs of one machine
        try:
            url = f"{addresses[service]}/_sandbox{path}"
            answer = session.request(method, url, json=document, timeout=10)
            said = answer.json()
        except (requests.RequestException, ValueError):
            why = f"no sandbox answers at {addresses[service]}."
            raise UsageError(why, advice="Start one: outreach-sync sandbox.") from None
    if not answer.ok:
        raise UsageError(f"{said.get('error', 'the sandbox refuses this')}.", advice="See `sandbox do --help`.")
    return said


def _edit(verb: str, kind: str, fields: Mapping[str, Any] | None = None, **which: int) -> Any:
    service, type_, _ = _KINDS[kind]
    if service == "outreach":
        change = {verb: type_, **which} | ({} if fields is None else {"attributes": fields})
        return _ask(service, "POST", "/records", {"changes": [change]})["ids"][0]
    change = {"do": verb, "class": type_, **which} | ({} if fields is None else {"fields": fields})
    return _ask(service, "POST", "/records", change).get("id")


def _values(_context: click.Context, _parameter: click.Parameter, given: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for one in given:
        name, sign, text = one.partition("=")
        if not sign or not name:
            raise UsageError(f"'{one}' is not of the form NAME=VALUE.", advice="As in: title=Buyer optedOut=true.")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values


@sandbox.group("do", cls=Commands)
def do() -> None:
    """Change what the running sandbox holds, its clock and its faults.

    The sandbox is the one that sandbox.yaml, or --config, was written for.
    """


@do.command("list")
@click.argument("kind", type=click.Choice(list(_KINDS)), required=False)
def list_(kind: str | None) -> None:
    """Show what both services hold, or every record of one KIND."""
    if kind is not None:
        service, type_, columns = _KINDS[kind]
        records = _ask(service, "GET", "/records")
        rows = (records if service == "outreach" else records["records"])[type_]
        shown = [[row["id"], *map(row["values"].get, columns)] for row in rows if not row.get("is_deleted")]
        ui.show([ui.table(shown, ("id", *columns))])
        return
    for service in _SERVICES:
        one = _ask(service, "GET", "/")
        held = ", ".join(f"{count} {name}" for name, count in one["records"].items() if count)
        faults = f"  faults: {', '.join(one['faults']) or 'none'}"
        ui.show([f"{service} at {one['now']}: {held or 'nothing'}", faults])


def _event(name: str, does: str, said: str, ids: Mapping[str, str], *more: click.Parameter) -> None:
    def happen(**change: object) -> None:
        _ask("outreach", "POST", "/records", {"changes": [change]})
        click.echo(said.format(**change))

    arguments = [click.Argument([key], metavar=metavar, type=int) for key, metavar in ids.items()]
    do.add_command(click.Command(name, callback=happen, params=[*arguments, *more], help=does))


_WHO_SKIPS = click.Choice(["user", "system"])
_BY = click.Option(["--by"], type=_WHO_SKIPS, default="user", help="Who skips it; the system: by itself.")
_WORD = click.Argument(["state"], metavar="[WORD]", default="finished")
_event("skip-task", "Skip an Outreach task.", "Task {skip} is skipped.", {"skip": "TASK"}, _BY)
_event("opt-out", "Let a prospect opt out of everything.", "Prospect {opt_out} has opted out.", {"opt_out": "PROSPECT"})
_event(
    "end-state", "End a sequence state, as an answer does: its open tasks are withdrawn.",
    "Sequence state {end} is {state}; its open tasks are gone.", {"end": "STATE"}, _WORD,
)  # fmt: skip
_event(
    "merge", "Merge prospect LOSER into prospect WINNER.", "Prospect {merge} is now part of prospect {into}.",
    {"merge": "LOSER", "into": "WINNER"},
)  # fmt: skip


@do.command("add")
@_KIND
@click.argument("fields", nargs=-1, metavar="[NAME=VALUE]...", callback=_values)
def add(kind: str, fields: dict[str, Any]) -> None:
    """Add a record, as in `add state prospect=1 sequence=2 state=paused`."""
    click.echo(f"Added: {kind} {_edit('add', kind, fields)}.")


@do.command("set")
@_KIND
@_RECORD
@click.argument("fields", nargs=-1, required=True, metavar="NAME=VALUE...", callback=_values)
def set_(kind: str, id_: int, fields: dict[str, Any]) -> None:
    """Change a record, as in `set prospect 3 title=Buyer` or `set state 5 prospect=null`.

    updatedAt moves unless it is among the names. A value is JSON (true, 5, null, a list) or else a text.
    """
    _edit("update", kind, fields, id=id_)
    click.echo(f"Changed: {kind} {id_}.")


@do.command("remove")
@_KIND
@_RECORD
def remove(kind: str, id_: int) -> None:
    """Delete a record."""
    _edit("delete", kind, id=id_)
    click.echo(f"Removed: {kind} {id_}.")


@do.command("clock", context_settings={"ignore_unknown_options": True})
@click.argument("by")
def clock(by: str) -> None:
    """Move the clock of both services, as in `clock +1h` or `clock -30m` (s, m, h, d)."""
    try:
        span = parse_duration(by.lstrip("+-")) * (-1 if by.startswith("-") else 1)
    except ValueError:
        raise UsageError(f"'{by}' is not a span of time.", advice="Write it like +1h, 90s or -2d.") from None
    told = _ask("outreach", "POST", "/clock", {"advance_ms": span})
    click.echo(f"It is {told['now']} for both services.")


@do.group("fault")
def fault() -> None:
    """Switch faults on and off."""


_SERVICE = click.option("--service", type=click.Choice(_SERVICES), help="Whose, where both have it.")


@fault.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that are off too, with what they do.")
def fault_list(*, everything: bool) -> None:
    """Show the faults that are on."""
    rows = [
        (service, name, "on" if one["active"] else "", one["doc"])
        for service in _SERVICES
        for name, one in _ask(service, "GET", "/faults").items()
        if everything or one["active"]
    ]
    ui.show([ui.table(rows, ("service", "fault", "", "what it does"))])


@fault.command("on")
@click.argument("name")
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...", callback=_values)
@_SERVICE
@click.option("--times", type=click.IntRange(1), help="How often it fires; else until it is off.")
@click.option("--after", type=click.IntRange(0), default=0, help="How many occasions it lets pass first.")
def fault_on(*, name: str, service: str | None, **wanted: Any) -> None:
    """Switch a fault on, as in `fault on rate_limited wait=30 --times 2`."""
    owner = _owner(name, service)
    _ask(owner, "POST", "/faults", {"name": name, **wanted})
    click.echo(f"{name} is on in {owner}.")


@fault.command("off")
@click.argument("name", required=False)
@_SERVICE
def fault_off(name: str | None, service: str | None) -> None:
    """Switch a fault off, or all of them."""
    if name is None:
        for one in [service] if service else _SERVICES:
            _ask(one, "DELETE", "/faults")
        click.echo("Every fault is off.")
        return
    owner = _owner(name, service)
    _ask(owner, "DELETE", f"/faults/{name}")
    click.echo(f"{name} is off in {owner}.")


def _owner(name: str, service: str | None) -> str:
    owners = [one for one in _SERVICES if name in _ask(one, "GET", "/faults")]
    if service is None and len(owners) > 1:
        raise UsageError(f"both services have the fault '{name}'.", advice="Say which: --service outreach, workbooks.")
    return service or (owners[0] if owners else "outreach")


@click.command()
@click.option("--all", "everything", is_flag=True, help="Show every line of a table, not ten.")
def demo(*, everything: bool) -> int:
    """Run cycles against both simulated services and show what every Person and Task said before and after, and why.

    Needs no account and no config, leaves nothing behind. Exit status: 0 everything came as it must; 1 not.
    """
    with ui.stop_on_signals() as stop, TemporaryDirectory(prefix="outreach-sync-demo-") as directory:
        return 0 if tell(ui.terminal(), Path(directory), stop, everything=everything) else 1
