"""GPUs: which there are on this machine, and which of them are free."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from runner.names import LABEL_GPUS

_NVIDIA = Path("/proc/driver/nvidia/gpus")
"""Has a folder for each device of NVIDIA's driver."""
_RUNTIME = "nvidia"
"""What NVIDIA's container toolkit calls the runtime that it adds to an engine."""


def find_gpus(runtimes: Collection[str], driver: Path = _NVIDIA) -> tuple[str, ...]:
    """Return the ids of the devices that an engine of this machine can give to containers: their numbers, from 0.

    Args:
        runtimes: names of the engine's runtimes.
        driver: where the driver lists its devices.
    """
    if _RUNTIME not in runtimes:
        return ()
    try:
        count = sum(1 for _ in driver.iterdir())
    except OSError:
        return ()
    return tuple(str(number) for number in range(count))


def write_gpus(gpus: Collection[str]) -> str:
    """Write devices as a label has them."""
    return ",".join(gpus)


def read_gpus(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return the devices that a container's labels say are its own."""
    return tuple(filter(None, labels.get(LABEL_GPUS, "").split(",")))


def choose(wanted: int, known: Collection[str], taken: Collection[str]) -> tuple[tuple[str, ...], str]:
    """Return devices that nobody has, in the order in which they are known; or none, and why.

    Args:
        wanted: how many.
        known: those that there are.
        taken: those that somebody has.
    """
    free = [one for one in known if one not in taken]
    if len(free) >= wanted:
        return tuple(free[:wanted]), ""
    return (), f"{wanted} GPUs wanted, {len(free)} of {len(known)} are free"
