"""The school's application of the scenario crud, judged from outside by tests/e2e/frameworks/crud_check.py."""

from __future__ import annotations

import os
from pathlib import Path

from support.project import ROOT

from runner.engine import owner
from runner.engine.protocol import ContainerSpec, Engine, Mount, Resources
from runner.evidence.judged import whole_verdicts
from runner.evidence.layout import RunLayout
from runner.names import LABEL_KIND, PROJECT

CHECK = ROOT / "tests" / "e2e" / "frameworks" / "crud_check.py"
CHECK_SECONDS = 600


def judge(
    engine: Engine, image: str, workspace: Path, program: Path = CHECK, *, writable: bool = False
) -> tuple[int | None, str]:
    """Run a check in an image, on a workspace, without a network.

    Args:
        engine: where.
        image: any with a Python that has what the application needs.
        workspace: where the application lies.
        program: the check; its folder is there, too, as /in.
        writable: whether it may change the workspace: an application may keep its database there.

    Returns:
        exit code, None if it did not end in time, and what the check said.
    """
    limits = Resources(cpus=1, memory=1 << 30, swap=0, pids=128, tmp=64 << 20, shm=16 << 20, log=1 << 20)
    container = engine.containers.create(
        ContainerSpec(
            name=f"{PROJECT}-check-{owner.current().pid}-{workspace.parent.name}",
            image=image,
            argv=("python", f"/in/{program.name}"),
            env={"HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"},
            user=f"{os.getuid()}:{os.getgid()}",
            workdir="/workspace",
            mounts=(
                Mount(source=str(workspace), target="/workspace", read_only=not writable),
                Mount(source=str(program.parent), target="/in", read_only=True),
            ),
            resources=limits,
            labels={**owner.current().labels(), LABEL_KIND: "helper"},
        )
    )
    try:
        engine.containers.start(container)
        state = engine.containers.wait(container, CHECK_SECONDS)
        text = b"".join(chunk for _, chunk in engine.observer.logs(container)).decode()
        return (state.exit_code if state else None), text
    finally:
        engine.containers.remove(container)


def judged_at_the_end(root: Path) -> None:
    """Have the service judged once, after the last step: what nine checks cost, one framework in the tests is enough for.

    Args:
        root: of a copy of this project.
    """
    file = root / "config" / "scenarios" / "crud.yaml"
    text, found, _ = file.read_text().partition("  - id: imports\n")
    assert found
    assert text.count("    after: all\n") == 1
    file.write_text(text.replace("    after: all\n", ""))


def judgements(directory: Path) -> list[tuple[str, str, str]]:
    """Return check, step and verdict of all that was judged of a run."""
    return [(one.check, one.step, one.verdict) for one in whole_verdicts(RunLayout(directory))]
