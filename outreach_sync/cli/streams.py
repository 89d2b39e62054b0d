"""stdout and stderr as they may be: closed, full, a pipe whose reader has gone, or unable to hold every character.

What fails there must not be taken for a bug, and must not keep a run from being done. Whoever reads our stdout and
stops has seen enough: the rest goes nowhere, and the exit status stays what the command says. A stdout that cannot be
written is an error. A stderr that cannot be written loses what would be said there.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

from outreach_sync.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STANDARD = (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"))
"""How a stream that is closed is opened: what is read is empty, what is written to stdout fails, to stderr vanishes."""


@contextmanager
def dependable_streams() -> Iterator[None]:
    """Have the standard streams behave as said above, for the block."""
    _open_what_is_closed()
    before = sys.stdout, sys.stderr
    results, messages = Results(sys.stdout), Messages(sys.stderr)
    sys.stdout, sys.stderr = cast("TextIO", results), cast("TextIO", messages)
    try:
        yield
    finally:
        messages.settle()
        sys.stdout, sys.stderr = before


def _open_what_is_closed() -> None:
    """Keep the numbers of closed streams from being given to files, which would then be written into."""
    for name, flags, mode in _STANDARD:
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode, encoding="utf-8"))


class _Dependable:
    """A text stream in front of another. Its `buffer` is hidden: whoever wrote to that would go past it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self._stream, name)

    def write(self, text: str | bytes) -> int:
        """Write a text, as UTF-8 too (click answers shells so); what the encoding lacks is written as an escape."""
        if not text:
            return _probed(text)
        spelled = text if isinstance(text, str) else text.decode()
        try:
            self._try(lambda: self._stream.write(spelled))
        except UnicodeEncodeError:
            encoding = self._stream.encoding
            plain = spelled.encode(encoding, "backslashreplace").decode(encoding)
            self._try(lambda: self._stream.write(plain))
        return len(text)

    def flush(self) -> None:
        """Write what was kept back."""
        self._try(self._stream.flush)

    def _try(self, work: Callable[[], object]) -> None:
        raise NotImplementedError


class Results(_Dependable):
    """Our stdout."""

    def __init__(self, stream: TextIO) -> None:
        """Stand in front of a stream."""
        super().__init__(stream)
        self._gone = False

    def _try(self, work: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            work()
        except OSError as problem:
            self._gone = True
            _discard(self._stream)
            if problem.errno != errno.EPIPE:
                raise OutputError(
                    f"stdout cannot be written: {problem.strerror}.", advice="What was done until then stands."
                ) from problem


class Messages(_Dependable):
    """Our stderr. It is tried each time: a disk that is full may have room again."""

    def _try(self, work: Callable[[], object]) -> None:
        with suppress(OSError):
            work()

    def settle(self) -> None:
        """Give up what still cannot be written: Python would end with a status of its own."""
        try:
            self._stream.flush()
        except OSError:
            _discard(self._stream)
        except ValueError:  # somebody has closed it
            pass


def _probed(nothing: str | bytes) -> int:
    """Answer click, which finds out what a stream takes by writing nothing: text, and that it is full is no answer."""
    if isinstance(nothing, bytes):
        raise TypeError("this is a stream of text")
    return 0


def _discard(stream: TextIO) -> None:
    """Let what the stream still holds, and all that follows, go nowhere."""
    with suppress(OSError, ValueError):
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
