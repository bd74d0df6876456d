"""Provider `openai`: any endpoint with the API of OpenAI, whose base URL ends where the paths of calls begin.

Many of them speak the Messages API of Anthropic too, at the same base URL and with the same key.
"""

from __future__ import annotations

from dataclasses import dataclass

from runner.gateway.providers.http import Endpoint, send, without_version
from runner.gateway.providers.protocol import Ask, Reply


@dataclass(frozen=True, kw_only=True)
class OpenAIProvider:
    """Passes calls on to an endpoint."""

    endpoint: Endpoint
    name: str = "openai"

    async def answer(self, ask: Ask) -> Reply:
        """Answer one call, in one try. Raises Refused."""
        key = self.endpoint.key
        secret = {"Authorization": f"Bearer {key.get_secret_value()}"} if key is not None else {}
        url = self.endpoint.base_url + without_version(ask.path)
        return await send(self.endpoint, ask, url, {**ask.headers, **secret})
