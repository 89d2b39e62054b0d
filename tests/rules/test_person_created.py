"""Who a Person that is created is."""

from __future__ import annotations

import pytest

from outreach_sync.records import Prospect
from outreach_sync.rules.person import base_fields

ADA = Prospect(18, "Ada", "Example", ("ada@example.com",), None, False, None, False, None, None, 1, {"title": "CTO"})


def test_a_person_gets_names_address_reference_and_the_configured_attributes() -> None:
    assert base_fields([ADA], {"person_job_title": "title", "cf_person_source": "absent"}) == {
        "name": "Ada Example",
        "person_first_name": "Ada",
        "person_last_name": "Example",
        "main_location[email]": "ada@example.com",
        "created_through_reference": "outreach-prospect-18",
        "person_job_title": "CTO",
    }


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"first_name": None}, "Example"),
        ({"last_name": " "}, "Ada"),
        ({"first_name": None, "last_name": None}, "ada@example.com"),
        ({"first_name": None, "last_name": None, "emails": ()}, "Outreach prospect 18"),
    ],
)
def test_the_required_name_is_never_empty(changes: dict[str, object], name: str) -> None:
    assert base_fields([ADA._replace(**changes)], {})["name"] == name


def test_an_address_is_taken_from_the_pool_where_the_lead_has_none() -> None:
    assert base_fields([ADA._replace(emails=()), ADA], {})["main_location[email]"] == "ada@example.com"


def test_a_name_too_long_for_workbooks_is_cut_instead_of_refused() -> None:
    fields = base_fields([ADA._replace(last_name="x" * 300)], {})
    assert [len(str(fields[name])) for name in ("name", "person_last_name")] == [255, 255]
