"""Bodies of requests and answers: redacted, named by their digest, kept in `llm/bodies/` beside the calls.

A body is kept as `<sha256 of the redacted bytes>.zst`, once, however often it comes. The digests in the calls file are of
the redacted bytes, so that a recording can be checked, and shared, without what was taken out.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets as randomness
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import zstandard

from runner.errors import ConfigError, StorageError
from runner.gateway.hiding import SHORTEST_SECRET

FOLDER = "bodies"
"""Name of the folder beside the calls file."""
REDACTED = "[redacted]"
LARGEST = 64 * 1024 * 1024
"""Bytes of the largest body that is kept; of a larger one there is the digest alone."""
_LEVEL = 3
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DAMAGED = "take another copy of the recording; this one cannot be replayed"

Mode = Literal["full", "digest", "off"]


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A body as it is kept."""

    sha256: str
    """Of the redacted bytes."""
    content: bytes | None
    """The redacted bytes, compressed; None if nothing but the digest is kept."""

    @property
    def size(self) -> int:
        return len(self.content or b"")


class Bodies:
    """Holds the folder of a run's bodies, and what must never get into it.

    Args:
        folder: `llm/bodies` of the run; made when the first body is kept.
        mode: `full` keeps bodies, `digest` their digests alone, `off` nothing.
        patterns: regular expressions (Python's); what they match is taken out.
        secrets: texts that are taken out, however JSON or a URL writes them: the session's token, the provider's key.
    """

    def __init__(self, folder: Path, mode: Mode, patterns: Sequence[str], secrets: Sequence[str]) -> None:
        self.folder = folder
        self.mode = mode
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._secrets = _spellings(secrets)

    def pack(self, data: bytes) -> Packed | None:
        """Return a body as it is to be kept.

        Args:
            data: the body, decoded.

        Returns:
            Its digest, after redaction, and what is to be put; None if bodies are off.
        """
        if self.mode == "off":
            return None
        clean = self.redact(data)
        digest = hashlib.sha256(clean).hexdigest()
        if self.mode != "full" or len(clean) > LARGEST:
            return Packed(sha256=digest, content=None)
        return Packed(
            sha256=digest, content=zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(clean)
        )

    def put(self, body: Packed) -> None:
        """Keep a body, once. Raises OSError if it cannot be written."""
        put(self.folder, body)

    def redact(self, data: bytes) -> bytes:
        """Return a body without secrets and without what the patterns match."""
        for secret in self._secrets:
            data = data.replace(secret, REDACTED.encode())
        if not self._patterns:
            return data
        text = data.decode("utf-8", "surrogateescape")
        for pattern in self._patterns:
            text = pattern.sub(REDACTED, text)
        return text.encode("utf-8", "surrogateescape")

    def redact_text(self, words: str) -> str:
        """Return a text in the same way; what UTF-8 cannot hold is replaced, as a framework may send half a character."""
        return self.redact(words.encode("utf-8", "replace")).decode("utf-8", "replace")


def body_path(folder: Path, digest: str) -> Path:
    """Return where a body is kept."""
    return folder / f"{digest}.zst"


def put(folder: Path, body: Packed) -> None:
    """Write a body under its name, once, whole or not at all; nothing if there is only a digest.

    Not synced: the runner does that for all of a run, once, before its record is final.

    Raises:
        OSError: if it cannot be written.
    """
    path = body_path(folder, body.sha256)
    if body.content is None or path.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{randomness.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(body.content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_body(folder: Path, sha256: str) -> bytes:
    """Return a kept body.

    Args:
        folder: `llm/bodies` of the run it was recorded in.
        sha256: its digest.

    Raises:
        ConfigError: if that is no digest, or the body is not there.
        StorageError: if it is damaged.
    """
    path = body_path(folder, sha256)
    if not _DIGEST.fullmatch(sha256):
        raise ConfigError(f"{sha256[:80]!r} is no digest of a body", where=str(folder.parent))
    try:
        packed = path.read_bytes()
    except OSError as error:
        hint = "copy the run's directory whole, or take its archive"
        raise ConfigError(f"a recorded body is missing: {error.strerror}", where=str(path), hint=hint) from None
    try:
        with zstandard.ZstdDecompressor().stream_reader(packed) as stream:
            # What claims to be larger than any body is cut here, and its digest does not fit then.
            clean = stream.read(LARGEST + 1)
    except zstandard.ZstdError as error:
        raise StorageError("a recorded body is damaged", where=str(path), why=str(error), hint=_DAMAGED) from None
    if hashlib.sha256(clean).hexdigest() != sha256:
        raise StorageError("a recorded body is damaged: its digest is another", where=str(path), hint=_DAMAGED)
    return clean


def _spellings(secrets: Iterable[str]) -> list[bytes]:
    """Return every secret as it may stand in a body: as it is, as JSON writes it, with slashes escaped, in a URL."""
    found: set[str] = set()
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            written = json.dumps(secret)[1:-1]
            found |= {secret, written, written.replace("/", "\\/"), quote(secret, safe="")}
    return sorted((one.encode() for one in found), key=len, reverse=True)
