"""Recorded runs on disk, as the gateway and the runner leave them, without either."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.planning import make_experiment, make_plan

from runner.evidence.atomic import write_json
from runner.evidence.layout import RunLayout
from runner.evidence.records import Host, RunRecord
from runner.gateway.bodies import Bodies
from runner.gateway.calls import Call, append_call
from runner.plan.models import Run
from runner.spec.model import Model

HOST = Host(
    kernel="6.1",
    operating_system="Debian",
    engine_version="20.10",
    api_version="1.41",
    cgroup="v1 cgroupfs",
    cpus=2,
    memory_bytes=1,
    runner_version="0",
)


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One call: what was asked and what was answered."""

    request: Any
    answer: Any = None
    step: str = "begin"
    status: int = 200
    stream: bool = False
    changes: dict[str, Any] | None = None
    """Other fields of its line."""


def question(text: str, **more: Any) -> dict[str, Any]:
    """Return a request that asks one thing."""
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def answer(text: str) -> dict[str, Any]:
    """Return a chat completion that says one thing."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    return {"id": "c", "model": "m", "choices": [{"index": 0, "message": message}], "usage": usage}


def make_run(**changes: Any) -> Run:
    """Return a planned run with a model."""
    experiment = make_experiment(model=Model(provider="openai", name="m", **changes), repetitions=1)
    return make_plan(experiment)[0]


def encode(content: object) -> bytes:
    """Return bytes as they are, anything else as JSON."""
    return content if isinstance(content, bytes) else json.dumps(content).encode()


def make_call(run: Run, number: int, one: Exchange, **changes: Any) -> Call:
    """Return the line of a call that a provider answered."""
    nothing = dict.fromkeys(("model_used", "tokens_in", "tokens_out", "tokens_cached", "tokens_cache_written"))
    nothing |= dict.fromkeys(("tokens_reasoning", "cost_usd", "latency_first_byte_seconds", "finish_reason"))
    index = next((step.index for step in run.steps if step.id == one.step), 1)
    fields = nothing | {
        "time": "2026-01-31T12:00:00.000Z",
        "run": run.id,
        "step": one.step,
        "index": index,
        "attempt": 1,
        "n": number,
        "provider": "openai",
        "format": "openai-chat",
        "path": "/v1/chat/completions",
        "method": "POST",
        "stream": one.stream,
        "model_asked": "m",
        "model_sent": "m",
        "parameters": {},
        "pinned": {},
        "status": one.status,
        "error": None,
        "fault": None,
        "usage_source": "provider",
        "waited_seconds": 0.0,
        "retries": 0,
        "statuses": (),
        "latency_seconds": 0.1,
        "request_bytes": 1,
        "response_bytes": 1,
        "request_sha256": None,
        "response_sha256": None,
        "bodies": "full",
        "exceeded": "",
        "cost_reason": "",
        "client_gone": False,
    }
    return Call.model_validate(fields | (one.changes or {}) | changes)


def record(root: Path, exchanges: Sequence[Exchange], run: Run | None = None, **changes: Any) -> RunLayout:
    """Write a finished run's record, calls and bodies; `changes` are of its record."""
    run = run or make_run()
    layout = RunLayout(root)
    patterns = run.model.redact if run.model is not None else ()
    bodies = Bodies(layout.calls.parent / "bodies", "full", patterns, ["run-token-of-the-recording"])
    for number, one in enumerate(exchanges, 1):
        kept = {
            "request_sha256": keep(bodies, encode(one.request)),
            "response_sha256": keep(bodies, encode(one.answer)),
        }
        append_call(layout.calls, make_call(run, number, one, **kept))
    finished = RunRecord(
        run=run,
        outcome="passed",
        reason="",
        model_label="openai/m",
        started_at="2026-01-31T12:00:00.000Z",
        finished_at="2026-01-31T12:01:00.000Z",
        host=HOST,
    )
    write_json(layout.metadata, finished.model_copy(update=changes))
    layout.workspace.mkdir(parents=True, exist_ok=True)
    return layout


def keep(bodies: Bodies, data: bytes) -> str | None:
    """Keep a body as configured, and return its digest."""
    body = bodies.pack(data)
    if body is None:
        return None
    bodies.put(body)
    return body.sha256
