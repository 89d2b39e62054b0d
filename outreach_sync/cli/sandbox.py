"""`sandbox`: both services, simulated, until stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from outreach_sync.errors import UsageError

if TYPE_CHECKING:
    from outreach_sync.sandbox import Sandbox

_PORT = click.IntRange(0, 65_535)


@click.command()
@click.option("--outreach-port", type=_PORT, default=0, help="Port of the simulated Outreach; 0: any free one.")
@click.option("--workbooks-port", type=_PORT, default=0, help="Port of the simulated Workbooks; 0: any free one.")
@click.option("--latency", "latency_ms", type=click.FloatRange(0), default=0, help="Milliseconds added to each answer.")
@click.option("--empty", is_flag=True, help="Begin without the example data.")
@click.option("--bare", is_flag=True, help="Begin with a Workbooks that lacks the custom fields, for `provision`.")
@click.option("--s2s", is_flag=True, help="Print a config that reads Outreach server to server (extra `s2s`).")
@click.option("--seed", type=int, default=1, show_default=True, help="Which example data.")
@click.option(
    "--state",
    "state_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("outreach-sync-sandbox.db"),
    show_default=True,
    help="Where the printed config keeps its state.",
)
def sandbox(  # noqa: PLR0917 - click passes one argument for each option
    outreach_port: int,
    workbooks_port: int,
    latency_ms: float,
    empty: bool,  # noqa: FBT001
    bare: bool,  # noqa: FBT001
    s2s: bool,  # noqa: FBT001
    seed: int,
    state_path: Path,
) -> int:
    """Serve a simulated Outreach and a simulated Workbooks on loopback until stopped.

    \b
    stdout is exactly one config that uses them:
      umask 077; rm -f sandbox.yaml
      outreach-sync sandbox > sandbox.yaml &
      until [ -s sandbox.yaml ]; do sleep 0.2; done
      outreach-sync -c sandbox.yaml run

    Exit status: 128 and the signal that ended it; 2 a port is taken, or --s2s is not possible.
    """  # noqa: D301 - click's mark for lines that are not to be joined
    from outreach_sync.sandbox.serve import ServeOptions, serve  # noqa: PLC0415 - not for --help

    options = ServeOptions(outreach_port, workbooks_port, latency_ms, empty, bare, seed, state_path, s2s)
    try:
        return serve(options, on_ready=_say_where)
    except OSError as error:
        raise UsageError(
            f"the sandbox cannot serve on these ports: {error.strerror}.", advice="Choose others, or 0 for any."
        ) from error


def _say_where(served: Sandbox) -> None:
    outreach, workbooks = served.outreach.url, served.workbooks.url
    for line in (
        f"Outreach on {outreach}, Workbooks on {workbooks}; the config is on stdout. Stop with Ctrl-C.",
        "Each has a back door without authentication, in JSON:",
        f"  curl {outreach}/_sandbox/                     what it holds and was asked",
        f"  curl {outreach}/_sandbox/faults               every fault that can be switched on",
        f'  curl -d \'{{"name": "rate_limited", "times": 1}}\' {outreach}/_sandbox/faults',
        f"  curl {workbooks}/_sandbox/records             every record",
        f"  curl {workbooks}/_sandbox/requests            every request, without secrets",
    ):
        click.echo(line, err=True)
