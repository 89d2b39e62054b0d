"""The sections about the two services: `outreach` and `workbooks`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr

from outreach_sync.config.address_forms import Secret, ServiceUrl
from outreach_sync.config.forms import Duration, Maybe, Text, Whole
from outreach_sync.config.section import Section, duration, nothing_as_empty, section
from outreach_sync.config.sync_forms import field_name


class S2S(Section):
    """Server-to-server access to Outreach (pip extra `s2s`), instead of the OAuth client."""

    install_id: Annotated[str | None, Maybe(Text())] = Field(
        default=None, description="The id of the installation that an org admin of Outreach made."
    )
    app_guid: Annotated[str | None, Maybe(Text())] = Field(
        default=None, description="The app's S2S GUID, the issuer of its tokens."
    )
    private_key: Annotated[SecretStr | None, Maybe(Secret())] = Field(
        default=None, description="The RSA private key (PEM) that signs tokens; best as private_key_file."
    )


class Outreach(Section):
    """Where and how Outreach is read. Either the OAuth client (four keys) or `s2s`."""

    base_url: Annotated[str, ServiceUrl()] = Field(
        default="https://api.outreach.io", description="Outreach's address; /api/v2 and /oauth/token are below it."
    )
    client_id: Annotated[str | None, Maybe(Text())] = Field(
        default=None, description="The OAuth application's id. Required without s2s."
    )
    client_secret: Annotated[SecretStr | None, Maybe(Secret())] = Field(
        default=None, description="The OAuth application's secret. Required without s2s."
    )
    redirect_uri: Annotated[str, ServiceUrl(keep_path_end=True)] = Field(
        default="https://localhost:8484/callback",
        description="The redirect URI registered for the application; `auth login` takes the code from it.",
    )
    refresh_token: Annotated[SecretStr | None, Maybe(Secret())] = Field(
        default=None, description="The first refresh token only; the ones that follow are kept with the state."
    )
    s2s: S2S | None = Field(default=None, description="Server-to-server access, instead of the four keys above.")
    page_size: Annotated[int, Whole(1, 1000)] = Field(default=1000, description="Records in one page.")
    timeout_ms: Annotated[int, Duration(1, "longer than 0 and at most 24h", 86_400_000)] = duration(
        "60s", "How long one request may take.", "timeout"
    )
    reserve: Annotated[int, Whole(0)] = Field(
        default=1000, description="Requests of the hourly quota to leave for everyone else."
    )


class Fields(Section):
    """Which fields of a Workbooks Person are written. Only these ever are; null means none."""

    sequence_state: Annotated[str, field_name()] = Field(
        default="cf_person_sequence_state", description="Picklist or text: the label of the state that is shown."
    )
    state_updated_at: Annotated[str, field_name()] = Field(
        default="cf_person_state_updated_at", description="Date or date-time: since when."
    )
    no_email: Annotated[str, field_name()] = Field(
        default="no_email_soliciting", description="Boolean: set to true by an opt-out, never cleared."
    )
    outreach_id: Annotated[str | None, Maybe(field_name())] = Field(
        default=None, description="Text or integer: the prospect's id, also used to find the Person."
    )
    sequences: Annotated[str | None, Maybe(field_name())] = Field(
        default=None, description="Text: one line for each sequence the person is in, newest first."
    )


class Workbooks(Section):
    """Where and how Workbooks is written."""

    base_url: Annotated[str, ServiceUrl()] = Field(
        default="https://secure.workbooks.com", description="Workbooks' address; some customers have their own host."
    )
    api_key: Annotated[SecretStr | None, Maybe(Secret())] = Field(
        default=None, description="The API key; it acts with the permissions of its user. Required."
    )
    application_name: Annotated[
        str, Text("letters, digits, blanks, '.', '_' and '-', at most 100", r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")
    ] = Field(default="outreach-sync", description="How Workbooks names the creator of new records.")
    batch_size: Annotated[int, Whole(1, 100)] = Field(default=100, description="Objects in one write.")
    concurrency: Annotated[int, Whole(1, 5)] = Field(default=2, description="Requests at the same time.")
    timeout_ms: Annotated[int, Duration(1, "longer than 0 and at most 24h", 86_400_000)] = duration(
        "120s", "How long one request may take.", "timeout"
    )
    fields: Annotated[Fields, BeforeValidator(nothing_as_empty)] = section(
        Fields, "The fields of a Person that are written."
    )
