"""One runner per folder of runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import StorageError
from runner.execution.claim import LOCK, claim


def test_a_second_claim_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    """The message says which process is at work, and where."""
    with claim(tmp_path), pytest.raises(StorageError) as refused, claim(tmp_path):
        pass
    assert f"process {os.getpid()}" in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_a_claim_ends_with_its_block(tmp_path: Path) -> None:
    """The same folder can be claimed again afterwards."""
    for _ in range(2):
        with claim(tmp_path / "runs"):
            assert (tmp_path / "runs" / LOCK).read_text().strip() == str(os.getpid())


@pytest.mark.processes
def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    """The kernel drops the lock of a process that died, so that nobody has to clear anything by hand."""
    code = (
        "import os, pathlib, signal, sys\nfrom runner.execution.claim import claim\n"
        "with claim(pathlib.Path(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert (tmp_path / LOCK).exists()
    with claim(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    """A file in the way is reported, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write to"), claim(tmp_path / "file" / "runs"):
        pass
