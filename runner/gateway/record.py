"""The end of a call: its bodies are kept, its line is written, the budgets and the price table hear of it.

All this is done before the framework sees the end of the answer, in a way that outlives every process; the disk has it a
moment later (`runner.gateway.afterwards`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from runner.gateway.bodies import Packed
from runner.gateway.calls import Call, append_call
from runner.gateway.draft import Draft, to_call, usage_source
from runner.gateway.prices import Cost
from runner.gateway.served import Served
from runner.gateway.session import Metered

_SMALL = 1 << 18
"""Bytes of both bodies up to which a call is recorded at once, without a thread."""
_Pair = tuple[Packed | None, Packed | None]
"""Bodies of the request and of the answer."""


@dataclass(frozen=True, kw_only=True)
class _Written:
    call: Call
    """As it stands for the totals."""
    problem: str = ""
    """What went wrong, if anything did."""
    left: Sequence[Packed] = ()
    """Bodies that have no files yet."""


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
    cost = _cost(served, draft)
    if served.afterwards.has_room and len(draft.request) + sum(map(len, draft.kept or ())) <= _SMALL:
        # To hand so little work to a thread would take longer than the work.
        written = _note(served, draft, cost)
    else:
        written = await asyncio.to_thread(_write, served, draft, cost)
    call = written.call
    served.calls.append(call)
    if draft.counted:
        served.purses.end(call)
        served.lane.used((call.tokens_in or 0) + (call.tokens_out or 0))
    served.afterwards.note(draft.n, written.left)
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
    return written.problem or served.afterwards.problem


def _cost(served: Served, draft: Draft) -> Cost:
    if usage_source(draft) == "no answer":
        return Cost(usd=None, reason="no answer")
    provider = served.spec.model.provider if served.spec.model is not None else ""
    return served.prices.cost(draft.model_sent, draft.seen.model, draft.seen.usage, provider)


def _note(served: Served, draft: Draft, cost: Cost) -> _Written:
    """Write the bodies into the journal, and the line; files are made of the bodies afterwards."""
    bodies = _packed(served, draft)
    left = [body for body in bodies if body is not None]
    try:
        served.pending.keep(draft.n, left)
    except OSError:
        return _put(served, draft, bodies, cost)
    return replace(_line(served, draft, bodies, cost), left=left)


def _write(served: Served, draft: Draft, cost: Cost) -> _Written:
    """Write bodies and line."""
    return _put(served, draft, _packed(served, draft), cost)


def _put(served: Served, draft: Draft, bodies: _Pair, cost: Cost) -> _Written:
    """Make files of the bodies, and write the line; where there is no room for them, it says that none is kept."""
    try:
        for body in bodies:
            if body is not None:
                served.bodies.put(body)
    except OSError:
        draft.kept = None
        bodies = (None, None)
    return _line(served, draft, bodies, cost)


def _packed(served: Served, draft: Draft) -> _Pair:
    answer = served.bodies.pack(b"".join(draft.kept)) if draft.kept is not None else None
    return served.bodies.pack(draft.request), answer


def _line(served: Served, draft: Draft, bodies: _Pair, cost: Cost) -> _Written:
    """Write the line; return the call as it stands for the totals, and what went wrong."""
    request, response = (body.sha256 if body is not None else None for body in bodies)
    call = to_call(draft, served.spec, request_sha256=request, response_sha256=response, cost=cost)
    try:
        append_call(served.spec.calls_file, call, sync=False)
    except OSError as error:
        problem = f"the call cannot be recorded in {served.spec.calls_file}: {error.strerror or error}"
        lost = to_call(draft, served.spec, cost=cost)
        return _Written(call=lost.model_copy(update={"error": problem, "fault": "runner"}), problem=problem)
    return _Written(call=call)
