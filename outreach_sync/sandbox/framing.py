"""Where a request begins and ends on the wire (RFC 9112): its target, and its body in every framing there is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from email.message import Message
    from io import BufferedIOBase

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?\r?\n")
_LONGEST_LINE = 65_536
_ORIGIN = re.compile(r"^https?://[^/?]*", re.IGNORECASE)


class FramingError(Exception):
    """The end of the request cannot be known: it is answered with 400, and the connection closed."""


def split_target(target: str) -> tuple[str, str]:
    """Split a request target into path and query; of the absolute form (section 3.2.2) the host is left out."""
    path, _, query = _ORIGIN.sub("", target).partition("?")
    return path or "/", query


def read_body(headers: Message, stream: BufferedIOBase) -> bytes:
    """Read the body of a request, chunked or of a stated length.

    Raises:
        FramingError: the length is none, the coding is unknown, or the body ends too early.
    """
    coding = headers.get("Transfer-Encoding")
    if coding is not None:
        if coding.strip().lower() != "chunked":
            raise FramingError(f"the transfer coding '{coding}' is not known, only chunked")
        return _chunked(stream)
    length = headers.get("Content-Length", "0").strip()
    if not length.isascii() or not length.isdigit():
        raise FramingError(f"'{length}' is no Content-Length")
    return _exactly(stream, int(length))


def _chunked(stream: BufferedIOBase) -> bytes:
    chunks = []
    while size := _chunk_size(stream):
        chunks.append(_exactly(stream, size))
        if stream.readline(_LONGEST_LINE).strip():
            raise FramingError("a chunk is longer than it says")
    while stream.readline(_LONGEST_LINE).strip():
        pass  # trailers say nothing to us
    return b"".join(chunks)


def _chunk_size(stream: BufferedIOBase) -> int:
    match = _CHUNK_SIZE.fullmatch(stream.readline(_LONGEST_LINE))
    if match is None:
        raise FramingError("a chunk has no size")
    return int(match[1], 16)


def _exactly(stream: BufferedIOBase, length: int) -> bytes:
    body = stream.read(length) if length else b""
    if len(body) < length:
        raise FramingError("the body ends too early")
    return body
