"""`python -m outreach_sync`: the command. Ctrl-C while its modules load ends it without a traceback."""

from __future__ import annotations

import signal
import sys
from importlib import import_module

_usual = signal.getsignal(signal.SIGINT)
if _usual is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
main = import_module("outreach_sync.cli").run_command
signal.signal(signal.SIGINT, _usual)

if __name__ == "__main__":
    sys.exit(main())
