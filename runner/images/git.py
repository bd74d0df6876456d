"""Fetch a git repository at one commit, and keep its tree as a tar that depends on the tree alone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from runner.errors import ImageError
from runner.images import cas, reach
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
        _bring(git, address_of(source, folder, ctx.rewrite), source)
        found = git.run("rev-parse", "--verify", "--quiet", f"{source.commit}^{{commit}}").decode().strip()
        if found != source.commit:
            raise ImageError(f"{source.git} gave commit {found} for {source.commit}", where=where)
        target = scratch / f"{name}-{source.commit}.tar"
        with target.open("wb") as out:
            out.writelines(archive(_members(git, source)))
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


def address_of(source: GitSource, folder: Path, rewrite: Mapping[str, str]) -> str:
    """Return where a repository is asked for: mirrors count, and a relative path starts at the recipe's folder."""
    address = reach.rewritten(source.git, rewrite)
    return address if ":" in address else str((folder / address).resolve())


def require_reachable(ctx: ImageContext, source: GitSource, *, folder: Path, where: str) -> None:
    """Ask the repository for the names of its branches, as git itself asks: its proxies, mirrors and keys count.

    Raises:
        Unreachable: if it does not answer.
        ImageError: if there is no git.
    """
    address = address_of(source, folder, ctx.rewrite)
    try:
        reach.require_answer(
            ["git", "ls-remote", "--quiet", address, "HEAD"],
            _unattended(ctx.environment),
            host=reach.host_of(address),
            where=where,
            hint="Name a mirror of it: sources.rewrite in the machine's site.yaml (RUNNER_SITE names another file), or "
            f"git config --global url.MIRROR.insteadOf {source.git}; behind a proxy: git config --global http.proxy URL.",
        )
    except FileNotFoundError as error:
        raise ImageError("git could not be carried out", where=where, why=str(error), hint="Install git.") from error


def _unattended(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for git that asks nobody, and gives up a transfer in which nothing comes for a minute."""
    bounds = {"GIT_HTTP_LOW_SPEED_LIMIT": "1", "GIT_HTTP_LOW_SPEED_TIME": "60"}
    return {**bounds, **environment, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}


class _Git:
    """Runs git in one bare repository, asking nobody anything."""

    def __init__(self, repository: Path, environment: Mapping[str, str], where: str) -> None:
        self._repository = repository
        self._environment = _unattended(environment)
        self._where = where

    def run(self, *arguments: str, at_home: bool = False, given: bytes = b"") -> bytes:
        """Return what git prints.

        Raises:
            ImageError: if git is absent or fails.
        """
        place = [] if at_home else ["--git-dir", str(self._repository)]
        try:
            code, stdout, stderr = reach.bounded(["git", *place, *arguments], self._environment, _TIMEOUT, given=given)
        except (FileNotFoundError, subprocess.TimeoutExpired) as error:
            raise ImageError(
                f"git {arguments[0]} could not be carried out", where=self._where, why=str(error)
            ) from error
        if code != 0:
            raise ImageError(
                f"git {arguments[0]} failed with exit code {code}",
                where=self._where,
                why=stderr.decode("utf-8", "replace").strip()[-2000:],
                hint="Check the address and the commit id, and that the commit is reachable from a branch or tag.",
            )
        return stdout


def _bring(git: _Git, address: str, source: GitSource) -> None:
    """Bring the commit into the repository, with the contents of the files that are wanted only, if paths are named."""
    partial = ("--filter=blob:none",) if source.paths else ()
    try:
        git.run("fetch", "--quiet", "--depth", "1", "--no-tags", *partial, address, source.commit)
    except ImageError:
        # Not every server hands out a commit by its id: then everything is fetched and the commit looked for.
        git.run("fetch", "--quiet", "--tags", address, "+refs/*:refs/origin/*")
        return
    if partial:
        wanted = "".join(f"{identifier}\n" for identifier in sorted({row[1] for row in _rows(git, source)}))
        git.run("fetch", "--quiet", "--depth", "1", "--no-tags", *partial, "--stdin", address, given=wanted.encode())


def _rows(git: _Git, source: GitSource) -> list[tuple[str, str, str]]:
    """List mode, object and path of every file of the commit that is wanted, in the order of path bytes.

    Raises:
        ImageError: if a wanted path is not in the commit.
    """
    listed = git.run("ls-tree", "-r", "-z", "--full-tree", source.commit, "--", *source.paths)
    rows = [_row(row) for row in sorted(listed.split(b"\0"), key=lambda row: row.partition(b"\t")[2]) if row]
    for path in source.paths:
        if not any(row[2] == path or row[2].startswith(f"{path}/") for row in rows):
            raise ImageError(
                f"commit {source.commit} of {source.git} has no {path}",
                hint="Check source.paths: files and folders from the top of the repository, without a / at the end.",
            )
    return rows


def _members(git: _Git, source: GitSource) -> Iterator[tuple[Entry, Iterable[bytes]]]:
    rows = _rows(git, source)
    for mode, _, path in rows:
        if mode == _SUBMODULE:
            raise ImageError(
                f"{path} is a submodule of commit {source.commit}",
                why="The contents of submodules are not part of a commit.",
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
