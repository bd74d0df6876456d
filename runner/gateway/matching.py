"""Whether a request is one that was recorded: what may differ is taken out of both, and the rest is compared exactly.

What may differ, and nothing else:

- the query of the path;
- the members MAY_DIFFER at the top of the body: names and labels that change no answer;
- in every text: the run's id, moments (2026-01-31T12:00:00Z, Jan 31 12:00, 31/Jan/2026, 12:00:00), lengths of time
  (0.03s, 12 ms), addresses in memory (0x7f00deadbeef), UUIDs, and names of temporary files (/tmp/tmpab12cd34).
  Outputs of commands, which frameworks send on to the model, have these, and no two runs have the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

MAY_DIFFER = frozenset({"model", "stream_options", "user", "metadata", "prompt_cache_key", "safety_identifier"})
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +)?"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?"
_CHANGING = re.compile(
    rf"(?P<moment>\b\d{{4}}-\d{{2}}-\d{{2}}(?:[T ]{_CLOCK}(?: ?(?:Z|UTC|[+-]\d{{2}}:?\d{{2}}))?)?"
    rf"|\b{_DAY}{_MONTH} +\d{{1,2}} +(?:{_CLOCK}|\d{{4}}\b)"
    rf"|\b{_DAY}\d{{1,2}}[ /]{_MONTH}[ /]\d{{4}}(?:[ :]{_CLOCK})?"
    r"|\b\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?)"
    r"|(?P<time>\b\d+(?:\.\d+)? ?(?:ms|s|sec|seconds?)\b)"
    r"|(?P<address>\b0x[0-9a-fA-F]{6,16}\b)"
    r"|(?P<uuid>\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b)"
    r"|(?P<file>/tmp/tmp[a-z0-9_]{8}\b)"
)
_BEFORE, _AFTER = 30, 60
"""Characters that are shown before and after the place where two texts begin to differ."""

Leaf = tuple[str, str]
"""Path of a value in a body, like messages[2].content, and the value as JSON."""


@dataclass(frozen=True)
class Request:
    """A request without what may differ."""

    path: str
    body: Any
    """JSON value, or text where the body is no JSON."""

    @cached_property
    def key(self) -> str:
        """Return the digest of all of it: equal requests have equal ones."""
        text = json.dumps([self.path, self.body], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """Return every value in it, in order."""
        return tuple(_leaves(self.body, ""))


def normalise(path: str, body: bytes, names: Sequence[str]) -> Request:
    """Take out of a request what may differ.

    Args:
        path: its path; the query is cut off.
        body: its body, redacted.
        names: texts that stand for this run alone, like its id.
    """
    named = [name for name in names if name]
    try:
        content = json.loads(body)
        if isinstance(content, dict):
            content = {name: value for name, value in content.items() if name not in MAY_DIFFER}
        settled = _settle(content, named)
    except (ValueError, RecursionError):
        settled = _settle(body.decode("utf-8", "backslashreplace"), named)
    return Request(path=path.partition("?")[0], body=settled)


def nearest(request: Request, others: Sequence[Request]) -> int | None:
    """Return the position of the request that has most values in common with this one; the first one of several."""
    mine = set(request.leaves)
    common = [len(mine & set(other.leaves)) for other in others]
    return common.index(max(common)) if common else None


def difference(recorded: Request, request: Request) -> str:
    """Say in words where two requests begin to differ; empty if they do not."""
    if recorded.path != request.path:
        return f"its path is {recorded.path}, and here {request.path}"
    old, new = dict(recorded.leaves), dict(request.leaves)
    for path, value in request.leaves:
        if old.get(path) != value:
            return _in_words(path, old.get(path), value)
    gone = next((path for path in old if path not in new), None)
    return _in_words(gone, old[gone], None) if gone is not None else ""


def _settle(value: Any, names: Sequence[str]) -> Any:
    """Return a JSON value with everything in its texts that changes from run to run under a name of its kind."""
    match value:
        case str():
            for name in names:
                value = value.replace(name, "<run>")
            return _CHANGING.sub(lambda found: f"<{found.lastgroup}>", value)
        case list():
            return [_settle(one, names) for one in value]
        case dict():
            return {key: _settle(one, names) for key, one in value.items()}
        case _:
            return value


def _leaves(value: Any, path: str) -> Iterator[Leaf]:
    match value:
        case dict() if value:
            for key in sorted(value):
                yield from _leaves(value[key], f"{path}.{key}" if path else key)
        case list() if value:
            for number, one in enumerate(value):
                yield from _leaves(one, f"{path}[{number}]")
        case _:
            yield path, json.dumps(value, ensure_ascii=False)


def _in_words(path: str, old: str | None, new: str | None) -> str:
    start = _first_difference(old or "", new or "") if old is not None and new is not None else 0
    place = path or "the body"
    return f"{place} is {_shorten(old, start)}, and here {_shorten(new, start)}"


def _first_difference(one: str, two: str) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


def _shorten(value: str | None, start: int) -> str:
    """Return the part of a value around a place; nothing is left out without a mark."""
    if value is None:
        return "absent"
    first, last = max(0, start - _BEFORE), start + _AFTER
    return f"{'...' if first else ''}{value[first:last]}{'...' if last < len(value) else ''}"
