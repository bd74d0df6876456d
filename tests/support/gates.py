"""Steps that end when a test says so: what has to happen while one is under way cannot come too late, however slow it is.

Its program waits for a file in its /in, which is a folder of the step outside: `hold` of the project `probe` does.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from support.waiting import until

GATE = "go-on"
"""What a step that is held waits for in its /in."""
HELD = "begun"
"""What it leaves in its /out before it waits."""
HOLDS = f"touch /out/{HELD}; until test -e /in/{GATE}; do sleep 0.1; done"
"""The same for a command of a shell."""
_LOOK_AGAIN = 0.05


def until_held(runs: Path, pattern: str = "steps/*", *, runs_at_once: int = 1) -> list[Path]:
    """Wait until steps are under way that wait for their gate; return their folders.

    Args:
        runs: folder of run directories.
        pattern: which steps of each run.
        runs_at_once: so many runs have to have one.
    """

    def held() -> list[Path]:
        found = [path.parents[1] for path in runs.glob(f"[!.]*/*/{pattern}/out/{HELD}") if not _opened(path.parents[1])]
        return sorted(found) if len({path.parents[1] for path in found}) >= runs_at_once else []

    return until(held, f"no step {pattern} of {runs_at_once} runs waits for its gate")


@contextlib.contextmanager
def let_go(runs: Path) -> Iterator[None]:
    """Open the gate of every step that has one, and of those that begin while the block lasts."""
    over = threading.Event()

    def look() -> None:
        while True:
            for held in runs.glob(f"[!.]*/*/steps/*/out/{HELD}"):
                with contextlib.suppress(OSError):
                    # Only of one that waits, or was stopped while it did: no other run's evidence grows afterwards.
                    (held.parents[1] / "in" / GATE).touch(exist_ok=False)
            if over.wait(_LOOK_AGAIN):
                return

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _opened(step: Path) -> bool:
    return (step / "in" / GATE).exists()
