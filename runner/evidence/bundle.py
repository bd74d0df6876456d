"""A bundle: runs, what they were made from, and their images, in one file for another machine.

Format: a plain tar, owner 0:0 and times 0, the same bytes for the same content. Its first member `bundle.json` lists
every other one with size and sha256, and says what each run is:

    bundle.json
    images.tar.zst              images, for `docker load`; absent if they were left out
    project/config/...          experiments, scenarios, workflows, prompts
    project/images/<name>/...   recipes
    runs/<framework>/<id>.tar.zst (or .tar.gz)    the archive of each run
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runner.errors import ConfigError, StorageError
from runner.evidence.atomic import replacing, storage_error
from runner.evidence.compress import begins_compressed
from runner.evidence.tarformat import REGULAR, padding, raw_header, trailer
from runner.evidence.tarreader import plain_tar, remembered

MANIFEST = "bundle.json"
IMAGES = "images.tar.zst"
PROJECT_FOLDER = "project"
RUNS_FOLDER = "runs"
_PROJECT_PLACES = {(PROJECT_FOLDER, "config"), (PROJECT_FOLDER, "images")}
_CHUNK = 1024 * 1024
_LARGEST_MANIFEST = 256 * 1024**2


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BundledFile(_Part):
    """A member of the bundle."""

    path: str = Field(description="Its name in the bundle.")
    bytes: int = Field(description="Size.")
    sha256: str = Field(description="Digest of its bytes.")
    executable: bool = Field(False, description="Whether it can be executed.")


class BundledImage(_Part):
    """An image that runs of the bundle were made with."""

    id: str = Field(description="Config digest, sha256:...")
    tag: str = Field(description="Tag that says what went into it.")


class BundledRun(_Part):
    """A run of the bundle."""

    framework: str
    id: str
    digest: str | None = Field(description="Its identity.")
    archive: str = Field(description="Name of its archive in the bundle.")
    tar_sha256: str = Field(description="Digest of the tar in the archive.")
    metadata_sha256: str = Field(description="Digest of its metadata.json: two runs with the same one are the same.")

    @property
    def name(self) -> str:
        return f"{self.framework}/{self.id}"


class Bundle(_Part):
    """`bundle.json`."""

    version: Literal[1] = 1
    files: tuple[BundledFile, ...] = Field(description="Every member but this one, by name.")
    images: tuple[BundledImage, ...] = Field(description="Images of the runs, by id, whether or not they are in it.")
    runs: tuple[BundledRun, ...] = Field(description="By framework and id.")

    @property
    def with_images(self) -> bool:
        """Whether the images are in it."""
        return any(one.path == IMAGES for one in self.files)


def write_bundle(
    target: Path, members: Mapping[str, Path], runs: Sequence[BundledRun], images: Sequence[BundledImage]
) -> Bundle:
    """Write a bundle, whole or not at all, and return what is in it.

    Args:
        target: the file; an older one is replaced.
        members: file of each member's content by the member's name.
        runs: what the archives among them are.
        images: what the runs were made with.

    Raises:
        StorageError: if something cannot be read, changes meanwhile, or the file cannot be written.
    """
    try:
        files = tuple(_described(name, path) for name, path in sorted(members.items()))
    except OSError as error:
        raise storage_error("cannot read what is to be bundled", error) from error
    bundle = Bundle(
        files=files,
        images=tuple(sorted(images, key=lambda one: one.id)),
        runs=tuple(sorted(runs, key=lambda one: (one.framework, one.id))),
    )
    head = (json.dumps(bundle.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode()
    with replacing(target) as stream:
        written = _write(stream, MANIFEST, len(head), 0o644) + len(head) + len(padding(len(head)))
        stream.write(head + padding(len(head)))
        for one in files:
            written += _write(stream, one.path, one.bytes, 0o755 if one.executable else 0o644)
            _copy_in(members[one.path], stream, one)
            written += one.bytes + len(padding(one.bytes))
            stream.write(padding(one.bytes))
        stream.write(trailer(written))
    return bundle


@dataclass(frozen=True, kw_only=True)
class OpenBundle:
    """A bundle whose every member was found to be what it says."""

    path: Path
    bundle: Bundle
    tar: tarfile.TarFile

    def copy_out(self, name: str, target: Path) -> None:
        """Write a member to a file, whole or not at all.

        Raises:
            StorageError: if it cannot be written.
        """
        listed = next(one for one in self.bundle.files if one.path == name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            content = self.tar.extractfile(name)
            with replacing(target) as stream:
                if content is not None:
                    shutil.copyfileobj(content, stream, _CHUNK)
                if listed.executable:
                    os.fchmod(stream.fileno(), stat.S_IMODE(os.fstat(stream.fileno()).st_mode) | 0o111)
        except OSError as error:
            raise storage_error(f"cannot write {target}", error) from error


@contextlib.contextmanager
def open_bundle(path: Path) -> Iterator[OpenBundle]:
    """Open a bundle after every byte of it was checked against its manifest.

    Raises:
        ConfigError: if there is no such file.
        StorageError: if it is no bundle, an incomplete or a damaged one, naming the member; or of a later version.
    """
    try:
        tar = plain_tar(path)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path}", hint="`runner export RUN --bundle FILE` writes one") from error
    except OSError as error:
        raise storage_error(f"cannot read {path}", error) from error
    except tarfile.TarError as error:
        if _begins(path) == MANIFEST.encode():
            raise _cut_short(path) from error
        raise _no_bundle(path, str(error)) from error
    with tar:
        try:
            bundle = _read(tar, path)
        except tarfile.TarError as error:
            raise _no_bundle(path, str(error)) from error
        yield OpenBundle(path=path, bundle=bundle, tar=tar)


def _read(tar: tarfile.TarFile, path: Path) -> Bundle:
    try:
        members = remembered(tar)
    except tarfile.TarError as error:
        if _begins(path) == MANIFEST.encode() and tar.offset > path.stat().st_size:
            raise _cut_short(path) from error
        raise
    if not members or members[0].name != MANIFEST or members[0].size > _LARGEST_MANIFEST:
        raise _no_bundle(path, f"its first member is not {MANIFEST}")
    try:
        bundle = Bundle.model_validate_json(_bytes(tar, members[0]))
    except ValidationError as error:
        raise _no_bundle(path, f"{MANIFEST}: {error.errors()[0]['msg']}") from error
    listed = {one.path: one for one in bundle.files}
    _check_names(path, bundle, [one.name for one in members[1:]], listed)
    for member in members[1:]:
        one = listed[member.name]
        if not member.isreg() or member.size != one.bytes or _digest(tar, member) != one.sha256:
            raise _damaged(path, member.name, "is not what bundle.json says")
    return bundle


def _check_names(path: Path, bundle: Bundle, names: Sequence[str], listed: Mapping[str, BundledFile]) -> None:
    """Refuse a member that is there twice, missing, unknown, or would leave its folder."""
    times = Counter(names)
    for name in names:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or str(PurePosixPath(name)) != name or "\0" in name:
            raise _damaged(path, name, "leads out of the bundle")
        if name not in listed or times[name] > 1:
            raise _damaged(path, name, "is there twice, or not in bundle.json")
        if name != IMAGES and parts[0] != RUNS_FOLDER and parts[:2] not in _PROJECT_PLACES:
            raise _damaged(path, name, "stands where nothing belongs")
    for name in (*listed, *(run.archive for run in bundle.runs)):
        if name not in times:
            raise _damaged(path, name, "is missing")
    for run in bundle.runs:
        if any(not part or part.startswith(".") or "/" in part for part in (run.framework, run.id)):
            raise _damaged(path, run.name, "is no name of a run")


def _bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(member)
    return content.read() if content is not None else b""


def _digest(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    digest, content = hashlib.sha256(), tar.extractfile(member)
    while content is not None and (chunk := content.read(_CHUNK)):
        digest.update(chunk)
    return digest.hexdigest()


def _described(name: str, path: Path) -> BundledFile:
    status = path.stat()
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return BundledFile(path=name, bytes=status.st_size, sha256=sha256, executable=bool(status.st_mode & stat.S_IXUSR))


def _write(stream: IO[bytes], name: str, size: int, mode: int) -> int:
    head = raw_header(REGULAR, name.encode(), size=size, mode=mode)
    stream.write(head)
    return len(head)


def _copy_in(path: Path, stream: IO[bytes], one: BundledFile) -> None:
    digest, left = hashlib.sha256(), one.bytes
    with path.open("rb") as source:
        while left and (chunk := source.read(min(left, _CHUNK))):
            left -= len(chunk)
            digest.update(chunk)
            stream.write(chunk)
    if digest.hexdigest() != one.sha256:
        raise StorageError(f"{path} changed while it was bundled", hint="type the same command again")


def _begins(path: Path) -> bytes:
    """Return the name of a tar's first member as its header has it, whether or not the rest is there."""
    with path.open("rb") as stream:
        return stream.read(100).partition(b"\0")[0]


def _no_bundle(path: Path, why: str) -> StorageError:
    hint = "a bundle is made by: runner export RUN --bundle FILE"
    if begins_compressed(path):
        why = "it may be the archive of one run, which stands for the run without being taken in"
        hint = f"runner show {path}   looks at it; runner export {path} --bundle FILE   makes a bundle of it"
    return StorageError(f"{path} is no bundle", why=why, hint=hint)


def _cut_short(path: Path) -> StorageError:
    return StorageError(
        "the bundle is incomplete",
        where=str(path),
        why=f"it ends too early, after {path.stat().st_size} bytes",
        hint="copy it again",
    )


def _damaged(path: Path, member: str, how: str) -> StorageError:
    return StorageError(f"the bundle is damaged: {member!r} {how}", where=str(path), hint="take another copy of it")
