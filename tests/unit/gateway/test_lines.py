"""Lines are added whole, after whatever a full disk or a crash left of one before."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.gateway.lines import append_line


@pytest.mark.parametrize("sync", [True, False])
def test_line_after_one_that_was_cut_short_is_whole(tmp_path: Path, *, sync: bool) -> None:
    """What was cut short is ended, and only that is lost; a line after a whole one follows at once."""
    file = tmp_path / "folder" / "lines.jsonl"
    append_line(file, "first", sync=sync)
    with file.open("ab") as writer:
        writer.write(b"sec")
    append_line(file, "third", sync=sync)
    append_line(file, "fourth", sync=sync)
    assert file.read_text() == "first\nsec\nthird\nfourth\n"
