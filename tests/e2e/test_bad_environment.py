"""What is wrong around the runs ends in one clear message, the documented exit code, and nothing started."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from support.broken_world import NO_ENGINE, old_engine, small_disk
from support.project import Project, left_in_engine

pytestmark = pytest.mark.e2e

Result = subprocess.CompletedProcess[str]


def _assert_refused(result: Result, code: int, *words: str) -> None:
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert result.stderr.startswith("error: "), result.stderr
    assert "\n  -> " in result.stderr
    for word in words:
        assert word in result.stderr


def _add_twin(project: Project) -> Path:
    """Give the project a second framework that differs from the first in its name only; return its recipe."""
    recipe = project.root / "images" / "twin"
    shutil.copytree(project.root / "images" / "caller", recipe)
    _replace(recipe / "framework.yaml", "name: caller", "name: twin")
    _replace(project.root / "config/experiments/default.yaml", "[caller]", "[caller, twin]")
    return recipe


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def _assert_only_caller_ran(project: Project, result: Result, *words: str) -> None:
    assert result.returncode == 5, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    for word in words:
        assert word in result.stderr
    assert re.search(r"^caller +talk +1/1", result.stdout, re.MULTILINE), result.stdout
    assert [path.parent.name for path in project.directories()] == ["caller"]


def test_no_engine(talk: Project) -> None:
    """Without an engine `go` says where it looked and what installs one, and leaves no run."""
    result = talk.run("go", env=NO_ENGINE)
    _assert_refused(result, 4, "no Docker engine answers at unix:///nonexistent", "`make engine`")
    assert talk.directories() == []


def test_doctor_without_an_engine(talk: Project) -> None:
    """The doctor looks at everything else too, and exits as the failure it found would."""
    result = talk.run("doctor", env=NO_ENGINE)
    assert result.returncode == 4, result.stdout + result.stderr
    assert "no Docker engine answers at unix:///nonexistent" in result.stdout
    assert re.search(r"^ok +output ", result.stdout, re.MULTILINE)
    assert "Traceback" not in result.stdout + result.stderr


def test_an_engine_that_is_too_old(talk: Project) -> None:
    """An engine before 20.10 is refused with its version and the oldest that will do."""
    with old_engine("1.30") as env:
        result = talk.run("go", env=env)
    _assert_refused(result, 4, "1.18.0 speaks API 1.30", "at least 1.41", "20.10")
    assert talk.directories() == []


@pytest.mark.parametrize("command", [("go", "--dry-run"), ("plan",)], ids=" ".join)
def test_a_plan_needs_no_engine(talk: Project, command: tuple[str, ...]) -> None:
    """The plan, as a table and as JSON, is made without an engine and changes nothing."""
    before = sorted(talk.root.rglob("*"))
    table = talk.run(*command, env=NO_ENGINE)
    assert table.returncode == 0, table.stderr
    assert "scripted model" in table.stdout
    assert "1 run: 1 to do, 0 done" in table.stdout
    document = json.loads(talk.run(*command, "--json", env=NO_ENGINE).stdout)
    assert (document["to_do"], document["model"]) == (1, "scripted model")
    assert [run["steps"] for run in document["runs"]] == [["greet", "chat"]]
    assert sorted(talk.root.rglob("*")) == before


def test_a_missing_key_is_found_first(talk: Project) -> None:
    """A real model without its key is refused before any engine is looked for."""
    result = talk.run("go", "--model", "openai/x", env={"OPENAI_API_KEY": "", **NO_ENGINE})
    _assert_refused(result, 2, "no key for openai/x", "export OPENAI_API_KEY=")
    assert not talk.runs.exists()


def test_an_unknown_framework(talk: Project) -> None:
    """A name that the experiment does not have is answered with the nearest one."""
    result = talk.run("go", "--framework", "calller", env=NO_ENGINE)
    _assert_refused(result, 2, "no framework `calller`", "did you mean `caller`?")


@pytest.mark.parametrize("command", [("go",), ("go", "--dry-run"), ("plan",)], ids=" ".join)
def test_filters_that_leave_nothing(talk: Project, command: tuple[str, ...]) -> None:
    """Nothing to run is an error of its own, found before an engine is looked for and an image built."""
    result = talk.run(*command, "narrow", "--scenario", "talk", env=NO_ENGINE)
    _assert_refused(result, 3, "`narrow` selects no run", "1 rule of include", "runner plan --explain")
    assert not talk.runs.exists()


def test_a_disk_that_is_nearly_full(talk: Project, tmp_path: Path) -> None:
    """With less free than must stay free no run begins, and the same command works elsewhere."""
    with small_disk(tmp_path / "small", "size=100m") as disk:
        result = talk.run("go", "--output", str(disk / "runs"))
        _assert_refused(result, 6, "the disk is nearly full", str(disk / "runs"), "1.0 GiB must stay free")
        assert list(disk.rglob("metadata.json")) == []
    assert left_in_engine(talk) == []
    assert talk.run("go").returncode == 0


def test_an_output_folder_that_cannot_be_written(talk: Project, tmp_path: Path) -> None:
    """A folder on a read-only file system is refused by name before an engine is looked for."""
    with small_disk(tmp_path / "closed", "ro") as disk:
        result = talk.run("go", "--output", str(disk / "runs"), env=NO_ENGINE)
    _assert_refused(result, 6, f"cannot write to {disk / 'runs'}", "Read-only file system", "--output")


@pytest.mark.parametrize("below", ["", "deeper/runs"])
def test_a_file_in_the_way_of_the_output(talk: Project, below: str) -> None:
    """A file where the folder should be, or above it, is named and left as it is."""
    file = talk.root / "taken"
    file.write_text("precious")
    result = talk.run("go", "--output", str(file / below), env=NO_ENGINE)
    _assert_refused(result, 6, f"cannot write to {file / below}", "a file is in the way")
    assert file.read_text() == "precious"


@pytest.mark.parametrize("command", [("go",), ("plan",), ("runs",), ("ledger", "check")], ids=" ".join)
def test_a_ledger_from_a_newer_version(talk: Project, command: tuple[str, ...]) -> None:
    """Every command refuses the ledger with both versions, and not one byte of it changes."""
    talk.runs.mkdir()
    file = talk.runs / ".ledger.sqlite"
    _make_newer_ledger(file)
    before = file.read_bytes()
    _assert_refused(talk.run(*command), 6, f"{file} was written by a newer version", "version is 99", "upgrade")
    assert file.read_bytes() == before
    assert talk.directories() == []


def _make_newer_ledger(file: Path) -> None:
    from runner.ledger.schema import APPLICATION_ID

    connection = sqlite3.connect(file)
    connection.executescript(
        f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 99; CREATE TABLE future (x);"
    )
    connection.close()


def test_a_newer_ledger_is_kept_by_a_rebuild(talk: Project) -> None:
    """`ledger rebuild` puts the ledger it cannot read aside, whole, and makes one that can be used."""
    talk.runs.mkdir()
    file = talk.runs / ".ledger.sqlite"
    _make_newer_ledger(file)
    before = file.read_bytes()
    result = talk.run("ledger", "rebuild")
    assert result.returncode == 0, result.stderr
    (kept,) = talk.runs.glob(".ledger.sqlite.*")
    assert str(kept) in result.stdout
    assert kept.read_bytes() == before
    assert talk.run("runs").returncode == 0


def test_a_recipe_without_lock(talk: Project) -> None:
    """Alone it is bad configuration; beside others it keeps none of them from running. The plan warns, JSON or not."""
    (_add_twin(talk) / "requirements.lock").unlink()
    hint = "runner images lock twin"
    _assert_refused(talk.run("go", "--framework", "twin"), 2, "images/twin/requirements.lock: twin has no lock", hint)
    _assert_only_caller_ran(talk, talk.run("go"), "twin has no lock", hint)
    for command in (("plan",), ("plan", "--json")):
        plan = talk.run(*command, env=NO_ENGINE)
        assert plan.returncode == 0
        assert "warning: " in plan.stderr
        assert hint in plan.stderr


def test_a_lock_that_is_older_than_its_recipe(talk: Project) -> None:
    """A recipe that was changed after it was locked is refused, though an image of that lock is there."""
    recipe = _add_twin(talk)
    built = talk.run("images", "build", "twin")
    assert built.returncode == 0, built.stdout + built.stderr
    _replace(recipe / "framework.yaml", "source:\n", "system_packages: [git]\nsource:\n")
    words = (
        "images/twin/requirements.lock",
        "older than its inputs",
        "Changed since it was made: base, system_packages.",
    )
    _assert_refused(talk.run("go", "--framework", "twin"), 2, *words, "runner images lock twin")
    _assert_only_caller_ran(talk, talk.run("go"), *words)


def test_a_lock_whose_hash_does_not_fit(talk: Project, tmp_path: Path) -> None:
    """What the repository gives is not taken if its bytes are not those of the lock; both hashes are named."""
    recipe = _add_twin(talk)
    commit = _make_repository(tmp_path / "repository", recipe / "src")
    address = (tmp_path / "repository").as_uri()
    _replace(recipe / "framework.yaml", "path: src", f"git: {address}\n  commit: {commit}")
    shutil.rmtree(recipe / "src")
    locked = talk.run("images", "lock", "twin")
    assert locked.returncode == 0, locked.stdout + locked.stderr
    lock = recipe / "requirements.lock"
    (right,) = re.findall(r'"sha256": "(\w{64})"', lock.read_text())
    _replace(lock, right, "0" * 64)
    result = talk.run("go", "--framework", "twin")
    _assert_refused(result, 5, f"commit {commit} does not fit the lock of twin", right, "0" * 64)
    assert talk.directories() == []


def _make_repository(target: Path, content: Path) -> str:
    """Commit a folder's content to a new repository and return the commit's id."""
    shutil.copytree(content, target)
    settings = ("-c", "user.name=x", "-c", "user.email=x@localhost")
    for arguments in (("init", "--quiet"), ("add", "."), (*settings, "commit", "--quiet", "--message=one")):
        subprocess.run(["git", "-C", str(target), *arguments], check=True, capture_output=True)
    found = subprocess.run(["git", "-C", str(target), "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


def test_an_image_that_fails_its_smoke_test(talk: Project) -> None:
    """The framework is left out with the test's last words and its log; the others run, and the exit code tells."""
    recipe = _add_twin(talk)
    built = talk.run("images", "build", "twin")
    assert built.returncode == 0, built.stdout + built.stderr
    file = recipe / "framework.yaml"
    command = "[python3, -c, \"raise SystemExit('no tongue')\"]"
    file.write_text(re.sub(r"\[python3, -c, .*\]", command, file.read_text()))
    words = (
        "images/twin/framework.yaml",
        "the smoke test of twin failed with exit code 1",
        "no tongue",
        "The whole log",
    )
    _assert_only_caller_ran(talk, talk.run("go"), *words)
    _assert_refused(talk.run("go", "--framework", "twin"), 5, *words)
    document = json.loads(talk.run("go", "--json").stdout)
    assert document["exit_code"] == 5
    assert "smoke test of twin" in document["images_failed"]["twin"]
