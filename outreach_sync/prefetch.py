"""Work that waits for others, begun before its result is needed: requests, while the state is being written.

Daemon threads, since one that hangs must not hold up the end of the process. They never touch the state.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class Ahead(Generic[T]):
    """A call under way in a thread of its own."""

    def __init__(self, call: Callable[[], T], *, name: str) -> None:
        """Begin at once; `name` is the thread's."""
        self._results: list[T] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(call,), name=name, daemon=True)
        self._thread.start()

    def result(self) -> T:
        """Wait for what the call returns, or raise what it raised."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._results[0]

    def _run(self, call: Callable[[], T]) -> None:
        try:
            self._results.append(call())
        except BaseException as failure:  # noqa: BLE001 - the outermost one of this thread; raised again in the caller's
            self._failure = failure


def early(items: Iterator[T], count: int) -> Iterator[T]:
    """Yield the items, each taken from `items` so many others before it is its turn."""
    taken: deque[T] = deque()
    for item in items:
        taken.append(item)
        if len(taken) > count:
            yield taken.popleft()
    yield from taken
