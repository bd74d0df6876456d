"""Leave paths of a workspace out of history and archive by patterns, and say what was left out."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from runner.evidence.manifest import Skipped
from runner.evidence.tree import TreeScan
from runner.evidence.walk import DIRECTORY, FILE, Entry, RawPath
from runner.spec.patterns import Pattern, parse

_TOP = b"."
"""Name of the workspace itself."""


def split(scan: TreeScan, patterns: Sequence[str]) -> tuple[TreeScan, tuple[Skipped, ...]]:
    """Return a scan without what patterns leave out, and what that was.

    Args:
        scan: of a workspace.
        patterns: as `runner.spec.patterns` has them.

    Returns:
        The scan of the rest, with the rest's files and bytes, and what `summary` says.
    """
    gone = left_out(scan.entries, patterns)
    if not gone:
        return scan, ()
    kept = {path: entry for path, entry in scan.entries.items() if path not in gone}
    sizes = [entry.size for entry in kept.values() if entry.kind == FILE]
    deep = tuple(path for path in scan.too_deep if path not in gone)
    rest = replace(scan, entries=kept, files=len(sizes), bytes=sum(sizes), too_deep=deep)
    return rest, summary(scan.entries, gone)


def left_out(entries: Mapping[RawPath, Entry], patterns: Sequence[str]) -> dict[RawPath, str]:
    """Return the paths that patterns leave out, each with the first pattern that does.

    Args:
        entries: every path of a workspace.
        patterns: as `runner.spec.patterns` has them.
    """
    rules = [parse(pattern) for pattern in patterns]
    if not rules:
        return {}
    any_rule = re.compile("|".join(f"(?:{rule.expression.pattern})" for rule in rules), re.DOTALL)
    found: dict[RawPath, str] = {}
    # A folder sorts before what is in it, so that its verdict is known by then.
    for path, entry in sorted(entries.items()):
        above = found.get(path.rpartition(b"/")[0])
        if above is not None:
            found[path] = above
            continue
        text = path.decode("utf-8", "surrogateescape")
        fits = (one.text for one in rules if _fits(one, text, entry)) if any_rule.fullmatch(text) else iter(())
        if (pattern := next(fits, None)) is not None:
            found[path] = pattern
    return found


def summary(entries: Mapping[RawPath, Entry], gone: Mapping[RawPath, str]) -> tuple[Skipped, ...]:
    """Return what is left out, counted: a folder with all in it once, other files once per folder and pattern.

    Args:
        entries: every path of a workspace.
        gone: what `left_out` found in it.
    """
    groups: dict[tuple[RawPath, str], list[RawPath]] = defaultdict(list)
    tops: dict[RawPath, RawPath] = {}
    for path, pattern in sorted(gone.items()):
        folder = path.rpartition(b"/")[0]
        top = tops.get(folder) or (path if entries[path].kind == DIRECTORY else None)
        if top is not None:
            tops[path] = top
        groups[folder if top is None else top, pattern].append(path)
    return tuple(_skipped(place, pattern, paths, entries) for (place, pattern), paths in sorted(groups.items()))


def _skipped(place: RawPath, pattern: str, paths: Sequence[RawPath], entries: Mapping[RawPath, Entry]) -> Skipped:
    files = [entries[path].size for path in paths if entries[path].kind == FILE]
    count = f"{len(files)} file{'' if len(files) == 1 else 's'}, {sum(files)} bytes"
    return Skipped(path=paths[0] if len(paths) == 1 else place or _TOP, reason=f"excluded by {pattern}: {count}")


def _fits(rule: Pattern, path: str, entry: Entry) -> bool:
    return (not rule.folders_only or entry.kind == DIRECTORY) and rule.expression.fullmatch(path) is not None
