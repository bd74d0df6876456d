"""Whether anything of another run got into a run's evidence: its id, in files where only this run's can stand.

Each run has containers, a volume, a gateway session, a log and a directory of its own, so there is nothing by
construction; this looks all the same. A run's id is `<scenario>-r<repetition>-<10 digits>`, see plan.matrix.run_id.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from runner.evidence.layout import RunLayout, StepLayout
from runner.evidence.readings import Reading, unmeasured

_END_OF_ID = re.compile(rb"-r[0-9]{1,7}-[0-9a-f]{10}(?![0-9a-f])")
"""What every id ends with; a search for the whole of it would go back and forth over a long line."""
_LONGEST = 63 + 20
"""Bytes before and within that end that can belong to an id."""
_CHUNK = 1024 * 1024
STREAMS = ("stdout", "stderr")


def contamination(files: Iterable[Path], others: Collection[str]) -> Reading:
    """Return in how many of some files the id of another run stands.

    Args:
        files: files of one run; what is no regular file, or is gone, is left out.
        others: ids of other runs.
    """
    try:
        found = foreign(files, others)
    except OSError as error:
        return unmeasured(f"a file of the run could not be read: {error.strerror}")
    named = f"named in {found[0][0].name}: {found[0][1]}" if found else ""
    return Reading(value=len({path for path, _ in found}), source="records", reason=named)


def foreign(files: Iterable[Path], others: Collection[str]) -> list[tuple[Path, str]]:
    """Return each file that names another run, and which it names first.

    Raises:
        OSError: if a file cannot be read.
    """
    tails: dict[bytes, list[bytes]] = {}
    for name in others:
        raw = name.encode()
        if (end := _END_OF_ID.search(raw)) is not None:
            tails.setdefault(end.group(), []).append(raw)
    if not tails:
        return []
    found: list[tuple[Path, str]] = []
    for path in files:
        named = next((one for before, tail in _ends(path) if (one := _named(before, tails.get(tail, ())))), None)
        if named is not None:
            found.append((path, named))
    return found


def run_files(layout: RunLayout) -> list[Path]:
    """Return the files of a whole run in which only its own id can stand: its log, its calls and connections."""
    return [layout.log, layout.calls, layout.calls.with_name("connections.jsonl")]


def step_files(step: StepLayout) -> list[Path]:
    """Return those of a step: what it printed, in every attempt."""
    last = [step.log(stream) for stream in STREAMS]
    return [*last, *(path for path in sorted(step.root.glob("attempts/*/*.log")) if path.stem in STREAMS)]


def other_runs(output: Path, own: Collection[str]) -> list[str]:
    """Return the ids of the runs in an output folder, but for some: itself, and the one it was forked from."""
    found: list[str] = []
    for framework in _folders(output):
        found += [entry.name for entry in _folders(Path(framework.path)) if entry.name not in own]
    return found


def _folders(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [one for one in entries if one.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _named(before: bytes, ids: Iterable[bytes]) -> str | None:
    """Return the id that some text ends with, if it is one of these and no part of a longer word."""
    for one in ids:
        if before.endswith(one):
            return one.decode()
    return None


def _ends(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield every place in a file where an id may end: the text up to there, as long as an id can be, and its end."""
    if path.is_symlink() or not path.is_file():
        return
    with path.open("rb") as stream:
        kept = b""
        while chunk := stream.read(_CHUNK):
            text = kept + chunk
            whole = len(text) if len(chunk) < _CHUNK else len(text) - _LONGEST
            for one in _END_OF_ID.finditer(text):
                if one.end() <= whole:
                    yield text[max(one.end() - _LONGEST, 0) : one.end()], one.group()
            kept = text[max(whole - _LONGEST, 0) :] if len(chunk) == _CHUNK else b""
