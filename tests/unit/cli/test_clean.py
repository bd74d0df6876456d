"""What `clean` does with what it finds."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import NoReturn

import pytest

from runner.cli import leftovers
from runner.cli.groups import Group
from runner.cli.main import main
from runner.errors import EngineError
from runner.gateway.leftovers import hold
from runner.images import locks


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let `clean` find one group that can be removed and one that is only reported; return what was removed."""
    gone: list[str] = []

    def remove() -> list[str]:
        gone.append("thing")
        return ["other: busy"]

    groups = [
        Group(title="old things", items=(("thing", "of run x\x1b[2J"), ("other", "")), remove=remove, bytes=2048),
        Group(title="nothing here", items=(), remove=remove),
    ]
    monkeypatch.setattr(leftovers, "collect", lambda *args, **options: groups)
    return gone


def run(project: Path, *argv: str) -> tuple[int, str, str]:
    """Run `clean` in a project and return exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    code = main(["-C", str(project), "clean", *argv], environment={}, out=out, err=err)
    return code, out.getvalue(), err.getvalue()


def test_without_yes_nothing_is_removed(project: Path, removed: list[str]) -> None:
    """`clean` alone shows what could go, and how to remove it."""
    code, out, _ = run(project)
    assert (code, removed) == (0, [])
    assert out.startswith("old things: 2 items, 2.00 KiB\n  thing  of run x\\x1b[2J\n")
    assert "`runner clean --yes`" in out


def test_yes_removes_and_names_what_stays(project: Path, removed: list[str]) -> None:
    """--yes removes each group that holds something once; what cannot be removed is named and ends with 6."""
    code, _, err = run(project, "--yes")
    assert (code, removed) == (6, ["thing"])
    assert "warning: old things: other: busy" in err


def test_json_says_whether_anything_was_removed(project: Path, removed: list[str]) -> None:
    """With --json stdout is one document."""
    shown = json.loads(run(project, "--json")[1])
    assert (shown["removed"], [one["title"] for one in shown["groups"]]) == (False, ["old things", "nothing here"])
    assert removed == []


def test_folders_are_removed_and_counted(tmp_path: Path) -> None:
    """Superseded run directories are shown with their sizes and removed whole."""
    folder = tmp_path / "run.1"
    folder.mkdir()
    (folder / "file").write_bytes(b"x" * 100)
    group = leftovers._folders("superseded runs", [folder])
    room = sum(path.lstat().st_blocks * 512 for path in (folder, folder / "file"))
    assert (group.items[0][0], group.bytes) == (str(folder), room)
    assert group.remove() == []
    assert not folder.exists()


def test_a_cache_in_use_is_not_emptied(tmp_path: Path) -> None:
    """While a build or fetch is at work the cache stays, with the reason; afterwards it goes."""
    (tmp_path / "cas").mkdir()
    group = leftovers._cache(tmp_path)
    with locks.using(tmp_path):
        assert group.remove() == ["skipped, a build or fetch is using it; try again when it is over"]
    assert (tmp_path / "cas").is_dir()
    assert group.remove() == []
    assert not (tmp_path / "cas").exists()


def test_folders_need_no_engine(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a full disk has ended the engine, room can still be made; what only it knows is called not looked at."""

    def connect(_: object) -> NoReturn:
        raise EngineError("no engine answers")

    runtime = tmp_path / "run"
    runtime.mkdir()
    monkeypatch.setattr(leftovers, "connect", connect)
    monkeypatch.setattr(leftovers, "runtime_folder", lambda _: runtime)
    old = tmp_path / "out" / ".superseded" / "demo" / "run.1"
    old.mkdir(parents=True)
    code, out, _ = run(project, "--superseded", "--yes", "--output", str(tmp_path / "out"))
    assert (code, old.exists()) == (0, False)
    out = out.removeprefix("folders of gateways that have ended: none\n")
    assert out.startswith("not looked at: 1 item\n  the engine  no engine answers\nsuperseded runs: 1 item")
    assert run(project, "--output", str(tmp_path / "out"))[0] == 4
    assert run(project, "--superseded", "--images", "--output", str(tmp_path / "out"))[0] == 4


def test_folders_of_dead_gateways_go(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a gateway left that died with its runner is shown, and removed with --yes; one that lives is not shown."""
    runtime = tmp_path / "run"
    for name in ("cgr-dead", "cgr-live"):
        (runtime / name).mkdir(parents=True)
    os.close(hold(runtime / "cgr-dead"))
    held = hold(runtime / "cgr-live")

    def connect(_: object) -> NoReturn:
        raise EngineError("no engine answers")

    monkeypatch.setattr(leftovers, "connect", connect)
    monkeypatch.setattr(leftovers, "runtime_folder", lambda _: runtime)
    chosen = ("--superseded", "--output", str(tmp_path / "out"))
    shown = run(project, *chosen)[1]
    title, item, *_ = shown.splitlines()
    assert (title, item.strip()) == ("folders of gateways that have ended: 1 item", f"{runtime}/cgr-dead")
    assert (runtime / "cgr-dead").is_dir()
    assert run(project, *chosen, "--yes")[0] == 0
    assert [path.name for path in runtime.iterdir()] == ["cgr-live"]
    os.close(held)
