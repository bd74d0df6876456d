"""Reading below an open folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.evidence.folders import Folders
from runner.evidence.walk import opened


def test_a_pipe_in_a_files_place_blocks_nobody(tmp_path: Path) -> None:
    """A file that became a pipe after it was seen has no content, and nobody waits for somebody to write to it."""
    os.mkfifo(tmp_path / "file")
    with opened(tmp_path) as root, Folders(root) as folders:
        assert b"".join(folders.read(b"file")) == b""


def test_a_link_in_a_files_place_is_refused(tmp_path: Path) -> None:
    """A file that became a link is not read through it."""
    (tmp_path / "target").write_text("secret")
    (tmp_path / "file").symlink_to("target")
    with opened(tmp_path) as root, Folders(root) as folders, pytest.raises(OSError, match="symbolic links"):
        b"".join(folders.read(b"file"))
