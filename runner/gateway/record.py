"""The end of a call: its bodies are kept, its line is written and synced, the budgets and the price table hear of it."""

from __future__ import annotations

import asyncio

from runner.gateway.calls import Call, append_call
from runner.gateway.draft import Draft, to_call, usage_source
from runner.gateway.prices import Cost
from runner.gateway.served import Served
from runner.gateway.session import Metered


async def settle(served: Served, draft: Draft) -> str:
    """Record a call, once, whatever becomes of the task that asks for it; return what went wrong, or nothing."""
    if draft.recording is None:
        draft.recording = asyncio.create_task(_settle(served, draft))
    return await asyncio.shield(draft.recording)


async def settle_anyhow(served: Served, draft: Draft) -> None:
    """Record a call after something unexpected: without its bodies and parameters, should they be to blame."""
    if draft.recording is None or (draft.recording.done() and draft.recording.exception() is not None):
        draft.request, draft.body, draft.kept, draft.pinned = b"", None, [], {}
        draft.recording = asyncio.create_task(_settle(served, draft))
    await asyncio.shield(draft.recording)


async def _settle(served: Served, draft: Draft) -> str:
    call, problem = await asyncio.to_thread(_write, served, draft, _cost(served, draft))
    served.calls.append(call)
    if draft.counted:
        served.purses.end(call)
        served.lane.used((call.tokens_in or 0) + (call.tokens_out or 0))
    served.pending.end(draft.n)
    served.on_call(
        Metered(
            session=served.id,
            tokens_in=call.tokens_in,
            tokens_out=call.tokens_out,
            cost_usd=call.cost_usd,
            error=call.error,
            waited_seconds=call.waited_seconds,
        )
    )
    return problem


def _cost(served: Served, draft: Draft) -> Cost:
    if usage_source(draft) == "no answer":
        return Cost(usd=None, reason="no answer")
    provider = served.spec.model.provider if served.spec.model is not None else ""
    return served.prices.cost(draft.model_sent, draft.seen.model, draft.seen.usage, provider)


def _write(served: Served, draft: Draft, cost: Cost) -> tuple[Call, str]:
    """Write bodies and line; return the call as it stands for the totals, and what went wrong."""
    request, response = _keep(served, draft)
    call = to_call(draft, served.spec, request_sha256=request, response_sha256=response, cost=cost)
    try:
        append_call(served.spec.calls_file, call)
    except OSError as error:
        problem = f"the call cannot be recorded in {served.spec.calls_file}: {error.strerror or error}"
        lost = to_call(draft, served.spec, cost=cost)
        return lost.model_copy(update={"error": problem, "fault": "runner"}), problem
    return call, ""


def _keep(served: Served, draft: Draft) -> tuple[str | None, str | None]:
    """Keep both bodies and return their digests; where there is no room for them, the line says that none is kept."""
    try:
        request = served.bodies.keep(draft.request)
        response = served.bodies.keep(b"".join(draft.kept)) if draft.kept is not None else None
    except OSError:
        draft.kept = None
        return None, None
    return request, response
