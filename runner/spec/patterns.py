"""Patterns of paths, as `exclude_files` has them: what they mean, and what is wrong with one.

The rules are those of `.gitignore` (gitignore(5), PATTERN FORMAT) without negation, comments and escapes:

- `*` and `?` stand for any characters, or one, of a single name; `[abc]`, `[a-z]` and `[!a]` for one of some.
- A pattern without a slash fits a name in any folder; one with a slash fits from the top folder on.
- `**/` at the beginning, or `/**/` within, stands for any number of folders, also none.
- A slash at the end fits folders only. `x/**` means what `x/` means.
- With a folder goes everything in it.

A character is one of the name's text, other than in git, for which it is a byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

_BELOW = "/**"
_SET = r"\[[!^]?\]?[^\]]*\]"


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """A pattern, ready to be used."""

    text: str
    """As it was written."""
    expression: re.Pattern[str]
    """Of a whole path without a slash at its end; a byte that is no UTF-8 is a lone surrogate in it."""
    folders_only: bool


def _usable(pattern: str) -> str:
    if words := check(pattern):
        raise ValueError(f"`{pattern}` {words}")
    return pattern


FilePattern = Annotated[str, AfterValidator(_usable)]
"""A pattern that means something."""


def check(pattern: str) -> str:
    """Return what is wrong with a pattern, to stand after its text; empty if nothing is."""
    trimmed = _trimmed(pattern)
    parts = trimmed.removeprefix("/").split("/")
    refused = {
        "is empty": not pattern.strip("/ "),
        "begins or ends with a blank": pattern != pattern.strip(),
        "begins with `!`: patterns only leave out, none takes in again": pattern.startswith("!"),
        "begins with `#`: write `[#]` for a name that does": pattern.startswith("#"),
        "has a backslash or a NUL: write `[*]` for a star and `[?]` for a question mark": bool(
            {*pattern} & {"\\", "\0"}
        ),
        "fits everything: `history: off` and `archive: off` are there for that": {*trimmed} <= {"*", "/"},
        "has `.`, `..` or nothing between its slashes": bool({*parts} & {"", ".", ".."}),
        "has `**` beside other characters: it stands alone between slashes": any(
            "**" in part and part != "**" for part in parts
        ),
        "has a `[` without its `]`": any("[" in re.sub(_SET, "", part) for part in parts),
        "has a set of characters that makes no sense": not _compiles(pattern),
    }
    return next((words for words, found in refused.items() if found), "")


def parse(pattern: str) -> Pattern:
    """Return a pattern that `check` finds nothing wrong with, ready to be used."""
    expression = re.compile("".join(_translated(_trimmed(pattern))), re.DOTALL)
    return Pattern(text=pattern, expression=expression, folders_only=pattern.endswith(("/", _BELOW)))


def _trimmed(pattern: str) -> str:
    return pattern.removesuffix(_BELOW).removesuffix("/")


def _compiles(pattern: str) -> bool:
    try:
        parse(pattern)
    except re.error:
        return False
    return True


def _translated(pattern: str) -> Iterator[str]:
    if "/" not in pattern:
        yield "(?:.*/)?"
    *folders, last = pattern.removeprefix("/").split("/")
    for part in folders:
        yield "(?:.*/)?" if part == "**" else f"{_name(part)}/"
    yield ".*" if last == "**" else _name(last)


def _name(part: str) -> str:
    return "".join(_piece(piece) for piece in re.findall(f"{_SET}|.", part, re.DOTALL))


def _piece(piece: str) -> str:
    if piece == "*":
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    if len(piece) == 1:
        return re.escape(piece)
    negated = piece[1] in "!^"
    inner = "".join(map(_member, re.findall(r"(?:.-.)|.", piece[1 + negated : -1], re.DOTALL)))
    return f"(?!/)[{'^' if negated else ''}{inner}]"


def _member(member: str) -> str:
    """Return a character of a set, or a range of them, for a regular expression."""
    return "-".join(map(re.escape, (member[0], member[2]))) if len(member) > 1 else re.escape(member)
