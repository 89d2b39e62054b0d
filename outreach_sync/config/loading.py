"""From the file to the `Config`, or to all of its mistakes at once."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from outreach_sync.config.consistency import inconsistencies
from outreach_sync.config.document import Document, Problem, Where, read_document
from outreach_sync.config.keys import keys_at
from outreach_sync.config.models import Config
from outreach_sync.errors import ConfigError
from outreach_sync.files import resolved

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def load_config(path: Path, *, require_secrets: bool = True) -> Config:
    """Read, complete and check a config file.

    Args:
        path: the file; relative paths in it start at its directory.
        require_secrets: False for commands that talk to no service: a credential that is missing is then None.

    Raises:
        ConfigError: the file cannot be used; `problems` has a line for each mistake.
    """
    document = read_document(path, require_secrets=require_secrets)
    config, problems = _judge(document, require_secrets=require_secrets)
    if config is None or problems:
        count = "one mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        raise ConfigError(f"{path} has {count}:", problems=tuple(problem.shown(path) for problem in problems))
    return _settled(config, path.absolute().parent)


def _judge(document: Document, *, require_secrets: bool) -> tuple[Config | None, list[Problem]]:
    """Collect what YAML, the models and the combination of keys have to say, in the order of the file."""
    problems = {problem.where: problem for problem in reversed(document.problems)}
    config = None
    try:
        config = Config.model_validate(document.tree)
    except ValidationError as error:
        for problem in _model_problems(error, document):
            problems.setdefault(problem.where, problem)
    for where, text in inconsistencies(document.tree, require_secrets=require_secrets):
        if (*where[:-1], f"{where[-1]}_file") not in problems:
            problems.setdefault(where, document.problem(where, text))
    return config, sorted(
        problems.values(), key=lambda problem: (problem.line, problem.where != (), str(problem.where))
    )


def _model_problems(error: ValidationError, document: Document) -> Iterator[Problem]:
    for found in error.errors(include_url=False, include_input=False):
        where: Where = tuple(step for step in found["loc"] if step != "[key]")
        yield document.problem(where, _text(found["type"], found.get("ctx", {}), where))


def _text(kind: str, context: dict[str, Any], where: Where) -> str:
    """Say in our words what pydantic found; its own may quote the value."""
    match kind:
        case "extra_forbidden":
            return _unknown_key(where)
        case "value_error":
            return str(context["error"])
        case "tuple_type" | "list_type":
            return "is not a list; allowed: a list, such as [a, b]"
        case _:
            return "is not a mapping; allowed: " + (", ".join(keys_at(where)) or "a map of one name to another")


def _unknown_key(where: Where) -> str:
    known = keys_at(where[:-1])
    nearest = get_close_matches(str(where[-1]), known, 1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    return f"unknown key; {hint}allowed: {', '.join(known)}"


def _settled(config: Config, base: Path) -> Config:
    """Resolve relative paths, and let a cron expression replace `every`."""
    state = config.state.model_copy(update={"path": resolved(base / config.state.path)})
    metrics = config.monitoring.metrics_file
    monitoring = config.monitoring.model_copy(update={"metrics_file": base / metrics if metrics else None})
    every = None if config.schedule.cron else config.schedule.every_ms
    schedule = config.schedule.model_copy(update={"every_ms": every})
    return config.model_copy(update={"state": state, "monitoring": monitoring, "schedule": schedule})
