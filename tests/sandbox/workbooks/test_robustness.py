"""Whatever a client sends, it gets an answer: a sandbox that falls over would hide the client's mistake."""

from __future__ import annotations

from urllib.parse import urlencode

from hypothesis import given, settings, strategies as st

from outreach_sync.sandbox.server import Request
from outreach_sync.sandbox.workbooks import WorkbooksSandbox
from outreach_sync.sandbox.workbooks.schema import CLASSES, PERSON, TASK

OPERATORS = (
    *("eq", "ne", "ct", "nct", "bg", "nbg", "blank", "not_blank", "true", "false", "gt"),
    *("ge", "lt", "le", "today", "gt_today", "ge_today", "lt_today", "le_today"),
    *("between", "not_between", "nonsense"),
)
ODD_VALUES = (
    "",
    "1",
    "1001,1002",
    "inf",
    "nan",
    "-5",
    "JSON([1,2])",
    "JSON([",
    "2026-09-01",
    "9999-12-31",
    "0000-01-01",
    "2026-09-01T25:00:00",
    "2026-09-01,0,Nowhere/Zone",
    "Tue Sep 99 10:00:04 UTC 2026",
    "-99999999999",
    "99999999999",
    "9" * 40,
    "\\",
    "\\,",
    ",",
    "é",
    ":no_value:",
    ":null_value:",
)
LOGICS = ("", "or", "and", "1", "1 AND 2", "NOT 1", ")")

services = st.sampled_from([f"/{one.controller}.api" for one in CLASSES] + ["/metadata/types.api", "/crm/people/1.api"])


def running() -> WorkbooksSandbox:
    sandbox = WorkbooksSandbox()
    sandbox.stop()  # it is asked without a network here
    for number in range(3):
        sandbox.store.add_person(name=f"Person {number}", cf_person_state_updated_at="2026-09-01")
        sandbox.store.add_task(name=f"Task {number}", due_date="2026-09-01")
    return sandbox


SANDBOX = running()
NAMES = sorted({*SANDBOX.store.table(PERSON).fields, *SANDBOX.store.table(TASK).fields, "nonsense", "data_type"})

values = st.sampled_from(ODD_VALUES) | st.text(max_size=5)
filters = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(OPERATORS), values), max_size=2)
heads = st.tuples(
    st.sampled_from(("PUT", "POST", "DELETE")), st.sampled_from(("0", "1001", "4001", "x")), st.sampled_from(("0", "1"))
)
objects = st.lists(st.tuples(heads, st.lists(values, min_size=3, max_size=3)), max_size=2)
columns = st.lists(st.sampled_from(NAMES), min_size=3, max_size=3, unique=True)


@settings(max_examples=300, deadline=None)
@given(
    path=services,
    method=st.sampled_from(("GET", "PUT")),
    logic=st.sampled_from(LOGICS),
    filters=filters,
    objects=objects,
    columns=columns,
)
def test_no_request_however_odd_goes_without_an_answer(
    *,
    path: str,
    method: str,
    logic: str,
    filters: list[tuple[str, str, str]],
    objects: list[tuple[tuple[str, str, str], list[str]]],
    columns: list[str],
) -> None:
    pairs = [("client", "api"), ("api_version", "1"), ("api_key", SANDBOX.api_key), ("_method", method), ("_fm", logic)]
    for one in filters:
        pairs += zip(("_ff[]", "_ft[]", "_fc[]"), one, strict=True)
    for head, texts in objects:
        pairs += zip(("__method[]", "id[]", "lock_version[]"), head, strict=True)
        pairs += zip((f"{name}[]" for name in columns), texts, strict=True)
    headers = {"User-Agent": "odd/1.0", "Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode(pairs).encode()
    response = SANDBOX.service.respond(Request("POST", path, [], headers, body, SANDBOX.clock.now()))
    assert response.status in (200, 404, 405)
