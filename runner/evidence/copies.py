"""Write the workspace after a step a second time from the history: a folder to look into, or an archive of its own."""

from __future__ import annotations

import hashlib
import os
import secrets
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from runner.errors import StorageError
from runner.evidence.atomic import TEMPORARY_PREFIX, replacing
from runner.evidence.compress import DECOMPRESSION_ERRORS, decompressed
from runner.evidence.copying import remove_tree, unlocked
from runner.evidence.folders import Folders
from runner.evidence.history.index import Index, Node
from runner.evidence.history.oci import KeptStep, read_index, read_steps
from runner.evidence.history.restore import Likeness, restore
from runner.evidence.layout import RunLayout
from runner.evidence.pack import Packer
from runner.evidence.tarformat import FOLDER, HARDLINK, REGULAR, SYMLINK, padding, raw_header
from runner.evidence.tarreader import members, stream_tar
from runner.evidence.tree import scan
from runner.evidence.walk import DIRECTORY, FILE, LINK, Entry, RawPath, opened, show_path

_CHUNK = 1024 * 1024


def write_folder(layout: RunLayout, kept: KeptStep) -> None:
    """Write `steps/step_NNN/workspace/`; files that an earlier step's folder has alike are hard links to those.

    Raises:
        StorageError: if the history is damaged, or the folder cannot be written.
    """
    target = layout.step(kept.number).copy
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        remove_tree(target)
    restore(layout.history, kept, target, _nearest(layout, kept))


def write_packed(layout: RunLayout, kept: KeptStep) -> None:
    """Write `steps/step_NNN/workspace.tar.zst`: names in order, with their permissions, without times and owners.

    Raises:
        StorageError: if the history is damaged, or the file cannot be written.
    """
    path = layout.step(kept.number).packed_copy
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
    try:
        index = restore(layout.history, kept, folder)
        with (
            unlocked(folder, scan(folder)),
            opened(folder) as root,
            Folders(root) as tree,
            replacing(path) as stream,
            Packer(stream, "zstd") as packer,
        ):
            _pack(packer, tree, index)
            packer.close()
    finally:
        if folder.exists():
            remove_tree(folder)


def check_copies(layout: RunLayout) -> list[str]:
    """Return how the copies of steps differ from the history they were made of, a sentence each.

    Raises:
        StorageError: if the history cannot be read.
    """
    found = []
    for kept in read_steps(layout.history):
        step = layout.step(kept.number)
        nodes = read_index(layout.history, kept).nodes if step.copy.is_dir() or step.packed_copy.is_file() else {}
        expected = {path: _looks(node) for path, node in nodes.items()}
        try:
            if step.copy.is_dir():
                found += _compare(_shown(layout, step.copy), expected, _seen(step.copy))
            if step.packed_copy.is_file():
                found += _compare(_shown(layout, step.packed_copy), expected, _packed(step.packed_copy))
        except StorageError as error:
            found.append(str(error))
    return found


def _shown(layout: RunLayout, path: Path) -> str:
    return str(path.relative_to(layout.root))


def _nearest(layout: RunLayout, kept: KeptStep) -> Likeness | None:
    """Return the folder of the last earlier step that has one."""
    for one in reversed(read_steps(layout.history)):
        folder = layout.step(one.number).copy
        if one.number < kept.number and folder.is_dir():
            return Likeness(root=folder, nodes=read_index(layout.history, one).nodes)
    return None


def _pack(packer: Packer, tree: Folders, index: Index) -> None:
    for path, node in sorted(index.nodes.items()):
        if node.kind == DIRECTORY:
            packer.write(raw_header(FOLDER, path + b"/", mode=node.mode))
        elif node.kind == LINK:
            packer.write(raw_header(SYMLINK, path, target=node.target, mode=node.mode))
        elif node.target:
            packer.write(raw_header(HARDLINK, path, target=node.target, mode=node.mode))
        else:
            packer.write(raw_header(REGULAR, path, size=node.size, mode=node.mode))
            for chunk in tree.read(path):
                packer.write(chunk)
            packer.write(padding(node.size))


def _looks(node: Node) -> str:
    """Return what a path is to be, in the words that the readers of copies use."""
    match node.kind:
        case "directory":
            return f"folder {node.mode:04o}"
        case "link":
            return f"link to {show_path(node.target)}"
        case _:
            return f"file {node.mode:04o} {node.sha256}"


def _seen(folder: Path) -> dict[RawPath, str]:
    found = {}
    with opened(folder) as root, Folders(root) as tree:
        for path, entry in sorted(scan(folder).entries.items()):
            found[path] = _looks_now(tree, path, entry)
    return found


def _looks_now(tree: Folders, path: RawPath, entry: Entry) -> str:
    if entry.kind == DIRECTORY:
        return f"folder {entry.mode:04o}"
    if entry.kind == LINK:
        return f"link to {show_path(entry.target)}"
    if entry.kind != FILE:
        return entry.kind
    try:
        return f"file {entry.mode:04o} {_digest(tree.read(path))}"
    except OSError as error:
        return f"a file that cannot be read: {error.strerror}"


def _packed(path: Path) -> dict[RawPath, str]:
    found: dict[RawPath, str] = {}
    try:
        with (
            decompressed(path) as stream,
            stream_tar(stream) as tar,
        ):
            for member in members(tar):
                name = os.fsencode(member.name)
                content = tar.extractfile(member) if member.isreg() else None
                if content is not None:
                    found[name] = f"file {member.mode:04o} {_digest(_pieces(content))}"
                elif member.islnk():
                    found[name] = found.get(os.fsencode(member.linkname), "a hard link to nothing")
                elif member.issym():
                    found[name] = f"link to {show_path(os.fsencode(member.linkname))}"
                else:
                    found[name] = f"folder {member.mode:04o}"
    except (tarfile.TarError, *DECOMPRESSION_ERRORS) as error:
        raise StorageError("a step's archive is damaged", where=str(path), why=str(error)) from None
    return found


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _digest(content: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in content:
        digest.update(chunk)
    return digest.hexdigest()


def _compare(place: str, expected: Mapping[RawPath, str], found: Mapping[RawPath, str]) -> list[str]:
    wrong = sorted(path for path in {*expected, *found} if expected.get(path) != found.get(path))
    return [
        f"{place}: {show_path(path)} is {found.get(path, 'not there')}, the history has "
        f"{expected.get(path, 'nothing there')}"
        for path in wrong
    ]
