from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from outreach_sync.config import Config, load_config
from outreach_sync.errors import ConfigError

Write = Callable[..., Path]

TEN_MISTAKES = """\
outrech: {}
outreach:
  base_url: http://api.example.com
  client_id: ${NO_SUCH_VARIABLE}
  client_secret_file: /nowhere/secret
  timeout: 60
workbooks:
  api_key: planted-api-key
  concurrency: 9
  concurrency: 2
  fields:
    no_email: null
sync:
  multiple_sequences: newest
  tasks:
    name: "Skipped {wat}"
schedule:
  cron: every monday
"""


def _mistakes(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def test_ten_mistakes_are_ten_lines_each_with_its_place_and_what_is_allowed(write: Write) -> None:
    mistakes = _mistakes(write(TEN_MISTAKES))
    assert [mistake.split(": ")[0:2] for mistake in mistakes] == [
        ["1", "outrech"],
        ["3", "outreach.base_url"],
        ["4", "outreach.client_id"],
        ["5", "outreach.client_secret_file"],
        ["6", "outreach.timeout"],
        ["10", "workbooks.concurrency"],
        ["12", "workbooks.fields.no_email"],
        ["14", "sync.multiple_sequences"],
        ["16", "sync.tasks.name"],
        ["18", "schedule.cron"],
    ]
    assert all(";" in mistake or "?" in mistake for mistake in mistakes)
    assert not any("planted" in mistake for mistake in mistakes)


def test_the_summary_counts_the_mistakes_and_ends_with_2(write: Write) -> None:
    path = write(TEN_MISTAKES)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.message == f"{path} has 10 mistakes:"
    assert caught.value.exit_status == 2


def test_an_unknown_key_names_the_nearest_known_one(minimal: Write) -> None:
    (mistake,) = _mistakes(minimal("  api_key_fil: x\n"))
    assert mistake.startswith("7: workbooks.api_key_fil: unknown key; did you mean api_key_file? allowed: base_url, ")


def test_a_key_by_its_python_name_is_unknown(minimal: Write) -> None:
    (mistake,) = _mistakes(minimal("sync: {overlap_ms: 5}\n"))
    assert "did you mean overlap?" in mistake


@pytest.mark.parametrize(
    ("more", "place", "said"),
    [
        ("sync: 5", "sync", "is not a mapping; allowed: streams, start"),
        ("sync: {streams: tasks}", "sync.streams", "is not a list"),
        ("sync: {streams: [tasks, task]}", "sync.streams[1]", "allowed: sequence_states, tasks, prospects"),
        ("sync: {streams: [tasks, tasks]}", "sync.streams", "duplicate"),
        ("sync: {streams: []}", "sync.streams", "empty list"),
        ("sync: {labels: [a]}", "sync.labels", "is not a mapping"),
        ("sync: {labels: {active: ''}}", "sync.labels.active", "is empty"),
        ("sync: {labels: {Not Valid: x}}", "sync.labels.…", "as Outreach writes it"),
        (
            "sync: {start: yesterday}",
            "sync.start",
            "allowed: a duration such as 90d, a date such as 2026-01-31, or all",
        ),
        ("sync: {guard: {share: 1.5}}", "sync.guard.share", "from 0 to 1"),
        ("sync: {guard: {share: nan}}", "sync.guard.share", "from 0 to 1"),
        ("sync: {people: {match: [link, link]}}", "sync.people.match", "duplicate"),
        ("sync: {people: {create_fields: {a b: title}}}", "sync.people.create_fields.…", "name of a field"),
        ("sync: {tasks: {skipped_when: [{state: x}, {}]}}", "sync.tasks.skipped_when[1]", "is not a condition"),
        ("sync: {tasks: {vanished_is_skipped: maybe}}", "sync.tasks.vanished_is_skipped", "true or false"),
        ("schedule: {every: 0s}", "schedule.every", "too short"),
        ("schedule: {every: 99999999999d}", "schedule.every", "longer than a hundred years"),
        ("schedule: {jitter: 99999999999d}", "schedule.jitter", "longer than a hundred years"),
        ("schedule: {cron: 0 0 31 2 *}", "schedule.cron", "bad day-of-month"),
        ("state: {keep_runs: 99999999999d}", "state.keep_runs", "longer than a hundred years"),
        ("sync: {start: 99999999999d}", "sync.start", "longer than a hundred years"),
        ("sync: {start: 0001-01-01}", "sync.start", "is before 1900"),
        ("sync: {overlap: 99999999999d}", "sync.overlap", "longer than a hundred years"),
        ("sync: {late_sweep: 99999999999d}", "sync.late_sweep", "longer than a hundred years"),
        ("sync: {patience: 25h}", "sync.patience", "is too long; allowed: a duration"),
        ("state: {keep_runs: 0s}", "state.keep_runs", "longer than 0"),
        ("logging: {level: loud}", "logging.level", "debug, info, warning, error"),
        ("monitoring: {ping_url: ftp://x}", "monitoring.ping_url", "https:// or http://"),
    ],
)
def test_a_value_of_the_wrong_form_is_told_what_is_allowed(minimal: Write, more: str, place: str, said: str) -> None:
    (mistake,) = _mistakes(minimal(more))
    assert mistake.startswith(f"7: {place}: ")
    assert said in mistake


def test_an_empty_section_has_its_defaults(minimal: Write) -> None:
    bare, empty = load_config(minimal()), load_config(minimal("sync:\nschedule:\nstate:\nlogging:\nmonitoring:\n"))
    assert bare == empty


def test_without_secrets_a_config_still_says_everything_else(write: Write) -> None:
    path = write("outreach: {client_id: '${A}', client_secret: '${B}'}\nworkbooks: {api_key_file: /nowhere/x}\n")
    config = load_config(path, require_secrets=False)
    assert (config.outreach.client_id, config.outreach.client_secret, config.workbooks.api_key) == (None, None, None)
    assert len(_mistakes(path)) == 3


def test_relative_paths_start_at_the_configs_directory(minimal: Write, tmp_path: Path) -> None:
    config = load_config(minimal("state: {path: x/state.db}\nmonitoring: {metrics_file: m.prom}\n"))
    assert config.state.path == tmp_path / "x/state.db"
    assert config.monitoring.metrics_file == tmp_path / "m.prom"


def test_a_cron_expression_takes_the_place_of_every(minimal: Write) -> None:
    schedule = load_config(minimal('schedule: {every: 10m, cron: "0 6 * * 1-5"}\n')).schedule
    assert (schedule.every_ms, schedule.cron) == (None, "0 6 * * 1-5")


def test_numbers_and_truth_values_may_come_from_variables(minimal: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANY", "7")
    more = "  batch_size: ${MANY}\nsync: {tasks: {vanished_is_skipped: '${YES:-true}'}, guard: {share: '${S:-0.25}'}}\n"
    config = load_config(minimal(more))
    assert config.workbooks.batch_size == 7
    assert config.sync.tasks.vanished_is_skipped is True
    assert config.sync.guard.share == 0.25


def test_credentials_of_digits_keep_their_zeros(write: Write) -> None:
    config = load_config(write("outreach: {client_id: 007, client_secret: 1e3}\nworkbooks: {api_key: 0x10}\n"))
    assert config.outreach.client_id == "007"
    assert config.outreach.client_secret is not None
    assert config.outreach.client_secret.get_secret_value() == "1e3"


SECRET = "planted$s3cret"
PLACES = [
    "outreach.client_id", "outreach.client_secret", "outreach.refresh_token", "outreach.base_url", "outreach.timeout",
    "outreach.page_size", "outreach.s2s", "outreach.redirect_uri", "workbooks.api_key", "workbooks.base_url",
    "workbooks.application_name", "workbooks.fields.no_email", "sync.start", "sync.precedence", "sync.labels",
    "sync.tasks.name", "sync.tasks.skipped_when", "sync.guard.share", "schedule.cron", "schedule.reconcile",
    "logging.level", "monitoring.ping_url", "state.keep_runs", "unknown.key", "sync.people.match",
]  # fmt: skip
SHAPES = ["{}", "[{}]", "{{a: {}}}", "https://user:{}@host/", "http://{}.example.com", "{{{}}}", "[[{}]]", "{} {}"]


@given(
    place=st.sampled_from(PLACES),
    shape=st.sampled_from(SHAPES),
    quote=st.sampled_from(["", "'"]),
    by_name=st.booleans(),
)
def test_a_secret_in_any_place_never_occurs_in_an_error(
    write: Write, place: str, shape: str, quote: str, *, by_name: bool
) -> None:
    value = quote + shape.format(SECRET, SECRET) + quote
    *sections, key = place.split(".")
    if by_name:
        value = value.replace(SECRET, "${PLANTED}")
    text = "".join(f"{'  ' * depth}{name}:\n" for depth, name in enumerate(sections))
    path = write(f"{text}{'  ' * len(sections)}{key}: {value}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLANTED", SECRET)
        with pytest.raises(ConfigError) as caught:
            load_config(path)
    assert SECRET not in str(caught.value)


def test_a_key_that_holds_a_secret_for_want_of_a_blank_is_not_shown(write: Write) -> None:
    mistakes = _mistakes(write("workbooks: {api_key:planted}\n"))
    assert any(mistake.startswith("1: workbooks.…: unknown key; did you mean api_key") for mistake in mistakes)
    assert "planted" not in "".join(mistakes)


def test_a_secret_is_hidden_in_every_form_of_a_config(minimal: Write) -> None:
    config = load_config(minimal("monitoring: {ping_url: https://ping.example.com/planted-token}\n"))
    assert isinstance(config, Config)
    assert "planted" not in f"{config} {config!r} {config.model_dump()!r} {config.workbooks!r}"
