"""Provider `anthropic`: an endpoint with the Messages API of Anthropic; its base URL does not end in a version.

Source: Anthropic's API reference, Authentication and Versions. The endpoint's chat completions, which it has for
clients of OpenAI, take the key as OpenAI's do.
"""

from __future__ import annotations

from dataclasses import dataclass

from runner.gateway.providers.http import Endpoint, send
from runner.gateway.providers.protocol import Ask, Reply

VERSION = "2023-06-01"
"""Sent for a request without an anthropic-version."""


@dataclass(frozen=True, kw_only=True)
class AnthropicProvider:
    """Passes calls on to an endpoint."""

    endpoint: Endpoint
    name: str = "anthropic"

    async def answer(self, ask: Ask) -> Reply:
        """Answer one call, in one try. Raises Refused."""
        url = self.endpoint.base_url.removesuffix("/v1") + ask.path
        return await send(self.endpoint, ask, url, {"anthropic-version": VERSION, **ask.headers, **self._secret(ask)})

    def _secret(self, ask: Ask) -> dict[str, str]:
        if self.endpoint.key is None:
            return {}
        key = self.endpoint.key.get_secret_value()
        return {"Authorization": f"Bearer {key}"} if ask.format.startswith("openai-") else {"x-api-key": key}
