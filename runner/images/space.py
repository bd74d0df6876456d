"""Whether there is room for a build, before it begins: what a full disk cuts off costs minutes and leaves pieces."""

from __future__ import annotations

import contextlib
from pathlib import Path

from runner.engine.admission import Space, measure_space
from runner.errors import StorageError
from runner.images import records
from runner.images.lockfile import Lock
from runner.images.models import ImageContext

_WHILE_BUILDING = 4
"""Times its size that an image takes in the cache while it is made: the build, its layers, and the file that is loaded."""
_GROWS = 4
"""Times the size of its locked artifacts that an image has when they are unpacked and compiled, as a guess."""


def require_build_space(ctx: ImageContext, name: str, lock: Lock) -> None:
    """Refuse a build for which there is no room.

    The size of the recipe's last image is what is expected of the next; of one that was never built, a guess from what
    its lock names.

    Args:
        ctx: where and with what.
        name: the recipe.
        lock: its lock.

    Raises:
        StorageError: if the cache's disk, or the engine's if it is of this machine, would be left with less than must
            stay free.
    """
    size, source = expected_size(ctx, name, lock)
    info = ctx.engine.info()
    engine = Path(info.root_dir) if info.local and info.root_dir else None
    need = {ctx.cache: size * _WHILE_BUILDING}
    if engine is not None:
        need[engine] = size
    for folder, wanted in need.items():
        # A folder of the engine's may be closed to ordinary users; then the build shows it.
        with contextlib.suppress(OSError):
            space = measure_space(folder)
            if space.free < wanted + space.margin:
                raise _too_little(name, space, wanted, f"its image is expected to have {_mib(size)}, {source}")


def expected_size(ctx: ImageContext, name: str, lock: Lock) -> tuple[int, str]:
    """Return how large the next image of a recipe will be, in bytes, and why we think so."""
    known = [(one.built_at or "", one.size) for one in records.every(ctx.cache) if one.name == name and one.size]
    if known:
        return max(known)[1], "as the last one had"
    return sum(one.size for one in lock.artifacts) * _GROWS, f"{_GROWS} times what its lock names"


def _too_little(name: str, space: Space, wanted: int, why: str) -> StorageError:
    return StorageError(
        f"too little room to build {name}: {_mib(space.free)} free at {space.path}, about {_mib(wanted)} needed for a while",
        why=f"{why}; {_mib(space.margin)} must stay free",
        hint="free some space: `runner du` says what uses it, `runner clean` what can go; or set RUNNER_CACHE",
    )


def _mib(size: int) -> str:
    return f"{size / 1024**2:,.0f} MiB"
