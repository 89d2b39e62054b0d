"""The bare loop that the program is held against, a process of its own: it sends recorded requests again.

Run as `python -m tests.benchmarks.replay FILE`.
"""

import json
import pickle
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import requests

from tests.benchmarks.stage import Recorded

_MEDIA_TYPE = "application/vnd.api+json"


class Wire(NamedTuple):
    """What to send again: where the services are, what was asked of them, and how many requests go at once."""

    outreach: str
    workbooks: str
    requests: Sequence[Recorded]
    lanes: int


def replay(wire: Wire) -> None:
    """Send it all: the walks page after page, then the other reads, then look-ups and writes, side by side."""
    source = requests.Session()
    token, walks, history, workbooks = "", list[str](), list[str](), list[tuple[str, bytes]]()
    for one in wire.requests:
        base = wire.outreach if one.service == "outreach" else wire.workbooks
        url = f"{base}{one.path}?{urlencode(one.query)}" if one.query else f"{base}{one.path}"
        if one.path == "/oauth/token":
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            token = str(json.loads(source.post(url, data=one.body, headers=form).content)["access_token"])
        elif one.service == "workbooks":
            workbooks.append((url, one.body))
        else:
            by_id = any(name in ("filter[prospect][id]", "filter[id]") for name, _ in one.query)
            (history if by_id else walks).append(url)
    source.headers.update({"Authorization": f"Bearer {token}", "Content-Type": _MEDIA_TYPE})
    for url in walks:
        source.get(url).content  # noqa: B018 - to the last byte
    _side_by_side(wire.lanes, [(source, "GET", url, b"") for url in history])
    target = requests.Session()
    target.headers["Content-Type"] = "application/x-www-form-urlencoded"
    _side_by_side(wire.lanes, [(target, "POST", url, body) for url, body in workbooks])


def _side_by_side(lanes: int, calls: Sequence[tuple[requests.Session, str, str, bytes]]) -> None:
    with ThreadPoolExecutor(lanes) as pool:
        for answer in pool.map(lambda call: call[0].request(call[1], call[2], data=call[3]), calls):
            answer.raise_for_status()


def main(path: Path) -> None:
    """Do what the file says."""
    replay(pickle.loads(path.read_bytes()))  # noqa: S301 - written by the benchmark a moment ago


if __name__ == "__main__":
    from tests.benchmarks import replay as this  # the pickled classes are those of the module, not of `__main__`

    this.main(Path(sys.argv[1]))
