"""What of a project and its runs goes into a bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.cli.finding import Place, find_run, places, read_record
from runner.cli.states import recipe_name
from runner.engine.docker import connect
from runner.errors import ConfigError, StorageError
from runner.evidence.archive import write_archive
from runner.evidence.bundle import IMAGES, PROJECT_FOLDER, RUNS_FOLDER, Bundle, BundledImage, BundledRun, write_bundle
from runner.evidence.records import RunRecord
from runner.images.shipping import write_images
from runner.names import CHECKER
from runner.plan.models import ImageRef
from runner.spec.project import Project
from runner.spec.yaml import load_yaml

_SUFFIXES = (".yaml", ".yml")
_FILE_KEYS = frozenset({"prompt_file", "script_file", "stdin", "bundle"})
"""Keys of scenarios and workflows that name a file beside them."""
_SHARED_RECIPES = ("base", "builder")
"""Recipes below images/ that every other one is built on."""
_LEFT_OUT = frozenset({"__pycache__", ".git"})


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A finished run that is bundled."""

    place: Place
    record: RunRecord


def chosen_runs(output: Path, texts: Sequence[str], experiment: str | None) -> tuple[list[Chosen], list[str]]:
    """Return the runs that a command line names, and a sentence about each that is not bundled.

    Args:
        output: folder of run directories.
        texts: runs as a person types them.
        experiment: every finished run of this experiment as well.

    Raises:
        ConfigError: if there is no such run, or none is left.
    """
    chosen = {place.layout.root: Chosen(place=place, record=read_record(place)) for place in _named(output, texts)}
    if experiment is not None:
        for place in places(output):
            if place.layout.metadata.is_file() and (record := read_record(place)).run.experiment == experiment:
                chosen[place.layout.root] = Chosen(place=place, record=record)
    left_out = [
        f"{one.place.framework}/{one.place.run_id} has not ended and is left out"
        for one in chosen.values()
        if one.record.outcome is None
    ]
    finished = [one for _, one in sorted(chosen.items()) if one.record.outcome is not None]
    if not finished:
        why = f"the experiment {experiment} has none" if experiment else "; ".join(left_out)
        raise ConfigError("there is no finished run to bundle", why=why, hint="runner runs")
    return finished, left_out


def _named(output: Path, texts: Sequence[str]) -> Iterable[Place]:
    return [find_run(output, text) for text in texts]


def bundled_run(one: Chosen, scratch: Path) -> tuple[BundledRun, Path]:
    """Return what a bundle says of a run, and the run's archive; one is made in `scratch` if the run has none.

    Raises:
        StorageError: if it cannot be made, or has lost its digest.
    """
    layout, run = one.place.layout, one.record.run
    kind = run.archive if run.archive != "off" else "zstd"
    archive = layout.archive(kind)
    try:
        if archive.is_file():
            tar_sha256 = layout.tar_digest.read_text("utf-8").split()[0]
        else:
            archive = scratch / f"{one.place.framework}-{one.place.run_id}.{archive.name}"
            tar_sha256 = write_archive(layout, kind, exclude=run.exclude_files, target=archive).tar_sha256
        metadata = layout.metadata.read_bytes()
    except (OSError, IndexError) as error:
        raise StorageError(
            f"the archive of {one.place.run_id} has lost its digest",
            where=str(layout.tar_digest),
            why=str(error),
            hint=f"runner archive {one.place.run_id}",
        ) from None
    about = BundledRun(
        framework=one.place.framework,
        id=one.place.run_id,
        digest=run.digest,
        archive=f"{RUNS_FOLDER}/{one.place.framework}/{one.place.run_id}{layout.archive(kind).name.removeprefix('run')}",
        tar_sha256=tar_sha256,
        metadata_sha256=hashlib.sha256(metadata).hexdigest(),
    )
    return about, archive


def bundled(
    target: Path, project: Project, chosen: Sequence[Chosen], scratch: Path, environment: Mapping[str, str] | None
) -> Bundle:
    """Write a bundle of runs and return what is in it.

    Args:
        target: the file.
        project: whose files go with the runs.
        chosen: the runs.
        scratch: an empty folder on the same disk.
        environment: variables that lead to the engine that has the images; None: without images.

    Raises:
        EngineError: if no engine answers.
        ImageError: if it has not an image of a run.
        StorageError: if something cannot be read or written.
    """
    runs = [bundled_run(one, scratch) for one in chosen]
    images = images_of(chosen)
    steps = [step for one in chosen for step in one.record.run.steps]
    recipes = [recipe_name(step.image.tag) for step in steps if step.image is not None]
    members = project_files(project, chosen, recipes)
    members |= {about.archive: archive for about, archive in runs}
    if environment is not None:
        file = scratch / IMAGES
        with connect(environment) as engine:
            write_images(engine, {one.id: one.tag for one in images}, file)
        members[IMAGES] = file
    return write_bundle(target, members, [about for about, _ in runs], images)


def images_of(chosen: Iterable[Chosen]) -> list[BundledImage]:
    """Return every image that the runs were made with, once."""
    found = {image.id: image for one in chosen for image in _images(one.record)}
    return [BundledImage(id=digest, tag=image.tag) for digest, image in sorted(found.items()) if digest is not None]


def _images(record: RunRecord) -> Iterator[ImageRef]:
    yield record.run.image
    yield from (step.image for step in record.run.steps if step.image is not None)


def project_files(project: Project, chosen: Iterable[Chosen], recipes: Iterable[str]) -> dict[str, Path]:
    """Return the files of a project that its runs were made from, as they are now, by their names in the bundle.

    What is no longer in the project is not in the bundle: the records say all that was run.

    Args:
        project: where they are.
        chosen: the runs.
        recipes: names of recipes of steps' own images.
    """
    records = [one.record.run for one in chosen]
    experiments = {file for run in records for file in _yaml_files(project.experiments, run.experiment)}
    found = set(experiments)
    scenarios = {run.scenario for run in records} | _listed(experiments, "scenarios")
    for file in (file for name in scenarios for file in _yaml_files(project.scenarios, name)):
        found |= set(_with_parts(file, project.workflows, set()))
    frameworks = {run.framework.name for run in records} | _listed(experiments, "frameworks")
    judged = {CHECKER} if any(run.checks for run in records) else set()
    for name in {*_SHARED_RECIPES, *recipes, *frameworks, *judged}:
        found |= set(_below(project.images / name))
    return {f"{PROJECT_FOLDER}/{path.relative_to(project.root).as_posix()}": path for path in sorted(found)}


def _listed(experiments: Iterable[Path], key: str) -> set[str]:
    """Return what experiments name: without all of it none of them can be used."""
    plain = (load_yaml(file, root=file.parent).value for file in experiments)
    return {
        str(name) for one in plain if isinstance(one, Mapping) for name in one.get(key) or () if isinstance(name, str)
    }


def _yaml_files(folder: Path, name: str) -> set[Path]:
    return {path for suffix in _SUFFIXES if (path := folder / f"{name}{suffix}").is_file()}


def _with_parts(file: Path, workflows: Path, seen: set[Path]) -> Iterator[Path]:
    """Yield a scenario or workflow, the files it names, and the workflows it uses with theirs."""
    if file in seen:
        return
    seen.add(file)
    yield file
    for key, value in _texts(load_yaml(file, root=file.parent).value):
        if key in _FILE_KEYS and (path := file.parent / value).is_file():
            yield path
        elif key == "workflow":
            for one in _yaml_files(workflows, value):
                yield from _with_parts(one, workflows, seen)


def _texts(value: object) -> Iterator[tuple[str, str]]:
    """Yield every text below a plain value with its key."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(inner, str):
                yield str(key), inner
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def _below(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and not _LEFT_OUT.intersection(path.relative_to(folder).parts):
            yield path
