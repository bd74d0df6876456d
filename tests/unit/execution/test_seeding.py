"""A run that begins with a commit out of a git bundle."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_world import World
from support.history_world import picture

from runner.errors import StorageError
from runner.evidence.history.oci import read_steps
from runner.execution.place import Origin
from runner.execution.resume import goes_on
from runner.execution.run import perform_run
from runner.execution.seeding import seed
from runner.plan.changes import explain_change
from runner.plan.digest import digest_of
from runner.plan.fork import Changes, Past, forked, remaining
from runner.plan.models import Ancestry, PlannedStart, Run

pytestmark = pytest.mark.processes

MARK = "hook-was-run"


class Repository:
    """A repository to make bundles of.

    Args:
        folder: where; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str, given: str = "") -> str:
        """Return what git prints."""
        names = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_CONFIG_GLOBAL": "/dev/null"}
        names |= {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org", "HOME": "/nonexistent"}
        dates = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2026-01-01T00:00:00Z")
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env={**names, **dates},
            input=given,
            text=True,
            check=True,
            capture_output=True,
        )
        return done.stdout.strip()

    def start(self, branch: str = "main") -> PlannedStart:
        """Return that a run begins with a branch, as it is bundled now."""
        file = self.folder / "x.bundle"
        self.git("bundle", "create", "--quiet", str(file), branch)
        data = file.read_bytes()
        return PlannedStart(
            content=base64.b64encode(data).decode(),
            sha256=hashlib.sha256(data).hexdigest(),
            ref=f"refs/heads/{branch}",
            commit=self.git("rev-parse", branch),
        )


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Return a repository with a program, a script and a link in two commits."""
    repository = Repository(tmp_path / "repository")
    (repository.folder / "app.txt").write_text("Seeded.\n")
    repository.git("add", ".")
    repository.git("commit", "--quiet", "-m", "first")
    (repository.folder / "run.sh").write_text("#!/bin/sh\n")
    (repository.folder / "run.sh").chmod(0o755)
    (repository.folder / "link").symlink_to("app.txt")
    repository.git("add", ".")
    repository.git("commit", "--quiet", "-m", "second")
    return repository


def _seeded(world: World, start: PlannedStart) -> Run:
    run = world.run.model_copy(update={"start": start})
    digest = digest_of(run)
    return run.model_copy(update={"digest": digest, "id": f"build-r1-{(digest or '')[:10]}"})


@pytest.fixture
def check_out(world: World, tmp_path: Path) -> Callable[..., Path]:
    """Return what checks a start out into a new folder."""

    def check(start: PlannedStart, name: str = "one") -> Path:
        layout = world.context.layout(world.run.model_copy(update={"id": name}))
        layout.workspace.mkdir(parents=True)
        seed(layout, world.run, start, 0, "origin")
        assert not list(tmp_path.rglob(MARK))
        return layout.workspace

    return check


def test_the_first_step_finds_the_commit(world: World, repository: Repository) -> None:
    """It works on what the repository had; the history has that as number 0, so that only the step's own changes count."""
    run = _seeded(world, repository.start())
    done = perform_run(world.context, run)
    layout = world.context.layout(run)
    assert done.record.outcome == "passed"
    assert (layout.workspace / "app.txt").read_text() == "Seeded.\nBegin.Extend."
    assert os.access(layout.workspace / "run.sh", os.X_OK)
    assert (layout.workspace / "link").readlink() == Path("app.txt")
    assert [(one.number, one.id) for one in read_steps(layout.history)] == [(0, "origin"), (1, "begin"), (2, "extend")]
    assert [done.totals[name] for name in ("files_added", "files_changed", "lines_added", "lines_removed")] == [
        0,
        2,
        2,
        1,
    ]
    assert (
        f"the workspace began as commit {run.start.commit if run.start else ''} of refs/heads/main" in done.record.notes
    )


def test_it_is_a_repository_with_its_past(repository: Repository, check_out: Callable[..., Path]) -> None:
    """The branch is there with its commits, nothing differs from it, and no place of this machine is named."""
    workspace = check_out(repository.start())
    inside = Repository.__new__(Repository)
    inside.folder = workspace
    assert inside.git("log", "--format=%s").split() == ["second", "first"]
    assert inside.git("symbolic-ref", "HEAD") == "refs/heads/main"
    assert inside.git("status", "--porcelain") == ""
    assert str(workspace) not in (workspace / ".git" / "config").read_text()


def test_equal_bundles_give_equal_workspaces(repository: Repository, check_out: Callable[..., Path]) -> None:
    """Byte by byte, git's own files included."""
    start = repository.start()
    assert picture(check_out(start, "one")) == picture(check_out(start, "two"))


def test_no_hook_template_or_setting_of_the_user_is_taken(
    repository: Repository, check_out: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template with hooks, filters and aliases in the user's settings: none is in the workspace, none was run."""
    hook = tmp_path / "template" / "hooks" / "post-checkout"
    hook.parent.mkdir(parents=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/{MARK}\n")
    hook.chmod(0o755)
    settings = tmp_path / "gitconfig"
    settings.write_text(
        f"[init]\n\ttemplateDir = {tmp_path}/template\n[core]\n\thooksPath = {hook.parent}\n\tfsmonitor = {hook}\n"
        f'[filter "evil"]\n\tsmudge = {hook}\n'
    )
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, str(settings))
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(hook.parent.parent))
    (repository.folder / ".gitattributes").write_text("* filter=evil\n")
    repository.git("add", ".")
    repository.git("commit", "--quiet", "-m", "third")
    workspace = check_out(repository.start())
    assert (workspace / "app.txt").read_text() == "Seeded.\n"
    assert not (workspace / ".git" / "hooks").exists()


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".."])
def test_a_tree_that_reaches_into_git_itself_is_refused(
    repository: Repository, check_out: Callable[..., Path], name: str
) -> None:
    """Names that stand for git's own folder, or lead out: git refuses the pack, and the run does not begin."""
    blob = repository.git("hash-object", "-w", "--stdin", given="[core]\n")
    inner = repository.git("mktree", given=f"100644 blob {blob}\tconfig\n")
    outer = repository.git("mktree", given=f"040000 tree {inner}\t{name}\n")
    repository.git("update-ref", "refs/heads/evil", repository.git("commit-tree", outer, "-m", "evil"))
    with pytest.raises(StorageError, match="cannot begin as commit"):
        check_out(repository.start("evil"))


def test_a_link_is_no_way_out(repository: Repository, check_out: Callable[..., Path], tmp_path: Path) -> None:
    """A tree with a link to a folder elsewhere, and a file below it, writes nothing there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    blob = repository.git("hash-object", "-w", "--stdin", given=str(outside))
    tree = repository.git("mktree", given=f"100644 blob {blob}\tfile\n")
    both = repository.git("mktree", given=f"120000 blob {blob}\taway\n040000 tree {tree}\tawaz\n")
    repository.git("update-ref", "refs/heads/evil", repository.git("commit-tree", both, "-m", "evil"))
    workspace = check_out(repository.start("evil"))
    assert (workspace / "away").readlink() == outside
    assert not any(outside.iterdir())


def test_a_damaged_bundle_breaks_the_run(world: World, repository: Repository) -> None:
    """With another digest than planned, or a pack that is cut short: broken, and every step says so."""
    start = repository.start()
    cut = base64.b64decode(start.content)[:-30]
    short = start.model_copy(
        update={"content": base64.b64encode(cut).decode(), "sha256": hashlib.sha256(cut).hexdigest()}
    )
    for damaged, why in ((start.model_copy(update={"sha256": "0" * 64}), "sha256 is"), (short, "git index-pack")):
        done = perform_run(world.context, _seeded(world, damaged))
        assert done.record.outcome == "broken"
        assert why in done.record.reason
        assert all(step.outcome != "passed" for step in done.record.steps)


def test_what_a_run_begins_with_is_part_of_its_identity(world: World, repository: Repository) -> None:
    """Another bundle is another run, and the reason says so; without one the digest is what it was."""
    plain, seeded = world.run, _seeded(world, repository.start())
    assert digest_of(plain) == plain.digest
    assert seeded.digest != plain.digest
    assert explain_change(plain, seeded) == "the workspace that it begins with changed"


def test_a_fork_begins_with_the_step_and_not_with_the_bundle(world: World, repository: Repository) -> None:
    """What a fork goes on from has the bundle's files in it already: it is not checked out over them."""
    run = _seeded(world, repository.start())
    perform_run(world.context, run)
    layout = world.context.layout(run)
    kept = next(one for one in read_steps(layout.history) if one.number == 1)
    ancestry = Ancestry(run=run.id, digest=run.digest, step="begin", index=1, workspace_sha256=kept.config)
    same = Changes(
        framework=run.framework,
        image=run.image,
        scenario=run.scenario,
        model=run.model,
        answers_sha256=run.answers_sha256,
    )
    fork = forked(run, remaining(run.steps, {"begin"}, Past()), ancestry, same)
    origins = {fork.digest or "": Origin(history=layout.history, number=1)}
    done = perform_run(replace(world.context, origins=origins), fork)
    assert (fork.start, done.record.outcome) == (None, "passed")
    assert (world.context.layout(fork).workspace / "app.txt").read_text() == "Seeded.\nBegin.Extend."


def test_a_run_that_was_cut_off_while_it_was_given_its_files_starts_over(world: World, repository: Repository) -> None:
    """Nobody knows then whether all of them are there; once a step has begun they are."""
    run = _seeded(world, repository.start())
    done = perform_run(world.context, run)
    layout = world.context.layout(run)
    begun = done.record.model_copy(update={"outcome": None, "steps": ()})
    shutil.rmtree(layout.root / "steps")
    assert not goes_on(layout, begun, world.owner.boot)
    assert goes_on(layout, begun.model_copy(update={"run": world.run}), world.owner.boot)
