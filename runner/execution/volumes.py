"""The engine's volumes of one run: named and labelled, so that what a crash leaves is swept by the next start."""

from __future__ import annotations

import threading
from pathlib import Path

from runner.errors import EngineError
from runner.execution.context import Context
from runner.names import LABEL_DIGEST, LABEL_KIND, LABEL_RUN, LABEL_RUN_DIR
from runner.plan.models import Run


class Volumes:
    """Volumes over folders of one run; safe in several threads.

    Args:
        context: shared hands.
        run: the run.
    """

    def __init__(self, context: Context, run: Run) -> None:
        self._context = context
        self._labels = {
            **context.owner.labels(),
            LABEL_KIND: "workspace",
            LABEL_RUN: run.id,
            LABEL_DIGEST: run.digest or "",
            LABEL_RUN_DIR: str(context.layout(run).root),
        }
        self._lock = threading.Lock()
        self._made: set[str] = set()

    def make(self, name: str, folder: Path) -> None:
        """Make a volume over a folder; the same one existing already is fine.

        Raises:
            EngineError: if the engine refuses.
        """
        with self._lock:
            self._made.add(name)
        context, volumes = self._context, self._context.engine.volumes
        context.gate.patiently(
            lambda: volumes.create(name, device=str(folder), labels=self._labels), context.cancellation, context.events
        )

    def take_over(self) -> None:
        """Count among those made here what an earlier runner made for the same run.

        Raises:
            EngineError: if the engine refuses.
        """
        context, volumes = self._context, self._context.engine.volumes
        place = {LABEL_RUN_DIR: self._labels[LABEL_RUN_DIR]}
        found = context.gate.patiently(lambda: volumes.find(place), context.cancellation, context.events)
        with self._lock:
            self._made |= {name for name, _ in found}

    def remove(self, name: str | None) -> tuple[str, ...]:
        """Remove a volume that was made here; what is below it stays.

        Returns:
            A sentence if it cannot be removed: it is left to the next start, changes no outcome and hides no error.
        """
        with self._lock:
            if name is None or name not in self._made:
                return ()
            self._made.remove(name)
        context, volumes = self._context, self._context.engine.volumes
        try:
            context.gate.patiently(lambda: volumes.remove(name), context.cancellation, context.events)
        except EngineError as error:
            return (f"volume {name} is still in the engine: {error}",)
        return ()

    def remove_all(self) -> list[str]:
        """Remove every volume that is left, and return what `remove` says."""
        return [note for name in sorted(self._made) for note in self.remove(name)]
