from collections.abc import Iterator
from typing import Any

import pytest
import requests

from outreach_sync.sandbox.outreach import OutreachSandbox
from outreach_sync.sandbox.outreach.trouble import JSON_API

STATES = "sequenceStates"


class Client:
    """Asks a sandbox the way a careful client does, without retrying anything."""

    def __init__(self, service: OutreachSandbox) -> None:
        self.service, self.store, self.faults = service, service.store, service.faults
        self.session = requests.Session()
        self.session.headers.update({"Content-Type": JSON_API, "Accept": JSON_API})
        self.log_in(service.refresh_token)

    def refresh(self, **changes: str) -> requests.Response:
        app = {"client_id": self.service.client_id, "client_secret": self.service.client_secret}
        form = {**app, "grant_type": "refresh_token", "refresh_token": self.refresh_token, **changes}
        return requests.post(f"{self.service.url}/oauth/token", data=form, timeout=5)

    def log_in(self, refresh_token: str) -> None:
        self.refresh_token = refresh_token
        answer = self.refresh().json()
        self.refresh_token = answer["refresh_token"]
        self.session.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def get(self, path: str, **options: Any) -> requests.Response:
        """Ask for a path below /api/v2, or an absolute URL."""
        url = path if path.startswith("http") else f"{self.service.url}/api/v2/{path}"
        return self.session.get(url, allow_redirects=False, timeout=5, **options)

    def rows(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        answer = self.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()["data"]
        return rows

    def ids(self, path: str, **parameters: str) -> list[Any]:
        return [row["id"] for row in self.rows(path, **parameters)]

    def walk(self, path: str, parameters: dict[str, str]) -> list[list[Any]]:
        """Follow links.next and give the ids of each page."""
        pages: list[list[Any]] = []
        answer = self.get(path, params=parameters).json()
        while len(pages) < 50:
            pages.append([row["id"] for row in answer["data"]])
            onward = answer.get("links", {}).get("next")
            if onward is None:
                break
            answer = self.get(onward).json()
        return pages


@pytest.fixture
def service() -> Iterator[OutreachSandbox]:
    with OutreachSandbox() as running:
        yield running


@pytest.fixture
def client(service: OutreachSandbox) -> Client:
    return Client(service)


@pytest.fixture
def states(service: OutreachSandbox) -> list[int]:
    """Ten sequence states of one prospect, a second apart."""
    at = [f"2026-09-02T00:00:{second:02}.000Z" for second in range(10)]
    sequence = service.store.add_sequence("Trial follow-up", updatedAt=at[0])
    prospect = service.store.add_prospect(firstName="Ada", emails=["ada@example.com"], updatedAt=at[0])
    return [service.store.add_state(prospect, sequence, "active", updatedAt=one) for one in at]
