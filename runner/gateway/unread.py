"""Requests whose head cannot be understood: too long, or no HTTP. They have been answered; here they get their line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import ERROR

from runner.gateway.draft import Draft
from runner.gateway.providers.protocol import Refused
from runner.gateway.record import settle
from runner.gateway.served import Served

_BAD_REQUEST = 400


def record_unread(served: Served, status: int, message: str) -> None:
    """Record a request that nobody could read, soon; the session waits for it when it closes.

    Args:
        served: the session it came to.
        status: HTTP status it was answered with.
        message: what was wrong with it, in a sentence.
    """
    served.requests += 1
    draft = Draft(n=served.requests, method="", path="")
    draft.refused(Refused(status, message, kind="invalid_request_error", fault="framework", retry=False))
    task: asyncio.Task[object] = asyncio.create_task(settle(served, draft))
    served.tasks.add(task)
    task.add_done_callback(served.tasks.discard)


def record_malformed(server: web.Server, served: Served) -> None:
    """Have what the web server cannot parse recorded: it answers 400 by itself, without asking the application."""
    make_request: Callable[..., Any] = server.request_factory

    def noticing(message: Any, *others: Any) -> Any:
        if message is ERROR:
            record_unread(served, _BAD_REQUEST, "the request is no well-formed HTTP")
        return make_request(message, *others)

    server.request_factory = noticing
