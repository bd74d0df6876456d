"""Providers: who answers a model call. One module each, loaded where one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from runner.errors import ConfigError
from runner.gateway.providers.protocol import Provider
from runner.gateway.session import SessionSpec

if TYPE_CHECKING:
    import aiohttp

    from runner.gateway.providers.scripted import Script


def make_provider(
    spec: SessionSpec, *, token: str, http: aiohttp.ClientSession, base_url: str, key: SecretStr | None
) -> Provider | None:
    """Return who answers the calls of a session; None if it has no model.

    It reads files, and so is not for the thread of the event loop.

    Args:
        spec: the session.
        token: its token, which a replay takes out of requests before it looks for them.
        http: what connections are made with.
        base_url: the endpoint, if the model names none itself.
        key: the endpoint's key.

    Raises:
        ConfigError: if scripted answers or a recording cannot be used.
    """
    from runner.gateway.providers.anthropic import AnthropicProvider
    from runner.gateway.providers.azure import AzureProvider
    from runner.gateway.providers.http import Endpoint
    from runner.gateway.providers.openai import OpenAIProvider
    from runner.gateway.providers.replay import open_replay
    from runner.gateway.providers.scripted import ScriptedProvider

    model = spec.model
    if model is None:
        return None
    endpoint = Endpoint(http=http, base_url=(model.base_url or base_url).rstrip("/"), key=key)
    match model.provider:
        case "openai":
            return OpenAIProvider(endpoint=endpoint)
        case "anthropic":
            return AnthropicProvider(endpoint=endpoint)
        case "azure":
            return AzureProvider(endpoint=endpoint, deployment=model.name, api_version=model.api_version)
        case "scripted":
            return ScriptedProvider(script=_script(spec), model=model.name)
        case "replay":
            return open_replay(spec, token)


def _script(spec: SessionSpec) -> Script:
    from pathlib import Path

    from runner.gateway.answers import answers_of, load_answers
    from runner.gateway.providers.scripted import Script

    if spec.answers is None and not spec.needs_answers:
        return Script(file=Path("answers", f"{spec.scenario}.yaml"), step=spec.step, answers=())
    if spec.answers is None:
        raise ConfigError(
            f"no scripted answers for {spec.framework} on {spec.scenario}",
            hint=f"write images/{spec.framework}/answers/{spec.scenario}.yaml, or choose a real model with --model",
        )
    answers = answers_of(load_answers(spec.answers), spec.answers, spec.step, needed=spec.needs_answers)
    return Script(file=spec.answers, step=spec.step, answers=answers)
