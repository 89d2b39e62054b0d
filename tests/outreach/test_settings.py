from __future__ import annotations

from outreach_sync.outreach.settings import OutreachSettings, S2SSettings


def test_a_secret_shows_when_settings_are_printed() -> None:
    settings = OutreachSettings(
        base_url="https://api.outreach.io",
        client_id="visible",
        client_secret="planted-1",
        refresh_token="planted-2",
        s2s=S2SSettings(install_id="1", app_guid="2", private_key="planted-3"),
    )
    assert "visible" in repr(settings)
    assert "planted" not in repr(settings)


def test_a_slash_at_the_end_of_the_base_doubles() -> None:
    assert (
        OutreachSettings(base_url="https://api.outreach.io/").url("/oauth/token")
        == "https://api.outreach.io/oauth/token"
    )
