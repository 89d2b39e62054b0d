"""The client against a service that answers by a script, over real HTTP."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs

import pytest

from outreach_sync import http
from outreach_sync.errors import (
    InterruptedByError,
    NotAllowedError,
    NotAuthenticatedError,
    QuotaSpentError,
    UnavailableError,
    UntrustedAnswerError,
)
from outreach_sync.http import StopSignal, Transport
from outreach_sync.records import Accepted, Rejected, Stale, Unknown, Write
from outreach_sync.sandbox.clock import SandboxClock
from outreach_sync.sandbox.server import HttpServer, Request, Response, WireFault
from outreach_sync.workbooks.client import WorkbooksClient
from outreach_sync.workbooks.settings import WorkbooksSettings
from outreach_sync.workbooks.wire import Filter, Reading, Row

READING = Reading((Filter("name", "eq", "x"),), ("name",))
Form = dict[str, list[str]]
Step = Response | Callable[[Form], Response]


def said(status: int = 200, headers: dict[str, str] | None = None, **body: object) -> Response:
    return Response(status, headers or {}, json.dumps(body).encode())


def redirect(location: str = "/delay") -> Response:
    return Response(302, {"Location": location}, b"")


def page(*ids: int, name: str = "x") -> Response:
    return said(success=True, data=[{"id": number, "name": name} for number in ids])


def accept(form: Form) -> Response:
    ids = [int(text) for text in form["id[]"]]
    done = [{"id": number or 9000 + place, "lock_version": 1} for place, number in enumerate(ids)]
    return said(success=True, affected_objects=done, affected_object_information=[{"success": True}] * len(ids))


def refuse_those_with_a_bad_name(form: Form) -> Response:
    return said(success=False, failures=["name is bad"]) if "bad" in form["name[]"] else accept(form)


class Scripted:
    """Answers with one step after the other, and with the last for ever."""

    name = "scripted"

    def __init__(self) -> None:
        self.clock = SandboxClock()
        self.steps: list[Step] = []
        self.requests: list[Request] = []

    def respond(self, request: Request) -> Response:
        self.requests.append(request)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        return step if isinstance(step, Response) else step(form_of(request))


def form_of(request: Request) -> Form:
    return parse_qs(request.body.decode("ascii"), keep_blank_values=True)


class Bench:
    """A client, the service it talks to, and what that got."""

    def __init__(self, url: str, service: Scripted, *, patience_ms: int = 60) -> None:
        self.service = service
        self.stop = StopSignal()
        self.settings = WorkbooksSettings(url, "KEY-77", "my-sync", 4, 400, patience_ms, {})
        self.transport = Transport(url, user_agent="other", stop=self.stop)
        self.client = WorkbooksClient(self.settings, self.transport, self.stop)

    def read(self, *steps: Step, asked_for: Callable[[Row], bool] = lambda row: row["name"] == "x") -> list[Any]:
        self.service.steps = list(steps)
        return [row["id"] for row in self.client.read("crm/people", READING, asked_for=asked_for)]

    def write(self, writes: Sequence[Write], *steps: Step) -> tuple[object, ...]:
        self.service.steps = list(steps)
        return self.client.write("crm/people", writes)

    @property
    def count(self) -> int:
        return len(self.service.requests)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.001)
    service = Scripted()
    with HttpServer(service) as server:
        made = Bench(server.url, service)
        yield made
        made.transport.close()


UPDATE = Write(1001, 7, {"name": "good"})


def test_a_request_carries_the_key_in_its_body_and_nowhere_else(bench: Bench) -> None:
    bench.read(page(1))
    (request,) = bench.service.requests
    form = form_of(request)
    assert (request.method, request.path) == ("POST", "/crm/people.api")
    assert form["api_key"] == ["KEY-77"]
    assert (form["client"], form["api_version"], form["_method"]) == (["api"], ["1"], ["GET"])
    assert "KEY-77" not in str(request.query) + str(list(request.headers.items()))
    assert "KEY-77" not in repr(bench.settings)


def test_the_user_agent_starts_with_a_hyphenless_name_and_asks_for_gzip(bench: Bench) -> None:
    bench.read(page(1))
    agent = bench.service.requests[0].headers["User-Agent"]
    assert agent.startswith("my_sync/")
    assert "gzip" in agent


def test_pages_are_read_on_until_a_short_one_after_the_last_id(bench: Bench) -> None:
    rows = bench.read(page(*range(1, 101)), page(*range(101, 201)), page())
    assert rows == list(range(1, 201))
    assert [form_of(request)["_fc[]"] for request in bench.service.requests] == [["x"], ["x", "100"], ["x", "200"]]
    assert {form_of(request)["_start"][0] for request in bench.service.requests} == {"0"}


def test_a_look_up_by_ids_ends_once_all_came_back(bench: Bench) -> None:
    bench.service.steps = [page(*range(1, 101))]
    assert len(bench.client.read("crm/people", READING, asked_for=lambda _row: True, at_most=100)) == 100
    assert bench.count == 1


def test_rows_that_were_not_asked_for_are_dropped(bench: Bench) -> None:
    mixed = said(success=True, data=[{"id": 1, "name": "x"}, {"id": 2, "name": "y"}])
    assert bench.read(mixed) == [1]


def test_a_full_page_of_strangers_is_read_again_from_the_start(bench: Bench) -> None:
    assert bench.read(page(*range(1, 101), name="y"), page(5)) == [5]


def test_a_filter_that_stays_ignored_proves_no_absence(bench: Bench) -> None:
    with pytest.raises(UntrustedAnswerError, match="not asked for"):
        bench.read(page(*range(1, 101), name="y"))
    assert bench.count == 3


@pytest.mark.parametrize("second", [range(1, 101), range(200, 100, -1)])
def test_pages_that_do_not_move_on_are_not_trusted(bench: Bench, second: Sequence[int]) -> None:
    full = page(*range(1, 101))
    with pytest.raises(UntrustedAnswerError):
        bench.read(full, page(*second), full, page(*second), full, page(*second))


PASSING = [
    said(500),
    said(503),
    said(429),
    redirect(),
    redirect("https://elsewhere.example/"),
    Response(200, {}, b"<html>log in</html>"),
    Response(200, {}, b'{"data": ['),
    Response(200, {}, b"[]"),
    said(401, failure_reason="session_expired"),
    said(403, failure_reason="database_being_migrated"),
    page(1)._replace(wire=WireFault("reset_before")),
    page(1)._replace(wire=WireFault("cut_short")),
]


@pytest.mark.parametrize("fault", PASSING)
def test_a_read_is_repeated_when_it_may_pass(bench: Bench, fault: Response) -> None:
    assert patient(bench).read(fault, fault, page(1)) == [1]
    assert {request.path for request in bench.service.requests} == {"/crm/people.api"}
    assert bench.count == 3


def patient(bench: Bench) -> Bench:
    return Bench(bench.settings.base_url, bench.service, patience_ms=5000)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (said(500), UnavailableError),
        (said(429), QuotaSpentError),
        (Response(200, {}, b"<html>"), UntrustedAnswerError),
        (said(503, {"Retry-After": "900"}), UnavailableError),
        (said(403, failure_reason="database_archived"), UnavailableError),
    ],
)
def test_patience_ends_in_the_error_that_fits(bench: Bench, fault: Response, error: type[Exception]) -> None:
    with pytest.raises(error):
        bench.read(fault)


@pytest.mark.parametrize("fault", [redirect("/login"), said(401, failure_reason="no_session")])
def test_a_key_that_never_worked_and_is_turned_away_three_times_is_refused(bench: Bench, fault: Response) -> None:
    with pytest.raises(NotAuthenticatedError, match="api_key"):
        patient(bench).read(fault)
    assert bench.count == 3


def test_a_key_that_worked_is_not_refused_for_redirects(bench: Bench) -> None:
    bench.read(page(1))
    with pytest.raises(UnavailableError):
        bench.read(redirect())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (said(401, failure_reason="licence_expired"), NotAuthenticatedError),
        (said(401, failure_message="unrecognised_name_or_password"), NotAuthenticatedError),
        (Response(401, {}, b"no"), NotAuthenticatedError),
        (said(403, failure_reason="no_permission_for_api"), NotAllowedError),
        (said(403), NotAllowedError),
        (said(404), NotAllowedError),
        (said(405), UntrustedAnswerError),
        (said(501), UntrustedAnswerError),
        (said(success=False, failures=["no such column"]), UntrustedAnswerError),
        (said(success=True), UntrustedAnswerError),
        (said(success=True, data={"id": 1}), UntrustedAnswerError),
        (said(success=True, data=[1]), UntrustedAnswerError),
    ],
)
def test_what_will_not_pass_is_not_repeated(bench: Bench, fault: Response, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        bench.read(fault)
    assert bench.count == 1
    assert "KEY-77" not in str(caught.value)


def test_invalid_utf8_is_replaced(bench: Bench) -> None:
    body = b'{"success":true,"data":[{"id":1,"name":"\xff"}]}'
    assert bench.read(Response(200, {}, body), asked_for=lambda row: row["name"] == "\ufffd") == [1]


@pytest.mark.parametrize(
    ("objection", "left"),
    [
        ("__skip_total_rows is unknown", {"_skip_total_rows"}),
        ("_skip_total_rows is unknown", {"__skip_total_rows"}),
        ("skip_total_rows?", set()),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_an_objection_to_not_counting_drops_that_spelling_for_good(
    bench: Bench, objection: str, left: set[str], status: int
) -> None:
    refusal = said(status, success=False, failures=[objection])
    assert bench.read(refusal, page(1)) == [1]
    bench.read(page(1))
    for request in bench.service.requests[1:]:
        assert {name for name in form_of(request) if "skip_total" in name} == left


def test_a_stop_ends_a_read(bench: Bench) -> None:
    bench.stop.set(signal.SIGTERM)
    with pytest.raises(InterruptedByError):
        bench.read(page(1))


def test_a_write_is_judged_object_by_object_and_split_into_batches(bench: Bench) -> None:
    writes = [Write(number, 0, {"name": "good"}) for number in range(1, 10)]
    assert bench.write(writes, accept) == tuple(Accepted(number, 1) for number in range(1, 10))
    assert [len(form_of(request)["id[]"]) for request in bench.service.requests] == [4, 4, 1]


LOST = [
    said(500),
    said(503),
    said(429),
    said(408),
    said(501),
    redirect(),
    redirect("https://elsewhere.example/"),
    said(401, failure_reason="session_expired"),
    said(403, failure_reason="database_being_migrated"),
    Response(200, {}, b"<html>"),
    Response(200, {}, b'{"success": tr'),
    page()._replace(wire=WireFault("reset_before")),
    page()._replace(wire=WireFault("cut_short")),
    page()._replace(wire=WireFault("hang", 3)),
]


@pytest.mark.parametrize("fault", LOST)
def test_a_write_whose_answer_is_lost_is_sent_once_and_left_unknown(bench: Bench, fault: Response) -> None:
    verdicts = bench.write([UPDATE, Write(0, 0, {"name": "new"})], fault)
    assert [type(verdict) for verdict in verdicts] == [Unknown, Unknown]
    assert bench.count == 1


def test_a_write_that_did_not_arrive_is_unknown_without_an_exception() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    bench = Bench(url, Scripted())
    (verdict,) = bench.client.write("crm/people", [UPDATE])
    assert isinstance(verdict, Unknown)
    assert "127.0.0.1" in verdict.why
    assert bench.transport.requests >= 1


def test_a_stop_leaves_the_write_unknown(bench: Bench) -> None:
    bench.stop.set(signal.SIGTERM)
    assert isinstance(bench.write([UPDATE], accept)[0], Unknown)
    assert bench.count == 0


@pytest.mark.parametrize(
    "refusal", [said(404), said(400, errors={"base": "bad"}), said(success=False, failures=["bad"])]
)
def test_a_refused_batch_is_halved_until_the_bad_object_is_alone(bench: Bench, refusal: Response) -> None:
    writes = [Write(number, 0, {"name": "bad" if number == 3 else "good"}) for number in range(1, 5)]
    verdicts = bench.write(writes, lambda form: refusal if "bad" in form["name[]"] else accept(form))
    assert [type(verdict) for verdict in verdicts] == [Accepted, Accepted, Rejected, Accepted]
    assert bench.count == 5


def test_the_refusal_of_a_single_stale_object_is_stale(bench: Bench) -> None:
    assert bench.write([UPDATE], said(success=False, failures=["it has already been updated elsewhere"])) == (Stale(),)


def test_a_text_that_is_a_command_is_refused_alone_and_never_sent(bench: Bench) -> None:
    first, second = bench.write([Write(1, 0, {"name": ":null_value:"}), Write(2, 0, {"name": "good"})], accept)
    assert isinstance(first, Rejected)
    assert second == Accepted(2, 1)
    assert b"null_value" not in bench.service.requests[0].body


def test_nothing_to_write_sends_nothing(bench: Bench) -> None:
    assert bench.write([], accept) == ()
    assert bench.count == 0


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (said(401, failure_reason="client_not_licensed"), NotAuthenticatedError),
        (said(403, failure_reason="no_permission_for_api"), NotAllowedError),
    ],
)
def test_a_refused_key_ends_the_write(bench: Bench, fault: Response, error: type[Exception]) -> None:
    with pytest.raises(error):
        bench.write([UPDATE], fault)


def test_a_write_that_was_put_off_leaves_workbooks_in_peace_for_as_long_as_it_asked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []
    monkeypatch.setattr(bench.stop, "wait", rests.append)
    bench.client = WorkbooksClient(
        WorkbooksSettings(bench.settings.base_url, "K", "s", 4, 400, 20_000, {}), bench.transport, bench.stop
    )
    bench.write([UPDATE], said(429, {"Retry-After": "7"}))
    bench.write([UPDATE], said(429, {"Retry-After": "7000"}))
    bench.write([UPDATE], redirect())
    bench.write([UPDATE], redirect())
    assert rests == [7, 20, 1, 2]


def test_each_write_that_hangs_is_waited_for_as_long(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that hangs must not hold a run for a time-out with every write and with every look-up after it."""
    bench = Bench(bench.settings.base_url, bench.service, patience_ms=400)
    monkeypatch.setattr(http, "_LAST_TRY", (0.05, 0.05))
    hang = page()._replace(wire=WireFault("hang", 3))
    took = []
    for _ in range(3):
        started = time.monotonic()
        bench.write([UPDATE], hang)
        took.append(time.monotonic() - started)
    assert took[0] == pytest.approx(0.4, abs=0.3)
    assert max(took[1:]) < took[0] / 2
    started = time.monotonic()
    with pytest.raises(UnavailableError):
        bench.read(hang, hang)
    assert time.monotonic() - started < took[0]


LOGIN = {
    "session_id": "0123", "authenticity_token": "4567", "user_id": 2, "person_name": "Integration User",
    "logical_database_id": 3, "database_name": "Example",
    "databases": [{"id": 4, "name": "Other"}, {"id": 3, "created_at": "Mon Jan 05 14:30:11 UTC 2026"}],
}  # fmt: skip


def test_who_is_behind_a_key_is_read_from_the_answer_to_a_log_in(bench: Bench) -> None:
    bench.service.steps = [redirect(), said(**LOGIN)]
    assert bench.client.who() == (3, "Example", "Mon Jan 05 14:30:11 UTC 2026", 2, "Integration User")
    request = bench.service.requests[-1]
    assert (request.method, request.path) == ("POST", "/login.api")
    assert form_of(request)["_method"] == ["POST"]


@pytest.mark.parametrize("answer", [{"success": True}, {"logical_database_id": "x"}, {"logical_database_id": None}])
def test_a_log_in_that_names_no_database_is_not_believed(bench: Bench, answer: dict[str, object]) -> None:
    bench.service.steps = [said(**answer)]
    with pytest.raises(UntrustedAnswerError):
        bench.client.who()
