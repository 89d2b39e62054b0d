"""Tokens and keys go to the configured hosts only, over verified TLS."""

from __future__ import annotations

import datetime as dt
import http.server
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("value", ["", "False", None])
def test_no_environment_switches_the_verification_off(
    monkeypatch: pytest.MonkeyPatch, self_signed: str, variable: str, value: str | None
) -> None:
    if value == "":
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("PYTHONHTTPSVERIFY", "0")
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
    context.load_cert_chain(_certificate(tmp_path))
    server = Refused(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def _certificate(directory: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = directory / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
