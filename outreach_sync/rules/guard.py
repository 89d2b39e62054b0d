"""The guard against a mass change that nobody meant."""

from __future__ import annotations


def stops(changes: int, known: int, *, share: float, count: int) -> bool:
    """Say whether a cycle that would change `changes` of `known` linked people must stop before its first write.

    Both must be exceeded: more than `share` of all known people, and more than `count` of them.
    """
    return changes > count and changes > share * known
