"""The seam between a run and its way out: a gateway, and one session per attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runner.errors import ExitCode, RunnerError
from runner.names import GATEWAY_PORT
from runner.spec.models import Model


class GatewayError(RunnerError):
    """The gateway cannot be started, has died, or refuses a session."""

    exit_code = ExitCode.BROKEN


@dataclass(frozen=True, kw_only=True)
class SessionSpec:
    """What the gateway has to know to serve and meter one attempt."""

    run: str
    framework: str
    scenario: str
    step: str
    index: int
    attempt: int
    model: Model
    answers: Path | None
    """File of scripted answers, when the provider is scripted."""
    calls_file: Path
    """`llm/calls.jsonl` of the run; the gateway appends one line per call and syncs it before the client sees the end."""


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What a session, step or run used. None: some call's provider did not state it (the count of such calls says so)."""

    api_calls: int
    tokens_in: int | None
    tokens_out: int | None
    tokens_cached: int | None
    cost_usd: float | None
    failed_calls: int
    unmetered_calls: int
    """Calls whose provider stated no usage."""
    last_error: str
    """Last error given to the framework, like `scripted answers exhausted ...`; empty if a call after it succeeded."""
    last_error_fault: str = ""
    """Whose doing that error is: `framework` (the request could not be served by anyone), `provider` or `runner`."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """An open session: what the container gets."""

    id: str
    token: str
    """Random, worth nothing outside this session, forgotten when it closes."""
    directory: Path
    """Host folder with the socket, mounted read-only at GATEWAY_DIR."""

    def environment(self, model_name: str) -> Mapping[str, str]:
        """Return the variables that lead the usual SDKs to the loopback port with this session's token."""
        root = f"http://127.0.0.1:{GATEWAY_PORT}"
        return {
            "OPENAI_API_KEY": self.token,
            "OPENAI_BASE_URL": f"{root}/v1",
            "OPENAI_API_BASE": f"{root}/v1",
            "ANTHROPIC_API_KEY": self.token,
            "ANTHROPIC_BASE_URL": root,
            "RUNNER_MODEL": model_name,
        }


class Gateway(Protocol):
    """Opens and closes sessions; implemented by the gateway process's client and by `runner.testing`."""

    def open(self, spec: SessionSpec) -> Session:
        """Open a session and listen on its socket before returning."""

    def close(self, session: Session) -> Totals:
        """Stop listening, let calls in flight be metered, and return the session's totals."""

    def shutdown(self) -> None:
        """End the gateway and every session."""
