"""The forms of addresses, paths and secrets."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from outreach_sync.config.forms import Form, text_of


@dataclass(frozen=True)
class Secret(Form):
    """Text that is never shown."""

    allowed: str = "text, best as ${NAME}, or by the key with `_file` added"

    def parse(self, raw: object) -> SecretStr:
        """Hide it."""
        return raw if isinstance(raw, SecretStr) else SecretStr(text_of(raw))


@dataclass(frozen=True)
class SecretUrl(Form):
    """An address that may hold a token, and is never shown."""

    allowed: str = "an address that begins with https:// or http://"

    def parse(self, raw: object) -> SecretStr:
        """Check and hide it."""
        if isinstance(raw, SecretStr):
            return raw
        text = text_of(raw)
        _host_of(text, ("https", "http"))
        return SecretStr(text)


@dataclass(frozen=True)
class ServiceUrl(Form):
    """Where a service is: https, except on a loopback address. A slash at the end is dropped."""

    allowed: str = "an https:// address without a query (http:// only on a loopback address)"
    keep_path_end: bool = False

    def parse(self, raw: object) -> str:
        """Check the parts of the address."""
        text = text_of(raw).strip()
        host = _host_of(text, ("https", "http"))
        parts = urlsplit(text)
        if parts.scheme == "http" and not is_loopback(host):
            raise ValueError("is http on a host that is not this machine")
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("has more than a host and a path")
        return text if self.keep_path_end else text.rstrip("/")


def _host_of(text: str, schemes: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not an address") from None
    if parts.scheme not in schemes or not host or re.search(r"\s", text):
        raise ValueError("is not an address")
    return host


def is_loopback(host: str) -> bool:
    """Say whether a host name is this machine, whatever the resolver thinks of it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class FilePath(Form):
    """A path; `~` is the home directory. Relative ones are resolved when the file's place is known."""

    allowed: str = "a path; a relative one starts at the config's directory"

    def parse(self, raw: object) -> Path:
        """Expand the home directory."""
        text = text_of(raw)
        if "\0" in text:
            raise ValueError("is not a path")
        try:
            return Path(text).expanduser()
        except RuntimeError:
            raise ValueError("names a home directory that does not exist") from None
