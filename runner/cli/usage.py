"""What uses the disk: runs by their parts, the cache, images; each file and each shared layer once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.cli.finding import Place, places
from runner.cli.workplace import Workplace
from runner.errors import EngineError
from runner.evidence.layout import RunLayout
from runner.evidence.superseded import SUPERSEDED
from runner.evidence.usage import Meter
from runner.ledger.removal import REMOVED
from runner.ledger.store import LEDGER_FILE
from runner.report.format import DASH, count, duration, size
from runner.report.tables import Cell, Column, Table, Tone

_COLUMNS = (
    Column(title="size", right=True),
    Column(title="what"),
    Column(title="items", right=True, rank=1),
    Column(title="where", rank=2),
)
_PARTS = {
    "generated_artifacts": "workspaces",
    "state": "states",
    "history": "history of steps",
    "llm": "recordings of model calls",
    "run.tar.zst": "archives",
    "run.tar.gz": "archives",
    "steps": "logs and files of steps",
    "logs": "logs and files of steps",
}
"""Name in a run directory -> what it is called; anything else is a record."""
_RECORDS = "records"
_ATTEMPTS = "earlier attempts"


@dataclass(frozen=True, kw_only=True)
class Use:
    """One thing that takes room."""

    what: str
    bytes: int | None
    """None if it could not be measured."""
    where: str
    items: int | None = None
    why: str = ""
    """Why it could not be measured."""
    parts: Mapping[str, int | None] | None = None
    """What it consists of, the largest first."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Everything that takes room, the largest first."""

    uses: tuple[Use, ...]
    largest: tuple[tuple[str, int], ...]
    """Runs that take the most room, by directory."""
    unreadable: int
    """Folders that could not be looked into."""

    @property
    def bytes(self) -> int:
        """What was measured, together."""
        return sum(use.bytes or 0 for use in self.uses)


def measure_usage(workplace: Workplace, output: Path, *, largest: int) -> Usage:
    """Measure the runs of a folder, this user's cache and images.

    Args:
        workplace: project and folders.
        output: folder of run directories.
        largest: how many runs are named.
    """
    meter = Meter()
    runs, sizes = _runs(meter, output)
    uses = [
        runs,
        _folder(meter, "superseded runs", output / SUPERSEDED, "*/*"),
        _folder(meter, "runs whose removal was cut off", output / REMOVED, "*/*"),
        _ledger(meter, output),
        _beside(meter, output),
        _cache(meter, workplace.cache),
        _folder(meter, "logs of this program", workplace.project.state, "*"),
        _images(workplace),
    ]
    shown = [use for use in uses if use.bytes is None or use.bytes]
    return Usage(
        uses=tuple(sorted(shown, key=lambda use: -(use.bytes or 0))),
        largest=tuple(sorted(sizes.items(), key=lambda one: (-one[1], one[0]))[:largest]),
        unreadable=meter.unreadable,
    )


def _runs(meter: Meter, output: Path) -> tuple[Use, dict[str, int]]:
    parts: Counter[str] = Counter()
    sizes = {}
    found = places(output)
    for place in found:
        own = _parts(meter, place)
        parts.update(own)
        sizes[f"{place.framework}/{place.run_id}"] = sum(own.values())
    return Use(
        what="runs", bytes=sum(sizes.values()), where=str(output), items=len(found), parts=dict(parts.most_common())
    ), sizes


def _parts(meter: Meter, place: Place) -> Counter[str]:
    """Return the room of a run's parts."""
    parts: Counter[str] = Counter()
    for name, room in meter.parts(place.layout.root).items():
        parts[_PARTS.get(name, _RECORDS)] += room
    attempts = _attempts(place.layout)
    if attempts:
        parts[_ATTEMPTS] += attempts
        parts[_PARTS["steps"]] -= attempts
    return parts


def _attempts(layout: RunLayout) -> int:
    """Measure what earlier attempts left; it is a part of what was measured before, hence with a meter of its own."""
    meter = Meter()
    return sum(meter.measure(step.attempt(1).root.parent) for step in layout.steps())


def _folder(meter: Meter, what: str, folder: Path, pattern: str) -> Use:
    items = len(list(folder.glob(pattern))) if folder.is_dir() else 0
    return Use(what=what, bytes=meter.measure(folder), where=str(folder), items=items)


def _ledger(meter: Meter, output: Path) -> Use:
    files = sorted(output.glob(f"{LEDGER_FILE}*"))
    total = sum(meter.measure(file) for file in files)
    return Use(what="ledger", bytes=total, where=str(output / LEDGER_FILE), items=len(files))


def _beside(meter: Meter, output: Path) -> Use:
    """Measure the hidden names of the output folder that have no line of their own."""
    own = {SUPERSEDED, REMOVED}
    hidden = output.glob(".*") if output.is_dir() else ()
    found = [path for path in hidden if path.name not in own and not path.name.startswith(LEDGER_FILE)]
    total = sum(meter.measure(path) for path in found)
    return Use(what="locks, marks and journals", bytes=total, where=str(output), items=len(found))


def _cache(meter: Meter, cache: Path) -> Use:
    names = {
        "cas": "fetched artifacts",
        "tmp": "builds under way or cut off",
        "tools": "tools of builds",
        "logs": "build logs",
    }
    parts: Counter[str] = Counter()
    for name, room in meter.parts(cache).items():
        parts[names.get(name, _RECORDS)] += room
    return Use(what="cache", bytes=parts.total(), where=str(cache), parts=dict(parts.most_common()))


def _images(workplace: Workplace) -> Use:
    """Measure the images of this user; without an engine nobody can say."""
    from runner.cli.image_stage import image_context
    from runner.engine.docker import connect
    from runner.images.usage import image_rooms

    try:
        with connect(workplace.environment) as engine:
            rooms = image_rooms(image_context(workplace, engine))
    except EngineError as error:
        return Use(what="images", bytes=None, where="the engine", why=error.what)
    now = time.time()
    used = {one.tag: f", last used {duration(now - one.last_used)} ago" if one.last_used else "" for one in rooms}
    parts: dict[str, int | None] = {f"{one.tag}{used[one.tag]}": one.bytes for one in rooms}
    return Use(what="images", bytes=sum(one.bytes for one in rooms), where="the engine", items=len(rooms), parts=parts)


def usage_table(usage: Usage, parts: int) -> Table:
    """Return a row for each thing, and below it one for each of its parts.

    Args:
        usage: what was measured.
        parts: how many parts of one thing are shown.
    """
    rows = [row for use in usage.uses for row in _rows(use, parts)]
    notes = [f"{size(usage.bytes)} together; a file or a layer that several share counts once"]
    notes += [f"{use.what}: not measured: {use.why}" for use in usage.uses if use.why]
    if usage.unreadable:
        notes.append(f"{count(usage.unreadable)} folders could not be looked into: there is more")
    largest = ", ".join(f"{directory} {size(room)}" for directory, room in usage.largest)
    notes += [f"largest runs: {largest}"] if largest else []
    return Table(columns=_COLUMNS, rows=tuple(rows), notes=tuple(notes))


def _rows(use: Use, parts: int) -> list[tuple[Cell, ...]]:
    items = DASH if use.items is None else count(use.items)
    head = (Cell(size(use.bytes)), Cell(use.what, Tone.STRONG), Cell(items), Cell(use.where, Tone.FAINT))
    inner = list((use.parts or {}).items())
    rows = [_part(name, room) for name, room in inner[:parts]]
    if len(inner) > parts:
        rest = sum(room or 0 for _, room in inner[parts:])
        rows.append(_part(f"{count(len(inner) - parts)} more", rest))
    return [head, *rows]


def _part(name: str, room: int | None) -> tuple[Cell, ...]:
    return (Cell(size(room), Tone.FAINT), Cell(f"  {name}", Tone.FAINT), Cell(""), Cell(""))


def usage_values(usage: Usage) -> dict[str, object]:
    """Return what was measured as plain values, for `--json`."""
    return {
        "bytes": usage.bytes,
        "unreadable_folders": usage.unreadable,
        "uses": [_values(use) for use in usage.uses],
        "largest_runs": [{"run": directory, "bytes": room} for directory, room in usage.largest],
    }


def _values(use: Use) -> dict[str, object]:
    parts: Sequence[dict[str, object]] = [{"what": name, "bytes": room} for name, room in (use.parts or {}).items()]
    return {
        "what": use.what,
        "bytes": use.bytes,
        "reason": use.why,
        "items": use.items,
        "where": use.where,
        "parts": parts,
    }
