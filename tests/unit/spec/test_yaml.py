"""Reading YAML: plain values of the core schema, lines of everything, and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import ConfigError
from runner.spec.yaml import dump, load_yaml, parse_yaml


def test_plain_scalars_follow_the_core_schema() -> None:
    """Only null, true, false and decimal numbers are more than text: no yes, octal, base sixty or dates."""
    text = "[yes, no, on, 010, 12:30, 2024-01-02, 1_000, .inf, 12, -3, 1.10, true, null, ~, '7']"
    expected = ["yes", "no", "on", "010", "12:30", "2024-01-02", "1_000", ".inf", 12, -3, 1.1, True, None, None, "7"]
    assert parse_yaml(text, "x").value == expected


def test_every_key_and_item_has_its_line() -> None:
    """Lines are those of the key, or of the item in a list, counted from 1."""
    located = parse_yaml("# head\na:\n  b: 1\nc:\n  - d\n  -\n    e: 2\n", "x")
    where = {path: line for path, line in located.lines.items() if path}
    assert where == {("a",): 2, ("a", "b"): 3, ("c",): 4, ("c", 0): 5, ("c", 1): 7, ("c", 1, "e"): 7}
    assert located.where(("c", 1, "missing")) == "x:7"
    assert located.at(("c", 1, "e")) == 2
    assert located.at(("c", 9)) is None


def test_keys_are_text() -> None:
    """A key that looks like a number or a truth value stays text."""
    assert parse_yaml("1: a\ntrue: b\n", "x").value == {"1": "a", "true": "b"}


def test_anchors_and_merges_work() -> None:
    """An alias repeats its anchor's value; what a mapping says itself wins over what `<<` brings in."""
    text = "base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}\nboth: {<<: [{a: 9}, *base]}\nlist: [*base]\n"
    value = parse_yaml(text, "x").value
    assert isinstance(value, dict)
    assert value["more"] == {"a": 1, "b": 3}
    assert value["both"] == {"a": 9, "b": 2}
    assert value["list"] == [{"a": 1, "b": 2}]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: &a [*a]\n", "x:1: unfolds into too many"),
        ("a: &a\n  <<: *a\n", "x:1: unfolds into too many"),
        ("a: !!python/object:os.system {}\n", "x:1: the tag"),
        ("a: !thing 1\n", "x:1: the tag !thing does not stand for this"),
        ("a: !thing {b: 1}\n", "x:1: the tag"),
        ("a: !!set {b, c}\n", "x:1: the tag"),
        ("a: !!int many\n", "x:1: the tag"),
        ("? [a, b]\n: 1\n", "x:1: a key must be text"),
        ("<<: 3\n", "x:1: `<<` wants the alias of a mapping"),
        ("a: 1\n---\nb: 2\n", "x:2: broken YAML"),
        ("a: \x07\n", "x:1: the character '\\x07' may not stand in YAML"),
        ("a: *nobody\n", "x:1: broken YAML"),
        ('a: "never closed\n', "x:2: broken YAML"),
    ],
)
def test_what_is_no_plain_yaml_is_refused(text: str, error: str) -> None:
    """Endless aliases, tags, keys that are no text, several documents and broken syntax end in file, line and reason."""
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "x")
    assert str(caught.value).startswith(error)


def test_aliases_of_aliases_do_not_exhaust_memory() -> None:
    """A small file that unfolds into a thousand million values is refused quickly."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="unfolds into too many"):
        parse_yaml("\n".join(lines), "x")


def test_merges_of_merges_do_not_exhaust_time() -> None:
    """Merging aliases of merged aliases is refused quickly too."""
    lines = ["a0: &a0 {k: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="unfolds into too many"):
        parse_yaml("\n".join(lines), "x")


def test_deep_nesting_is_refused() -> None:
    """A thousand brackets are a message, not a crash."""
    with pytest.raises(ConfigError):
        parse_yaml("[" * 5000, "x")
    with pytest.raises(ConfigError, match="too deeply"):
        parse_yaml("[" * 200 + "]" * 200, "x")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A missing file and a folder are configuration errors with their name."""
    with pytest.raises(ConfigError, match=r"nothing\.yaml: cannot be read: No such file"):
        load_yaml(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_yaml(tmp_path)


def test_names_are_shown_relative_to_the_root(tmp_path: Path) -> None:
    """A file below the root is shown by its path there, any other as given."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.yaml").write_text("\ufeffa: 1\n", encoding="utf-8")
    assert load_yaml(tmp_path / "in" / "a.yaml", root=tmp_path).where(("a",)) == "in/a.yaml:1"
    assert load_yaml(tmp_path / "in" / "a.yaml", root=tmp_path / "out").shown == f"{tmp_path}/in/a.yaml"


_TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\n\t:#-[]{}'\"&*!|>%@~,?0123456789.e+")
)
_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(value=st.dictionaries(_TEXT.filter(lambda key: key != "<<"), _PLAIN, min_size=1), compact=st.booleans())
def test_what_is_written_is_read_back(value: dict[str, object], compact: bool) -> None:  # noqa: FBT001  # by hypothesis
    """Any plain value survives being written and read, in both layouts."""
    assert parse_yaml(dump(value, compact=compact), "x").value == value


def test_text_of_several_lines_is_written_as_a_block() -> None:
    """Prompts stay readable in a file that is written."""
    assert dump({"prompt": "one\ntwo\n"}) == "prompt: |\n  one\n  two\n"


def test_compact_writes_each_item_on_a_line() -> None:
    """A list of flat mappings gives one line per item, however long, in the order given."""
    items = [{"name": "b" * 100, "sha256": "1" * 64}, {"name": "a", "sha256": "2" * 64}]
    text = dump({"version": 1, "artifacts": items}, compact=True)
    assert [line[:9] for line in text.splitlines()] == ["version: ", "artifacts", "- {name: ", "- {name: "]


def test_numbers_too_large_for_anything_are_text() -> None:
    """A number that would be infinite stays as it is written: JSON, which steps are handed, has no such number."""
    written = parse_yaml(f"[1.5, 1.0e+308, 1.0e+309, -1.0e+999, {'9' * 500}]", "x.yaml").value
    assert written == [1.5, 1e308, "1.0e+309", "-1.0e+999", "9" * 500]
