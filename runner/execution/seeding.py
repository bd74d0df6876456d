"""Begin a run with a commit of a git repository: what the scenario's bundle holds, checked out as a repository.

git's plumbing does it, which runs no hook, filter or alias: it is given no settings but those named here, no home, no
template, and a repository of its own. The pack is checked object by object before anything is written from it. Nothing
in the workspace tells when or where this was done, so that equal bundles give equal workspaces.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from runner.errors import StorageError
from runner.evidence.history.snapshot import open_history, take_snapshot
from runner.evidence.layout import RunLayout
from runner.evidence.tree import scan
from runner.plan.models import PlannedStart, Run
from runner.spec.bundles import bundle_bytes, bundle_sha256, read_bundle

_TIMEOUT = 300.0
_BRANCHES = "refs/heads/"
_ENVIRONMENT: Mapping[str, str] = {
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
}
_SETTINGS = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.autocrlf=false"),
    # Who moved a branch, and when, would stand in a log of it.
    *("-c", "core.logAllRefUpdates=false"),
    *("-c", "core.protectHFS=true", "-c", "core.protectNTFS=true", "-c", "core.attributesFile=/dev/null"),
)
_UMASK = 0o022


def seed(layout: RunLayout, run: Run, start: PlannedStart, number: int, name: str) -> tuple[str, ...]:
    """Check a run's first commit out into its workspace, which is empty, and keep it in the history.

    Args:
        layout: where the run is; its folders are made.
        run: the run.
        start: what it begins with.
        number: of that workspace in the run's history.
        name: what is in the place of a step's name there.

    Returns:
        A sentence for each thing that a reader of the record should know.

    Raises:
        StorageError: if the bundle is damaged or git cannot check it out.
    """
    data = bundle_bytes(start.content)
    if (found := bundle_sha256(data)) != start.sha256:
        raise _damaged(start, f"its sha256 is {found}, and was planned to be {start.sha256}")
    _check_out(layout.workspace, data, start)
    notes: tuple[str, ...] = (f"the workspace began as commit {start.commit} of {start.ref}",)
    if run.history != "off":
        history = open_history(layout.history)
        notes += take_snapshot(history, layout.workspace, scan(layout.workspace), number, name)
    return notes


def _check_out(workspace: Path, data: bytes, start: PlannedStart) -> None:
    branch = start.ref.removeprefix(_BRANCHES) if start.ref.startswith(_BRANCHES) else "main"
    _git(workspace, start, "init", "--quiet", "--template=", f"--initial-branch={branch}", ".")
    pack = data[read_bundle(data).pack :]
    _git(workspace, start, "index-pack", "--strict", "--fsck-objects", "--threads=1", "--stdin", given=pack)
    commit = _git(
        workspace, start, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{start.commit}^{{commit}}"
    )
    _git(workspace, start, "update-ref", f"{_BRANCHES}{branch}", commit)
    _git(workspace, start, "read-tree", commit)
    _git(workspace, start, "checkout-index", "--all", "--quiet")


def _git(workspace: Path, start: PlannedStart, *arguments: str, given: bytes = b"") -> str:
    try:
        done = subprocess.run(
            ["git", *_SETTINGS, *arguments],
            input=given,
            capture_output=True,
            check=False,
            cwd=workspace,
            env={**_ENVIRONMENT, "GIT_CEILING_DIRECTORIES": str(workspace.parent)},
            timeout=_TIMEOUT,
            umask=_UMASK,
        )
    except FileNotFoundError:
        raise _damaged(start, "there is no git in /usr/bin or /bin", "install git on this machine") from None
    except subprocess.TimeoutExpired:
        raise _damaged(start, f"git {arguments[0]} took more than {_TIMEOUT:g} seconds") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[-1000:]
        raise _damaged(start, f"git {arguments[0]} ended with exit code {done.returncode}: {said}")
    return done.stdout.decode("utf-8", "replace").strip()


def _damaged(start: PlannedStart, why: str, hint: str = "git bundle verify FILE") -> StorageError:
    what = f"the workspace cannot begin as commit {start.commit} of {start.ref}"
    return StorageError(what, why=why, hint=hint)
