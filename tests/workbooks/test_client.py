"""The client against a service that answers by a script: what is repeated, what is settled, and what ends it."""

import signal
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from outreach_sync import errors
from outreach_sync.records import Accepted, Rejected, Stale, Unknown, Write
from outreach_sync.sandbox.server import Response, WireFault
from outreach_sync.workbooks.wire import Filter, Reading, Row
from tests.workbooks.conftest import Bench, Form, Scripted, said

READING = Reading((Filter("name", "eq", "x"),), ("name",))
UPDATE = Write(1001, 7, {"name": "good"})
REFERENCE = "created_through_reference"


def redirect(location: str = "/delay") -> Response:
    return Response(302, {"Location": location}, b"")


def gateway(status: int, kind: str = "text/html") -> Response:
    return Response(status, {"Content-Type": kind}, b"<html>no</html>" if "html" in kind else b"no")


def page(*ids: int, name: str = "x") -> Response:
    return said(success=True, data=[{"id": number, "name": name} for number in ids])


def rows(*found: dict[str, object]) -> Response:
    return said(success=True, data=list(found))


def accept(form: Form) -> Response:
    ids = [int(text) for text in form["id[]"]]
    done = [{"id": number or 9000 + place, "lock_version": 1} for place, number in enumerate(ids)]
    return said(success=True, affected_objects=done, affected_object_information=[{"success": True}] * len(ids))


def read(bench: Bench, asked_for: Callable[[Row], bool] = lambda row: row["name"] == "x", **more: Any) -> list[Any]:
    return [row["id"] for row in bench.client.read("crm/people", READING, asked_for=asked_for, **more)]


def write(bench: Bench, *writes: Write) -> tuple[object, ...]:
    return bench.client.write("crm/people", writes)


def methods(bench: Bench) -> list[str]:
    return [form["_method"][0] for form in bench.forms]


# Requests


def test_a_request_carries_the_key_in_its_body_and_nowhere_else_and_names_the_application(bench: Bench) -> None:
    bench.having(page(1))
    for name, word in (("my-sync", "my_sync"), ("A b", "A_b"), ("plain", "plain")):
        read(bench.with_(application_name=name))
        request, form = bench.service.requests[-1], bench.forms[-1]
        assert (request.method, request.path, form["api_key"]) == ("POST", "/crm/people.api", ["KEY-77"])
        assert (form["client"], form["api_version"], form["_method"]) == (["api"], ["1"], ["GET"])
        assert "KEY-77" not in str(request.query) + str(list(request.headers.items()))
        assert request.headers["User-Agent"].split("/")[0] == word
        assert request.headers["User-Agent"].endswith(" (gzip)")


def test_requests_last_no_longer_than_is_configured_and_writes_may_be_finished_after_a_stop(bench: Bench) -> None:
    quick = bench.with_(timeout="7s")
    with mock.patch.object(quick.client.transport, "send", wraps=quick.client.transport.send) as send:
        read(quick.having(page(1)))
        write(quick.having(accept), UPDATE)
    given = [(one.kwargs["timeout_seconds"], one.kwargs["grace_seconds"]) for one in send.call_args_list]
    assert given == [(7, 0), (7, 20)]


def test_who_is_behind_a_key_is_read_from_the_answer_to_a_log_in_that_names_a_database(bench: Bench) -> None:
    """One that is sent round to itself is only slowed down; one that is sent to a page is refused."""
    databases = [{"id": 4, "name": "Other"}, {"id": 3, "created_at": "Mon Jan 05 14:30:11 UTC 2026"}]
    bench.having(*[redirect("/login.api?_delayed=1")] * 5, said(logical_database_id=3, databases=databases))
    assert bench.client.who() == (3, "Mon Jan 05 14:30:11 UTC 2026")
    request, form = bench.service.requests[-1], bench.forms[-1]
    assert (request.method, request.path, form["_method"]) == ("POST", "/login.api", ["POST"])
    assert form["_application_name"] == ["my-sync"]
    with pytest.raises(errors.NotAuthenticatedError):
        bench.with_().having(redirect("/login")).client.who()
    for database in ({}, {"logical_database_id": "x"}, {"logical_database_id": 2**63}):
        with pytest.raises(errors.UntrustedAnswerError):
            bench.having(said(success=True, **database)).client.who()


# Reading


def test_pages_are_read_on_until_a_short_one_after_the_last_id(bench: Bench) -> None:
    bench.having(page(*range(1, 101)), page(*range(101, 201)), page())
    assert read(bench) == list(range(1, 201))
    assert [form["_fc[]"] for form in bench.forms] == [["x"], ["x", "100"], ["x", "200"]]
    assert {form["_start"][0] for form in bench.forms} == {"0"}


def test_full_pages_of_strangers_or_that_do_not_move_on_are_read_again_and_never_trusted(bench: Bench) -> None:
    assert read(bench.having(page(*range(1, 101), name="y"), page(5))) == [5]
    with pytest.raises(errors.UntrustedAnswerError, match="not asked for"):
        read(bench.having(page(*range(1, 101), name="y")))
    assert bench.count == 2 + 3
    for does_not_move_on in (range(1, 101), range(200, 100, -1)):
        with pytest.raises(errors.UntrustedAnswerError):
            read(bench.having(*[page(*range(1, 101)), page(*does_not_move_on)] * 3))


LOST = [
    said(500), said(502), gateway(504), Response(200, {}, b"<html>"), Response(200, {}, b'{"success": tr'),
    page()._replace(wire=WireFault("reset_before")), page()._replace(wire=WireFault("cut_short")),
]  # fmt: skip
PUT_OFF = [
    redirect(), redirect("https://elsewhere.example/"), redirect("/login"), said(429), said(408), said(503),
    Response(307, {"Location": "/delay"}, b""), *(gateway(status) for status in (401, 403, 404, 422)),
    gateway(404, "text/plain"), Response(403, {}, b'{"message": "Forbidden"}'), Response(401, {}, b""),
    said(401, failure_reason="session_expired"), said(403, failure_reason="database_being_migrated"),
]  # fmt: skip


@pytest.mark.parametrize("fault", [*LOST, *PUT_OFF, Response(200, {}, b"[]")])
def test_a_read_is_repeated_when_it_may_pass(bench: Bench, fault: Response) -> None:
    assert read(bench.having(fault, fault, page(1))) == [1]
    assert {request.path for request in bench.service.requests} == {"/crm/people.api"}
    assert bench.count == 3


def write_two(bench: Bench) -> tuple[object, ...]:
    return write(bench, UPDATE, Write(1, 0, {"name": "x"}))


@pytest.mark.parametrize(
    ("act", "fault", "error"),
    [
        (read, said(500), errors.UnavailableError), (read, said(429), errors.QuotaSpentError),
        (read, gateway(404, "text/plain"), errors.UnavailableError), (read, redirect(), errors.UnavailableError),
        (read, Response(200, {}, b"<html>"), errors.UntrustedAnswerError),
        (read, said(503, {"Retry-After": "900"}), errors.PutOffError),
        (read, said(403, failure_reason="database_archived"), errors.UnavailableError),
        (write_two, said(429, {"Retry-After": "7000"}), errors.QuotaSpentError),
        (write_two, said(403, failure_reason="database_being_migrated"), errors.UnavailableError),
        (write_two, said(401, failure_reason="client_not_licensed"), errors.NotAuthenticatedError),
        (write_two, said(403, failure_reason="no_permission_for_api"), errors.NotAllowedError),
        *((write_two, one, errors.UnavailableError) for one in (redirect(), said(503), gateway(403), gateway(404))),
    ],
)  # fmt: skip
def test_patience_or_a_refusal_of_the_key_ends_in_the_error_that_fits_and_blames_no_object(
    bench: Bench, act: Callable[[Bench], Any], fault: Response, error: type[Exception]
) -> None:
    with pytest.raises(error) as ended:
        act(bench.having(fault))
    assert type(ended.value) is error
    assert sum(bench.stop.pauses) <= 62


LOG_IN_PAGES = ("/login", "https://login.workbooks.com/", "/users/sign_in?x=1", "/login.html", "https://sso.example/a")


@pytest.mark.parametrize("fault", [*map(redirect, LOG_IN_PAGES), said(401, failure_reason="no_session")])
def test_only_a_key_that_never_worked_is_refused_when_sent_to_log_in_three_times(bench: Bench, fault: Response) -> None:
    with pytest.raises(errors.NotAuthenticatedError, match="api_key"):
        read(bench.having(fault))
    assert bench.count == 3
    worked = bench.with_().having(page(1))
    read(worked)
    with pytest.raises(errors.UnavailableError):
        read(worked.having(fault))


@pytest.mark.parametrize(
    "location", ["/delay", "/delay?to=/login", "/wait/login_queue", "https://slow.example/", "", "http://["]
)
def test_a_new_process_that_is_slowed_down_is_not_told_that_its_key_is_bad(bench: Bench, location: str) -> None:
    assert read(bench.having(*[redirect(location)] * 5, page(1))) == [1]
    with pytest.raises(errors.UnavailableError):
        read(bench.with_(patience="5s").having(redirect(location)))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (said(401, failure_reason="licence_expired"), errors.NotAuthenticatedError),
        (said(401, failure_message="unrecognised_name_or_password"), errors.NotAuthenticatedError),
        (said(403, failure_reason="no_permission_for_api"), errors.NotAllowedError),
        (said(403, success=False), errors.NotAllowedError), (said(404, success=False), errors.NotAllowedError),
        (said(404, error="Not Found"), errors.NotAllowedError), (said(422, success=False), errors.UntrustedAnswerError),
        (said(405, success=False), errors.UntrustedAnswerError), (said(501), errors.UntrustedAnswerError),
        (said(success=False, failures=["no such column"]), errors.UntrustedAnswerError),
        *((said(success=True, **it), errors.UntrustedAnswerError) for it in ({}, {"data": {"id": 1}}, {"data": [1]})),
    ],
)  # fmt: skip
def test_what_will_not_pass_is_not_repeated(bench: Bench, fault: Response, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        read(bench.having(fault))
    assert bench.count == 1
    assert "KEY-77" not in str(caught.value)


def test_invalid_utf8_is_replaced(bench: Bench) -> None:
    bench.having(Response(200, {}, b'{"success":true,"data":[{"id":1,"name":"\xff"}]}'))
    assert read(bench, lambda row: row["name"] == "\ufffd") == [1]


@pytest.mark.parametrize(
    ("objection", "left"),
    [
        ("__skip_total_rows is unknown", {"_skip_total_rows"}), ("_skip_total_rows is unknown", {"__skip_total_rows"}),
        ("skip_total_rows?", set()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 400])
def test_an_objection_to_not_counting_drops_that_spelling_for_good(
    bench: Bench, objection: str, left: set[str], status: int
) -> None:
    assert read(bench.having(said(status, success=False, failures=[objection]), page(1))) == [1]
    read(bench.having(page(1)))
    for form in bench.forms[1:]:
        assert {name for name in form if "skip_total" in name} == left


def test_a_stop_ends_a_read_and_leaves_a_write_unknown(bench: Bench) -> None:
    bench.having(accept).stop.set(signal.SIGTERM)
    with pytest.raises(errors.InterruptedByError):
        read(bench)
    assert isinstance(write(bench, UPDATE)[0], Unknown)
    assert bench.count == 0


# Writing


def test_a_write_is_judged_object_by_object_and_split_into_batches(bench: Bench) -> None:
    writes = [Write(number, 0, {"name": "good"}) for number in range(1, 10)]
    assert write(bench.having(accept), *writes) == tuple(Accepted(number, 1) for number in range(1, 10))
    assert [len(form["id[]"]) for form in bench.forms] == [4, 4, 1]


@pytest.mark.parametrize("fault", [*LOST, said(501)])
def test_a_write_whose_answer_is_lost_is_sent_once_and_left_unknown(bench: Bench, fault: Response) -> None:
    verdicts = write(bench.having(fault), UPDATE, Write(0, 0, {"name": "new"}))
    assert [type(verdict) for verdict in verdicts] == [Unknown, Unknown]
    assert bench.count == 1


def test_a_write_that_hangs_is_waited_for_as_long_as_patience_and_the_next_request_only_briefly(bench: Bench) -> None:
    bench.having(page()._replace(wire=WireFault("hang", 30)))
    quick = bench.with_(patience="1500ms")
    assert isinstance(write(quick, UPDATE)[0], Unknown)
    assert quick.client.patience.left() == 0.5


@pytest.mark.parametrize("fault", PUT_OFF)
def test_an_update_that_was_put_off_goes_again_whole_after_a_pause(bench: Bench, fault: Response) -> None:
    updates = [Write(number, 0, {"name": "good"}) for number in range(1, 5)]
    assert write(bench.having(fault, fault, accept), *updates) == tuple(Accepted(one.id, 1) for one in updates)
    assert [(request.method, request.path) for request in bench.service.requests] == [("POST", "/crm/people.api")] * 3
    assert [len(form["id[]"]) for form in bench.forms] == [4, 4, 4]
    assert 0 < bench.stop.pauses[0] < bench.stop.pauses[1]


def stale(form: Form) -> Response:
    return said(
        success=False,
        failures=["has already been updated elsewhere"] * len(form["id[]"]),
        affected_objects=[{"id": int(one)} for one in form["id[]"]],
        affected_object_information=[{"success": False}] * len(form["id[]"]),
    )


def test_a_stale_update_is_accepted_only_if_it_was_put_off_and_carried_out_all_the_same(bench: Bench) -> None:
    updates = [Write(number, 7, {"name": "good"}) for number in (1, 2, 3)]
    assert write(bench.having(stale), *updates) == (Stale(), Stale(), Stale())
    found = rows(
        {"id": 1, "lock_version": 8, "name": "good"},
        {"id": 2, "lock_version": 8, "name": "someone else's"},
        {"id": 3, "lock_version": 9, "name": "good"},
    )
    assert write(bench.having(redirect(), stale, found), *updates) == (Accepted(1, 8), Stale(), Stale())
    assert methods(bench) == ["PUT", "PUT", "PUT", "GET"]


def test_an_update_that_was_carried_out_is_accepted_too_where_the_batch_is_refused_then(bench: Bench) -> None:
    found = rows({"id": 1, "lock_version": 8, "name": "good"})
    steps = (redirect(), said(422, errors={"name": "bad"}), stale, found, said(422, errors={"name": "bad"}))
    updates = [Write(1, 7, {"name": "good"}), Write(2, 7, {"name": "bad"})]
    assert write(bench.having(*steps), *updates) == (Accepted(1, 8), Rejected(("name: bad",)))


def creation(number: int) -> Write:
    return Write(0, 0, {"name": f"new {number}", REFERENCE: f"outreach-prospect-{number}"})


def test_a_creation_that_was_put_off_is_looked_for_twice_before_it_goes_again(bench: Bench) -> None:
    late = rows({"id": 501, "lock_version": 0, REFERENCE: "outreach-prospect-1"})
    steps = (redirect(), rows(), late, accept)
    assert write(bench.having(*steps), creation(1), creation(2)) == (Accepted(501, 0), Accepted(9000, 1))
    assert methods(bench) == ["PUT", "GET", "GET", "PUT"]
    assert bench.forms[1]["_fc[]"] == ["outreach-prospect-1,outreach-prospect-2"]
    assert bench.forms[3][f"{REFERENCE}[]"] == ["outreach-prospect-2"]


def test_after_three_redirects_that_wrote_nothing_a_creation_is_looked_for_once_but_as_late(bench: Bench) -> None:
    one, none = rows({"id": 501, "lock_version": 0, REFERENCE: "outreach-prospect-1"}), rows()
    twice, once = (redirect(), none, none), (redirect(), none)
    for fault, *looks in (*[twice] * 3, once, (said(503), none, none), (redirect(), one, none, none), twice):
        write(bench.having(fault, *looks, accept), creation(1), creation(2))
        assert methods(bench)[-len(looks) - 2 :] == ["PUT", *["GET"] * len(looks), "PUT"]
        assert bench.stop.pauses[-1] == 2.0


def test_a_creation_whose_reference_is_missing_or_borne_by_two_records_is_not_sent_twice(bench: Bench) -> None:
    first, second = write(bench.having(redirect(), accept), Write(0, 0, {"name": "a picklist"}), UPDATE)
    assert (type(first), second) == (Unknown, Accepted(1001, 1))
    assert [form["id[]"] for form in bench.forms] == [["0", "1001"], ["1001"]]
    found = rows(*({"id": number, REFERENCE: "outreach-prospect-1"} for number in (1, 2)))
    assert isinstance(write(bench.having(redirect(), found), creation(1))[0], Unknown)


def test_a_short_pause_that_is_asked_for_is_kept_and_a_long_one_ends_a_write_at_once(bench: Bench) -> None:
    assert write(bench.having(said(429, {"Retry-After": "7"}), accept), UPDATE) == (Accepted(1001, 1),)
    with pytest.raises(errors.PutOffError):
        write_two(bench.having(said(503, {"Retry-After": "7000"})))
    assert (bench.count, bench.stop.pauses) == (3, [7])


def test_what_a_gateway_stopped_is_looked_for_before_a_half_of_it_goes_again(bench: Bench) -> None:
    stored: dict[str, int] = {}

    def carried_out_behind_the_gateway(form: Form) -> Response:
        if form["_method"] == ["GET"]:
            asked = form["_fc[]"][0].split(",")
            return rows(*({"id": stored[one], "lock_version": 0, REFERENCE: one} for one in asked if one in stored))
        if "bad" in form["name[]"]:
            stored.update({one: 500 + len(stored) for one in form[f"{REFERENCE}[]"] if one not in stored})
            return gateway(403)
        return accept(form)

    bad = Write(0, 0, {"name": "bad", REFERENCE: "outreach-prospect-9"})
    bench.having(carried_out_behind_the_gateway)
    assert all(isinstance(verdict, Accepted) for verdict in write(bench, creation(1), creation(2), bad, creation(4)))
    assert len(stored) == 4


def test_requests_go_one_at_a_time_while_the_service_slows_us_down(bench: Bench) -> None:
    alone: list[bool] = []

    def step(_: Form) -> Response:
        alone.append(bench.client._turn.locked())
        return page(1)

    bench.having(redirect(), step)
    for _ in range(12):
        read(bench)
    assert alone == [*[True] * 10, False, False]


def test_a_write_that_cannot_be_sent_is_tried_until_patience_ends() -> None:
    bench = Bench("http://127.0.0.1:1", Scripted())
    with pytest.raises(errors.UnavailableError, match=r"127\.0\.0\.1 cannot be reached: it refuses the connection"):
        write(bench, UPDATE)
    assert bench.client.transport.requests > 1


REFUSALS = [
    said(404, success=False), said(400, errors={"base": "bad"}), said(422, errors={"name": "bad"}),
    said(success=False, failures=["bad"]), gateway(413),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "kind"), [*((one, Rejected) for one in REFUSALS), (said(503), Unknown), (gateway(403), Unknown)]
)
def test_the_object_at_which_a_batch_is_refused_or_stopped_holds_nobody_else_up(
    bench: Bench, fault: Response, kind: type[object]
) -> None:
    def step(form: Form) -> Response:
        return fault if "bad" in form["name[]"] else accept(form)

    writes = [Write(number, 0, {"name": "bad" if number == 3 else "good"}) for number in range(1, 5)]
    verdicts = write(bench.having(step), *writes)
    assert [type(verdict) for verdict in verdicts] == [Accepted, Accepted, kind, Accepted]
    assert kind is Unknown or bench.count == 5


def test_a_text_that_is_a_command_is_refused_alone_and_never_sent(bench: Bench) -> None:
    commands = [Write(one, 0, {"name": text}) for one, text in ((1, ":null_value:"), (3, ":no_value:"))]
    first, second, third = write(bench.having(accept), *commands, Write(2, 0, {"name": "good"}))
    assert (first, type(second), third) == (
        Rejected(("name: the text ':null_value:' has a special meaning and cannot be sent",)),
        Rejected,
        Accepted(2, 1),
    )
    assert b"_value" not in bench.service.requests[0].body
