"""How much room images take in the engine, what they share counted once."""

from __future__ import annotations

from dataclasses import dataclass

from runner.images import records
from runner.images.models import ImageContext


@dataclass(frozen=True, kw_only=True)
class ImageRoom:
    """What one image takes beyond the base it stands on."""

    tag: str
    bytes: int
    last_used: float | None
    """Seconds since the epoch."""


def image_rooms(ctx: ImageContext) -> list[ImageRoom]:
    """Return the room of every image that this user's cache knows and the engine has, the largest first.

    The engine says of each image the sum of its layers. An image stands on its base, layer by layer: what the base takes
    is counted with the base, and with no other as long as that one is there.

    Raises:
        EngineError: if the engine does not answer.
    """
    found = [(record, info) for record in records.every(ctx.cache) if (info := ctx.engine.images.inspect(record.tag))]
    sizes = {info.config_digest: info.size for _, info in found}
    rooms = [
        ImageRoom(
            tag=record.tag,
            bytes=max(0, info.size - sizes.get(record.base, 0)),
            last_used=records.last_used(ctx.cache, record.inputs),
        )
        for record, info in found
    ]
    return sorted(rooms, key=lambda one: (-one.bytes, one.tag))
