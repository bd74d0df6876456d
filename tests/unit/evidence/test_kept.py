"""Runs that are to stay carry a mark beside the runs."""

from __future__ import annotations

from pathlib import Path

from runner.evidence.kept import keep, kept, release


def test_a_mark_stays_until_it_is_taken_away(tmp_path: Path) -> None:
    """It holds its note, can be written anew, and taking it away twice says so."""
    assert kept(tmp_path) == {}
    keep(tmp_path, "fake/crud-r1", "figure\n3")
    keep(tmp_path, "fake/crud-r2")
    keep(tmp_path, "fake/crud-r1", "table 2")
    assert kept(tmp_path) == {"fake/crud-r1": "table 2", "fake/crud-r2": ""}
    assert release(tmp_path, "fake/crud-r1")
    assert not release(tmp_path, "fake/crud-r1")
    assert kept(tmp_path) == {"fake/crud-r2": ""}
