"""A group of things that `runner clean` can remove together."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from runner.report.format import plural, size

Item = tuple[str, str]
"""Name and what there is to know about it."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Things of one kind, and how they are removed together."""

    title: str
    items: tuple[Item, ...]
    remove: Callable[[], list[str]]
    """Removes them and returns what could not be removed, and why."""
    removable: bool = True
    """False for what is only reported."""
    bytes: int | None = None
    """Room they take, None if that is not known."""

    @property
    def summary(self) -> str:
        """Write how many there are and how much room they take."""
        if not self.items:
            return "none"
        room = f", {size(self.bytes)}" if self.bytes is not None else ""
        return plural(len(self.items), "item") + room

    def values(self, problems: Collection[str]) -> dict[str, object]:
        """Return the group as plain values, for `--json`."""
        items = [{"name": name, "detail": detail} for name, detail in self.items]
        return {
            "title": self.title,
            "items": items,
            "bytes": self.bytes,
            "removable": self.removable,
            "problems": list(problems),
        }
