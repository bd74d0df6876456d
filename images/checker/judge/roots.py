"""Find the folder from which a module is imported, and its dotted name there."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from judge.facts import Facts


def root_of(workspace: Path, path: PurePosixPath, facts: Facts) -> tuple[PurePosixPath, str]:
    """Choose the folder among those above a module that its own imports speak for.

    Each absolute import that names something in a folder is a vote for that folder. Where there is none, or several
    have the same, it is the folder above the module's package; without a package, the module's own.

    Args:
        workspace: folder of everything.
        path: the module, relative to it.
        facts: what its source says.

    Returns:
        that folder, relative to the workspace, and the module's dotted name in it.
    """
    package = package_root(workspace, path)
    above = [folder for folder in path.parents if not facts.relative or folder != path.parent]
    votes = {folder: sum(has(workspace / folder, name) for name in facts.imports) for folder in above}
    most = max(votes.values(), default=0)
    best = [folder for folder in above if votes[folder] == most] if most else []
    chosen = best[0] if best else package
    if package in best or not best:
        chosen = package
    if facts.relative and chosen == path.parent:
        chosen = path.parent.parent
    return chosen, dotted(path.relative_to(chosen))


def package_root(workspace: Path, path: PurePosixPath) -> PurePosixPath:
    """Return the folder above the outermost package that a module is in; its own folder if it is in none."""
    folder = path.parent
    while folder.parts and (workspace / folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def dotted(path: PurePosixPath) -> str:
    """Return a module's dotted name for its path."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def has(folder: Path, name: str) -> bool:
    """Tell whether a top name can be imported from a folder."""
    return (folder / f"{name}.py").is_file() or (folder / name).is_dir()
