"""What the options of the program mean to its commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import click

from outreach_sync.scrubbing import Scrubber, keep_secret

if TYPE_CHECKING:
    from pathlib import Path

    from outreach_sync.config.models import Config
    from outreach_sync.config.quick import QuickSettings
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
        from outreach_sync.config.locate import find_config  # noqa: PLC0415 - not for --help

        return find_config(self._config)

    def config(self, *, require_secrets: bool = True) -> Config:
        """Load the config and teach the scrubber its secrets.

        Raises:
            ConfigError: it is wrong.
        """
        from outreach_sync.config.loading import load_config  # noqa: PLC0415 - pydantic is slow to import

        path = self.config_path
        return self._learnt(path, load_config(path, require_secrets=require_secrets))

    def _learnt(self, path: Path, config: Config) -> Config:
        from outreach_sync.config.permissions import permissions_warning  # noqa: PLC0415
        from outreach_sync.events import secrets_of  # noqa: PLC0415

        keep_secret(*secrets_of(config))
        warning = permissions_warning(path)
        if warning is not None:
            click.echo(f"outreach-sync: warning: {warning}", err=True)
        return config

    def quick(self) -> QuickSettings:
        """Read the few settings that local commands need."""
        from outreach_sync.config.quick import quick_settings  # noqa: PLC0415

        return quick_settings(self.config_path)

    def state_to_read(self) -> State | None:
        """Open the state without changing it; None: there is none yet."""
        from outreach_sync.state import State  # noqa: PLC0415

        return State.open_to_read(self.quick().state_path)


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
invocation = click.make_pass_decorator(Invocation)
