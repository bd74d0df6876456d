"""What reaches the terminal."""

from __future__ import annotations

import io
import json

import pytest

from runner.cli.console import Console
from runner.errors import ConfigError
from runner.report.tables import Cell, Column, Table, Tone

HOSTILE = "ok\x1b]0;title\x07\x1b[2J\rgone\x9b31m\u202e"
TABLE = Table(
    title="model: scripted model",
    columns=(Column(title="name"), Column(title="n", right=True), Column(title="why", rank=1)),
    rows=((Cell("a", Tone.STRONG), Cell("1"), Cell("[bold]x", Tone.BAD)), (Cell("bb"), Cell("22"), Cell("yy"))),
    notes=("a note",),
)


def assert_harmless(text: str) -> None:
    """Fail if the text holds a control character other than a line break, or reverses the direction of writing."""
    assert [c for c in text if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c == "\u202e"] == []


def test_a_plain_table_is_fixed_width(plain_console: Console, pipe: io.StringIO) -> None:
    """Without a terminal a table is plain text, numbers to the right, markup taken literally."""
    plain_console.table(TABLE)
    assert pipe.getvalue().splitlines() == [
        "model: scripted model",
        "name   n  why",
        "----  --  -------",
        "a      1  [bold]x",
        "bb    22  yy",
        "a note",
    ]


def test_a_terminal_gets_colours(colorful: Console, terminal: io.StringIO) -> None:
    """On a terminal a table is coloured, and its cells' markup still taken literally."""
    colorful.table(TABLE)
    assert "\x1b[31m[bold]x\x1b[0m" in terminal.getvalue()


def test_no_colours_where_none_are_wanted(terminal: io.StringIO) -> None:
    """A terminal without colours gets no escape sequence at all."""
    console = Console(out=terminal, err=terminal, color=False, width=80)
    console.table(TABLE)
    console.warn("careful")
    console.error(ConfigError("bad", where="a.yaml:1", why="because", hint="do"))
    assert_harmless(terminal.getvalue())


def test_hostile_text_is_escaped_everywhere(plain_console: Console, pipe: io.StringIO) -> None:
    """Control characters in any text become visible, in sentences, errors and tables alike."""
    plain_console.result(HOSTILE)
    plain_console.warn(HOSTILE)
    plain_console.error(ConfigError(HOSTILE, where=HOSTILE, why=HOSTILE, hint=HOSTILE))
    plain_console.painted([(HOSTILE, "good")])
    plain_console.table(Table(columns=(Column(title="t"),), rows=((Cell(HOSTILE),),), title=HOSTILE, notes=(HOSTILE,)))
    assert_harmless(pipe.getvalue())
    assert pipe.getvalue().count("gone") == 10


def test_an_error_has_three_parts(plain_console: Console, pipe: io.StringIO) -> None:
    """An error says where and what, then why, then what to type, each on its own line."""
    plain_console.error(ConfigError("jobs is 0", where="e.yaml:7", why="at least 1\nis needed", hint="jobs: 4"))
    assert pipe.getvalue() == "error: e.yaml:7: jobs is 0\n  at least 1\n  is needed\n  -> jobs: 4\n"


def test_json_is_alone_on_stdout() -> None:
    """With --json stdout holds one document and everything else goes to stderr."""
    out, err = io.StringIO(), io.StringIO()
    console = Console(out=out, err=err, to_json=True)
    console.say("working")
    console.table(TABLE)
    console.warn("careful")
    console.json({"name": "ü", "value": None})
    assert json.loads(out.getvalue()) == {"name": "ü", "value": None}
    assert "working" in err.getvalue()


def test_json_refuses_what_is_no_json(plain_console: Console) -> None:
    """A NaN never reaches a reader that cannot parse it."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        plain_console.json({"value": float("nan")})


def test_quiet_keeps_results(pipe: io.StringIO) -> None:
    """--quiet leaves out sentences, not results."""
    console = Console(out=pipe, err=pipe, quiet=True)
    console.say("working")
    console.result("42")
    assert pipe.getvalue() == "42\n"


def test_container_output_is_exact_in_a_pipe() -> None:
    """Bytes from a container reach a file unchanged."""
    raw = io.BytesIO()
    console = Console(out=io.TextIOWrapper(raw, encoding="utf-8"), err=io.StringIO())
    console.passthrough("stdout", b"\x1b[31m\xff\r\n")
    assert raw.getvalue() == b"\x1b[31m\xff\r\n"


def test_container_output_is_escaped_on_a_terminal(colorful: Console, terminal: io.StringIO) -> None:
    """On a terminal the same bytes are made visible, characters cut in two by chunks are put together."""
    for chunk in (b"\x1b[2J\xff a\xc3", b"\xbc\r\nnext\n"):
        colorful.passthrough("stdout", chunk)
    assert_harmless(terminal.getvalue())
    assert terminal.getvalue().endswith(" aü\nnext\n")


def test_too_narrow_a_terminal_says_what_is_missing(terminal: io.StringIO) -> None:
    """Columns that do not fit are named below the table."""
    Console(out=terminal, err=terminal, width=10).table(TABLE)
    assert terminal.getvalue().splitlines()[-1] == "not enough room for: why"
