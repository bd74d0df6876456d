"""A disk that loses what was not synced when the power fails: ext4 on a file, of which a copy is taken at that moment.

What a program has written is in the page cache until the kernel writes it back, every 30 seconds at the earliest, or
until somebody syncs it; only then is it in the file below the file system. The journal is committed every
ten minutes or with a sync. So a copy of the file is what the platter would hold, delayed allocation, replayed journal
and empty files included. Not covered: a drive that loses or reorders what it has reported as written, other file
systems, and what lies outside the folder of runs (the engine's own data, images, caches).
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chaos.elsewhen import write_times
from chaos.places import Place, end_all, processes
from support.own_engine import OwnEngine

_SIZE = 4 * 1024**3
"""Bytes of the disk: what a runner wants to be free and more. The file is sparse."""
_ENDING_SECONDS = 20.0


def cannot() -> str:
    """Say why this machine has no such disks; empty if it has."""
    missing = [one for one in ("mkfs.ext4", "losetup") if not shutil.which(one)]
    if missing:
        return f"there is no {missing[0]}"
    return "" if Path("/dev/loop-control").exists() else "there are no loop devices"


@dataclass
class Machine:
    """The disk of a place, and the power of everything that uses it."""

    place: Place
    boots: int = field(default=0, init=False)

    @property
    def _image(self) -> Path:
        return self.place.root / "disk"

    def plug_in(self) -> None:
        """Make the disk and mount it as the folder of runs."""
        with self._image.open("wb") as file:
            file.truncate(_SIZE)
        quick = ("-E", "lazy_itable_init=1,lazy_journal_init=1", "-m", "0", "-J", "size=16")
        _run("mkfs.ext4", "-q", "-F", *quick, str(self._image))
        self._mount()

    def fail(self) -> None:
        """Cut the power: everything ends at once, and what was not synced is lost. Then start the machine again."""
        engine, survivor = self.place.world.engine, self._image.with_name("platter")
        _kill(self.place.root)
        _run("cp", "--sparse=always", str(self._image), str(survivor))
        _end_engine(engine)
        _run("umount", "--lazy", str(self.place.output))
        survivor.replace(self._image)
        self._mount()
        for left in self.place.runtime.iterdir():
            # It is in memory on every machine.
            shutil.rmtree(left)
        self.boots += 1
        write_times(self.place.times, 0.0, self.boots)
        engine.start()

    def _mount(self) -> None:
        _run("mount", "-o", "loop,commit=600", str(self._image), str(self.place.output))


@contextlib.contextmanager
def machine(place: Place) -> Iterator[Machine]:
    """Lend a machine whose power can fail; its disk is gone afterwards."""
    made = Machine(place)
    made.plug_in()
    try:
        yield made
    finally:
        end_all(place.root)
        _run("umount", "--lazy", str(place.output))


def _kill(root: Path) -> None:
    """End the runner and its gateway before they write anything more."""
    end = time.monotonic() + _ENDING_SECONDS
    while list(processes(root)):
        assert time.monotonic() < end, f"something below {root} does not end"
        end_all(root)


def _end_engine(engine: OwnEngine) -> None:
    """End the engine, all its containers, and every mount of theirs."""
    engine.end(signal.SIGKILL)
    end = time.monotonic() + _ENDING_SECONDS
    while list(processes(engine.folder / "exec")) + list(processes(engine.folder / "data")):
        assert time.monotonic() < end, "something of the engine does not end"
        for folder in ("exec", "data"):
            end_all(engine.folder / folder)
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    mounts = {line.split()[4] for line in lines}
    for place in sorted(mounts, reverse=True):
        if place.startswith((f"{engine.folder}/exec/", f"{engine.folder}/data/")):
            _run("umount", "--lazy", place)
    (engine.folder / "pid").unlink(missing_ok=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
