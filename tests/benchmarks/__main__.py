"""Measure: `python -m tests.benchmarks [MEASURE]…`; all of them take about half an hour. Prints a Markdown table.

Nothing here asserts a number of seconds: every figure is a ratio of things that ran in turns on the same machine, a
count, or a size. The exit status is 1 where a limit was missed.
"""

import os
import platform
import sys

from tests.benchmarks import measures
from tests.benchmarks.figures import Row, say, table

_MEASURES = {
    "start": measures.start, "idle": measures.idle, "requests": measures.requests_needed,
    "reading": measures.reading, "cycle": measures.whole_cycle, "memory": measures.memory,
    "flatness": measures.flatness, "creating": measures.creating, "tenants": measures.tenants,
}  # fmt: skip


def main(names: list[str]) -> int:
    """Measure what is named (all), print the table, and say whether every limit was kept."""
    rows: list[Row] = []
    for name in names or _MEASURES:
        say(f"measuring {name}")
        rows += _MEASURES[name]()
    sys.stdout.write(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}\n\n")
    sys.stdout.write(table(rows) + "\n")
    return 0 if all(row.reached for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
