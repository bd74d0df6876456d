"""A framework whose source cannot be reached is reported as not buildable, and everything else goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.project import SITE, Project

pytestmark = pytest.mark.e2e

NOWHERE = "http://127.0.0.1:1/tools/"


@dataclass(frozen=True)
class Away:
    """A project one of whose two frameworks comes from a repository that only a mirror has."""

    project: Project
    without: dict[str, str]
    """Settings of a machine that knows no mirror, with a cache of its own."""
    mirrored: dict[str, str]
    """Settings of one that does."""


@pytest.fixture
def away(talk: Project, tmp_path: Path) -> Away:
    """The framework `twin` is locked, from a mirror, and its source is in no cache that is used from now on."""
    recipe = talk.root / "images" / "twin"
    shutil.copytree(talk.root / "images" / "caller", recipe)
    commit = _make_repository(tmp_path / "mirror" / "twin", recipe / "src")
    _replace(recipe / "framework.yaml", "name: caller", "name: twin")
    _replace(recipe / "framework.yaml", "path: src", f"git: {NOWHERE}twin\n  commit: {commit}")
    shutil.rmtree(recipe / "src")
    _replace(talk.root / "config/experiments/default.yaml", "[caller]", "[caller, twin]")
    site = tmp_path / "site.yaml"
    rules = SITE.read_text()
    site.write_text(f"{rules}\nsources:\n  rewrite:\n    {NOWHERE}: {tmp_path}/mirror/\n")
    mirrored = {"RUNNER_SITE": str(site)}
    locked = talk.run("images", "lock", "twin", env=mirrored)
    assert locked.returncode == 0, locked.stdout + locked.stderr
    without = {"RUNNER_CACHE": str(tmp_path / "cache")}
    return Away(project=talk, without=without, mirrored=mirrored | without)


def _make_repository(target: Path, content: Path) -> str:
    """Commit a folder's content to a new repository and return the commit's id."""
    shutil.copytree(content, target)
    settings = ("-c", "user.name=x", "-c", "user.email=x@localhost")
    for arguments in (("init", "--quiet"), ("add", "."), (*settings, "commit", "--quiet", "--message=one")):
        subprocess.run(["git", "-C", str(target), *arguments], check=True, capture_output=True)
    found = subprocess.run(["git", "-C", str(target), "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_an_experiment_goes_on_without_it(away: Away) -> None:
    """The other framework's run passes; the missing one is named with host, reason and remedy, and leaves no run."""
    done = away.project.run("go", env=away.without, timeout=240)
    assert done.returncode == 5, done.stdout + done.stderr
    for words in ("images/twin/framework.yaml: 127.0.0.1 cannot be reached", "git ls-remote", "sources.rewrite"):
        assert words in done.stderr
    assert "not possible here: 1 run, for want of an image; nothing is recorded of them" in done.stdout
    assert "  twin, talk: 1 run (image of twin: 127.0.0.1 cannot be reached)" in done.stdout
    assert [path.parent.name for path in away.project.directories()] == ["caller"]
    document = json.loads(away.project.run("go", "--json", env=away.without).stdout)
    assert document["impossible"] == [{"framework": "twin", "scenario": "talk", "runs": 1, "images": ["twin"]}]
    assert [(run["framework"], run["outcome"]) for run in document["runs"]] == [("caller", "passed")]


def test_the_next_go_with_a_mirror_carries_out_what_was_missing(away: Away) -> None:
    """Each `go` tries to build again; with a mirror in the machine's rules the image is made and its run passes."""
    alone = away.project.run("go", "--framework", "twin", env=away.without)
    assert alone.returncode == 5
    assert "127.0.0.1 cannot be reached" in alone.stderr
    assert away.project.directories() == []
    done = away.project.run("go", env=away.mirrored)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.parent.name for path in away.project.directories()) == ["caller", "twin"]


def test_building_says_what_is_left_out(away: Away) -> None:
    """`images build` makes what it can and ends with 5, as not all that the default experiment needs is there."""
    done = away.project.run("images", "build", env=away.without)
    assert done.returncode == 5, done.stdout + done.stderr
    assert "not buildable here, as a source cannot be reached: twin" in done.stdout
    assert "caller: ready" in done.stdout or "caller: built" in done.stdout
