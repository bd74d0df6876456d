"""Limits that no kernel keeps: what a step writes to the host's disk is watched."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import pytest
from support.fake_world import World, good_step, limits, tell

from runner.evidence.tree import scan
from runner.evidence.weigh import Weight
from runner.execution import watch as module
from runner.execution.watch import Bounds, Watch, watched
from runner.names import OUT_DIR, STATE_DIR
from runner.spec.models import Limits
from runner.testing import Box

MIB = 1024**2
SMALL = Limits(workspace=MIB, state=MIB, files=100)


@pytest.fixture
def bounds(tmp_path: Path) -> Bounds:
    """Return three folders of a step, with small limits."""
    workspace, state, out = (tmp_path / name for name in ("workspace", "state", "out"))
    for folder in (workspace, state, out):
        folder.mkdir()
    return Bounds(workspace=workspace, others=(state, out), limits=SMALL)


def _end(bounds: Bounds) -> str:
    assert bounds.workspace is not None
    return Watch(bounds=bounds).at_end(scan(bounds.workspace))


def _touch(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"file{number}").touch()


def test_what_is_within_its_limits_is_nothing(bounds: Bounds) -> None:
    """As many files and bytes as are allowed are allowed, while it runs and at its end."""
    _touch(bounds.others[1], 99)
    (bounds.others[0] / "data").write_bytes(b"x" * MIB)
    assert Watch(bounds=bounds).look() == ""
    assert _end(bounds) == ""


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (None, "/workspace holds at least 1052672 bytes: limits.workspace is 1048576 (watched)"),
        (0, "/state and /out hold at least 1052672 bytes: limits.state is 1048576 (watched)"),
        (1, "/state and /out hold at least 1052672 bytes: limits.state is 1048576 (watched)"),
    ],
)
def test_too_many_bytes(bounds: Bounds, place: int | None, reason: str) -> None:
    """Each folder's bytes count against its own limit, with holes, seen while it runs and at its end."""
    folder = bounds.folders[0] if place is None else bounds.others[place]
    with (folder / "data").open("wb") as file:
        file.truncate(MIB + 4096)
    assert Watch(bounds=bounds).look() == reason
    assert _end(bounds) == reason


def test_too_many_files(bounds: Bounds) -> None:
    """Names count together, whatever they are and wherever they are."""
    for folder in bounds.folders:
        _touch(folder, 33)
    assert _end(bounds) == ""
    (bounds.others[0] / "link").symlink_to("/")
    (bounds.others[0] / "folder").mkdir()
    reason = "/workspace, /state and /out hold at least 101 files and folders: limits.files is 100 (watched)"
    assert _end(bounds) == Watch(bounds=bounds).look() == reason


def test_a_workspace_that_cannot_be_written_does_not_count(bounds: Bounds) -> None:
    """A check is not blamed for what it was given to look at."""
    assert bounds.workspace is not None
    _touch(bounds.workspace, 200)
    tree = scan(bounds.workspace)
    reading = Bounds(workspace=None, others=bounds.others, limits=SMALL)
    assert Watch(bounds=reading).look() == Watch(bounds=reading).at_end(tree) == ""


def test_the_folders_are_gone_through_only_if_the_disk_has_filled_up(
    bounds: Bounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the file system holds about what it held, a look is one call of statvfs."""
    used, weighed = [module._Use(bytes=0, names=0)], []

    def nothing(*given: object) -> Weight:
        weighed.append(given)
        return Weight()

    monkeypatch.setattr(module, "_in_use", lambda _: used[-1])
    monkeypatch.setattr(module, "weigh", nothing)
    watch = Watch(bounds=bounds)
    watch.look()
    once = len(weighed)
    used.append(module._Use(bytes=MIB // 2 - 1, names=49))
    watch.look()
    assert len(weighed) == once > 0
    used.append(module._Use(bytes=MIB // 2, names=0))
    watch.look()
    used.append(module._Use(bytes=MIB // 2, names=50))
    watch.look()
    assert len(weighed) == 3 * once


def test_weighing_keeps_to_its_share_of_a_core() -> None:
    """Work that would take all of a core takes about a twentieth of it."""
    pace, begun, worked = module._Pace(module.SHARE, threading.Event()), time.monotonic(), time.thread_time()
    while time.monotonic() - begun < 0.5:
        assert pace()
    assert time.thread_time() - worked < (time.monotonic() - begun) * 3 * module.SHARE


def test_a_step_that_is_over_ends_a_look_in_the_middle() -> None:
    """Nobody waits for the rest of a look that has become needless."""
    over = threading.Event()
    pace = module._Pace(0.0001, over)
    over.set()
    begun = time.monotonic()
    while pace():
        assert time.monotonic() - begun < 50
    assert time.monotonic() - begun < 50  # half of the rest that the pace asks for


def test_stops_again_if_the_engine_does_not_listen(bounds: Bounds, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop that has no effect is tried again; the reason is the first one's."""
    for name in ("FIRST", "TICK", "MOST_GRACE"):
        monkeypatch.setattr(module, name, 0.01)
    _touch(bounds.folders[0], 101)
    stops: list[float] = []
    twice, before = threading.Event(), set(threading.enumerate())

    def stop() -> None:
        stops.append(time.monotonic())
        if len(stops) > 1:
            twice.set()

    with watched(bounds, stop) as watch:
        assert twice.wait(60)
    assert "limits.files" in watch.reason
    assert not any(thread.name == "watch" for thread in set(threading.enumerate()) - before)


@pytest.mark.parametrize("folder", ["/workspace", STATE_DIR, OUT_DIR])
def test_a_step_that_writes_too_much_is_stopped(world: World, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """The container ends long before its deadline; outcome and record say by which limit, and that it was watched."""
    monkeypatch.setattr(module, "FIRST", 0.05)
    world.limits = limits(workspace=MIB, state=MIB, step_timeout=250.0)

    def run(box: Box) -> int:
        box.path(f"{folder}/large", write=True).write_bytes(b"x" * 2 * MIB)
        box.sleep(250)
        return 0

    begun = time.monotonic()
    done = world.perform(run)
    assert time.monotonic() - begun < 125
    name = "workspace" if folder == "/workspace" else "state"
    assert done.record.outcome == "exceeded"
    assert f"limits.{name} is {MIB} (watched)" in done.record.reason
    attempt = done.record.steps[0].attempts[0]
    assert (attempt.outcome, attempt.watched) == ("exceeded", True)


def test_a_short_step_is_weighed_at_its_end(world: World) -> None:
    """A step that is over before anybody watches does not get away with it."""
    world.limits = limits(files=100)

    def run(box: Box) -> int:
        for number in range(150):
            box.path(f"{STATE_DIR}/{number}", write=True).touch()
        return good_step(box)

    done = world.perform(run)
    assert done.record.outcome == "exceeded"
    assert "limits.files is 100 (watched)" in done.record.reason


def test_what_nobody_would_finish_reading_is_not_read(world: World) -> None:
    """A thousand holes far beyond the limit stay in the folder; history and archive do without, and the record says so."""
    world.limits = limits(workspace=MIB)

    def run(box: Box) -> int:
        for number in range(1000):
            with box.path(f"hole{number}", write=True).open("wb") as hole:
                hole.truncate(2**30)
        tell(box)
        return 0

    begun = time.monotonic()
    done = world.perform(run)
    assert time.monotonic() - begun < 120
    assert (done.record.outcome, done.record.archive) == ("exceeded", None)
    notes = " ".join(done.record.notes)
    assert re.search(r"its workspace is not in the history: it holds \d{12,} bytes", notes)
    assert "there is no archive" in notes
    assert not list(world.layout.root.glob("run.tar*"))
    assert len(list(world.layout.workspace.iterdir())) > 100
