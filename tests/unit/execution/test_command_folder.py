"""What a dead `run_command` or shell left: its container goes, its own folder goes, and nothing else is touched."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_world import World

from runner.engine.owner import Owner
from runner.engine.protocol import ContainerSpec, Resources
from runner.errors import StorageError
from runner.execution.claim import LOCK, claim
from runner.execution.command_folder import command_folder, remove_folder
from runner.execution.recovery import sweep_dead
from runner.names import LABEL_KIND, LABEL_RUN_DIR, LABEL_STEP
from runner.testing import Box

NAME = "runner-command-ab_cd123"


def _leave(world: World, owner: Owner, kind: str, folder: Path, **labels: str) -> str:
    """Leave a container that runs, of an owner."""
    spec = ContainerSpec(
        name=f"cgr-{kind}-1",
        image=world.engine.add_image("demo"),
        argv=("x",),
        env={},
        user="1:1",
        workdir="/",
        mounts=(),
        resources=Resources(cpus=1.0, memory=1, swap=0, pids=10, tmp=1, shm=1, log=1),
        labels={**owner.labels(), LABEL_KIND: kind, LABEL_RUN_DIR: str(folder), **labels},
    )
    world.engine.register(_sleep)
    world.engine.containers.start(world.engine.containers.create(spec))
    return spec.name


def _sleep(box: Box) -> int:
    box.write(b"noise")
    box.sleep(60)
    return 0


def _sweep(world: World) -> tuple[str, ...]:
    swept = sweep_dead(world.engine, world.owner, world.output.parent)
    assert swept.kept == ()
    return swept.containers


@pytest.mark.parametrize("kind", ["command", "shell"])
def test_a_dead_commands_container_is_swept(world: World, dead: Owner, tmp_path: Path, kind: str) -> None:
    """Whatever lies above its folder is no folder of runs: nobody has to hold it, and no lock file is made there."""
    folder = tmp_path / "tmp" / NAME
    (folder / "in").mkdir(parents=True)
    name = _leave(world, dead, kind, folder)
    with claim(tmp_path):
        assert _sweep(world) == (name,)
    (tmp_path / LOCK).unlink()
    assert folder.exists() is (kind == "shell"), "what `--keep` wants stays"
    name = _leave(world, dead, kind, folder)
    assert _sweep(world) == (name,)
    assert not (tmp_path / LOCK).exists()


def test_a_live_commands_container_and_folder_stay(world: World, dead: Owner, tmp_path: Path) -> None:
    """What belongs to a process that lives, or to another user, is left alone, folder and all."""
    folder = tmp_path / "tmp" / NAME
    folder.mkdir(parents=True)
    for owner in (world.owner, replace(dead, uid=dead.uid + 1)):
        name = _leave(world, owner, "command", folder)
        assert _sweep(world) == ()
        world.engine.kill(name)
        world.engine.containers.remove(name)
    assert folder.is_dir()


def test_labels_of_a_command_write_nothing_into_a_run(world: World, dead: Owner) -> None:
    """A container that calls itself a command, and says a step's folder, is removed without a trace of its output there."""
    log = world.layout.step(1).log("stdout")
    log.parent.mkdir(parents=True)
    log.write_text("evidence")
    name = _leave(world, dead, "command", world.layout.root, **{LABEL_STEP: "1"})
    assert _sweep(world) == (name,)
    assert log.read_text() == "evidence"


@pytest.mark.parametrize("name", ["runs", "runner-command-", "runner-command-short", "runner-command-ab_cd123.txt"])
def test_only_a_folder_of_such_a_name_is_removed(tmp_path: Path, name: str) -> None:
    """A label may name any folder of this user's."""
    (tmp_path / name).mkdir()
    remove_folder(tmp_path / name, os.getuid())
    assert (tmp_path / name).is_dir()


def test_only_an_own_folder_that_nobody_holds_is_removed(tmp_path: Path) -> None:
    """Not what a link leads to, not another user's, not a file, not one that is in use; and a relative path is none."""
    kept, link, file = tmp_path / NAME, tmp_path / "l" / NAME, tmp_path / "f" / NAME
    for folder in (kept, link.parent, file.parent):
        folder.mkdir()
    link.symlink_to(kept)
    file.touch()
    remove_folder(kept, os.getuid() + 1)
    for path in (link, file, tmp_path / "none" / NAME, tmp_path / "\0" / NAME, Path(os.path.relpath(kept))):
        remove_folder(path, os.getuid())
    assert kept.is_dir()
    assert file.exists()
    (kept / "closed").mkdir(mode=0o500)
    remove_folder(kept, os.getuid())
    assert not kept.exists()


def test_a_command_holds_its_folder() -> None:
    """While its process lives nobody's label takes it away; afterwards it is gone."""
    with command_folder() as folder:
        remove_folder(folder, os.getuid())
        assert folder.is_dir()
    assert not folder.exists()


def test_a_sweep_does_not_keep_a_folders_own_runner_out(
    world: World, dead: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runner that starts in a folder which another one is clearing away begins once that is through."""
    monkeypatch.setattr("runner.execution.claim._PATIENCE", 0.05)
    name, stop, outcomes = _leave(world, dead, "check", world.layout.root), world.engine.containers.stop, list[str]()
    world.output.mkdir(exist_ok=True)

    def begin() -> None:
        try:
            with claim(world.output):
                outcomes.append("began")
        except StorageError as error:
            outcomes.append(str(error))

    starting = threading.Thread(target=begin)

    def slowly(container: str, grace: float) -> None:
        starting.start()
        starting.join(0.5)
        assert outcomes == []
        stop(container, grace)

    monkeypatch.setattr(world.engine.containers, "stop", slowly)
    assert _sweep(world) == (name,)
    starting.join(60)
    assert outcomes == ["began"]
