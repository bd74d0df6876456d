"""Turn the facts of an attempt into an outcome and a sentence; the one place that tells failed from broken."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from runner.engine.protocol import ContainerState
from runner.evidence.records import Outcome
from runner.evidence.untrusted import ShimReport
from runner.names import EXIT_TIMED_OUT

_SIGKILLED = 128 + signal.SIGKILL


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of an attempt once its container is gone or never was."""

    state: ContainerState | None
    """None: the container never existed or could not be inspected."""
    report: ShimReport | None
    """What the shim wrote; None if it was killed before it could."""
    oom_kills: int | None
    memory_limit: int
    deadline: float
    """Seconds the attempt was given."""
    deadline_name: str
    """Which limit that was: `limits.step_timeout` or `limits.run_timeout`."""
    overdue: bool
    """Whether the runner itself had to stop the container, the shim's deadline not having worked."""
    cancelled: bool
    model_error: str
    """Why the model could not answer, if that is the provider's or our doing; empty otherwise."""
    engine_error: str
    """What the engine refused, if it did."""
    changed: int | None
    """Paths added, changed or removed in the workspace; None if not known."""
    expect_changes: bool
    message: str
    """What the framework itself reported; may be empty."""


def judge(facts: Facts) -> tuple[Outcome, str]:
    """Return the outcome of an attempt and why; the reason is empty only when it passed."""
    if facts.cancelled:
        return "cancelled", "stopped by the user"
    if facts.engine_error or facts.state is None or facts.state.exit_code is None:
        return "broken", facts.engine_error or "the engine lost the container"
    if facts.state.status == "created":
        return "broken", f"the container did not start: {facts.state.error or 'no reason given by the engine'}"
    return _judge_exit(facts, facts.state)


def _judge_exit(facts: Facts, state: ContainerState) -> tuple[Outcome, str]:
    report = facts.report
    code = exit_code(state, report, overdue=facts.overdue)
    if code != 0 and (state.oom_killed or facts.oom_kills):
        return "exceeded", f"out of memory: limits.memory is {facts.memory_limit} bytes"
    if timed_out(report, overdue=facts.overdue):
        return "timed_out", f"not finished after {facts.deadline:g} s ({facts.deadline_name})"
    if report is None and code == _SIGKILLED:
        return "broken", "the container was killed from outside (SIGKILL, not for memory)"
    if report is not None and report.error:
        return "broken", report.error
    if code != 0 and facts.model_error:
        return "broken", f"the model did not answer: {facts.model_error}"
    if code != 0:
        return "failed", _with_message(_exit_words(code, report), facts.message)
    if facts.expect_changes and facts.changed == 0:
        return "failed", _with_message("exited 0 but changed nothing in the workspace", facts.message)
    return "passed", ""


def exit_code(state: ContainerState | None, report: ShimReport | None, *, overdue: bool) -> int | None:
    """Return the step's exit code: 124 after a deadline, whoever enforced it."""
    if timed_out(report, overdue=overdue):
        return EXIT_TIMED_OUT
    return state.exit_code if state is not None else None


def timed_out(report: ShimReport | None, *, overdue: bool) -> bool:
    """Tell whether a deadline ended the attempt; exit code 124 alone is no proof, a command may return it."""
    return overdue or (report is not None and report.timed_out)


def _exit_words(code: int | None, report: ShimReport | None) -> str:
    number = report.signal if report is not None else None
    if number:
        try:
            return f"killed by signal {number} ({signal.Signals(number).name})"
        except ValueError:
            return f"killed by signal {number}"
    return f"exit code {code}"


def _with_message(words: str, message: str) -> str:
    return f"{words}: {message}" if message else words
