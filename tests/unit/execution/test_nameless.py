"""Space that no folder shows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.execution import nameless as module
from runner.execution.nameless import nameless_bytes


@pytest.fixture
def _ourselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be the only one of the step."""
    monkeypatch.setattr(module, "processes", lambda *_: {os.getpid()})


@pytest.mark.usefixtures("_ourselves")
def test_counts_what_is_open_and_has_no_name(tmp_path: Path) -> None:
    """A file counts with its blocks from when it loses its name until it is closed, held twice or not."""
    device = tmp_path.stat().st_dev
    before = nameless_bytes("any", {device}, lambda: True)
    with (tmp_path / "gone").open("wb") as held, os.fdopen(os.dup(held.fileno()), "wb"):
        held.write(b"x" * 100_000)
        held.flush()
        os.fsync(held.fileno())
        assert nameless_bytes("any", {device}, lambda: True) == before
        (tmp_path / "gone").unlink()
        assert 100_000 <= nameless_bytes("any", {device}, lambda: True) - before < 200_000
        assert nameless_bytes("any", {device + 1}, lambda: True) == 0
    assert nameless_bytes("any", {device}, lambda: True) == before


def test_a_step_without_a_cgroup_holds_nothing(tmp_path: Path) -> None:
    """Where nobody can tell whose processes are whose, nothing is counted; nor in a group that is not ours."""
    for cgroup in ("", "/", "/../..", "/system.slice"):
        assert nameless_bytes(cgroup, {tmp_path.stat().st_dev}, lambda: True) == 0


def test_a_process_that_vanishes_holds_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A number that belongs to nobody any more is passed over."""
    monkeypatch.setattr(module, "processes", lambda *_: {2**22 + 1})
    assert nameless_bytes("any", {tmp_path.stat().st_dev}, lambda: True) == 0
