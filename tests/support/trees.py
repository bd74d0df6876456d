"""Random trees and edits of them as plain values, to compare what is done to real trees with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

NAMES = (b"a", b"b", b"dir", b"not-utf8-\xff", b".wh.a")
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(b"/".join)


class Thing(NamedTuple):
    """What stands at a path."""

    kind: str
    """file, folder or link."""
    content: bytes = b""
    """Of a file, or where a link points."""
    mode: int = 0o644


FOLDER = Thing("folder", b"", 0o755)
Model = Mapping[bytes, Thing]
"""A tree: every path of it."""

_FILES = st.builds(
    Thing, st.just("file"), st.sampled_from((b"", b"one", b"two", bytes(70_000))), st.sampled_from((0o644, 0o755))
)
_THINGS = st.one_of(
    _FILES,
    _FILES,
    st.builds(Thing, st.just("link"), st.sampled_from((b"a", b"/nowhere")), st.just(0o777)),
    st.builds(Thing, st.just("folder"), st.just(b""), st.sampled_from((0o755, 0o750))),
    st.none(),
)
EDITS = st.tuples(PATHS, _THINGS)
"""A path, and what is to stand there; None for nothing."""
SCRIPTS = st.lists(EDITS, max_size=5)
Edit = tuple[bytes, Thing | None]


def parents(path: bytes) -> list[bytes]:
    """Return the folders on the way to a path, the topmost first."""
    parts = path.split(b"/")
    return [b"/".join(parts[:count]) for count in range(1, len(parts))]


def edited(model: Model, edits: Sequence[Edit]) -> dict[bytes, Thing]:
    """Return a tree after edits; what is in the way of one goes, and the folders it needs come."""
    found = dict(model)
    for path, thing in edits:
        if thing is None or thing.kind != "folder":
            _drop_below(found, path)
        if thing is None:
            found.pop(path, None)
            continue
        for parent in parents(path):
            if found.get(parent, FOLDER).kind != "folder":
                found.pop(parent)
            found.setdefault(parent, FOLDER)
        found[path] = thing
    return found


def _drop_below(found: dict[bytes, Thing], path: bytes) -> None:
    for other in [one for one in found if one.startswith(path + b"/")]:
        del found[other]


def write_out(root: Path, model: Model) -> None:
    """Make a real tree what a model says, touching as little as a program would; what is as it should be stays."""
    base = os.fsencode(root) + b"/"
    now = read_back(root)
    for path in sorted(now, reverse=True):
        if (
            path not in model
            or model[path].kind != now[path].kind
            or (model[path] != now[path] and now[path].kind == "link")
        ):
            _remove(base + path)
    for path, thing in sorted(model.items()):
        if now.get(path) != thing:
            _put(base + path, thing)


def read_back(root: Path) -> dict[bytes, Thing]:
    """Return a real tree as a model."""
    base = os.fsencode(root)
    found: dict[bytes, Thing] = {}
    for folder, folders, files in os.walk(base):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)  # noqa: PTH118  the names are bytes
            status = os.lstat(path)
            short = os.path.relpath(path, base)
            if os.path.islink(path):  # noqa: PTH114
                found[short] = Thing("link", os.readlink(path), 0o777)  # noqa: PTH115
            elif os.path.isdir(path):  # noqa: PTH112
                found[short] = Thing("folder", b"", status.st_mode & 0o7777)
            else:
                with open(path, "rb") as stream:  # noqa: PTH123
                    found[short] = Thing("file", stream.read(), status.st_mode & 0o7777)
    return found


def _remove(path: bytes) -> None:
    if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)  # noqa: PTH108


def _put(path: bytes, thing: Thing) -> None:
    if thing.kind == "link":
        os.symlink(thing.content, path)  # noqa: PTH211
        return
    if thing.kind == "folder":
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
    else:
        with open(path, "wb") as stream:  # noqa: PTH123
            stream.write(thing.content)
    os.chmod(path, thing.mode)  # noqa: PTH101
