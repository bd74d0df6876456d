"""Check an archive against its digests and its own manifest, without extracting anything."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from runner.evidence.compress import DECOMPRESSION_ERRORS, decompressed
from runner.evidence.listing import CutShort, Manifest, read_manifest
from runner.evidence.manifest import MANIFEST, Listed
from runner.evidence.tarformat import TarFile, TarFolder, TarLink, TarMember
from runner.evidence.tarreader import members, stream_tar
from runner.evidence.walk import RawPath, show_path

_CHUNK = 1024 * 1024
_MANIFEST = MANIFEST.encode()


@dataclass(frozen=True)
class Problem:
    """What is wrong with an archive; `member` is empty if it is wrong as a whole."""

    member: RawPath
    text: str

    def __str__(self) -> str:
        return f"{show_path(self.member)}: {self.text}" if self.member else self.text


def verify_archive(path: Path) -> list[Problem]:
    """Check every digest of an archive: of the file, of the tar in it, and of each member.

    Args:
        path: the archive; the digest files beside it are used if they exist.

    Returns:
        What is wrong; an empty list if nothing is. A damaged archive is reported as far as it can be read.
    """
    found = list(_check_digest(path, path.with_name(f"{path.name}.sha256"), _digest_of(path)))
    try:
        manifest = read_manifest(path)
        with decompressed(path) as stream:
            hashing = Hashing(stream)
            found += _check_members(hashing, manifest)
            hashing.drain()
    except CutShort as error:
        return [*found, Problem(b"", f"{error}: copy it again")]
    except ValueError as error:
        return [*found, Problem(_MANIFEST, f"cannot be used: {error}")]
    except tarfile.TarError as error:
        return [*found, Problem(b"", f"the tar inside is damaged: {error}")]
    except DECOMPRESSION_ERRORS as error:
        return [*found, Problem(b"", f"the archive is damaged: {error}")]
    tar = path.with_suffix("")
    return found + list(_check_digest(tar, tar.with_name(f"{tar.name}.sha256"), hashing.digest.hexdigest()))


@dataclass
class Hashing(io.RawIOBase):
    """A stream that hashes whatever is read from it."""

    stream: BinaryIO

    def __post_init__(self) -> None:
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self.stream.read(size)
        self.digest.update(data)
        return data

    def drain(self) -> None:
        """Read to the end: what follows the last member is part of the digest."""
        while self.read(_CHUNK):
            pass


def _check_digest(path: Path, digest_file: Path, actual: str) -> Iterator[Problem]:
    try:
        line = digest_file.read_text("utf-8", "replace")
    except FileNotFoundError:
        return
    except OSError as error:
        yield Problem(b"", f"{digest_file.name} cannot be read: {error.strerror}")
        return
    if line.split()[:1] != [actual]:
        yield Problem(b"", f"sha256 of {path.name} is {actual}, {digest_file.name} says {line[:80].strip()!r}")


def _digest_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_members(stream: Hashing, manifest: Manifest) -> Iterator[Problem]:
    with stream_tar(stream) as tar:
        for one in read_checked(tar, manifest):
            if isinstance(one, Problem):
                yield one
                continue
            for _ in one.content():
                continue
            if one.problem is not None:
                yield one.problem


class Checked:
    """A member that is what the manifest lists; its content is checked as it is read.

    Args:
        listed: how the manifest has it.
        stream: of its content; None if it has none.
    """

    def __init__(self, listed: Listed, stream: IO[bytes] | None) -> None:
        self.member = listed.member
        self._sha256 = listed.sha256
        self._stream = stream
        self.problem: Problem | None = None
        """What is wrong with the content; known after the last of it has been read."""

    def content(self) -> Iterator[bytes]:
        """Yield a file's content; of anything else there is none."""
        if self._stream is None:
            return
        digest = hashlib.sha256()
        while chunk := self._stream.read(_CHUNK):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != self._sha256:
            words = f"has sha256 {digest.hexdigest()}, the manifest says {self._sha256}"
            self.problem = Problem(self.member.path, words)


def read_checked(tar: tarfile.TarFile, manifest: Manifest) -> Iterator[Checked | Problem]:
    """Yield an archive's members but its manifest, in order, or what is wrong with them.

    The content of each has to be read before the next one is asked for.

    Args:
        tar: the archive's.
        manifest: the archive's; whether it is the one in the tar is checked as well.

    Raises:
        tarfile.TarError: if the tar is damaged; one of DECOMPRESSION_ERRORS if what it is in is.
    """
    expected = {one.member.path: one for one in manifest.listed}
    reached = -1
    place = met = -1
    for place, member in enumerate(members(tar)):
        name = member.name.encode("utf-8", "surrogateescape")
        if name == _MANIFEST and met < 0:
            met = place
            yield from _check_manifest(tar, member, manifest)
            continue
        if {b"", b".", b".."} & {*name.split(b"/")}:
            yield Problem(name, "leads out of the archive")
        listed = expected.pop(name, None)
        if listed is None:
            yield Problem(name, "is not in the manifest, or there twice")
        elif manifest.places[name] < reached:
            yield Problem(name, "stands at another place than in the manifest")
        elif (is_now := _describe(member, name)) != listed.member:
            yield Problem(name, f"is {is_now}, the manifest says {listed.member}")
        else:
            yield Checked(listed, tar.extractfile(member) if member.isreg() else None)
        reached = max(reached, manifest.places.get(name, reached))
    for name in expected:
        yield Problem(name, "is missing")
    if met != (0 if manifest.first else place):
        yield Problem(_MANIFEST, "does not stand where the archive's end says")


def _check_manifest(tar: tarfile.TarFile, member: tarfile.TarInfo, manifest: Manifest) -> Iterator[Problem]:
    """Check that the manifest in the tar is the one that was found without reading the tar."""
    digest = hashlib.sha256()
    content = tar.extractfile(member) if member.isreg() else None
    while content is not None and (chunk := content.read(_CHUNK)):
        digest.update(chunk)
    if digest.hexdigest() != manifest.sha256:
        yield Problem(_MANIFEST, "is another one than the archive's end leads to")


def _describe(member: tarfile.TarInfo, name: RawPath) -> TarMember | str:
    if member.isreg():
        return TarFile(path=name, size=member.size, executable=bool(member.mode & 0o100))
    if member.isdir():
        return TarFolder(path=name)
    if member.issym():
        return TarLink(path=name, target=member.linkname.encode("utf-8", "surrogateescape"))
    return f"of type {member.type!r}"
