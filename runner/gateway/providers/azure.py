"""Provider `azure`: the OpenAI API as Azure serves it.

Source: the Azure OpenAI REST API reference. Its v1 API stands below `/openai/v1` and names the deployment in the body.
The older one, with an API version, has the deployment in the address of calls that a model answers at once, and
everything else directly below `/openai`. The key goes into the header `api-key`.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from runner.gateway.providers.http import Endpoint, send, without_version
from runner.gateway.providers.protocol import Ask, Reply

_OF_A_DEPLOYMENT = {"openai-chat", "openai-completions", "openai-embeddings"}


@dataclass(frozen=True, kw_only=True)
class AzureProvider:
    """Passes calls on to a resource of Azure."""

    endpoint: Endpoint
    deployment: str
    api_version: str | None
    """None: the v1 API."""
    name: str = "azure"

    async def answer(self, ask: Ask) -> Reply:
        """Answer one call, in one try. Raises Refused."""
        key = self.endpoint.key
        secret = {"api-key": key.get_secret_value()} if key is not None else {}
        return await send(self.endpoint, ask, self.address(ask), {**ask.headers, **secret})

    def address(self, ask: Ask) -> str:
        """Return where a call goes."""
        root = self.endpoint.base_url.removesuffix("/v1").removesuffix("/openai")
        path, _, query = without_version(ask.path).partition("?")
        if self.api_version is None:
            return f"{root}/openai/v1{path}" + (f"?{query}" if query else "")
        place = f"/deployments/{quote(self._deployment(ask), safe='')}" if ask.format in _OF_A_DEPLOYMENT else ""
        own = "".join(f"&{part}" for part in query.split("&") if part and not part.startswith("api-version="))
        return f"{root}/openai{place}{path}?api-version={quote(self.api_version, safe='')}{own}"

    def _deployment(self, ask: Ask) -> str:
        """Return who answers: for an embedding the model that the framework asks for, as that is not replaced."""
        asked = ask.original.get("model")
        return asked if ask.format == "openai-embeddings" and isinstance(asked, str) else self.deployment
