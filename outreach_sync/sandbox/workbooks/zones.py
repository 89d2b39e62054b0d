"""Time zones by name: those of the zone database, and the names of cities that Rails, and so Workbooks, goes by."""

from __future__ import annotations

from zoneinfo import ZoneInfo

RAILS_NAMES = {
    "UTC": "Etc/UTC",
    "London": "Europe/London",
    "Dublin": "Europe/Dublin",
    "Lisbon": "Europe/Lisbon",
    "Paris": "Europe/Paris",
    "Madrid": "Europe/Madrid",
    "Amsterdam": "Europe/Amsterdam",
    "Brussels": "Europe/Brussels",
    "Berlin": "Europe/Berlin",
    "Rome": "Europe/Rome",
    "Athens": "Europe/Athens",
    "Dubai": "Asia/Muscat",
    "Mumbai": "Asia/Kolkata",
    "Singapore": "Asia/Singapore",
    "Tokyo": "Asia/Tokyo",
    "Sydney": "Australia/Sydney",
    "Eastern Time (US & Canada)": "America/New_York",
    "Central Time (US & Canada)": "America/Chicago",
    "Mountain Time (US & Canada)": "America/Denver",
    "Pacific Time (US & Canada)": "America/Los_Angeles",
}
"""The names of Rails that are understood (the guide answers a login with ``London``), and what they stand for."""


def zone_of(name: str) -> str:
    """Turn a name, of Rails or of the zone database, into that of the database.

    Raises:
        ValueError: there is no such zone.
    """
    wanted = RAILS_NAMES.get(name, name)
    try:
        return ZoneInfo(wanted).key
    except (LookupError, ValueError, OSError):  # a folder of the database, too, is a name that cannot be read
        raise ValueError(f"'{name}' is not a time zone") from None


def shown_name(zone: str) -> str:
    """Name a zone as Workbooks does: as Rails, where it has a name of its own."""
    return next((name for name, known in RAILS_NAMES.items() if known == zone), zone)
