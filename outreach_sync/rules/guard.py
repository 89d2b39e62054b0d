"""The guard against a mass change that nobody meant: three numbers, each with its own limit. No clock decides here."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outreach_sync.config.model import Guard


class Watched(StrEnum):
    """What the guard counts.

    UPDATES: linked people that would be changed, opt-outs left out, once the first load is done.
    LOSSES: people who would become Not Active, and records that are not to be seen or would be created again.
    CREATIONS: people that would be created, in the first load too.
    """

    UPDATES = "updates"
    LOSSES = "losses"
    CREATIONS = "creations"


def stops(changes: int, known: int, *, share: float, count: int) -> bool:
    """Say whether so many changes among `known` records are too many: more than the share, and more than the count."""
    return changes > count and changes > share * known


def exceeded(numbers: Mapping[Watched, int], linked: int, limits: Guard, *, loaded: bool) -> dict[Watched, str]:
    """Return which limits would be passed, and each problem in words.

    Args:
        numbers: how many people a cycle would change, lose or create.
        linked: how many people are linked.
        limits: what is allowed, as the config has it.
        loaded: whether the first load is done. Before, updates are not watched.
    """
    updates, losses, creations = (numbers[one] for one in Watched)
    found: dict[Watched, str] = {}
    if loaded and stops(updates, linked, share=limits.share, count=limits.count):
        allowed = f"allowed: {limits.count}, or a share of {limits.share:g}"
        found[Watched.UPDATES] = f"it would change {updates} of {linked} linked people ({allowed})"
    if stops(losses, linked, share=limits.lost_share, count=limits.lost_count):
        allowed = f"allowed: {limits.lost_count}, or a share of {limits.lost_share:g}"
        found[Watched.LOSSES] = (
            f"{losses} of {linked} linked people would become Not Active, are not to be seen any more or would be "
            f"created again ({allowed})"
        )
    if creations > limits.create:
        found[Watched.CREATIONS] = f"it would create {creations} people (allowed: {limits.create})"
    return found
