"""Following a run that is under way."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from runner.cli.console import Console
from runner.cli.finding import Place, find_run, read_record
from runner.cli.log_source import follow_run
from runner.engine.protocol import ContainerState, Engine
from runner.names import LABEL_ATTEMPT, LABEL_STEP


def container(step: int, attempt: int) -> ContainerState:
    """Return a running container of a step."""
    return ContainerState(
        id=f"c{step}{attempt}",
        name="c",
        status="running",
        exit_code=None,
        oom_killed=False,
        error="",
        started_at=None,
        finished_at=None,
        labels={LABEL_STEP: str(step), LABEL_ATTEMPT: str(attempt)},
    )


class Observer:
    """An engine's eyes: one container after the other, and the run's end once all have been read."""

    def __init__(self, place: Place, containers: list[ContainerState]) -> None:
        self.place = place
        self.containers = containers
        self.read: list[str] = []
        self.asked = 0

    def find(self, labels: Mapping[str, str | None]) -> list[ContainerState]:
        """Return what has been read and, every second time, the next container too."""
        self.asked += 1
        waiting = [one for one in self.containers if one.id not in self.read]
        if not waiting and self.asked % 2:
            record = read_record(self.place).model_copy(update={"outcome": "passed"})
            self.place.layout.metadata.write_text(record.model_dump_json(), encoding="utf-8")
        return [one for one in self.containers if one.id in self.read] + (waiting[:1] if self.asked % 2 else [])

    def logs(self, container: str, *, follow: bool = False) -> Iterator[tuple[str, bytes]]:
        """Yield what the container writes."""
        self.read.append(container)
        yield "stdout", f"live {container}\n".encode()
        yield "stderr", f"trouble {container}\n".encode()


@pytest.fixture
def place(output: Path) -> Place:
    """Return the run that is under way; two of its steps have ended."""
    return find_run(output, "crud-r3")


def follow(place: Place, containers: list[ContainerState], *, follow: bool, only: int | None = None) -> tuple[str, str]:
    """Follow a run and return what went to stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    engine = cast("Engine", SimpleNamespace(observer=Observer(place, containers)))
    console = Console(out=out, err=err, quiet=True)
    follow_run(console, engine, place, only=only, streams=("stdout",), follow=follow)
    return out.getvalue(), err.getvalue()


def test_following_reads_files_then_each_container_until_the_run_ends(place: Place) -> None:
    """What has ended comes from files, every later attempt from its container, each once."""
    out, err = follow(place, [container(3, 1), container(3, 2)], follow=True)
    assert out == "out 1\\x1b[2J\nout 2\\x1b[2J\nlive c31\nlive c32\n"
    assert err == ""


def test_without_follow_only_what_is_there(place: Place) -> None:
    """Without -f the present container's output is printed and nothing is waited for."""
    out, _ = follow(place, [container(3, 1), container(3, 2)], follow=False)
    assert out.endswith("live c31\n")


def test_one_step_that_has_ended_is_not_followed(place: Place) -> None:
    """Following a step ends with that step, not with the run."""
    assert follow(place, [], follow=True, only=2) == ("out 2\\x1b[2J\n", "")
