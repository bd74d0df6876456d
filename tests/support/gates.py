"""Steps that end when a test says so: what has to happen while one is under way cannot come too late, however slow it is.

Its program waits for a file in its /in, which is a folder of the step outside: `hold` of the project `probe` does.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from support.waiting import looking, until

GATE = "go-on"
"""What a step that is held waits for in its /in."""
HELD = "begun"
"""What it leaves in its /out before it waits."""
HOLDS = f"touch /out/{HELD}; until test -e /in/{GATE}; do sleep 0.1; done"
"""The same for a command of a shell."""


def until_held(runs: Path, pattern: str = "steps/*", *, runs_at_once: int = 1) -> list[Path]:
    """Wait until steps are under way that wait for their gate; return their folders.

    Args:
        runs: folder of run directories.
        pattern: which steps of each run.
        runs_at_once: so many runs have to have one.
    """

    def there() -> list[Path]:
        found = held(runs, pattern)
        return found if len({step.parents[1] for step in found}) >= runs_at_once else []

    return until(there, f"no step {pattern} of {runs_at_once} runs waits for its gate")


def held(runs: Path, pattern: str = "steps/*") -> list[Path]:
    """Return the folders of steps that wait for their gate; arguments as of `until_held`."""
    found = (path.parents[1] for path in runs.glob(f"[!.]*/*/{pattern}/out/{HELD}"))
    return sorted(step for step in found if not _gate(step).exists())


def open_gates(runs: Path) -> None:
    """Let every step go on that waits for its gate."""
    for step in held(runs):
        with contextlib.suppress(OSError):
            # Only of one that waits, or was stopped while it did: no other run's evidence grows afterwards.
            _gate(step).touch(exist_ok=False)


def let_go(runs: Path) -> contextlib.AbstractContextManager[None]:
    """Open the gate of every step that has one, and of those that begin while the block lasts."""
    return looking(lambda: open_gates(runs))


def _gate(step: Path) -> Path:
    return step / "in" / GATE
