"""Records, calls and verdicts that measures are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from support.verdicts import Judged

from runner.evidence.records import AttemptRecord, StepRecord
from runner.evidence.verdicts import Assertion, CheckVerdict
from runner.gateway.calls import Call


@pytest.fixture
def step() -> StepRecord:
    """Return the record of a step that was not performed."""
    return StepRecord(
        id="student",
        index=1,
        title="",
        prompt_sha256="",
        outcome="passed",
        reason="",
        started_at=None,
        finished_at=None,
        changed_files=None,
    )


@pytest.fixture
def tried(attempt: AttemptRecord) -> Callable[..., tuple[AttemptRecord, ...]]:
    """Return what makes attempts of outcomes, each ten seconds after the one before."""

    def make(*outcomes: str) -> tuple[AttemptRecord, ...]:
        return tuple(
            attempt.model_copy(
                update={
                    "attempt": number,
                    "outcome": outcome,
                    "finished_at": f"2026-01-01T00:00:{10 * number:02d}.500Z",
                }
            )
            for number, outcome in enumerate(outcomes, 1)
        )

    return make


@pytest.fixture
def call() -> Callable[..., Call]:
    """Return what makes a model call that began at a second of a minute and took so long."""

    def make(second: float, seconds: float, step: str = "student") -> Call:
        return Call.model_validate(
            dict.fromkeys(("model_asked", "model_sent", "model_used", "error", "fault", "tokens_in", "tokens_out"))
            | dict.fromkeys(("tokens_cached", "tokens_cache_written", "tokens_reasoning", "cost_usd", "finish_reason"))
            | dict.fromkeys(("latency_first_byte_seconds", "request_sha256", "response_sha256"))
            | {
                "time": f"2026-01-01T00:00:{second:06.3f}Z",
                "run": "crud-r1-0123456789",
                "step": step,
                "index": 1,
                "attempt": 1,
                "n": 1,
                "provider": "scripted",
                "format": "openai-chat",
                "path": "/v1/chat/completions",
                "method": "POST",
                "stream": False,
                "parameters": {},
                "pinned": {},
                "status": 200,
                "usage_source": "rule",
                "waited_seconds": 0.0,
                "retries": 0,
                "statuses": [],
                "latency_seconds": seconds,
                "request_bytes": 1,
                "response_bytes": 1,
                "bodies": "off",
                "exceeded": "",
                "cost_reason": "",
                "client_gone": False,
            }
        )

    return make


@pytest.fixture
def judged() -> Judged:
    """Return what makes the verdict of one check after a step."""

    def make(
        assertions: Sequence[Assertion] = (),
        *,
        kind: str = "application",
        index: int = 1,
        figures: dict[str, float | int | None] | None = None,
        reason: str = "",
    ) -> CheckVerdict:
        counts = {word: sum(one.verdict == word for one in assertions) for word in ("passed", "failed", "unjudged")}
        if not assertions:
            counts["unjudged"] = 1
        return CheckVerdict(
            check=kind,
            kind=kind,
            step=f"s{index}",
            index=index,
            version="v",
            reason=reason,
            assertions=tuple(assertions),
            figures=figures or {},
            **counts,
        )

    return make
