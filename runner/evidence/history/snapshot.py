"""Keep a workspace as it is after a step: compare with the step before, write what differs, say what could not be kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.atomic import storage_error
from runner.evidence.content import Changed, read_file
from runner.evidence.history import seen as seen_files
from runner.evidence.history.blobs import SEEN, Blobs
from runner.evidence.history.index import Index, Node, encode, same
from runner.evidence.history.layer import Item, Tree, plan_layer, write_layer
from runner.evidence.history.oci import KeptStep, Layer, config_json, read_index, read_steps, step_tags, write_steps
from runner.evidence.history.seen import Seen
from runner.evidence.manifest import Skipped
from runner.evidence.pack import Packer
from runner.evidence.tree import TreeScan
from runner.evidence.walk import DIRECTORY, FILE, LINK, Entry, RawPath, open_below, opened, show_path

LARGEST_FILE = 8 * 1024**3
"""Bytes of the largest file that is kept: a sparse file may claim to be larger than any disk."""
_SHOWN = 3
"""Paths that a note names before it only counts."""


@dataclass(kw_only=True)
class History:
    """The history of one run, and what is known of its workspace since the last step."""

    blobs: Blobs
    steps: tuple[KeptStep, ...] = ()
    index: Index = field(default_factory=Index)
    """After the last step that is kept."""
    seen: dict[RawPath, Seen] = field(default_factory=dict)
    clock: Callable[[], int] = time.time_ns


def open_history(folder: Path, siblings: Sequence[Path] = ()) -> History:
    """Return a run's history, going on after its last kept step.

    Args:
        folder: the run's folder `history`; it need not exist.
        siblings: such folders of runs that may well have equal layers.

    Raises:
        StorageError: if there is one that is damaged.
    """
    steps = read_steps(folder)
    if not steps:
        return History(blobs=Blobs(folder, siblings))
    return History(
        blobs=Blobs(folder, siblings),
        steps=steps,
        index=read_index(folder, steps[-1]),
        seen=seen_files.load(folder / SEEN, steps[-1].index),
    )


def take_snapshot(history: History, workspace: Path, scan: TreeScan, number: int, step: str) -> tuple[str, ...]:
    """Keep a workspace as it is now; files that nothing has touched since the last step are not read.

    Args:
        history: the run's; it knows the step afterwards.
        workspace: the folder.
        scan: what is in it, as somebody looked who wanted to know anyway.
        number: position of the step, higher than any that is kept.
        step: its id.

    Returns:
        A sentence for each sort of thing that is not kept.

    Raises:
        StorageError: if it cannot be kept; the history is what it was then.
    """
    with opened(workspace) as root:
        work = _Work(history=history, root=root, entries=scan.entries, number=number)
        try:
            nodes = work.nodes()
            items = plan_layer(history.index.nodes, nodes)
            layer = work.write(items, nodes)
        except Changed as change:
            raise StorageError(
                f"{show_path(change.path)} changed while the workspace was being kept",
                why="something still writes there, although the step is over",
            ) from None
        except OSError as error:
            raise storage_error("the workspace cannot be kept", error) from error
    notes = _notes(work.skipped, history.index.skipped)
    _keep(history, work, nodes, layer, step)
    return notes


def _keep(history: History, work: _Work, nodes: dict[RawPath, Node], layer: Layer, step: str) -> None:
    """Write down which layers the step has and what was there, and go on from it."""
    index = Index(nodes=nodes, skipped=tuple(sorted(work.skipped, key=lambda one: one.path)))
    same_index = bool(history.steps) and index == history.index
    digest = history.steps[-1].index if same_index else history.blobs.add(encode(index))
    kept = _kept_step(history, index, layer, digest, (work.number, step))
    write_steps(history.blobs, (*history.steps, kept))
    history.steps, history.index = (*history.steps, kept), index
    if not same_index or work.seen != history.seen:
        with contextlib.suppress(OSError):  # without it files are read once more, which harms nothing
            seen_files.save(history.blobs.history / SEEN, digest, work.seen)
    history.seen = work.seen


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
        known = seen_files.unchanged(self.history.seen.get(path), entry)
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
        before = self.history.index.nodes.get(path)
        if before is not None and before.kind != FILE:
            before = None
        if known and before is not None:
            self.seen[path] = self.history.seen[path]
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


def _kept_step(history: History, index: Index, layer: Layer, digest: str, name: tuple[int, str]) -> KeptStep:
    added, changed, removed = compare(history.index.nodes, index.nodes)
    number, step = name
    before = history.steps[-1] if history.steps else None
    kept = KeptStep(
        number=number,
        id=step,
        layers=(*(before.layers if before else ()), layer),
        numbers=(*(before.numbers if before else ()), number),
        index=digest,
        config="",
        added=len(added),
        changed=len(changed),
        removed=len(removed),
    )
    config = config_json(step_tags((*history.steps, kept), kept), [one.diff_id for one in kept.layers])
    return replace(kept, config=hashlib.sha256(config).hexdigest())


def _notes(skipped: Sequence[Skipped], before: Sequence[Skipped]) -> tuple[str, ...]:
    """Return a sentence about what is not kept now and was no such thing before."""
    new = [one for one in skipped if one not in before]
    if not new:
        return ()
    more = f", and {len(new) - _SHOWN} more" if len(new) > _SHOWN else ""
    return (f"not in the history: {'; '.join(str(one) for one in new[:_SHOWN])}{more}",)
