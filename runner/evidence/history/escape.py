"""Names as they stand in a layer, where those that begin with `.wh.` mean a deletion.

Format: OCI image specification 1.1, layers, whiteouts. A workspace may hold a file of such a name all the same. Every
name that begins with `.wh`, any number of dashes and a dot has one dash more in a layer: `.wh.x` stands there as
`.wh-.x`, and `.wh-.x` as `.wh--.x`. So no two names meet, and each is had back by taking a dash away. All other names
stand as they are, below the folder `workspace`, where a container has them.
"""

from __future__ import annotations

import re

from runner.evidence.walk import RawPath

TOP = b"workspace"
WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
"""In a folder of a layer: nothing of that folder in the layers below is there any more."""

_PLAIN = re.compile(rb"(?:(?<=/)|\A)\.wh(-*)\.")
_ESCAPED = re.compile(rb"(?:(?<=/)|\A)\.wh-(-*)\.")


def in_layer(path: RawPath) -> bytes:
    """Return how a path of the workspace is called in a layer; an empty one is the workspace itself."""
    return TOP + b"/" + _PLAIN.sub(rb".wh-\1.", path) if path else TOP


def from_layer(name: bytes) -> RawPath | None:
    """Return the workspace's path that a layer's member stands for; None for a whiteout and for what is outside.

    Args:
        name: as the tar has it, without a slash at its end.
    """
    top, _, rest = name.partition(b"/")
    if top != TOP or b"/.wh." in b"/" + rest:
        return None
    return _ESCAPED.sub(rb".wh\1.", rest)


def whiteout(path: RawPath) -> bytes:
    """Return the name of the marker that a path is there no more."""
    folder, _, name = in_layer(path).rpartition(b"/")
    return folder + b"/" + WHITEOUT + name


def opaque(folder: RawPath) -> bytes:
    """Return the name of the marker that nothing is left of a folder's older content."""
    return in_layer(folder) + b"/" + OPAQUE
