"""Requests exactly as the vendor's own Python binding sends them, which must be answered as it expects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

from outreach_sync.sandbox.workbooks.schema import ORGANISATION

if TYPE_CHECKING:
    from conftest import Client

CONTROL = "&application_name=python_test_client&user_agent=python_test_client%2F0.1"
HEADERS = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "python_test_client/0.1"}


def send(client: Client, verb: str, body: str) -> Any:
    key = f"api_key={client.service.api_key}&api_version=1{CONTROL}"
    head = f"{key}&_method={verb}&client=api&_audit_lifetime_days=None"
    url = f"{client.service.url}/crm/organisations.api?_dc=1704210000000"
    return requests.request(verb, url, data=f"{head}&{body}", headers=HEADERS, timeout=5).json()


NEW = "&__method[]=POST&id[]=0&lock_version[]=0&main_location%5Btown%5D[]"
NOTHING = "%3Ano_value%3A"


def test_a_mixed_batch_is_paired_by_its_keys_and_a_list_is_read_by_get_with_a_body(client: Client) -> None:
    body = (
        f"_ff[]=id&_ft[]=eq&_fc[]=0{NEW}=Beading&name[]=Freedom%20%26%20Light&no_phone_soliciting[]=True"
        f"{NEW}={NOTHING}&name[]=Freedom%20Power&no_phone_soliciting[]={NOTHING}"
    )
    created = send(client, "PUT", body)
    assert created["success"]
    assert all(one["success"] for one in created["affected_object_information"])
    first, second = client.store.all(ORGANISATION)
    assert (first["name"], first["main_location[town]"]) == ("Freedom & Light", "Beading")
    assert (second["main_location[town]"], first["created_through"]) == (None, "python_test_client")
    columns = "_select_columns[]=id&_select_columns[]=updated_by_user%5Bperson_name%5D"
    for filters in (
        "_ff[]=main_location%5Btown%5D&_ft[]=bg&_fc[]=Bead",
        "_ff%5B%5D=name&_ft%5B%5D=ct&_fc%5B%5D=Light",
        "_filter_json=%5B%5B%22main_location%5Btown%5D%22%2C%20%22eq%22%2C%20%22Beading%22%5D%5D",
    ):
        answer = send(client, "GET", f"_skip_total_rows=True&_start=0&_limit=5&_sort=id&_dir=ASC&{filters}&{columns}")
        assert answer["data"] == [{"id": 501, "updated_by_user[person_name]": "Integration User"}]
    one, two = (one["id"] for one in created["affected_objects"])
    body = (
        f"_fm=or&_ff[]=id&_ft[]=eq&_fc[]=0&_ff[]=id&_ft[]=eq&_fc[]={one}&_ff[]=id&_ft[]=eq&_fc[]={two}"
        f"{NEW}=Ely&name[]=Pies"
        f"&__method[]=PUT&id[]={one}&lock_version[]=0&main_location%5Btown%5D[]=%3Anull_value%3A&name[]=Lights"
        f"&__method[]=DELETE&id[]={two}&lock_version[]=0&main_location%5Btown%5D[]={NOTHING}&name[]={NOTHING}"
    )
    assert send(client, "PUT", body)["success"]
    alive = [(one["name"], one["main_location[town]"]) for one in client.store.all(ORGANISATION)]
    assert alive == [("Lights", None), ("Pies", "Ely")]


def test_a_login_gives_a_cookie_and_a_token_that_writes_need_and_a_logout_is_a_redirect(client: Client) -> None:
    base, key = client.service.url, f"api_key={client.service.api_key}"
    body = f"{key}&_application_name=python_test_client&_fast_login=True&api_version=1&client=api"
    answer = requests.post(f"{base}/login.api?_dc=1", body, headers=HEADERS, timeout=5)
    token, cookie = answer.json()["authenticity_token"], answer.headers["Set-Cookie"].split(";")[0]
    assert cookie == f"Workbooks-Session={answer.json()['session_id']}"
    assert answer.json()["user_id"] == client.store.account.user_id
    write = f"_method=PUT&client=api&_authenticity_token={token}&__method[]=POST&id[]=0&lock_version[]=0&name[]=Pies"
    url, with_cookie = f"{base}/crm/organisations.api", {**HEADERS, "Cookie": cookie}
    for more in (f"&{key}&api_version=1", ""):
        assert requests.put(url, write + more, headers=with_cookie, timeout=5).json()["success"]
    without_token = requests.put(url, write.replace(token, "x"), headers=with_cookie, timeout=5)
    assert (without_token.status_code, without_token.json()) == (401, {"failure_reason": "no_session"})
    body = "_method=POST&client=api&_audit_lifetime_days=None"
    assert requests.post(f"{base}/logout", body, headers=HEADERS, allow_redirects=False, timeout=5).is_redirect
