"""Take in a bundle: everything is checked first, and a run appears whole or not at all."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runner.engine.docker import connect
from runner.engine.owner import current
from runner.errors import StorageError
from runner.evidence.atomic import is_temporary, storage_error, sync_folder, write_text
from runner.evidence.bundle import IMAGES, PROJECT_FOLDER, BundledFile, BundledRun, OpenBundle
from runner.evidence.copying import remove_tree
from runner.evidence.layout import RunLayout
from runner.evidence.measures.again import newest_totals
from runner.evidence.records import RunRecord, what_is_wrong
from runner.evidence.unpack import unpack
from runner.execution.claim import claim
from runner.images.shipping import engine_id, load_images
from runner.ledger.store import Ledger, ledger_path, open_ledger
from runner.plan.digest import digest_of

_STAGING = ".import-"
"""Start of the name of the folder, in the folder of runs, in which runs are made ready."""
_KINDS = {".tar.zst": "zstd", ".tar.gz": "gzip"}


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What was taken in."""

    runs: tuple[str, ...]
    there: tuple[str, ...]
    """Runs that were there already, and are the same."""
    images: tuple[str, ...]
    """Tags of images that the engine had not."""
    files: tuple[str, ...]
    """Files of the project that are new."""
    differing: tuple[str, ...]
    """Files of the project that are there with another content, and stay as they are."""
    skipped: tuple[str, ...]
    """What of the runs was not written, a sentence each."""


def import_bundle(opened: OpenBundle, output: Path, project: Path, environment: Mapping[str, str] | None) -> Imported:
    """Enter a bundle's runs into a folder of runs, its files into a project, its images into an engine.

    Args:
        opened: the bundle, every digest of which was checked.
        output: folder of run directories.
        project: folder of the project, which need not be one yet.
        environment: variables that lead to the engine; None: images are left out.

    Raises:
        EngineError: if no engine answers.
        ImageError: if the engine does not take an image, or makes another one of it.
        StorageError: if another run is in the place of one, another runner is at work in the folder, or something in
            the bundle is damaged or cannot be written.
    """
    with claim(output):
        _clear(opened, output, project)
        new, there = _sorted_out(opened.bundle.runs, output)
        staging = output / f"{_STAGING}{secrets.token_hex(8)}"
        try:
            staging.mkdir()
            skipped = [line for one in new for line in _stage(opened, one, staging)]
            images = _images(opened, staging, environment) if environment is not None else ()
            files, differing = _project(opened, project)
            with open_ledger(ledger_path(output)) as ledger:
                for one in new:
                    _enter(_layout(staging, one), _layout(output, one))
                for one in (*new, *there):
                    # Those that are there may be of an import that was cut off before it came to this.
                    _tell(ledger, output, _layout(output, one))
        except OSError as error:
            raise storage_error(f"cannot write {output}", error) from error
        finally:
            remove_tree(staging)
    return Imported(
        runs=tuple(one.name for one in new),
        there=tuple(one.name for one in there),
        images=images,
        files=files,
        differing=differing,
        skipped=tuple(skipped),
    )


def _clear(opened: OpenBundle, output: Path, project: Path) -> None:
    """Remove what an import that was cut off has left: nobody else works in this folder of runs now."""
    for old in output.glob(f"{_STAGING}*"):
        remove_tree(old)
    folders = {project.joinpath(*parts).parent for _, parts in _files(opened)}
    for path in (path for folder in folders if folder.is_dir() for path in folder.iterdir()):
        if is_temporary(path.name) and not path.is_dir():
            path.unlink()


def _files(opened: OpenBundle) -> Iterator[tuple[BundledFile, tuple[str, ...]]]:
    """Yield the files of the project that a bundle has, each with the parts of its path there."""
    for one in opened.bundle.files:
        first, *parts = PurePosixPath(one.path).parts
        if first == PROJECT_FOLDER:
            yield one, tuple(parts)


def _sorted_out(runs: Sequence[BundledRun], output: Path) -> tuple[list[BundledRun], list[BundledRun]]:
    """Return the runs that are new and those that are there already.

    Raises:
        StorageError: naming those in whose place another one is.
    """
    new, there, other = [], [], []
    for one in runs:
        metadata = _layout(output, one).metadata
        if not metadata.parent.exists():
            new.append(one)
        elif metadata.is_file() and hashlib.sha256(metadata.read_bytes()).hexdigest() == one.metadata_sha256:
            there.append(one)
        else:
            other.append(one.name)
    if other:
        raise StorageError(
            f"{', '.join(other)}: another run is there already",
            where=str(output),
            why="the same inputs were carried out here too, or the run went on; nothing is overwritten",
            hint="take the bundle into a folder of its own: --output DIR",
        )
    return new, there


def _layout(output: Path, one: BundledRun) -> RunLayout:
    return RunLayout(output / one.framework / one.id)


def _stage(opened: OpenBundle, one: BundledRun, staging: Path) -> list[str]:
    """Unpack a run into the staging folder, with its archive; return what of it was not written."""
    layout = _layout(staging, one)
    kind = next((kind for ending, kind in _KINDS.items() if one.archive.endswith(ending)), "zstd")
    archive = staging / ".archives" / layout.archive(kind).name
    opened.copy_out(one.archive, archive)
    skipped = unpack(archive, layout.root, tar_sha256=one.tar_sha256)
    record = _record(layout, one)
    if record.run.archive != "off":
        sha256 = next(file.sha256 for file in opened.bundle.files if file.path == one.archive)
        archive.replace(layout.archive(kind))
        write_text(layout.archive_digest(kind), f"{sha256}  {archive.name}\n")
        write_text(layout.tar_digest, f"{one.tar_sha256}  {layout.tar_digest.stem}\n")
    remove_tree(archive.parent)
    return [f"{one.name}: {line}" for line in skipped]


def _record(layout: RunLayout, one: BundledRun) -> RunRecord:
    """Return the record of an unpacked run, which must be the run that the bundle says it is."""
    try:
        metadata = layout.metadata.read_bytes()
        record = RunRecord.model_validate_json(metadata)
    except (OSError, ValueError) as error:
        raise StorageError(f"the record of {one.name} cannot be read", why=what_is_wrong(error)) from None
    same = (record.run.framework.name, record.run.id, record.run.digest) == (one.framework, one.id, one.digest)
    if not same or hashlib.sha256(metadata).hexdigest() != one.metadata_sha256 or record.outcome is None:
        raise StorageError(f"the bundle is damaged: the archive of {one.name} holds another run")
    if digest_of(record.run) != record.run.digest:
        raise StorageError(
            f"the digest of {one.name} is not that of its inputs", why="it was made by another version, or changed"
        )
    return record


def _images(opened: OpenBundle, staging: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Load the images that the engine has not; return their tags."""
    if not opened.bundle.with_images:
        return ()
    with connect(environment) as engine:
        missing = [one for one in opened.bundle.images if engine_id(engine, one.id, one.tag) is None]
        if missing:
            file = staging / IMAGES
            opened.copy_out(IMAGES, file)
            load_images(engine, file, {one.id: one.tag for one in missing})
    return tuple(one.tag for one in missing)


def _project(opened: OpenBundle, project: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write the files that a project has not; return them, and those that it has with another content."""
    new, differing = [], []
    for one, parts in _files(opened):
        target = project.joinpath(*parts)
        if not target.exists() and not target.is_symlink():
            opened.copy_out(one.path, target)
            new.append("/".join(parts))
        elif not _is_same(target, one):
            differing.append("/".join(parts))
    return tuple(new), tuple(differing)


def _is_same(path: Path, one: BundledFile) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == one.sha256


def _enter(source: RunLayout, target: RunLayout) -> None:
    """Move a run to its place."""
    target.root.parent.mkdir(parents=True, exist_ok=True)
    source.root.rename(target.root)
    sync_folder(target.root.parent)


def _tell(ledger: Ledger, output: Path, layout: RunLayout) -> None:
    """Tell the ledger of a run that is in its place; what it knows already stays."""
    record = RunRecord.model_validate_json(layout.metadata.read_bytes())
    past = ledger.past([record.run.digest or ""]).get(record.run.digest or "")
    if past is not None and past.outcome is not None:
        return
    ledger.register([record.run], output)
    if (lease := ledger.lease(record.run, current())) is not None:
        ledger.finish(lease, record, newest_totals(layout))
