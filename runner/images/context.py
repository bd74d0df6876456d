"""The build context of an image: a tar that is made while it is sent, straight from the cache."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.images import patches
from runner.images.cas import CHUNK
from runner.images.lockfile import Lock
from runner.images.models import Recipe
from runner.images.recipe import ContextFile, installer, local_source, patcher, recipe_files
from runner.images.tarball import DIRECTORY, SYMLINK, Entry

ARTIFACTS = "artifacts"


@dataclass(frozen=True, kw_only=True)
class Material:
    """Verified files for one build, by their path in the context."""

    files: dict[str, Path]
    wheels: tuple[str, ...]
    """`name==version`."""
    npm: tuple[dict[str, str], ...]
    tree: Path | None
    """Tar of a git source."""


def members(
    recipe: Recipe, lock: Lock, material: Material, *, bootstrap: bool
) -> Iterator[tuple[Entry, Iterable[bytes]]]:
    """Yield the context's files: Dockerfile, the recipe's own files, artifacts and the program that installs them."""
    local = local_source(recipe)
    manifest = {
        "bootstrap": bootstrap,
        "npm": list(material.npm),
        "source": bool(local) or material.tree is not None,
        "wheels": list(material.wheels),
    }
    date = lock.epoch
    yield _bytes("Dockerfile", (recipe.folder / "Dockerfile").read_bytes(), date)
    yield _bytes(f"{ARTIFACTS}/manifest.json", json.dumps(manifest, sort_keys=True).encode(), date)
    yield _bytes(f"{ARTIFACTS}/install.py", installer(recipe).read_bytes(), date)
    if patches.of(recipe):
        yield _bytes(f"{ARTIFACTS}/{patches.PATCHER}", patcher(recipe).read_bytes(), date)
    yield Entry(path="recipe", type=DIRECTORY, mode=0o755, mtime=date), ()
    yield from _copies("recipe", recipe_files(recipe), date)
    yield from _copies(f"{ARTIFACTS}/source", local, date)
    if material.tree is not None:
        yield _file(f"{ARTIFACTS}/source.tar", material.tree, date)
    for path, file in sorted(material.files.items()):
        yield _file(f"{ARTIFACTS}/{path}", file, date)


def _bytes(path: str, content: bytes, date: int) -> tuple[Entry, Iterable[bytes]]:
    return Entry(path=path, size=len(content), mtime=date), (content,)


def _file(path: str, file: Path, date: int, mode: int = 0o644) -> tuple[Entry, Iterable[bytes]]:
    return Entry(path=path, size=file.stat().st_size, mode=mode, mtime=date), _read(file)


def _copies(folder: str, files: Sequence[ContextFile], date: int) -> Iterator[tuple[Entry, Iterable[bytes]]]:
    made: set[str] = set()
    for file in files:
        for parent in reversed(Path(file.path).parents[:-1]):
            if str(parent) not in made:
                made.add(str(parent))
                yield Entry(path=f"{folder}/{parent}", type=DIRECTORY, mode=0o755, mtime=date), ()
        path = f"{folder}/{file.path}"
        if file.link is not None:
            yield Entry(path=path, type=SYMLINK, mode=0o777, link=file.link, mtime=date), ()
        else:
            yield _file(path, file.source, date, 0o755 if file.executable else 0o644)


def _read(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while chunk := content.read(CHUNK):
            yield chunk
