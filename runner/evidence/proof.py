"""Prove a run directory: every digest that its evidence states of other evidence."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from runner.errors import RunnerError, StorageError
from runner.evidence.copies import check_copies
from runner.evidence.copying import remove_tree
from runner.evidence.history.check import check_history
from runner.evidence.layout import RunLayout, StepLayout
from runner.evidence.records import RunRecord, StepRecord
from runner.evidence.unpack import below, unpack
from runner.evidence.verify import verify_archive
from runner.gateway.bodies import FOLDER, read_body
from runner.gateway.calls import read_calls

T = TypeVar("T", bound=BaseModel)
Found = Mapping[str, Sequence[str]]
"""What was checked -> what is wrong with it, a sentence each."""


def check_archive(path: Path) -> Found:
    """Check an archive alone: its own digests, then those that the evidence in it states of other evidence."""
    found: dict[str, Sequence[str]] = {path.name: _problems_of(path)}
    if not found[path.name]:
        layout = RunLayout(Path(tempfile.mkdtemp(prefix="runner-verify-")))
        products = below(layout.workspace.name, layout.state.name)
        try:
            unpack(path, layout.root, lambda member: not products(member))
            found.update(check_run(layout))
        finally:
            remove_tree(layout.root)
    return found


def check_run(layout: RunLayout) -> Found:
    """Check a run's records, the values of its steps, its model calls, its history, its copies and its archives."""
    found: dict[str, Sequence[str]] = {}
    checks: Mapping[str, tuple[Path, Callable[[RunLayout], list[str]]]] = {
        "records": (layout.metadata, _check_records),
        "values": (layout.root / "steps", _check_values),
        "llm": (layout.calls, _check_calls),
        "history": (layout.history, lambda layout: check_history(layout.history)),
        "copies": (_first_copy(layout), check_copies),
    }
    for name, (place, check) in checks.items():
        if place.exists():
            found[name] = _guarded(check, layout)
    for kind in ("zstd", "gzip"):
        if layout.archive(kind).is_file():
            found[layout.archive(kind).name] = _problems_of(layout.archive(kind))
    return found


def _problems_of(archive: Path) -> list[str]:
    return [str(one) for one in verify_archive(archive)]


def _guarded(check: Callable[[RunLayout], list[str]], layout: RunLayout) -> list[str]:
    try:
        return check(layout)
    except RunnerError as error:
        return [_sentence(error)]
    except OSError as error:
        return [str(error)]


def _sentence(error: RunnerError) -> str:
    return f"{error.what}: {error.why}" if error.why else error.what


def _first_copy(layout: RunLayout) -> Path:
    copies = (path for step in layout.steps() for path in (step.copy, step.packed_copy))
    return next((path for path in copies if path.exists()), layout.root / "steps" / "none")


def _check_records(layout: RunLayout) -> list[str]:
    """Check that the records can be read, and that those of the steps are those in the run's."""
    run = _read(layout, layout.metadata, RunRecord)
    found = []
    for step in run.steps:
        path = layout.step(step.index).metadata
        if not path.is_file():
            found.append(f"{_shown(layout, path)} is missing")
        elif _read(layout, path, StepRecord) != step:
            found.append(f"{_shown(layout, path)} is not what {layout.metadata.name} says of the step")
    return found


def _check_values(layout: RunLayout) -> list[str]:
    """Check the digests of what steps took and gave."""
    found: list[str] = []
    for step in layout.steps():
        if step.metadata.is_file():
            found += _check_step_values(layout, step)
    return found


def _check_step_values(layout: RunLayout, step: StepLayout) -> Iterator[str]:
    record = _read(layout, step.metadata, StepRecord)
    for value in (*record.inputs, *record.outputs):
        path = step.root / value.path
        if ".." in Path(value.path).parts or not path.is_file() or path.is_symlink():
            yield f"{_shown(layout, path)} is missing"
            continue
        with path.open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
        if actual != value.sha256:
            yield f"{_shown(layout, path)} has sha256 {actual}, the step's record says {value.sha256}"


def _check_calls(layout: RunLayout) -> list[str]:
    """Check that every body that the calls name is there and what its name says, and that no other is damaged."""
    read = read_calls(layout.calls)
    folder = layout.calls.parent / FOLDER
    named = {
        one
        for call in read.calls
        if call.bodies == "full"
        for one in (call.request_sha256, call.response_sha256)
        if one is not None
    }
    kept = {path.name.removesuffix(".zst") for path in folder.glob("[0-9a-f]*.zst")} if folder.is_dir() else set()
    found = [f"{layout.calls.name}: {one}" for one in read.problems]
    for sha256 in sorted(named | kept):
        try:
            read_body(folder, sha256)
        except RunnerError as error:
            found.append(f"llm/{FOLDER}/{sha256}.zst: {_sentence(error)}")
    return found


def _read(layout: RunLayout, path: Path, model: type[T]) -> T:
    try:
        return model.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise StorageError(f"{_shown(layout, path)} cannot be read: {first['msg']}", where=str(path)) from None


def _shown(layout: RunLayout, path: Path) -> str:
    return str(path.relative_to(layout.root))
