"""Monitoring: who is told how runs went. Nothing here can fail a run, or delay it by more than a few seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from outreach_sync import instants
from outreach_sync.errors import InterruptedByError
from outreach_sync.events import secrets_of
from outreach_sync.monitoring.metrics import metrics_text, write_metrics
from outreach_sync.monitoring.pings import FAIL, LOG, START, SUCCESS, Pings
from outreach_sync.monitoring.tail import Tail
from outreach_sync.scrubbing import Scrubber

if TYPE_CHECKING:
    from types import TracebackType

    from outreach_sync.conduct import Ended
    from outreach_sync.config.models import Config
    from outreach_sync.pipeline.run import Log
    from outreach_sync.state import State

__all__ = ["Watch"]


class Watch:
    """Watches one run from its begin to its end, as a context manager; a run that ends otherwise has broken down.

    Attributes:
        log: what the run shall log to, so that a failure can be told with the last lines of its log.
    """

    def __init__(self, config: Config, log: Log) -> None:
        """Tell nobody yet."""
        self.log = Tail(log, Scrubber(secrets_of(config)))
        self._config = config
        self._run_id = ""
        url = config.monitoring.ping_url
        self._pings = None if url is None else Pings(url.get_secret_value(), log)

    def __enter__(self) -> Self:
        """Wait for `begin`: a dry run is watched by nobody."""
        return self

    def begin(self, run_id: str) -> None:
        """Tell that a run begins."""
        self._run_id = run_id
        if self._pings is not None:
            self._pings.send(START, run_id)

    def end(self, ended: Ended, state: State) -> None:
        """Tell how a run ended; `state` holds its record already."""
        if not self._run_id:
            return
        run_id, self._run_id = self._run_id, ""
        if self._pings is not None:
            self._pings.send(_signal(ended), run_id, self._told(run_id, str(ended.document["outcome"])))
            self._pings.settle()
        path = self._config.monitoring.metrics_file
        if path is not None:
            write_metrics(path, metrics_text(state, self._config.state.path, instants.now()), self.log)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell that a run broke down, if it began and did not end."""
        if self._run_id and self._pings is not None:
            self._pings.send(FAIL, self._run_id, self._told(self._run_id, "broke down"))
            self._pings.settle()

    def _told(self, run_id: str, outcome: str) -> str:
        return "\n".join((f"run {run_id}: {outcome}", *self.log.lines))


def _signal(ended: Ended) -> str:
    """Choose what to send: a run that was stopped has not failed, and the next one goes on."""
    if ended.error is None:
        return SUCCESS if ended.exit_status == 0 else f"/{ended.exit_status}"
    return LOG if isinstance(ended.error, InterruptedByError) else FAIL
