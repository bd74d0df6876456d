"""Keeping every step of a growing workspace costs about what keeping the last one does."""

from __future__ import annotations

from pathlib import Path
from random import Random

from support.history_world import make_world

KILOBYTES = (200, 350, 500, 650, 800, 950)
"""After each of six steps: the example by which a folder per step, five times the room, was once weighed."""


def test_six_steps_cost_about_one_copy(tmp_path: Path) -> None:
    """Of files that no compressor makes smaller, all six steps take at most 1.15 times the last one, and come back."""
    world, noise = make_world(tmp_path / "run"), Random(0)
    size = 0
    for number, kilobytes in enumerate(KILOBYTES, start=1):
        for part in range(5):
            content = noise.randbytes((kilobytes * 1000 - size) // (5 - part))
            (world.workspace / f"{number}-{part}.bin").write_bytes(content)
            size += len(content)
        (world.workspace / "notes.md").write_text(f"step {number}\n" * number)
        world.step()
    kept = sum(path.stat().st_size for path in world.folder.rglob("*") if path.is_file())
    assert size < kept <= 1.15 * size
    for number in range(1, len(KILOBYTES) + 1):
        assert world.restored(number) == world.pictures[number - 1]
