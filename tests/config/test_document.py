from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from outreach_sync.config import Document, load_config
from outreach_sync.config.model import Plain, as_yaml
from outreach_sync.errors import ConfigError

Write = Callable[..., Path]


def _problems(path: Path) -> list[str]:
    return [mistake.replace(str(path), "f") for mistake in Document(path).mistakes()]


def _refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        Document(path)
    (problem,) = caught.value.problems
    return problem.replace(str(path), "f")


@pytest.mark.parametrize(
    ("content", "line", "complaint"),
    [
        (b"# only a comment\n", 1, "empty"),
        (b"- a\n- b\n", 1, "not a mapping"),
        (b"\n\njust words\n", 3, "not a mapping"),
        (b"a: 1\nb: [1, 2\nc: 3\n", 3, "not YAML"),
        (b"a: 1\n---\nb: 2\n", 2, "not YAML"),
        (b"a: x\x07y\n", 1, "not YAML"),
        (b"a: " + b"[" * 5_000, 2, "not YAML"),
        (b"a: " + b"[" * 100_000, 1, "nested too deep"),
        (b"a: 1\nb: caf\xe9\n", 2, "the text is not UTF-8"),
        (b"# " + b"x" * 300_000, 1, "larger than 256 KiB"),
        (None, 1, "cannot be read"),
    ],
)
def test_what_is_no_mapping_is_refused_at_its_line(
    tmp_path: Path, content: bytes | None, line: int, complaint: str
) -> None:
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content)
    refusal = _refusal(path)
    assert complaint in refusal
    assert refusal.startswith(f"f:{line}: ")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfstate: {}\n")
    assert Document(tmp_path / "bom.yaml").tree == {"state": {}}


def test_a_key_given_twice_names_both_lines(write: Write) -> None:
    assert _problems(write("sync:\n  overlap: 1m\n  patience: 1m\n  overlap: 2m\n")) == [
        "f:4: sync.overlap: given twice, first on line 2; remove one of them"
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("a: &a [*a]\n", "a: &a {b: *a}\n", "? [x]\n: 1\n", "a: !!python/object:os.system x\n"),
        "a: " + "[" * 900 + "]" * 900,
    ],
)
def test_strange_yaml_is_a_mistake_and_no_crash(write: Write, text: str) -> None:
    assert len(_problems(write(text))) == 1


def test_aliases_that_multiply_are_stopped(write: Write) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert any("far too much" in problem for problem in _problems(write("\n".join(lines)))[:50])


def test_numbers_keep_their_text_and_know_their_value(write: Write) -> None:
    tree = Document(write("a: 007\nb: false\nc: '5'\nd: null\ne: 2026-01-31\nf: 0b_\n")).tree
    assert tree == {"a": "007", "b": "false", "c": "5", "d": None, "e": "2026-01-31", "f": "0b_"}
    assert as_yaml(tree) == {"a": 7, "b": False, "c": "5", "d": None, "e": "2026-01-31", "f": "0b_"}


def test_a_variable_is_typed_like_the_text_it_stands_for(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSWER", "false")
    tree = Document(write("a: ${ANSWER}\nb: '${ANSWER}'\n")).tree
    assert (as_yaml(tree["a"]), isinstance(tree["b"], Plain)) == (False, False)


@pytest.mark.parametrize("content", [None, b"\n", b"\xff\xfe"])
def test_a_secret_file_that_holds_no_secret_is_a_mistake_unless_secrets_are_not_needed(
    write: Write, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    path = write("\nworkbooks:\n  api_key_file: key\n")
    (problem,) = _problems(path)
    assert problem.startswith(f"f:3: workbooks.api_key_file: the file {tmp_path / 'key'} ")
    lenient = Document(path, require_secrets=False)
    assert (lenient.problems, lenient.tree) == ({}, {"workbooks": {"api_key": None}})


def test_a_secret_given_in_two_ways_is_a_mistake_unless_one_is_empty(write: Write, tmp_path: Path) -> None:
    (problem,) = _problems(write("workbooks:\n  api_key: hush\n  api_key_file: key\n"))
    assert problem == "f:3: workbooks.api_key_file: api_key is given as well; give one of the two"
    (tmp_path / "key").write_text("hush")
    document = Document(write("workbooks:\n  api_key: ${WORKBOOKS_API_KEY:-}\n  api_key_file: key\n"))
    assert document.tree == {"workbooks": {"api_key": "hush"}}


def test_only_credentials_may_be_unset_where_secrets_are_not_needed(write: Write) -> None:
    path = write("outreach:\n  client_id: ${NO_ID}\n  base_url: ${NO_URL}\n  client_secret_file: ${NO_DIR}/x\n")
    lenient = Document(path, require_secrets=False)
    assert list(lenient.problems) == [("outreach", "base_url")]
    assert len(Document(path).problems) == 3
    path = write("workbooks: {api_key_file: '${NO_DIR}/key'}\n")
    assert load_config(path, require_secrets=False).workbooks.api_key is None


@pytest.mark.parametrize(
    "text", ["a: *planted-secret\n", "a: !planted-secret x\n", "a: 'planted-secret\n", "%planted-secret\n"]
)
def test_a_syntax_error_never_shows_the_text(write: Write, text: str) -> None:
    path = write(text)
    try:
        shown = "".join(_problems(path))
    except ConfigError as error:
        shown = str(error)
    assert shown
    assert "planted" not in shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a${A}b", "a<${B}>b"),  # what a variable holds is not looked at again
        ("${NONE:-d}${EMPTY:-e}${A:-f}", "de<${B}>"),
        ("a${EMPTY}b", "ab"),
        ("$${A} $ {A}", "${A} $ {A}"),
        ("${NONE:-}", ""),
    ],
)
def test_variables_are_put_in_once_and_defaults_stand_in(
    write: Write, monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.setenv("A", "<${B}>")
    monkeypatch.setenv("EMPTY", "")
    assert Document(write(f"a: '{text}'\n")).tree == {"a": expected}


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A B}", "${A:default}", "${A-b}", "${A", "hush${hush"])
def test_what_is_not_a_variable_is_refused_without_being_shown(write: Write, text: str) -> None:
    (problem,) = _problems(write(f"a: '{text}'\n"))
    assert "starts no variable" in problem
    assert "hush" not in problem
