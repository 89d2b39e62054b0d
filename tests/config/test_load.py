import json
import os
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from outreach_sync.config import exposed_secrets, find_config, load_config, usual_places
from outreach_sync.errors import ConfigError

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
  fields: {no_email: null}
sync:
  multiple_sequences: newest
  tasks: {name: "Skipped {wat}"}
schedule: {cron: every monday}
"""


def _mistakes(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.exit_status == 2
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def test_ten_mistakes_are_ten_lines_each_with_its_place_and_what_is_allowed(write: Any) -> None:
    mistakes = _mistakes(write(TEN_MISTAKES))
    assert [": ".join(mistake.split(": ")[:2]) for mistake in mistakes] == [
        *("1: outrech", "3: outreach.base_url", "4: outreach.client_id", "5: outreach.client_secret_file"),
        *("6: outreach.timeout", "10: workbooks.concurrency", "11: workbooks.fields.no_email"),
        *("13: sync.multiple_sequences", "14: sync.tasks.name", "15: schedule.cron"),
    ]
    assert all(";" in mistake or "?" in mistake for mistake in mistakes)
    assert not any("planted" in mistake for mistake in mistakes)


@pytest.mark.parametrize(
    ("more", "place", "said"),
    [
        ("  api_key_fil: x", "workbooks.api_key_fil", "unknown key; did you mean api_key_file? allowed: base_url, "),
        ("sync: {overlap_ms: 5}", "sync.overlap_ms", "did you mean overlap?"),
        ("sync: 5", "sync", "is not a mapping; allowed: streams, start"),
        ("sync: {streams: tasks}", "sync.streams", "is not a list"),
        ("sync: {streams: [tasks, task]}", "sync.streams[1]", "did you mean tasks? allowed: sequence_states, tasks"),
        ("sync: {streams: [tasks, tasks]}", "sync.streams", "duplicate"),
        ("sync: {streams: []}", "sync.streams", "empty list"),
        ("sync: {labels: [a]}", "sync.labels", "is not a mapping"),
        ("sync: {labels: {active: ''}}", "sync.labels.active", "is empty"),
        ("sync: {labels: {Not Valid: x}}", "sync.labels.…", "as Outreach writes it"),
        ("sync: {start: yesterday}", "sync.start", "a duration such as 90d, a date such as 2026-01-31, or all"),
        ("sync: {start: 99999999999d}", "sync.start", "longer than a hundred years"),
        ("sync: {start: 0001-01-01}", "sync.start", "is before 1900"),
        ("sync: {guard: {share: 1.5}}", "sync.guard.share", "from 0 to 1"),
        ("sync: {guard: {share: nan}}", "sync.guard.share", "from 0 to 1"),
        ("sync: {people: {match: [link, link]}}", "sync.people.match", "duplicate"),
        ("sync: {people: {only_where: {a: [1]}}}", "sync.people.only_where.a", "is more than one value; allowed"),
        ("sync: {people: {create_fields: {a b: title}}}", "sync.people.create_fields.…", "name of a field"),
        ("sync: {tasks: {skipped_when: [{state: x}, {}]}}", "sync.tasks.skipped_when[1]", "is not a condition"),
        ("sync: {tasks: {vanished_is_skipped: maybe}}", "sync.tasks.vanished_is_skipped", "true or false"),
        ("sync: {tasks: {skip_events: ['skip task']}}", "sync.tasks.skip_events[0]", "a name as Outreach writes it"),
        ("sync: {patience: 25h}", "sync.patience", "is too large; allowed: a duration"),
        ("schedule: {every: 0s}", "schedule.every", "too small"),
        ("schedule: {every: 99999999999d}", "schedule.every", "longer than a hundred years"),
        ("schedule: {cron: 0 0 31 2 *}", "schedule.cron", "bad day-of-month"),
        ("state: {keep_runs: 0s}", "state.keep_runs", "longer than 0"),
        ("logging: {level: INF}", "logging.level", "is not one of the words; did you mean info? allowed: debug, info,"),
        ("monitoring: {on_failure: 'say \"oh'}", "monitoring.on_failure", "quote that is not closed"),
        ("monitoring: {on_failure: []}", "monitoring.on_failure", "is an empty list; allowed: a command"),
        ("monitoring: {ping_url: ftp://x}", "monitoring.ping_url", "https:// or http://"),
        ("state: {path: ~nobody-of-this-name/x}", "state.path", "names a home directory that does not exist"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_form_is_told_what_is_allowed(minimal: Any, more: str, place: str, said: str) -> None:
    (mistake,) = _mistakes(minimal(more))
    assert mistake.startswith(f"7: {place}: ")
    assert said in mistake


def test_an_empty_section_has_its_defaults_and_a_relative_path_starts_at_the_configs_directory(minimal: Any) -> None:
    bare, empty = load_config(minimal()), load_config(minimal("sync:\nschedule:\nstate:\nlogging:\nmonitoring:\n"))
    inside = load_config(minimal("  fields:\nsync: {guard: null, tasks: null, people: {create_fields: null}}\n"))
    assert bare == empty == inside
    path = minimal("state: {path: x/state.db}\nmonitoring: {metrics_file: m.prom}\n")
    config = load_config(path)
    assert (config.state.path, config.monitoring.metrics_file) == (path.parent / "x/state.db", path.parent / "m.prom")


SECRET = "planted$s3cret"
PLACES = [
    "outreach.client_id", "outreach.client_secret", "outreach.refresh_token", "outreach.base_url", "outreach.timeout",
    "outreach.page_size", "outreach.s2s", "outreach.redirect_uri", "workbooks.api_key", "workbooks.base_url",
    "workbooks.application_name", "workbooks.fields.no_email", "sync.start", "sync.precedence", "sync.labels",
    "sync.tasks.name", "sync.tasks.skipped_when", "sync.guard.share", "schedule.cron", "schedule.reconcile",
    "logging.level", "monitoring.ping_url", "state.keep_runs", "unknown.key", "sync.people.match",
]  # fmt: skip
SHAPES = ["{}", "[{}]", "{{a: {}}}", "https://user:{}@host/", "http://{}.example.com", "{{{}}}", "[[{}]]", "{} {}"]


@pytest.mark.parametrize(("secret", "quote"), [(SECRET, ""), ("${BY_NAME}", "'")])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_secret_in_any_place_never_occurs_in_an_error(
    write: Any, monkeypatch: pytest.MonkeyPatch, shape: str, secret: str, quote: str
) -> None:
    monkeypatch.setenv("BY_NAME", SECRET)
    for place in PLACES:
        *sections, key = place.split(".")
        text = "".join(f"{'  ' * depth}{name}:\n" for depth, name in enumerate(sections))
        path = write(f"{text}{'  ' * len(sections)}{key}: {quote}{shape.format(secret, secret)}{quote}\n")
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        assert SECRET not in str(caught.value)


def test_no_secret_is_shown_as_a_key_for_want_of_a_blank_nor_in_any_form_of_a_config(write: Any, minimal: Any) -> None:
    mistakes = _mistakes(write("workbooks: {api_key:planted}\n"))
    assert any(mistake.startswith("1: workbooks.…: unknown key; did you mean api_key") for mistake in mistakes)
    assert "planted" not in "".join(mistakes)
    config = load_config(minimal("monitoring: {ping_url: https://ping.example.com/planted-token}\n"))
    assert "planted" not in f"{config} {config!r} {config.model_dump()!r} {config.workbooks!r}"


KEY = "workbooks: {api_key: planted}\n"
S2S = "{install_id: 7, app_guid: g, private_key: planted}"
OAUTH = "outreach: {client_id: c, client_secret: planted}\n"
CREATE = "sync.people.create_fields"


def _fields(text: str) -> str:
    return f"{OAUTH}workbooks: {{api_key: planted, fields: {{{text}}}}}\n"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("sync:\n", "outreach.client_id outreach.client_secret workbooks.api_key"),
        (f"outreach: {{s2s: {{install_id: 7}}}}\n{KEY}", "outreach.s2s.app_guid outreach.s2s.private_key"),
        (f"outreach: {{client_id: c, refresh_token: '${{X:-}}', s2s: {S2S}}}\n{KEY}", "outreach.client_id"),
        (
            f"outreach: {{client_id: '${{NO}}', client_secret_file: ~nobody-of-this-name/x}}\n{KEY}",
            "outreach.client_id outreach.client_secret_file",
        ),
        (f"{OAUTH}workbooks: {{api_key: '${{NOTHING:-}}'}}\n", "workbooks.api_key"),
        (f"{OAUTH}{KEY}schedule: {{every: null}}\n", "schedule.every"),
        (f"{OAUTH}{KEY}sync: {{precedence: [active, not_active, activ]}}\n", "sync.precedence[1] sync.precedence[2]"),
        (_fields("sequence_state: cf_x, sequences: cf_x"), "workbooks.fields.sequences"),
        (_fields("outreach_id: no_email_soliciting"), "workbooks.fields.outreach_id"),
        (_fields("sequences: name"), "workbooks.fields.sequences"),
        (_fields("outreach_id: created_through_reference"), "workbooks.fields.outreach_id"),
        (
            f"{OAUTH}{KEY}sync: {{people: {{create_fields: {{no_email_soliciting: a, 'main_location[email]': b}}}}}}\n",
            f"{CREATE}.main_location[email] {CREATE}.no_email_soliciting",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_or_does_not_go_together_is_named(write: Any, text: str, places: str) -> None:
    assert [mistake.split(": ")[1] for mistake in _mistakes(write(text))] == places.split()


def test_what_does_go_together_is_taken(write: Any, minimal: Any) -> None:
    config = load_config(write(f"outreach: {{s2s: {S2S}}}\n{KEY}schedule: {{every: null, cron: '0 * * * *'}}\n"))
    assert config.outreach.s2s is not None
    assert (config.outreach.s2s.install_id, config.outreach.client_id, config.schedule.cron) == ("7", None, "0 * * * *")
    schedule = load_config(minimal('schedule: {every: 10m, cron: "0 6 * * 1-5"}\n')).schedule
    assert (schedule.every_ms, schedule.cron) == (None, "0 6 * * 1-5")
    config = load_config(minimal("sync: {precedence: [snoozed, active], labels: {snoozed: Snoozed}}\n"))
    assert config.sync.precedence == ("snoozed", "active")


@pytest.mark.parametrize(("mode", "who"), [(0o644, "everyone"), (0o640, "its group"), (0o604, "everyone")])
def test_a_secret_that_others_can_read_is_named_and_not_shown(minimal: Any, mode: int, who: str) -> None:
    path = minimal()
    path.chmod(mode)
    warning = str(exposed_secrets(path))
    path.chmod(0o600)
    assert exposed_secrets(path) is None
    assert f"outreach.client_secret, workbooks.api_key and can be read by {who}" in warning
    assert "planted" not in warning


def test_a_config_without_a_secret_may_be_read_by_anyone_and_a_pipe_is_read_once(write: Any, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"planted")
    os.close(writing)
    path = write(
        "outreach: {client_id: c, client_secret: '${S}', refresh_token: ''}\n"
        f"workbooks: {{api_key_file: /dev/fd/{reading}}}\nmonitoring: {{ping_url: null}}\n"
    )
    path.chmod(0o644)
    os.mkfifo(tmp_path / "pipe", 0o644)
    assert (exposed_secrets(path), exposed_secrets(tmp_path / "pipe")) == (None, None)
    assert os.read(reading, 9) == b"planted"
    os.close(reading)


def test_each_place_goes_before_the_next_and_one_that_is_named_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("outreach_sync.config._SYSTEM", tmp_path / "etc")
    explicit, variable, system = tmp_path / "explicit.yaml", tmp_path / "variable.yaml", tmp_path / "etc"
    here, user = Path("config/outreach-sync.yaml"), tmp_path / "xdg/outreach-sync/config.yaml"
    for path in (explicit, variable, here, user, system):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setenv("OUTREACH_SYNC_CONFIG", str(variable))
    assert (find_config(explicit), find_config()) == (explicit, variable)
    variable.unlink()
    for missing, by in ((tmp_path / "a", "--config, does not"), (Path(), "--config is empty"), (None, "SYNC_CONFIG")):
        with pytest.raises(ConfigError, match=by):
            find_config(missing)
    with pytest.raises(ConfigError, match="home directory"):
        find_config(Path("~nobody-of-this-name/config.yaml"))
    monkeypatch.delenv("OUTREACH_SYNC_CONFIG")
    for place in (here, user, system):
        assert find_config() == place
        place.unlink()
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        find_config()
    for place in (here, tmp_path / ".config/outreach-sync/config.yaml", system):
        assert str(place) in str(caught.value)


def test_the_state_of_root_is_the_systems_and_that_of_others_their_own_if_they_have_a_home(
    minimal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert load_config(minimal()).state.path == Path("/var/lib/outreach-sync/state.db")
    monkeypatch.setattr(os, "geteuid", lambda: 987_654)
    monkeypatch.setattr(os, "getuid", lambda: 987_654)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_config(minimal()).state.path == tmp_path / ".local/state/outreach-sync/state.db"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert load_config(minimal()).state.path == tmp_path / "xdg/outreach-sync/state.db"
    for name in ("XDG_STATE_HOME", "HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert usual_places() == [Path("config/outreach-sync.yaml"), Path("/etc/outreach-sync/config.yaml")]
    (mistake,) = _mistakes(minimal())
    assert "state.path: names a home directory that does not exist" in mistake
    assert load_config(minimal("state: {path: /var/lib/x/state.db}\n")).state.path == Path("/var/lib/x/state.db")


def test_the_state_has_one_name_whatever_links_lead_to_it(minimal: Any, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "named.db").symlink_to("link/state.db")
    for named in ("named.db", "link/state.db", "real/state.db"):
        assert load_config(minimal(f"state: {{path: {named}}}\n")).state.path == tmp_path / "real/state.db"


def _secrets(config: Any) -> list[str]:
    held = (config.outreach.client_secret, config.outreach.refresh_token, config.workbooks.api_key)
    return [one.get_secret_value() for one in held if one is not None]


SHIPPED = (Path(__file__).parents[2] / "config/systemd/outreach-sync.yaml").read_text()


def test_a_tenant_falls_back_on_what_is_its_own_and_on_nothing_of_another(
    tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    etc = tmp_path / "etc"
    monkeypatch.setattr("outreach_sync.config._SYSTEM", etc / "config.yaml")
    for directory in (etc, etc / "acme"):
        (directory / "credentials").mkdir(parents=True)
        for name in ("outreach_client_secret", "workbooks_api_key"):
            (directory / "credentials" / name).write_text(f"planted-{directory.name}")
        (directory / "config.yaml").write_text(SHIPPED)
    acme, first = load_config(etc / "acme/config.yaml"), load_config(etc / "config.yaml")
    own = Path("/var/lib/outreach-sync")
    assert (first.state.path, acme.state.path) == (own / "state.db", own / "acme/state.db")
    assert (_secrets(acme), _secrets(first)) == (["planted-acme"] * 2, ["planted-etc"] * 2)
    (etc / "acme.yaml").write_text(SHIPPED)
    for unknown in (write(SHIPPED), etc / "acme.yaml"):
        with pytest.raises(ConfigError, match="STATE_DIRECTORY is not set"):
            load_config(unknown)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "unit"))
    assert load_config(etc / "acme/config.yaml").state.path == tmp_path / "unit/state.db"


CREDENTIALS = ["outreach.client_id", "outreach.client_secret", "outreach.refresh_token", "workbooks.api_key"]
AROUND = ["{}\n", "{}\r\n", "\r{}", " {} ", "\ufeff{}", "\t{}\u200b", "\n\n{}\0"]
WAYS = ["variable", "literal", "file"]


@pytest.fixture
def config_with(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load a config in which one credential comes in a certain way."""

    def loaded(key: str, value: str, way: str) -> Any:
        given = {**dict.fromkeys(CREDENTIALS, "x-planted"), key: "${GIVEN}" if way == "variable" else value}
        monkeypatch.setattr(os, "environ", {**os.environ, "GIVEN": value})
        (tmp_path / "held").write_bytes(value.encode())
        if way == "file":
            given |= {key: "", f"{key}_file": "held"}
        tree: dict[str, dict[str, str]] = {"outreach": {}, "workbooks": {}}
        for name, text in given.items():
            tree[name.partition(".")[0]][name.partition(".")[2]] = text
        return load_config(write(json.dumps(tree)))

    return loaded


@pytest.mark.parametrize("key", CREDENTIALS)
def test_what_surrounds_a_credential_is_cleaned_whichever_way_it_came(config_with: Any, key: str) -> None:
    for way, around in product(WAYS[: 2 if key.endswith("_id") else 3], AROUND):
        config = config_with(key, around.format("planted-s3cret"), way)
        assert "planted-s3cret" in (config.outreach.client_id, *_secrets(config)), (way, around)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("inside", ["planted\ns3cret", "planted s3cret", "planted\r\ns3cret", "planted\ufeffs3cret"])
def test_a_credential_that_is_torn_inside_is_a_mistake_that_names_its_key_and_not_its_text(
    config_with: Any, inside: str, way: str
) -> None:
    with pytest.raises(ConfigError, match=r"workbooks\.api_key: has a blank, a line break") as caught:
        config_with("workbooks.api_key", inside, way)
    assert caught.value.exit_status == 2
    assert "planted" not in str(caught.value)
