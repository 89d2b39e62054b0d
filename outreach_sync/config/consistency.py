"""Mistakes that concern several keys at once, found in the tree itself so that other mistakes do not hide them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from outreach_sync.config.document import SECRETS, Where
from outreach_sync.config.services import Fields
from outreach_sync.config.syncing import DEFAULT_LABELS

Mistake = tuple[Where, str]

_OAUTH = ("client_id", "client_secret", "redirect_uri", "refresh_token")
_OURS = frozenset({"id", "lock_version", "name", "person_first_name", "person_last_name", "main_location[email]"}) | {
    "created_through_reference"
}


def inconsistencies(tree: Mapping[str, object], *, require_secrets: bool) -> Iterator[Mistake]:
    """Find what does not go together.

    Args:
        tree: the config as `read_document` gives it; what has the wrong type is left to the models.
        require_secrets: whether missing credentials are a mistake.
    """
    if require_secrets:
        yield from _missing_credentials(tree)
    yield from _two_kinds_of_credentials(_section(tree, "outreach"))
    yield from _fields_named_twice(tree)
    yield from _precedence_without_label(_section(tree, "sync"))
    yield from _no_schedule(_section(tree, "schedule"))


def _section(tree: Mapping[str, object], *way: str) -> Mapping[str, object]:
    here: object = tree
    for key in way:
        here = here.get(key) if isinstance(here, Mapping) else None
    return here if isinstance(here, Mapping) else {}


def _missing_credentials(tree: Mapping[str, object]) -> Iterator[Mistake]:
    outreach = _section(tree, "outreach")
    if outreach.get("s2s") is None:
        yield from _missing(outreach, ("outreach",), ("client_id", "client_secret"))
    elif isinstance(outreach["s2s"], Mapping):
        yield from _missing(outreach["s2s"], ("outreach", "s2s"), ("install_id", "app_guid", "private_key"))
    yield from _missing(_section(tree, "workbooks"), ("workbooks",), ("api_key",))


def _missing(section: Mapping[str, object], way: Where, keys: tuple[str, ...]) -> Iterator[Mistake]:
    for key in keys:
        if section.get(key) is None or section[key] == "":
            where = (*way, key)
            file = f", or {key}_file: PATH" if where in SECRETS else ""
            yield where, f"is required and is not given; allowed: text such as ${{NAME}}{file}"


def _two_kinds_of_credentials(outreach: Mapping[str, object]) -> Iterator[Mistake]:
    if outreach.get("s2s") is None:
        return
    for key in _OAUTH:
        if outreach.get(key):
            yield ("outreach", key), "does not go with s2s; allowed: either s2s, or " + ", ".join(_OAUTH)


def _fields_named_twice(tree: Mapping[str, object]) -> Iterator[Mistake]:
    given = _section(tree, "workbooks", "fields")
    names = {key: given.get(key, default) for key, default in Fields().model_dump().items()}
    seen = dict.fromkeys(_OURS, "the program itself")
    for key, name in names.items():
        if not isinstance(name, str) or not name:
            continue
        if name in seen:
            yield ("workbooks", "fields", key), f"names a field that {seen[name]} writes; allowed: a field of its own"
        seen.setdefault(name, f"workbooks.fields.{key}")
    for field in _section(tree, "sync", "people", "create_fields"):
        if field in seen:
            yield (
                ("sync", "people", "create_fields", field),
                f"is a field that {seen[field]} writes; allowed: other fields",
            )


def _precedence_without_label(sync: Mapping[str, object]) -> Iterator[Mistake]:
    listed, labels = sync.get("precedence"), sync.get("labels")
    states = [*DEFAULT_LABELS, *(labels if isinstance(labels, Mapping) else ())]
    known = [state for state in states if state != "not_active"]
    for index, state in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(state, str) and state not in known:
            nearest = get_close_matches(state, known, 1)
            hint = f"; nearest: {nearest[0]}" if nearest else ""
            allowed = "states that have a label: " + ", ".join(known)
            yield ("sync", "precedence", index), f"is no state that has a label; allowed: {allowed}{hint}"


def _no_schedule(schedule: Mapping[str, object]) -> Iterator[Mistake]:
    if "every" in schedule and not schedule["every"] and not schedule.get("cron"):
        yield ("schedule", "every"), "is null, and so is cron; allowed: a duration here, or a cron expression there"
