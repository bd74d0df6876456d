"""Sessions of the gateway process: a folder, a socket, a token and a provider each, from open to close."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web
from pydantic import SecretStr

from runner.errors import ConfigError
from runner.gateway.answers import load_answers, require_steps
from runner.gateway.calls import totals
from runner.gateway.providers.openai import OpenAIProvider
from runner.gateway.providers.protocol import Provider
from runner.gateway.providers.scripted import Script, ScriptedProvider
from runner.gateway.server import Served, make_app
from runner.gateway.session import Session, SessionSpec, Totals
from runner.names import GATEWAY_SOCKET

_BACKLOG = 512
_LONGEST_HEADERS = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class _Open:
    session: Session
    served: Served
    runner: web.AppRunner


@dataclass(kw_only=True)
class Sessions:
    """Holds the open sessions of one gateway process."""

    folder: Path
    http: aiohttp.ClientSession
    key: SecretStr | None
    base_url: str
    drain_seconds: float
    by_id: dict[str, _Open] = field(default_factory=dict)

    async def open(self, spec: SessionSpec) -> Session:
        """Make a session and listen on its socket.

        Raises:
            ConfigError: if its answers cannot be used.
            OSError: if the socket cannot be made.
        """
        served = Served(spec=spec, token=f"run-{secrets.token_urlsafe(24)}", provider=self._provider(spec))
        identity = secrets.token_hex(4)
        directory = self.folder / identity
        directory.mkdir(mode=0o700)
        # Frameworks send long headers; shutdown_timeout 0, as _drain has waited already.
        runner = web.AppRunner(
            make_app(served),
            access_log=None,
            max_field_size=_LONGEST_HEADERS,
            max_line_size=_LONGEST_HEADERS,
            shutdown_timeout=0,
        )
        await runner.setup()
        await web.UnixSite(runner, os.fspath(directory / GATEWAY_SOCKET), backlog=_BACKLOG).start()
        session = Session(id=identity, token=served.token, directory=directory)
        self.by_id[identity] = _Open(session=session, served=served, runner=runner)
        return session

    async def close(self, identity: str, drain_seconds: float | None = None) -> Totals:
        """Stop listening, wait for answers under way, and return what the session used.

        Raises:
            KeyError: if there is no such session (any more).
        """
        one = self.by_id.pop(identity)
        for site in list(one.runner.sites):
            await site.stop()
        await _drain(one.served, self.drain_seconds if drain_seconds is None else drain_seconds)
        await one.runner.cleanup()
        shutil.rmtree(one.session.directory, ignore_errors=True)
        return totals(one.served.calls)

    def _provider(self, spec: SessionSpec) -> Provider:
        model = spec.model
        match model.provider:
            case "openai":
                url = (model.base_url or self.base_url).rstrip("/")
                return OpenAIProvider(http=self.http, base_url=url, key=self.key, model=model.name)
            case "scripted":
                return ScriptedProvider(script=_script(spec))


def _script(spec: SessionSpec) -> Script:
    if spec.answers is None:
        raise ConfigError(
            f"no scripted answers for {spec.framework} on {spec.scenario}",
            hint=f"write images/{spec.framework}/answers/{spec.scenario}.yaml, or choose a real model with --model",
        )
    answers = load_answers(spec.answers)
    require_steps(answers, spec.answers, [spec.step])
    return Script(file=spec.answers, step=spec.step, answers=answers.steps[spec.step])


async def _drain(served: Served, seconds: float) -> None:
    """Wait for calls under way; end those that take too long, which records them as far as they got."""
    if served.tasks:
        await asyncio.wait(set(served.tasks), timeout=seconds)
    late = set(served.tasks)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=seconds)
