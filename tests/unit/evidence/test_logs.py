"""Output is kept byte for byte up to a bound, and shown without acting on the terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import EngineError
from runner.evidence.layout import StepLayout
from runner.evidence.logs import collect_logs, escape, escape_json, tail


@pytest.fixture
def step(tmp_path: Path) -> StepLayout:
    """Return the layout of a step."""
    return StepLayout(tmp_path / "step_001")


def test_keeps_bytes_exactly(step: StepLayout) -> None:
    """Both streams are kept apart, whatever their bytes and however they were cut."""
    chunks = [("stdout", b"\xff\x00a"), ("stderr", b"e\r\n"), ("stdout", b"\x1b[31m"), ("stdout", b"")]
    sizes = collect_logs(iter(chunks), step, 100)
    assert step.log("stdout").read_bytes() == b"\xff\x00a\x1b[31m"
    assert step.log("stderr").read_bytes() == b"e\r\n"
    assert (sizes.stdout, sizes.stderr, sizes.dropped) == (8, 3, 0)


def test_bounds_each_stream_and_says_so(step: StepLayout) -> None:
    """A quarter more than the limit is kept of each stream; the rest is counted, and marked in the log."""
    endless = (("stdout", b"x" * 70) for _ in range(10))
    sizes = collect_logs(endless, step, 100)
    assert step.log("stdout").read_bytes() == b"x" * 125 + b"\n[575 more bytes were printed and not kept]\n"
    assert step.log("stderr").read_bytes() == b""
    assert (sizes.stdout, sizes.dropped_stdout, sizes.dropped_stderr) == (700, 575, 0)


def test_keeps_what_came_before_an_error(step: StepLayout) -> None:
    """When the engine fails half way, what it had sent is on disk before the error goes on."""

    def breaking() -> Iterator[tuple[str, bytes]]:
        yield "stderr", b"last words"
        raise EngineError("gone")

    with pytest.raises(EngineError, match="gone"):
        collect_logs(breaking(), step, 100)
    assert step.log("stderr").read_bytes() == b"last words"


@pytest.mark.parametrize(
    ("content", "lines", "expected"),
    [
        (b"", 3, []),
        (b"one", 3, ["one"]),
        (b"one\n", 3, ["one"]),
        (b"one\ntwo\r\n\nfour\n", 3, ["two", "", "four"]),
        (b"one\ntwo\nthree", 2, ["two", "three"]),
        (b"caf\xe9\n", 1, ["caf\ufffd"]),
        (b"one\n", 0, []),
    ],
)
def test_tail(tmp_path: Path, content: bytes, lines: int, expected: list[str]) -> None:
    """The last lines are returned, as text, whether or not the last one has ended."""
    (tmp_path / "log").write_bytes(content)
    assert tail(tmp_path / "log", lines) == expected


def test_tail_of_nothing(tmp_path: Path) -> None:
    """A log that was never written has no lines."""
    assert tail(tmp_path / "log", 5) == []


def test_tail_of_an_enormous_line(tmp_path: Path) -> None:
    """A line of hundreds of gigabytes is neither read whole nor returned whole, and its end is kept."""
    with (tmp_path / "log").open("wb") as stream:
        stream.truncate(400 * 1024**3)
        stream.seek(0, 2)
        stream.write(b"the end")
    started = time.monotonic()
    (line,) = tail(tmp_path / "log", 10)
    assert time.monotonic() - started < 30  # reading all of it takes minutes
    assert line.endswith("the end")
    assert len(line) == 4097


def test_tail_across_blocks(tmp_path: Path) -> None:
    """A line that began before the last block that was read is returned from its beginning."""
    (tmp_path / "log").write_bytes(b"a" * 100_000 + b"\n" + b"b" * 1000 + b"\n" + b"c" * 65_000 + b"\n")
    assert [len(line) for line in tail(tmp_path / "log", 2)] == [1000, 4097]


@given(st.lists(st.text(alphabet="ab\u00fc", max_size=5), max_size=30), st.integers(1, 10))
def test_tail_against_a_model(tmp_path_factory: pytest.TempPathFactory, lines: list[str], wanted: int) -> None:
    """For any lines, the tail is the last of them."""
    path = tmp_path_factory.getbasetemp() / "tail.log"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert tail(path, wanted) == lines[-wanted:]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain \u00fc\ttab", "plain \u00fc\ttab"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\r", "a\\nb\\r"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\udcff", "\\udcff"),
        ("\x7f\x00", "\\x7f\\x00"),
    ],
)
def test_escape(text: str, shown: str) -> None:
    """What would act on a terminal, or hide, is shown as an escape; the rest stays."""
    assert escape(text) == shown


def test_escape_keeps_line_ends_where_asked() -> None:
    """Line ends stay for a text of several lines, and nothing else does."""
    assert escape("a\n\x1bb\n", newlines=True) == "a\n\\x1bb\n"


@given(st.text())
def test_escaped_text_is_inert(text: str) -> None:
    """No text keeps a control character, and escaping can be encoded."""
    shown = escape(text)
    assert not any(ord(one) < 32 or 127 <= ord(one) < 160 for one in shown.replace("\t", ""))
    shown.encode("utf-8")


def test_json_says_the_same_and_does_not_act_on_a_terminal() -> None:
    """Control characters that JSON lets stand, and those that turn text around, become escapes of JSON's own."""
    value = {"evil\x9b2J": "\u202egnp.\x7f\u2028", "good": "naïve 你好\t"}
    text = escape_json(json.dumps(value, indent=2, ensure_ascii=False))
    assert json.loads(text) == value
    assert not set(text) & set("\x9b\u202e\x7f\u2028")
    assert "naïve 你好" in text
