"""`completion`: the script that teaches a shell to complete our commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_PROGRAM = "outreach-sync"
_VARIABLE = "_OUTREACH_SYNC_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    bash: `outreach-sync completion bash > ~/.local/share/bash-completion/completions/outreach-sync`.

    zsh: `outreach-sync completion zsh > DIRECTORY/_outreach-sync`, with a DIRECTORY of your $fpath.

    fish: `outreach-sync completion fish > ~/.config/fish/completions/outreach-sync.fish`.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click cannot complete in {shell}.")
    script = kind(context.find_root().command, {}, _PROGRAM, _VARIABLE)
    click.echo(script.source_template % script.source_vars())  # `source` would look for the shell on this machine
