"""Write files so that a reader, or a crash, sees the old content or the new, never half of it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel

from runner.errors import StorageError

TEMPORARY_PREFIX = ".tmp-"
"""Start of the name of a file that is not finished yet."""

_TEMPORARY = re.compile(re.escape(TEMPORARY_PREFIX) + r"[0-9a-f]{16}")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_OWN_FOLDERS = (
    ".",
    "logs",
    "llm",
    "llm/bodies",
    "history",
    "history/blobs/sha256",
    "steps/*",
    "steps/*/attempts/*",
    "approvals",
)
"""Where evidence is written in a run directory; what stands elsewhere belongs to the framework."""


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file whole or not at all; its mode follows the umask.

    Args:
        path: where it goes; missing folders are made.
        data: the content.
        durable: whether it is on the disk when this returns; if not, it outlives every process, but not the machine's end.

    Raises:
        StorageError: if it cannot be written; the file keeps its old content then.
    """
    with replacing(path, durable=durable) as stream:
        stream.write(data)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, like `write_bytes`; what UTF-8 cannot hold is written as a backslash escape."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: BaseModel | Mapping[str, object], *, durable: bool = True) -> None:
    """Write a record as indented JSON, like `write_bytes`.

    A lone surrogate, which no JSON reader has to accept, becomes the visible text of its escape.

    Raises:
        ValueError: if a number is not finite.
    """
    content = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    text = _LONE_SURROGATE.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text)
    write_bytes(path, f"{text}\n".encode(), durable=durable)


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of `path` when the block ends well, and is removed otherwise.

    Args:
        path: the file.
        durable: whether it is on the disk when the block has ended.

    Raises:
        StorageError: if a file operation fails, in the block too.
    """
    with replacing_all([path], durable=durable) as (stream,):
        yield stream


@contextlib.contextmanager
def replacing_all(paths: Sequence[Path], *, durable: bool = True) -> Iterator[Sequence[BinaryIO]]:
    """Open a temporary file for each of several paths of one folder; they take their places together, in this order.

    Args:
        paths: the files.
        durable: whether they are on the disk when the block has ended.

    Raises:
        StorageError: if a file operation fails, in the block too.
    """
    temporary = [path.with_name(TEMPORARY_PREFIX + secrets.token_hex(8)) for path in paths]
    try:
        try:
            with contextlib.ExitStack() as files:
                streams = [files.enter_context(os.fdopen(_create(one), "wb")) for one in temporary]
                yield streams
                for stream in streams:
                    stream.flush()
                    if durable:
                        os.fsync(stream.fileno())
            for one, path in zip(temporary, paths, strict=True):
                one.replace(path)
            if durable:
                sync_folder(paths[0].parent)
        finally:
            for one in temporary:
                one.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(f"cannot write {paths[-1]}", error) from error


def storage_error(what: str, error: OSError) -> StorageError:
    """Return the error of a file operation that failed, with what to do about it."""
    hints = {
        errno.ENOSPC: "free some space on that disk, then type the same command again; `runner clean` shows what can go",
        errno.EDQUOT: "your quota on that disk is used up; `runner clean` shows what can go",
        errno.EACCES: "check the owner and the permissions of that folder, or choose another with --output",
        errno.EPERM: "check the owner and the permissions of that folder, or choose another with --output",
        errno.EEXIST: "a file is in the way; move it, or choose another folder with --output",
        errno.ENOTDIR: "a file is in the way; move it, or choose another folder with --output",
        errno.EROFS: "that file system is read-only; choose another folder with --output",
    }
    hint = hints.get(error.errno or 0, "`runner doctor` checks the disk and your rights on it")
    return StorageError(what, why=f"the system says: {error.strerror or error}", hint=hint)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    with _open(folder, os.O_DIRECTORY) as handle:
        os.fsync(handle)


def sync_way(folder: Path, top: Path) -> None:
    """Make a folder's name durable, and those of the folders it is in, up to those in `top`.

    Raises:
        StorageError: if one cannot be synced.
    """
    try:
        while folder not in {top, folder.parent}:
            folder = folder.parent
            sync_folder(folder)
    except OSError as error:
        raise storage_error(f"cannot write to {folder}", error) from error


def sync_files(*folders: Path) -> None:
    """Make the files of folders durable, that were written without, and their names; a folder that is not there is fine.

    Raises:
        StorageError: if one cannot be synced.
    """
    for folder in folders:
        try:
            with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
                for path in [one.path for one in entries if one.is_file(follow_symlinks=False)]:
                    with _open(path, os.O_NOFOLLOW) as handle:
                        os.fsync(handle)
                sync_folder(folder)
        except OSError as error:
            raise storage_error(f"cannot write to {folder}", error) from error


def sync_disk(folder: Path) -> None:
    """Make everything durable that was written to the file system of a folder, by whomever (syncfs, sync(2)).

    Raises:
        StorageError: if it cannot be written.
    """
    try:
        with _open(folder, os.O_DIRECTORY) as handle:
            _syncfs(handle)
    except OSError as error:
        raise storage_error(f"cannot write to {folder}", error) from error


def _syncfs(handle: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.syncfs(handle):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextlib.contextmanager
def _open(path: Path | str, flags: int) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        yield handle
    finally:
        os.close(handle)


def remove_leftovers(root: Path) -> tuple[Path, ...]:
    """Remove temporary files that a crash left in a run directory, and return them.

    Only the folders evidence is written to are looked at: a file of such a name in the workspace is the framework's.

    Raises:
        StorageError: if one cannot be removed.
    """
    found = tuple(
        path
        for pattern in _OWN_FOLDERS
        for folder in ((root,) if pattern == "." else sorted(root.glob(pattern)))
        if folder.is_dir() and not folder.is_symlink()
        for path in sorted(folder.iterdir())
        if is_temporary(path.name) and not path.is_dir()
    )
    for path in found:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(f"cannot remove {path}", error) from error
    return found


def is_temporary(name: str) -> bool:
    """Tell whether a file name is that of an unfinished file of ours."""
    return _TEMPORARY.fullmatch(name) is not None


def _create(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        make_folder(path.parent)
        return os.open(path, flags, 0o666)


def make_folder(folder: Path) -> None:
    """Make a folder and those it is in, each durably; one that is there is fine."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
