"""Keep a workspace as it is after a step: compare with the step before, write what differs, say what could not be kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.atomic import storage_error
from runner.evidence.content import Changed, read_file
from runner.evidence.history import seen as seen_files
from runner.evidence.history.blobs import SEEN, Blobs
from runner.evidence.history.index import Index, Node, encode, same
from runner.evidence.history.layer import Item, Tree, plan_layer, write_layer
from runner.evidence.history.oci import KeptStep, Layer, read_index, read_steps, write_index, write_step
from runner.evidence.history.seen import Seen
from runner.evidence.manifest import Skipped
from runner.evidence.pack import Packer
from runner.evidence.tree import TreeScan
from runner.evidence.walk import (
    DIRECTORY,
    FILE,
    LINK,
    TOO_DEEP,
    Entry,
    RawPath,
    name_path,
    open_below,
    opened,
    show_path,
)

LARGEST_FILE = 8 * 1024**3
"""Bytes of the largest file that is kept: a sparse file may claim to be larger than any disk."""
_CLOSED = "a folder that cannot be looked into"
_SHOWN = 3
"""Paths that a note names before it only counts."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the history knows of a workspace at one moment."""

    index: Index = field(default_factory=Index)
    numbers: tuple[int, ...] = ()
    """Steps whose layers, one upon the other, come to that."""
    blob: str = ""
    """Digest of the blob that lists it; empty if there is none yet."""
    seen: dict[RawPath, Seen] = field(default_factory=dict)
    """What its files looked like when they were last read."""


@dataclass(kw_only=True)
class History:
    """The history of one run; several threads may keep steps at once."""

    blobs: Blobs
    steps: tuple[KeptStep, ...] = ()
    """By number."""
    last: Known = field(default_factory=Known)
    """The run's workspace as it was when it was last kept."""
    clock: Callable[[], int] = time.time_ns
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def index(self) -> Index:
        return self.last.index

    @property
    def seen(self) -> dict[RawPath, Seen]:
        return self.last.seen


def open_history(folder: Path, siblings: Sequence[Path] = ()) -> History:
    """Return a run's history, going on after its last kept step.

    Args:
        folder: the run's folder `history`; it need not exist.
        siblings: such folders of runs that may well have equal layers.

    Raises:
        StorageError: if there is one that is damaged.
    """
    steps = read_steps(folder)
    last = known_after(folder, steps[-1]) if steps else Known()
    return History(blobs=Blobs(folder, siblings), steps=steps, last=last)


def known_after(folder: Path, step: KeptStep) -> Known:
    """Return what a history on disk knows of the workspace after a step.

    Raises:
        StorageError: if that is damaged.
    """
    seen = seen_files.load(folder / SEEN, step.index)
    return Known(index=read_index(folder, step), numbers=step.numbers, blob=step.index, seen=seen)


def take_snapshot(
    history: History, workspace: Path, scan: TreeScan, number: int, step: str, *, left_out: Sequence[Skipped] = ()
) -> tuple[str, ...]:
    """Keep the run's workspace as it is after a step, and go on from it; see `keep`."""
    before = history.last
    history.last, notes = keep(history, workspace, scan, (number, step), before, left_out=left_out)
    if (history.last.blob, history.last.seen) != (before.blob, before.seen):
        with contextlib.suppress(OSError):  # without it files are read once more, which harms nothing
            seen_files.save(history.blobs.history / SEEN, history.last.blob, history.last.seen)
    return notes


def keep(
    history: History,
    workspace: Path,
    scan: TreeScan,
    name: tuple[int, str],
    found: Known,
    *,
    left_out: Sequence[Skipped] = (),
    alone: bool = True,
) -> tuple[Known, tuple[str, ...]]:
    """Keep a workspace as a step left it; files that nothing has touched since they were last read are not read.

    Args:
        history: the run's; it knows the step afterwards.
        workspace: the folder.
        scan: what is in it, as somebody looked who wanted to know anyway.
        name: number and id of the step; no step of this number is kept yet.
        found: what the step found.
        left_out: what is in the workspace and not in `scan`, and why.
        alone: whether no other step's layer can come between the step's and those it was made upon.

    Returns:
        What is known of the workspace now, and a sentence for each sort of thing that is not kept.

    Raises:
        StorageError: if it cannot be kept; the history is what it was then.
    """
    with opened(workspace) as root:
        work = _Work(history=history, found=found, root=root, entries=scan.entries, number=name[0])
        work.skipped += left_out
        work.skipped += [Skipped(path=path, reason=_CLOSED) for path in scan.unreadable]
        work.skipped += [Skipped(path=path, reason=TOO_DEEP) for path in scan.too_deep]
        try:
            nodes = work.nodes()
            layer = work.write(plan_layer(found.index.nodes, nodes, short=alone), nodes)
        except Changed as change:
            raise StorageError(
                f"{show_path(change.path)} changed while the workspace was being kept",
                why="something still writes there, although the step is over",
            ) from None
        except OSError as error:
            raise storage_error("the workspace cannot be kept", error) from error
    notes = _notes(work.skipped, found.index.skipped)
    return _keep(work, nodes, layer, name[1]), notes


def _keep(work: _Work, nodes: dict[RawPath, Node], layer: Layer, step: str) -> Known:
    """Write down which layers the step has and what was there."""
    history, found = work.history, work.found
    index = Index(nodes=nodes, skipped=tuple(sorted(work.skipped, key=lambda one: one.path)))
    base = found.blob or (history.blobs.add(encode(found.index)) if found.numbers else "")
    blob = base if base and index == found.index else history.blobs.add(encode(index))
    added, changed, removed = compare(found.index.nodes, index.nodes)
    with history.lock:
        layers = {one.number: one.layer for one in history.steps} | {work.number: layer}
        numbers = (*found.numbers, work.number)
        kept = KeptStep(
            number=work.number,
            id=step,
            layers=tuple(layers[number] for number in numbers),
            numbers=numbers,
            base=base,
            index=blob,
            config="",
            manifest="",
            manifest_bytes=0,
            added=len(added),
            changed=len(changed),
            removed=len(removed),
        )
        kept = write_step(history.blobs, history.steps, kept)
        steps = tuple(sorted((*history.steps, kept), key=lambda one: one.number))
        write_index(history.blobs, steps)
        history.steps = steps
    return Known(index=index, numbers=numbers, blob=blob, seen=work.seen)


def compare(
    old: Mapping[RawPath, Node], new: Mapping[RawPath, Node]
) -> tuple[list[RawPath], list[RawPath], list[RawPath]]:
    """Return the paths that were added, changed and removed, each sorted.

    A folder counts only if its permissions changed, or if it comes or goes with nothing in it.
    """
    added = _leaves([path for path in new if path not in old], new)
    changed = sorted(path for path, node in new.items() if (was := old.get(path)) is not None and not same(was, node))
    removed = _leaves([path for path in old if path not in new], old)
    return added, changed, removed


def _leaves(paths: list[RawPath], nodes: Mapping[RawPath, Node]) -> list[RawPath]:
    parents = {path.rpartition(b"/")[0] for path in paths}
    return sorted(path for path in paths if nodes[path].kind != DIRECTORY or path not in parents)


@dataclass(kw_only=True)
class _Work:
    """One snapshot in the making."""

    history: History
    found: Known
    root: int
    entries: Mapping[RawPath, Entry]
    number: int
    seen: dict[RawPath, Seen] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)

    def nodes(self) -> dict[RawPath, Node]:
        """Return what is there now; the digest of a file that is surely new or changed is left for the layer's writer."""
        found: dict[RawPath, Node] = {}
        leaders: dict[int, RawPath] = {}
        for path, entry in sorted(self.entries.items()):
            node = self._node(path, entry, leaders)
            if node is not None:
                found[path] = node
        return found

    def write(self, items: list[Item], nodes: dict[RawPath, Node]) -> Layer:
        """Write the layer, durably, under its digest."""
        blobs = self.history.blobs
        temporary = blobs.new()
        try:
            with temporary.open("xb") as stream, Packer(stream, "zstd") as packer:
                write_layer(packer, Tree(self.root, self.entries, self.number), items, nodes)
                packer.close()
                stream.flush()
                os.fsync(stream.fileno())
            blobs.take(temporary, packer.sha256)
        finally:
            temporary.unlink(missing_ok=True)
        return Layer(diff_id=packer.tar_sha256, sha256=packer.sha256, bytes=packer.bytes)

    def _node(self, path: RawPath, entry: Entry, leaders: dict[int, RawPath]) -> Node | None:
        if entry.kind == DIRECTORY:
            return Node(DIRECTORY, entry.mode)
        if entry.kind == LINK:
            return Node(LINK, entry.mode, target=entry.target)
        known = seen_files.unchanged(self.found.seen.get(path), entry)
        if reason := "" if known else self._reason(path, entry):
            self.skipped.append(Skipped(path=path, reason=reason))
            return None
        leader = leaders.setdefault(entry.inode, path)
        return self._file(path, entry, b"" if leader == path else leader, known=known)

    def _reason(self, path: RawPath, entry: Entry) -> str:
        """Return why what is neither a folder nor a link is not kept; empty if it is."""
        if entry.kind != FILE:
            return f"a {entry.kind}, which holds nothing to keep"
        if entry.size > LARGEST_FILE:
            return f"{entry.size} bytes, more than the {LARGEST_FILE} of the largest file that is kept"
        try:
            os.close(open_below(self.root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
        except PermissionError as error:
            return f"cannot be read: {error.strerror}"
        return ""

    def _file(self, path: RawPath, entry: Entry, leader: RawPath, *, known: bool) -> Node:
        before = self.found.index.nodes.get(path)
        if before is not None and before.kind != FILE:
            before = None
        if known and before is not None:
            self.seen[path] = self.found.seen[path]
            return _relinked(before, entry, leader)
        self.seen[path] = seen_files.look(entry, self.history.clock())
        node = Node(FILE, entry.mode, entry.size, target=leader)
        if before is None or before.size != entry.size:
            return node
        sha256 = self._digest(path, entry)
        return _relinked(before, entry, leader) if sha256 == before.sha256 else node._replace(sha256=sha256)

    def _digest(self, path: RawPath, entry: Entry) -> str:
        digest = hashlib.sha256()
        for chunk in read_file(self.root, path, entry):
            digest.update(chunk)
        return digest.hexdigest()


def _relinked(node: Node, entry: Entry, leader: RawPath) -> Node:
    """Return a file of the same content as the node's; the node itself if nothing else of it changed either."""
    if (node.mode, node.target) == (entry.mode, leader):
        return node
    return node._replace(mode=entry.mode, target=leader)


def _notes(skipped: Sequence[Skipped], before: Sequence[Skipped]) -> tuple[str, ...]:
    """Return a sentence about what is not kept now and was no such thing before."""
    new = [one for one in skipped if one not in before]
    if not new:
        return ()
    more = f", and {len(new) - _SHOWN} more" if len(new) > _SHOWN else ""
    return (f"not in the history: {'; '.join(f'{name_path(one.path)}: {one.reason}' for one in new[:_SHOWN])}{more}",)
