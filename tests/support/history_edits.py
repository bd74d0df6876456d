"""Random edits of a tree, for property-based tests: everything that a program may do to a workspace."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import strategies as st

NAMES = (
    b"a",
    b"b",
    b"ab-c",
    b"dir",
    b".git",
    b".wh.a",
    b".wh-.a",
    b".wh..wh..opq",
    b"not-utf8-\xff",
    b"new\nline",
    "\u00fc".encode(),
    b"long-" * 30,
)
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(b"/".join)
CONTENTS = st.one_of(st.just(b""), st.binary(max_size=40), st.just(bytes(200_000)), st.just(b"x" * 70_000))
MODES = st.sampled_from((0o644, 0o600, 0o755, 0o4755, 0o400, 0o777))
EDITS = st.one_of(
    st.tuples(st.just("write"), PATHS, CONTENTS),
    st.tuples(st.just("folder"), PATHS, st.none()),
    st.tuples(st.just("remove"), PATHS, st.none()),
    st.tuples(st.just("empty"), PATHS, st.none()),
    st.tuples(st.just("mode"), PATHS, MODES),
    st.tuples(st.just("link"), PATHS, st.sampled_from((b"/nowhere/passwd", b"no/../such", b"target-\xff", b"a" * 150))),
    st.tuples(st.just("hard"), PATHS, PATHS),
    st.tuples(st.just("sparse"), PATHS, st.integers(1, 300_000)),
    st.tuples(st.just("rename"), PATHS, PATHS),
    st.tuples(st.just("fifo"), PATHS, st.none()),
)
SCRIPTS = st.lists(st.lists(EDITS, max_size=6), min_size=1, max_size=4)
Edit = tuple[str, bytes, object]


def apply(root: Path, edits: Sequence[Edit]) -> None:
    """Do what can be done of some edits: one that makes no sense here is left out."""
    for how, path, value in edits:
        try:
            _EDITS[how](os.fsencode(root) + b"/", path, value)
        except OSError:
            continue


def _clear(path: bytes) -> None:
    if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114  the names are bytes
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)  # noqa: PTH108


def _parent(path: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120


def _write(root: bytes, path: bytes, value: object) -> None:
    _parent(root + path)
    if not os.path.isfile(root + path) or os.path.islink(root + path):  # noqa: PTH113, PTH114  opening a FIFO would wait
        _clear(root + path)
    with open(root + path, "wb") as stream:  # noqa: PTH123
        stream.write(value if isinstance(value, bytes) else b"")


def _folder(root: bytes, path: bytes, _: object) -> None:
    _clear(root + path)
    os.makedirs(root + path)  # noqa: PTH103


def _empty(root: bytes, path: bytes, _: object) -> None:
    for name in os.listdir(root + path):  # noqa: PTH208
        _clear(root + path + b"/" + name)


def _mode(root: bytes, path: bytes, value: object) -> None:
    if not os.path.islink(root + path):  # noqa: PTH114  what a link points to may be the machine's own
        os.chmod(root + path, value if isinstance(value, int) else 0o644)  # noqa: PTH101


def _link(root: bytes, path: bytes, value: object) -> None:
    _parent(root + path)
    _clear(root + path)
    os.symlink(value if isinstance(value, bytes) else b"x", root + path)  # noqa: PTH211


def _hard(root: bytes, path: bytes, value: object) -> None:
    _parent(root + path)
    other = root + value if isinstance(value, bytes) else root
    os.link(other, root + path, follow_symlinks=False)


def _sparse(root: bytes, path: bytes, value: object) -> None:
    _write(root, path, b"start")
    with open(root + path, "r+b") as stream:  # noqa: PTH123
        stream.truncate(value if isinstance(value, int) else 1)


def _rename(root: bytes, path: bytes, value: object) -> None:
    if isinstance(value, bytes):
        _parent(root + value)
        os.rename(root + path, root + value)  # noqa: PTH104


def _fifo(root: bytes, path: bytes, _: object) -> None:
    _parent(root + path)
    os.mkfifo(root + path)


_EDITS: dict[str, Callable[[bytes, bytes, object], None]] = {
    "write": _write,
    "folder": _folder,
    "remove": lambda root, path, _: _clear(root + path),
    "empty": _empty,
    "mode": _mode,
    "link": _link,
    "hard": _hard,
    "sparse": _sparse,
    "rename": _rename,
    "fifo": _fifo,
}
