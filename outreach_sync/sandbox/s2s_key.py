"""The key pair of the simulated Outreach's server-to-server app."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from outreach_sync.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_BITS = 2048


def public_key_of(path: Path) -> str:
    """Return the public half (PEM) of the RSA key in the file, which is made with mode 0600 where it is missing.

    Raises:
        UsageError: the extra `s2s` is not installed, the file cannot be written, or holds something else.
    """
    try:
        import jwt  # noqa: F401, PLC0415 - the service verifies with it; both come with the extra
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - an extra, and slow
    except ImportError:
        raise UsageError(
            "server-to-server access needs the extra `s2s`.", advice="Install it: pip install 'outreach-sync[s2s]'."
        ) from None
    try:
        key = _kept(path) if path.exists() else _made(path)
    except OSError as error:
        raise UsageError(
            f"the key {path} cannot be kept: {error.strerror}.", advice="Choose another --state."
        ) from None
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def _kept(path: Path) -> RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise UsageError(f"{path} is there and is no RSA private key.", advice="Remove it, or choose another --state.")
    return key


def _made(path: Path) -> RSAPrivateKey:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return key
