"""Tokens and keys go to the configured hosts only, over verified TLS."""

from __future__ import annotations

import http.server
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.serving import make_ssl_devcert

from outreach_sync.connections import Transport
from outreach_sync.http import NotSentError, StopSignal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize(
    ("service", "fault", "option", "more"),
    [
        ("outreach", "next_link_other_host", "host", {}),
        ("outreach", "redirect_elsewhere", "host", {}),
        ("workbooks", "redirect_302", "location", {}),
        ("workbooks", "redirect_302", "location", {"committed": True, "kind": "write"}),
    ],
)
def test_nobody_else_is_sent_anything(
    installation: Any, elsewhere: Any, service: str, fault: str, option: str, *, more: Any
) -> None:
    eavesdropper, url = elsewhere
    installation.settings["outreach"]["page_size"] = 5
    getattr(installation.sandbox, service).faults.on(fault, **{option: url}, **more)
    installation.says("run")
    fired = getattr(installation.sandbox, service).journal.entries()
    assert any(fault in entry.faults for entry in fired), "the fault never struck"
    assert not eavesdropper.heard


def test_a_config_cannot_switch_the_verification_off(installation: Any) -> None:
    installation.settings["outreach"]["verify"] = False
    said = installation.says("run")
    assert said.status == 2
    assert "outreach.verify: unknown key" in said.err


@pytest.mark.parametrize(
    ("variable", "value"), [("REQUESTS_CA_BUNDLE", ""), ("CURL_CA_BUNDLE", ""), ("PYTHONHTTPSVERIFY", "0")]
)
def test_no_environment_switches_the_verification_off(
    monkeypatch: pytest.MonkeyPatch, self_signed: str, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    transport = Transport(self_signed, user_agent="test", stop=StopSignal())
    with pytest.raises(NotSentError, match="certificate is not trusted"):
        transport.send("GET", f"{self_signed}/", timeout_seconds=5)


class Refused(http.server.HTTPServer):
    """A server whose visitors leave during the handshake, as they should."""

    def handle_error(self, *_: Any) -> None: ...


@pytest.fixture
def self_signed(tmp_path: Path) -> Iterator[str]:
    """Serve HTTPS with a certificate that nobody vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_ssl_devcert(str(tmp_path / "server"), host="localhost"))
    server = Refused(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()
