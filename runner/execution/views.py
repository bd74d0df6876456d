"""Copies of a run's workspace and state for steps that run beside others, and what those steps changed in them."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.applying import apply
from runner.evidence.atomic import storage_error, write_json
from runner.evidence.copying import copy_tree, lock, remove_tree, unlock
from runner.evidence.history.index import Index
from runner.evidence.history.seen import FINE_STEP, Seen, look, unchanged
from runner.evidence.layout import RunLayout
from runner.evidence.merge import Beside, Changes, Conflict, changed_paths, conflicts, parents, same_bytes, settle
from runner.evidence.tree import TreeScan, scan
from runner.evidence.walk import DIRECTORY, FILE, Entry, RawPath, show_path

WORKSPACE, STATE = "workspace", "state"
"""Folders of a step's views; also the keys of what it changed in them."""
_CHANGES = "changes.json"
_WORTH_WAITING = 4 * 1024 * 1024
"""Bytes of a tree whose files are read more slowly than the clock of file times moves on."""
_SHOWN = 5
"""Conflicts that a sentence names before it only counts."""


class MergeConflict(Exception):
    """Steps beside each other changed the same paths differently, so that their changes cannot be brought together."""

    def __init__(self, found: Iterable[Conflict], kept: Path, root: Path) -> None:
        named = list(found)
        self.paths = tuple(dict.fromkeys(show_path(one.path) for one in named))
        more = f"; and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
        super().__init__(
            f"steps beside each other changed the same paths differently: {'; '.join(map(str, named[:_SHOWN]))}{more}; "
            f"both sides are in {kept.relative_to(root)}"
        )


@dataclass(frozen=True, kw_only=True)
class View:
    """A step's own copy of a tree."""

    root: Path
    origin: Path
    """Folder of the tree that it was copied from."""
    brought: Mapping[RawPath, Changes]
    """Changes of steps before it that were brought into it, by path."""
    copied: TreeScan
    """The tree that it was copied from."""
    before: TreeScan
    """What the step found."""
    left: tuple[RawPath, ...] = ()
    """Sockets and devices, of which there is no copy."""


def make_view(origin: Path, root: Path, upstream: Iterable[Changes]) -> View:
    """Copy a tree and bring the changes of earlier steps into the copy.

    Args:
        origin: the tree's folder.
        root: the copy's folder; what is there is removed.
        upstream: changes that do not exclude each other.

    Raises:
        StorageError: if something cannot be read or written.
    """
    remove_tree(root)
    copied, left = copy_tree(origin, root)
    brought = settle(upstream)
    apply(root, brought, move=False)
    return View(root=root, origin=origin, brought=brought, copied=copied, before=scan(root), left=left)


def known_view(origin: Path, root: Path, brought: Mapping[RawPath, Changes], before: TreeScan) -> View:
    """Return a view that an earlier runner made, and in which its step has worked since.

    Args:
        origin: the folder it was copied from, which is as it was.
        root: the view's folder.
        brought: changes of steps before it that were brought into it, by path.
        before: what the step found.

    Raises:
        StorageError: if something cannot be read.
    """
    return View(root=root, origin=origin, brought=brought, copied=scan(origin), before=before)


def remove_views(layout: RunLayout) -> None:
    """Remove the views of a run, but not what is written down of attempts until its record is final.

    Raises:
        StorageError: if something cannot be removed.
    """
    for folder in layout.views.glob("step_*"):
        remove_tree(folder)
    with contextlib.suppress(OSError):
        layout.views.rmdir()


def changes_in(view: View, name: tuple[str, int], tree: TreeScan | None) -> tuple[Changes, Mapping[RawPath, int]]:
    """Find what a step changed in its view, which is the runner's from here on: what is locked in it is opened.

    Args:
        view: the view.
        name: id and position of the step.
        tree: what is in it; None if nobody looked.

    Returns:
        The changes; and the permissions of what was opened.

    Raises:
        StorageError: if something cannot be read.
    """
    after, locked = unlock(view.root, tree or scan(view.root))

    def same_content(path: RawPath) -> bool:
        source = view.brought.get(path)
        return same_bytes(view.origin if source is None else source.root, view.root, path)

    paths = changed_paths(view.before.entries, after, same_content)
    return Changes(step=name[0], index=name[1], root=view.root, paths=paths, after=after), locked


def restore_tree(root: Path, found: Path, before: Mapping[RawPath, Entry]) -> None:
    """Give a tree back what a copy of it has, as far as it was touched since.

    Args:
        root: the tree's folder.
        found: the copy.
        before: what was in the tree when it was copied.

    Raises:
        StorageError: if something cannot be read or written.
    """
    touched = touched_since(root, before)
    # A path can be put back only with the folders on the way to it.
    touched |= {parent for path in touched if path in before for parent in parents(path)}
    copy = Changes(step="", index=0, root=found, paths=frozenset(touched), after=scan(found).entries)
    apply(root, dict.fromkeys(touched, copy), move=False)


def touched_since(root: Path, before: Mapping[RawPath, Entry]) -> set[RawPath]:
    """Return the paths of a tree that are not as they were.

    Args:
        root: the tree's folder.
        before: what was in it.

    Raises:
        StorageError: if it cannot be read.
    """
    now = scan(root).entries
    return {path for path in {*before, *now} if _touched(before.get(path), now.get(path))}


def lock_again(folder: Path) -> None:
    """Give what was opened in a step's views its permissions back, so that they are as the step left them.

    Raises:
        StorageError: if that cannot be done.
    """
    try:
        views = json.loads((folder / _CHANGES).read_bytes())["views"]
        for key, one in views.items():
            if (folder / key).is_dir():
                lock(folder / key, {bytes.fromhex(path): int(mode) for path, mode in one["modes"].items()})
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(f"cannot read {folder}", error) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StorageError("what a step changed cannot be used", where=str(folder / _CHANGES), why=str(error)) from None


def seen_in(
    index: Index, tree: TreeScan, source: Callable[[RawPath], tuple[Seen | None, Entry | None]]
) -> dict[RawPath, Seen]:
    """Return what need not be read of files that were copied or moved from where they had been read.

    Args:
        index: what the history knows of the tree.
        tree: the tree, to which nobody has written since.
        source: what a path's file looked like where it came from, when it was read and when it was taken from there.
    """
    found: dict[RawPath, Seen] = {}
    if not index.nodes:
        return found
    if tree.bytes >= _WORTH_WAITING:
        latest = max(entry.ctime_ns for entry in tree.entries.values())
        # Until the clock of file times has moved on, a later write to the same file might not show.
        time.sleep(max(0, min(latest + FINE_STEP - time.time_ns(), FINE_STEP) + 1_000_000) / 1e9)
    now_ns = time.time_ns()
    for path, node in index.nodes.items():
        entry = tree.entries.get(path) if node.kind == FILE else None
        if entry is not None and entry.kind == FILE:
            seen, was = source(path)
            if was is not None and unchanged(seen, was):
                found[path] = look(entry, now_ns)
    return found


def collide(changes: Iterable[Changes], beside: Beside) -> tuple[Conflict, ...]:
    """Return where changes of steps exclude each other.

    Raises:
        StorageError: if files cannot be compared.
    """
    return conflicts(tuple(changes), beside, lambda one, other, path: same_bytes(one.root, other.root, path))


def keep_sides(folder: Path, found: Iterable[Conflict]) -> None:
    """Copy what each side of each conflict has to `<folder>/<step>/<path>`; what a side removed is not there.

    Raises:
        StorageError: if it cannot be written.
    """
    sides: dict[str, dict[RawPath, Changes]] = {}
    for conflict in found:
        for changes, path in conflict.sides:
            if changes.result(path) is not None:
                chosen = sides.setdefault(changes.step, {})
                chosen |= dict.fromkeys((path, *parents(path)), changes)
    for step, chosen in sides.items():
        try:
            (folder / step).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(f"cannot make {folder / step}", error) from error
        apply(folder / step, chosen, move=False)


def save_changes(folder: Path, changes: Mapping[str, tuple[Changes, Mapping[RawPath, int]]]) -> None:
    """Write down what a step changed, for a run that is suspended before that is merged.

    Not synced: whoever suspends a run syncs all of it. Format: JSON; per view the changed paths, and the permissions of paths that were opened, paths in hexadecimal.

    Raises:
        StorageError: if it cannot be written.
    """
    content = {
        key: {
            "paths": [path.hex() for path in sorted(one.paths)],
            "modes": {path.hex(): mode for path, mode in sorted(locked.items())},
        }
        for key, (one, locked) in changes.items()
    }
    write_json(folder / _CHANGES, {"version": 1, "views": content}, durable=False)


def load_changes(layout: RunLayout, name: tuple[str, int]) -> Mapping[str, Changes]:
    """Return what a step changed in its views, by view; nothing if it has none that are not merged.

    Raises:
        StorageError: if that cannot be read.
    """
    folder = view_folder(layout, name[1])
    try:
        content = json.loads((folder / _CHANGES).read_bytes())
        return {key: _loaded(folder / key, name, one) for key, one in content["views"].items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise storage_error(f"cannot read {folder / _CHANGES}", error) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StorageError("what a step changed cannot be used", where=str(folder / _CHANGES), why=str(error)) from None


def view_folder(layout: RunLayout, index: int) -> Path:
    """Return where the views of the step at a 1-based position are."""
    return layout.views / f"step_{index:03d}"


def _loaded(root: Path, name: tuple[str, int], one: Mapping[str, object]) -> Changes:
    paths, modes = one["paths"], one["modes"]
    if not isinstance(paths, list) or not isinstance(modes, dict):
        raise TypeError("no lists of paths")
    after = dict(scan(root).entries)
    for path, mode in modes.items():
        raw = bytes.fromhex(path)
        after[raw] = after[raw]._replace(mode=int(mode))
    found = frozenset(bytes.fromhex(path) for path in paths)
    return Changes(step=name[0], index=name[1], root=root, paths=found, after=after)


def _touched(was: Entry | None, now: Entry | None) -> bool:
    if was is None or now is None:
        return was is not now
    # A folder's times change with every name in it.
    return (was.kind, was.mode) != (now.kind, now.mode) if was.kind == DIRECTORY else was != now
