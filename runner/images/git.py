"""Fetch a git repository at one commit, and keep its tree as a tar that depends on the tree alone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from runner.errors import ImageError
from runner.images import cas
from runner.images.lockfile import Artifact
from runner.images.models import ImageContext
from runner.images.tarball import SYMLINK, Entry, archive
from runner.spec.models import GitSource

_TIMEOUT = 1800.0
_SYMLINK, _SUBMODULE, _EXECUTABLE = "120000", "160000", "100755"


def fetch(ctx: ImageContext, source: GitSource, *, name: str, folder: Path, where: str) -> Artifact:
    """Fetch the commit and put its tree into the cache.

    Args:
        ctx: cache and environment; git's own settings apply.
        source: repository, and the full commit id.
        name: the framework's name.
        folder: the recipe's folder; a relative repository path starts there.
        where: file that a failure is blamed on.

    Raises:
        ImageError: if the repository cannot be reached, lacks the commit, or has submodules.
    """
    with cas.scratch(ctx.cache, "git") as scratch:
        repository = scratch / "repository"
        git = _Git(repository, ctx.environment, where)
        git.run("init", "--quiet", "--bare", str(repository), at_home=True)
        address = source.git if "://" in source.git or ":" in source.git else str((folder / source.git).resolve())
        try:
            git.run("fetch", "--quiet", "--depth", "1", "--no-tags", address, source.commit)
        except ImageError:
            # Not every server hands out a commit by its id: then everything is fetched and the commit looked for.
            git.run("fetch", "--quiet", "--tags", address, "+refs/*:refs/origin/*")
        found = git.run("rev-parse", "--verify", "--quiet", f"{source.commit}^{{commit}}").decode().strip()
        if found != source.commit:
            raise ImageError(f"{source.git} gave commit {found} for {source.commit}", where=where)
        target = scratch / f"{name}-{source.commit}.tar"
        with target.open("wb") as out:
            out.writelines(archive(_members(git, source.commit)))
        sha256, size = cas.add(ctx.cache, target)
    return Artifact(
        kind="git",
        name=name,
        version=source.commit,
        file=target.name,
        sha256=sha256,
        size=size,
        commit=source.commit,
    )


class _Git:
    """Runs git in one bare repository, asking nobody anything."""

    def __init__(self, repository: Path, environment: Mapping[str, str], where: str) -> None:
        self._repository = repository
        self._environment = {**environment, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}
        self._where = where

    def run(self, *arguments: str, at_home: bool = False, given: bytes = b"") -> bytes:
        """Return what git prints.

        Raises:
            ImageError: if git is absent or fails.
        """
        place = [] if at_home else ["--git-dir", str(self._repository)]
        try:
            result = subprocess.run(
                ["git", *place, *arguments],
                input=given,
                capture_output=True,
                check=False,
                timeout=_TIMEOUT,
                env=self._environment,
            )
        except (FileNotFoundError, subprocess.TimeoutExpired) as error:
            raise ImageError(
                f"git {arguments[0]} could not be carried out", where=self._where, why=str(error)
            ) from error
        if result.returncode != 0:
            raise ImageError(
                f"git {arguments[0]} failed with exit code {result.returncode}",
                where=self._where,
                why=result.stderr.decode("utf-8", "replace").strip()[-2000:],
                hint="Check the address and the commit id, and that the commit is reachable from a branch or tag.",
            )
        return result.stdout


def _members(git: _Git, commit: str) -> Iterator[tuple[Entry, Iterable[bytes]]]:
    listed = git.run("ls-tree", "-r", "-z", "--full-tree", commit)
    rows = [_row(row) for row in sorted(listed.split(b"\0"), key=lambda row: row.partition(b"\t")[2]) if row]
    for mode, _, path in rows:
        if mode == _SUBMODULE:
            raise ImageError(
                f"{path} is a submodule of commit {commit}", why="The contents of submodules are not part of a commit."
            )
    blobs = _blobs(git.run("cat-file", "--batch", given="".join(f"{row[1]}\n" for row in rows).encode()))
    for (mode, _, path), content in zip(rows, blobs, strict=True):
        if mode == _SYMLINK:
            yield Entry(path=path, type=SYMLINK, mode=0o777, link=content.decode("utf-8", "surrogateescape")), ()
        else:
            yield Entry(path=path, size=len(content), mode=0o755 if mode == _EXECUTABLE else 0o644), (content,)


def _row(row: bytes) -> tuple[str, str, str]:
    """Split one line of ls-tree into mode, object and path."""
    described, _, path = row.partition(b"\t")
    mode, _, identifier = described.decode("ascii").split(" ")
    return mode, identifier, path.decode("utf-8", "surrogateescape")


def _blobs(batch: bytes) -> Iterator[bytes]:
    """Split what `git cat-file --batch` prints: `<object> blob <size>`, a newline, the content, a newline."""
    position = 0
    while position < len(batch):
        end = batch.index(b"\n", position)
        size = int(batch[position:end].rpartition(b" ")[2])
        yield batch[end + 1 : end + 1 + size]
        position = end + size + 2
