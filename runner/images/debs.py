"""Read Debian packages without Debian's tools: control fields, files, and a root file system made of many.

Formats: deb(5), an ar archive of `control.tar.*` and `data.tar.*`; deb-control(5).
"""

from __future__ import annotations

import contextlib
import fnmatch
import gzip
import io
import lzma
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

import zstandard

from runner.errors import ImageError

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
MERGED = ("bin", "sbin", "lib", "lib64")
"""Folders that are links into /usr in a merged system; packages may still name them at the root."""


@contextlib.contextmanager
def open_member(deb: Path, prefix: str) -> Iterator[tarfile.TarFile]:
    """Open `control.tar` or `data.tar` of a package as a stream.

    Raises:
        ImageError: if the file is no Debian package, or compressed in an unknown way.
    """
    with deb.open("rb") as file:
        name, start, size = _find(file, deb, prefix)
        window: IO[bytes] = io.BufferedReader(_Window(file, start, size))
        with _decompressed(window, name, deb) as content, tarfile.open(fileobj=content, mode="r|") as archive:
            yield archive


def _find(file: IO[bytes], deb: Path, prefix: str) -> tuple[str, int, int]:
    if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise ImageError(f"{deb} is no Debian package", why="It does not begin like an ar archive.")
    while len(header := file.read(_AR_HEADER)) == _AR_HEADER:
        name = header[:16].decode("ascii").strip().rstrip("/")
        size = int(header[48:58])
        if name.startswith(prefix):
            return name, file.tell(), size
        file.seek(size + size % 2, 1)
    raise ImageError(f"{deb} is no Debian package", why=f"It has no member {prefix}.")


class _Window(io.RawIOBase):
    """A readable part of a file."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file = file
        self._left = size
        file.seek(start)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)


@contextlib.contextmanager
def _decompressed(window: IO[bytes], name: str, deb: Path) -> Iterator[IO[bytes]]:
    match name.rpartition(".")[2]:
        case "xz":
            with lzma.open(window) as content:
                yield content
        case "gz":
            with io.BufferedReader(gzip.GzipFile(fileobj=window)) as content:
                yield content
        case "zst":
            with zstandard.ZstdDecompressor().stream_reader(window) as content:
                yield content
        case other:
            raise ImageError(f"{deb} is compressed in an unknown way", why=f"Its member is called {name} ({other}).")


def control(deb: Path) -> str:
    """Return the text of a package's control file."""
    with open_member(deb, "control.tar") as archive:
        for member in archive:
            if PurePosixPath(member.name).name == "control" and (content := archive.extractfile(member)):
                return content.read().decode("utf-8").strip() + "\n"
    raise ImageError(f"{deb} is no Debian package", why="It has no control file.")


def extract_file(deb: Path, suffix: str, target: Path) -> None:
    """Write the first file of a package whose path ends in `suffix` to `target`.

    Raises:
        ImageError: if there is none.
    """
    with open_member(deb, "data.tar") as archive:
        for member in archive:
            if member.isreg() and member.name.endswith(suffix) and (content := archive.extractfile(member)):
                target.write_bytes(content.read())
                return
    raise ImageError(f"{deb} holds no file that ends in {suffix}")


Rule = tuple[bool, str]
"""Whether paths that match are kept, and a pattern of absolute paths."""


def read_rules(folder: Path) -> list[Rule]:
    """Read `path-include` and `path-exclude` from dpkg's configuration in a root file system (dpkg(1))."""
    rules = []
    for file in sorted((folder / "etc" / "dpkg" / "dpkg.cfg.d").glob("*")):
        for line in file.read_text(encoding="utf-8").splitlines():
            name, _, pattern = line.partition("=")
            if name in {"path-include", "path-exclude"}:
                rules.append((name == "path-include", pattern))
    return rules


def _is_kept(path: str, rules: Sequence[Rule]) -> bool:
    """Apply dpkg's rule: the last pattern that matches decides."""
    return next((keep for keep, pattern in reversed(rules) if fnmatch.fnmatchcase(f"/{path}", pattern)), True)


def write_root(debs: Sequence[Path], target: Path, rules: Sequence[Rule] = ()) -> None:
    """Merge the files of many packages into one tar: a root file system in which dpkg can then install them.

    Paths under /bin, /sbin, /lib and /lib64 go under /usr, with links at the root, as in a system with merged /usr.
    What dpkg is told to leave out is left out here, too, since dpkg would not remove it. The bytes need not be the
    same twice: nothing of this tar is kept.
    """
    seen: set[str] = set()
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as root:
        for folder in ("usr", *(f"usr/{name}" for name in MERGED), "tmp", "proc", "sys", "dev", "var/lib/dpkg"):
            _add_folder(root, folder, 0o1777 if folder == "tmp" else 0o755, seen)
        for name in MERGED:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            root.addfile(link)
        for deb in debs:
            with open_member(deb, "data.tar") as archive:
                for member in archive:
                    _copy(archive, member, root, seen, rules)


def _add_folder(root: tarfile.TarFile, path: str, mode: int, seen: set[str]) -> None:
    if path not in seen:
        seen.add(path)
        folder = tarfile.TarInfo(path)
        folder.type, folder.mode = tarfile.DIRTYPE, mode
        root.addfile(folder)


def _copy(
    archive: tarfile.TarFile, member: tarfile.TarInfo, root: tarfile.TarFile, seen: set[str], rules: Sequence[Rule]
) -> None:
    member.name = _merged(member.name)
    if not member.isdir() and not _is_kept(member.name, rules):
        return
    if member.islnk():
        member.linkname = _merged(member.linkname)
    if member.isdir():
        if member.name not in {"", *MERGED}:
            _add_folder(root, member.name, member.mode, seen)
    else:
        member.uname = member.gname = ""
        root.addfile(member, archive.extractfile(member) if member.isreg() else None)


def _merged(path: str) -> str:
    path = path.removeprefix("./").strip("/")
    path = "" if path == "." else path
    return f"usr/{path}" if path.partition("/")[0] in MERGED and "/" in path else path
