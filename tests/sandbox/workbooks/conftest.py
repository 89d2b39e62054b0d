from collections.abc import Iterator, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

import pytest
import requests

from outreach_sync.sandbox.workbooks import WorkbooksSandbox
from outreach_sync.sandbox.workbooks.schema import PERSON

PEOPLE, TASKS = "crm/people", "activity/tasks"
STATE, STAMP, EMAIL = "cf_person_sequence_state", "cf_person_state_updated_at", "main_location[email]"


class Client:
    """Sends single requests, follows nothing, retries nothing."""

    FORM = "application/x-www-form-urlencoded"
    PER_OBJECT: ClassVar = {"_strict_attribute_checking": "1", "_per_object_transactions": "1"}

    def __init__(self, service: WorkbooksSandbox) -> None:
        self.service, self.store, self.faults = service, service.store, service.faults
        self.session = requests.Session()
        self.session.headers.update({"User-Agent": "outreach_sync/1.0 (gzip)", "Content-Type": self.FORM})
        self.key: dict[str, str] = {"client": "api", "api_version": "1", "api_key": service.api_key}

    def post(self, controller: str, pairs: Sequence[tuple[str, str]] = ()) -> requests.Response:
        body = urlencode([*self.key.items(), *pairs])
        address = f"{self.service.url}/{controller}.api?_dc=1"
        return self.session.post(address, data=body, allow_redirects=False, timeout=5)

    def get(self, controller: str, *filters: tuple[str, str, str], columns: str = "id", **controls: str) -> Any:
        pairs = [("_method", "GET"), *controls.items()]
        for field, operator, value in filters:
            pairs += [("_ff[]", field), ("_ft[]", operator), ("_fc[]", value)]
        return self.post(controller, pairs + [("_select_columns[]", name) for name in columns.split()]).json()

    def ids(self, controller: str, *filters: tuple[str, str, str], **controls: str) -> list[int]:
        return [row["id"] for row in self.get(controller, *filters, **controls)["data"]]

    def put(self, controller: str, *objects: dict[str, Any], **controls: str) -> requests.Response:
        return self.post(controller, self.write_pairs(objects, {**self.PER_OBJECT, **controls}))

    def write(self, controller: str, *objects: dict[str, Any], **controls: str) -> Any:
        return self.put(controller, *objects, **controls).json()

    def kept(self, person: int) -> dict[str, Any]:
        return self.store.get(PERSON, person)

    def finish(self, *people: int, **more: str) -> requests.Response:
        return self.put(PEOPLE, *({"id": id_, STATE: "Finished", **more} for id_ in people))

    def types(self, **more: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.post("metadata/types", [("_method", "GET"), *more.items()]).json()["data"]
        return found

    def field(self, name: str) -> dict[str, Any]:
        """Describe a field of a Person, as metadata do."""
        fields = self.types(**{"class_names[]": PERSON})[0]["fields"]
        return next((one for one in fields if one["name"] == name), {})

    @staticmethod
    def write_pairs(objects: Sequence[dict[str, Any]], controls: dict[str, str]) -> list[tuple[str, str]]:
        head = ("__method", "id", "lock_version")
        blank = dict.fromkeys((*head, *(name for one in objects for name in one)), ":no_value:")
        pairs = [("_method", "PUT"), *controls.items(), ("_fm", "or")]
        for id_ in dict.fromkeys(str(one.get("id", 0)) for one in objects):
            pairs += [("_ff[]", "id"), ("_ft[]", "eq"), ("_fc[]", id_)]
        for one in objects:
            sent = {**blank, "__method": "PUT" if "id" in one else "POST", "id": 0, "lock_version": 0, **one}
            pairs += [(f"{name}[]", str(value)) for name, value in sent.items()]
        return pairs


@pytest.fixture
def client() -> Iterator[Client]:
    with WorkbooksSandbox() as running:
        one = Client(running)
        yield one
        one.session.close()


@pytest.fixture
def ada(client: Client) -> int:
    return client.store.add_person(name="Ada Example", email="Ada@Example.com")


@pytest.fixture
def three(client: Client) -> list[int]:
    return [client.store.add_person(name=f"Person {number}") for number in range(3)]
