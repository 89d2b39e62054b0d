from typing import Any

import pytest

from outreach_sync.config import Document, load_config
from outreach_sync.config.model import Plain, as_yaml
from outreach_sync.errors import ConfigError


def _problems(path: Any) -> list[str]:
    return [mistake.replace(str(path), "f") for mistake in Document(path).mistakes()]


@pytest.mark.parametrize(
    ("content", "line", "complaint"),
    [
        (b"# only a comment\n", 1, "empty"), (b"- a\n- b\n", 1, "not a mapping"), (b"a: x\x07y\n", 1, "not YAML"),
        (b"\n\njust words\n", 3, "not a mapping"), (b"a: 1\nb: [1, 2\nc: 3\n", 3, "not YAML"),
        (b"a: 1\n---\nb: 2\n", 2, "not YAML"), (b"a: " + b"[" * 5_000, 2, "not YAML"),
        (b"a: " + b"[" * 50_000, 1, "nested too deep"), (b"a: 1\nb: caf\xe9\n", 2, "the text is not UTF-8"),
        (b"# " + b"x" * 300_000, 1, "larger than 256 KiB"), (None, 1, "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_mapping_is_refused_at_its_line(
    write: Any, content: bytes | None, line: int, complaint: str
) -> None:
    path = write("").with_name("missing") if content is None else write(content)
    with pytest.raises(ConfigError) as caught:
        Document(path)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}:{line}: ")
    assert complaint in problem


def test_a_byte_order_mark_does_no_harm_and_a_key_given_twice_names_both_lines(write: Any) -> None:
    assert Document(write(b"\xef\xbb\xbfstate: {}\n")).tree == {"state": {}}
    assert _problems(write("sync:\n  overlap: 1m\n  patience: 1m\n  overlap: 2m\n")) == [
        "f:4: sync.overlap: given twice, first on line 2; remove one of them"
    ]


def test_strange_yaml_is_a_mistake_and_no_crash_and_aliases_that_multiply_are_stopped(write: Any) -> None:
    deep = "a: " + "[" * 900 + "]" * 900
    for text in ("a: &a [*a]\n", "a: &a {b: *a}\n", "? [x]\n: 1\n", "a: !!python/object:os.system x\n", deep):
        assert len(_problems(write(text))) == 1, text
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert any("far too much" in problem for problem in _problems(write("\n".join(lines)))[:50])


def test_values_keep_their_text_and_know_their_type_and_a_variable_has_that_of_its_text(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Document(write("a: 007\nb: false\nc: '5'\nd: null\ne: 2026-01-31\nf: 0b_\n")).tree
    assert tree == {"a": "007", "b": "false", "c": "5", "d": None, "e": "2026-01-31", "f": "0b_"}
    assert as_yaml(tree) == {"a": 7, "b": False, "c": "5", "d": None, "e": "2026-01-31", "f": "0b_"}
    monkeypatch.setenv("ANSWER", "false")
    tree = Document(write("a: ${ANSWER}\nb: '${ANSWER}'\n")).tree
    assert (as_yaml(tree["a"]), isinstance(tree["b"], Plain)) == (False, False)


def test_a_secret_that_is_missing_or_given_twice_is_a_mistake_and_one_may_be_unset(write: Any, tmp_path: Any) -> None:
    for content in (None, b"\n", b"\xff\xfe", b"x" * 70_000):
        if content is not None:
            (tmp_path / "key").write_bytes(content)
        path = write("\nworkbooks:\n  api_key_file: key\n")
        (problem,) = _problems(path)
        assert problem.startswith(f"f:3: workbooks.api_key_file: the file {tmp_path / 'key'} ")
        lenient = Document(path, require_secrets=False)
        assert (lenient.problems, lenient.tree) == ({}, {"workbooks": {"api_key": None}})  # where none is needed
    (problem,) = _problems(write("workbooks:\n  api_key: hush\n  api_key_file: key\n"))
    assert problem == "f:3: workbooks.api_key_file: api_key is given as well; give one of the two"
    (tmp_path / "key").write_text("hush")
    document = Document(write("workbooks:\n  api_key: ${WORKBOOKS_API_KEY:-}\n  api_key_file: key\n"))
    assert document.tree == {"workbooks": {"api_key": "hush"}}
    path = write("outreach:\n  client_id: ${NO_ID}\n  base_url: ${NO_URL}\n  client_secret_file: ${NO_DIR}/x\n")
    assert list(Document(path, require_secrets=False).problems) == [("outreach", "base_url")]
    assert len(Document(path).problems) == 3
    path = write("workbooks: {api_key_file: '${NO_DIR}/key'}\n")
    assert load_config(path, require_secrets=False).workbooks.api_key is None


def test_a_syntax_error_never_shows_the_text(write: Any) -> None:
    for text in ("a: *planted-secret\n", "a: !planted-secret x\n", "a: 'planted-secret\n", "%planted-secret\n"):
        with pytest.raises(ConfigError) as caught:
            load_config(write(text))
        assert "planted" not in str(caught.value)
    for text in ("a:\n\tb: 1\n", "a:\n  b: 1\n\tc: 2\n"):
        with pytest.raises(ConfigError, match=r":\d: this is not YAML: .*a tab "):
            load_config(write(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a${A}b", "a<${B}>b"),  # what a variable holds is not looked at again
        ("${NONE:-d}${EMPTY:-e}${A:-f}", "de<${B}>"), ("a${EMPTY}b", "ab"), ("$${A} $ {A}", "${A} $ {A}"),
        ("${NONE:-}", ""),
    ],
)  # fmt: skip
def test_variables_are_put_in_once_and_defaults_stand_in(
    write: Any, monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.setenv("A", "<${B}>")
    monkeypatch.setenv("EMPTY", "")
    assert Document(write(f"a: '{text}'\n")).tree == {"a": expected}


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A B}", "${A:default}", "${A-b}", "${A", "hush${hush"])
def test_what_is_not_a_variable_is_refused_without_being_shown(write: Any, text: str) -> None:
    (problem,) = _problems(write(f"a: '{text}'\n"))
    assert "starts no variable" in problem
    assert "hush" not in problem
