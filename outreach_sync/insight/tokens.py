"""What is known of the tokens for Outreach, without asking anybody and without showing one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outreach_sync.consent import missing_scopes
from outreach_sync.insight.status import TOKEN_DAYS, TOKEN_WARN_DAYS
from outreach_sync.instants import Instant, to_iso
from outreach_sync.outreach.grants import LOG_IN
from outreach_sync.outreach.tokens import SCOPES

if TYPE_CHECKING:
    from outreach_sync.outreach.tokenfile import StoredTokens

OAUTH, S2S = "oauth", "s2s"
_DAY_MS = 86_400_000


def tokens_document(variant: str, stored: StoredTokens | None, now: Instant, *, first_token: bool) -> dict[str, Any]:
    """Return what `auth status --json` prints.

    Args:
        variant: OAUTH for the consent flow, S2S for a server-to-server app.
        stored: what the token file holds, None where there is none.
        now: this machine's clock; that of Outreach is told from it by the offset stored with the tokens.
        first_token: the config holds a first refresh token, so that the next run gets tokens by itself.
    """
    at = Instant(now + ((stored and stored.clock_offset_ms) or 0))
    refresh = None if stored is None or variant == S2S else _refresh_token(stored, at)
    granted = "" if stored is None else stored.scope
    problem = _problem(variant, refresh, first_token=first_token)
    missing = () if variant == S2S else missing_scopes(granted, SCOPES)
    return {
        "variant": variant,
        "authenticated": problem is None,
        "access_token": None if stored is None or not stored.access_token else _access_token(stored, at),
        "refresh_token": refresh,
        "scopes": sorted(granted.split()),
        "missing_scopes": list(missing),
        "warning": problem or _warning(refresh, missing),
    }


def _access_token(stored: StoredTokens, at: Instant) -> dict[str, Any]:
    if stored.expires_at is None:
        return {"expires_at": None, "seconds_left": None}
    return {"expires_at": to_iso(stored.expires_at), "seconds_left": max((stored.expires_at - at) // 1000, 0)}


def _refresh_token(stored: StoredTokens, at: Instant) -> dict[str, Any] | None:
    """Say how old the refresh token is; each refresh starts its 14 days anew."""
    if not stored.refresh_token:
        return None
    if stored.issued_at is None:
        return {"issued_at": None, "age_days": None, "days_left": None, "expires_at": None}
    days = (at - stored.issued_at) / _DAY_MS
    return {
        "issued_at": to_iso(stored.issued_at),
        "age_days": round(days, 2),
        "days_left": round(max(TOKEN_DAYS - days, 0), 2),
        "expires_at": to_iso(Instant(stored.issued_at + TOKEN_DAYS * _DAY_MS)),
    }


def _problem(variant: str, refresh: dict[str, Any] | None, *, first_token: bool) -> str | None:
    if variant == S2S or first_token:
        return None
    if refresh is None:
        return f"there is no refresh token. {LOG_IN}"
    if refresh["days_left"] == 0:
        return f"the refresh token was idle for more than {TOKEN_DAYS} days and is dead. {LOG_IN}"
    return None


def _warning(refresh: dict[str, Any] | None, missing: tuple[str, ...]) -> str | None:
    if missing:
        return f"scopes are missing: {', '.join(missing)}; add them to the app in Outreach, then `auth login`"
    if refresh is not None and (refresh["age_days"] or 0) >= TOKEN_WARN_DAYS:
        return f"the refresh token is {refresh['age_days']:.0f} days old and lives {TOKEN_DAYS}; any run renews it"
    return None
