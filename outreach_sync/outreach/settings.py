"""What the client of Outreach needs to know, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class S2SSettings:
    """A server-to-server app: the install's id, the app's S2S GUID, and its RSA private key (PEM)."""

    install_id: str
    app_guid: str
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutreachSettings:
    """Where Outreach is, who we are there, and how hard to lean on it.

    Attributes:
        base_url: scheme, host and port; `/api/v2` and `/oauth/token` are below it.
        refresh_token: the first one only; rotated ones are kept in the token file. Empty: `auth login` stored one.
        s2s: server-to-server credentials instead of the four above it.
        page_size: rows asked for in a page, 1 to 1000.
        timeout_ms: how long one exchange may last.
        reserve: requests of the hourly quota to leave for everyone else.
        patience_ms: how long the retries of one request may last in all.
        want_sequences: whether sequences' names are needed.
        want_steps: whether it is needed which step a state is at, and whether it was replied to.
        prospect_attributes: attributes to read beyond the usual ones.
        skip_events: names of the events that say that a task was skipped.
        task_attributes: attributes and to-one relationships that the skip rule names.
    """

    base_url: str
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    redirect_uri: str = ""
    refresh_token: str = field(default="", repr=False)
    s2s: S2SSettings | None = None
    page_size: int = 1000
    timeout_ms: int = 60_000
    reserve: int = 1000
    patience_ms: int = 120_000
    want_sequences: bool = True
    want_steps: bool = False
    prospect_attributes: tuple[str, ...] = ()
    task_attributes: tuple[str, ...] = ()
    skip_events: tuple[str, ...] = ("skip_task",)

    def url(self, path: str) -> str:
        """Put a path below the base."""
        return self.base_url.rstrip("/") + path
