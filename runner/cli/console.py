"""The terminal: the only place that prints. Whatever comes from elsewhere is escaped on its way out."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from runner.errors import RunnerError

if TYPE_CHECKING:
    from runner.report.tables import Cell, Table

_SGR = {"good": "32", "bad": "31", "warn": "33", "faint": "2", "strong": "1"}
"""Tone -> parameters of the ANSI sequence that selects it."""
_USUAL_WIDTH = 80
_PLAIN_WIDTH = 100_000
"""Width where no terminal sets one: nothing is cut or left out of a file."""


def escape(text: str) -> str:
    """Make text from anywhere safe to print on one line: control characters and ANSI sequences become visible."""
    if text.isprintable():
        return text
    from runner.evidence.logs import escape as visible

    return visible(text)


class Console:
    """Two streams and what may be done on them.

    Args:
        out: results.
        err: errors and warnings; with `to_json` everything but the result.
        color: whether colours are wanted; they appear on a terminal only.
        quiet: whether to leave out what is neither a result nor a problem.
        to_json: whether the result is one JSON document.
        width: columns of the terminal; asked each time by default, because terminals are resized.
    """

    def __init__(
        self,
        *,
        out: TextIO,
        err: TextIO,
        color: bool = False,
        quiet: bool = False,
        to_json: bool = False,
        width: int | None = None,
    ) -> None:
        self.out = out
        self.err = err
        self.quiet = quiet
        self.to_json = to_json
        self._color = color
        self._width = width
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}

    @property
    def interactive(self) -> bool:
        """Whether a person watches: live displays make sense."""
        return self.talk.isatty()

    @property
    def talk(self) -> TextIO:
        """The stream for sentences about what goes on."""
        return self.err if self.to_json else self.out

    def colored(self, stream: TextIO) -> bool:
        """Return whether colours may be written to a stream."""
        return self._color and stream.isatty()

    def width(self, stream: TextIO) -> int:
        """Return the columns of a stream's terminal."""
        if self._width is not None:
            return self._width
        try:
            return os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH
        except (OSError, ValueError):
            return _USUAL_WIDTH if stream.isatty() else _PLAIN_WIDTH

    def result(self, text: str = "") -> None:
        """Print lines of the command's result."""
        self._put(self.talk, _lines(text) + "\n")

    def say(self, text: str) -> None:
        """Print a sentence about what goes on; `--quiet` leaves it out."""
        if not self.quiet:
            self.result(text)
            self.talk.flush()

    def aside(self, text: str) -> None:
        """Print a sentence on stderr that must not get into the result; `--quiet` leaves it out."""
        if not self.quiet:
            self.out.flush()
            self._put(self.err, self._paint(_lines(text), "faint", self.err) + "\n")

    def warn(self, text: str) -> None:
        """Print a warning on stderr."""
        self._put(self.err, self._paint("warning: ", "warn", self.err) + _lines(text) + "\n")

    def error(self, error: RunnerError) -> None:
        """Print an error in its three parts: what happened and where, why, and what to type next."""
        head = f"{error.where}: {error.what}" if error.where else error.what
        text = self._paint("error: ", "bad", self.err) + _lines(head) + "\n"
        text += f"{_indented(error.why)}\n" if error.why else ""
        text += f"{self._paint('  -> ', 'strong', self.err)}{_indented(error.hint).lstrip()}\n" if error.hint else ""
        self._put(self.err, text)

    def toned(self, text: str, tone: str) -> str:
        """Return escaped text, in colour if the talking stream has colours."""
        return self._paint(escape(text), tone, self.talk)

    def painted(self, parts: Iterable[tuple[str, str]]) -> None:
        """Print one line of the result from pieces of `(text, tone)`, each escaped."""
        self._put(self.talk, "".join(self.toned(text, tone) for text, tone in parts) + "\n")

    def json(self, value: object) -> None:
        """Print the result as one JSON document on stdout; a NaN or an infinity is a defect."""
        import json

        from runner.evidence.logs import escape_json

        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        self._put(self.out, escape_json(text) + "\n")

    def table(self, table: Table) -> None:
        """Print a table, with its title above and its notes below."""
        from runner.cli.tables import render_plain, render_rich
        from runner.report.tables import fit

        fitted, left_out = fit(table, self.width(self.talk))
        if table.title:
            self.painted([(table.title, "strong")])
        if self.colored(self.talk):
            self._put(self.talk, render_rich(fitted, self.width(self.talk)))
        else:
            self._put(self.talk, render_plain(fitted, self.width(self.talk)))
        for note in table.notes:
            self.painted([(note, "faint")])
        if left_out:
            self.say(f"not enough room for: {', '.join(left_out)}")

    def block(self, block: Table | tuple[Cell, ...]) -> None:
        """Print a table, or one line from its pieces."""
        if isinstance(block, tuple):
            self.painted([(cell.text, cell.tone) for cell in block])
        else:
            self.table(block)

    def passthrough(self, stream: str, chunk: bytes) -> None:
        """Write bytes from a container to `stdout` or `stderr`: exactly to a file or a pipe, escaped to a terminal."""
        target = self.err if stream == "stderr" else self.out
        binary = None if target.isatty() else getattr(target, "buffer", None)
        if binary is not None:
            target.flush()
            binary.write(chunk)
            binary.flush()
            return
        if stream not in self._decoders:
            self._decoders[stream] = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        lines = self._decoders[stream].decode(chunk).split("\n")
        self._put(target, "\n".join(escape(line.removesuffix("\r")) for line in lines))

    def frame(self, text: str) -> None:
        """Write text that is already safe, like a frame of the live view, to the talking stream."""
        self._put(self.talk, text)

    def flush(self) -> None:
        """Write what is buffered, so that a closed pipe is noticed while it can still be handled."""
        self.out.flush()
        self.err.flush()

    def abandon(self) -> None:
        """Send what is still buffered nowhere, after whoever read stdout has left."""
        with os.fdopen(os.open(os.devnull, os.O_WRONLY), "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.__stdout__.fileno() if sys.__stdout__ else 1)

    def _paint(self, text: str, tone: str, stream: TextIO) -> str:
        code = _SGR.get(tone)
        return f"\x1b[{code}m{text}\x1b[0m" if code and self.colored(stream) else text

    @staticmethod
    def _put(stream: TextIO, text: str) -> None:
        print(text, end="", file=stream, flush=stream.isatty())


def _lines(text: str) -> str:
    """Escape text, keeping its line breaks."""
    return "\n".join(escape(line) for line in text.split("\n"))


def _indented(text: str) -> str:
    return "\n".join(f"  {escape(line)}" for line in text.split("\n"))
