"""Plain values that know the file and line they stand in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

KeyPath = tuple[str | int, ...]
"""Keys and 0-based positions from the top of a file to one of its values."""


@dataclass(frozen=True, kw_only=True)
class Located:
    """The content of a file, or of a file with some values replaced by flags and environment variables."""

    value: object
    path: Path
    shown: str
    """Name of the file in messages and sources."""
    lines: Mapping[KeyPath, int]
    """1-based line of each key, item and scalar."""
    texts: Mapping[KeyPath, str]
    """Each scalar as it was written, without quotes."""
    origins: Mapping[KeyPath, str] = field(default_factory=dict)
    """Where a value comes from that is not in the file, like `flag --jobs`."""

    def where(self, path: KeyPath = ()) -> str:
        """Return where a value stands: its origin outside the file, else `file:line` of it or of what holds it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
            if path[:length] in self.lines:
                return f"{self.shown}:{self.lines[path[:length]]}"
        return self.shown

    def holds(self, path: KeyPath) -> bool:
        """Tell whether something was written at a path, in the file or from outside."""
        return path in self.lines or path in self.origins

    def at(self, path: KeyPath) -> object:
        """Return the value at a path, or None where there is none."""
        value = self.value
        for part in path:
            if isinstance(value, list):
                value = dict(enumerate(value))
            if not isinstance(value, Mapping) or part not in value:
                return None
            value = value[part]
        return value
