"""How much a step changed: files and lines that came, changed and went, from the history of the run.

Which files differ is in the indexes of the history. Lines are counted in files that differ and in no other, from the
layers that have them: nothing that stayed as it was is read, unless it stands before such a file in the same layer, and
that is bounded. A line counts as added as often as it occurs more than before, and as removed as often as it occurs less,
so that a line that moved within its file is neither; it takes time in proportion to the text, whatever is in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.history.index import Node
from runner.evidence.history.members import Wanted, read_members
from runner.evidence.history.oci import KeptStep, read_base, read_index
from runner.evidence.history.snapshot import compare
from runner.evidence.readings import Reading, in_words, unmeasured
from runner.evidence.walk import DIRECTORY, FILE, RawPath

LEFT_OUT = frozenset(
    {
        *(b".git", b".hg", b"node_modules", b".venv", b"venv", b"__pycache__"),
        *(b".pytest_cache", b".mypy_cache", b".ruff_cache"),
    }
)
"""Folders that are made by tools: what is in them is no change of anybody's work."""
MOST_READ = 64 * 1024 * 1024
"""Bytes of text, and of compressed layers of earlier steps, that are read to count the lines of one step."""
_MOST_TEXT = 1024 * 1024
"""Bytes of the largest file whose lines are counted."""
_BINARY_WITHIN = 8000
"""Bytes at the start of a file in which a NUL makes it binary, as git has it."""
_FILES = ("files_added", "files_changed", "files_removed")
_LINES = ("lines_added", "lines_removed")
NAMES = (*_FILES, *_LINES)
_SOURCE = "history"

Nodes = Mapping[RawPath, Node]
Lines = Counter[bytes]


@dataclass(kw_only=True)
class _Texts:
    """Lines of files, by path; of a binary file none."""

    lines: dict[RawPath, Lines] = field(default_factory=dict)
    binary: set[RawPath] = field(default_factory=set)

    def receive(self, one: Wanted, content: Iterator[bytes]) -> None:
        """Take a file's content."""
        data = b"".join(content)
        if b"\0" in data[:_BINARY_WITHIN]:
            self.binary.update(one.paths)
        else:
            lines = count_lines(data)
            self.lines.update(dict.fromkeys(one.paths, lines))


def churn(history: Path, step: KeptStep, *, most: int = MOST_READ) -> Mapping[str, Reading]:
    """Return how much a step changed.

    Args:
        history: the run's folder `history`.
        step: as it is kept there.
        most: bytes of text, and of layers of earlier steps, that may be read.

    Returns:
        files_added, files_changed, files_removed, lines_added and lines_removed; null if the history cannot be read.
    """
    try:
        old, new = _theirs(read_base(history, step).nodes), _theirs(read_index(history, step).nodes)
        differing = compare(old, new)
        files = {name: Reading(value=len(paths), source=_SOURCE) for name, paths in zip(_FILES, differing, strict=True)}
        return files | _lines(history, step, (old, new), [path for paths in differing for path in paths], most)
    except StorageError as error:
        return no_churn(f"the history cannot be read: {error}")


def no_churn(reason: str) -> Mapping[str, Reading]:
    """Return that a step's changes are not known."""
    return dict.fromkeys(NAMES, unmeasured(reason))


def count_lines(data: bytes) -> Lines:
    """Return the lines of a text, each with how often it occurs; one without its end is another line."""
    return Counter(data.splitlines(keepends=True))


def changed_lines(old: Lines, new: Lines) -> tuple[int, int]:
    """Return how many lines came and went between two texts; a line that only moved did neither."""
    return (new - old).total(), (old - new).total()


def _theirs(nodes: Nodes) -> dict[RawPath, Node]:
    """Return what counts of a workspace: files and links outside of folders that tools make."""
    return {
        path: node
        for path, node in nodes.items()
        if node.kind != DIRECTORY and LEFT_OUT.isdisjoint(path.split(b"/")[:-1])
    }


def _lines(
    history: Path, step: KeptStep, sides: tuple[Nodes, Nodes], paths: Sequence[RawPath], most: int
) -> dict[str, Reading]:
    """Return the lines that came and went in some files."""
    texts = [path for path in paths if all(_content(side.get(path)) for side in sides)]
    read = _affordable(step, sides, texts, most)
    if texts and not read:
        return dict.fromkeys(_LINES, unmeasured(f"too much would have to be read: of {len(texts)} files none was"))
    was, now = _Texts(), _Texts()
    for side, found in zip(sides, (was, now), strict=True):
        read_members(history, step, {path: side[path] for path in read if path in side}, found.receive)
    binary = was.binary | now.binary
    numbers = [
        changed_lines(was.lines.get(path, Counter()), now.lines.get(path, Counter()))
        for path in read
        if path not in binary
    ]
    readings = [Reading(value=sum(one[side] for one in numbers), source=_SOURCE, status="derived") for side in (0, 1)]
    if len(read) < len(texts):
        words = f"without {len(texts) - len(read)} of {len(texts)} files, as too much would have to be read"
        readings = [in_words(one, words) for one in readings]
    return dict(zip(_LINES, readings, strict=True))


def _content(node: Node | None) -> bool:
    """Tell whether a side of a change has lines: a link has none, and what is not there has none to be asked for."""
    return node is None or node.kind == FILE


def _affordable(step: KeptStep, sides: tuple[Nodes, Nodes], paths: Sequence[RawPath], most: int) -> list[RawPath]:
    """Return the files whose lines are counted: the smallest, and those in the smallest layers, as far as that goes."""
    sizes = {path: sum(side[path].size for side in sides if path in side) for path in paths}
    largest = {path: max(side[path].size for side in sides if path in side) for path in paths}
    layers = _affordable_layers(step, {sides[0][path].layer for path in paths if path in sides[0]}, most)
    chosen, text = [], 0
    for path in sorted(paths, key=lambda path: (sizes[path], path)):
        text += sizes[path]
        within = largest[path] <= _MOST_TEXT and text <= most
        if within and (path not in sides[0] or sides[0][path].layer in layers):
            chosen.append(path)
    return chosen


def _affordable_layers(step: KeptStep, needed: set[int], most: int) -> set[int]:
    """Return the layers of earlier steps that are read: one has to be gone through for a single file of it."""
    sizes = {number: layer.bytes for number, layer in zip(step.numbers, step.layers, strict=True) if number in needed}
    chosen, packed = set(), 0
    for number in sorted(sizes, key=lambda number: (sizes[number], number)):
        packed += sizes[number]
        if packed <= most:
            chosen.add(number)
    return chosen
