"""The reading half of a cycle as a process of its own: everything is read and kept, nothing is looked up or written.

Run as `python -m tests.benchmarks.reading_only CONFIG`.
"""

import sys
from pathlib import Path

from outreach_sync.config import load_config
from outreach_sync.cycle import pull_streams
from outreach_sync.http import StopSignal
from outreach_sync.log import start_logging
from outreach_sync.run import Options, Run, perform


def _pull(run: Run) -> None:
    failure = pull_streams(run)
    if failure is not None:
        raise failure


def main(path: Path) -> int:
    """Read everything; return the exit status."""
    config = load_config(path)
    return perform(config, Options("run"), StopSignal(), start_logging("error", "json"), work=_pull).exit_status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
