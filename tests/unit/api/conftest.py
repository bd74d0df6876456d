"""Commands in containers take turns in a folder of their own, not among the machine's users."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.engine import reservations


@pytest.fixture(autouse=True)
def queue_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the runners of a test have their tickets."""
    folder = tmp_path / "lock"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr(reservations, "shared_folder", lambda: folder)
    return folder / reservations.FOLDER
