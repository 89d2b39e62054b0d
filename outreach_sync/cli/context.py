"""What the options of the program mean to its commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import click

from outreach_sync.scrubbing import Scrubber, keep_secret

if TYPE_CHECKING:
    from pathlib import Path

    from outreach_sync.config.model import Config
    from outreach_sync.state import State


class Invocation:
    """One invocation: where its config is, and how it logs. `scrubber` is the choke point of all that is printed.

    `latest` is the one of this process, for what is said when it has ended; None: the command line made no sense.
    """

    scrubber: ClassVar[Scrubber] = Scrubber()
    latest: ClassVar[Invocation | None] = None

    def __init__(self, config: Path | None, log_format: str | None, log_level: str | None) -> None:
        """Keep the program's own options; None: not given."""
        self._config = config
        self.log_format = log_format
        self.log_level = log_level

    @property
    def config_path(self) -> Path:
        """Where the config is.

        Raises:
            ConfigError: there is none.
        """
        from outreach_sync.config import find_config  # noqa: PLC0415 - not for --help

        return find_config(self._config)

    def config(self, *, require_secrets: bool = True) -> Config:
        """Load the config, teach the scrubber its secrets, and warn where others can read one.

        Raises:
            ConfigError: it is wrong.
        """
        from outreach_sync.config import read_config  # noqa: PLC0415 - not for --help

        loaded = read_config(self.config_path, require_secrets=require_secrets)
        keep_secret(*loaded.config.secrets)
        if loaded.warning is not None:
            click.echo(f"outreach-sync: warning: {loaded.warning}", err=True)
        return loaded.config

    @property
    def state_path(self) -> Path:
        """Where the state is.

        Raises:
            ConfigError: the config is wrong.
        """
        return self.config(require_secrets=False).state.path

    def state_to_read(self) -> State | None:
        """Open the state without changing it; None: there is none yet."""
        from outreach_sync.state import State  # noqa: PLC0415 - not for --help

        return State.open_to_read(self.state_path)


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
invocation = click.make_pass_decorator(Invocation)
