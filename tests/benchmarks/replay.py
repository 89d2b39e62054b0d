"""The bare loops that the program is held against, each a process of its own.

Run as `python -m tests.benchmarks.replay FILE`: a `Wire` sends recorded requests again and does nothing else, a
`Script` does what somebody would write in an afternoon.
"""

from __future__ import annotations

import json
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.stage import Recorded

_MEDIA_TYPE = "application/vnd.api+json"


class Wire(NamedTuple):
    """What to send again: where the services are, what was asked of them, and how many requests go at once."""

    outreach: str
    workbooks: str
    requests: Sequence[Recorded]
    lanes: int


class Script(NamedTuple):
    """What to update: one request for each Person."""

    workbooks: str
    api_key: str
    people: Sequence[tuple[int, str]]


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


def update_one_by_one(script: Script) -> None:
    """Look each Person up by id and update it, in a plain session, one after the other."""
    session = requests.Session()
    url = f"{script.workbooks}/crm/people.api"
    who = {"client": "api", "api_version": "1", "api_key": script.api_key}
    for person_id, label in script.people:
        chosen = {"_ff[]": "id", "_ft[]": "eq", "_fc[]": str(person_id)}
        columns = {"_select_columns[]": ["id", "lock_version", "cf_person_sequence_state"]}
        found = session.post(url, data={**who, **chosen, **columns, "_method": "GET", "_start": "0", "_limit": "1"})
        row = found.json()["data"][0]
        change = {"id[]": str(person_id), "lock_version[]": str(row["lock_version"]), "__method[]": "PUT"}
        written = session.post(
            url, data={**who, **chosen, **change, "_method": "PUT", "cf_person_sequence_state[]": label}
        )
        if not written.json()["affected_objects"]:
            raise SystemExit(written.text)


def _side_by_side(lanes: int, calls: Sequence[tuple[requests.Session, str, str, bytes]]) -> None:
    with ThreadPoolExecutor(lanes) as pool:
        for answer in pool.map(lambda call: call[0].request(call[1], call[2], data=call[3]), calls):
            answer.raise_for_status()


def main(path: Path) -> None:
    """Do what the file says."""
    content: Any = pickle.loads(path.read_bytes())  # noqa: S301 - written by the benchmark a moment ago
    (replay if isinstance(content, Wire) else update_one_by_one)(content)


if __name__ == "__main__":
    from tests.benchmarks import replay as this  # the pickled classes are those of the module, not of `__main__`

    this.main(Path(sys.argv[1]))
