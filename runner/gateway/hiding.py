"""Take the provider's key out of what comes back from it, and out of what the gateway says itself."""

from __future__ import annotations

from pydantic import SecretStr

HIDDEN = "[key removed]"
SHORTEST_SECRET = 8
"""Characters; anything shorter, like the word that stands for a key where none is wanted, stands in ordinary texts too."""


def hide_bytes(data: bytes, key: SecretStr | None) -> bytes:
    """Take a key out of bytes."""
    secret = _secret(key)
    return data.replace(secret.encode(), HIDDEN.encode()) if secret else data


def hide_text(words: str, key: SecretStr | None) -> str:
    """Take a key out of a text."""
    secret = _secret(key)
    return words.replace(secret, HIDDEN) if secret else words


def _secret(key: SecretStr | None) -> str:
    secret = key.get_secret_value() if key is not None else ""
    return secret if len(secret) >= SHORTEST_SECRET else ""
