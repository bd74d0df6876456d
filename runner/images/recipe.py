"""Read recipes, and hash what goes into an image: pure over files, no engine and no network."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runner.errors import ConfigError
from runner.images import lockfile, patches
from runner.images.models import SCHEMA, Recipe, SystemRecipe
from runner.spec.models import Framework, LocalSource
from runner.spec.validate import validate
from runner.spec.yaml import load_yaml

BASE = "base"
INSTALLER = "install.py"
"""Program in the base recipe's folder that installs artifacts while an image is built."""
DATA = "data.in"
"""File in a recipe's folder: distributions that are locked alone and given to the Dockerfile, never installed."""

_NOT_COPIED = (
    "framework.yaml",
    "requirements.in",
    DATA,
    "requirements.lock",
    "Dockerfile",
    "README.md",
    "answers",
    "__pycache__",
    ".*",
    "*.pyc",
    "*~",
)
"""Names in a recipe's folder that never get into its image."""


@dataclass(frozen=True, kw_only=True)
class ContextFile:
    """A file that is copied into an image: path below its place, host path, and whether it is executable."""

    path: str
    source: Path
    executable: bool
    link: str | None = None
    """Target, if it is a symbolic link."""

    def key(self) -> list[object]:
        """Return what of it decides about the image."""
        return [self.path, self.executable, self.link if self.link is not None else sha256(self.source)]


def names(images: Path) -> list[str]:
    """List the frameworks that have a recipe."""
    return sorted(path.parent.name for path in images.glob("*/framework.yaml"))


def builders(images: Path) -> list[str]:
    """List the builder images that have a recipe."""
    return sorted(f"builder/{path.parent.name}" for path in images.glob("builder/*/builder.yaml"))


def everything(images: Path) -> list[str]:
    """List the base, the builders and the frameworks that have a recipe."""
    return [BASE, *builders(images), *names(images)]


def load(images: Path, name: str) -> Recipe:
    """Read one recipe.

    Args:
        images: the project's folder of recipes.
        name: `base`, `builder/NAME` or a framework's name.

    Raises:
        ConfigError: if there is none, or it cannot be used.
    """
    folder = images / name
    if name == BASE or name.startswith("builder/"):
        file = folder / ("base.yaml" if name == BASE else "builder.yaml")
        if not file.is_file():
            others = {BASE, *builders(images), *names(images)} - {name}
            raise lockfile.unknown(name, others, file.name)
        system = validate(load_yaml(file), SystemRecipe)
        return Recipe(name=name, kind="base" if name == BASE else "builder", folder=folder, file=file, system=system)
    file = folder / "framework.yaml"
    if "/" in name or not file.is_file():
        raise lockfile.unknown(name, names(images))
    framework = validate(load_yaml(file), Framework)
    if framework.name != name:
        raise ConfigError(
            f"the framework is called {framework.name} but its folder {name}", where=str(file), hint="Use one name."
        )
    return Recipe(name=name, kind="framework", folder=folder, file=file, framework=framework)


def sha256(path: Path) -> str:
    """Return the sha256 of a small file, or of nothing if it does not exist."""
    return hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()


def lock_inputs(recipe: Recipe, base: lockfile.Lock | None) -> dict[str, str]:
    """Return the hashes that a fresh lock of this recipe records.

    A framework with system packages is locked against the base's packages; one without needs only its Python.
    """
    result: dict[str, str] = {}
    if recipe.system is not None:
        result["recipe"] = lockfile.digest(recipe.system.model_dump())
    if recipe.framework is not None:
        result["source"] = lockfile.digest(recipe.framework.source.model_dump(exclude_defaults=True))
        result["requirements.in"] = sha256(recipe.folder / "requirements.in")
        if (recipe.folder / DATA).is_file():
            result["data"] = sha256(recipe.folder / DATA)
        result["system_packages"] = lockfile.digest(sorted(recipe.framework.system_packages))
    if base is not None:
        debs = [artifact.sha256 for artifact in base.of("deb")] if recipe.packages else []
        result["base"] = lockfile.digest([base.python, debs])
    return result


def image_inputs(recipe: Recipe, base: str) -> str:
    """Hash everything that goes into an image.

    Args:
        recipe: whose image.
        base: the base image's own hash, empty for the base.

    Returns:
        sha256 in hexadecimal.

    Raises:
        ConfigError: if the recipe has no lock.
    """
    if not recipe.lock.is_file():
        lockfile.read(recipe)
    inputs: dict[str, object] = {
        "schema": SCHEMA,
        "name": recipe.name,
        "base": base,
        "lock": sha256(recipe.lock),
        "dockerfile": sha256(recipe.folder / "Dockerfile"),
        "installer": sha256(installer(recipe)),
        "files": [file.key() for file in recipe_files(recipe)],
        "source": [file.key() for file in local_source(recipe)],
    }
    if patches.of(recipe):
        inputs["patcher"] = sha256(patcher(recipe))
    return lockfile.digest(inputs)


def installer(recipe: Recipe) -> Path:
    """Return the program that installs artifacts in this recipe's image."""
    return _base(recipe) / INSTALLER


def patcher(recipe: Recipe) -> Path:
    """Return the program that applies patches in this recipe's image."""
    return _base(recipe) / patches.PATCHER


def _base(recipe: Recipe) -> Path:
    depth = len(PurePosixPath(recipe.name).parts)
    return recipe.folder.parents[depth - 1] / BASE


def recipe_files(recipe: Recipe) -> list[ContextFile]:
    """List the files that are copied as they are: a framework's adapter, the base's root file system."""
    if recipe.kind == "builder":
        return []
    if recipe.kind == BASE:
        return list(_files(recipe.folder / "rootfs", ()))
    source = recipe.framework.source if recipe.framework else None
    skip = PurePosixPath(source.path).parts if isinstance(source, LocalSource) else ()
    return [file for file in _files(recipe.folder, _NOT_COPIED) if not skip or _parts(file)[: len(skip)] != skip]


def local_source(recipe: Recipe) -> list[ContextFile]:
    """List the files of a framework that lies in a folder of its recipe.

    Raises:
        ConfigError: if the folder is absent or outside.
    """
    source = recipe.framework.source if recipe.framework else None
    if not isinstance(source, LocalSource):
        return []
    folder = (recipe.folder / source.path).resolve()
    if not folder.is_dir() or not folder.is_relative_to(recipe.folder.resolve()):
        why = "It leaves the recipe's folder." if folder.is_dir() else f"{folder} is no folder."
        raise ConfigError(f"source path {source.path} cannot be used", where=str(recipe.file), why=why)
    return [] if folder == recipe.folder.resolve() else list(_files(folder, ("__pycache__", ".git", "*.pyc")))


def _parts(file: ContextFile) -> tuple[str, ...]:
    return PurePosixPath(file.path).parts


def _files(folder: Path, skipped: tuple[str, ...], prefix: str = "") -> Iterator[ContextFile]:
    """Walk a folder in the order of path bytes; file modes are reduced to whether the owner may execute."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir(), key=lambda path: path.name.encode("utf-8", "surrogateescape")):
        name = f"{prefix}{path.name}"
        if any(fnmatch.fnmatchcase(path.name, pattern) for pattern in skipped):
            continue
        if path.is_symlink():
            yield ContextFile(path=name, source=path, executable=True, link=str(path.readlink()))
        elif path.is_dir():
            yield from _files(path, tuple(one for one in skipped if one in _EVERYWHERE), f"{name}/")
        elif path.is_file():
            yield ContextFile(path=name, source=path, executable=bool(path.stat().st_mode & 0o100))


_EVERYWHERE: Mapping[str, None] = dict.fromkeys(("__pycache__", ".git", "*.pyc", "*~"))
"""Of the names that are skipped, those that are skipped in every folder below, too."""
